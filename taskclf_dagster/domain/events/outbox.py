"""The outbox: events that wait for delivery, one file each.

An event is written once its subject is durable, and again if that was interrupted; it has the same id each time. `delivery` sends them.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.validation_text import describe_validation_error

MAX_EVENT_BYTES = 1024 * 1024


WRITTEN_THROUGH = "written_through.json"


REPORTED_DECISION = "reported_decision.json"


DELIVERY = "delivery.json"


_STATE_FILES = frozenset({WRITTEN_THROUGH, REPORTED_DECISION, DELIVERY})
"""Files in the outbox that are not events."""


@dataclass(frozen=True)
class Outbox:
    """The contents of the outbox.

    Attributes:
        events: waiting events, in the order in which they happened.
        damaged: files that are not events, with the reason, in the order of their names.
    """

    events: list[Event]
    damaged: dict[str, str]


def write_event(home: Home, event: Event) -> None:
    """Writes an event to the outbox; written again, it is the same file.

    Raises:
        OSError: the outbox cannot be written.
    """
    write_json(event_path(home, event.event_id), event.document)


def event_path(home: Home, event_id: str) -> Path:
    """Returns the file of a waiting event."""
    return home.outbox / f"{event_id}.json"


def read_outbox(home: Home) -> Outbox:
    """Reads every waiting event; damaged files are reported and kept."""
    events: list[Event] = []
    damaged: dict[str, str] = {}
    for path in _event_files(home):
        try:
            event = Event.model_validate(read_json_object(path, max_bytes=MAX_EVENT_BYTES))
        except UnreadableFileError as error:
            if path.exists():  # otherwise another process has just delivered it
                damaged[path.name] = error.reason
        except ValidationError as error:
            damaged[path.name] = describe_validation_error(error)
        else:
            if path.stem == event.event_id:
                events.append(event)
            else:
                damaged[path.name] = f"it holds the event {event.event_id}"
    return Outbox(sorted(events, key=lambda event: (event.occurred_at, event.event_id)), damaged)


def count_events(home: Home) -> int:
    """Returns the number of waiting files, damaged ones included."""
    return len(_event_files(home))


def drop_oldest_events(home: Home, *, keep: int) -> int:
    """Removes the oldest events beyond a number; damaged files are kept.

    Returns:
        The number of removed events.
    """
    if count_events(home) <= keep:
        return 0
    events = read_outbox(home).events
    oldest = events[: max(0, len(events) - keep)]
    for event in oldest:
        file_system().remove_file(event_path(home, event.event_id))
    return len(oldest)


def _event_files(home: Home) -> list[Path]:
    return sorted(path for path in home.outbox.glob("*.json") if path.name not in _STATE_FILES and not path.name.startswith("."))
