"""Notifications for people, over a real mail server and a real HTTP server."""

import importlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from taskclf_dagster.domain.events.apprise_service import MOST_CHARACTERS, AppriseService, split_urls
from taskclf_dagster.domain.events.delivery import deliver
from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.message import Message
from taskclf_dagster.domain.events.outbox import read_outbox, write_event
from taskclf_dagster.errors import SinkSettingsError, SinkUnavailableError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.receivers import NOON, Mailbox, Receiver, an_event, free_port, http_receiver, mail_server
from taskclf_dagster_tests.scenario import make_home

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # of apprise

TYPES = frozenset({"model.retrained", "model.promoted"})
PRIVATE = "T0-nobody-knows"


def compose(events: Sequence[Event], room: int) -> Message:
    return Message(f"{len(events)} happened", f"*{events[-1].event_id}* <b>in</b>\n[at most](http://{room})", "warning")


def service(url: str, *, name: str = "apprise-1", timeout_seconds: float = 10.0) -> AppriseService:
    return AppriseService(name, url, compose=compose, events=TYPES, timeout_seconds=timeout_seconds)


def http_url(port: int, *, scheme: str = "json", path: str = PRIVATE, options: str = "") -> str:
    return f"{scheme}://127.0.0.1:{port}/{path}{options}"


def failure(sink: AppriseService, *, timeout: float = 10.0) -> SinkUnavailableError:
    with pytest.raises(SinkUnavailableError) as caught:
        sink.send(an_event(), at=NOON, timeout=timeout)
    return caught.value


