"""Metrics on the probabilities of a model: calibration, Brier score, log loss and area under the ROC curve.

Predictions after the reject threshold are scored in `metrics`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.storage.records import Record

BINS = 10


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


class CalibrationCurve(Record):
    """Reliability of one label's probability in ten bins of equal width; bins without windows are left out.

    Attributes:
        mean_predicted_value, fraction_of_positives: of each bin [0 to 1]; as in sklearn.calibration.calibration_curve.
        windows: number of windows in each bin.
    """

    mean_predicted_value: list[float]
    fraction_of_positives: list[float]
    windows: list[int]


def calibration_curves(probabilities: _Float, true: _Int) -> dict[str, CalibrationCurve]:
    """Returns the reliability of each label's probability, by label.

    Args:
        probabilities: shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
    """
    curves = {}
    for i, label in enumerate(LABELS):
        bins = _reliability(probabilities[:, i], true == i)
        curves[label] = CalibrationCurve(
            mean_predicted_value=bins.mean_predicted.tolist(),
            fraction_of_positives=bins.positives.tolist(),
            windows=bins.windows.tolist(),
        )
    return curves


def expected_calibration_error(confidence: _Float, correct: npt.NDArray[np.bool_]) -> float:
    """Returns the mean gap of confidence and accuracy over ten bins of equal width [0 to 1, lower is better].

    Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015.

    Args:
        confidence: largest probability of each window, shape (n,).
        correct: True if its label is the true one, shape (n,).
    """
    bins = _reliability(confidence, correct)
    return float((bins.windows * np.abs(bins.positives - bins.mean_predicted)).sum() / max(1, len(confidence)))


def brier_score(probabilities: _Float, true: _Int) -> float:
    """Returns the mean squared distance of the probabilities from the true label [0 to 2, lower is better].

    Brier, Verification of Forecasts Expressed in Terms of Probability, 1950: the multiclass form, without a factor of one half.

    Args:
        probabilities: shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
    """
    # sklearn.metrics.brier_score_loss has the multiclass form from 1.7 on only, and rounds differently in the last bit. The tests compare
    # both. Sum over classes of (p - y)^2 = sum p^2 - 2 p_true + 1.
    own = probabilities[np.arange(len(true)), true]
    return float((np.einsum("ij,ij->i", probabilities, probabilities) - 2 * own + 1).mean()) if len(true) else 0.0


def log_loss(probabilities: _Float, true: _Int) -> float:
    """Returns the mean negative log of the true label's probability [nats, 0 and above, lower is better]; 0 without windows.

    Probabilities below the machine epsilon are raised to it.

    Args:
        probabilities: shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
    """
    # sklearn.metrics.log_loss also lowers probabilities above 1 - epsilon, so that a certain and right model has a loss of 2.2e-16; here it
    # has 0. Elsewhere both are equal; the tests compare them.
    own = probabilities[np.arange(len(true)), true]
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)).mean()) if len(true) else 0.0


def one_vs_rest_auc(probabilities: _Float, true: _Int, judged: npt.NDArray[np.bool_]) -> float | None:
    """Returns the mean area under the ROC curve of each judged label against all others [0 to 1, 0.5 is chance, 1 is best].

    Args:
        probabilities: shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
        judged: mask of the labels that count, shape (8,); one without windows of its own or of others is left out.

    Returns:
        None if no label remains.
    """
    from sklearn.metrics import roc_auc_score

    count = np.bincount(true, minlength=len(LABELS))
    counted = np.flatnonzero(judged & (count > 0) & (count < len(true)))
    areas = [roc_auc_score(true == i, probabilities[:, i]) for i in counted]
    return float(np.mean(areas)) if areas else None


class _Bins(NamedTuple):
    """The non-empty bins of equal width: number of windows, mean probability and share of positives, each of shape (bins,)."""

    windows: _Int
    mean_predicted: _Float
    positives: _Float


def _reliability(predicted: _Float, positive: npt.NDArray[np.bool_]) -> _Bins:
    bins = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    windows = np.bincount(bins, minlength=BINS)
    filled = windows > 0
    sums = np.bincount(bins, weights=predicted, minlength=BINS)[filled]
    hits = np.bincount(bins, weights=positive, minlength=BINS)[filled]
    return _Bins(windows[filled], sums / windows[filled], hits / windows[filled])
