"""The webhook sink against a real HTTP server; signatures are verified with the library of Standard Webhooks."""

import base64
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.events.webhook import Webhook, decode_secrets, read_retry_after, sign
from taskclf_dagster.errors import EventRefusedError, SinkSettingsError, SinkUnavailableError
from taskclf_dagster_tests.receivers import NOON, Receiver, an_event, free_port, http_receiver
from taskclf_dagster_tests.servers import PROJECT

PRIVATE = "hooks/T0-nobody-knows"
KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BAD_URLS = ("ftp://example.org/x", "example.org/x", "file:///etc/passwd", "http://", "http://[::1")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


def send(sink: Webhook, *, at: datetime = NOON, timeout: float = 5.0) -> None:
    sink.send(an_event(), at=at, timeout=timeout)


def failure(sink: Webhook, *, timeout: float = 5.0) -> SinkUnavailableError:
    with pytest.raises(SinkUnavailableError) as caught:
        send(sink, timeout=timeout)
    return caught.value


# --- Body and headers -------------------------------------------------------------------------------------------------------------


def test_the_whole_event_arrives_as_canonical_json_with_its_headers(receiver: Receiver) -> None:
    send(Webhook("webhook-1", receiver.url))
    (post,) = receiver.posts
    assert post.path == "/events"
    assert post.body == json.dumps(an_event().document, sort_keys=True, separators=(",", ":")).encode()
    assert post.headers["Content-Type"] == "application/json"
    webhook = {name: value for name, value in post.headers.items() if name.startswith("webhook-")}
    assert webhook == {"webhook-id": "event-1", "webhook-timestamp": str(int(NOON.timestamp()))}


@pytest.mark.parametrize("secret", [SECRET, SECRET.rstrip("="), "a plain secret"], ids=["whsec", "without padding", "plain"])
def test_a_signed_event_is_verified_by_the_library_and_a_changed_or_replayed_one_is_not(receiver: Receiver, secret: str) -> None:
    verifier = Verifier(secret if secret.startswith("whsec_") else secret.encode())
    now = datetime.now(UTC)
    sink = Webhook("webhook-1", receiver.url, secret=secret)
    for at in (now, now - timedelta(minutes=6), now + timedelta(minutes=6)):
        send(sink, at=at)
    genuine, replayed, early = receiver.posts
    assert verifier.verify(genuine.body, genuine.headers) == an_event().document
    for headers, body in (
        (replayed.headers, replayed.body),
        (early.headers, early.body),
        ({**replayed.headers, "webhook-timestamp": genuine.headers["webhook-timestamp"]}, replayed.body),  # a replay in disguise
        ({**genuine.headers, "webhook-id": "event-2"}, genuine.body),
        (genuine.headers, genuine.body.replace(b"0.5", b"0.9")),
    ):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(b"another secret").verify(genuine.body, genuine.headers)