@pytest.fixture
def home(tmp_path: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path)  # type: ignore[arg-type]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as mailbox:
        yield mailbox


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An HTTP server that takes what is no event of ours as well."""
    with http_receiver() as receiver:
        yield receiver


def port_of(receiver: Receiver) -> int:
    return int(receiver.url.split(":")[2].split("/")[0])


# --- What arrives -----------------------------------------------------------------------------------------------------------------


def test_a_mail_arrives_as_plain_text(mailbox: Mailbox) -> None:
    service(mailbox.url()).send(an_event(), at=NOON, timeout=10)
    (mail,) = mailbox.mails
    assert (mail["subject"], mail["from"], mail["to"]) == ("1 happened", "home@example.org", "ann@example.org")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == ["*event-1* <b>in</b>", f"[at most](http://{MOST_CHARACTERS})"]


def test_a_service_over_http_gets_title_text_and_tone(receiver: Receiver) -> None:
    service(http_url(port_of(receiver))).send(an_event(), at=NOON, timeout=10)
    (post,) = receiver.posts
    message = json.loads(post.body)
    assert post.path == f"/{PRIVATE}"
    assert (message["title"], message["type"], message["message"].splitlines()[0]) == ("1 happened", "warning", "*event-1* <b>in</b>")
    assert message["attachments"] == []


# --- What fails -------------------------------------------------------------------------------------------------------------------


def test_while_the_mail_server_is_down_events_wait_and_come_once_it_is_up(home: Home) -> None:
    port = free_port()
    write_event(home, an_event())
    sink = service(Mailbox(port).url())
    report = deliver(home, [sink], now=NOON, stopwatch=time.monotonic).sinks[0]
    assert (report.waiting, report.problem) == (1, "no connection (Connection refused)")
    with mail_server(port=port) as mailbox:
        later = NOON.replace(minute=1)
        assert deliver(home, [sink], now=later, stopwatch=time.monotonic).sinks[0].delivered == 1
        assert [mail["subject"] for mail in mailbox.mails] == ["1 happened"]
    assert read_outbox(home).events == []


def test_a_recipient_whom_the_server_does_not_know_is_a_failure_that_names_nobody(mailbox: Mailbox) -> None:
    mailbox.refused = {"ann@example.org"}
    error = failure(service(mailbox.url()))
    assert error.reason == "its mail server answered 550"
    assert mailbox.mails == []


def test_the_answer_of_a_service_is_named(receiver: Receiver) -> None:
    receiver.answers = [401, 500]
    assert [failure(service(http_url(port_of(receiver)))).reason for _ in range(2)] == ["answered 401", "answered 500"]


@pytest.mark.parametrize("how", ["delay", "drip"], ids=["silent", "a byte at a time"])
def test_a_service_that_is_slow_costs_its_timeout_and_no_more(receiver: Receiver, how: str) -> None:
    setattr(receiver, how, {"delay": 30.0, "drip": 0.5}[how])
    begin = time.monotonic()
    sink = service(http_url(port_of(receiver), options="?cto=60&rto=60"), timeout_seconds=0.5)
    assert failure(sink).reason in ("no answer within 0.5 s", "no connection (timed out)")
    assert time.monotonic() - begin < 15


def test_a_mail_server_that_is_slow_costs_what_is_left_of_the_tick(mailbox: Mailbox) -> None:
    mailbox.delay = 3.0
    begin = time.monotonic()
    assert "no answer within 0.5 s" in failure(service(mailbox.url()), timeout=0.5).reason
    assert time.monotonic() - begin < 2.5


def test_a_url_cannot_make_a_failure_a_success_retry_or_follow_a_redirect(receiver: Receiver) -> None:
    receiver.answers = [500, 302]
    sink = service(http_url(port_of(receiver), options="?optional=yes&redirect=yes&retry=3&wait=0"))
    assert [failure(sink).reason for _ in range(2)] == ["answered 500", "answered 302"]
    assert len(receiver.posts) == 2
    assert {post.path for post in receiver.posts} == {f"/{PRIVATE}"}


def test_no_failure_and_no_log_repeats_a_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = http_url(free_port(), options=f"?+Key={PRIVATE}").replace("//", f"//ann:{PRIVATE}@")
    sink = service(secret)
    error = failure(sink)
    assert error.reason == "no connection (Connection refused)"
    assert PRIVATE not in str(error) + repr(sink) + caplog.text


# --- What is refused at once --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [f"nosuch://{PRIVATE}", f"file:///etc/{PRIVATE}.yaml", f"{PRIVATE}", f"include {PRIVATE}", f"/etc/{PRIVATE}.conf", "mailto://"],
)
def test_what_is_no_url_of_apprise_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SinkSettingsError) as caught:
        service(url)
    assert PRIVATE not in str(caught.value)


@pytest.mark.parametrize("more", ["ann@example.org,bob@example.org", "a@example.org&cc=b@example.org", "a@example.org&bcc=b@example.org"])
def test_a_url_names_one_recipient_so_that_another_one_cannot_have_them_notified_again(mailbox: Mailbox, more: str) -> None:
    with pytest.raises(SinkSettingsError, match="2 recipients"):
        service(mailbox.url(more))


def test_urls_are_separated_by_white_space_or_commas_and_keep_their_own_commas() -> None:
    text = "mailto://h?to=a,b json://h/x,\n ntfy://h/y ,slack://z\tjsons://h"
    assert split_urls(text) == ["mailto://h?to=a,b", "json://h/x", "ntfy://h/y", "slack://z", "jsons://h"]
    assert split_urls("  ") == []


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SinkSettingsError, match=r"pip install 'taskclf-dagster\[notify\]'"):
        service("json://localhost")
    monkeypatch.undo()
    importlib.import_module("apprise")


# --- Many at once -----------------------------------------------------------------------------------------------------------------


def test_events_that_are_not_chosen_count_as_delivered_at_once(home: Home, mailbox: Mailbox) -> None:
    for number, event_type in enumerate(("model.scored", "model.promoted", "model.retrain.started"), start=1):
        write_event(home, an_event(number, event_type=event_type))
    report = deliver(home, [service(mailbox.url())], now=NOON, stopwatch=time.monotonic)
    assert (report.sinks[0].delivered, report.sinks[0].waiting, len(mailbox.mails)) == (1, 0, 1)
    assert read_outbox(home).events == []


def test_many_events_that_cannot_be_sent_all_wait_after_one_attempt(home: Home, receiver: Receiver) -> None:
    for number in range(1, 6):
        write_event(home, an_event(number))
    receiver.answers = [500]
    report = deliver(home, [service(http_url(port_of(receiver)))], now=NOON, stopwatch=lambda: 0.0).sinks[0]
    assert (report.delivered, report.waiting, report.problem, len(receiver.posts)) == (0, 5, "answered 500", 1)


@pytest.mark.parametrize(("waiting", "titles"), [(3, ["1 happened"] * 3), (4, ["4 happened"])], ids=["few", "many"])
def test_of_many_events_a_person_gets_one_message(home: Home, mailbox: Mailbox, waiting: int, titles: list[str]) -> None:
    for number in range(1, waiting + 1):
        write_event(home, an_event(number))
    sink = service(mailbox.url(), timeout_seconds=5)
    report = deliver(home, [sink], now=NOON, stopwatch=lambda: 0.0)
    assert (report.sinks[0].delivered, read_outbox(home).events) == (waiting, [])
    assert [mail["subject"] for mail in mailbox.mails] == titles
