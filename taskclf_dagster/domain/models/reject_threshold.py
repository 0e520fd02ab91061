"""Chooses the reject threshold on predictions of windows that the model has not learned from (contract, section 6)."""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import RejectThresholdSettings
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

NEARLY_EQUAL = 0.005
"""Of thresholds whose macro-F1 differs by no more than this the one is taken that rejects least."""


LAST_DAYS = 3
"""Days with labels, the newest, whose reject rate may show a shift."""


CONFIDENCE_LEVEL = 0.95


RATE_STEP = 0.002
"""Distance of the reject rates that are looked at when a threshold is lowered."""


Basis = Literal["folds", "validation", "calibrated"]
"""folds: models of the rolling-origin folds, each on the labels after those that it learned from. validation: the first fit.
calibrated: calibrated probabilities of an active model for windows that it has not learned from, and those of its folds."""


_SOURCES: dict[Basis, str] = {
    "folds": "of models of the labels before them",
    "validation": "of the first fit for the validation windows",
    "calibrated": "after calibration, for windows that their model has not learned from",
}


class RejectThreshold(Record):
    """The confidence below which a prediction is rejected, and how it was chosen.

    Attributes:
        value: smallest accepted confidence [0 to 1].
        tuned: False if no threshold gives a reject rate in the range, so that the fallback was taken.
        basis: the predictions that it was chosen on.
        windows, user_days: number of them, and of user-days (UTC).
        reject_rate: share of them that is rejected, the expected reject rate [0 to 1].
        interval: bounds of the reject rate of a further user-day (95 %) [0 to 1]; None with fewer than two user-days.
        macro_f1: of them over the labels present, a rejected window counting as wrong [0 to 1, higher is better].
        detail: the choice in one sentence; part of metadata.json.
    """

    value: float
    tuned: bool
    basis: Basis
    windows: int
    user_days: int
    reject_rate: float
    interval: tuple[float, float] | None
    macro_f1: float
    detail: str


class _Rejected(NamedTuple):
    """Some thresholds, and the windows that they reject.

    Attributes:
        value: the thresholds, rising, shape (k,).
        windows: number of windows that each rejects, shape (k,).
    """

    value: npt.NDArray[np.float64]
    windows: npt.NDArray[np.int64]

    def between(self, low: float, high: float, n: int) -> "_Rejected":
        """Returns those that reject a share of n windows between two bounds, both included."""
        rate = self.windows / max(1, n)
        inside = (rate >= low - 1e-12) & (rate <= high + 1e-12)
        return _Rejected(self.value[inside], self.windows[inside])


def tune_reject_threshold(predictions: OutOfFold, settings: RejectThresholdSettings, *, basis: Basis) -> RejectThreshold:
    """Chooses the threshold that rejects least among the nearly best ones, with care where there is little to choose by.

    1. Of the thresholds whose reject rate is in the range, those whose macro-F1 is within NEARLY_EQUAL of the best; of these the lowest.
       A rejected window is wrong for its true label and is no prediction of any label.
    2. It is moved towards the fallback, which counts as `fallback_windows` windows, but not out of the range.
    3. It is lowered, but not out of the range, until the reject rate stays below the upper end also if it shifts once more as far as in
       the last LAST_DAYS days, and with the upper bound of its interval. A threshold tuned on one slice of a person's labels has rejected
       four fifths of the next one.

    Args:
        predictions: of windows that the models have not learned from.
        settings: the range of reject rates, the fallback, and its weight.
        basis: where the predictions are from.
    """
    n, inside = len(predictions.true), _find_in_range(predictions, settings)
    if tuned := len(inside.value) > 0:
        best = find_nearly_best(predictions, settings)
        moved = settings.fallback + (best - settings.fallback) * n / (n + settings.fallback_windows)
        value = _lower(predictions, inside, float(np.clip(moved, inside.value[0], inside.value[-1])), settings.max_reject_rate)
    else:
        best = value = settings.fallback
    rejected = predictions.confidence < value
    rate, interval = expect_reject_rate(rejected, predictions.user_day)
    found = RejectThreshold(
        value=value,
        tuned=tuned,
        basis=basis,
        windows=n,
        user_days=len(np.unique(predictions.user_day)),
        reject_rate=rate,
        interval=interval,
        macro_f1=float(_macro_f1_when_rejecting(predictions, np.array([int(rejected.sum())]))[0]),
        detail="",
    )
    return found.model_copy(update={"detail": _describe(found, best, settings)})


def find_nearly_best(predictions: OutOfFold, settings: RejectThresholdSettings) -> float:
    """Returns the lowest threshold of those in the range whose macro-F1 is within NEARLY_EQUAL of the best (step 1).

    Raises:
        ValueError: no threshold is in the range.
    """
    inside = _find_in_range(predictions, settings)
    scores = _macro_f1_when_rejecting(predictions, inside.windows)
    return float(inside.value[np.flatnonzero(scores >= scores.max() - NEARLY_EQUAL)[0]])


