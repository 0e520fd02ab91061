"""Readers that report what is wrong with pointer, policy, bundles and history. Nothing here writes."""

from pathlib import Path

from taskclf_dagster.domain.models.bundle import find_bundle_problem, load_bundle, parse_bundle
from taskclf_dagster.domain.models.bundle_files import MANIFEST, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.models.manifest import find_manifest_problem
from taskclf_dagster.domain.registry.champion import read_pointer_dir, read_policy_dir
from taskclf_dagster.domain.registry.history import ActiveHistoryEntry, History, read_history
from taskclf_dagster.domain.registry.history_events import read_cursor
from taskclf_dagster.domain.registry.inference_policy import read_policy
from taskclf_dagster.domain.registry.pointer import ActivePointer, read_active
from taskclf_dagster.domain.storage.files import hash_file_if_exists
from taskclf_dagster.errors import BundleError, UnreadableFileError
from taskclf_dagster.home import Home


def find_active_model_dir(home: Home) -> str | None:
    """The model_dir that taskclf follows: the policy's where there is one, else the pointer's; None where neither can be read."""
    model_dir = (read_policy(home) or {}).get("model_dir")
    if isinstance(model_dir, str):
        return model_dir
    try:
        pointer = read_active(home)
    except UnreadableFileError:
        return None
    return None if pointer is None else pointer.model_dir


def find_pointer_problem(home: Home) -> str | None:
    """Why active.json does not name a bundle that loads, or None."""
    try:
        pointer = read_active(home)
        if pointer is None:
            return f"{home.active_pointer} does not exist"
        load_bundle(resolve_model_dir(home, pointer.model_dir))
    except (UnreadableFileError, BundleError) as error:
        return str(error)
    return None


def find_history_disagreement(home: Home) -> str | None:
    """How active.json, inference_policy.json and the last line of the history differ, or None."""
    warnings: list[str] = []
    pointer_dir, problem = read_pointer_dir(home)
    if problem is not None:
        return problem
    move = read_history(home).last_move
    last = None if move is None or move.new is None else move.new.model_dir
    policy_dir = read_policy_dir(home, warnings)
    if pointer_dir != last:
        return f"active.json names {pointer_dir}, the last line of the history {last}"
    if home.inference_policy.exists() and policy_dir != pointer_dir:
        return f"active.json names {pointer_dir}, inference_policy.json {policy_dir}"
    return None


def find_model_problem(home: Home, model_dir: str) -> str | None:
    """Why taskclf cannot run a model, or None. A bundle with a manifest is compared with it, any other is loaded."""
    try:
        folder = resolve_model_dir(home, model_dir)
        if not (folder / MANIFEST).exists():
            load_bundle(folder)
            return None
    except BundleError as error:
        return error.reason
    files = read_bundle_files(folder)
    differs = find_manifest_problem(files)
    problem = find_bundle_problem(parse_bundle(files)) if differs is None else None
    if differs is not None:
        return differs.detail
    return None if problem is None else problem.reason


def find_usable_pointer(home: Home) -> tuple[ActivePointer | None, str | None]:
    """The pointer, and why it cannot be used: it is damaged, or what it names is. Neither where there is no pointer."""
    try:
        pointer = read_active(home)
    except UnreadableFileError as error:
        return None, f"it cannot be read: {error.reason}"
    return pointer, None if pointer is None else find_model_problem(home, pointer.model_dir)


_FINISHED_LATER = frozenset({"promote", "rollback", "repair"})


def find_last_known_good(home: Home, history: History, *, but: str | None = None) -> ActivePointer | None:
    """The last model that ran, is not blocked, and can run now; other than that of the model_dir given."""
    for entry in reversed(history.moves):
        pointer = entry.new
        if pointer is None or (but is not None and pointer.name == Path(but).name) or pointer.name in history.blocked:
            continue
        if find_model_problem(home, pointer.model_dir) is None:
            return pointer
    return None


def is_cut_off(home: Home) -> bool:
    """Whether the last record is of a change that was not made yet."""
    last = read_history(home).last_move
    return last is not None and last.action != "repair" and is_waiting(home, last)


def is_waiting(home: Home, entry: ActiveHistoryEntry) -> bool:
    """Whether a record's change was not made: the pointer is still what it was before, and no event was written, which comes after."""
    if entry.foreign or entry.action not in _FINISHED_LATER or read_cursor(home) >= (entry.sequence or 0):
        return False
    if entry.action == "repair":
        return hash_file_if_exists(home.active_pointer) == (entry.subject[0] if entry.subject else None)
    pointer = find_usable_pointer(home)[0]
    return (None if pointer is None else pointer.document) == (None if entry.old is None else entry.old.document)


def find_policy_problem(home: Home) -> str | None:
    """Why taskclf cannot follow inference_policy.json, or None; without the file it follows the pointer."""
    if not home.inference_policy.exists():
        return None
    policy = read_policy(home)
    model_dir = None if policy is None else policy.get("model_dir")
    if not isinstance(model_dir, str):
        return f"{home.inference_policy.name} is damaged"
    problem = find_model_problem(home, model_dir)
    return None if problem is None else f"{home.inference_policy.name} names {model_dir}: {problem}"
