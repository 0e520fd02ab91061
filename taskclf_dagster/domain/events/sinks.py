"""The interface of event sinks, the sink that cannot be used, and the JSON Lines sink.

`webhook`, `redis_stream` and `apprise_service` have the others. URLs, secrets and the time are passed in; `delivery` decides what is sent
when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.storage.files import make_folders
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import SinkUnavailableError

ROTATE_BYTES = 10 * 1024 * 1024


class Sink(Protocol):
    """Accepts events one at a time.

    Attributes:
        name: the name of the sink in logs and in the delivery state.
        timeout_seconds: the longest time for one event.
        events: the types of events that it gets; None for all. Others count as delivered.
    """

    @property
    def name(self) -> str: ...

    @property
    def timeout_seconds(self) -> float: ...

    @property
    def events(self) -> frozenset[str] | None: ...

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        """Sends an event; when this returns, the sink has it.

        Args:
            event: the event.
            at: the present time.
            timeout: the longest time that sending may take [s].

        Raises:
            SinkUnavailableError: the sink accepts nothing now; it may or may not have this event.
            EventRefusedError: the sink refuses this event.
        """


@runtime_checkable
class DigestSink(Sink, Protocol):
    """A sink that can say in one message what many events say.

    Attributes:
        most_single: of more events that wait at once, all are sent as one digest.
    """

    @property
    def most_single(self) -> int: ...

    def send_digest(self, events: Sequence[Event], *, at: datetime, timeout: float) -> None:
        """Sends one message about several events, oldest first; when this returns, the sink has them all.

        Raises:
            SinkUnavailableError: the sink accepts nothing now; it may or may not have this message.
        """


@dataclass(frozen=True)
class UnusableSink:
    """A sink whose settings cannot be used now; its events wait.

    Attributes:
        problem: the reason and the fix.
    """

    name: str
    problem: str
    timeout_seconds: float = 0.0
    events: frozenset[str] | None = None

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:  # as every sink
        """Accepts nothing.

        Raises:
            SinkUnavailableError: always.
        """
        raise SinkUnavailableError(self.name, self.problem, kind="settings")


@dataclass(frozen=True)
class JsonLinesFile:
    """Appends events to a file, one JSON object a line, and keeps one older file.

    Attributes:
        path: the file; when it exceeds `rotate_bytes`, it replaces the older file, `<name>.1.jsonl`.
    """

    name: str
    path: Path
    rotate_bytes: int = ROTATE_BYTES
    timeout_seconds: float = 0.0
    events: frozenset[str] | None = None

    @property
    def older(self) -> Path:
        return self.path.with_suffix(f".1{self.path.suffix}")

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:  # as every sink
        """Appends a line and syncs it. An incomplete line of a killed process stays, on a line of its own.

        Raises:
            SinkUnavailableError: the file cannot be written.
        """
        line = canonical_json(event.document).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            raise SinkUnavailableError(self.name, f"{self.path} cannot be written ({error.strerror or error})", kind="file") from error

    def _append(self, line: bytes) -> None:
        fs = file_system()
        make_folders(self.path.parent)
        size = self.path.stat().st_size if self.path.exists() else 0
        if size and size + len(line) > self.rotate_bytes:
            fs.replace(self.path, self.older)
            size = 0
        fs.append(self.path, b"\n" + line if size and not _ends_with_newline(self.path) else line)
        fs.sync_file(self.path)
        if not size:
            fs.sync_folder(self.path.parent)


def wants(sink: Sink, event: Event) -> bool:
    """Returns True if a sink gets events of this type."""
    return sink.events is None or event.event_type in sink.events


def split_url(url: str) -> tuple[str, str | None]:
    """Returns scheme and host of a URL; "" and None if it is not a URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", None
    return parts.scheme, parts.hostname


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
