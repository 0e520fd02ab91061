"""Real receivers of events for the tests: an HTTP server whose answers are given in advance, a mail server, a Redis server of our own.

All listen on a free loopback port and live as long as the block that starts them.
"""

import asyncio
import email
import email.policy
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics

NOON = datetime(2026, 2, 4, 12, tzinfo=UTC)


def an_event(number: int = 1, *, minute: int | None = None, **changes: object) -> Event:
    """A small whole event; its number is in its id, and in its time unless given otherwise."""
    moment = NOON.replace(minute=number if minute is None else minute)
    payload = EventPayload(model_id=f"model-{number}", metrics=pick_metrics({"macro_f1": 0.5}), reason="because")
    fields = {"event_id": f"event-{number}", "event_type": "model.retrained", "occurred_at": moment, "run_id": "run-1", "payload": payload}
    return Event.model_validate({**fields, **changes})


# --- HTTP -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Post:
    """What came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return str(json.loads(self.body).get("eventId", ""))


@dataclass
class Receiver:
    """An HTTP server.

    Attributes:
        url: where events are posted to.
        posts: what came in, in order.
        answers: status codes of the next posts; after them `usually`.
        refuses: status codes by event id, whatever the answers.
        delay: seconds before an answer.
        drip: seconds between the bytes of an answer.
        statuses: what each post was answered.
        retry_after: the header `Retry-After` of each answer; empty for none.
    """

    url: str
    posts: list[Post] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    refuses: dict[str, int] = field(default_factory=dict)
    usually: int = 204
    delay: float = 0.0
    drip: float = 0.0
    statuses: list[int] = field(default_factory=list)
    retry_after: str = ""

    @property
    def received(self) -> list[str]:
        """Ids of the events that were taken, in order."""
        return [post.event_id for post, status in zip(self.posts, self.statuses, strict=True) if status < 300]


@contextmanager
def http_receiver(*, port: int = 0) -> Iterator[Receiver]:
    """A receiver on a free port, or on the one of a receiver that was stopped."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            post = Post(self.path, dict(self.headers), body)
            time.sleep(receiver.delay)
            usual = receiver.answers.pop(0) if receiver.answers else receiver.usually
            status = receiver.refuses.get(post.event_id, usual)
            receiver.posts.append(post)
            receiver.statuses.append(status)
            headers = ["Content-Length: 0", "Connection: close", f"Location: {receiver.url}/elsewhere"]
            headers += [f"Retry-After: {receiver.retry_after}"] if receiver.retry_after else []
            answer = "\r\n".join([f"HTTP/1.1 {status} Told", *headers, "", ""])
            try:
                if not receiver.drip:
                    self.wfile.write(answer.encode())
                    return
                for byte in answer.encode():
                    self.wfile.write(bytes([byte]))
                    time.sleep(receiver.drip)
            except OSError:
                return  # nobody waits any more

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/events")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- Mail -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Mailbox:
    """A mail server.

    Attributes:
        port: where it listens.
        mails: what came in, in order.
        refused: addresses that it does not know.
        delay: seconds before a mail is taken.
    """

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    delay: float = 0.0

    def url(self, to: str = "ann@example.org", **more: str) -> str:
        """The URL by which apprise sends to it."""
        options = "".join(f"&{name}={value}" for name, value in more.items())
        return f"mailto://127.0.0.1:{self.port}?mode=insecure&from=home@example.org&to={to}{options}"

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _: list[str]) -> str:  # noqa: N802
        if address in self.refused:
            return "550 5.1.1 nobody has that address"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # as aiosmtpd calls it
        await asyncio.sleep(self.delay)
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextmanager
def mail_server(*, port: int = 0) -> Iterator[Mailbox]:
    """A mail server on a free port, or on the one of a server that was stopped."""
    mailbox = Mailbox(port or free_port())
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, ready_timeout=30)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
        controller.loop.close()


# --- Redis ------------------------------------------------------------------------------------------------------------------------


@dataclass
class RedisServer:
    """A Redis server, with what a test does to it."""

    folder: Path
    port: int
    password: str | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.password)

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        command += [] if self.password is None else ["--requirepass", self.password]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def events(self, stream: str = "ml:run-events") -> list[dict[str, str]]:
        """Everything in a stream, oldest first."""
        with self.client as client:
            return [{key.decode(): value.decode() for key, value in fields.items()} for _, fields in client.xrange(stream)]


@contextmanager
def redis_server(folder: Path, *, password: str | None = None) -> Iterator[RedisServer]:
    """A running server that keeps its data in a folder; the test is skipped where there is none."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(folder, free_port(), password)
    server.start()
    try:
        yield server
    finally:
        server.stop()
