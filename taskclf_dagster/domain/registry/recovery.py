"""Recovery, with which every writer begins: finishes or aborts an interrupted change, adopts what another program did, repairs damage.

It runs under the registry's lock, and every change that it makes is a record in the history. Readers never call it.
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.bundle_files import read_bundle_files
from taskclf_dagster.domain.models.manifest import read_manifest
from taskclf_dagster.domain.registry.commit import apply, commit, finish
from taskclf_dagster.domain.registry.damaged_files import RecoveryStep, keep_copy, move_aside, set_damaged_files_aside, set_history_aside
from taskclf_dagster.domain.registry.health import find_model_problem, find_policy_problem, find_usable_pointer
from taskclf_dagster.domain.registry.history import MAX_LOST_SEQUENCE, History, cut_history, is_whole_line, read_history
from taskclf_dagster.domain.registry.history_events import read_cursor
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.inference_policy import build_policy
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import ActivePointer, make_pointer, metrics_of
from taskclf_dagster.domain.registry.policy_adoption import describe_policy_change, policy_of_adoption
from taskclf_dagster.domain.registry.repair_target import RepairTarget, find_repair_target
from taskclf_dagster.domain.registry.signed_state import require_signed
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.storage.files import TEMPORARY, make_folders, move_folder, remove_tree
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import RegistryRefusedError, UnreadableFileError
from taskclf_dagster.home import Home

REPAIR_NOTE = "repair"


@dataclass
class Recovery:
    """The result of a recovery.

    Attributes:
        state: the state afterwards.
        done: the changes; empty if there were none.
        repaired: True if the last known good model was restored.
        policy_mended: True if the inference policy was restored, because it was damaged, deleted, or named a model that cannot run.
    """

    state: RegistryState
    done: list[RecoveryStep] = field(default_factory=list)
    repaired: bool = False
    policy_mended: bool = False

    @property
    def home(self) -> Home:
        return self.state.home

    @property
    def history(self) -> History:
        return self.state.history

    def look_again(self) -> None:
        """Reads pointer, policy and history again after they were changed; bundles and receipts are those of the first state."""
        self.state = read_registry_state(self.home, self.state.keys).with_files_of(self.state)


def recover(state: RegistryState, *, at: datetime, accept_unsigned: bool = False, notes_damage: bool = False) -> Recovery:
    """Brings a home into a state that keeps every promise, as far as its files allow.

    Args:
        state: the home as it was looked at while its registry lock is held.
        at: the time of records that are made.
        accept_unsigned: True if a person asked for the change: a present state that is not signed is adopted, with a signed record.
        notes_damage: True if the record of damaged lines of the history is asked for. What they said, a rollback for example, is forgotten.

    Raises:
        RegistryNotSignedError: the present state is not signed, or nothing could be signed. Nothing is changed then.
        RegistryRefusedError: the history cannot be read, so that no record could be appended.
    """
    require_signed(state, accept_unsigned=accept_unsigned)
    if state.history.unreadable is not None:
        reason = f"{state.home.active_history} cannot be read: {state.history.unreadable}"
        fix = "`taskclf-dagster registry repair` keeps it aside and begins a new history."
        raise RegistryRefusedError("Changing the registry", "history_unreadable", reason, fix)
    settle(state.home)
    recovery = Recovery(state)
    _mend_tail(recovery)
    _sweep(recovery)
    _finish_interrupted(recovery, at)
    _adopt_foreign(recovery, at)
    _adopt_policy(recovery, at)
    if notes_damage:
        _acknowledge_damage(recovery, at)
    _repair_files(recovery, at)
    if recovery.done or recovery.state.written_through < recovery.history.sequence:
        finish(recovery.state, at=at, written_through=recovery.state.written_through)
    return recovery


def settle(home: Home) -> None:
    """Syncs what a killed process wrote and may not have synced.

    For a moved bundle the target folder is synced before the source folder, so that it cannot be lost from both.
    """
    fs = file_system()
    if home.active_history.exists():
        fs.sync_file(home.active_history)
    moved = (home.rejected_models, home.pending_models, home.challengers, home.calibrators)
    for folder in (home.models, home.decisions, *moved, home.artifacts, home.root):
        if folder.is_dir():
            fs.sync_folder(folder)


def _mend_tail(recovery: Recovery) -> None:
    """Removes an incomplete last line, on which nothing depends yet; one that only lacks its newline gets it."""
    home, history = recovery.home, recovery.history
    if not history.torn:
        return
    if is_whole_line(history.torn):
        file_system().append(home.active_history, b"\n")
        file_system().sync_file(home.active_history)
    else:
        cut_history(home, history.size)
        recovery.done.append(RecoveryStep("history_cut", f"removed {len(history.torn)} bytes of an incomplete history line"))
    recovery.look_again()


def _sweep(recovery: Recovery) -> None:
    """Removes staged files, temporary files, and bundles whose promotion never began if the challenger itself exists."""
    home, state = recovery.home, recovery.state
    left = [path for folder in (home.models, home.outbox) for path in folder.glob(f".*{TEMPORARY}") if path.is_file()]
    named = {entry.new.model_dir for entry in recovery.history.entries if entry.new is not None}
    named |= {state.policy_file.model_dir or "", "" if state.pointer is None else state.pointer.model_dir}
    left += [
        folder
        for folder in home.models.iterdir()
        if f"{home.models.name}/{folder.name}" not in named and _is_copy_of_challenger(home, folder.name)
    ]
    for path in left:
        take_out(home, path)
        recovery.done.append(RecoveryStep("remains_removed", f"removed {path.name}, left by an interrupted change"))
    if home.staging.exists():
        remove_tree(home.staging)


def take_out(home: Home, path: Path) -> None:
    """Removes a file or a bundle; it leaves models/ in one rename first, so that no reader finds a part of it."""
    if path.is_dir():
        make_folders(home.staging)
        target = home.staging / f"{path.name}.{uuid.uuid4().hex}.out"
        move_folder(path, target)
        path = target
    remove_tree(path)


def _is_copy_of_challenger(home: Home, model_id: str) -> bool:
    with suppress(UnreadableFileError, OSError):
        if (home.models / model_id).is_dir() and read_manifest(read_bundle_files(home.models / model_id)) is not None:
            return any((folder / model_id).is_dir() for folder in (home.challengers, home.pending_models, home.rejected_models))
    return False


def _finish_interrupted(recovery: Recovery, at: datetime) -> None:
    """Carries out a recorded change that was not made, if its model can run, else aborts it."""
    last = recovery.history.last_move
    if last is None or last.new is None or not recovery.state.is_waiting(last):
        return
    usable = find_usable_pointer(recovery.state)
    if usable.problem is not None and last.action != "repair":
        return
    problem = _find_problem_of(recovery.state, last)
    if problem is None:
        apply(recovery.home, last)
        recovery.look_again()
        finished = f"finished {last.action} {last.sequence} to {last.new.name}, which had been interrupted"
        recovery.done.append(RecoveryStep("change_finished", finished))
        return
    entry = ActiveHistoryEntry(
        at=at,
        old=usable.pointer,
        new=usable.pointer,
        action="abort",
        subject=[str(last.sequence)],
        reason=f"{last.action} {last.sequence} was interrupted, and {last.new.name} cannot run: {problem}",
    )
    _record(recovery, entry)


def _find_problem_of(state: RegistryState, entry: ActiveHistoryEntry) -> str | None:
    """Returns why a recorded change cannot be carried out: its model cannot run, or not with the calibrators of its policy; else None."""
    problem = None if entry.new is None else find_model_problem(state, entry.new.model_dir)
    if problem is None and entry.action == "calibrate" and entry.policy is not None:
        found = state.policy_checker.find_problem(entry.policy)
        return None if found is None else f"its policy {found.detail}"
    return None if problem is None else str(problem)


def _adopt_foreign(recovery: Recovery, at: datetime) -> None:
    """Records a foreign change: a valid pointer that is not that of our last record, with its policy if that is new, too."""
    usable, last = find_usable_pointer(recovery.state), recovery.history.last_move
    pointer = usable.pointer
    if pointer is None or usable.problem is not None or (last is not None and last.new == pointer and not last.foreign):
        return
    lost = _jump_over_lost_records(recovery.state) != {}
    reason = f"the history lost the records up to {pointer.sequence}" if lost else "another program set the pointer"
    if pointer.sequence is not None and not lost:
        reason = f"the pointer is that of record {pointer.sequence}; what the history says after it did not stay"
    if recovery.state.keys.required:
        reason += ", and no record of it is signed"
    old = None if last is None else (last.old if last.new == pointer else last.new)
    policy = recovery.state.policy
    if policy.status == "removed":
        reason += f"; {describe_policy_change(recovery.state)}"
    entry = ActiveHistoryEntry(at=at, old=old, new=pointer, action="adopt", reason=reason).model_copy(update=policy_of_adoption(policy))
    _record(recovery, entry.model_copy(update=_jump_over_lost_records(recovery.state)))


def _jump_over_lost_records(state: RegistryState) -> dict[str, object]:
    """Returns the number of the next record if the history lost those up to the pointer's, and the gap as noted; else empty."""
    if state.pointer is None or not state.history.sequence < state.sequence <= MAX_LOST_SEQUENCE:
        return {}
    return {"sequence": state.sequence + 1, "acknowledges": [state.history.lines + 1]}


