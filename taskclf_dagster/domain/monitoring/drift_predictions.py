"""Drift of predictions: the rejected share, the entropy and the classes of the judged windows against those of the reference."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.drift_settings import DriftSettings
from taskclf_dagster.domain.evaluation.confusion import OUTCOMES, REJECTED, apply_reject
from taskclf_dagster.domain.monitoring.drift_inputs import find_affected_users
from taskclf_dagster.domain.monitoring.drift_statistics import compute_entropy, compute_share, compute_shift, count_by_group, reaches
from taskclf_dagster.domain.monitoring.drift_thresholds import MIN_REFERENCE_DAYS, Statistic, calibrate_threshold, draw_blocks
from taskclf_dagster.domain.monitoring.window_sets import WindowSet
from taskclf_dagster.domain.storage.records import Record

_Float = npt.NDArray[np.float64]


_Int = npt.NDArray[np.int64]


_Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PredictedSet:
    """Windows with their predictions, each array of shape (windows,).

    Attributes:
        best: class index of the largest probability.
        confidence: that probability [0 to 1].
        outcome: position in OUTCOMES.
        entropy: of the probabilities [nats].
    """

    windows: WindowSet
    best: _Int
    confidence: _Float
    outcome: _Int
    entropy: _Float

    @classmethod
    def of(cls, windows: WindowSet, probabilities: _Float, *, reject_threshold: float) -> Self:
        """Takes windows with their probabilities, shape (windows, 8), and the threshold below which a prediction is rejected."""
        best, confidence = probabilities.argmax(axis=1).astype(np.int64), probabilities.max(axis=1)
        outcome = apply_reject(probabilities, reject_threshold)
        return cls(windows, best, confidence, outcome, compute_entropy(probabilities))

    def count_outcomes(self, chosen: _Bool | None = None) -> _Int:
        """Returns the number of windows of each outcome, of all windows or of the chosen ones, shape (9,)."""
        return np.bincount(self.outcome if chosen is None else self.outcome[chosen], minlength=len(OUTCOMES))


class RejectRateDrift(Record):
    """The share of rejected windows [0 to 1]; flagged if its increase reaches the threshold."""

    reference: float
    current: float
    increase: float
    threshold: float
    is_flagged: bool
    users: tuple[str, ...] = ()


class EntropyDrift(Record):
    """The mean entropy of the predictions [nats]; flagged if the current one is `threshold` times that of the reference, or more."""

    reference: float
    current: float
    ratio: float
    threshold: float
    is_flagged: bool
    users: tuple[str, ...] = ()


class ClassShift(Record):
    """The share of each outcome [0 to 1]; flagged if one changed by as much as the threshold.

    Attributes:
        reference, current: shares by label, rejected windows as Mixed/Unknown.
        max_shift: the largest change in either direction.
        shifted_classes: those that changed by as much as the threshold.
    """

    reference: dict[str, float]
    current: dict[str, float]
    max_shift: float
    shifted_classes: tuple[str, ...]
    threshold: float
    is_flagged: bool
    users: tuple[str, ...] = ()


class PredictionDrift(Record):
    """Drift of predictions of the same model."""

    reject_rate: RejectRateDrift
    entropy: EntropyDrift
    class_shift: ClassShift


def compare_predictions(reference: PredictedSet, current: PredictedSet, *, settings: DriftSettings, seed: int) -> PredictionDrift:
    """Compares the predictions of the judged windows with those of windows that the model had not learned from.

    Args:
        reference: out-of-fold predictions.
        current: those of the active model.
        settings: the thresholds, which hold as they are if the reference has too few days to calibrate them.
        seed: of the blocks of days.
    """
    days = reference.windows.days
    blocks = draw_blocks(days, current.windows.days, seed=seed) if days >= MIN_REFERENCE_DAYS else None
    by_day = count_by_group(reference.outcome, reference.windows.day, groups=days, size=len(OUTCOMES))
    sums = np.bincount(reference.windows.day, weights=reference.entropy, minlength=days)
    entropies = np.stack([sums, by_day.sum(axis=1)], axis=1)

    def calibrate(table: npt.ArrayLike, statistic: Statistic, floor: float) -> float:
        if blocks is None:
            return floor
        return calibrate_threshold(table, blocks, statistic, floor=floor, quantile=settings.noise_quantile)

    return PredictionDrift(
        reject_rate=_compare_rejects(reference, current, calibrate(by_day, _reject_increase, settings.max_reject_increase)),
        entropy=_compare_entropy(reference, current, calibrate(entropies, _entropy_ratio, settings.max_entropy_ratio)),
        class_shift=_compare_classes(reference, current, calibrate(by_day, _largest_shift, settings.max_class_shift)),
    )


def _compare_rejects(reference: PredictedSet, current: PredictedSet, threshold: float) -> RejectRateDrift:
    rates = [float(compute_share(part.count_outcomes(), REJECTED)) for part in (reference, current)]
    is_flagged = bool(reaches(rates[1] - rates[0], threshold))

    def applies(before: _Bool, now: _Bool) -> bool:
        return bool(reaches(_reject_increase(reference.count_outcomes(before), current.count_outcomes(now)), threshold))

    return RejectRateDrift(
        reference=rates[0],
        current=rates[1],
        increase=rates[1] - rates[0],
        threshold=threshold,
        is_flagged=is_flagged,
        users=find_affected_users(reference.windows, current.windows, applies) if is_flagged else (),
    )


def _compare_entropy(reference: PredictedSet, current: PredictedSet, threshold: float) -> EntropyDrift:
    before, now = float(reference.entropy.mean()), float(current.entropy.mean())
    ratio = _divide(now, before)
    is_flagged = bool(reaches(ratio, threshold))

    def applies(theirs_before: _Bool, theirs_now: _Bool) -> bool:
        own = _divide(float(current.entropy[theirs_now].mean()), float(reference.entropy[theirs_before].mean()))
        return bool(reaches(own, threshold))

    return EntropyDrift(
        reference=before,
        current=now,
        ratio=ratio,
        threshold=threshold,
        is_flagged=is_flagged,
        users=find_affected_users(reference.windows, current.windows, applies) if is_flagged else (),
    )


def _compare_classes(reference: PredictedSet, current: PredictedSet, threshold: float) -> ClassShift:
    counts = reference.count_outcomes(), current.count_outcomes()
    shift = np.abs(compute_shift(*counts))
    shifted = tuple(name for name, large in zip(OUTCOMES, reaches(shift, threshold), strict=True) if large)

    def applies(before: _Bool, now: _Bool) -> bool:
        return bool(reaches(_largest_shift(reference.count_outcomes(before), current.count_outcomes(now)), threshold))

    return ClassShift(
        reference=shares_of(counts[0]),
        current=shares_of(counts[1]),
        max_shift=float(shift.max()),
        shifted_classes=shifted,
        threshold=threshold,
        is_flagged=bool(shifted),
        users=find_affected_users(reference.windows, current.windows, applies) if shifted else (),
    )


def shares_of(counts: _Int) -> dict[str, float]:
    """Returns the share of each outcome [0 to 1] from their counts, shape (9,); those that never occur are left out."""
    return {name: int(n) / int(counts.sum()) for name, n in zip(OUTCOMES, counts, strict=True) if n}


def _reject_increase(reference: npt.ArrayLike, current: npt.ArrayLike) -> _Float:
    return compute_share(current, REJECTED) - compute_share(reference, REJECTED)


def _largest_shift(reference: npt.ArrayLike, current: npt.ArrayLike) -> _Float:
    return np.abs(compute_shift(reference, current)).max(axis=-1)


def _entropy_ratio(reference: _Float, current: _Float) -> _Float:
    """Returns the ratio of mean entropies from pairs of sum and number of windows, shape (draws,)."""
    means = [np.maximum(part[..., 0], _TINY) / np.maximum(part[..., 1], 1) for part in (reference, current)]
    return means[1] / means[0]


_TINY = 1e-9
"""Entropy of a model that is always certain [nats], so that the ratio to it is finite."""


def _divide(now: float, before: float) -> float:
    return max(now, _TINY) / max(before, _TINY)
