"""Events for changes of the active pointer, built from history records.

An event is written once its change is durable, and again if that was interrupted (at least once).
"""

from datetime import UTC
from typing import NamedTuple

from taskclf_dagster.config.event_types import EventType
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.outbox import WRITTEN_THROUGH, write_event
from taskclf_dagster.domain.registry.history import History
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

EVENT_TYPES: dict[str, EventType] = {
    "promote": "model.promoted",
    "rollback": "model.rolled_back",
    "repair": "model.pointer_repaired",
    "adopt": "model.pointer_adopted",
    "calibrate": "model.calibrated",
}


def write_events(home: Home, history: History, *, written_through: int | None = None) -> None:
    """Writes the events of all own changes after the cursor, then moves the cursor.

    Args:
        home: the taskclf home.
        history: its history.
        written_through: the cursor if it was read already.
    """
    done = read_cursor(home, history).written_through if written_through is None else written_through
    if history.sequence <= done:
        return
    for entry in history.moves:
        if entry.sequence is not None and entry.sequence > done:
            write_event(home, build_event(entry))
    last = max((entry for entry in history.entries if not entry.foreign), key=lambda entry: entry.sequence or 0)
    write_json(home.outbox / WRITTEN_THROUGH, {"sequence": last.sequence, "checksum": last.checksum})


class Cursor(NamedTuple):
    """The progress of writing the events of a history.

    Attributes:
        written_through: number of the last record whose event was written; 0 if that record is not in the history.
        is_ahead: True if a record whose event was written is missing from the history.
    """

    written_through: int
    is_ahead: bool


def read_cursor(home: Home, history: History) -> Cursor:
    """Reads how far the events of a history were written; a file that is missing or cannot be read says nothing."""
    try:
        cursor = read_json_object(home.outbox / WRITTEN_THROUGH)
    except UnreadableFileError:
        return Cursor(0, False)
    sequence, checksum = cursor.get("sequence"), cursor.get("checksum")
    known = any((entry.sequence, entry.checksum) == (sequence, checksum) for entry in history.entries if not entry.foreign)
    return Cursor(sequence if isinstance(sequence, int) and known else 0, not known)


def build_event(entry: ActiveHistoryEntry) -> Event:
    """Returns the event of a pointer change; its id follows from the history record."""
    new, old = entry.new, entry.old
    name = None if new is None else new.name
    return Event(
        event_id=f"{entry.sequence or 0:08d}-{(entry.checksum or '')[:12]}",
        event_type=EVENT_TYPES[entry.action or "adopt"],
        occurred_at=entry.at if entry.at.tzinfo else entry.at.replace(tzinfo=UTC),
        run_id=entry.run_id,
        payload=EventPayload(
            model_id=name,
            previous_version=None if old is None else old.name,
            new_version=name,
            metrics=pick_metrics(None if new is None else new.reason),
            reason=entry.reason,
        ),
    )
