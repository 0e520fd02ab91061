"""Makes taskclf follow new calibrators: one change of the inference policy, with the threshold that belongs to them.

It is a change through the registry's protocol: the store is durable before a record names it, the record before the policy, and recovery
finishes what was interrupted. The pointer stays. Fitting belongs to `evaluation.calibrator_fitting`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.calibrator_store import CalibratorStore, save_calibrator_store
from taskclf_dagster.domain.registry.commit import commit
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.inference_policy import build_policy
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.recovery import recover
from taskclf_dagster.domain.registry.state import RegistryState, read_digests, read_registry_state
from taskclf_dagster.errors import RegistryRefusedError

CALIBRATE_SOURCE = "calibrate"
"""The source that a policy states, as taskclf writes it after calibrating."""


@dataclass(frozen=True)
class NewCalibration:
    """Calibrators for the active model, and the thresholds that were tuned on what they give.

    Attributes:
        store: the calibrators; bound to the model.
        reject_threshold: the smallest accepted confidence after calibration [0 to 1].
        user_thresholds: the same of single users, by id; None if the policy has none.
        reason: why, for the history.
    """

    store: CalibratorStore
    reject_threshold: float
    user_thresholds: Mapping[str, float] | None
    reason: str


def apply_calibration(
    looked: RegistryState,
    model: LoadedModel,
    new: NewCalibration,
    *,
    at: datetime,
    run_id: str | None = None,
    code_version: str = "unknown",
) -> RegistryState:
    """Writes the calibrators, and makes the inference policy name them with their threshold; the pointer stays as it is.

    Args:
        looked: the registry when the calibrators were fitted, with the keys that sign the record.
        model: the active model then.
        new: the calibrators and thresholds.
        at: the time of the change.
        run_id: the Dagster run, for history and event.
        code_version: recorded in the policy.

    Returns:
        The registry afterwards; the last record of its history is the change.

    Raises:
        RegistryRefusedError: pointer or policy changed since, or do not name the model. Nothing is changed then.
        UnsafeUserIdError: the id of a user cannot be the name of a file.
    """
    home, what, model_dir = looked.home, "Calibrating", f"{looked.home.models.name}/{model.bundle.model_id}"
    with write_lock(home):
        state = recover(read_registry_state(home, looked.keys), at=at).state
        pointer = state.pointer
        if state.digests != looked.digests or pointer is None or model.files.hashes() != _hashes_now(state, model_dir):
            raise RegistryRefusedError(what, "active_model_changed", "the active model or its policy changed meanwhile", "Calibrate again.")
        if pointer.model_dir != model_dir or state.active_model_dir != model_dir:
            found = f"{home.active_pointer.name} and {home.inference_policy.name} do not both name {model_dir}"
            raise RegistryRefusedError(what, "active_model_changed", found, "`taskclf-dagster registry fsck` says what to do.")
        folder = save_calibrator_store(home.calibrators, new.store)
        policy = {
            **build_policy(model, at=at, source=CALIBRATE_SOURCE, code_version=code_version, reject_threshold=new.reject_threshold),
            "calibrator_store_dir": folder.relative_to(home.root).as_posix(),
            "calibration_method": new.store.method,
            "per_user_reject_thresholds": None if new.user_thresholds is None else dict(new.user_thresholds),
        }
        problem = state.policy_checker.find_problem(policy)
        if problem is not None:
            raise RegistryRefusedError(what, "active_model_changed", f"its policy {problem.detail}", "Calibrate again.")
        if read_digests(home) != state.digests:
            found = "another program changed active.json or inference_policy.json just now"
            raise RegistryRefusedError(what, "active_model_changed", found, "Calibrate again.")
        entry = ActiveHistoryEntry(at=at, old=pointer, new=pointer, action="calibrate", run_id=run_id, reason=new.reason, policy=policy)
        return commit(state, entry)


def _hashes_now(state: RegistryState, model_dir: str) -> dict[str, str]:
    return state.load(model_dir).files.hashes()
