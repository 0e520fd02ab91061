"""The file registry: the only code that changes which model taskclf runs (contract, sections 8 and 12).

Every change holds the lock, recovers what was cut off, stages and verifies, and then commits history, policy and pointer. Readers never
write: those are in `pointer`, `history` and `champion`. How a change is made durable belongs to `transition`; whether to promote, to
`decision`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from taskclf_dagster.domain.bundle import MODEL, LoadedModel, bundle_hashes, load_bundle, tree_hash
from taskclf_dagster.domain.decision import (
    REQUIRED_GATES,
    PromotionDecision,
    find_later_decision,
    read_decision,
    save_decision,
    verify_decision,
)
from taskclf_dagster.domain.files import make_folders, move_folder, read_json_object, remove_tree, write_atomic, write_synced
from taskclf_dagster.domain.filesystem import file_system
from taskclf_dagster.domain.history import ActiveHistoryEntry, BlockedModel, History, read_history
from taskclf_dagster.domain.manifest import MANIFEST, build_manifest, find_manifest_problem
from taskclf_dagster.domain.pointer import (
    ActivePointer,
    find_bundle,
    is_model_id,
    make_pointer,
    pointer_sequence,
    pointer_state,
    read_active,
    resolve_model_dir,
)
from taskclf_dagster.domain.recovery import Recovery, find_last_known_good, recover, settle, take_out
from taskclf_dagster.domain.snapshot import find_snapshot_problem
from taskclf_dagster.domain.transition import build_policy, commit, metrics_of
from taskclf_dagster.errors import BundleError, DecisionNotFoundError, DecisionNotVerifiedError, RegistryRefusedError, UnreadableFileError
from taskclf_dagster.home import Home

PROMOTION_NOTE, ROLLBACK_NOTE = "retrain promotion", "rollback"


def promote(
    home: Home, decision: PromotionDecision, *, at: datetime, approved: bool = False, run_id: str | None = None
) -> tuple[ActivePointer, ActivePointer | None]:
    """Makes the challenger of a decision the active model, after checking everything the decision says again.

    Args:
        home: the taskclf home.
        decision: its verdict is PROMOTE, or AWAITING_APPROVAL and a person approved it.
        at: the time of the change.
        approved: whether a person approved it.
        run_id: the Dagster run, for history and event.

    Returns:
        The pointer now, and before (None where there was none that could be read).

    Raises:
        DecisionNotVerifiedError: the decision does not hold, is not the newest, what it judged is not what lies there now, or its
            challenger was rolled back. Nothing is changed then.
    """
    with write_lock(home):
        if not _is_cut_off_or_done(home, decision):
            _require_promotable(home, decision, approved=approved)
        history = _recover_for(home, decision, at=at)
        done = _find_promotion(home, decision)
        if done is not None and done.new is not None and _read_usable(home) == done.new:
            return done.new, done.old  # made before; cut off, perhaps, and finished by recovery
        source = find_bundle(home, decision.challenger.model_id)
        if source is None:
            raise DecisionNotVerifiedError(decision.decision_id, [f"bundle {decision.challenger.model_id} is gone"])
        settled = pointer_state(home)
        target = home.models / decision.challenger.model_id
        old = _read_usable(home)
        try:
            staged = target if source == target else _stage(home, source, decision)
            model = _load_judged_bundle(staged, decision, history)
            if not (staged / MANIFEST).exists():
                write_atomic(staged / MANIFEST, _manifest(staged, decision))
            save_decision(home, decision)
            if staged != target:
                move_folder(staged, target)
            _require_unmoved(home, decision, target, settled)
            pointer = make_pointer(
                target.name,
                at=at,
                sequence=history.sequence + 1,
                metrics=metrics_of(model),
                note=PROMOTION_NOTE,
                decision_id=decision.decision_id,
            )
            entry = ActiveHistoryEntry(
                at=at,
                old=old,
                new=pointer,
                action="promote",
                decision_id=decision.decision_id,
                run_id=run_id,
                reason=f"approved by a person. {decision.reason}" if approved else decision.reason,
                policy=build_policy(model, at=at, source="retrain", code_version=decision.code_version),
            )
            commit(home, entry, history)
        except Exception:
            with suppress(OSError):
                _unstage(home, source, target)
            raise
        with suppress(OSError):  # a second copy, or an empty folder, does no harm: retention and recovery remove them
            _unstage(home, target, target)
            if source != target:
                remove_tree(source)
        return pointer, old


def approve(home: Home, decision_id: str, *, at: datetime, run_id: str | None = None) -> ActivePointer:
    """Promotes the challenger of a decision that awaits approval.

    Raises:
        DecisionNotFoundError: there is no such decision.
        DecisionNotVerifiedError: it does not await approval, or anything it judged has changed since.
    """
    decision = read_decision(home, decision_id)
    if decision is None:
        raise DecisionNotFoundError(decision_id, home.decisions)
    problem = find_snapshot_problem(home.root / decision.snapshot_path, decision.dataset_digest)
    if problem is not None:
        raise DecisionNotVerifiedError(decision_id, [f"what it was judged on changed: {problem}"])
    return promote(home, decision, at=at, approved=True, run_id=run_id)[0]


def rollback(home: Home, *, to: str | None, reason: str, at: datetime, run_id: str | None = None) -> ActivePointer:
    """Goes back to an earlier model, without training: loads it first, makes one record, and blocks what it left until `unblock`.

    Args:
        home: the taskclf home.
        to: a model id in models/; None is the last known good model before the present one.
        reason: why, for the record.
        at: the time of the change.
        run_id: the Dagster run, for history and event.

    Returns:
        The pointer now.

    Raises:
        RegistryRefusedError: there is nothing to go back to, or it is what runs now, blocked, or does not load.
    """
    what = f"Rolling back to {to or 'the model before'}"
    with write_lock(home):
        recovery = recover(home, at=at)
        history, current = recovery.history, _read_usable(home)
        if recovery.repaired and current is not None and to in (None, current.name):
            return current  # what ran was damaged, and the last known good model runs again already
        if to is None:
            good = find_last_known_good(home, history, but=None if current is None else current.model_dir)
            if good is None:
                raise RegistryRefusedError(what, "the history has no other model that can run", "Run a retrain instead.")
            to = good.name
        model = _load_for_rollback(home, to, current, history, what)
        left = None if current is None else _describe_left(home, current)
        pointer = make_pointer(to, at=at, sequence=history.sequence + 1, metrics=metrics_of(model), note=ROLLBACK_NOTE, decision_id=None)
        entry = ActiveHistoryEntry(
            at=at,
            old=current,
            new=pointer,
            action="rollback",
            reason=reason,
            run_id=run_id,
            blocks=left,
            policy=_policy_for_rollback(home, model, history, at),
        )
        commit(home, entry, history)
        return pointer


def unblock(home: Home, model_id: str, *, reason: str, at: datetime) -> None:
    """Lets a model be promoted again that a rollback left.

    Raises:
        RegistryRefusedError: it is not blocked.
    """
    with write_lock(home):
        history = recover(home, at=at).history
        if model_id not in history.blocked:
            listed = ", ".join(sorted(history.blocked)) or "nothing"
            raise RegistryRefusedError(f"Unblocking {model_id}", "it is not blocked", f"Blocked is: {listed}.")
        current = _read_usable(home)
        note = ActiveHistoryEntry(at=at, old=current, new=current, action="unblock", subject=[model_id], reason=reason)
        commit(home, note, history)


def repair(home: Home, *, at: datetime) -> Recovery:
    """Finishes or aborts what was cut off, adopts what other programs did, and mends what is damaged; all of it is in the history."""
    with write_lock(home):
        return recover(home, at=at)


def put_aside(home: Home, decision: PromotionDecision) -> Path:
    """Moves the challenger of a decision that does not promote to where rejected or waiting bundles lie.

    Returns:
        Where the bundle lies now.

    Raises:
        DecisionNotVerifiedError: the decision does not hold. Nothing is changed then.
    """
    findings = verify_decision(decision)
    if findings:
        raise DecisionNotVerifiedError(decision.decision_id, findings)
    with write_lock(home):
        settle(home)
        built, target = home.challengers / decision.challenger.model_id, decision.destination(home)
        if built.is_dir():  # else it lies there already, or was promoted since
            move_folder(built, target)
        return find_bundle(home, decision.challenger.model_id) or target


def is_applied(home: Home, decision: PromotionDecision) -> bool:
    """Whether nothing is left to do for a decision: the pointer was once moved by it, or its challenger was put aside."""
    if not decision.moves_pointer:
        return not (home.challengers / decision.challenger.model_id).is_dir()
    done = _find_promotion(home, decision)
    return done is not None and (done != read_history(home).last_move or _read_usable(home) == done.new)


@contextmanager
def write_lock(home: Home) -> Iterator[None]:
    """At most one writer: holds the lock of models/.

    Raises:
        RegistryBusyError: another writer holds it for too long.
        UnsafeFileSystemError: the file system has no locks that work.
    """
    make_folders(home.models)
    with file_system().lock(home.registry_lock):
        yield


def _require_promotable(home: Home, decision: PromotionDecision, *, approved: bool) -> None:
    """Before anything is written: the decision holds and promotes, and pointer, champion, labels and challenger are those it is about."""
    findings = verify_decision(decision)
    wanted = "AWAITING_APPROVAL" if approved else "PROMOTE"
    if decision.verdict != wanted or decision.dry_run:
        findings.append(
            f"the verdict is {decision.outcome}, which moves nothing" if not approved else f"it does not await approval: {decision.outcome}"
        )
    if set(decision.required_gates) != set(REQUIRED_GATES):
        findings.append("it was made by another version of this program, which judged other gates")
    findings.extend(_find_what_moved_on(home, decision))
    if decision.challenger.model_id in read_history(home).blocked:
        findings.append(_blocked_words(decision.challenger.model_id))
    if find_bundle(home, decision.challenger.model_id) is None:
        findings.append(f"bundle {decision.challenger.model_id} is gone")
    _refuse(decision, findings)


def _recover_for(home: Home, decision: PromotionDecision, *, at: datetime) -> History:
    """Recovers, and makes sure that this did not make the decision a stale one: a change that was finished only now came first.

    A broken champion that was put back to the last known good model is fine, if that is the one the decision was made against.
    """
    recovery = recover(home, at=at)
    if _find_promotion(home, decision) is None and pointer_state(home) != (decision.pointer_hash, decision.policy_hash):
        pointer = _read_usable(home)
        if not recovery.repaired or pointer is None or pointer.model_dir != decision.champion_dir:
            _refuse(decision, [f"the registry moved on: {'; '.join(recovery.done)}"])
    return recovery.history


def _refuse(decision: PromotionDecision, findings: list[str]) -> None:
    if findings:
        raise DecisionNotVerifiedError(decision.decision_id, findings)


def _find_what_moved_on(home: Home, decision: PromotionDecision) -> list[str]:
    """Why the decision is no longer the newest: pointer, policy, champion or labels are not those it was made against."""
    findings = []
    if (decision.pointer_hash, decision.policy_hash) != pointer_state(home):
        findings.append("active.json or inference_policy.json changed since the decision: it was made against another champion")
    sequence = pointer_sequence(home)
    if sequence != decision.registry_sequence:
        findings.append(f"the registry is at record {sequence}, the decision was made at {decision.registry_sequence}")
    later = find_later_decision(home, decision)
    if later is not None:
        findings.append(f"decision {later.decision_id} was made on later labels")
    if decision.champion is not None:
        try:
            files = bundle_hashes(resolve_model_dir(home, decision.champion_dir or ""))
        except (BundleError, OSError):
            files = {}
        if not files or files != decision.champion.files:
            findings.append(f"champion {decision.champion.model_id} is not the bundle that was compared with")
    return findings


def _require_unmoved(home: Home, decision: PromotionDecision, target: Path, settled: tuple[str | None, str | None]) -> None:
    """The last look before the change: pointer and policy, later decisions, and the manifest of what is in models/ now."""
    problem = find_manifest_problem(target)
    findings = [] if problem is None else [problem]
    if pointer_state(home) != settled:
        findings.append("another program changed active.json or inference_policy.json just now")
    _refuse(decision, findings)


def _stage(home: Home, source: Path, decision: PromotionDecision) -> Path:
    """Copies a bundle to models/.staging and adds the manifest, each file durable."""
    staged = home.staging / decision.challenger.model_id
    make_folders(staged)
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != MANIFEST:
            write_synced(staged / path.name, path.read_bytes())
    write_synced(staged / MANIFEST, _manifest(staged, decision))
    file_system().sync_folder(staged)
    return staged


def _manifest(folder: Path, decision: PromotionDecision) -> bytes:
    return json.dumps(build_manifest(folder, decision_id=decision.decision_id).model_dump(mode="json"), indent=2).encode()


def _unstage(home: Home, source: Path, target: Path) -> None:
    """Empties models/.staging; takes a bundle out of models/ again that was put there in vain, in one rename."""
    named = any(entry.new is not None and entry.new.name == target.name for entry in read_history(home).entries)
    if source != target and target.is_dir() and not named:
        take_out(home, target)
    if home.staging.exists():
        remove_tree(home.staging)


def _is_cut_off_or_done(home: Home, decision: PromotionDecision) -> bool:
    """Whether the last change is the one that a decision made: recovery finishes it then, if that is still to be done."""
    done = _find_promotion(home, decision)
    return done is not None and done == read_history(home).last_move


def _find_promotion(home: Home, decision: PromotionDecision) -> ActiveHistoryEntry | None:
    """The change that a decision made, or None."""
    return next((entry for entry in reversed(read_history(home).moves) if entry.decision_id == decision.decision_id), None)


def _load_judged_bundle(folder: Path, decision: PromotionDecision, history: History) -> LoadedModel:
    """Loads what is in models/ now, if it is the bundle that was judged."""
    files = bundle_hashes(folder)
    changed = sorted(name for name in files | decision.challenger.files if files.get(name) != decision.challenger.files.get(name))
    if changed:
        _refuse(decision, [f"bundle {decision.challenger.model_id} is not the one that was judged: {', '.join(changed)} changed"])
    try:
        model = load_bundle(folder)
    except BundleError as error:
        raise DecisionNotVerifiedError(decision.decision_id, [str(error)]) from error
    same = [blocked.model_id for blocked in history.blocked.values() if blocked.tree_hash == _tree_hash(model)]
    _refuse(decision, [_blocked_words(name) for name in same])
    return model


def _load_for_rollback(home: Home, to: str, current: ActivePointer | None, history: History, what: str) -> LoadedModel:
    if current is not None and current.name == to:
        raise RegistryRefusedError(what, "it is what taskclf runs now", "Name another model: `taskclf-dagster list` shows them.")
    if not is_model_id(to):
        raise RegistryRefusedError(what, "it is not the id of a model", "`taskclf-dagster list` shows them.")
    if to in history.blocked:
        raise RegistryRefusedError(what, "an earlier rollback left it", f"`taskclf-dagster unblock {to}` allows it again.")
    try:
        return load_bundle(resolve_model_dir(home, f"{home.models.name}/{to}"))
    except BundleError as error:
        raise RegistryRefusedError(what, error.reason, "Name another model: `taskclf-dagster list` shows them.") from error


def _describe_left(home: Home, pointer: ActivePointer) -> BlockedModel:
    trees = None
    with suppress(BundleError):
        trees = _tree_hash(load_bundle(resolve_model_dir(home, pointer.model_dir)))
    return BlockedModel(model_id=pointer.name, tree_hash=trees)


def _policy_for_rollback(home: Home, model: LoadedModel, history: History, at: datetime) -> dict[str, object]:
    """The policy of a model that runs again: the one it had when it was replaced, where its calibrators are still there, else a new one."""
    model_dir = f"{home.models.name}/{model.bundle.model_id}"
    for entry in reversed(history.moves):
        replaced = entry.old is not None and entry.old.model_dir == model_dir
        decision = read_decision(home, entry.decision_id) if replaced and entry.decision_id else None
        previous = None if decision is None else decision.previous_policy
        if previous is not None and previous.get("model_dir") == model_dir and _fits_calibrators(home, previous, model.bundle.model_id):
            return {**previous, "created_at": at.isoformat(), "source": ROLLBACK_NOTE}
    return build_policy(model, at=at, source=ROLLBACK_NOTE)


def _fits_calibrators(home: Home, policy: dict[str, object], model_id: str) -> bool:
    """Whether a policy names no calibrators, or those in the store were fitted for this model."""
    if policy.get("calibrator_store_dir") is None:
        return True
    with suppress(UnreadableFileError):
        return read_json_object(home.calibrator_store).get("model_bundle_id") == model_id
    return False


def _read_usable(home: Home) -> ActivePointer | None:
    with suppress(UnreadableFileError):
        return read_active(home)
    return None


def _tree_hash(model: LoadedModel) -> str:
    return tree_hash((model.bundle.path / MODEL).read_text(encoding="utf-8"))


def _blocked_words(model_id: str) -> str:
    return f"model {model_id} was rolled back, and these trees are blocked; `taskclf-dagster unblock {model_id}` allows them again"