def _adopt_policy(recovery: Recovery, at: datetime) -> None:
    """Records a foreign change of the inference policy: a valid one that no record has, or its removal.

    Without a pointer there is nothing to record.
    """
    policy, usable = recovery.state.policy, find_usable_pointer(recovery.state)
    if policy.status not in ("foreign", "removed") or usable.pointer is None or usable.problem is not None:
        return
    pointer = usable.pointer
    entry = ActiveHistoryEntry(at=at, old=pointer, new=pointer, action="adopt", reason=describe_policy_change(recovery.state))
    _record(recovery, entry.model_copy(update=policy_of_adoption(policy)))


def _repair_files(recovery: Recovery, at: datetime) -> None:
    """Writes the active model into pointer and policy if one of them is damaged, missing, or names a model that cannot run."""
    state, usable, policy_problem = recovery.state, find_usable_pointer(recovery.state), find_policy_problem(recovery.state)
    problem = None if usable.problem is None else usable.problem.detail
    if usable.pointer is None and problem is None and state.history.last_move is not None:
        problem = f"{state.home.active_pointer.name} is missing"
    if problem is None and policy_problem is None:
        return
    target = find_repair_target(state)
    if target is None:
        if policy_problem is not None and usable.pointer is None and problem is None:
            _set_policy_aside(recovery, at, policy_problem.detail)
        return  # there is nothing to go back to
    _keep_unreadable(recovery)
    reason = "; ".join(part for part in (problem, None if policy_problem is None else policy_problem.detail) if part is not None)
    _record(recovery, _describe_repair(state, usable.pointer, target, at=at, reason=reason))
    recovery.repaired = problem is not None or usable.pointer is None
    recovery.policy_mended = policy_problem is not None


