"""Checks every promise of the registry over a home, and returns the findings; changes nothing.

`recovery` repairs.
"""

from collections.abc import Iterator
from typing import Literal

from taskclf_dagster.domain.decision.decision_store import list_decisions, read_decision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.models.bundle import parse_bundle
from taskclf_dagster.domain.models.bundle_paths import find_bundle, is_model_id
from taskclf_dagster.domain.models.manifest import find_manifest_problem
from taskclf_dagster.domain.registry.damaged_files import find_damaged_files
from taskclf_dagster.domain.registry.health import find_last_known_good, find_policy_problem, find_usable_pointer
from taskclf_dagster.domain.registry.history import ActiveHistoryEntry
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.retention import find_awaiting
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.storage.files import TEMPORARY
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home

Promise = Literal["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"]


FindingCode = Literal[
    "pointer_unusable",
    "policy_unusable",
    "policy_differs",
    "policy_not_recorded",
    "policy_names_another_model",
    "blocked_model_active",
    "pointer_not_recorded",
    "change_interrupted",
    "pointer_of_earlier_record",
    "record_missing",
    "history_line_damaged",
    "history_damage_acknowledged",
    "history_line_interrupted",
    "bundle_differs_from_manifest",
    "bundle_invalid",
    "bundle_missing",
    "promotion_without_receipt",
    "receipt_unreadable",
    "no_known_good_model",
    "awaiting_bundle_missing",
    "staging_not_empty",
    "temporary_file",
    "events_missing",
    "file_unreadable",
]


PROMISES: dict[Promise, str] = {
    "P1": "A reader sees the old or the new pointer, always complete, always naming a bundle that verifies.",
    "P2": "What promote() returned from survives a power loss.",
    "P3": "Every state of the pointer has a history record, written before it, numbered and chained.",
    "P4": "At most one writer; a decision that is no longer the newest is refused.",
    "P5": "No promotion without a receipt in which every required gate passes.",
    "P6": "Nothing that may still be needed is deleted.",
    "P7": "A rollback needs no training, verifies first, is one record, and blocks what it left.",
    "P8": "Readers never write.",
    "P9": "Events only after durability, at least once.",
}


_NOT_AS_RECORDED = frozenset({"missing", "edited_in_place"})
"""Problems of a policy that are no problem of its content: the history has another one."""


REPAIR = "`taskclf-dagster registry repair` repairs it"


class RegistryFinding(Record):
    """One promise that does not hold.

    Attributes:
        code: which check found it.
        severity: damage breaks a promise; a warning does not.
        promise: P1 to P9.
        words: what was found, for a person.
        fix: what to do about it.
    """

    code: FindingCode
    severity: Literal["damage", "warning"]
    promise: Promise
    words: str
    fix: str


def check_registry(home: Home) -> list[RegistryFinding]:
    """Returns the findings of a home, the most severe first."""
    state = read_registry_state(home)
    checks = (
        _check_pointer,
        _check_bundles,
        _check_history,
        _check_receipts,
        _check_reachable,
        _check_interrupted_writes,
        _check_other_files,
    )
    findings = [finding for check in checks for finding in check(state)]
    return sorted(findings, key=lambda finding: (finding.severity != "damage", finding.promise))


def _check_pointer(state: RegistryState) -> Iterator[RegistryFinding]:
    home, history = state.home, state.history
    usable = find_usable_pointer(state)
    pointer, problem = usable.pointer, None if usable.problem is None else usable.problem.detail
    if problem is None and pointer is None and history.last_move is not None:
        problem = f"{home.active_pointer.name} is missing, though the history names models"
    if problem is not None:
        yield _damage("pointer_unusable", "P1", f"{home.active_pointer.name}: {problem}", REPAIR)
    yield from _check_policy(state, pointer)
    if pointer is not None and problem is None:
        yield from _check_record_of(state, pointer)
        if pointer.name in history.blocked:
            words = f"{pointer.name} runs, though a rollback blocked it"
            yield _warning("blocked_model_active", "P7", words, f"Roll back, or `taskclf-dagster unblock {pointer.name}`")


