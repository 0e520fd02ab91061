"""Calibrates the active model: fits calibrators on what it has not learned from, tunes the threshold on what they give, binds both.

Fitting is in `evaluation.calibrator_fitting`, the change of the registry in `registry.calibration_change`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np

from taskclf_dagster.config.settings import RejectThresholdSettings, RetrainConfig
from taskclf_dagster.domain.evaluation.calibrator_fitting import CalibratorFit, FittedCalibrators, fit_calibrators
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.calibrator_store import CalibratorStore
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.models.reject_threshold import RejectThreshold, tune_reject_threshold
from taskclf_dagster.domain.models.training import resolve_num_threads
from taskclf_dagster.domain.monitoring.out_of_sample import OutOfSample, predict_out_of_sample
from taskclf_dagster.domain.registry.calibration_change import NewCalibration, apply_calibration
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted


class Calibration(Record):
    """A calibration of the active model, or why there was none.

    Attributes:
        outcome: calibrated if the policy names the calibrators now; skipped if nothing was changed.
        reason: why, in one or two sentences.
        model_id: the active model; None without one.
        method: temperature or isotonic; None if calibration is off.
        folds, newer: number of labelled windows that the models of its folds predicted, and of those after its training.
        fits: the calibrator of everyone, then those of the users; empty if nothing was fitted.
        users: users with a calibrator of their own.
        store: the calibrator store, relative to the home; None if nothing was changed.
        previous_threshold: the reject threshold in force before [0 to 1].
        reject_threshold: the one that belongs to the calibrators [0 to 1]; None if nothing was changed.
        user_thresholds: those of single users, where the policy before had some.
        threshold: how it was chosen; None if it is the one before, because no probability changes.
        sequence: number of the history record; None if nothing was changed.
    """

    outcome: Literal["calibrated", "skipped"]
    reason: str
    as_of: datetime
    model_id: str | None = None
    method: str | None = None
    folds: int = 0
    newer: int = 0
    fits: tuple[CalibratorFit, ...] = ()
    users: tuple[str, ...] = ()
    store: str | None = None
    previous_threshold: float | None = None
    reject_threshold: float | None = None
    user_thresholds: dict[str, float] | None = None
    threshold: RejectThreshold | None = None
    sequence: int | None = None


class _Thresholds(NamedTuple):
    """The thresholds of calibrated probabilities, as in `Calibration`."""

    value: float
    users: dict[str, float] | None
    chosen: RejectThreshold | None


def calibrate_active_model(
    home: Home,
    *,
    config: RetrainConfig,
    as_of: datetime,
    at: datetime,
    cores: int,
    run_id: str | None = None,
    code_version: str = "unknown",
    keys: Keys = NO_KEYS,
    dry_run: bool = False,
) -> Calibration:
    """Fits calibrators for the active model and makes taskclf follow them, unless there are too few labels to fit and judge any.

    Args:
        home: the taskclf home.
        config: the settings.
        as_of: the end of the look-back for labels.
        at: the time of the change.
        cores: number of processors that `num_threads: auto` may use.
        run_id: the Dagster run, for history and event.
        code_version: recorded in the policy.
        keys: sign the record.
        dry_run: True to change nothing; the outcome is skipped then.

    Raises:
        RegistryRefusedError: the active model changed meanwhile, or the registry cannot be changed. Nothing is changed then.
    """
    state, method = read_registry_state(home, keys), config.calibrating.calibration_method
    champion = resolve_active_model(state)
    model, threshold = champion.model, champion.threshold
    if model is None or threshold is None:
        return Calibration(outcome="skipped", reason=f"there is no active model: {champion.reason}", as_of=as_of)
    found = Calibration(outcome="skipped", reason="", as_of=as_of, model_id=model.bundle.model_id, previous_threshold=threshold.value)
    if method == "off":
        return found.model_copy(update={"reason": "calibration_method is off"})
    threads = resolve_num_threads(config.train_params.num_threads, rows=0, cores=cores)
    sample = predict_out_of_sample(home, model, as_of=as_of, settings=config.dataset, num_threads=threads)
    fitted = fit_calibrators(sample.predictions, method=method, settings=config.calibrating.calibration)
    found = found.model_copy(
        update={
            "method": method,
            "folds": sample.folds,
            "newer": sample.newer,
            "fits": tuple(fitted.fits),
            "users": tuple(sorted(fitted.users)),
        }
    )
    if not fitted.fits[0].is_eligible or not fitted.fits[0].judged:
        return found.model_copy(update={"reason": "; ".join([fitted.fits[0].reason, *sample.notes])})
    store = CalibratorStore(
        method=method,
        everyone=fitted.everyone,
        users=fitted.users,
        model_id=model.bundle.model_id,
        schema_hash=model.schema.schema_hash,
        created_at=at,
    )
    tuned = _tune(state, model, store, sample.predictions, config.training.reject_threshold)
    found = found.model_copy(
        update={
            "reject_threshold": tuned.value,
            "user_thresholds": tuned.users,
            "threshold": tuned.chosen,
            "reason": _describe(fitted, sample, tuned),
        }
    )
    if dry_run:
        return found
    change = NewCalibration(store, tuned.value, tuned.users, found.reason)
    after = apply_calibration(state, model, change, at=at, run_id=run_id, code_version=code_version)
    move = after.history.last_move
    policy = {} if move is None or move.policy is None else move.policy
    done = {"outcome": "calibrated", "store": policy.get("calibrator_store_dir"), "sequence": None if move is None else move.sequence}
    return found.model_copy(update=done)


def _tune(
    state: RegistryState, model: LoadedModel, store: CalibratorStore, predictions: OutOfFold, settings: RejectThresholdSettings
) -> _Thresholds:
    """Chooses the thresholds on calibrated predictions; if no probability changes, those in force stay.

    Users for whom the present policy has a threshold of their own get a new one if they have calibrators of their own, else none.
    """
    policy = state.policy.applied or {}
    present = policy.get("per_user_reject_thresholds")
    own = {str(user): float(value) for user, value in present.items()} if isinstance(present, Mapping) else None
    if all(each.type == "identity" for each in (store.everyone, *store.users.values())) and model.calibrators is None:
        return _Thresholds(model.reject_threshold, own, None)
    users = predictions.rows["user_id"]
    calibrated = replace(predictions, probabilities=store.calibrate(predictions.probabilities.astype(np.float64), users).astype(np.float32))
    chosen = tune_reject_threshold(calibrated, settings, basis="calibrated")
    if own is None:
        return _Thresholds(chosen.value, None, chosen)
    tuned = {
        user: tune_reject_threshold(_of_user(calibrated, user), settings, basis="calibrated").value for user in own if user in store.users
    }
    return _Thresholds(chosen.value, tuned or None, chosen)


def _of_user(predictions: OutOfFold, user: str) -> OutOfFold:
    mine = (predictions.rows["user_id"].astype(str) == user).to_numpy()
    return OutOfFold(predictions.rows[mine].reset_index(drop=True), predictions.true[mine], predictions.probabilities[mine])


def _describe(fitted: FittedCalibrators, sample: OutOfSample, tuned: _Thresholds) -> str:
    kept = [fit for fit in fitted.fits[1:] if fit.is_eligible and fit.type != "identity"]
    eligible = [fit for fit in fitted.fits[1:] if fit.is_eligible]
    about = f"everyone: {fitted.fits[0].reason}; of {counted(len(eligible), 'user')} with enough labels {len(kept)} are calibrated apart"
    return (
        f"{about}; fitted on {sample.folds} predictions of the folds and {sample.newer} of newer windows; "
        f"reject threshold {tuned.value:.4f}{'' if tuned.chosen is None else ' on calibrated scores'}"
    )
