"""Puts a decision into effect: promotes its challenger or sets it aside, remembers the decision, and lets retention remove old files.

Which verdict promotes is decided in `decision`; how the pointer is moved, in `registry.promotion`.
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
        outcome: already_applied if an earlier run had done it; set_aside if the pointer stays as it is; promoted if it moved.
        bundle: where the challenger's bundle lies now; None if it is gone.
        pointer: the new pointer; None unless promoted.
        previous: the pointer before; None unless promoted, or where there was none that could be read.
        removed: what retention removed.
        retention_problem: why retention was put off, which the next run makes up for; None if it ran or had nothing to do.
    """

    outcome: Outcome
    bundle: Path | None
    pointer: ActivePointer | None = None
    previous: ActivePointer | None = None
    removed: tuple[PruneItem, ...] = ()
    retention_problem: str | None = None


def apply_decision(home: Home, decision: PromotionDecision, *, run_id: str, at: datetime) -> AppliedDecision:
    """Does what a decision says; called again for the same decision it changes nothing more.

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
    """Removes what retention no longer keeps, and returns it, or why it could not.

    Promoted bundles go only after a promotion, so that any other verdict leaves models/ as it is.
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
