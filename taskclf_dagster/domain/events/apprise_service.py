"""The apprise sink: notifications for people over one URL of the library apprise, such as mailto://, slack:// or ntfy://.

apprise is kept to sending plain text: it loads no plugin and no configuration file of its own, attaches nothing, writes nothing to disk,
and does not retry. Its log, which holds parts of URLs, is shown nowhere; a failure is described by status codes and messages of the system.
"""

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.message import Compose, Message
from taskclf_dagster.domain.events.time_limit import call_within
from taskclf_dagster.errors import SinkSettingsError, SinkUnavailableError

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase


APPRISE_INSTALL = "pip install 'taskclf-dagster[notify]'"


MOST_SINGLE = 3
"""Of more events that wait at once, as after an outage, a person gets one message."""


MOST_CHARACTERS = 2000
"""Length of a message; that of a service which takes less is less."""


class AppriseService:
    """Sends notifications over one URL of apprise, to one recipient.

    Attributes:
        name: the name of the sink in logs and in the delivery state.
        scheme: what the URL begins with; the rest of it may be secret.
        timeout_seconds: the longest time for one message.
        events: the types of events that it gets.
        most_single: of more events that wait at once, all are sent as one message.
    """

    most_single = MOST_SINGLE

    def __init__(self, name: str, url: str, *, compose: Compose, events: frozenset[str], timeout_seconds: float = 10.0) -> None:
        """Makes the sink; connects when there is something to send.

        Raises:
            SinkSettingsError: the package `apprise` is not installed, it does not know the URL, or the URL names several recipients.
        """
        try:
            import apprise  # an optional extra
        except ImportError as error:
            raise SinkSettingsError(name, "the package apprise is not installed", f"Run {APPRISE_INSTALL}") from error
        self.name, self.scheme, self.timeout_seconds, self.events = name, _find_scheme(url), timeout_seconds, events
        self._url, self._compose, self._apprise = url, compose, apprise
        _LOG.install()
        service = self._open(timeout_seconds)
        if service is None:
            reason = f"apprise does not take its URL, which begins with {self.scheme}"
            raise SinkSettingsError(name, reason, "See the page of apprise about this service for how its URL is written")
        recipients = len(service) + len(getattr(service, "cc", ())) + len(getattr(service, "bcc", ()))
        if recipients > 1:
            reason = f"its URL names {recipients} recipients, of whom one who cannot be reached would have the others notified again"
            raise SinkSettingsError(name, reason, "Write a URL for each recipient into the variable, separated by spaces")
        length = int(getattr(service, "body_maxlen", MOST_CHARACTERS))
        self._room = max(1, min(length, MOST_CHARACTERS))

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:  # as every sink
        """Sends a message about an event.

        Raises:
            SinkUnavailableError: the service did not take it in time.
        """
        self.deliver(self._compose([event], self._room), timeout=timeout)

    def send_digest(self, events: Sequence[Event], *, at: datetime, timeout: float) -> None:  # as every sink that has one
        """Sends one message about several events.

        Raises:
            SinkUnavailableError: the service did not take it in time.
        """
        self.deliver(self._compose(events, self._room), timeout=timeout)

    def deliver(self, message: Message, *, timeout: float) -> None:
        """Sends a message. A service that is slow may have it although this fails.

        Raises:
            SinkUnavailableError: the service did not take it in time.
        """
        seconds = min(timeout, self.timeout_seconds)
        try:
            reason = call_within(seconds, lambda: self._notify(message, seconds))
        except TimeoutError as error:
            raise SinkUnavailableError(self.name, f"no answer within {seconds:g} s", kind="timeout") from error
        if reason is not None:
            raise SinkUnavailableError(self.name, reason, kind="connection")

    def _notify(self, message: Message, seconds: float) -> str | None:
        """Returns the reason why a message was not taken; None if it was."""
        with _LOG.read() as lines:
            service = self._open(seconds)
            carrier = self._apprise.Apprise(asset=None if service is None else service.asset)
            if service is None or not carrier.add(service):
                return "apprise does not take its URL any more"
            taken = carrier.notify(
                body=message.text, title=message.title, notify_type=message.tone, body_format=self._apprise.NotifyFormat.TEXT
            )
        return None if taken else _describe_failure(lines, seconds)

    def _open(self, seconds: float) -> "NotifyBase | None":
        """Returns a service that obeys our time limit; one a message, because apprise has each sleep between two messages."""
        service = self._apprise.Apprise.instantiate(self._url, asset=self._make_asset())
        if service is None:
            return None
        service.socket_connect_timeout = service.socket_read_timeout = seconds
        service.optional = False  # it would call a failure a success
        service.retry = 0  # delivery retries
        service.redirects = False  # they would take secrets elsewhere
        service.overflow_mode = self._apprise.OverflowMode.TRUNCATE  # one message, whatever happens
        return service

    def _make_asset(self) -> "AppriseAsset":
        return self._apprise.AppriseAsset(
            app_id="taskclf-dagster",
            app_desc="taskclf-dagster",
            app_url="",
            body_format=self._apprise.NotifyFormat.TEXT,
            async_mode=False,
            service_timeout=0,  # the call stays in our thread, which ends with the process
            plugin_paths=[],
            storage_mode=self._apprise.PersistentStoreMode.MEMORY,
            interpret_emojis=False,
            interpret_escapes=False,
            allow_templates=False,
            pgp_autogen=False,
            pem_autogen=False,
            http_redirects=False,
            image_path_mask=False,
        )


