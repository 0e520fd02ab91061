"""Where events go: a file of JSON lines, a webhook, a Redis stream. Each takes one event, or says why not.

URLs and secrets are passed in, and so is the time. When to send what, and again, is decided in `delivery`.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Protocol
from urllib.parse import urlsplit

import requests

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.storage.files import make_folders
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import EventRefusedError, SinkSettingsError, SinkUnavailableError

ROTATE_BYTES = 10 * 1024 * 1024


REDIS_INSTALL = "pip install 'taskclf-dagster[redis]'"


_NOBODY_IS_LET_IN = frozenset({401, 403, 404, 408, 429})
"""Answers below 500 that are about the receiver or the sender, not about one event."""


class Sink(Protocol):
    """Takes events one at a time.

    Attributes:
        name: names the sink in what is remembered of it.
        timeout_seconds: how long an event may take.
    """

    @property
    def name(self) -> str: ...

    @property
    def timeout_seconds(self) -> float: ...

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        """Hands an event over; when this returns, the sink has it.

        Args:
            event: the event.
            at: the present time.
            timeout: how long it may take at most [seconds].

        Raises:
            SinkUnavailableError: the sink takes nothing now; whether it has this event is not known.
            EventRefusedError: the sink does not want this event.
        """


@dataclass(frozen=True)
class UnusableSink:
    """A sink that is configured and cannot be used; its events wait.

    Attributes:
        problem: why not, and what to do about it.
    """

    name: str
    problem: str
    timeout_seconds: float = 0.0

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        """Takes nothing.

        Raises:
            SinkUnavailableError: always.
        """
        raise SinkUnavailableError(self.name, self.problem)


@dataclass(frozen=True)
class JsonLines:
    """Appends events to a file, one JSON object a line, and keeps one older file beside it.

    Attributes:
        path: the file; at `rotate_bytes` it becomes `<name>.1.jsonl`, over the one that was there.
    """

    name: str
    path: Path
    rotate_bytes: int = ROTATE_BYTES
    timeout_seconds: float = 0.0

    @property
    def older(self) -> Path:
        """The file before the present one."""
        return self.path.with_suffix(f".1{self.path.suffix}")

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        """Appends a line that survives a power loss; half a line that a killed process left stays alone on its own.

        Raises:
            SinkUnavailableError: the file cannot be written.
        """
        line = canonical_json(event.document).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            raise SinkUnavailableError(self.name, f"{self.path} cannot be written ({error.strerror or error})") from error

    def _append(self, line: bytes) -> None:
        fs = file_system()
        make_folders(self.path.parent)
        size = self.path.stat().st_size if self.path.exists() else 0
        if size and size + len(line) > self.rotate_bytes:
            fs.replace(self.path, self.older)
            size = 0
        fs.append(self.path, b"\n" + line if size and not _ends_a_line(self.path) else line)
        fs.sync_file(self.path)
        if not size:
            fs.sync_folder(self.path.parent)


@dataclass(frozen=True)
class Webhook:
    """Posts events over HTTP, signed where there is a secret. Redirects are not followed.

    Attributes:
        secret: key of the HMAC signature.
        proxies: as `requests` takes them.
        verify: a file of certificates to trust; True is the one of `requests`.
    """

    name: str
    url: str = field(repr=False)
    timeout_seconds: float = 5.0
    secret: str | None = field(default=None, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True

    def __post_init__(self) -> None:
        """Refuses what is no web address.

        Raises:
            SinkSettingsError: the URL does not begin with http:// or https://, or names no host.
        """
        scheme, host = _scheme_and_host(self.url)
        if scheme not in ("http", "https") or not host:
            found = f"its scheme is {scheme!r}" if scheme not in ("http", "https") else "it names no host"
            raise SinkSettingsError(self.name, f"the URL is not a web address: {found}", "Give one such as https://example.org/events")

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        """Posts the event; any answer from 200 to 299 means that the receiver has it.

        Raises:
            SinkUnavailableError: no connection, no answer in time, or an answer that is not about this event.
            EventRefusedError: the receiver refuses this event (400, 422 and the like).
        """
        body = canonical_json(event.document).encode()
        status = self._post(body, self._headers(event, body, at), min(timeout, self.timeout_seconds))
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise SinkUnavailableError(self.name, f"answered {status}, and redirects are not followed: set url to where it moved")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _NOBODY_IS_LET_IN:
            raise SinkUnavailableError(self.name, f"answered {status}")
        raise EventRefusedError(self.name, event.event_id, f"answered {status}")

    def _headers(self, event: Event, body: bytes, at: datetime) -> dict[str, str]:
        timestamp = str(int(at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "taskclf-dagster",
            "X-Taskclf-Event": event.event_type,
            "X-Taskclf-Event-Id": event.event_id,
            "X-Taskclf-Timestamp": timestamp,
        }
        if self.secret is not None:
            headers["X-Taskclf-Signature"] = sign(body, timestamp, self.secret)
        return headers

    def _post(self, body: bytes, headers: Mapping[str, str], seconds: float) -> int:
        def post() -> int:
            with requests.Session() as session:
                session.trust_env = False  # what the environment says of proxies and certificates is passed in
                answer = session.post(
                    self.url,
                    data=body,
                    headers=dict(headers),
                    timeout=seconds,
                    allow_redirects=False,
                    proxies=dict(self.proxies),
                    verify=self.verify,
                    stream=True,  # the status is enough
                )
                answer.close()
                return answer.status_code

        try:
            return _within(seconds, post)
        except requests.Timeout as error:
            raise SinkUnavailableError(self.name, f"no answer within {seconds:g} s") from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise SinkUnavailableError(self.name, f"no connection ({_innermost(error)})") from error


class Redis:
    """Adds events to a Redis stream, of which about the newest `max_length` stay.

    Attributes:
        name: names the sink in what is remembered of it.
        timeout_seconds: how long to wait for a connection or an answer.
    """

    def __init__(self, name: str, url: str, *, stream: str, max_length: int, timeout_seconds: float = 5.0) -> None:
        """Makes the sink; connects when there is something to send.

        Raises:
            SinkSettingsError: the package `redis` is not installed, or the URL is none of Redis.
        """
        try:
            import redis  # an optional extra
        except ImportError as error:
            raise SinkSettingsError(name, "the package redis is not installed", f"Run {REDIS_INSTALL}") from error
        scheme, fix = _scheme_and_host(url)[0], "Give one such as redis://localhost:6379/0"
        if scheme not in ("redis", "rediss", "unix"):
            raise SinkSettingsError(name, f"the URL is not one of Redis: its scheme is {scheme!r}", fix)
        try:
            redis.ConnectionPool.from_url(url)  # connects to nothing
        except ValueError as error:  # its words may hold a part of the password
            raise SinkSettingsError(name, "the URL is not one of Redis: its host, port or options are wrong", fix) from error
        self.name, self.timeout_seconds = name, timeout_seconds
        self._url, self._stream, self._max_length, self._redis = url, stream, max_length, redis

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        """Adds the event.

        Raises:
            SinkUnavailableError: Redis is away or slow, or does not let us write this stream.
        """
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        fields = {"eventId": event.event_id, "eventType": event.event_type, "event": canonical_json(event.document)}
        seconds = min(timeout, self.timeout_seconds)
        try:
            with self._redis.Redis.from_url(
                self._url,
                socket_timeout=seconds,
                socket_connect_timeout=seconds,
                retry=Retry(NoBackoff(), 0),  # a second XADD would be a second event
            ) as client:
                client.xadd(self._stream, fields, maxlen=self._max_length, approximate=True)
        except self._redis.TimeoutError as error:
            raise SinkUnavailableError(self.name, f"no answer within {seconds:g} s") from error
        except (self._redis.RedisError, OSError, UnicodeError) as error:
            words = str(error).partition("\n")[0][:200] or type(error).__name__
            hint = ": it wants a password, which belongs into the URL that url_env names" if "unauthenticated" in words else ""
            raise SinkUnavailableError(self.name, words + hint) from error


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """The signature of a webhook: HMAC-SHA-256 over "<timestamp>.<body>", so that neither can be exchanged."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _within(seconds: float, call: Callable[[], int]) -> int:
    """Calls in a thread that is left alone after a time: a receiver that answers a byte at a time outlives every socket timeout."""
    results: list[int] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except (requests.RequestException, OSError, ValueError) as error:
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise requests.Timeout
    return results[0]


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _scheme_and_host(url: str) -> tuple[str, str | None]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", None
    return parts.scheme, parts.hostname


def _innermost(error: BaseException) -> str:
    """What the system says, such as "Connection refused"; never the words of `requests`, which repeat the URL with its secrets."""
    found = type(error).__name__
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, requests.RequestException):
            found = seen.strerror
        seen = seen.__cause__ or seen.__context__
    return found