def _check_policy(state: RegistryState, pointer: ActivePointer | None) -> Iterator[RegistryFinding]:
    home, policy, problem = state.home, state.policy, find_policy_problem(state)
    if problem is not None:
        yield _damage("policy_differs" if problem.code in _NOT_AS_RECORDED else "policy_unusable", "P1", problem.detail, REPAIR)
    if pointer is not None and policy.status == "foreign":
        words = f"{home.inference_policy.name} was written by another program and is not recorded yet"
        yield _warning("policy_not_recorded", "P3", words, "The next change, or repair, records it")
    if pointer is not None and state.policy_file.model_dir not in (None, pointer.model_dir):
        words = f"{home.inference_policy.name} names {state.policy_file.model_dir}, {home.active_pointer.name} names {pointer.model_dir}"
        yield _warning(
            "policy_names_another_model", "P1", f"{words}: taskclf runs the first", "The next promotion or rollback makes them agree"
        )


def _check_record_of(state: RegistryState, pointer: ActivePointer) -> Iterator[RegistryFinding]:
    history = state.history
    last = history.last_move
    if last is not None and last.new == pointer:
        return
    if pointer.sequence is None:
        yield _warning(
            "pointer_not_recorded",
            "P3",
            f"{pointer.name} was set by another program and is not recorded yet",
            "The next change, or repair, records it",
        )
    elif last is not None and state.is_waiting(last):
        yield _damage("change_interrupted", "P3", f"{last.action} {last.sequence} was interrupted before the pointer moved", REPAIR)
    elif any(entry.new == pointer and not entry.foreign for entry in history.entries):
        words = f"the pointer is that of record {pointer.sequence}, though the history continues"
        yield _warning("pointer_of_earlier_record", "P3", words, "The next change, or repair, records that it stayed")
    else:
        yield _damage("record_missing", "P3", f"the pointer is of record {pointer.sequence}, which the history does not have", REPAIR)


def _check_history(state: RegistryState) -> Iterator[RegistryFinding]:
    home, history = state.home, state.history
    for number, problem in history.problems.items():
        if number in history.open_problems:
            yield _damage(
                "history_line_damaged", "P3", f"{home.active_history.name}, line {number}: {problem}", f"{REPAIR}, and notes the damage"
            )
        else:
            yield _warning(
                "history_damage_acknowledged",
                "P3",
                f"{home.active_history.name}, line {number}: {problem}; noted by a repair",
                "Nothing has to be done",
            )
    if history.torn:
        yield _damage(
            "history_line_interrupted",
            "P3",
            f"{home.active_history.name} ends in {len(history.torn)} bytes of an incomplete line",
            REPAIR,
        )


def _check_bundles(state: RegistryState) -> Iterator[RegistryFinding]:
    home, history = state.home, state.history
    for folder in sorted(home.models.iterdir()) if home.models.is_dir() else []:
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        files = state.bundles.files(folder)
        problem = find_manifest_problem(files)
        if problem is not None:
            yield _damage(
                "bundle_differs_from_manifest",
                "P2",
                f"{folder.name}: {problem.detail}",
                "Restore the bundle from a backup, or leave it to retention",
            )
        elif (problem := parse_bundle(files).problem) is not None:
            yield _warning(
                "bundle_invalid",
                "P2",
                f"{folder.name}: {problem.reason}",
                "It cannot be rolled back to; remove it, or leave it to retention",
            )
    lost = {entry.new.name for entry in history.moves if entry.new is not None} - history.pruned
    for name in sorted(lost):
        if not is_model_id(name) or not (home.models / name).is_dir():
            yield _warning(
                "bundle_missing",
                "P6",
                f"{name} was active once and is missing, though retention did not remove it",
                "Restore it from a backup if needed",
            )