def test_the_receiver_of_the_documentation_takes_an_event_once_and_refuses_a_replay(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (PROJECT / "docs" / "events.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "standardwebhooks" in block)
    monkeypatch.setenv("EVENTS_SECRET", SECRET)
    documented: dict[str, Any] = {}
    exec(code, documented)  # noqa: S102  # our own page
    now = datetime.now(UTC)
    sink = Webhook("webhook-1", receiver.url, secret=SECRET)
    for at in (now, now, now - timedelta(minutes=6)):
        send(sink, at=at)
    assert [documented["receive"](post.headers, post.body) for post in receiver.posts] == [204, 204, 401]
    assert capsys.readouterr().out == "model.retrained model-1\n"


def test_signatures_equal_those_of_the_library() -> None:
    at = datetime.fromtimestamp(1_770_206_400, UTC)
    for body in ("{}", '{"reason":"\u00e4 \u2713"}', "x" * 10_000):
        for secret, verifier in ((SECRET, Verifier(SECRET)), ("plain", Verifier(b"plain")), ("a plain one", Verifier(b"a plain one"))):
            ours = sign(body.encode(), event_id="event-1", timestamp=1_770_206_400, secret=secret)
            assert ours == verifier.sign("event-1", at, body)


def test_a_secret_is_base64_behind_its_prefix_and_otherwise_the_key_itself() -> None:
    assert decode_secrets(SECRET) == decode_secrets(SECRET.rstrip("=")) == [KEY]
    assert decode_secrets("d2hzZWM=") == [b"d2hzZWM="]
    for wrong in ("whsec_", "whsec_=", "whsec_!!!!", "whsec_TOP SECRET", "whsec_a", f"{SECRET} TOPSECRET"):
        with pytest.raises(SinkSettingsError) as caught:
            Webhook("webhook-1", "http://127.0.0.1", secret=wrong)
        assert wrong.removeprefix("whsec_") in ("", "=", "a") or wrong not in str(caught.value) + repr(caught.value.__cause__)


def test_a_key_has_as_many_bytes_as_the_standard_asks_for() -> None:
    refused = []
    for size in (23, 24, 64, 65):
        try:
            Webhook("webhook-1", "http://127.0.0.1", secret="whsec_" + base64.b64encode(bytes(size)).decode())
        except SinkSettingsError:
            refused.append(size)
    assert refused == [23, 65]


def test_while_a_secret_is_changed_receivers_with_the_old_and_with_the_new_one_both_verify(receiver: Receiver) -> None:
    old, new, other = (Verifier("whsec_" + base64.b64encode(bytes([number]) * 24).decode()) for number in (1, 2, 3))
    both = " ".join("whsec_" + base64.b64encode(bytes([number]) * 24).decode() for number in (2, 1))
    send(Webhook("webhook-1", receiver.url, secret=both), at=datetime.now(UTC))
    (post,) = receiver.posts
    assert [verifier.verify(post.body, post.headers)["eventId"] for verifier in (old, new)] == ["event-1", "event-1"]
    with pytest.raises(WebhookVerificationError):
        other.verify(post.body, post.headers)


# --- Answers ----------------------------------------------------------------------------------------------------------------------


def test_an_answer_that_is_not_about_the_event_means_that_the_sink_is_unavailable(receiver: Receiver) -> None:
    statuses = [500, 502, 503, 401, 403, 404, 408, 429]
    receiver.answers = [*statuses, 204]
    sink = Webhook("webhook-1", receiver.url)
    errors = [failure(sink) for _ in statuses]
    assert [(error.kind, error.reason) for error in errors] == [("status", f"answered {status}") for status in statuses]
    send(sink)
    assert receiver.received == ["event-1"]


def test_a_receiver_that_is_gone_for_good_is_left_alone_for_a_day(receiver: Receiver) -> None:
    receiver.answers = [410]
    error = failure(Webhook("webhook-1", receiver.url))
    assert (error.kind, error.wait_seconds) == ("gone", 24 * 3600)


def test_a_busy_receiver_says_how_long_to_wait(receiver: Receiver) -> None:
    receiver.answers, receiver.retry_after = [429, 503], "120"
    assert [failure(Webhook("webhook-1", receiver.url)).wait_seconds for _ in range(2)] == [120, 120]
    headers = ("Wed, 04 Feb 2026 13:00:00 GMT", "Wed, 04 Feb 2026 11:00:00 GMT", "soon", "-5", None, "9" * 5000)
    assert [read_retry_after(header, now=NOON) for header in headers] == [3600, 0, 0, 0, 0, 999_999_999]


def test_another_answer_of_the_four_hundreds_refuses_this_event(receiver: Receiver) -> None:
    for status in (400, 409, 413, 422):
        receiver.answers = [status]
        with pytest.raises(EventRefusedError) as caught:
            send(Webhook("webhook-1", receiver.url))
        assert caught.value.reason == f"answered {status}"


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [301, 302, 307, 308]
    assert {failure(Webhook("webhook-1", receiver.url)).kind for _ in range(4)} == {"redirect"}
    assert {post.path for post in receiver.posts} == {"/events"}


def test_a_receiver_that_is_down_is_unavailable_and_the_message_does_not_repeat_the_url() -> None:
    sink = Webhook("webhook-1", f"http://127.0.0.1:{free_port()}/{PRIVATE}")
    error = failure(sink)
    assert (error.kind, error.reason) == ("connection", "no connection (Connection refused)")
    assert PRIVATE not in str(error) + repr(sink)


@pytest.mark.parametrize("how", ["delay", "drip"], ids=["silent", "a byte at a time"])
def test_a_receiver_that_is_slower_than_the_timeout_is_unavailable(receiver: Receiver, how: str) -> None:
    setattr(receiver, how, {"delay": 30.0, "drip": 0.5}[how])
    begin = time.monotonic()
    assert failure(Webhook("webhook-1", receiver.url, timeout_seconds=0.3)).kind == "timeout"
    assert time.monotonic() - begin < 15


def test_the_time_that_is_left_shortens_the_timeout_of_the_settings(receiver: Receiver) -> None:
    receiver.delay = 30.0
    begin = time.monotonic()
    assert failure(Webhook("webhook-1", receiver.url, timeout_seconds=60), timeout=0.2).kind == "timeout"
    assert time.monotonic() - begin < 15


def test_what_is_not_a_web_address_is_refused_at_once(snapshot: SnapshotAssertion) -> None:
    messages = []
    for url in BAD_URLS:
        with pytest.raises(SinkSettingsError) as caught:
            Webhook("webhook-1", url)
        messages.append(str(caught.value))
    assert messages == snapshot


def test_the_environment_does_not_decide_where_a_webhook_goes(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    send(Webhook("webhook-1", receiver.url))
    assert receiver.received == ["event-1"]
