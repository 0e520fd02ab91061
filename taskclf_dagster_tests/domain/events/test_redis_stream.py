"""The Redis sink against a real Redis server."""

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

from taskclf_dagster.domain.events.redis_stream import RedisStream
from taskclf_dagster.errors import SinkSettingsError, SinkUnavailableError
from taskclf_dagster_tests.receivers import NOON, RedisServer, an_event, free_port, redis_server

PASSWORD = "open-sesame"  # noqa: S105  # of a server that lives for one test


def send(sink: RedisStream, number: int = 1, *, timeout: float = 5.0) -> None:
    sink.send(an_event(number), at=NOON, timeout=timeout)


def failure(sink: RedisStream) -> SinkUnavailableError:
    with pytest.raises(SinkUnavailableError) as caught:
        send(sink)
    return caught.value


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def a_redis(server: RedisServer, stream: str, **changes: object) -> RedisStream:
    options: dict[str, object] = {"stream": stream, "max_length": 1000, "timeout_seconds": 2.0, **changes}
    return RedisStream("redis-1", str(options.pop("url", server.url)), **options)  # type: ignore[arg-type]


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


def test_redis_that_is_down_is_unavailable() -> None:
    sink = RedisStream("redis-1", f"redis://127.0.0.1:{free_port()}/0", stream="s", max_length=10, timeout_seconds=2.0)
    begin = time.monotonic()
    assert failure(sink).kind == "connection"
    assert time.monotonic() - begin < 2  # no retries within one attempt


@pytest.mark.server
def test_redis_that_hangs_is_unavailable_after_the_timeout(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        sink = a_redis(server, "s", timeout_seconds=0.3)
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            assert failure(sink).kind == "timeout"
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
        assert failure(RedisStream("redis-1", url, stream="s", max_length=10, timeout_seconds=0.3)).kind == "timeout"
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
        missing = failure(a_redis(server, "s"))
        assert missing.kind == "password"
        assert "url_env" in missing.reason
        wrong = f"redis://:guessed@127.0.0.1:{server.port}/0"
        refused = failure(a_redis(server, "s", url=wrong))
        assert refused.kind == "password"
        assert "guessed" not in str(refused)
        send(a_redis(server, "s", url=f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"))
        assert len(server.events("s")) == 1


@pytest.mark.server
def test_a_key_that_is_not_a_stream_refuses_every_event(server: RedisServer) -> None:
    with server.client as client:
        client.set("taken", "x")
    assert failure(a_redis(server, "taken")).kind == "refused"


@pytest.mark.parametrize(
    ("url", "found"),
    [("http://127.0.0.1/0", "its scheme is 'http'"), ("redis://:pa#ss@host/0", "its host, port or options are wrong")],
)
def test_what_is_not_an_address_of_redis_is_refused_at_once_without_repeating_it(url: str, found: str) -> None:
    with pytest.raises(SinkSettingsError, match=f"redis-1: the URL is not one of Redis: {found}") as caught:
        RedisStream("redis-1", url, stream="s", max_length=10)
    assert url not in str(caught.value)
    assert "pa" not in str(caught.value).split("Redis:")[1].split("Give")[0].replace("path", "")


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SinkSettingsError, match=r"the package redis is not installed\. Run pip install 'taskclf-dagster\[redis\]'"):
        RedisStream("redis-1", "redis://localhost", stream="s", max_length=10)
