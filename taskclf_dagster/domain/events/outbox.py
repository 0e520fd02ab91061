"""The outbox: events that wait for delivery, one file each, and the events of changes of the active model.

Those are written once the change is durable, and again if that was cut off (at least once). An event has the same id however often it is
written. Other events are built in `decision_events` and `defs/run_events`; delivering them is the task of `delivery`.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.storage.files import read_json_object, write_json
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

MAX_EVENT_BYTES = 1024 * 1024


WRITTEN_THROUGH = "written_through.json"


TOLD_DECISION = "told_decision.json"


DELIVERY = "delivery.json"


_NO_EVENTS = frozenset({WRITTEN_THROUGH, TOLD_DECISION, DELIVERY})
"""Files in the outbox that remember something and are no events."""


@dataclass(frozen=True)
class Outbox:
    """What waits.

    Attributes:
        events: the events, in the order in which they happened.
        damaged: files that are no events, each with the reason, in the order of their names.
    """

    events: list[Event]
    damaged: dict[str, str]


def write_event(home: Home, event: Event) -> None:
    """Puts an event into the outbox; written again, it is the same file.

    Raises:
        OSError: it could not be written.
    """
    write_json(event_path(home, event.event_id), event.document)


def event_path(home: Home, event_id: str) -> Path:
    """Where an event waits."""
    return home.outbox / f"{event_id}.json"


def read_outbox(home: Home) -> Outbox:
    """Every event that waits; damaged files are told, and stay."""
    events: list[Event] = []
    damaged: dict[str, str] = {}
    for path in _event_files(home):
        try:
            event = Event.model_validate(read_json_object(path, max_bytes=MAX_EVENT_BYTES))
        except UnreadableFileError as error:
            if path.exists():  # else it was delivered by another process just now
                damaged[path.name] = error.reason
        except ValidationError as error:
            first = error.errors()[0]
            damaged[path.name] = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        else:
            if path.stem == event.event_id:
                events.append(event)
            else:
                damaged[path.name] = f"it holds the event {event.event_id}"
    return Outbox(sorted(events, key=lambda event: (event.occurred_at, event.event_id)), damaged)


def count_events(home: Home) -> int:
    """How many files wait, read or not."""
    return len(_event_files(home))


def drop_oldest_events(home: Home, *, keep: int) -> int:
    """Removes the oldest events beyond a number, where nobody collects them; damaged files stay.

    Returns:
        How many were removed.
    """
    if count_events(home) <= keep:
        return 0
    events = read_outbox(home).events
    going = events[: max(0, len(events) - keep)]
    for event in going:
        file_system().remove_file(event_path(home, event.event_id))
    return len(going)


def _event_files(home: Home) -> list[Path]:
    return sorted(path for path in home.outbox.glob("*.json") if path.name not in _NO_EVENTS and not path.name.startswith("."))
