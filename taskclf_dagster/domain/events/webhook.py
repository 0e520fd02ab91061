"""The webhook sink: events as HTTP POST, signed as Standard Webhooks 1.0 (standardwebhooks.com) wants it.

The signature is a few lines of its own: the package `standardwebhooks` replaces the time zone of the time that it signs, where it should
convert it. The tests verify with that package.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import requests

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.sinks import split_url
from taskclf_dagster.domain.events.time_limit import call_within
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import EventRefusedError, SinkSettingsError, SinkUnavailableError

SECRET_PREFIX = "whsec_"  # noqa: S105  # what a base64 secret begins with


LEAST_KEY_BYTES, MOST_KEY_BYTES = 24, 64
"""Sizes of a key behind the prefix, as Standard Webhooks states them."""


GONE_WAIT_SECONDS = 24 * 3600.0
"""A receiver that answered 410 Gone is asked again after this, because its URL may have been changed in the environment."""


_NOT_ABOUT_THE_EVENT = frozenset({401, 403, 404, 408, 429})
"""Answers below 500 that concern receiver or sender, not one event."""


@dataclass(frozen=True)
class Webhook:
    """Posts events over HTTP, signed if there is a secret. Redirects are not followed.

    Attributes:
        secret: `whsec_` and the key in base64, several of these separated by spaces while a secret is changed, or else the key itself.
        proxies: as `requests` takes them.
        verify: a file of certificates to trust; True for those of `requests`.
    """

    name: str
    url: str = field(repr=False)
    timeout_seconds: float = 5.0
    secret: str | None = field(default=None, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    events: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Checks URL and secret.

        Raises:
            SinkSettingsError: the URL does not begin with http:// or https:// or names no host, or a secret with the prefix is not 24 to 64
                bytes in base64.
        """
        scheme, host = split_url(self.url)
        if scheme not in ("http", "https") or not host:
            found = f"its scheme is {scheme!r}" if scheme not in ("http", "https") else "it names no host"
            raise SinkSettingsError(self.name, f"the URL is not a web address: {found}", "Give one such as https://example.org/events")
        if self.secret is not None:
            try:
                decode_secrets(self.secret)
            except ValueError as error:
                fix = f"Set the secret to {SECRET_PREFIX} and {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} bytes in base64"
                raise SinkSettingsError(self.name, f"the secret begins with {SECRET_PREFIX} and {error}", fix) from None

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        """Posts the event; an answer from 200 to 299 means that the receiver has it.

        Raises:
            SinkUnavailableError: no connection, no answer in time, or an answer that does not concern this event.
            EventRefusedError: the receiver refuses this event (400, 422 and the like).
        """
        body = canonical_json(event.document).encode()
        status, retry_after = self._post(body, self._headers(event, body, at), min(timeout, self.timeout_seconds))
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            reason = f"answered {status}, and redirects are not followed: set url to the new address"
            raise SinkUnavailableError(self.name, reason, kind="redirect")
        if status == HTTPStatus.GONE:
            reason = "answered 410 Gone: it wants no more events. Remove it from events.sinks"
            raise SinkUnavailableError(self.name, reason, kind="gone", wait_seconds=GONE_WAIT_SECONDS)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _NOT_ABOUT_THE_EVENT:
            raise SinkUnavailableError(self.name, f"answered {status}", kind="status", wait_seconds=read_retry_after(retry_after, now=at))
        raise EventRefusedError(self.name, event.event_id, f"answered {status}")

    def _headers(self, event: Event, body: bytes, at: datetime) -> dict[str, str]:
        timestamp = int(at.timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "taskclf-dagster",
            "webhook-id": event.event_id,
            "webhook-timestamp": str(timestamp),
        }
        if self.secret is not None:
            headers["webhook-signature"] = sign(body, event_id=event.event_id, timestamp=timestamp, secret=self.secret)
        return headers

    def _post(self, body: bytes, headers: Mapping[str, str], seconds: float) -> tuple[int, str | None]:
        """Returns the status and the header `Retry-After`."""

        def post() -> tuple[int, str | None]:
            with requests.Session() as session:
                session.trust_env = False  # proxies and certificates of the environment are passed in
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
                return answer.status_code, answer.headers.get("Retry-After")

        try:
            return call_within(seconds, post)
        except (requests.Timeout, TimeoutError) as error:
            raise SinkUnavailableError(self.name, f"no answer within {seconds:g} s", kind="timeout") from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise SinkUnavailableError(self.name, f"no connection ({_system_message(error)})", kind="connection") from error


def sign(body: bytes, *, event_id: str, timestamp: int, secret: str) -> str:
    """Returns the header `webhook-signature`: for each key `v1,` and the HMAC-SHA-256 of "id.timestamp.body" in base64.

    Args:
        body: the bytes that are posted.
        event_id: the header `webhook-id`; has no full stop.
        timestamp: the header `webhook-timestamp` [s since 1970].
        secret: as `decode_secrets` takes it.

    Raises:
        ValueError: the secret begins with `whsec_` and is not as `decode_secrets` takes it.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in decode_secrets(secret)]
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def decode_secrets(secret: str) -> list[bytes]:
    """Returns the keys of a secret, at least one; the message of an error contains no part of it.

    Args:
        secret: `whsec_` and a key in base64, or several of these separated by white space; any other text is one key itself.

    Raises:
        ValueError: the secret begins with `whsec_`, and it or one of the others has not 24 to 64 bytes in base64 behind the prefix.
    """
    if not secret.startswith(SECRET_PREFIX):
        return [secret.encode()]
    return [_decode_key(part) for part in secret.split()]


def _decode_key(part: str) -> bytes:
    if not part.startswith(SECRET_PREFIX):
        msg = f"has another one beside it that does not begin with {SECRET_PREFIX}"
        raise ValueError(msg)
    encoded = part.removeprefix(SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        msg = "is not base64"
        raise ValueError(msg) from None
    if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        msg = f"has a key of {len(key)} bytes"
        raise ValueError(msg)
    return key


def read_retry_after(header: str | None, *, now: datetime) -> float:
    """Returns the wait that the header `Retry-After` asks for, in seconds or as a date [s]; 0 if there is none that can be read."""
    if header is None:
        return 0.0
    if header.strip().isascii() and header.strip().isdigit():
        return float(header.strip()[:9])
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())


def _system_message(error: BaseException) -> str:
    """Returns the message of the system, such as "Connection refused"; that of `requests` repeats the URL with its secrets."""
    found = type(error).__name__
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, requests.RequestException):
            found = seen.strerror
        seen = seen.__cause__ or seen.__context__
    return found
