"""Checks every promise of the registry over a home, and returns the findings; changes nothing.

This module checks pointer, policy, history and promoted bundles; `fsck_receipts` receipts and what they judged, `fsck_files` the other
files. `recovery` repairs.
"""

from collections.abc import Callable
from pathlib import Path

from taskclf_dagster.domain.models.bundle_paths import is_model_id, list_bundle_folders
from taskclf_dagster.domain.models.manifest import find_card_problem, find_manifest_problem, read_manifest
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.damaged_files import find_damaged_files
from taskclf_dagster.domain.registry.fsck_files import (
    check_calibrators,
    check_events,
    check_index,
    check_labeled_windows,
    check_labels,
    check_predictions,
    check_probations,
    check_snapshots,
    check_trials,
)
from taskclf_dagster.domain.registry.fsck_findings import (
    PROMISES,
    REPAIR,
    UNREADABLE,
    FindingCode,
    Findings,
    Promise,
    RegistryFinding,
    damage,
    unreadable,
    warning,
)
from taskclf_dagster.domain.registry.fsck_foreign import check_copies, check_foreign_files, find_copies, is_foreign_folder
from taskclf_dagster.domain.registry.fsck_receipts import check_contradictions, check_judged_bundles, check_last_decided, check_receipts
from taskclf_dagster.domain.registry.fsck_signatures import check_home_id, check_signatures
from taskclf_dagster.domain.registry.health import find_last_known_good, find_policy_problem, find_usable_pointer
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.repair_target import advise_repair
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.registry.write_problems import find_write_problems
from taskclf_dagster.domain.storage.files import TEMPORARY
from taskclf_dagster.domain.storage.filesystem import require_lock_file
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import LockFileError
from taskclf_dagster.home import Home

__all__ = ["PROMISES", "FindingCode", "Promise", "RegistryFinding", "check_registry"]


def check_registry(home: Home, keys: Keys = NO_KEYS) -> list[RegistryFinding]:
    """Returns the findings of a home, the most severe first. A file that cannot be read is one of them, and the others are checked.

    Signatures are checked if `keys` has public keys.
    """
    state = read_registry_state(home, keys)
    findings = [finding for check in _CHECKS for finding in _collect(check, state)]
    return sorted(findings, key=lambda finding: (finding.severity != "damage", int(finding.promise[1:])))


def _collect(check: Callable[[RegistryState], Findings], state: RegistryState) -> list[RegistryFinding]:
    """Returns the findings of one check; an error ends this check alone, and is a finding."""
    findings = []
    try:
        for finding in check(state):
            findings.append(finding)  # noqa: PERF402  # those before an error count
    except UNREADABLE as error:
        findings.append(unreadable(state.home.models, error))
    return findings


def _check_pointer(state: RegistryState) -> Findings:
    home, history = state.home, state.history
    usable = find_usable_pointer(state)
    pointer, problem = usable.pointer, None if usable.problem is None else usable.problem.detail
    if problem is None and pointer is None and history.last_move is not None:
        problem = f"{home.active_pointer.name} is missing, though the history names models"
    if problem is not None:
        yield damage("pointer_unusable", "P1", problem, advise_repair(state))
    yield from _check_policy(state, pointer)
    if pointer is not None and problem is None:
        yield from _check_record_of(state, pointer)
        if pointer.name in history.blocked:
            detail = f"{pointer.name} runs, though a rollback blocked it"
            yield warning("blocked_model_active", "P7", detail, f"Roll back, or `taskclf-dagster unblock {pointer.name}`")


