"""Promotes a challenger: verifies the receipt again, puts the bundle into models/, verifies it there, and only then commits.

Whether to promote is decided in `decision`; `rollback` undoes a promotion, and `commit` makes it durable.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import load_decision, save_decision
from taskclf_dagster.domain.decision.verdict import describe_approval
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_files import MANIFEST, MODEL_CARD, BundleFiles, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.manifest import build_manifest, find_manifest_problem
from taskclf_dagster.domain.registry.applied_decisions import find_promotion, is_promotion_made
from taskclf_dagster.domain.registry.commit import commit
from taskclf_dagster.domain.registry.history import History, read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.inference_policy import build_policy
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.model_card import write_model_card
from taskclf_dagster.domain.registry.pointer import ActivePointer, make_pointer, metrics_of
from taskclf_dagster.domain.registry.promotion_checks import (
    blocked_model,
    find_changed_files,
    find_what_moved_on,
    is_made_against,
    missing_bundle,
    refuse,
    require_promotable,
)
from taskclf_dagster.domain.registry.recovery import recover, take_out
from taskclf_dagster.domain.registry.signed_state import require_signed, require_trusted
from taskclf_dagster.domain.registry.state import RegistryState, read_digests, read_registry_state
from taskclf_dagster.domain.storage.files import make_folders, move_folder, remove_tree, write_atomic, write_synced
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import BundleError, DecisionFinding, DecisionNotVerifiedError
from taskclf_dagster.home import Home

PROMOTION_NOTE = "retrain promotion"


Recompute = Callable[[RegistryState, PromotionDecision], list[DecisionFinding]]
"""Computes a decision again from its primary sources, and returns the differences (`retraining.recomputation`)."""


@dataclass(frozen=True)
class Promotion:
    """A promotion that is in effect.

    Attributes:
        pointer: the pointer now.
        previous: the pointer before; None if there was none that could be read.
        state: the registry afterwards, with the bundles that were verified for it.
    """

    pointer: ActivePointer
    previous: ActivePointer | None
    state: RegistryState = field(repr=False, compare=False)


def promote(
    home: Home,
    decision: PromotionDecision,
    *,
    recompute: Recompute,
    at: datetime,
    approved: bool = False,
    by: str | None = None,
    run_id: str | None = None,
    known: RegistryState | None = None,
    keys: Keys = NO_KEYS,
    then: Callable[[RegistryState], None] = lambda _: None,
) -> Promotion:
    """Makes the challenger of a decision the active model, after verifying the decision and computing it again.

    The decision is computed again before the registry is locked, because that takes a while. The bundles that were read for it are those
    that are promoted, and it holds only if the registry is still the same under the lock.

    Args:
        home: the taskclf home.
        decision: its verdict is PROMOTE, or AWAITING_APPROVAL and a person approved it.
        recompute: computes the decision again from snapshot and bundles, and returns the differences.
        at: the time of the change.
        approved: True if a person approved it.
        by: who did, for the record; None if that is not known.
        run_id: the Dagster run, for history and event.
        known: the registry if it was read just now, with the same keys.
        keys: sign the record, and check the signatures of receipt and registry.
        then: called with the state afterwards, while the registry is still locked.

    Raises:
        DecisionNotVerifiedError: the decision does not hold, is not the newest, what it judged has changed, or its challenger was
            rolled back. Nothing is changed then.
        ReceiptNotTrustedError: the receipt is that of another home, or is not signed with a trusted key.
        RegistryNotSignedError: the registry is not in a signed state.
    """
    looked = known or read_registry_state(home, keys)
    require_trusted(home, decision, keys)
    require_signed(looked)
    findings = _verify(looked, decision, recompute)
    with write_lock(home):
        state = read_registry_state(home, keys)
        if state.is_same_as(looked):
            state = state.with_files_of(looked)
        else:
            findings = _verify(state, decision, recompute)
        before = find_promotion(state.history, decision)
        if before is None:
            require_promotable(state, decision, findings, at=at, approved=approved)
        elif is_promotion_made(state, decision) and state.pointer != before.new:
            refuse(
                decision,
                [
                    *find_what_moved_on(state, decision),
                    DecisionFinding("promoted_before", f"it was promoted as record {before.sequence} already"),
                ],
            )
        state = _recover_for(state, decision, at=at)
        done = find_promotion(state.history, decision)
        if done is not None and done.new is not None and state.pointer == done.new:
            promotion = Promotion(done.new, done.old, state)
        elif before is not None:  # it had been cut off, and its model cannot run
            raise DecisionNotVerifiedError(
                decision.decision_id,
                [DecisionFinding("promoted_before", f"it was promoted as record {before.sequence}, which did not last")],
            )
        else:
            reason = describe_approval(decision.reason, by) if approved else decision.reason
            promotion = _change_model(state, decision, at=at, reason=reason, run_id=run_id)
        then(promotion.state)
        return promotion


def _verify(state: RegistryState, decision: PromotionDecision, recompute: Recompute) -> list[DecisionFinding]:
    """Verifies a decision against itself, then computes it again unless it was promoted already or made against another registry."""
    findings = verify_decision(decision)
    if findings or find_promotion(state.history, decision) is not None or not is_made_against(decision, state):
        return findings
    return recompute(state, decision)


def _change_model(state: RegistryState, decision: PromotionDecision, *, at: datetime, reason: str, run_id: str | None) -> Promotion:
    """Puts the challenger into models/ and commits; on any failure it is taken out of models/ again."""
    home, model_id = state.home, decision.challenger.model_id
    source, target = find_bundle(home, model_id), home.models / model_id
    if source is None:
        raise DecisionNotVerifiedError(decision.decision_id, [missing_bundle(model_id)])
    try:
        judged = state.bundles.files(source)
        model = _load_judged_bundle(judged, decision, state.history)
        _put_into_models(state, model, target, decision)
        _require_unmoved(state, decision, target)
        pointer = make_pointer(
            model_id,
            at=at,
            sequence=state.history.sequence + 1,
            metrics=metrics_of(model),
            note=PROMOTION_NOTE,
            decision_id=decision.decision_id,
        )
        entry = ActiveHistoryEntry(
            at=at,
            old=state.pointer,
            new=pointer,
            action="promote",
            decision_id=decision.decision_id,
            run_id=run_id,
            reason=reason,
            home_id=decision.home_id,  # of this home: the receipt was compared with it
            policy=build_policy(model, at=at, source="retrain", code_version=decision.code_version),
        )
        after = commit(state, entry)
    except Exception:
        with suppress(OSError):
            _unstage(home, source, target)
        raise
    with suppress(OSError):  # a second copy, or an empty folder, does no harm: retention and recovery remove them
        if home.staging.exists():
            remove_tree(home.staging)
        if source != target:
            remove_tree(source)
    return Promotion(pointer, state.pointer, after)


def approve(
    home: Home,
    decision_id: str,
    *,
    recompute: Recompute,
    at: datetime,
    by: str | None = None,
    run_id: str | None = None,
    keys: Keys = NO_KEYS,
) -> ActivePointer:
    """Promotes the challenger of a decision that awaits approval; see `promote`.

    Raises:
        DecisionNotFoundError: the decision does not exist.
        ReceiptVersionError: its receipt is of another version.
        DecisionNotVerifiedError: it does not await approval, or anything it judged has changed since.
    """
    decision = load_decision(home, decision_id)
    return promote(home, decision, recompute=recompute, at=at, approved=True, by=by, run_id=run_id, keys=keys).pointer


def _recover_for(state: RegistryState, decision: PromotionDecision, *, at: datetime) -> RegistryState:
    """Recovers, and checks that the decision is still the newest: recovery may have completed an earlier change.

    If recovery restored the last known good model, the decision still holds if it was made against that model.
    """
    recovery = recover(state, at=at)
    now = recovery.state
    if find_promotion(now.history, decision) is None and not is_made_against(decision, now):
        mended = recovery.repaired or recovery.policy_mended
        if not mended or now.pointer is None or now.pointer.model_dir != decision.champion.model_dir:
            refuse(decision, [DecisionFinding("registry_moved_on", f"the registry moved on: {'; '.join(map(str, recovery.done))}")])
    return now


def _load_judged_bundle(files: BundleFiles, decision: PromotionDecision, history: History) -> LoadedModel:
    """Loads the bundle that will be put into models/, if it is the one that was judged and its trees are not blocked."""
    refuse(decision, find_changed_files(files, decision))
    try:
        model = load_bundle(files)
    except BundleError as error:
        raise DecisionNotVerifiedError(decision.decision_id, [DecisionFinding("bundle_unusable", str(error))]) from error
    same = [blocked.model_id for blocked in history.blocked.values() if blocked.tree_hash == model.tree_hash]
    refuse(decision, [blocked_model(name) for name in same])
    return model


def _put_into_models(state: RegistryState, model: LoadedModel, target: Path, decision: PromotionDecision) -> None:
    """Writes the judged bytes, the model card and the manifest to models/.staging, each durable; one rename moves the folder into models/.

    A bundle that is in models/ already only gets the manifest that it lacks, and a card unless a file has that name.
    """
    judged = model.files
    has_card = judged.folder == target and MODEL_CARD in judged.names
    card = None if has_card else write_model_card(decision, model).encode()
    manifest = build_manifest(judged, decision_id=decision.decision_id, card=card)
    content = json.dumps(manifest.model_dump(mode="json"), indent=2).encode()
    if not state.receipts.holds(state.home, decision):
        save_decision(state.home, decision)
    if judged.folder == target:
        if MANIFEST not in judged.names:
            if card is not None:
                write_atomic(target / MODEL_CARD, card)
            write_atomic(target / MANIFEST, content)
        return
    staged = state.home.staging / target.name
    make_folders(staged)
    for name in sorted(decision.challenger.files):
        write_synced(staged / name, judged.content(name))
    if card is not None:
        write_synced(staged / MODEL_CARD, card)
    write_synced(staged / MANIFEST, content)
    file_system().sync_folder(staged)
    move_folder(staged, target)


def _require_unmoved(state: RegistryState, decision: PromotionDecision, target: Path) -> None:
    """Checks a last time before the change: models/ has the judged bundle, its manifest holds, pointer and policy are as before."""
    files = read_bundle_files(target)
    problem = find_manifest_problem(files)
    findings = find_changed_files(files, decision) if problem is None else [DecisionFinding("manifest_differs", problem.detail)]
    if read_digests(state.home) != state.digests:
        findings.append(
            DecisionFinding("pointer_changed_just_now", "another program changed active.json or inference_policy.json just now")
        )
    refuse(decision, findings)
    state.bundles.keep(files)


def _unstage(home: Home, source: Path, target: Path) -> None:
    """Empties models/.staging, and moves a bundle that was not committed out of models/ in one rename."""
    named = any(entry.new is not None and entry.new.name == target.name for entry in read_history(home).entries)
    if source != target and target.is_dir() and not named:
        take_out(home, target)
    if home.staging.exists():
        remove_tree(home.staging)
