"""Checks if a decision has taken effect, and moves challengers that were not promoted."""

from pathlib import Path

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.history import ActiveHistoryEntry, History
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.recovery import settle
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.files import move_folder
from taskclf_dagster.errors import DecisionNotVerifiedError
from taskclf_dagster.home import Home


def put_aside(home: Home, decision: PromotionDecision) -> Path:
    """Moves the challenger of a decision that does not promote to the rejected or the pending bundles.

    Returns:
        The folder of the bundle.

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


def is_applied(state: RegistryState, decision: PromotionDecision) -> bool:
    """Returns True if nothing is left to do for a decision: it moved the pointer, or its challenger was moved."""
    if not decision.moves_pointer:
        return not (state.home.challengers / decision.challenger.model_id).is_dir()
    return is_promotion_made(state, decision)


def is_promotion_made(state: RegistryState, decision: PromotionDecision) -> bool:
    """Returns True if a decision's promotion was recorded and carried out."""
    done = find_promotion(state.history, decision)
    return done is not None and (done != state.history.last_move or not state.is_waiting(done))


def find_promotion(history: History, decision: PromotionDecision) -> ActiveHistoryEntry | None:
    """Returns the change that a decision made, or None."""
    return next((entry for entry in reversed(history.moves) if entry.decision_id == decision.decision_id), None)