def split_urls(text: str) -> list[str]:
    """Returns the URLs of a text, which are separated by white space or commas; a comma within a URL stays."""
    return [url for url in re.split(r"[\s,]+(?=[A-Za-z0-9+.-]+://)|\s+", text.strip(" \t\r\n,")) if url]


def _find_scheme(url: str) -> str:
    found = re.match(r"[A-Za-z][A-Za-z0-9]{1,20}://", url)
    return found[0].lower() if found else "no scheme such as mailto://"


class _Log(logging.Handler):
    """The log of apprise, which alone has the reason of a failure: kept for the thread that asked, and for nobody else."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._lines: dict[int, list[str]] = {}

    def install(self) -> None:
        """Takes the log of apprise from every other handler, because it has parts of URLs and addresses of people."""
        log = logging.getLogger("apprise")
        log.handlers, log.propagate = [self], False
        log.setLevel(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        lines = self._lines.get(threading.get_ident())
        if lines is not None:
            lines.append(record.getMessage())

    @contextmanager
    def read(self) -> Iterator[list[str]]:
        """Yields the lines that this thread causes, as they come."""
        lines = self._lines[threading.get_ident()] = []
        try:
            yield lines
        finally:
            del self._lines[threading.get_ident()]


_LOG = _Log()


_REASONS = (
    (re.compile(r"\berror=(\d{3})\b"), "answered {}"),
    (re.compile(r"\((\d{3}), b?['\"]"), "its mail server answered {}"),
    (re.compile(r"was refused: (\d{3})\b"), "its mail server answered {}"),
    (re.compile(r"\[Errno -?\d+\] ([A-Z][a-z]+(?: [a-z]+){0,6})"), "no connection ({})"),
    (re.compile(r"(certificate verify failed|Connection unexpectedly closed|Remote end closed connection)"), "no connection ({})"),
)


def _describe_failure(lines: Sequence[str], seconds: float) -> str:
    """Returns the reason of a failure without what may be secret: a status, or a message of the system."""
    for pattern, words in _REASONS:
        for line in lines:
            found = pattern.search(line)
            if found:
                return words.format(found[1])
    if any("timed out" in line for line in lines):
        return f"no answer within {seconds:g} s"
    return "it was not taken, and apprise gives no reason"
