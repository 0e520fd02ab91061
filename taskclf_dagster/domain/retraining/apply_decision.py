"""Applies a decision: promotes its challenger or moves it aside, records the last decided run, and applies retention.

The verdict is decided in `decision`, the pointer changed in `registry.promotion`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.applied_decisions import find_promotion, is_applied, put_aside
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.promotion import Recompute, promote
from taskclf_dagster.domain.registry.retention import LastRun, PruneItem, PrunePlan, prune, prune_locked
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.retraining.present_policy import require_present_policy
from taskclf_dagster.domain.retraining.steps import remember_decision, remember_if_forgotten
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

Outcome = Literal["already_applied", "set_aside", "promoted"]


_Remember = Callable[[], LastDecided | None]


@dataclass(frozen=True)
class AppliedDecision:
    """The effect of a decision on a home.

    Attributes:
        outcome: already_applied if an earlier run had applied it; set_aside if the pointer is unchanged; promoted if it changed.
        bundle: folder of the challenger's bundle; None if it does not exist.
        pointer: the new pointer; None unless promoted.
        previous: the pointer before; None unless promoted, or if none could be read.
        removed: what retention deleted.
        retention_problem: the reason why retention failed, which the next run repeats; None if it did not.
    """

    outcome: Outcome
    bundle: Path | None
    pointer: ActivePointer | None = None
    previous: ActivePointer | None = None
    removed: tuple[PruneItem, ...] = ()
    retention_problem: str | None = None


def apply_decision(
    home: Home,
    decision: PromotionDecision,
    *,
    settings: RetrainConfig,
    recompute: Recompute,
    run_id: str,
    at: datetime,
    trained_at: datetime | None = None,
    keys: Keys = NO_KEYS,
) -> AppliedDecision:
    """Applies a decision. A second call for the same decision changes nothing.

    PROMOTE moves the pointer. Any other verdict, or a dry run, leaves models/ as it is, byte for byte, and moves the challenger to the
    rejected or the pending bundles.

    Args:
        home: the taskclf home.
        decision: the receipt; it is verified again.
        settings: today's policy, by which it must promote as well.
        recompute: computes it again before a promotion; see `promote`.
        run_id: the run that applies it, for the history and the events.
        at: the time of the change.
        trained_at: see `remember_decision`.
        keys: see `promote`.

    Raises:
        DecisionNotVerifiedError: the decision does not hold, or what it was made against has changed. Nothing is changed then.
        RegistryRefusedError: by today's policy it would not promote.
        RegistryNotSignedError: see `promote`.
    """
    looked = read_registry_state(home, keys)
    if is_applied(looked, decision):
        remember_if_forgotten(home, decision, run_id=run_id, at=at, trained_at=trained_at)
        return AppliedDecision("already_applied", find_bundle(home, decision.challenger.model_id))
    remember = partial(remember_decision, home, decision, run_id=run_id, at=at, trained_at=trained_at)
    if not decision.moves_pointer:
        return _put_aside(home, decision, remember, at)
    if find_promotion(looked.history, decision) is None:  # else it was promoted, and cut off
        require_present_policy(decision, settings)
    return _promote(looked, decision, remember, recompute, run_id=run_id, at=at)


def _promote(
    looked: RegistryState, decision: PromotionDecision, remember: _Remember, recompute: Recompute, *, run_id: str, at: datetime
) -> AppliedDecision:
    """Promotes, records the decided run and applies retention under one lock of the registry."""
    retention: list[_Retention] = []

    def finish(state: RegistryState) -> None:
        last_run = LastRun(decision.challenger.model_id, decision.dataset.dataset_hash, remember())
        retention.append(_apply_retention(partial(prune_locked, state, last_run, promoted=True), decision, at))

    promotion = promote(looked.home, decision, recompute=recompute, at=at, run_id=run_id, known=looked, keys=looked.keys, then=finish)
    bundle = looked.home.root / promotion.pointer.model_dir
    return AppliedDecision("promoted", bundle, promotion.pointer, promotion.previous, *retention[0])


def _put_aside(home: Home, decision: PromotionDecision, remember: _Remember, at: datetime) -> AppliedDecision:
    """Moves the challenger aside; retention keeps promoted bundles then, so that models/ stays as it is."""
    bundle = put_aside(home, decision)
    remember()
    removed, problem = _apply_retention(partial(prune, home, promoted=False), decision, at)
    return AppliedDecision("set_aside", bundle, removed=removed, retention_problem=problem)


class _Retention(NamedTuple):
    """The files and folders that retention deleted, and the reason why it failed, or None."""

    removed: tuple[PruneItem, ...]
    problem: str | None


def _apply_retention(delete: Callable[..., PrunePlan], decision: PromotionDecision, at: datetime) -> _Retention:
    keep = decision.settings.retention
    try:
        plan = delete(keep_versions=keep.keep_versions, keep_rejected=keep.keep_rejected, at=at)
    except (OSError, TaskclfDagsterError) as error:  # the decision stands
        return _Retention((), str(error))
    return _Retention(tuple(plan.remove), None)
