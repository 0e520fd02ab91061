"""Applies a decision: promotes its challenger or moves it aside, records the last decided run, and applies retention.

The verdict is decided in `decision`, the pointer changed in `registry.promotion`.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.applied_decisions import is_applied, put_aside
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.registry.retention import PruneItem, prune
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.retraining.steps import remember_decision, remember_if_forgotten
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

Outcome = Literal["already_applied", "set_aside", "promoted"]


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


def apply_decision(home: Home, decision: PromotionDecision, *, run_id: str, at: datetime) -> AppliedDecision:
    """Applies a decision. A second call for the same decision changes nothing.

    PROMOTE moves the pointer. Any other verdict, or a dry run, leaves models/ as it is, byte for byte, and moves the challenger to the
    rejected or the pending bundles.

    Args:
        home: the taskclf home.
        decision: the receipt; it is verified again.
        run_id: the run that applies it, for the history and the events.
        at: the time of the change.

    Raises:
        DecisionNotVerifiedError: the decision does not hold, or what it was made against has changed. Nothing is changed then.
    """
    if is_applied(home, decision):
        remember_if_forgotten(home, decision, run_id=run_id, at=at)
        return AppliedDecision("already_applied", find_bundle(home, decision.challenger.model_id))
    promotion, bundle = None, None
    if decision.moves_pointer:
        promotion = promote(home, decision, at=at, run_id=run_id)
        bundle = home.root / promotion.pointer.model_dir
    else:
        bundle = put_aside(home, decision)
    remember_decision(home, decision, run_id=run_id, at=at)
    removed, problem = _remove_old_files(home, decision, at, None if promotion is None else promotion.state)
    if promotion is None:
        return AppliedDecision("set_aside", bundle, removed=removed, retention_problem=problem)
    return AppliedDecision("promoted", bundle, promotion.pointer, promotion.previous, removed, problem)


def _remove_old_files(
    home: Home, decision: PromotionDecision, at: datetime, known: RegistryState | None
) -> tuple[tuple[PruneItem, ...], str | None]:
    """Deletes what retention no longer keeps, and returns it, or the reason why it could not.

    Promoted bundles are deleted only after a promotion, so that any other verdict leaves models/ as it is.
    """
    keep = decision.settings.retention
    try:
        plan = prune(
            home,
            keep_versions=keep.keep_versions,
            keep_rejected=keep.keep_rejected,
            at=at,
            promoted=decision.moves_pointer,
            known=known,
        )
    except (OSError, TaskclfDagsterError) as error:  # the decision stands
        return (), str(error)
    return tuple(plan.remove), None
