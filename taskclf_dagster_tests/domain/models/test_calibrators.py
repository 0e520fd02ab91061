"""Calibrators against numbers worked out by hand, and against scikit-learn as taskclf uses it; the file format in and out."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from taskclf_dagster.domain.models.calibrators import (
    IdentityCalibrator,
    IsotonicCalibrator,
    IsotonicRegressor,
    TemperatureCalibrator,
    calibrator_document,
    parse_calibrator,
)

LINE = {"X_thresholds_": [0.0, 1.0], "y_thresholds_": [0.0, 1.0]}
HALVED = IsotonicRegressor(X_thresholds_=[0.2, 0.6], y_thresholds_=[0.1, 0.3])
"""A function that is 0.1 below 0.2, 0.3 above 0.6, and half of its argument between."""


def some_probabilities(n: int = 200, seed: int = 1) -> np.ndarray:
    """Random rows that sum to 1, some labels of which are nearly impossible, as those of a model are."""
    return np.random.default_rng(seed).dirichlet([0.2] * 8, size=n)


def as_taskclf_predicts(document: Mapping[str, object], probabilities: np.ndarray) -> np.ndarray:
    """Calibrates as taskclf does with an isotonic file: each is fitted on its thresholds again, then all are divided by their sum."""
    columns = []
    for i, each in enumerate(document["regressors"]):
        regression = IsotonicRegression(increasing=each["increasing_"], out_of_bounds=each["out_of_bounds"], y_min=0.0, y_max=1.0)
        regression.fit(np.array(each["X_thresholds_"]), np.array(each["y_thresholds_"]))
        columns.append(np.clip(regression.predict(probabilities[:, i]), 1e-12, None))
    values = np.column_stack(columns)
    return values / values.sum(axis=1, keepdims=True)


# --- Probabilities ------------------------------------------------------------------------------------------------------------------


def test_a_temperature_of_two_takes_the_square_roots_and_divides_them_by_their_sum() -> None:
    row = np.array([[0.64, 0.16, 0.04, 0.16, 0.0, 0.0, 0.0, 0.0]])  # roots 0.8, 0.4, 0.2, 0.4, and 1e-6 of what is raised to 1e-12
    expected = np.array([[0.8, 0.4, 0.2, 0.4, 1e-6, 1e-6, 1e-6, 1e-6]]) / (1.8 + 4e-6)
    np.testing.assert_allclose(TemperatureCalibrator(temperature=2.0).calibrate(row), expected, rtol=1e-12)


def test_a_temperature_of_one_half_squares_and_temperature_one_and_identity_change_no_bit() -> None:
    row = np.array([[0.5, 0.25, 0.25, 0, 0, 0, 0, 0]])
    found = TemperatureCalibrator(temperature=0.5).calibrate(row)
    np.testing.assert_allclose(found[0, :3], [4 / 6, 1 / 6, 1 / 6], rtol=1e-12)
    rows = some_probabilities()
    assert TemperatureCalibrator(temperature=1.0).calibrate(rows).tobytes() == rows.tobytes()
    assert IdentityCalibrator().calibrate(rows).tobytes() == rows.tobytes()


def test_an_isotonic_calibrator_interpolates_holds_its_ends_and_divides_by_the_sum() -> None:
    line = IsotonicRegressor.model_validate(LINE)
    calibrator = IsotonicCalibrator(regressors=[HALVED, *[line] * 7])
    rows = np.array([[0.5, 0.5, 0, 0, 0, 0, 0, 0], [0.9, 0.1, 0, 0, 0, 0, 0, 0], [0.0, 1.0, 0, 0, 0, 0, 0, 0]])
    expected = [[0.25 / 0.75, 0.5 / 0.75], [0.3 / 0.4, 0.1 / 0.4], [0.1 / 1.1, 1.0 / 1.1]]
    np.testing.assert_allclose(calibrator.calibrate(rows)[:, :2], expected, rtol=1e-10)


@pytest.mark.parametrize("increasing", [True, False])
def test_isotonic_files_give_the_probabilities_that_taskclf_makes_of_them(increasing: bool) -> None:
    rows, rng = some_probabilities(), np.random.default_rng(2)
    regressors = []
    for i in range(8):
        fitted = IsotonicRegression(increasing=increasing, out_of_bounds="clip", y_min=0, y_max=1)
        fitted.fit(rows[:, i], rng.random(len(rows)) < (rows[:, i] if increasing else 1 - rows[:, i]))
        thresholds = {"X_thresholds_": fitted.X_thresholds_.tolist(), "y_thresholds_": fitted.y_thresholds_.tolist()}
        regressors.append(
            {**thresholds, "X_min_": fitted.X_min_, "X_max_": fitted.X_max_, "increasing_": increasing, "out_of_bounds": "clip"}
        )
    document = {"type": "isotonic", "regressors": regressors}
    others = some_probabilities(seed=3)
    np.testing.assert_allclose(parse_calibrator(document).calibrate(others), as_taskclf_predicts(document, others), atol=1e-12)


@pytest.mark.parametrize(
    "calibrator",
    [IdentityCalibrator(), TemperatureCalibrator(temperature=1.81), IsotonicCalibrator(regressors=[HALVED] * 8)],
    ids=["identity", "temperature", "isotonic"],
)
def test_calibrated_rows_sum_to_one_and_no_rows_are_no_rows(calibrator: TemperatureCalibrator) -> None:
    np.testing.assert_allclose(calibrator.calibrate(some_probabilities()).sum(axis=1), 1, atol=1e-12)
    assert calibrator.calibrate(np.empty((0, 8))).shape == (0, 8)


# --- Files --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "calibrator",
    [IdentityCalibrator(), TemperatureCalibrator(temperature=0.1 + 0.2), IsotonicCalibrator(regressors=[HALVED] * 8)],
    ids=["identity", "temperature", "isotonic"],
)
def test_a_file_gives_the_calibrator_back_to_the_last_bit(calibrator: TemperatureCalibrator) -> None:
    assert parse_calibrator(json.loads(json.dumps(calibrator_document(calibrator)))) == calibrator


def test_keys_that_are_not_known_are_ignored_and_a_file_without_type_is_identity() -> None:
    assert parse_calibrator({"type": "temperature", "temperature": 2, "fitted_by": "taskclf"}) == TemperatureCalibrator(temperature=2)
    assert parse_calibrator({}) == IdentityCalibrator()


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"type": "platt"}, "platt"),
        ({"type": "temperature"}, "temperature"),
        ({"type": "temperature", "temperature": 0}, "greater than 0"),
        ({"type": "temperature", "temperature": -1.81}, "greater than 0"),
        ({"type": "temperature", "temperature": None}, "temperature"),
        ({"type": "temperature", "temperature": float("inf")}, "temperature"),
        ({"type": "isotonic", "regressors": [LINE] * 7}, "8 entries"),
        ({"type": "isotonic", "regressors": [{**LINE, "y_thresholds_": [0.0]}, *[LINE] * 7]}, "as many"),
        ({"type": "isotonic", "regressors": [{**LINE, "X_thresholds_": [0.5, 0.5]}, *[LINE] * 7]}, "must rise"),
        ({"type": "isotonic", "regressors": [{**LINE, "y_thresholds_": [1.0, 0.0]}, *[LINE] * 7]}, "must not fall"),
        ({"type": "isotonic", "regressors": [{**LINE, "y_thresholds_": [0.0, 1.5]}, *[LINE] * 7]}, "1"),
        ({"type": "isotonic", "regressors": [{**LINE, "out_of_bounds": "nan"}, *[LINE] * 7]}, "clip"),
        ({"type": "isotonic", "regressors": [{"X_thresholds_": [], "y_thresholds_": []}, *[LINE] * 7]}, "1 entries"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_out_of_its_bounds_is_refused_and_the_message_says_why(document: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_calibrator(document)
