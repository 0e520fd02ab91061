"""The webhook sink: events as HTTP POST, signed as Standard Webhooks 1.0 (standardwebhooks.com) wants it.

The signature is a few lines of its own: the package `standardwebhooks` replaces the time zone of the time that it signs, where it should
convert it. The tests verify with that package.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from threading import Thread

import requests

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.sinks import split_url
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import EventRefusedError, SinkSettingsError, SinkUnavailableError

SECRET_PREFIX = "whsec_"  # noqa: S105  # what a base64 secret begins with


_NOT_ABOUT_THE_EVENT = frozenset({401, 403, 404, 408, 429})
"""Answers below 500 that concern receiver or sender, not one event."""


@dataclass(frozen=True)
class Webhook:
    """Posts events over HTTP, signed if there is a secret. Redirects are not followed.

    Attributes:
        secret: `whsec_` and the key in base64, or else the key itself.
        proxies: as `requests` takes them.
        verify: a file of certificates to trust; True for those of `requests`.
    """

    name: str
    url: str = field(repr=False)
    timeout_seconds: float = 5.0
    secret: str | None = field(default=None, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True

    def __post_init__(self) -> None:
        """Checks URL and secret.

        Raises:
            SinkSettingsError: the URL does not begin with http:// or https:// or names no host, or the secret is not base64.
        """
        scheme, host = split_url(self.url)
        if scheme not in ("http", "https") or not host:
            found = f"its scheme is {scheme!r}" if scheme not in ("http", "https") else "it names no host"
            raise SinkSettingsError(self.name, f"the URL is not a web address: {found}", "Give one such as https://example.org/events")
        if self.secret is not None:
            try:
                decode_secret(self.secret)
            except ValueError as error:
                fix = f"Set the secret to {SECRET_PREFIX} and 24 to 64 bytes in base64"
                raise SinkSettingsError(self.name, f"the secret begins with {SECRET_PREFIX} and {error}", fix) from None

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        """Posts the event; an answer from 200 to 299 means that the receiver has it.

        Raises:
            SinkUnavailableError: no connection, no answer in time, or an answer that does not concern this event.
            EventRefusedError: the receiver refuses this event (400, 422 and the like).
        """
        body = canonical_json(event.document).encode()
        status = self._post(body, self._headers(event, body, at), min(timeout, self.timeout_seconds))
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            reason = f"answered {status}, and redirects are not followed: set url to the new address"
            raise SinkUnavailableError(self.name, reason, kind="redirect")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _NOT_ABOUT_THE_EVENT:
            raise SinkUnavailableError(self.name, f"answered {status}", kind="status")
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

    def _post(self, body: bytes, headers: Mapping[str, str], seconds: float) -> int:
        def post() -> int:
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
                return answer.status_code

        try:
            return _call_within(seconds, post)
        except requests.Timeout as error:
            raise SinkUnavailableError(self.name, f"no answer within {seconds:g} s", kind="timeout") from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise SinkUnavailableError(self.name, f"no connection ({_system_message(error)})", kind="connection") from error


def sign(body: bytes, *, event_id: str, timestamp: int, secret: str) -> str:
    """Returns the header `webhook-signature`: `v1,` and the HMAC-SHA-256 of "id.timestamp.body" in base64.

    Args:
        body: the bytes that are posted.
        event_id: the header `webhook-id`; has no full stop.
        timestamp: the header `webhook-timestamp` [s since 1970].
        secret: `whsec_` and the key in base64, or else the key itself.

    Raises:
        ValueError: the secret begins with `whsec_` and is not base64.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(decode_secret(secret), signed, hashlib.sha256).digest()).decode()


def decode_secret(secret: str) -> bytes:
    """Returns the key of a secret; the message of an error does not contain it.

    Raises:
        ValueError: the secret begins with `whsec_` and has no base64 behind it.
    """
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    encoded = secret.removeprefix(SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        msg = "is not base64"
        raise ValueError(msg) from None
    if not key:
        msg = "has no key"
        raise ValueError(msg)
    return key


def _call_within(seconds: float, call: Callable[[], int]) -> int:
    """Calls in a thread that is abandoned after a time: a receiver that answers a byte at a time outlives every socket timeout."""
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


def _system_message(error: BaseException) -> str:
    """Returns the message of the system, such as "Connection refused"; that of `requests` repeats the URL with its secrets."""
    found = type(error).__name__
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, requests.RequestException):
            found = seen.strerror
        seen = seen.__cause__ or seen.__context__
    return found
