"""Events about changes of the active model: written once the change is durable, and again if that was cut off (at least once).

An event has the same id however often it is written. Delivering events to anyone is not done here.
"""

from taskclf_dagster.domain.files import read_json_object, write_json
from taskclf_dagster.domain.history import ActiveHistoryEntry, History, read_history
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

EVENT_VERSION = 1
EVENT_TYPES = {
    "promote": "model.promoted",
    "rollback": "model.rolled_back",
    "repair": "model.pointer_repaired",
    "adopt": "model.pointer_adopted",
}
_CURSOR = "written_through.json"


def write_events(home: Home, history: History) -> None:
    """Writes the events of all own changes behind the cursor, then moves the cursor."""
    done = read_cursor(home, history)
    if history.sequence <= done:
        return
    for entry in history.moves:
        if entry.sequence is not None and entry.sequence > done:
            event = build_event(entry)
            write_json(home.outbox / f"{event['eventId']}.json", event)
    last = max((entry for entry in history.entries if not entry.foreign), key=lambda entry: entry.sequence or 0)
    write_json(home.outbox / _CURSOR, {"sequence": last.sequence, "checksum": last.checksum})


def read_cursor(home: Home, history: History | None = None) -> int:
    """The number of the last record whose event was written; 0 where that record is not in this history, so that events come again."""
    try:
        cursor = read_json_object(home.outbox / _CURSOR)
    except UnreadableFileError:
        return 0
    known = {(entry.sequence, entry.checksum) for entry in (history or read_history(home)).entries if not entry.foreign}
    sequence = cursor.get("sequence")
    return sequence if isinstance(sequence, int) and (sequence, cursor.get("checksum")) in known else 0


def count_waiting_events(home: Home) -> int:
    """Events that are not delivered to every sink yet."""
    return sum(1 for path in home.outbox.glob("*.json") if path.name != _CURSOR) if home.outbox.is_dir() else 0


def build_event(entry: ActiveHistoryEntry) -> dict[str, object]:
    """The event that tells of a change; its id follows from the history record."""
    new, old = entry.new, entry.old
    reason = {} if new is None or new.reason is None else new.reason
    return {
        "eventId": f"{entry.sequence or 0:08d}-{(entry.checksum or '')[:12]}",
        "eventType": EVENT_TYPES[entry.action or "adopt"],
        "eventVersion": EVENT_VERSION,
        "occurredAt": entry.at.isoformat(),
        "runId": entry.run_id,
        "payload": {
            "modelId": None if new is None else new.name,
            "previousVersion": None if old is None else old.name,
            "newVersion": None if new is None else new.name,
            "metrics": {key: reason.get(key) for key in ("macro_f1", "weighted_f1")},
            "reason": entry.reason,
        },
    }
