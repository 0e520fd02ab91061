"""Chooses the reject threshold on the validation split (contract, section 6)."""

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import RejectThresholdSettings
from taskclf_dagster.domain.storage.records import Record


class RejectThreshold(Record):
    """The confidence below which a prediction is rejected, and how it was chosen on the validation split.

    Attributes:
        value: smallest accepted confidence [0 to 1].
        tuned: False if no threshold gives a reject rate in the range, so that the fallback was taken.
        reject_rate: share of validation windows rejected [0 to 1].
        macro_f1: validation macro-F1 over the labels present, a rejected window counting as wrong [0 to 1, higher is better].
        detail: the choice in one sentence; part of metadata.json.
    """

    value: float
    tuned: bool
    reject_rate: float
    macro_f1: float
    detail: str


def tune_reject_threshold(
    probabilities: npt.NDArray[np.float64], true: npt.NDArray[np.int64], settings: RejectThresholdSettings
) -> RejectThreshold:
    """Chooses the threshold with the highest macro-F1 among those whose reject rate is in the range; of equals the lowest.

    Every distinct confidence is tried. A rejected window is wrong for its true label and is no prediction of any label.

    Args:
        probabilities: shape (n, 8), columns in the order of LABELS.
        true: class index of each window, shape (n,).
        settings: the range of reject rates, and the fallback.
    """
    n = len(true)
    confidence = probabilities.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    confidence, label, predicted = confidence[order], true[order], probabilities.argmax(axis=1)[order]
    rejected = np.searchsorted(confidence, np.unique(confidence), side="left")
    rate = rejected / max(1, n)
    inside = rejected[(rate >= settings.min_reject_rate - 1e-12) & (rate <= settings.max_reject_rate + 1e-12)]
    tuned = len(inside) > 0
    if tuned:
        scores = _macro_f1_when_rejecting(label, predicted, inside)
        best = int(np.argmax(scores))
        value, count, score = float(confidence[inside[best]]), int(inside[best]), float(scores[best])
    else:
        value = settings.fallback
        count = int(np.searchsorted(confidence, value, side="left"))
        score = float(_macro_f1_when_rejecting(label, predicted, np.array([count]))[0]) if n else 0.0
    share = count / n if n else 0.0
    bounds = f"{settings.min_reject_rate:g}..{settings.max_reject_rate:g}"
    how = f"best of {len(inside)} thresholds with a reject rate in {bounds}" if tuned else f"fallback: no threshold rejects {bounds}"
    detail = f"{value:.4f}: {how}; rejects {share:.1%} of the validation windows, macro-F1 {score:.4f}"
    return RejectThreshold(value=value, tuned=tuned, reject_rate=share, macro_f1=score, detail=detail)


def _macro_f1_when_rejecting(
    label: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], rejected: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Returns macro-F1 over the labels present if the first rows are rejected.

    Args:
        label: class index of each row, sorted by confidence, shape (n,).
        predicted: class index of the prediction, shape (n,).
        rejected: numbers of rows to reject, shape (k,).

    Returns:
        One score for each number [0 to 1, higher is better], shape (k,).
    """
    # Cumulative counts give all thresholds in one pass; sklearn.metrics.f1_score would be called for each. The tests compare both.
    scores = []
    for i in np.unique(label):
        correct_until = np.concatenate([[0], np.cumsum((label == i) & (predicted == i))])
        predicted_until = np.concatenate([[0], np.cumsum(predicted == i)])
        correct = correct_until[-1] - correct_until[rejected]
        accepted = predicted_until[-1] - predicted_until[rejected]
        scores.append(2 * correct / (np.count_nonzero(label == i) + accepted))
    return np.mean(scores, axis=0) if scores else np.zeros(len(rejected))
