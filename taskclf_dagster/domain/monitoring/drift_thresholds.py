"""Thresholds of drift, calibrated on how much the days of the reference differ from each other.

A week of one person is never like the month before: its minutes depend on each other, and days have subjects. So as many days as are
judged are drawn from the reference and compared with its other days; what nearly all such comparisons stay below is no drift. It is a
permutation distribution in which the unit is the day (Good, Permutation, Parametric and Bootstrap Tests, 2005, chapter 3).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

DRAWS = 400
"""Number of blocks of days that are drawn."""


MIN_REFERENCE_DAYS = 4
"""Fewer days cannot be divided into two parts that have more than one each."""


_Float = npt.NDArray[np.float64]


Statistic = Callable[[_Float, _Float], _Float]
"""Takes the counts of the other days and of the block, each of shape (draws, ...); returns the statistic of each draw, shape (draws,)."""


def draw_blocks(days: int, size: int, *, seed: int) -> _Float:
    """Draws blocks of days without replacement; 1 where a day is in a block, else 0, shape (DRAWS, days).

    Args:
        days: number of days of the reference, at least MIN_REFERENCE_DAYS.
        size: number of days that are judged. A block has at most half of the days; as a shorter one differs more, the threshold is
            higher then.
        seed: follows from the dataset, so that the same reference has the same thresholds.
    """
    order = np.random.default_rng(seed).random((DRAWS, days)).argsort(axis=1)
    return (order < max(1, min(size, days // 2))).astype(np.float64)


def calibrate_threshold(by_day: npt.ArrayLike, blocks: _Float, statistic: Statistic, *, floor: float, quantile: float) -> float:
    """Returns the quantile of a statistic over the blocks, or the floor if that is larger.

    Args:
        by_day: counts or sums of each day of the reference, shape (days, ...).
        blocks: from `draw_blocks`.
        statistic: compares the other days with a block.
        floor: the threshold if days hardly differ.
        quantile: of the blocks that stay below [0.5 to 1].
    """
    counts = np.asarray(by_day, dtype=np.float64)
    inside = np.tensordot(blocks, counts, axes=1)
    found = statistic(counts.sum(axis=0) - inside, inside)
    return max(floor, float(np.quantile(found, quantile, method="higher")))