def _find_in_range(predictions: OutOfFold, settings: RejectThresholdSettings) -> _Rejected:
    """Returns every distinct confidence that is a threshold with a reject rate in the range."""
    confidence = np.sort(predictions.confidence)
    distinct = np.unique(confidence)
    every = _Rejected(distinct, np.searchsorted(confidence, distinct, side="left"))
    return every.between(settings.min_reject_rate, settings.max_reject_rate, len(confidence))


def expect_reject_rate(rejected: npt.NDArray[np.bool_], user_day: npt.NDArray[np.int64]) -> tuple[float, tuple[float, float] | None]:
    """Returns the reject rate, and an interval for that of a further user-day (95 %); None with fewer than two user-days.

    Whole user-days are the unit. With N windows on G user-days and the excess e_g of a user-day, what it rejects beyond the rate, the
    variance of the rate is G / (G - 1) * sum(e_g^2) / N^2 (a ratio estimate; Cochran, Sampling Techniques, 1977, section 6.3), and that
    of a prediction for one user-day 1 + G times as much; the bounds are those of t with G - 1 degrees of freedom.

    Args:
        rejected: shape (n,).
        user_day: number of the user-day of each window, shape (n,).
    """
    from scipy.special import stdtrit  # half a second, which only training pays for

    _, day = np.unique(user_day, return_inverse=True)
    windows, out = np.bincount(day), np.bincount(day, weights=rejected)
    days, rate = len(windows), float(rejected.mean()) if len(rejected) else 0.0
    if days < 2:
        return rate, None
    variance = days / (days - 1) * ((out - rate * windows) ** 2).sum() / windows.sum() ** 2 * (1 + days)
    half = float(stdtrit(days - 1, (1 + CONFIDENCE_LEVEL) / 2) * np.sqrt(variance))
    return rate, (max(0.0, rate - half), min(1.0, rate + half))


def _lower(predictions: OutOfFold, inside: _Rejected, value: float, highest: float) -> float:
    """Returns a threshold, or the highest one below it whose reject rate stays in bounds (step 3 of `tune_reject_threshold`).

    With a single user-day nothing is known of others: the lowest.
    """
    if expect_reject_rate(predictions.confidence < value, predictions.user_day)[1] is None:
        return float(inside.value[0])
    confidence, n = predictions.confidence, len(predictions.true)
    is_last = np.isin(predictions.day, np.unique(predictions.day)[-LAST_DAYS:])

    def stays(threshold: float) -> bool:
        rejected = confidence < threshold
        rate, interval = expect_reject_rate(rejected, predictions.user_day)
        last = float(rejected[is_last].mean())
        shifted, upper = last + max(0.0, last - rate), 1.0 if interval is None else interval[1]
        return max(shifted, upper) <= highest + 1e-12

    if stays(value):
        return value
    lower = inside.value < value
    steps = np.unique(np.round(inside.windows[lower] / max(1, n) / RATE_STEP), return_index=True)[1][::-1]
    return next((float(each) for each in inside.value[lower][steps] if stays(each)), float(inside.value[0]))


def _describe(found: RejectThreshold, best: float, settings: RejectThresholdSettings) -> str:
    bounds = f"{settings.min_reject_rate:g}..{settings.max_reject_rate:g}"
    where = f"{counted(found.windows, 'prediction')} {_SOURCES[found.basis]}, on {counted(found.user_days, 'user-day')}"
    how = (
        f"rejects least of those nearly best with a reject rate in {bounds}" if found.tuned else f"fallback: no threshold rejects {bounds}"
    )
    moved = f" ({best:.4f} before it was moved towards the fallback or lowered)" if best != found.value else ""
    expected = f"expected to reject {found.reject_rate:.1%} of the windows"
    if found.interval is not None:
        expected += f", and {found.interval[0]:.1%} to {found.interval[1]:.1%} of a single user-day (95 %)"
    return f"{found.value:.4f}: {how}{moved}; {expected}; macro-F1 {found.macro_f1:.4f}; from {where}"


def _macro_f1_when_rejecting(predictions: OutOfFold, rejected: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns macro-F1 over the labels present if the least confident windows are rejected.

    Args:
        predictions: of the windows.
        rejected: numbers of windows to reject, shape (k,).

    Returns:
        One score for each number [0 to 1, higher is better], shape (k,).
    """
    # Cumulative counts give all thresholds in one pass; sklearn.metrics.f1_score would be called for each. The tests compare both.
    order = np.argsort(predictions.confidence, kind="stable")
    label, predicted, scores = predictions.true[order], predictions.predicted[order], []
    for i in np.unique(label):
        correct_until = np.concatenate([[0], np.cumsum((label == i) & (predicted == i))])
        predicted_until = np.concatenate([[0], np.cumsum(predicted == i)])
        correct = correct_until[-1] - correct_until[rejected]
        accepted = predicted_until[-1] - predicted_until[rejected]
        scores.append(2 * correct / (np.count_nonzero(label == i) + accepted))
    return np.mean(scores, axis=0) if scores else np.zeros(len(rejected))
