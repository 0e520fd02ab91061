"""The Redis sink: events in a stream. Needs the optional package `redis`."""

from datetime import datetime

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.sinks import split_url
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import SinkSettingsError, SinkUnavailableError

REDIS_INSTALL = "pip install 'taskclf-dagster[redis]'"


_NO_PASSWORD = "unauthenticated"  # noqa: S105  # a word of the answer of Redis to a long command without a password


class RedisStream:
    """Adds events to a Redis stream, which is trimmed to about `max_length` events.

    Attributes:
        name: the name of the sink in logs and in the delivery state.
        timeout_seconds: the longest wait for a connection or an answer.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        stream: str,
        max_length: int,
        timeout_seconds: float = 5.0,
        events: frozenset[str] | None = None,
    ) -> None:
        """Makes the sink; connects when there is something to send.

        Raises:
            SinkSettingsError: the package `redis` is not installed, or the URL is not one of Redis.
        """
        try:
            import redis  # an optional extra
        except ImportError as error:
            raise SinkSettingsError(name, "the package redis is not installed", f"Run {REDIS_INSTALL}") from error
        scheme, fix = split_url(url)[0], "Give one such as redis://localhost:6379/0"
        if scheme not in ("redis", "rediss", "unix"):
            raise SinkSettingsError(name, f"the URL is not one of Redis: its scheme is {scheme!r}", fix)
        try:
            redis.ConnectionPool.from_url(url)  # connects to nothing
        except ValueError as error:  # its message may contain a part of the password
            raise SinkSettingsError(name, "the URL is not one of Redis: its host, port or options are wrong", fix) from error
        self.name, self.timeout_seconds, self.events = name, timeout_seconds, events
        self._url, self._stream, self._max_length, self._redis = url, stream, max_length, redis

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:  # as every sink
        """Adds the event.

        Raises:
            SinkUnavailableError: Redis is down or slow, or refuses writes to this stream.
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
            raise SinkUnavailableError(self.name, f"no answer within {seconds:g} s", kind="timeout") from error
        except (self._redis.AuthenticationError, self._redis.ResponseError) as error:
            reason = _first_line(error)
            if isinstance(error, self._redis.AuthenticationError) or _NO_PASSWORD in reason:
                reason += ": put the right password into the URL that url_env names"
                raise SinkUnavailableError(self.name, reason, kind="password") from error
            raise SinkUnavailableError(self.name, reason, kind="refused") from error
        except (self._redis.RedisError, OSError, UnicodeError) as error:
            raise SinkUnavailableError(self.name, _first_line(error), kind="connection") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
