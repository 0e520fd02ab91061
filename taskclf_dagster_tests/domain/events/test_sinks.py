"""Every sink against a real receiver: what arrives, and what each failure is taken for."""

import hashlib
import hmac
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskclf_dagster.domain.events.sinks import JsonLines, Redis, UnusableSink, Webhook, sign
from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.errors import EventRefusedError, SinkSettingsError, SinkUnavailableError
from taskclf_dagster_tests.receivers import NOON, Receiver, RedisServer, an_event, free_port, http_receiver, redis_server
from taskclf_dagster_tests.registry_scenario import Recording

TIMESTAMP = str(int(NOON.timestamp()))
PRIVATE = "hooks/T0-nobody-knows"
KEY = "key"
PASSWORD = "open-sesame"  # noqa: S105  # of a server that lives for one test


def send(sink: JsonLines | Webhook | Redis, number: int = 1, *, timeout: float = 5.0) -> None:
    sink.send(an_event(number), at=NOON, timeout=timeout)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


# --- JSON lines -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(tmp_path: Path) -> JsonLines:
    return JsonLines("jsonl-1", tmp_path / "new" / "events.jsonl")


def ids(path: Path) -> list[str]:
    return [json.loads(line)["eventId"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_events_are_appended_one_a_line_in_a_folder_that_is_made(lines: JsonLines) -> None:
    send(lines, 1)
    send(lines, 2)
    text = lines.path.read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == [an_event(1).document, an_event(2).document]
    assert text.endswith("}\n")


def test_a_line_and_the_name_of_a_new_file_survive_a_power_loss(lines: JsonLines) -> None:
    recording = Recording()
    with use_file_system(recording):
        send(lines)
    assert recording.calls[-3:] == [("append", "events.jsonl"), ("sync_file", "events.jsonl"), ("sync_folder", "new")]


def test_after_half_a_line_of_a_process_that_died_the_next_event_is_whole(lines: JsonLines) -> None:
    send(lines, 1)
    with lines.path.open("ab") as file:
        file.write(b'{"eventId": "eve')
    send(lines, 2)
    send(lines, 3)
    first, torn, *others = lines.path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"eventId": "eve'
    assert [json.loads(line)["eventId"] for line in (first, *others)] == ["event-1", "event-2", "event-3"]


def test_a_full_file_becomes_the_older_one_and_there_are_never_more_than_two(tmp_path: Path) -> None:
    sink = JsonLines("jsonl-1", tmp_path / "events.jsonl", rotate_bytes=700)
    for number in range(1, 8):
        send(sink, number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.1.jsonl", "events.jsonl"]
    assert ids(tmp_path / "events.1.jsonl") + ids(tmp_path / "events.jsonl") == ["event-5", "event-6", "event-7"]
    assert all(path.stat().st_size <= 700 for path in tmp_path.iterdir())


def test_a_file_is_full_at_ten_mebibytes(lines: JsonLines) -> None:
    send(lines, 1)
    with lines.path.open("ab") as file:
        file.write(b"x" * (10 * 1024 * 1024 - lines.path.stat().st_size - 1) + b"\n")
    send(lines, 2)
    assert ids(lines.path) == ["event-2"]
    assert (lines.path.parent / "events.1.jsonl").stat().st_size == 10 * 1024 * 1024


def test_a_file_that_cannot_be_written_is_unavailable_and_named(lines: JsonLines) -> None:
    lines.path.mkdir(parents=True)
    with pytest.raises(SinkUnavailableError, match=r"events\.jsonl cannot be written \(Is a directory\)"):
        send(lines)


# --- Webhook ----------------------------------------------------------------------------------------------------------------------


def test_the_whole_event_arrives_as_canonical_json_with_its_headers(receiver: Receiver) -> None:
    send(Webhook("webhook-1", receiver.url))
    (post,) = receiver.posts
    assert post.path == "/events"
    assert post.body == json.dumps(an_event().document, sort_keys=True, separators=(",", ":")).encode()
    told = {name: value for name, value in post.headers.items() if name.startswith("X-Taskclf") or name == "Content-Type"}
    assert told == {
        "Content-Type": "application/json",
        "X-Taskclf-Event": "model.retrained",
        "X-Taskclf-Event-Id": "event-1",
        "X-Taskclf-Timestamp": TIMESTAMP,
    }


def test_with_a_secret_the_signature_covers_time_and_body(receiver: Receiver) -> None:
    send(Webhook("webhook-1", receiver.url, secret=KEY))
    (post,) = receiver.posts
    expected = hmac.new(KEY.encode(), TIMESTAMP.encode() + b"." + post.body, hashlib.sha256).hexdigest()
    assert post.headers["X-Taskclf-Signature"] == f"sha256={expected}"


def test_the_signature_is_this_one_so_that_receivers_can_rely_on_it() -> None:
    assert sign(b"{}", "1770206400", "key") == "sha256=1d7e2c8090b1cff67f9cabda1c53b7fb8b3b6a3c6535d1032f0e4f25aa817280"


@pytest.mark.parametrize("status", [500, 502, 503, 401, 403, 404, 408, 429])
def test_an_answer_that_is_not_about_the_event_means_that_the_sink_is_away(receiver: Receiver, status: int) -> None:
    receiver.answers = [status, 204]
    sink = Webhook("webhook-1", receiver.url)
    with pytest.raises(SinkUnavailableError, match=f"answered {status}"):
        send(sink)
    send(sink)
    assert receiver.received == ["event-1"]


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_another_answer_of_the_four_hundreds_refuses_this_event(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with pytest.raises(EventRefusedError, match=f"webhook-1 refused event event-1: answered {status}"):
        send(Webhook("webhook-1", receiver.url))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with pytest.raises(SinkUnavailableError, match=f"answered {status}, and redirects are not followed"):
        send(Webhook("webhook-1", receiver.url))
    assert [post.path for post in receiver.posts] == ["/events"]


def test_a_receiver_that_is_down_is_away_and_the_words_do_not_repeat_the_url() -> None:
    sink = Webhook("webhook-1", f"http://127.0.0.1:{free_port()}/{PRIVATE}")
    with pytest.raises(SinkUnavailableError, match=r"no connection \(Connection refused\)") as caught:
        send(sink)
    assert PRIVATE not in str(caught.value) + repr(sink)


@pytest.mark.parametrize("how", ["delay", "drip"], ids=["silent", "a byte at a time"])
def test_a_receiver_that_is_slower_than_the_timeout_is_away(receiver: Receiver, how: str) -> None:
    setattr(receiver, how, {"delay": 3.0, "drip": 0.05}[how])
    begin = time.monotonic()
    with pytest.raises(SinkUnavailableError, match=r"no answer within 0\.3 s"):
        send(Webhook("webhook-1", receiver.url, timeout_seconds=0.3))
    assert time.monotonic() - begin < 2


def test_the_time_that_is_left_shortens_the_timeout_of_the_settings(receiver: Receiver) -> None:
    receiver.delay = 3.0
    with pytest.raises(SinkUnavailableError, match=r"no answer within 0\.2 s"):
        send(Webhook("webhook-1", receiver.url, timeout_seconds=60), timeout=0.2)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("ftp://example.org/x", "its scheme is 'ftp'"),
        ("example.org/x", "its scheme is ''"),
        ("file:///etc/passwd", "its scheme is 'file'"),
        ("http://", "it names no host"),
        ("http://[::1", "its scheme is ''"),
    ],
)
def test_what_is_no_web_address_is_refused_at_once(url: str, found: str) -> None:
    with pytest.raises(SinkSettingsError, match=f"webhook-1: the URL is not a web address: {found}"):
        Webhook("webhook-1", url)


def test_the_environment_does_not_decide_where_a_webhook_goes(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    send(Webhook("webhook-1", receiver.url))
    assert receiver.received == ["event-1"]


# --- Redis ------------------------------------------------------------------------------------------------------------------------


def a_redis(server: RedisServer, stream: str, **changes: object) -> Redis:
    options: dict[str, object] = {"stream": stream, "max_length": 1000, "timeout_seconds": 2.0, **changes}
    return Redis("redis-1", str(options.pop("url", server.url)), **options)  # type: ignore[arg-type]


@pytest.mark.server
def test_events_are_added_to_the_stream_in_order(server: RedisServer) -> None:
    sink = a_redis(server, "ml:run-events")
    send(sink, 1)
    send(sink, 2)
    first, second = server.events()
    assert first == {
        "eventId": "event-1",
        "eventType": "model.retrained",
        "event": json.dumps(an_event().document, sort_keys=True, separators=(",", ":")),
    }
    assert second["eventId"] == "event-2"


@pytest.mark.server
def test_the_stream_is_bounded(server: RedisServer) -> None:
    sink = a_redis(server, "bounded", max_length=10)
    for _ in range(250):
        send(sink)
    assert 10 <= len(server.events("bounded")) < 250  # about: Redis drops whole nodes of a hundred


def test_redis_that_is_down_is_away() -> None:
    sink = Redis("redis-1", f"redis://127.0.0.1:{free_port()}/0", stream="s", max_length=10, timeout_seconds=2.0)
    begin = time.monotonic()
    with pytest.raises(SinkUnavailableError, match="Connection refused"):
        send(sink)
    assert time.monotonic() - begin < 1  # it is not tried again and again within one attempt


@pytest.mark.server
def test_redis_that_hangs_is_away_after_the_timeout(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        sink = a_redis(server, "s", timeout_seconds=0.3)
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(SinkUnavailableError, match=r"no answer within 0\.3 s"):
                send(sink)
        finally:
            os.kill(server.process.pid, signal.SIGCONT)


def test_an_event_is_sent_once_in_an_attempt_also_where_its_answer_stays_out() -> None:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet_and_then_say_nothing() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # the test is over
                with connection:
                    while data := connection.recv(65536):
                        received.append(data)
                        connection.sendall(b"+OK\r\n" * data.count(b"SETINFO"))

        thread = threading.Thread(target=greet_and_then_say_nothing, daemon=True)
        thread.start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        with pytest.raises(SinkUnavailableError, match=r"no answer within 0\.3 s"):
            send(Redis("redis-1", url, stream="s", max_length=10, timeout_seconds=0.3))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    assert b"".join(received).count(b"XADD") == 1


@pytest.mark.server
def test_after_redis_was_restarted_events_arrive_and_those_before_are_still_there(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        sink = a_redis(server, "ml:run-events")
        send(sink, 1)
        server.stop()
        with pytest.raises(SinkUnavailableError):
            send(sink, 2)
        server.start()
        send(sink, 2)
        assert [event["eventId"] for event in server.events()] == ["event-1", "event-2"]


@pytest.mark.server
def test_a_password_is_needed_where_redis_wants_one_and_is_never_repeated(tmp_path: Path) -> None:
    with redis_server(tmp_path, password=PASSWORD) as server:
        with pytest.raises(SinkUnavailableError, match="it wants a password, which belongs into the URL"):
            send(a_redis(server, "s"))
        wrong = f"redis://:guessed@127.0.0.1:{server.port}/0"
        with pytest.raises(SinkUnavailableError, match="invalid username-password pair") as caught:
            send(a_redis(server, "s", url=wrong))
        assert "guessed" not in str(caught.value)
        send(a_redis(server, "s", url=f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"))
        assert len(server.events("s")) == 1


@pytest.mark.server
def test_a_key_that_is_no_stream_takes_no_event(server: RedisServer) -> None:
    with server.client as client:
        client.set("taken", "x")
    with pytest.raises(SinkUnavailableError, match="WRONGTYPE"):
        send(a_redis(server, "taken"))


@pytest.mark.parametrize(
    ("url", "found"),
    [("http://127.0.0.1/0", "its scheme is 'http'"), ("redis://:pa#ss@host/0", "its host, port or options are wrong")],
)
def test_what_is_no_address_of_redis_is_refused_at_once_without_repeating_it(url: str, found: str) -> None:
    with pytest.raises(SinkSettingsError, match=f"redis-1: the URL is not one of Redis: {found}") as caught:
        Redis("redis-1", url, stream="s", max_length=10)
    assert url not in str(caught.value)
    assert "pa" not in str(caught.value).split("Redis:")[1].split("Give")[0].replace("path", "")


def test_without_the_package_the_words_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SinkSettingsError, match=r"the package redis is not installed\. Run pip install 'taskclf-dagster\[redis\]'"):
        Redis("redis-1", "redis://localhost", stream="s", max_length=10)


def test_a_sink_that_cannot_be_used_takes_nothing() -> None:
    with pytest.raises(SinkUnavailableError, match="no secret"):
        UnusableSink("webhook-1", "no secret").send(an_event(), at=NOON, timeout=1)
