"""Promotes a challenger: the receipt is verified again, the bundle staged and verified, and only then is the change committed.

Whether to promote is decided in `decision`; going back is in `registry`, how a change is made durable in `transition`.
"""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from taskclf_dagster.domain.data.snapshot import find_snapshot_problem
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import find_later_decision, load_decision, save_decision
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_files import MANIFEST, bundle_hashes, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import find_bundle, resolve_model_dir
from taskclf_dagster.domain.models.manifest import build_manifest, find_manifest_problem
from taskclf_dagster.domain.registry.applied_decisions import find_promotion, is_applied
from taskclf_dagster.domain.registry.commit import commit
from taskclf_dagster.domain.registry.history import ActiveHistoryEntry, History, read_history
from taskclf_dagster.domain.registry.inference_policy import build_policy
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import (
    ActivePointer,
    make_pointer,
    metrics_of,
    pointer_sequence,
    pointer_state,
    read_pointer_or_none,
)
from taskclf_dagster.domain.registry.recovery import recover, take_out
from taskclf_dagster.domain.registry.rollback import blocked_words
from taskclf_dagster.domain.storage.files import make_folders, move_folder, remove_tree, write_atomic, write_synced
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.errors import BundleError, DecisionNotVerifiedError
from taskclf_dagster.home import Home

