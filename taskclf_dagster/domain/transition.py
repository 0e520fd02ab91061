"""One change of what taskclf runs: history line, inference policy, pointer, in this order, each durable before the next.

The caller holds the registry's lock. Which change to make is decided in `registry`; what a change cut off in the middle becomes, in
`recovery`.
"""

from contextlib import suppress
from datetime import datetime

from taskclf_dagster.domain.bundle import LoadedModel, incompatible_reason, load_bundle, parse_bundle
from taskclf_dagster.domain.files import bytes_or_none, write_atomic, write_json
from taskclf_dagster.domain.filesystem import file_system
from taskclf_dagster.domain.history import ActiveHistoryEntry, History, append_active_history, cut_history, read_history
from taskclf_dagster.domain.manifest import MANIFEST, find_manifest_problem
from taskclf_dagster.domain.outbox import write_events
from taskclf_dagster.domain.pointer import ActivePointer, read_active, resolve_model_dir
from taskclf_dagster.domain.selection import write_index_cache
from taskclf_dagster.errors import BundleError, UnreadableFileError, UnsafeFileSystemError
from taskclf_dagster.home import Home

INFERENCE_POLICY_VERSION = "v1"


def write_active_atomic(home: Home, pointer: ActivePointer) -> None:
    """Writes models/active.json atomically."""
    write_json(home.active_pointer, pointer.document)


def commit(home: Home, entry: ActiveHistoryEntry, history: History) -> History:
    """Makes a change durable: history line first, then what it says. If a write fails before the pointer moved, all is taken back.

    Raises:
        OSError: a write failed. The pointer is as it was, or, if only its durability is in doubt, as the history says.
    """
    policy = bytes_or_none(home.inference_policy)
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


def find_model_problem(home: Home, model_dir: str) -> str | None:
    """Why taskclf cannot run a model, or None. A bundle with a manifest is compared with it, any other is loaded."""
    try:
        folder = resolve_model_dir(home, model_dir)
        if not (folder / MANIFEST).exists():
            load_bundle(folder)
            return None
    except BundleError as error:
        return error.reason
    return find_manifest_problem(folder) or incompatible_reason(parse_bundle(folder))


def find_usable_pointer(home: Home) -> tuple[ActivePointer | None, str | None]:
    """The pointer, and why it cannot be used: it is damaged, or what it names is. Neither where there is no pointer."""
    try:
        pointer = read_active(home)
    except UnreadableFileError as error:
        return None, f"it cannot be read: {error.reason}"
    return pointer, None if pointer is None else find_model_problem(home, pointer.model_dir)


def build_policy(model: LoadedModel, *, at: datetime, source: str, code_version: str = "unknown") -> dict[str, object]:
    """What taskclf's inference reads first: a model in models/ and its threshold. Calibrators belong to another model and are gone."""
    metadata = model.bundle.metadata
    return {
        "policy_version": INFERENCE_POLICY_VERSION,
        "model_dir": f"models/{model.bundle.model_id}",
        "model_schema_hash": model.schema.schema_hash,
        "model_label_set": [] if metadata is None else metadata.label_set,
        "calibrator_store_dir": None,
        "calibration_method": None,
        "reject_threshold": model.reject_threshold,
        "per_user_reject_thresholds": None,
        "created_at": at.isoformat(),
        "source": source,
        "git_commit": code_version,
    }


def metrics_of(model: LoadedModel) -> dict[str, float]:
    """The stored validation figures, as the pointer repeats them."""
    metrics = model.bundle.metrics
    return {} if metrics is None else {"macro_f1": metrics.macro_f1, "weighted_f1": metrics.weighted_f1}


def _is_applied(home: Home, entry: ActiveHistoryEntry) -> bool:
    try:
        return entry.old != entry.new and read_active(home) == entry.new
    except UnreadableFileError:
        return False


def _take_back(home: Home, policy: bytes | None, history: History) -> None:
    """Policy first: as long as it is not what it was, the history line stays, and recovery finishes the change."""
    if bytes_or_none(home.inference_policy) != policy:
        if policy is None:
            file_system().remove_file(home.inference_policy)
            file_system().sync_folder(home.models)
        else:
            write_atomic(home.inference_policy, policy)
    if home.active_history.exists():
        cut_history(home, history.size)
