"""Fits calibrators on predictions of windows that the model has not learned from, and keeps those that help on later windows.

Each user's windows are split by time: a calibrator is fitted on the earlier ones, and judged on the later ones by its Brier score. One that
does not improve it enough gives way to identity, so that calibration never makes probabilities worse than it was seen to.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.monitoring_settings import CalibrationThresholds
from taskclf_dagster.domain.data.feature_schema import LABELS, WINDOW_SECONDS
from taskclf_dagster.domain.data.split import NEIGHBORHOOD_MINUTES
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.evaluation.calibration_metrics import brier_score
from taskclf_dagster.domain.models.calibrators import (
    SMALLEST,
    CalibrationMethod,
    Calibrator,
    IdentityCalibrator,
    IsotonicCalibrator,
    IsotonicRegressor,
    TemperatureCalibrator,
)
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

_Float = npt.NDArray[np.float64]


_Int = npt.NDArray[np.int64]


_Bool = npt.NDArray[np.bool_]


TEMPERATURES = (0.1, 10.0)
"""Range in which a temperature is searched."""


FEWEST_OF_A_LABEL = 10
"""Windows of a label, and of others, that an isotonic regression needs; with fewer the label keeps its probability."""


class CalibratorFit(Record):
    """A calibrator, and why it is the one.

    Attributes:
        user_id: the user; None for the calibrator of everyone without one of their own.
        type: identity, temperature or isotonic.
        temperature: None unless it is a temperature.
        windows, days, labels: number of labelled windows that the model has not learned from, of their days (UTC) and of different labels.
        fitted, judged: number of the earlier windows, and of the later ones that lie more than an hour after them.
        brier_before, brier_after: Brier score of the later windows without and with the fitted calibrator [0 to 2, lower is better]; None
            if none was fitted or judged. An identity that a fitted calibrator gave way to has both.
        gain: share by which it improved the score [above 0 is better]; None if there is no score.
        is_eligible: True if there were enough windows, days and labels.
        reason: the choice in one sentence.
    """

    user_id: str | None
    type: str
    temperature: float | None
    windows: int
    days: int
    labels: int
    fitted: int
    judged: int
    brier_before: float | None
    brier_after: float | None
    gain: float | None
    is_eligible: bool
    reason: str


class FittedCalibrators(NamedTuple):
    """Calibrators that were fitted together.

    Attributes:
        everyone: the calibrator of users without one of their own.
        users: those of eligible users, by id; identity where the user's own one did not help enough.
        fits: how each came about: that of everyone first, then each user, also those that are not eligible.
    """

    everyone: Calibrator
    users: dict[str, Calibrator]
    fits: list[CalibratorFit]


def fit_calibrators(predictions: OutOfFold, *, method: CalibrationMethod, settings: CalibrationThresholds) -> FittedCalibrators:
    """Fits a calibrator of everyone and one of each eligible user.

    Args:
        predictions: of windows that the model has not learned from.
        method: temperature or isotonic.
        settings: what a user needs, the split, and the gain that is required.
    """
    users = predictions.rows["user_id"].astype(str).to_numpy()
    earlier, later = _split_by_time(users, epoch_us(predictions.rows["bucket_start_ts"]), settings.fit_share)
    everyone, fit = _fit_one(predictions, None, np.ones(len(users), dtype=bool), earlier, later, method, settings)
    fits, own = [fit], dict[str, Calibrator]()
    for user in np.unique(users):
        calibrator, fit = _fit_one(predictions, str(user), users == user, earlier, later, method, settings)
        fits.append(fit)
        if fit.is_eligible:
            own[str(user)] = calibrator
    return FittedCalibrators(everyone, own, fits)


def fit_temperature(probabilities: _Float, true: _Int) -> TemperatureCalibrator:
    """Returns the temperature with the least log loss, searched in TEMPERATURES on a logarithmic scale.

    Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017.

    Args:
        probabilities: of the model, shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
    """
    from scipy.optimize import minimize_scalar  # half a second, which only fitting pays for
    from scipy.special import log_softmax

    logs, own = np.log(np.clip(probabilities, SMALLEST, None)), (np.arange(len(true)), true)

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logs / np.exp(log_temperature), axis=1)[own].mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    return TemperatureCalibrator(temperature=float(np.exp(found.x)))


def fit_isotonic(probabilities: _Float, true: _Int) -> IsotonicCalibrator:
    """Returns an isotonic regression for each label against all others; a label with too few windows keeps its probability.

    Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates, KDD 2002.

    Args:
        probabilities: of the model, shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
    """
    return IsotonicCalibrator(regressors=[_fit_regressor(probabilities[:, i], true == i) for i in range(len(LABELS))])


def _fit_regressor(probability: _Float, is_label: _Bool) -> IsotonicRegressor:
    from sklearn.isotonic import IsotonicRegression

    if min(is_label.sum(), (~is_label).sum()) < FEWEST_OF_A_LABEL:
        return IsotonicRegressor(X_thresholds_=[0.0, 1.0], y_thresholds_=[0.0, 1.0], X_min_=0.0, X_max_=1.0)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(np.clip(probability, 0, 1), is_label.astype(np.float64))
    return IsotonicRegressor(
        X_thresholds_=fitted.X_thresholds_.tolist(),
        y_thresholds_=np.clip(fitted.y_thresholds_, 0, 1).tolist(),
        X_min_=float(fitted.X_min_),
        X_max_=float(fitted.X_max_),
    )


def _split_by_time(users: npt.NDArray[np.str_], start: _Int, share: float) -> tuple[_Bool, _Bool]:
    """Returns the masks of the windows that calibrators are fitted on, and of those that judge them, each of shape (n,).

    Of each user, the first windows by time are fitted on, and those that start more than NEIGHBORHOOD_MINUTES after their last one judge.
    """
    earlier, later = np.zeros(len(users), dtype=bool), np.zeros(len(users), dtype=bool)
    gap = NEIGHBORHOOD_MINUTES * WINDOW_SECONDS * 1_000_000
    for user in np.unique(users):
        mine = np.flatnonzero(users == user)
        ordered = mine[np.argsort(start[mine], kind="stable")]
        cut = int(len(ordered) * share)
        earlier[ordered[:cut]] = True
        if cut:
            later[ordered[cut:]] = start[ordered[cut:]] > start[ordered[cut - 1]] + gap
    return earlier, later


def _fit_one(
    predictions: OutOfFold,
    user: str | None,
    mine: _Bool,
    earlier: _Bool,
    later: _Bool,
    method: CalibrationMethod,
    settings: CalibrationThresholds,
) -> tuple[Calibrator, CalibratorFit]:
    """Fits the calibrator of some windows on the earlier ones and judges it on the later ones; identity if it does not help enough."""
    fitted, judged = mine & earlier, mine & later
    counts = {"windows": int(mine.sum()), "days": len(np.unique(predictions.day[mine])), "labels": len(np.unique(predictions.true[mine]))}
    fit = CalibratorFit(
        user_id=user,
        type="identity",
        temperature=None,
        **counts,
        fitted=int(fitted.sum()),
        judged=int(judged.sum()),
        brier_before=None,
        brier_after=None,
        gain=None,
        is_eligible=False,
        reason="",
    )
    needed = {"windows": settings.min_windows, "days": settings.min_days, "labels": settings.min_labels}
    lacking = [f"{counts[name]} {name} of {fewest}" for name, fewest in needed.items() if counts[name] < fewest]
    if lacking:
        instead = "nothing is calibrated" if user is None else "the calibrator of everyone is used"
        return IdentityCalibrator(), fit.model_copy(update={"reason": f"too few labels ({', '.join(lacking)}): {instead}"})
    fit = fit.model_copy(update={"is_eligible": True})
    if not fitted.any() or not judged.any():
        reason = f"no labels lie more than {NEIGHBORHOOD_MINUTES} minutes after those that it would be fitted on: identity"
        return IdentityCalibrator(), fit.model_copy(update={"reason": reason})
    probabilities = predictions.probabilities.astype(np.float64)
    fitter = fit_temperature if method == "temperature" else fit_isotonic
    calibrator = fitter(probabilities[fitted], predictions.true[fitted])
    true = predictions.true[judged]
    before, after = brier_score(probabilities[judged], true), brier_score(calibrator.calibrate(probabilities[judged]), true)
    gain = 1 - after / before if before > 0 else 0.0
    fit = fit.model_copy(update={"brier_before": before, "brier_after": after, "gain": gain})
    changed = f"Brier score {before:.4f} to {after:.4f} ({-gain:+.1%}) on {counted(fit.judged, 'later window')}"
    if gain < settings.min_brier_gain:
        return IdentityCalibrator(), fit.model_copy(update={"reason": f"{changed}, less than {settings.min_brier_gain:.0%}: identity"})
    temperature = calibrator.temperature if isinstance(calibrator, TemperatureCalibrator) else None
    return calibrator, fit.model_copy(update={"type": calibrator.type, "temperature": temperature, "reason": changed})