def _check_receipts(state: RegistryState) -> Iterator[RegistryFinding]:
    home, history = state.home, state.history
    for entry in history.moves:
        if entry.action == "promote":
            words = _find_receipt_problem(state, entry)
            if words is not None:
                yield _damage(
                    "promotion_without_receipt",
                    "P5",
                    f"promotion {entry.sequence}: {words}",
                    "Restore the receipt from a backup, or roll back",
                )
    for receipt in list_decisions(home, state.receipts)[1]:
        words = f"{receipt.path.name} is damaged" if receipt.kind == "damaged" else receipt.problem
        yield _warning(
            "receipt_unreadable",
            "P5",
            words,
            "Nothing needs to be done if it promoted nothing; else the promotion is another finding",
        )


def _find_receipt_problem(state: RegistryState, entry: ActiveHistoryEntry) -> str | None:
    home = state.home
    decision = read_decision(home, entry.decision_id or "")
    if decision is None:
        return f"receipt {entry.decision_id} is missing or damaged"
    findings = verify_decision(decision)
    if findings:
        return f"receipt {entry.decision_id} does not verify: {'; '.join(findings)}"
    if decision.options.dry_run or decision.verdict not in ("PROMOTE", "AWAITING_APPROVAL"):
        return f"receipt {entry.decision_id} says {decision.outcome}"
    if entry.new is None or decision.challenger.model_id != entry.new.name:
        return f"receipt {entry.decision_id} is about {decision.challenger.model_id}"
    files = state.bundles.files(home.models / entry.new.name)
    if files.names and find_manifest_problem(files) is None and files.hashes() != decision.challenger.files:
        return f"{entry.new.name} is not the bundle that receipt {entry.decision_id} judged"
    return None


def _check_reachable(state: RegistryState) -> Iterator[RegistryFinding]:
    home, history = state.home, state.history
    if history.moves and find_last_known_good(state) is None:
        yield _damage(
            "no_known_good_model", "P6", "no model of the history can run", "Restore models/ from a backup, or retrain with bootstrap"
        )
    for decision in find_awaiting(state, list_decisions(home, state.receipts)[0]):
        if find_bundle(home, decision.challenger.model_id) is None:
            yield _damage(
                "awaiting_bundle_missing",
                "P6",
                f"{decision.challenger.model_id} awaits approval, but its bundle is missing",
                "Retrain with force",
            )


def _check_interrupted_writes(state: RegistryState) -> Iterator[RegistryFinding]:
    home = state.home
    if home.staging.exists():
        yield _warning(
            "staging_not_empty",
            "P2",
            f"{home.staging.name} holds files of an interrupted change",
            "The next change, or repair, removes it",
        )
    for path in sorted(home.models.glob(f".*{TEMPORARY}")):
        yield _warning(
            "temporary_file", "P2", f"{path.name} is a temporary file of an interrupted write", "The next change, or repair, removes it"
        )
    if state.written_through < state.history.sequence:
        yield _warning(
            "events_missing",
            "P9",
            f"events of records after {state.written_through} were not written yet",
            "The next change, or repair, writes them",
        )


def _check_other_files(state: RegistryState) -> Iterator[RegistryFinding]:
    home = state.home
    for file in find_damaged_files(home):
        words = f"{file.path.relative_to(home.root)} cannot be read: {file.problem.rstrip('.')}"
        fix = "`taskclf-dagster registry repair` keeps it aside and writes again what follows from other files"
        yield _warning("file_unreadable", "P9" if file.is_event else "P6", words, fix)


def _damage(code: FindingCode, promise: Promise, words: str, fix: str) -> RegistryFinding:
    return RegistryFinding(code=code, severity="damage", promise=promise, words=words, fix=f"{fix}.")


def _warning(code: FindingCode, promise: Promise, words: str, fix: str) -> RegistryFinding:
    return RegistryFinding(code=code, severity="warning", promise=promise, words=words, fix=f"{fix}.")
