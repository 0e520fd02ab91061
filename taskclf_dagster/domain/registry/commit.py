"""One change of what taskclf runs: history line, inference policy, pointer, in this order, each durable before the next.

The caller holds the registry's lock. Which change to make is decided in `registry`; what a change cut off in the middle becomes, in
`recovery`.
"""

from contextlib import suppress
from datetime import datetime

from taskclf_dagster.domain.registry.history import ActiveHistoryEntry, History, append_active_history, cut_history, read_history
from taskclf_dagster.domain.registry.history_events import write_events
from taskclf_dagster.domain.registry.index_cache import write_index_cache
from taskclf_dagster.domain.registry.pointer import ActivePointer, read_active
from taskclf_dagster.domain.storage.files import read_bytes_if_exists, write_atomic, write_json
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.errors import UnreadableFileError, UnsafeFileSystemError
from taskclf_dagster.home import Home


def write_active_atomic(home: Home, pointer: ActivePointer) -> None:
    """Writes models/active.json atomically."""
    write_json(home.active_pointer, pointer.document)


def commit(home: Home, entry: ActiveHistoryEntry, history: History) -> History:
    """Makes a change durable: history line first, then what it says. If a write fails before the pointer moved, all is taken back.

    Raises:
        OSError: a write failed. The pointer is as it was, or, if only its durability is in doubt, as the history says.
    """
    policy = read_bytes_if_exists(home.inference_policy)
    try:
        append_active_history(home, entry, history)
        apply(home, entry)
    except (OSError, UnsafeFileSystemError):
        if not _is_applied(home, entry):
            with suppress(OSError):
                _take_back(home, policy, history)
        raise
    after = read_history(home)
    finish(home, after, at=entry.at)
    return after


def apply(home: Home, entry: ActiveHistoryEntry) -> None:
    """Writes policy and pointer as a record says; where it leaves the pointer as it is, nothing."""
    if entry.old == entry.new or entry.new is None or entry.action == "adopt":
        return
    if entry.policy is not None:
        write_json(home.inference_policy, entry.policy)
    write_active_atomic(home, entry.new)


def finish(home: Home, history: History, *, at: datetime) -> None:
    """What follows a durable change: events, and index.json for information. Neither can undo it; missing events come with the next."""
    with suppress(OSError, UnsafeFileSystemError):
        write_events(home, history)
    with suppress(OSError, UnsafeFileSystemError):
        write_index_cache(home, at=at)


def _is_applied(home: Home, entry: ActiveHistoryEntry) -> bool:
    try:
        return entry.old != entry.new and read_active(home) == entry.new
    except UnreadableFileError:
        return False


def _take_back(home: Home, policy: bytes | None, history: History) -> None:
    """Policy first: as long as it is not what it was, the history line stays, and recovery finishes the change."""
    if read_bytes_if_exists(home.inference_policy) != policy:
        if policy is None:
            file_system().remove_file(home.inference_policy)
            file_system().sync_folder(home.models)
        else:
            write_atomic(home.inference_policy, policy)
    if home.active_history.exists():
        cut_history(home, history.size)
