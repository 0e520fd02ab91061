"""Calibrators are fitted on earlier windows and kept only where they help on later ones; every setting changes what comes of it.

The predictions of these tests are drawn from known probabilities and then sharpened, so that the right temperature is known.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.isotonic import IsotonicRegression

from taskclf_dagster.config.monitoring_settings import CalibrationThresholds
from taskclf_dagster.domain.evaluation.calibration_metrics import brier_score
from taskclf_dagster.domain.evaluation.calibrator_fitting import FittedCalibrators, fit_calibrators, fit_isotonic, fit_temperature
from taskclf_dagster.domain.models.calibrators import IdentityCalibrator, IsotonicCalibrator, TemperatureCalibrator
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster_tests.scenario import at, retrain_config

OVERCONFIDENT = 0.4
"""Probabilities that were sharpened by it are right again at temperature 2.5."""


def predictions_of(
    users: dict[str, float], *, days: int = 4, windows: int = 120, labels: int = 8, from_day: int = 0, seed: int = 5
) -> OutOfFold:
    """Probabilities of a model about windows of some users: the true probabilities at temperature 1, too sure below it.

    Args:
        users: the temperature of each user.
        days: days of each, one after another.
        windows: a user's windows on each day, one a minute from 09:00 on.
        labels: number of labels that occur.
        from_day: number of the first day.
        seed: of the draw.
    """
    rng, frames, true, said = np.random.default_rng(seed), [], [], []
    for user, temperature in users.items():
        starts = [at("09:00", day=from_day + day) + minute * timedelta(minutes=1) for day in range(days) for minute in range(windows)]
        right = rng.dirichlet([0.5] * labels, size=len(starts))
        right = np.pad(right * 0.999 + 0.001 / labels, ((0, 0), (0, 8 - labels)))
        drawn = (right.cumsum(axis=1) > rng.random(len(starts))[:, None]).argmax(axis=1)
        frames.append(pd.DataFrame({"user_id": user, "bucket_start_ts": pd.to_datetime(starts, utc=True)}))
        true.append(drawn)
        said.append(softmax(np.log(np.clip(right, 1e-12, None)) / temperature, axis=1))
    rows = pd.concat(frames, ignore_index=True).astype({"user_id": "category"})
    return OutOfFold(rows, np.concatenate(true), np.concatenate(said).astype(np.float32))


def fit(predictions: OutOfFold, method: str = "temperature", **settings: float) -> FittedCalibrators:
    config = retrain_config(calibration_method=method, calibration=settings)
    chosen, thresholds = config.calibrating.calibration_method, config.calibrating.calibration
    assert chosen != "off"
    assert isinstance(thresholds, CalibrationThresholds)
    return fit_calibrators(predictions, method=chosen, settings=thresholds)


# --- Methods ------------------------------------------------------------------------------------------------------------------------


def test_the_temperature_is_the_one_by_which_the_model_was_too_sure_and_no_other_has_a_lower_loss() -> None:
    predictions = predictions_of({"u": OVERCONFIDENT}, days=40)
    probabilities, true = predictions.probabilities.astype(float), predictions.true
    found = fit_temperature(probabilities, true).temperature
    assert found == pytest.approx(1 / OVERCONFIDENT, rel=0.05)

    def loss(temperature: float) -> float:
        calibrated = TemperatureCalibrator(temperature=temperature).calibrate(probabilities)
        return float(-np.log(calibrated[np.arange(len(true)), true]).mean())

    assert loss(found) <= min(loss(round(0.1 + 0.01 * step, 2)) for step in range(490)) + 1e-9  # the grid that taskclf searches


def test_each_isotonic_regression_is_that_of_scikit_learn_and_a_rare_label_keeps_its_probability() -> None:
    predictions = predictions_of({"u": OVERCONFIDENT}, days=10, labels=7)
    probabilities, true = predictions.probabilities.astype(float), predictions.true
    found = fit_isotonic(probabilities, true)
    others = np.linspace(0, 1, 50)
    for i in range(7):
        expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(probabilities[:, i], true == i).predict(others)
        each = found.regressors[i]
        np.testing.assert_allclose(np.interp(others, each.X_thresholds_, each.y_thresholds_), expected, atol=1e-12)
    assert found.regressors[7].y_thresholds_ == found.regressors[7].X_thresholds_ == [0.0, 1.0]


# --- Earlier and later windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "kind"), [("temperature", TemperatureCalibrator), ("isotonic", IsotonicCalibrator)])
def test_a_calibrator_that_helps_on_later_windows_is_kept_with_the_score_that_can_be_worked_out(method: str, kind: type) -> None:
    predictions = predictions_of({"u": OVERCONFIDENT}, days=20)
    found = fit(predictions, method)
    everyone, own = found.fits
    assert isinstance(found.everyone, kind)
    assert found.users == {"u": found.everyone}
    later = slice(14 * 120, None)  # 70 % of 20 days are 14 whole days, and the next one begins a day later
    raw, true = predictions.probabilities[later].astype(float), predictions.true[later]
    assert (everyone.fitted, everyone.judged) == (14 * 120, 6 * 120)
    assert everyone.brier_before == pytest.approx(brier_score(raw, true), rel=1e-12)
    assert everyone.brier_after == pytest.approx(brier_score(found.everyone.calibrate(raw), true), rel=1e-12)
    assert everyone.gain == pytest.approx(1 - everyone.brier_after / everyone.brier_before, rel=1e-12)
    assert everyone.gain > 0.05
    assert own.model_copy(update={"user_id": None}) == everyone


def test_a_model_that_is_right_about_itself_stays_as_it_is() -> None:
    found = fit(predictions_of({"u": 1.0}, days=20))
    assert found.everyone == IdentityCalibrator()
    assert found.users == {"u": IdentityCalibrator()}
    assert "identity" in found.fits[0].reason


def test_a_calibrator_that_helped_earlier_and_harms_later_gives_way_to_identity() -> None:
    before, after = predictions_of({"u": OVERCONFIDENT}, days=14), predictions_of({"u": 2.0}, days=6, from_day=14, seed=6)
    rows = pd.concat([before.rows, after.rows], ignore_index=True).astype({"user_id": "category"})
    both = OutOfFold(rows, np.concatenate([before.true, after.true]), np.concatenate([before.probabilities, after.probabilities]))
    found = fit(both)
    assert found.everyone == IdentityCalibrator()
    assert found.fits[0].gain is not None
    assert found.fits[0].gain < 0


def test_windows_within_an_hour_after_those_that_were_fitted_on_do_not_judge() -> None:
    found = fit(predictions_of({"u": OVERCONFIDENT}, days=3, windows=200))  # 420 fitted: the cut is at the 20th minute of day 3
    assert (found.fits[0].fitted, found.fits[0].judged) == (420, 180 - 60)


# --- Users --------------------------------------------------------------------------------------------------------------------------


def test_an_eligible_user_has_their_own_calibrator_and_another_one_that_of_everyone() -> None:
    predictions = predictions_of({"sure": OVERCONFIDENT, "right": 1.0}, days=10)
    few = predictions_of({"new": OVERCONFIDENT}, days=2, windows=20)
    rows = pd.concat([predictions.rows, few.rows], ignore_index=True).astype({"user_id": "category"})
    probabilities = np.concatenate([predictions.probabilities, few.probabilities])
    found = fit(OutOfFold(rows, np.concatenate([predictions.true, few.true]), probabilities))
    assert found.users["sure"].type == "temperature"
    assert found.users["right"] == IdentityCalibrator()
    assert set(found.users) == {"sure", "right"}
    assert [each.user_id for each in found.fits] == [None, "new", "right", "sure"]
    assert "40 windows of 200, 2 days of 3" in found.fits[1].reason


@pytest.mark.parametrize(
    ("settings", "others", "inputs"),
    [
        ({"min_windows": 480}, {"min_windows": 481}, {}),
        ({"min_days": 4}, {"min_days": 5}, {}),
        ({"min_labels": 6}, {"min_labels": 7}, {"labels": 6}),
        ({"min_brier_gain": 0.05}, {"min_brier_gain": 0.5}, {}),
    ],
    ids=["min_windows", "min_days", "min_labels", "min_brier_gain"],
)
def test_a_setting_decides_if_a_calibrator_is_fitted_or_kept(
    settings: dict[str, float], others: dict[str, float], inputs: dict[str, int]
) -> None:
    predictions = predictions_of({"u": OVERCONFIDENT}, **inputs)
    assert fit(predictions, **settings).everyone.type == "temperature"
    assert fit(predictions, **others).everyone.type == "identity"


def test_fit_share_moves_the_cut_and_calibration_method_decides_what_is_fitted() -> None:
    predictions = predictions_of({"u": OVERCONFIDENT})
    assert [fit(predictions, fit_share=share).fits[0].fitted for share in (0.5, 0.75)] == [240, 360]
    assert [fit(predictions, method).everyone.type for method in ("temperature", "isotonic")] == ["temperature", "isotonic"]


def test_without_a_window_nothing_is_fitted() -> None:
    found = fit(predictions_of({"u": 1.0}, days=1, windows=0))
    assert (found.everyone, found.users) == (IdentityCalibrator(), {})