def _keep_unreadable(recovery: Recovery) -> None:
    """Copies pointer and policy aside before they are replaced, if they cannot be read: nothing else knows what they said."""
    home, state = recovery.home, recovery.state
    unreadable = {home.active_pointer: state.pointer_file.error, home.inference_policy: state.policy_file.file.error}
    for path, error in unreadable.items():
        if error is not None:
            kept = f"kept {path.name}, which cannot be read, as {keep_copy(path).name}"
            recovery.done.append(RecoveryStep("file_kept", kept))


def _describe_repair(
    state: RegistryState, old: ActivePointer | None, target: RepairTarget, *, at: datetime, reason: str
) -> ActiveHistoryEntry:
    """Returns the history record of restoring a model; its subject is the hash of the pointer file that is replaced."""
    model, damaged = state.load(target.model_dir), state.pointer_file.digest
    jump = _jump_over_lost_records(state)
    name, sequence = Path(target.model_dir).name, (state.sequence if jump else state.history.sequence) + 1
    before = next((pointer for pointer in state.history.known_models if pointer.model_dir == target.model_dir), old)
    decision_id = None if before is None or before.model_dir != target.model_dir else _decision_of(before)
    new = make_pointer(name, at=at, sequence=sequence, metrics=metrics_of(model), note=REPAIR_NOTE, decision_id=decision_id)
    return ActiveHistoryEntry(
        at=at,
        old=old,
        new=new.model_copy(update={"model_dir": target.model_dir}),
        action="repair",
        reason=f"{reason}; restored {name}, {target.reason}",
        subject=[] if damaged is None else [damaged],
        policy=_policy_for_repair(state, model, target, at),
    ).model_copy(update=jump)