def _check_policy(state: RegistryState, pointer: ActivePointer | None) -> Findings:
    name, policy, problem = state.home.inference_policy.name, state.policy, find_policy_problem(state)
    active = find_active_model(state)
    if problem is not None:
        code: FindingCode = "policy_differs" if problem.code == "edited_in_place" else "policy_unusable"
        yield damage(code, "P1", problem.detail, "; ".join([advise_repair(state), *active.details("repair_restores")]))
    if pointer is not None and policy.status in ("foreign", "removed"):
        done = "written" if policy.status == "foreign" or state.policy_file.is_template else "removed"
        detail = f"{name} was {done} by another program, which is not recorded yet"
        yield warning("policy_not_recorded", "P3", detail, "The next change, or repair, records it")
    if policy.is_none and active.model_id is not None:
        found = "is taskclf's starter template, which names no model" if state.policy_file.is_template else "does not exist"
        fix = f"The next promotion or rollback writes one; so does `taskclf policy create --model-dir {active.model_dir}`"
        yield warning("policy_missing", "P1", f"{name} {found}: taskclf runs {active.summary}", fix)
    for detail in active.details("policy_names_another_model"):
        yield warning("policy_names_another_model", "P1", detail, "The next promotion or rollback makes them agree")


def _check_record_of(state: RegistryState, pointer: ActivePointer) -> Findings:
    history = state.history
    last = history.last_move
    if last is not None and last.new == pointer:
        if state.is_waiting(last):
            yield damage("change_interrupted", "P3", f"{last.action} {last.sequence} was interrupted before the policy was written", REPAIR)
        return
    if pointer.sequence is None:
        yield warning(
            "pointer_not_recorded",
            "P3",
            f"{pointer.name} was set by another program and is not recorded yet",
            "The next change, or repair, records it",
        )
    elif last is not None and state.is_waiting(last):
        yield damage("change_interrupted", "P3", f"{last.action} {last.sequence} was interrupted before the pointer moved", REPAIR)
    elif any(entry.new == pointer and not entry.foreign for entry in history.entries):
        detail = f"the pointer is that of record {pointer.sequence}, though the history continues"
        yield warning("pointer_of_earlier_record", "P3", detail, "The next change, or repair, records that it stayed")
    else:
        yield damage("record_missing", "P3", f"the pointer is of record {pointer.sequence}, which the history does not have", REPAIR)


def _check_history(state: RegistryState) -> Findings:
    home, history = state.home, state.history
    if history.unreadable is not None:
        fix = f"{REPAIR}: it keeps it aside and begins a new history"
        yield damage("history_unreadable", "P3", f"{home.active_history.name} cannot be read: {history.unreadable}", fix)
    for number, problem in history.problems.items():
        if number in history.open_problems:
            yield damage(
                "history_line_damaged", "P3", f"{home.active_history.name}, line {number}: {problem}", f"{REPAIR}, and notes the damage"
            )
        else:
            yield warning(
                "history_damage_acknowledged",
                "P3",
                f"{home.active_history.name}, line {number}: {problem}; noted by a repair",
                "Nothing has to be done",
            )
    if history.torn:
        yield damage(
            "history_line_interrupted",
            "P3",
            f"{home.active_history.name} ends in {len(history.torn)} bytes of an incomplete line",
            REPAIR,
        )


def _check_bundles(state: RegistryState) -> Findings:
    home, history = state.home, state.history
    copies = find_copies(state)
    for folder in (folder for folder in list_bundle_folders(home.models) if folder.name not in copies):
        try:
            yield from _check_bundle(state, folder)
        except UNREADABLE as error:
            yield unreadable(folder, error)
    lost = {entry.new.name for entry in history.moves if entry.new is not None} - history.pruned
    for name in sorted(lost):
        if not is_model_id(name) or not (home.models / name).is_dir():
            yield warning(
                "bundle_missing",
                "P6",
                f"{name} was active once and is missing, though retention did not remove it",
                "Restore it from a backup if needed",
            )


