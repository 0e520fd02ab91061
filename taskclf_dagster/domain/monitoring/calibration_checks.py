"""Checks what a calibration left: every calibrator earned its place, is bound to the active model, and covers the users. Writes nothing."""

from taskclf_dagster.domain.models.calibrator_store import CalibratorStore
from taskclf_dagster.domain.monitoring.calibration import Calibration
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.applied_calibrators import Calibrators, find_calibrators
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.home import Home


def read_fitted(home: Home, calibration: Calibration) -> Calibrators:
    """Reads the calibrators that a calibration wrote, wherever the policy points by now."""
    return find_calibrators(home, {"calibrator_store_dir": calibration.store})


def find_unearned(calibration: Calibration, found: Calibrators, *, min_brier_gain: float) -> list[str]:
    """Returns each calibrator that is not identity though it did not improve the Brier score of later windows enough.

    Args:
        calibration: the record, with the scores.
        found: its calibrators as they are stored now.
        min_brier_gain: smallest gain as a share of the score without the calibrator [0 to 1].
    """
    if found.store is None:
        return [found.problem or "it names no calibrators"]
    problems = []
    for fit in calibration.fits:
        who = "everyone" if fit.user_id is None else fit.user_id
        stored = found.store.everyone if fit.user_id is None else found.store.users.get(fit.user_id)
        if stored is None or stored.type == "identity":
            continue
        if fit.type != stored.type:
            problems.append(f"{who}: the store has {stored.type}, and {fit.type} was fitted")
        elif fit.gain is None or fit.gain < min_brier_gain:
            gained = "was never judged" if fit.gain is None else f"improved the Brier score by {fit.gain:.1%}"
            problems.append(f"{who}: the {fit.type} calibrator {gained}, and {min_brier_gain:.0%} are required")
    return problems


def find_unbound(state: RegistryState, calibration: Calibration) -> list[str]:
    """Returns why the calibrators of a calibration are not those of the active model; empty if they are."""
    active, policy = find_active_model(state), state.policy_file.document or {}
    if active.model_id != calibration.model_id:
        return [f"the active model is {active.model_id}, and {calibration.model_id} was calibrated: the next calibration is for it"]
    if policy.get("calibrator_store_dir") != calibration.store:
        return [f"the inference policy names {policy.get('calibrator_store_dir') or 'no calibrators'} instead of {calibration.store}"]
    store = active.calibrators.store
    if store is None:
        return [active.calibrators.problem or "the calibrators cannot be read"]
    if store.model_id != active.model_id:
        return [f"the calibrators were fitted for {store.model_id}, and {active.model_id} is the active model"]
    return [] if state.policy.problem is None else [f"the policy {state.policy.problem.detail}"]


def find_uncovered(calibration: Calibration, store: CalibratorStore | None) -> list[str]:
    """Returns the users with enough labels whose calibrator is missing from the store."""
    eligible = [fit.user_id for fit in calibration.fits if fit.user_id is not None and fit.is_eligible]
    own = {} if store is None else store.users
    return [f"{user} has no calibrator of their own" for user in eligible if user not in own]
