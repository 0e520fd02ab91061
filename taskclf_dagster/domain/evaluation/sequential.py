"""Bounds of the difference in macro-F1 between two models that hold at every look, while user-days come in one after the other.

The bounds come from bets on one user-day after the other (`betting`), so that looking at them every day costs nothing.

macro-F1 is no mean over user-days. What is bet on is its linear part: with F the mean F1 of both models for a label, and D the mean of
their denominators, a user-day adds 2 (t1 - t2) - F (p1 - p2), divided by D and averaged over labels (t: correct, p: predicted, 1: the
challenger). With F and D of the user-days themselves the sum is the difference in macro-F1, exactly. They are taken from the reference
and the user-days before, so that every bet is fixed before its user-day is known.
"""

import math

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeInt

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.betting import Bets, choose_cap, choose_share, find_bound, highest_wealth
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION, BlockSums, PairedCounts
from taskclf_dagster.domain.storage.records import Record

_Float = npt.NDArray[np.float64]


_Array = npt.NDArray[np.number]


REFERENCE_WEIGHT = 5
"""The number of user-days that the spread of the reference counts as, beside those of the trial."""


LEAST_SPREAD = 0.005
"""The least standard deviation of a user-day [macro-F1], also where two models agree on the whole reference."""


class TrialReference(Record):
    """Counts that are known when a trial starts: both models on the test windows of the decision that held the challenger.

    Whatever they are, the bounds hold; the nearer they are to the user-days that follow, the narrower the bounds.

    Attributes:
        labels: that count for macro-F1: those with enough windows here.
        user_days: number of user-days.
        counts: for each of LABELS: true windows, then correct and predicted of the challenger, then those of the champion.
        spread: root mean square of what its user-days add to the difference [macro-F1].
    """

    labels: tuple[str, ...]
    user_days: NonNegativeInt
    counts: tuple[tuple[int, int, int, int, int], ...]
    spread: float

    @property
    def positions(self) -> list[int]:
        """Positions among LABELS of the labels that count."""
        return [LABELS.index(label) for label in self.labels]

    @property
    def totals(self) -> _Array:
        """The counts of the labels that count, shape (labels, 5)."""
        return np.array(self.counts, dtype=np.int64)[self.positions]


class SequentialBounds(Record):
    """Challenger minus champion in macro-F1 [-1 to 1, higher is better] on the user-days so far.

    Attributes:
        user_days, windows: so far.
        difference: over the labels of the reference that have true windows; None without any.
        lower, upper: each holds at every look with a probability of 1 - significance.
        wealth: that of the bets on a difference above 0, at its highest; 1 / significance shows it.
        wealth_against: that of the bets on a difference below 0, at its highest.
        significance: of each bound.
    """

    user_days: int
    windows: int
    difference: float | None
    lower: float
    upper: float
    wealth: float
    wealth_against: float
    significance: float

    @property
    def shows_better(self) -> bool:
        """True if the challenger is shown to be better: by the bets, and also on all user-days as they are."""
        return self.lower > 0 and self.difference is not None and self.difference > 0

    @property
    def shows_worse(self) -> bool:
        """True if the challenger is shown to be worse: by the bets, and also on all user-days as they are."""
        return self.upper < 0 and self.difference is not None and self.difference < 0


def make_reference(sums: BlockSums, *, min_class_windows: int) -> TrialReference:
    """Returns the reference that follows from the counts of both models on the windows that were known before a trial.

    Args:
        sums: from `sum_blocks`.
        min_class_windows: a label with fewer true windows does not count.
    """
    days = sums.by_user_day().counts
    total = days.total.table.astype(np.int64)
    judged = np.flatnonzero(total[:, 0] >= min_class_windows)
    spread = 0.0
    if len(judged):
        counts = days.table[:, judged]
        gains = _gains(counts, np.broadcast_to(total[judged], counts.shape), np.full(len(days), len(days)))
        spread = math.sqrt(math.fsum(gains * gains) / len(days))
    return TrialReference(
        labels=tuple(LABELS[i] for i in judged),
        user_days=len(days),
        counts=tuple((int(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in total),
        spread=spread,
    )


def find_bounds(days: PairedCounts, reference: TrialReference, *, significance: float, expected_user_days: int) -> SequentialBounds:
    """Computes the bounds on the user-days so far; equal arguments give an equal record.

    Args:
        days: counts of shape (user-days, 8) in the order in which the user-days were closed.
        reference: fixed before the first of them; without a label the bounds are those of any difference.
        significance: the chance that a bound is ever wrong (0 to 1).
        expected_user_days: how many may come; the size of the bets follows from it, the bounds hold for any number.
    """
    windows = int(days.support.sum())
    if not reference.labels:
        return SequentialBounds(
            user_days=len(days), windows=windows, difference=None, lower=-1, upper=1, wealth=1, wealth_against=1, significance=significance
        )
    judged = days.take_labels(reference.positions)
    bets = _place_bets(judged.table, reference, significance, expected_user_days)
    difference = judged.total.macro_f1_difference() if len(days) else np.array(np.nan)
    return SequentialBounds(
        user_days=len(days),
        windows=windows,
        difference=None if math.isnan(float(difference)) else float(difference),
        lower=find_bound(bets, significance, sign=1),
        upper=find_bound(bets, significance, sign=-1),
        wealth=highest_wealth(bets, 0.0, sign=1),
        wealth_against=highest_wealth(bets, 0.0, sign=-1),
        significance=significance,
    )


def _gains(days: _Array, totals: _Array, user_days: _Array) -> _Float:
    """Returns what each user-day adds to the difference.

    Args:
        days: counts of the labels that count, shape (days, labels, 5).
        totals: those known before each, of the same shape.
        user_days: number of user-days in the totals, shape (days,).
    """
    before, day = PairedCounts(totals), PairedCounts(days)
    f1 = before.f1().mean(axis=-1)
    size = before.actual_and_predicted.mean(axis=-1) / user_days[:, None]
    right = day.correct[..., CHALLENGER] - day.correct[..., CHAMPION]
    named = day.predicted[..., CHALLENGER] - day.predicted[..., CHAMPION]
    return np.asarray(((2 * right - f1 * named) / size).mean(axis=-1), dtype=np.float64)


def _place_bets(days: _Array, reference: TrialReference, significance: float, expected_user_days: int) -> Bets:
    """Returns the bets, each made of what was known before its user-day, for counts of the labels that count."""
    windows, one = days[..., 0].sum(axis=-1), np.ones(len(days))
    known = reference.user_days + np.arange(len(days))
    gains = _gains(days, reference.totals + _sum_before(days), known)
    squares = REFERENCE_WEIGHT * max(reference.spread, LEAST_SPREAD) ** 2 + _sum_before(gains * gains)
    spread = np.maximum(np.sqrt(squares / (REFERENCE_WEIGHT + _sum_before(one))), LEAST_SPREAD)
    sizes = windows * known / (reference.totals[:, 0].sum() + _sum_before(windows))
    cap = choose_cap(expected_user_days)
    return Bets(gains, sizes, cap * spread, choose_share(cap, significance, expected_user_days))


def _sum_before(values: _Array) -> _Array:
    """Returns the sum of what comes before each along the first axis; 0 for the first."""
    return np.asarray(np.cumsum(values, axis=0) - values)
