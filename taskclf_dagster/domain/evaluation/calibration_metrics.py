"""Figures on the probabilities of a model: calibration, Brier score, log loss and area under the ROC curve.

What a model says after its reject threshold is scored in `evaluation`.
"""

import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.storage.records import Record

BINS = 10


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


class CalibrationCurve(Record):
    """Reliability of one label's probability in ten bins of equal width; bins without windows are left out."""

    mean_predicted_value: list[float]
    fraction_of_positives: list[float]
    windows: list[int]


def calibration_curves(probabilities: _Float, true: _Int) -> dict[str, CalibrationCurve]:
    """The reliability of each label's probability.

    Args:
        probabilities: shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
    """
    curves = {}
    for i, label in enumerate(LABELS):
        windows, mean, positive = _reliability(probabilities[:, i], true == i)
        curves[label] = CalibrationCurve(
            mean_predicted_value=mean.tolist(), fraction_of_positives=positive.tolist(), windows=windows.tolist()
        )
    return curves


def expected_calibration_error(confidence: _Float, right: npt.NDArray[np.bool_]) -> float:
    """Mean gap of confidence and accuracy over ten bins [0 to 1, lower is better].

    Args:
        confidence: largest probability of each window, shape (n,).
        right: whether its label is the true one, shape (n,).
    """
    windows, mean, accuracy = _reliability(confidence, right)
    return float((windows * np.abs(accuracy - mean)).sum() / max(1, len(confidence)))


def brier_score(probabilities: _Float, true: _Int) -> float:
    """Mean squared distance of probabilities (n, 8) from the truth (n,) [0 to 2, lower is better]."""
    # sum over classes of (p - y)^2 = sum p^2 - 2 p_true + 1
    own = probabilities[np.arange(len(true)), true]
    return float((np.einsum("ij,ij->i", probabilities, probabilities) - 2 * own + 1).mean()) if len(true) else 0.0


def log_loss(probabilities: _Float, true: _Int) -> float:
    """Mean negative log of the probability (n, 8) given to the true label (n,) [nats, lower is better]."""
    own = probabilities[np.arange(len(true)), true]
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)).mean()) if len(true) else 0.0


def one_vs_rest_auc(probabilities: _Float, true: _Int, judged: npt.NDArray[np.bool_]) -> float | None:
    """Mean area under the ROC curve of each judged label's probability against all other labels [0.5 is chance, 1 is best].

    Args:
        probabilities: shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
        judged: which labels count, shape (8,); one without windows of its own or of others is left out, None where none remains.
    """
    from sklearn.metrics import roc_auc_score

    count = np.bincount(true, minlength=len(LABELS))
    counted = np.flatnonzero(judged & (count > 0) & (count < len(true)))
    areas = [roc_auc_score(true == i, probabilities[:, i]) for i in counted]
    return float(np.mean(areas)) if areas else None


def _reliability(predicted: _Float, positive: npt.NDArray[np.bool_]) -> tuple[_Int, _Float, _Float]:
    """Windows, mean prediction and share of positives of the non-empty bins of equal width."""
    bins = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    windows = np.bincount(bins, minlength=BINS)
    filled = windows > 0
    sums = np.bincount(bins, weights=predicted, minlength=BINS)[filled]
    hits = np.bincount(bins, weights=positive, minlength=BINS)[filled]
    return windows[filled], sums / windows[filled], hits / windows[filled]
