"""Resamples counts of two models: the swap test for the p-value, and the bootstrap distribution for a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.block_counts import BlockSums, PairedCounts

REPLICATES = 10_000


ROUNDING_NOISE = 1e-12
"""Differences and standard errors below it are rounding."""


_HISTOGRAM_BINS = 30


_CHUNK = 1_000_000  # elements of the largest arrays of a chunk of replicates; five of 8 bytes each are alive at once


_Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HistogramBin:
    """One bar of a histogram: its centre [difference in macro-F1] and the number of replicates in it."""

    centre: float
    replicates: int


@dataclass(frozen=True)
class BootstrapDistribution:
    """Differences in macro-F1 (challenger minus champion) of resampled user-days, for a picture; nothing is decided by it.

    Attributes:
        interval: percentiles at the significance of the comparison; None below two user-days or without a judged label.
        histogram: 30 bins of equal width, or one where all replicates are equal; empty where the interval is None.
    """

    interval: tuple[float, float] | None
    histogram: list[HistogramBin]


def swap_test(blocks: PairedCounts, *, seed: int, replicates: int = REPLICATES) -> float | None:
    """Returns the two-sided p-value of the hypothesis that the models are exchangeable: they are swapped at random within blocks.

    (1 + swaps with |D*| >= |D|) / (1 + replicates), as in Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989.

    Args:
        blocks: counts of shape (blocks, labels).
        seed: of the swaps, 0 or more.
        replicates: number of swaps.

    Returns:
        None where no label has true windows.
    """
    total = blocks.total
    observed = abs(float(total.macro_f1_difference()))
    if math.isnan(observed):
        return None
    change = (blocks.swapped.table - blocks.table).reshape(len(blocks), -1)
    change = change[change.any(axis=1)].astype(np.float64)  # swapping equals changes nothing
    generator, extreme = np.random.Generator(np.random.PCG64(seed)), 0
    for size in _chunks(replicates, len(change)):
        bits = np.frombuffer(generator.bytes(size * 4 * -(-len(change) // 32)), dtype=np.uint8).reshape(size, -1)
        swapped = np.unpackbits(bits, axis=1, count=len(change)).astype(np.float64)
        drawn = PairedCounts(total.table + (swapped @ change).reshape(size, *total.table.shape)).macro_f1_difference()
        extreme += int(np.count_nonzero(np.abs(drawn) >= observed - ROUNDING_NOISE))
    return (1 + extreme) / (1 + replicates)


def bootstrap_distribution(
    sums: BlockSums, *, judged_labels: Sequence[str], significance: float, seed: int, replicates: int = REPLICATES
) -> BootstrapDistribution:
    """Draws user-days with replacement and describes the differences in macro-F1.

    Args:
        sums: from `sum_blocks`.
        judged_labels: whose F1 counts.
        significance: two-sided error rate of the interval.
        seed: of the resamples, 0 or more.
        replicates: number of resamples.
    """
    days = sums.by_user_day().counts.take_labels([i for i, label in enumerate(LABELS) if label in judged_labels])
    if len(days) < 2 or not days.support.any():
        return BootstrapDistribution(None, [])
    draws = resample_user_days(days, seed=seed, replicates=replicates)
    if not len(draws):
        return BootstrapDistribution(None, [])
    lower, upper = np.quantile(draws, [significance / 2, 1 - significance / 2]).tolist()
    if np.ptp(draws) < ROUNDING_NOISE:
        return BootstrapDistribution((lower, upper), [HistogramBin(lower, len(draws))])
    counts, edges = np.histogram(draws, bins=_HISTOGRAM_BINS)
    centres = ((edges[:-1] + edges[1:]) / 2).tolist()
    return BootstrapDistribution((lower, upper), [HistogramBin(*one) for one in zip(centres, counts.tolist(), strict=True)])


def resample_user_days(days: PairedCounts, *, seed: int, replicates: int = REPLICATES) -> _Float:
    """Differences in macro-F1 of user-days drawn with replacement (Efron, Annals of Statistics 7, 1979).

    A resample's mean is over the labels that have true windows in it; a resample without any is left out.

    Args:
        days: counts of shape (days, labels).
        seed: of the draws, 0 or more.
        replicates: number of resamples.

    Returns:
        Shape (replicates,), less what was left out.
    """
    generator, n = np.random.Generator(np.random.PCG64([seed, 1])), len(days)  # not the stream of the swaps
    flat = days.table.reshape(n, -1).astype(np.float64)
    draws = [np.empty(0)]
    for size in _chunks(replicates, n):
        chosen = generator.integers(0, n, size=(size, n)) + np.arange(0, size * n, n)[:, None]
        times = np.bincount(chosen.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        resampled = (times @ flat).reshape(size, *days.table.shape[1:])  # whole numbers: exact in any order
        draws.append(PairedCounts(resampled).macro_f1_difference())
    drawn = np.concatenate(draws)
    return drawn[np.isfinite(drawn)]


def _chunks(replicates: int, width: int) -> list[int]:
    """Sizes of the chunks in which replicates are drawn, so that memory stays bounded."""
    size = max(1, _CHUNK // max(1, width))
    return [min(size, replicates - done) for done in range(0, replicates, size)]
