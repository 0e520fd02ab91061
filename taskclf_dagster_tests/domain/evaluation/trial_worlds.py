"""User-days of two models whose truth is known, for trials.

Six labels; a user-day is about three hours of windows on average, varying. Activities are runs of windows of one label of geometric length
(10 minutes on average), which a model has right or wrong as a whole. How hard an activity is depends on block, day and user, equally for
both models. On a share of activities (`alike`) both models make the same draw, so that they differ only where the challenger is better or
worse. Beside its advantage the challenger has good and bad days of its own.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.evaluation.block_counts import Block, BlockSums, Cell, PairedCounts
from taskclf_dagster.domain.evaluation.sequential import SequentialBounds, TrialReference, find_bounds, make_reference

LABELS_IN_USE = 6
ACTIVITIES = 36
MEAN_MINUTES = 180
TEST_DAYS = 4
TRIAL_DAYS = 14


@dataclass(frozen=True)
class TrialWorld:
    """Two models that are compared.

    Attributes:
        users: number of users.
        better: by how much the challenger has more activities right [share].
        alike: share of the activities on which both models make the same draw.
        day_spread: standard deviation of the advantage of the challenger by user-day.
        correlation: of that advantage from one day to the next of a user.
        bad_days: share of the user-days on which the challenger loses `loss`; on the others it gains so much that the mean stays.
        loss: see `bad_days`.
    """

    users: int = 5
    better: float = 0.0
    alike: float = 0.7
    day_spread: float = 0.03
    correlation: float = 0.0
    bad_days: float = 0.0
    loss: float = 0.0

    def draw(self, rng: np.random.Generator, days: int) -> PairedCounts:
        """Counts of shape (days * users, 8); all users of a day, then those of the next."""
        n = days * self.users
        advantage = self.better + self._draw_advantages(rng, days)
        length = rng.geometric(0.1, (n, ACTIVITIES))
        minutes = np.maximum(30, rng.gamma(3, MEAN_MINUTES / 3, n)).astype(np.int64)[:, None]
        length = np.clip(length - np.maximum(np.cumsum(length, axis=1) - minutes, 0), 0, None)
        blocks = rng.normal(0, 0.05, (n, ACTIVITIES // 6)).repeat(6, axis=1)
        easy = 0.7 + rng.normal(0, 0.05, (n, 1)) + np.tile(rng.normal(0, 0.05, self.users), days)[:, None] + blocks
        true = rng.integers(0, LABELS_IN_USE, (n, ACTIVITIES))
        theirs = rng.random((n, ACTIVITIES))
        same = rng.random((n, ACTIVITIES)) < self.alike
        ours = np.where(same, theirs, rng.random((n, ACTIVITIES)))
        wrong, other = ((true + rng.integers(1, LABELS_IN_USE, (n, ACTIVITIES))) % LABELS_IN_USE for _ in range(2))
        right = ours < easy + advantage[:, None], theirs < easy
        said = np.where(right[0], true, np.where(same, wrong, other)), np.where(right[1], true, wrong)
        columns = [(true, length), (true, length * right[0]), (said[0], length), (true, length * right[1]), (said[1], length)]
        return PairedCounts(np.stack([_count(labels, minutes) for labels, minutes in columns], axis=-1))

    def _draw_advantages(self, rng: np.random.Generator, days: int) -> npt.NDArray[np.float64]:
        drawn = rng.normal(0, self.day_spread, (days, self.users))
        for day in range(1, days):
            drawn[day] = self.correlation * drawn[day - 1] + np.sqrt(1 - self.correlation**2) * drawn[day]
        gain = self.bad_days * self.loss / (1 - self.bad_days)
        return (drawn + np.where(rng.random(drawn.shape) < self.bad_days, -self.loss, gain)).ravel()

    def run(self, seed: int, *, significance: float = 0.05) -> SequentialBounds:
        """A trial with a look after each day, which ends with the first bound beyond 0; the bounds at the end."""
        rng = np.random.default_rng(seed)
        reference = as_reference(TrialWorld(self.users, 0.0, self.alike, self.day_spread).draw(rng, TEST_DAYS))
        counts = self.draw(rng, TRIAL_DAYS)
        for day in range(1, TRIAL_DAYS + 1):
            known = counts.take(slice(0, day * self.users))
            bounds = find_bounds(known, reference, significance=significance, expected_user_days=TRIAL_DAYS * self.users)
            if bounds.shows_better or bounds.shows_worse:
                break
        return bounds


def _count(labels: npt.NDArray[np.int64], minutes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Windows by user-day and label, shape (n, 8)."""
    n = len(labels)
    place = np.arange(n)[:, None] * 8 + labels
    return np.bincount(place.ravel(), weights=minutes.ravel(), minlength=n * 8).reshape(n, 8).astype(np.int64)


def as_reference(counts: PairedCounts) -> TrialReference:
    return make_reference(as_sums(counts), min_class_windows=30)


def as_sums(counts: PairedCounts) -> BlockSums:
    """The counts as those of one user, a block a day."""
    cells = [Cell(day, label, *map(int, counts.table[day, label])) for day, label in np.argwhere(counts.table.any(axis=-1)).tolist()]
    return BlockSums(users=["user"], blocks=[Block(0, 12 * day) for day in range(len(counts))], cells=cells)
