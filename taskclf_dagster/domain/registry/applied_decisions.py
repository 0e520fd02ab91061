"""Checks if a decision has taken effect, and moves challengers that were not promoted."""

from pathlib import Path

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.history import History
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
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
        found, target = find_bundle(home, decision.challenger.model_id), decision.destination(home)
        if found is not None and _is_to_be_moved(home, found, decision):
            move_folder(found, target)
            return target
        return found or target


def is_applied(state: RegistryState, decision: PromotionDecision) -> bool:
    """Returns True if nothing is left to do for a decision: it moved the pointer, or its challenger was moved."""
    if not decision.moves_pointer:
        found = find_bundle(state.home, decision.challenger.model_id)
        return found is None or not _is_to_be_moved(state.home, found, decision)
    return is_promotion_made(state, decision)


def _is_to_be_moved(home: Home, found: Path, decision: PromotionDecision) -> bool:
    """Returns True if a bundle does not lie where a decision belongs; one that was promoted stays, and a dry run moves only a new one."""
    folders = (home.challengers,) if decision.options.dry_run else (home.challengers, home.pending_models, home.rejected_models)
    return found.parent in folders and found != decision.destination(home)


def is_promotion_made(state: RegistryState, decision: PromotionDecision) -> bool:
    """Returns True if a decision's promotion was recorded and carried out."""
    done = find_promotion(state.history, decision)
    return done is not None and (done != state.history.last_move or not state.is_waiting(done))


def find_promotion(history: History, decision: PromotionDecision) -> ActiveHistoryEntry | None:
    """Returns the change that a decision made, or None."""
    return next((entry for entry in reversed(history.moves) if entry.decision_id == decision.decision_id), None)