PROMOTION_NOTE = "retrain promotion"


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
    findings = verify_decision(decision)
    with write_lock(home):
        before = find_promotion(home, decision)
        if before is None:
            _require_promotable(home, decision, findings, approved=approved)
        elif not is_applied(home, decision) or read_pointer_or_none(home) == before.new:
            pass  # recovery finishes it, or it is in effect
        else:
            _refuse(decision, [*_find_what_moved_on(home, decision), f"it was promoted as record {before.sequence} already"])
        history = _recover_for(home, decision, at=at)
        done = find_promotion(home, decision)
        if done is not None and done.new is not None and read_pointer_or_none(home) == done.new:
            return done.new, done.old
        if before is not None:  # it had been cut off, and its model cannot run
            _refuse(decision, [f"it was promoted as record {before.sequence}, which did not last"])
        source = find_bundle(home, decision.challenger.model_id)
        if source is None:
            raise DecisionNotVerifiedError(decision.decision_id, [f"bundle {decision.challenger.model_id} is gone"])
        settled = pointer_state(home)
        target = home.models / decision.challenger.model_id
        old = read_pointer_or_none(home)
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
        ReceiptVersionError: its receipt is of another version.
        DecisionNotVerifiedError: it does not await approval, or anything it judged has changed since.
    """
    decision = load_decision(home, decision_id)
    problem = find_snapshot_problem(home.root / decision.dataset.path, decision.dataset.digest)
    if problem is not None:
        raise DecisionNotVerifiedError(decision_id, [f"what it was judged on changed: {problem}"])
    return promote(home, decision, at=at, approved=True, run_id=run_id)[0]


def _require_promotable(home: Home, decision: PromotionDecision, findings: list[str], *, approved: bool) -> None:
    """Before anything is written: the decision holds and promotes, and pointer, champion, labels and challenger are those it is about."""
    wanted = "AWAITING_APPROVAL" if approved else "PROMOTE"
    if decision.verdict != wanted or decision.options.dry_run:
        findings.append(
            f"the verdict is {decision.outcome}, which moves nothing" if not approved else f"it does not await approval: {decision.outcome}"
        )
    if set(decision.required_gates) != set(REQUIRED_GATES):
        findings.append("it was made by another version of this program, which judged other gates")
    findings.extend(_find_what_moved_on(home, decision))
    if decision.challenger.model_id in read_history(home).blocked:
        findings.append(blocked_words(decision.challenger.model_id))
    source = find_bundle(home, decision.challenger.model_id)
    if source is None:
        findings.append(f"bundle {decision.challenger.model_id} is gone")
    else:
        findings.extend(_find_changed_files(source, decision))
    _refuse(decision, findings)


def _find_changed_files(folder: Path, decision: PromotionDecision) -> list[str]:
    files, judged = bundle_hashes(folder), decision.challenger.files
    changed = sorted(name for name in files | judged if files.get(name) != judged.get(name))
    return [f"bundle {decision.challenger.model_id} is not the one that was judged: {', '.join(changed)} changed"] if changed else []


def _recover_for(home: Home, decision: PromotionDecision, *, at: datetime) -> History:
    """Recovers, and makes sure that this did not make the decision a stale one: a change that was finished only now came first.

    A broken champion that was put back to the last known good model is fine, if that is the one the decision was made against.
    """
    recovery = recover(home, at=at)
    if find_promotion(home, decision) is None and pointer_state(home) != (decision.registry.pointer_hash, decision.registry.policy_hash):
        pointer = read_pointer_or_none(home)
        if not (recovery.repaired or recovery.policy_mended) or pointer is None or pointer.model_dir != decision.champion.model_dir:
            _refuse(decision, [f"the registry moved on: {'; '.join(recovery.done)}"])
    return recovery.history


def _refuse(decision: PromotionDecision, findings: list[str]) -> None:
    if findings:
        raise DecisionNotVerifiedError(decision.decision_id, findings)


def _find_what_moved_on(home: Home, decision: PromotionDecision) -> list[str]:
    """Why the decision is no longer the newest: pointer, policy, champion or labels are not those it was made against."""
    findings = []
    if (decision.registry.pointer_hash, decision.registry.policy_hash) != pointer_state(home):
        findings.append("active.json or inference_policy.json changed since the decision: it was made against another champion")
    sequence = pointer_sequence(home)
    if sequence != decision.registry.sequence:
        findings.append(f"the registry is at record {sequence}, the decision was made at {decision.registry.sequence}")
    later = find_later_decision(home, decision)
    if later is not None:
        findings.append(f"decision {later.decision_id} was made on later labels")
    if decision.champion.model is not None:
        try:
            files = bundle_hashes(resolve_model_dir(home, decision.champion.model_dir or ""))
        except (BundleError, OSError):
            files = {}
        if not files or files != decision.champion.model.files:
            findings.append(f"champion {decision.champion.model.model_id} is not the bundle that was compared with")
    return findings


def _require_unmoved(home: Home, decision: PromotionDecision, target: Path, settled: tuple[str | None, str | None]) -> None:
    """The last look before the change: pointer and policy, later decisions, and the manifest of what is in models/ now."""
    problem = find_manifest_problem(read_bundle_files(target))
    findings = [] if problem is None else [problem.detail]
    if pointer_state(home) != settled:
        findings.append("another program changed active.json or inference_policy.json just now")
    _refuse(decision, findings)


def _stage(home: Home, source: Path, decision: PromotionDecision) -> Path:
    """Copies a bundle to models/.staging and adds the manifest, each file durable."""
    staged = home.staging / decision.challenger.model_id
    make_folders(staged)
    for path in sorted(source.iterdir()):
        if path.name in decision.challenger.files:
            write_synced(staged / path.name, path.read_bytes())
    write_synced(staged / MANIFEST, _manifest(staged, decision))
    file_system().sync_folder(staged)
    return staged


def _manifest(folder: Path, decision: PromotionDecision) -> bytes:
    return json.dumps(
        build_manifest(read_bundle_files(folder), decision_id=decision.decision_id).model_dump(mode="json"), indent=2
    ).encode()


def _unstage(home: Home, source: Path, target: Path) -> None:
    """Empties models/.staging; takes a bundle out of models/ again that was put there in vain, in one rename."""
    named = any(entry.new is not None and entry.new.name == target.name for entry in read_history(home).entries)
    if source != target and target.is_dir() and not named:
        take_out(home, target)
    if home.staging.exists():
        remove_tree(home.staging)


def _load_judged_bundle(folder: Path, decision: PromotionDecision, history: History) -> LoadedModel:
    """Loads what is in models/ now, if it is the bundle that was judged."""
    _refuse(decision, _find_changed_files(folder, decision))
    try:
        model = load_bundle(folder)
    except BundleError as error:
        raise DecisionNotVerifiedError(decision.decision_id, [str(error)]) from error
    same = [blocked.model_id for blocked in history.blocked.values() if blocked.tree_hash == model.tree_hash]
    _refuse(decision, [blocked_words(name) for name in same])
    return model
