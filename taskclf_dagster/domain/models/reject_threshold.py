"""Chooses the reject threshold on the validation split (contract, section 6)."""

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import RejectThresholdSettings
from taskclf_dagster.domain.storage.records import Record


class RejectThreshold(Record):
    """The confidence below which a prediction is rejected, and how it was chosen on the validation split.

    Attributes:
        value: smallest accepted confidence [0 to 1].
        tuned: False where no threshold gave a reject rate in the range, and the fallback was taken.
        reject_rate: share of validation windows rejected.
        macro_f1: validation macro-F1 over the labels present, a rejected window counting as wrong [0 to 1, higher is better].
        detail: the choice in words.
    """

    value: float
    tuned: bool
    reject_rate: float
    macro_f1: float
    detail: str


def tune_reject_threshold(
    probabilities: npt.NDArray[np.float64], true: npt.NDArray[np.int64], settings: RejectThresholdSettings
) -> RejectThreshold:
    """The threshold with the highest macro-F1 among those whose reject rate lies in the range; of equals the lowest.

    Every distinct confidence is a candidate. A rejected window is wrong for its true class and is nobody's prediction.

    Args:
        probabilities: shape (n, 8).
        true: class index of each row, shape (n,).
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
    """Macro-F1 over the labels present when the first k rows are rejected, for each k; rows are sorted by confidence."""
    scores = []
    for c in np.unique(label):
        accepted_right = np.concatenate([[0], np.cumsum((label == c) & (predicted == c))])
        accepted = np.concatenate([[0], np.cumsum(predicted == c)])
        right = accepted_right[-1] - accepted_right[rejected]
        named = accepted[-1] - accepted[rejected]
        scores.append(2 * right / (np.count_nonzero(label == c) + named))
    return np.mean(scores, axis=0) if scores else np.zeros(len(rejected))
