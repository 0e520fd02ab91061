"""One change of the active model, or of the policy it runs with: history line, inference policy, pointer, each durable before the next.

The caller holds the registry's lock and decides which change to make. What becomes of a change that was interrupted is decided in
`recovery`.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from taskclf_dagster.domain.registry.history import append_active_history, cut_history
from taskclf_dagster.domain.registry.history_events import write_events
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.index_cache import write_index_cache
from taskclf_dagster.domain.registry.inference_policy import PolicyFile, read_policy
from taskclf_dagster.domain.registry.pointer import ActivePointer, parse_pointer_file, read_active
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.files import json_text, read_bytes_if_exists, write_atomic, write_json
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.json_files import json_file
from taskclf_dagster.errors import UnreadableFileError, UnsafeFileSystemError
from taskclf_dagster.home import Home


def write_active_atomic(home: Home, pointer: ActivePointer) -> None:
    """Writes models/active.json atomically."""
    write_json(home.active_pointer, pointer.document)


def commit(state: RegistryState, entry: ActiveHistoryEntry) -> RegistryState:
    """Makes a pointer change durable: history record first, then the files. If a write fails before the pointer moved, all is undone.

    Args:
        state: the state before the change.
        entry: the change.

    Returns:
        The state after the change.

    Raises:
        OSError: a write failed. The pointer is as it was, or, if only its durability is in doubt, as the history says.
    """
    home, policy = state.home, _policy_bytes(state)
    try:
        history = append_active_history(home, entry, state.history, state.keys)
        apply(home, entry)
    except (OSError, UnsafeFileSystemError):
        if not _is_applied(home, entry):
            with suppress(OSError):
                _take_back(state, policy)
        raise
    after = _state_after(replace(state, history=history), entry)
    finish(after, at=entry.at, written_through=state.written_through)
    return after


def apply(home: Home, entry: ActiveHistoryEntry) -> None:
    """Writes policy and pointer as a record says; nothing where it leaves both as they are.

    A change of the policy alone writes the pointer again, byte for byte, after the policy: taskclf loads what runs when this file has a new
    time.
    """
    if entry.action == "calibrate" and entry.policy is not None:
        write_json(home.inference_policy, entry.policy)
        pointer = read_bytes_if_exists(home.active_pointer)
        if pointer is not None:
            write_atomic(home.active_pointer, pointer)
    if not _moves_pointer(entry) or entry.new is None:
        return
    if entry.policy is not None:
        write_json(home.inference_policy, entry.policy)
    write_active_atomic(home, entry.new)


def finish(state: RegistryState, *, at: datetime, written_through: int) -> None:
    """Writes what follows a durable change: events, and index.json for information.

    Neither can undo the change; missing events are written with the next one.
    """
    with suppress(OSError, UnsafeFileSystemError):
        write_events(state.home, state.history, written_through=written_through)
    with suppress(OSError, UnsafeFileSystemError):
        write_index_cache(state.home, at=at, bundles=state.bundles)


def _moves_pointer(entry: ActiveHistoryEntry) -> bool:
    return entry.old != entry.new and entry.new is not None and entry.action not in ("adopt", "calibrate")


def _state_after(state: RegistryState, entry: ActiveHistoryEntry) -> RegistryState:
    """Returns the state with the files that `apply` wrote."""
    home, policy_file = state.home, state.policy_file
    if entry.policy is not None and entry.action != "adopt":
        policy_file = PolicyFile(json_file(home.inference_policy, json_text(entry.policy).encode()))
    if not _moves_pointer(entry) or entry.new is None:
        return replace(state, policy_file=policy_file)
    pointer_file = parse_pointer_file(json_file(home.active_pointer, json_text(entry.new.document).encode()))
    return replace(state, pointer_file=pointer_file, policy_file=policy_file)


def _is_applied(home: Home, entry: ActiveHistoryEntry) -> bool:
    if entry.action == "calibrate":
        return read_policy(home) == entry.policy
    try:
        return entry.old != entry.new and read_active(home) == entry.new
    except UnreadableFileError:
        return False


def _policy_bytes(state: RegistryState) -> bytes | None:
    file = state.policy_file.file
    return file.content if file.content is not None or not file.exists else read_bytes_if_exists(state.home.inference_policy)


def _take_back(state: RegistryState, policy: bytes | None) -> None:
    """Restores the policy, then cuts the history: until the policy is restored the line stays, and recovery finishes the change."""
    home = state.home
    if read_bytes_if_exists(home.inference_policy) != policy:
        if policy is None:
            file_system().remove_file(home.inference_policy)
            file_system().sync_folder(home.models)
        else:
            write_atomic(home.inference_policy, policy)
    if home.active_history.exists():
        cut_history(home, state.history.size)