def _policy_for_repair(state: RegistryState, model: LoadedModel, target: RepairTarget, at: datetime) -> dict[str, object] | None:
    """Returns the policy of a restored model: None if the file is that already, else the recorded one, else one that changes nothing."""
    policy = state.policy
    if policy.problem is None and policy.model_dir == target.model_dir:
        return policy.in_force if policy.status == "foreign" else None
    recorded = state.policy_checker.find_recorded(target.model_dir)
    if recorded is not None:
        return recorded
    made = build_policy(model, at=at, source=REPAIR_NOTE, reject_threshold=target.threshold)
    return {**made, "model_dir": target.model_dir}


def _set_policy_aside(recovery: Recovery, at: datetime, problem: str) -> None:
    """Renames an inference policy that cannot be used, if no model was ever active."""
    home = recovery.home
    aside = move_aside(home.inference_policy)
    recovery.look_again()
    reason = f"{problem}; kept as {aside.name}"
    _record(recovery, ActiveHistoryEntry(at=at, old=None, new=None, action="acknowledge", reason=reason))


def _acknowledge_damage(recovery: Recovery, at: datetime) -> None:
    """Records which lines are damaged, so that later damage is found."""
    damaged = recovery.history.open_problems
    if damaged:
        pointer = recovery.state.pointer
        listed = "; ".join(f"line {number}: {problem}" for number, problem in damaged.items())
        note = ActiveHistoryEntry(
            at=at, old=pointer, new=pointer, action="acknowledge", acknowledges=sorted(damaged), reason=f"damage: {listed}"
        )
        _record(recovery, note)


def _record(recovery: Recovery, entry: ActiveHistoryEntry) -> None:
    recovery.state = commit(recovery.state, entry)
    name = recovery.home.active_pointer.name
    written = f"{entry.action}: {entry.reason}" + (f"; {name} names {entry.new.name}" if entry.new else "")
    recovery.done.append(RecoveryStep("record_written", written))


def _decision_of(pointer: ActivePointer) -> str | None:
    decision = (pointer.reason or {}).get("decision_id")
    return decision if isinstance(decision, str) else None


def repair(home: Home, *, at: datetime, keys: Keys = NO_KEYS) -> Recovery:
    """Completes or aborts an interrupted change, adopts foreign changes and repairs damage; the history records all.

    Files that cannot be read are kept aside, under their name with the ending `.damaged`. If signatures are checked, a present state that
    is not signed is accepted, with a signed record.
    """
    with write_lock(home):
        kept = set_history_aside(home, read_history(home, keys))
        kept += set_damaged_files_aside(home, read_history(home, keys))
        recovery = recover(read_registry_state(home, keys), at=at, accept_unsigned=True, notes_damage=True)
        if kept:
            recovery.done = kept + recovery.done
            finish(recovery.state, at=at, written_through=read_cursor(home, recovery.history).written_through)
        return recovery
