"""What a writer does before anything else: finish or abort a change that was cut off, adopt what another program did, mend what is damaged.

Runs under the registry's lock, and every change it makes is a record in the history. Readers never come here.
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.models.manifest import read_manifest
from taskclf_dagster.domain.registry.commit import apply, commit, finish
from taskclf_dagster.domain.registry.health import (
    find_last_known_good,
    find_model_problem,
    find_policy_problem,
    find_usable_pointer,
    is_waiting,
)
from taskclf_dagster.domain.registry.history import ActiveHistoryEntry, History, cut_history, is_whole_line, read_history
from taskclf_dagster.domain.registry.history_events import read_cursor
from taskclf_dagster.domain.registry.inference_policy import build_policy, read_policy
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import ActivePointer, make_pointer, metrics_of, read_active
from taskclf_dagster.domain.storage.files import TEMPORARY, hash_file_if_exists, make_folders, move_folder, remove_tree
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

REPAIR_NOTE = "repair"


@dataclass
class Recovery:
    """What recovery found and did.

    Attributes:
        history: as it is now.
        done: what was done, one sentence each; empty where all was well.
        repaired: whether the pointer had to be put back to the last known good model.
        policy_mended: whether the inference policy was written anew, because what it named cannot run.
    """

    history: History
    done: list[str] = field(default_factory=list)
    repaired: bool = False
    policy_mended: bool = False


def recover(home: Home, *, at: datetime) -> Recovery:
    """Brings a home into a state that keeps every promise, as far as what is on disk allows it.

    Args:
        home: the taskclf home; its registry lock is held.
        at: the time of records that are made.
    """
    settle(home)
    recovery = Recovery(read_history(home))
    _mend_tail(home, recovery)
    _sweep(home, recovery)
    _finish_interrupted(home, recovery, at)
    _adopt_foreign(home, recovery, at)
    _repair_pointer(home, recovery, at)
    _acknowledge_damage(home, recovery, at)
    if recovery.done or read_cursor(home, recovery.history) < recovery.history.sequence:
        finish(home, recovery.history, at=at)
    return recovery


def settle(home: Home) -> None:
    """Makes durable what a process that was killed wrote and did not sync, because what follows acts on it.

    A bundle that was moved is synced where it went before where it came from, so that it cannot be in neither.
    """
    fs = file_system()
    if home.active_history.exists():
        fs.sync_file(home.active_history)
    moved = (home.rejected_models, home.pending_models, home.challengers)
    for folder in (home.models, home.decisions, *moved, home.artifacts, home.root):
        if folder.is_dir():
            fs.sync_folder(folder)


def _mend_tail(home: Home, recovery: Recovery) -> None:
    """A line that was cut off is removed: nothing had been done about it yet. One that only lacks its newline gets it."""
    history = recovery.history
    if not history.torn:
        return
    if is_whole_line(history.torn):
        file_system().append(home.active_history, b"\n")
        file_system().sync_file(home.active_history)
    else:
        cut_history(home, history.size)
        recovery.done.append(f"removed {len(history.torn)} bytes of a history line that was cut off")
    recovery.history = read_history(home)


def _sweep(home: Home, recovery: Recovery) -> None:
    """Removes staged files, temporary files, and bundles whose promotion never began, as long as the challenger itself is there."""
    left = [path for folder in (home.models, home.outbox) for path in folder.glob(f".*{TEMPORARY}") if path.is_file()]
    named = {entry.new.model_dir for entry in recovery.history.entries if entry.new is not None}
    named |= {str((read_policy(home) or {}).get("model_dir")), _active_dir(home)}
    left += [
        folder
        for folder in home.models.iterdir()
        if f"{home.models.name}/{folder.name}" not in named and _is_copy_of_challenger(home, folder.name)
    ]
    for path in left:
        take_out(home, path)
        recovery.done.append(f"removed {path.name}, left by a change that was cut off")
    if home.staging.exists():
        remove_tree(home.staging)


def take_out(home: Home, path: Path) -> None:
    """Removes a file, or a bundle: out of models/ in one rename first, so that nobody ever finds half of it there."""
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


def _finish_interrupted(home: Home, recovery: Recovery, at: datetime) -> None:
    """A record whose change was not made is carried out if its model can run, else aborted."""
    last = recovery.history.last_move
    if last is None or last.new is None or not is_waiting(home, last):
        return
    pointer, problem = find_usable_pointer(home)
    if problem is not None and last.action != "repair":
        return
    unusable = find_model_problem(home, last.new.model_dir)
    if unusable is None:
        apply(home, last)
        recovery.done.append(f"finished {last.action} {last.sequence} to {last.new.name}, which had been cut off")
        return
    _record(
        home,
        recovery,
        ActiveHistoryEntry(
            at=at,
            old=pointer,
            new=pointer,
            action="abort",
            subject=[str(last.sequence)],
            reason=f"{last.action} {last.sequence} was cut off, and {last.new.name} cannot run: {unusable}",
        ),
    )


def _adopt_foreign(home: Home, recovery: Recovery, at: datetime) -> None:
    """A valid pointer that our last record does not know was set by another program: it stays, and is recorded."""
    pointer, problem = find_usable_pointer(home)
    last = recovery.history.last_move
    if pointer is None or problem is not None or (last is not None and last.new == pointer and not last.foreign):
        return
    lost = pointer.sequence is not None and pointer.sequence > recovery.history.sequence
    reason = f"the history lost the records up to {pointer.sequence}" if lost else "another program set the pointer"
    if pointer.sequence is not None and not lost:
        reason = f"the pointer is that of record {pointer.sequence}; what the history says after it did not stay"
    old = None if last is None else (last.old if last.new == pointer else last.new)
    entry = ActiveHistoryEntry(at=at, old=old, new=pointer, action="adopt", reason=reason)
    if lost:
        jump = {"sequence": (pointer.sequence or 0) + 1, "acknowledges": [recovery.history.lines + 1]}
        entry = entry.model_copy(update=jump)
    _record(home, recovery, entry)


def _repair_pointer(home: Home, recovery: Recovery, at: datetime) -> None:
    """Puts pointer and policy back to the last known good model where what they name cannot run."""
    pointer, problem = find_usable_pointer(home)
    last = recovery.history.last_move
    if problem is None and pointer is None and last is not None:
        problem = f"{home.active_pointer.name} is missing"
    policy_problem = find_policy_problem(home)
    if problem is None and pointer is None and policy_problem is not None:
        _set_policy_aside(home, recovery, at, policy_problem)
    if problem is None and (policy_problem is None or pointer is None):
        return
    good = pointer if problem is None else find_last_known_good(home, recovery.history)
    if good is None:
        return  # there is nothing to go back to
    model = load_bundle(resolve_model_dir(home, good.model_dir))
    policy = read_policy(home)
    keeps_policy = policy_problem is None and policy is not None and policy.get("model_dir") == good.model_dir
    damaged = hash_file_if_exists(home.active_pointer)
    _record(
        home,
        recovery,
        ActiveHistoryEntry(
            at=at,
            old=pointer,
            new=make_pointer(
                good.name,
                at=at,
                sequence=recovery.history.sequence + 1,
                metrics=metrics_of(model),
                note=REPAIR_NOTE,
                decision_id=_decision_of(good),
            ).model_copy(update={"model_dir": good.model_dir}),
            action="repair",
            reason=problem or policy_problem,
            subject=[] if damaged is None else [damaged],
            policy=None if keeps_policy else build_policy(model, at=at, source=REPAIR_NOTE),
        ),
    )
    recovery.repaired = problem is not None
    recovery.policy_mended = policy_problem is not None


def _set_policy_aside(home: Home, recovery: Recovery, at: datetime, problem: str) -> None:
    """Where no model ever ran, a policy that cannot be followed only does harm; it is kept under another name."""
    aside = home.inference_policy.with_suffix(".damaged")
    file_system().replace(home.inference_policy, aside)
    file_system().sync_folder(home.models)
    reason = f"{problem}; kept as {aside.name}"
    _record(home, recovery, ActiveHistoryEntry(at=at, old=None, new=None, action="acknowledge", reason=reason))


def _acknowledge_damage(home: Home, recovery: Recovery, at: datetime) -> None:
    """Records which lines are damaged, so that later damage is told from it."""
    damaged = recovery.history.open_problems
    if damaged:
        pointer = find_usable_pointer(home)[0]
        words = "; ".join(f"line {number}: {problem}" for number, problem in damaged.items())
        note = ActiveHistoryEntry(
            at=at, old=pointer, new=pointer, action="acknowledge", acknowledges=sorted(damaged), reason=f"damage: {words}"
        )
        _record(home, recovery, note)


def _record(home: Home, recovery: Recovery, entry: ActiveHistoryEntry) -> None:
    recovery.history = commit(home, entry, recovery.history)
    recovery.done.append(f"{entry.action}: {entry.reason}" + (f"; {home.active_pointer.name} names {entry.new.name}" if entry.new else ""))


def _active_dir(home: Home) -> str:
    with suppress(UnreadableFileError):
        pointer = read_active(home)
        return "" if pointer is None else pointer.model_dir
    return ""


def _decision_of(pointer: ActivePointer) -> str | None:
    decision = (pointer.reason or {}).get("decision_id")
    return decision if isinstance(decision, str) else None


def repair(home: Home, *, at: datetime) -> Recovery:
    """Finishes or aborts what was cut off, adopts what other programs did, and mends what is damaged; all of it is in the history."""
    with write_lock(home):
        return recover(home, at=at)
