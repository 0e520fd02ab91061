"""Statistics of drift: how far windows of one time differ from those of another. Pure array work on one input or one set of predictions.

PSI: Siddiqi, Credit Risk Scorecards (2006), chapter 8. Kolmogorov-Smirnov: Hodges, The significance probability of the Smirnov two-sample
test (1958), as in scipy.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 10
"""Bins of a numeric input that have equal numbers of windows in the reference, where values differ enough."""


SMOOTHING = 0.5
"""Windows that are added to each bin, so that an empty one has a finite share (Jeffreys)."""


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


class KolmogorovSmirnov(NamedTuple):
    """The two-sample test of Kolmogorov and Smirnov. Its p-value takes windows as independent, which minutes are not: information only.

    Attributes:
        statistic: largest distance of the two distribution functions [0 to 1].
        p_value: two-sided [0 to 1].
    """

    statistic: float
    p_value: float


def find_cuts(values: _Float) -> _Float:
    """Returns the upper ends of all bins but the last, sorted, shape (cuts,). The outer bins are open, so that no value is outside.

    A value that many windows share has a bin of its own, so that a change to either side of it is found; a constant input has three bins.

    Args:
        values: of the reference, shape (windows,); NaN is missing. Without any value there are no cuts.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return np.empty(0)
    deciles = np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf")
    cuts, times = np.unique(deciles, return_counts=True)
    shared = cuts if len(cuts) == 1 else cuts[times > 1]
    return np.unique(np.concatenate([cuts, np.nextafter(shared, -np.inf)]))


def put_into_bins(values: _Float, cuts: _Float) -> _Int:
    """Returns the bin of each value, shape (windows,): a value at a cut is in the lower bin, a missing one in the last, `len(cuts) + 1`."""
    return np.where(np.isnan(values), len(cuts) + 1, np.searchsorted(cuts, values, side="left")).astype(np.int64)


def count_by_group(codes: _Int, group: _Int, *, groups: int, size: int) -> _Int:
    """Returns the number of windows with each code in each group, such as a day, shape (groups, size)."""
    return np.bincount(group * size + codes, minlength=groups * size).reshape(groups, size)


def compute_psi(reference: npt.ArrayLike, current: npt.ArrayLike) -> _Float:
    """Returns the population stability index of counts, along the last axis: 0 for equal shares, without an upper bound, 0.2 is large.

    Args:
        reference: number of windows in each bin, shape (..., bins).
        current: the same of the windows that are judged.
    """
    first, second = _smoothed_shares(reference), _smoothed_shares(current)
    return ((second - first) * np.log(second / first)).sum(axis=-1)


def _smoothed_shares(counts: npt.ArrayLike) -> _Float:
    smoothed = np.asarray(counts, dtype=np.float64) + SMOOTHING
    return smoothed / smoothed.sum(axis=-1, keepdims=True)


def compute_share(counts: npt.ArrayLike, bin_number: int) -> _Float:
    """Returns the share of one bin along the last axis [0 to 1]; 0 without a window."""
    table = np.asarray(counts, dtype=np.float64)
    return table[..., bin_number] / np.maximum(table.sum(axis=-1), 1)


def compute_shift(reference: npt.ArrayLike, current: npt.ArrayLike) -> _Float:
    """Returns the change of the share of each class, shape as the counts, from -1 to 1."""
    first, second = (np.asarray(counts, dtype=np.float64) for counts in (reference, current))
    return second / np.maximum(second.sum(axis=-1, keepdims=True), 1) - first / np.maximum(first.sum(axis=-1, keepdims=True), 1)


def compute_entropy(probabilities: _Float) -> _Float:
    """Returns the entropy of each row of probabilities [nats], shape (windows,): 0 if one class is certain, ln(8) if all are equal."""
    from scipy.special import entr  # costs half a second; only what measures drift pays for it

    return entr(probabilities).sum(axis=1)


def compare_distributions(reference: _Float, current: _Float) -> KolmogorovSmirnov | None:
    """Returns the test of Kolmogorov and Smirnov on the values that are not missing; None if one side has none."""
    known = [values[~np.isnan(values)] for values in (reference, current)]
    if not all(map(len, known)):
        return None
    from scipy.stats import ks_2samp  # costs a second; only what measures drift pays for it

    found = ks_2samp(*known, method="asymp")
    return KolmogorovSmirnov(float(found.statistic), float(found.pvalue))


def reaches(value: npt.ArrayLike, threshold: float) -> npt.NDArray[np.bool_]:
    """Returns True where a value is at least a threshold, also where only rounding of doubles lies between: 0.3 - 0.2 reaches 0.1."""
    return np.asarray(value) >= threshold - 1e-9