def _check_bundle(state: RegistryState, folder: Path) -> Findings:
    files = state.bundles.files(folder)
    if is_foreign_folder(state, files):
        return
    problem = find_manifest_problem(files)
    if problem is not None:
        fix = "Restore the bundle from a backup, or leave it to retention"
        yield damage("bundle_differs_from_manifest", "P2", f"{folder.name}: {problem.detail}", fix)
        return
    changed = find_card_problem(files)
    if changed is not None:
        fix = "Restore it from a backup if it is needed: it is for people, and the model is the one that was judged"
        yield warning("model_card_differs", "P2", f"{folder.name}: {changed}", fix)
    problem = state.bundles.parsed(folder).problem
    if problem is not None:
        fix = "It cannot be rolled back to; remove it, or leave it to retention"
        yield warning("bundle_invalid", "P2", f"{folder.name}: {problem.reason}", fix)
    manifest = read_manifest(files)
    promoted = {entry.decision_id for entry in state.history.moves if entry.action == "promote" and _name(entry.new) == folder.name}
    if manifest is not None and promoted and manifest.decision_id not in promoted:
        detail = f"{folder.name}: its manifest names receipt {manifest.decision_id}, the history {', '.join(sorted(map(str, promoted)))}"
        yield damage("bundle_differs_from_manifest", "P2", detail, "Restore the bundle from a backup, or leave it to retention")


def _name(pointer: ActivePointer | None) -> str | None:
    return None if pointer is None else pointer.name


def _check_reachable(state: RegistryState) -> Findings:
    if state.history.moves and find_last_known_good(state) is None:
        yield damage(
            "no_known_good_model", "P6", "no model of the history can run", "Restore models/ from a backup, or retrain with bootstrap"
        )


def _check_interrupted_writes(state: RegistryState) -> Findings:
    home = state.home
    if home.staging.exists():
        yield warning(
            "staging_not_empty",
            "P2",
            f"{home.staging.name} holds files of an interrupted change",
            "The next change, or repair, removes it",
        )
    for path in sorted(home.models.glob(f".*{TEMPORARY}")):
        yield warning(
            "temporary_file", "P2", f"{path.name} is a temporary file of an interrupted write", "The next change, or repair, removes it"
        )
    if state.written_through < state.history.sequence:
        yield warning(
            "events_missing",
            "P9",
            f"events of records after {state.written_through} were not written yet",
            "The next change, or repair, writes them",
        )


def _check_writable(state: RegistryState) -> Findings:
    for problem in find_write_problems(state.home):
        if problem.kind == "lock_unusable":
            continue  # damage, of _check_locks
        yield warning("not_writable", "P2", f"{problem.path}: {problem.reason}, so nothing can be promoted", problem.fix.rstrip("."))


def _check_readable(state: RegistryState) -> Findings:
    home = state.home
    for file in find_damaged_files(home):
        detail = f"{file.path.relative_to(home.root)} cannot be read: {file.problem.rstrip('.')}"
        fix = "`taskclf-dagster registry repair` keeps it aside and writes again what follows from other files"
        yield warning("file_unreadable", "P9" if file.is_event else "P6", detail, fix)


def _check_locks(state: RegistryState) -> Findings:
    home = state.home
    for path in (home.registry_lock, home.retrain_lock):
        try:
            require_lock_file(path)
        except LockFileError as error:
            yield damage("lock_unusable", "P4", f"{path.relative_to(home.root)} cannot be locked: {error.reason}", "Move it away")


_CHECKS: tuple[Callable[[RegistryState], Findings], ...] = (
    _check_pointer,
    _check_bundles,
    _check_history,
    _check_reachable,
    _check_interrupted_writes,
    _check_readable,
    _check_writable,
    _check_locks,
    check_receipts,
    check_contradictions,
    check_home_id,
    check_signatures,
    check_judged_bundles,
    check_last_decided,
    check_trials,
    check_probations,
    check_labels,
    check_snapshots,
    check_labeled_windows,
    check_predictions,
    check_calibrators,
    check_index,
    check_events,
    check_copies,
    check_foreign_files,
)
