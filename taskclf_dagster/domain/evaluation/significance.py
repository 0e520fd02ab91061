"""How sure a difference in macro-F1 between two models on the same windows is.

One-minute windows are autocorrelated, so rows are never treated as independent: intervals are over whole user-days, the p-value swaps the
models in 2-hour blocks. Which difference is allowed is decided in `gates`.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.storage.records import Record

BLOCK_HOURS = 2


REPLICATES = 10_000


_POWER, _BINS, _K = 0.8, 30, len(LABELS)


_CHUNK = 1_000_000  # elements of the largest arrays of a chunk of replicates; five of 8 bytes each are alive at once


_NOISE = 1e-12  # differences and standard errors below it are rounding


_SWAPPED = [0, 3, 4, 1, 2]  # columns of the counts with the models exchanged


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


class BlockSums(Record):
    """Counts of both models by user and 2-hour block: all that the statistics need, for a resample is a sum.

    Attributes:
        users: sorted; only those with windows.
        blocks: (index into users, 2-hour blocks since the epoch in UTC), sorted; only those with windows.
        cells: (index into blocks, label index, true windows, challenger right, challenger named, champion right, champion named), sorted;
            all-zero cells are left out.
    """

    users: list[str]
    blocks: list[tuple[int, int]]
    cells: list[tuple[int, int, int, int, int, int, int]]


class Flips(Record):
    """Windows where exactly one model is right, by true label: negative where it is the champion, positive where the challenger."""

    windows: int
    negative: dict[str, int]
    positive: dict[str, int]

    @property
    def negative_share(self) -> float:
        return sum(self.negative.values()) / max(1, self.windows)

    @property
    def positive_share(self) -> float:
        return sum(self.positive.values()) / max(1, self.windows)


class GroupSignificance(Record):
    """One user or one label: is the challenger clearly worse for it?

    Attributes:
        windows: of the user; true windows of the label.
        user_days: of the user; those where the label is true or named by either model.
        difference: challenger minus champion [-1 to 1, higher is better]: macro-F1 over the judged labels that the user has, F1 of the
            label. None where there is no true window.
        standard_error: of the difference, over user-days; None below two.
        p_value: one-sided, of "the difference is at least -margin" [low: clearly worse]; None where not judged.
        adjusted_p: p_value after Holm over the judged groups of this kind.
        judged: whether there are a difference and enough user-days.
    """

    name: str
    windows: int
    user_days: int
    difference: float | None
    standard_error: float | None
    p_value: float | None
    adjusted_p: float | None
    judged: bool


class SignificanceResult(Record):
    """What the windows say about challenger minus champion [macro-F1, -1 to 1, higher is better].

    Attributes:
        user_days, blocks: in UTC; a block is of one user.
        difference: over the judged labels that have true windows; None, as all that follows, where there are none.
        standard_error: closed form over user-days; None, as intervals and what is detectable, below two.
        confidence: of both intervals, 1 - significance.
        interval: closed form, Student t.
        p_value: two-sided, models swapped within blocks.
        bootstrap_interval, bootstrap_histogram: percentiles and (bin centre, replicates) of resampled user-days, for the picture.
        detectable_difference: the true difference that 80 % of such tests would find.
        user_days_needed: labelled user-days with which that is `small_difference`.
    """

    windows: int
    users: int
    user_days: int
    blocks: int
    difference: float | None
    standard_error: float | None
    confidence: float
    interval: tuple[float, float] | None
    p_value: float | None
    bootstrap_interval: tuple[float, float] | None
    bootstrap_histogram: list[tuple[float, int]]
    detectable_difference: float | None
    user_days_needed: int | None
    words: str
    by_label: list[GroupSignificance]
    by_user: list[GroupSignificance]


def sum_blocks(user: pd.Series, start: pd.Series, true: _Int, challenger: _Int, champion: _Int) -> BlockSums:
    """Counts both models by user and 2-hour block; the order of rows does not matter.

    All of shape (n,): user a category of str, start of the window in UTC, class indices of label and predictions, REJECTED for none.
    """
    users = sorted(user.unique())
    rank = user.cat.set_categories(users).cat.codes.to_numpy().astype(np.int64)
    time = epoch_us(start) // (BLOCK_HOURS * 3_600_000_000)
    first = int(time.min(initial=0))
    span = int(time.max(initial=0)) - first + 1
    keys, block = np.unique(rank * span + (time - first), return_inverse=True)
    # REJECTED, one past the last label, takes what does not count.
    counted = [true, *(labels for said in (challenger, champion) for labels in (np.where(said == true, true, _K), said))]
    columns = [np.bincount(block * (_K + 1) + labels, minlength=len(keys) * (_K + 1)) for labels in counted]
    counts = np.stack(columns, axis=-1).reshape(-1, _K + 1, 5)[:, :_K]
    filled = np.argwhere(counts.any(axis=-1))
    return BlockSums(
        users=users,
        blocks=list(zip((keys // span).tolist(), (keys % span + first).tolist(), strict=True)),
        cells=[tuple(cell) for cell in np.hstack([filled, counts[filled[:, 0], filled[:, 1]]]).tolist()],
    )


def count_flips(true: _Int, challenger: _Int, champion: _Int) -> Flips:
    """Counts windows where exactly one model is right. All class indices, REJECTED for none, shape (n,)."""
    ours, theirs = challenger == true, champion == true
    lost, won = (np.bincount(true[flipped], minlength=_K).tolist() for flipped in (theirs & ~ours, ours & ~theirs))
    return Flips(windows=len(true), negative=dict(zip(LABELS, lost, strict=True)), positive=dict(zip(LABELS, won, strict=True)))


def assess_significance(
    sums: BlockSums,
    *,
    judged_labels: Sequence[str],
    significance: float,
    min_user_days: int,
    margin: float,
    small_difference: float,
    seed: int,
    replicates: int = REPLICATES,
) -> SignificanceResult:
    """Says how sure the difference between challenger and champion is; equal arguments give an equal record.

    Args:
        sums: from `sum_blocks`.
        judged_labels: whose F1 counts.
        significance: two-sided error rate of the intervals and of the detectable difference.
        min_user_days: a group with fewer is not judged, and an interval over fewer is called rough.
        margin: how much worse a user or a label may be, 0 or more.
        small_difference: for `user_days_needed`, above 0.
        seed: of swaps and resamples, 0 or more.
        replicates: number of swaps, and of resamples.
    """
    judged = [i for i, label in enumerate(LABELS) if label in judged_labels]
    blocks = np.zeros((len(sums.blocks), _K, 5), dtype=np.int64)
    cells = np.array(sums.cells, dtype=np.int64).reshape(-1, 7)
    blocks[cells[:, 0], cells[:, 1]] = cells[:, 2:]
    owner, time = np.array(sums.blocks, dtype=np.int64).reshape(-1, 2).T
    # Blocks are sorted by user and time, so a user-day is a run of them.
    begins = np.flatnonzero(np.diff(owner, prepend=-1) | np.diff(time // (24 // BLOCK_HOURS), prepend=0))
    every = np.add.reduceat(blocks, begins, axis=0) if len(begins) else blocks
    days, owner = every[:, judged], owner[begins]
    difference, error = closed_form(days)
    interval = detectable = needed = bounds = None
    histogram: list[tuple[float, int]] = []
    if difference is not None and error is not None:
        half, power = (float(stdtrit(len(days) - 1, share)) * error for share in (1 - significance / 2, _POWER))
        interval, detectable = (difference - half, difference + half), half + power
        needed = math.ceil(len(days) * (detectable / small_difference) ** 2)
        bounds, histogram = _picture(bootstrap(days, seed=seed, replicates=replicates), significance)
    by_label = [(LABELS[i], every[every[:, i].any(axis=1)][:, [i]], int(every[:, i, 0].sum())) for i in judged]
    by_user = [(user, days[owner == i], int(every[owner == i, :, 0].sum())) for i, user in enumerate(sums.users)]
    evidence = SignificanceResult(
        windows=int(blocks[..., 0].sum()),
        users=len(sums.users),
        user_days=len(days),
        blocks=len(blocks),
        difference=difference,
        standard_error=error,
        confidence=1 - significance,
        interval=interval,
        p_value=swap_test(blocks[:, judged], seed=seed, replicates=replicates),
        bootstrap_interval=bounds,
        bootstrap_histogram=histogram,
        detectable_difference=detectable,
        user_days_needed=needed,
        words="",
        by_label=_adjust([_group(*group, min_user_days, margin) for group in by_label]),
        by_user=_adjust([_group(*group, min_user_days, margin) for group in by_user]),
    )
    return evidence.model_copy(update={"words": _words(evidence, min_user_days, small_difference)})


def closed_form(days: _Int) -> tuple[float | None, float | None]:
    """The difference in macro-F1 and its standard error from the influence of each user-day, without resampling.

    For a model and a label with F = 2T/D (T: rightly named, D: true plus named), day b has influence (2 t_b - F d_b) / D; g_b is its mean
    over labels, challenger minus champion. SE = sqrt(G/(G-1) * sum g_b^2), the linearised ratio over clusters (Cochran, Sampling
    Techniques, 1977, chapters 6 and 9A).
    Days are counts (G, labels, 5): true, challenger right and named, champion right and named. A label without true windows is left out.
    The difference is None without a label, the standard error also below two days.
    """
    total = days.sum(axis=0)
    present = total[:, 0] > 0
    if not present.any():
        return None, None
    days, total = days[:, present], total[present]
    f1 = _f1(total)
    difference = float(f1[:, 0].mean() - f1[:, 1].mean())
    if len(days) < 2:
        return difference, None
    influence = (2 * days[..., 1::2] - f1 * (days[..., :1] + days[..., 2::2])) / (total[..., :1] + total[..., 2::2])
    g = [math.fsum(row) / len(total) for row in (influence[..., 0] - influence[..., 1]).tolist()]
    return difference, math.sqrt(len(g) / (len(g) - 1) * math.fsum(x * x for x in g))


def swap_test(blocks: _Int, *, seed: int, replicates: int = REPLICATES) -> float | None:
    """Two-sided p-value of "which model is which does not matter": models swapped at random within blocks.

    (1 + swaps with |D*| >= |D|) / (1 + replicates), as in Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989.
    Blocks are counts (B, labels, 5), as for `closed_form`. None without a label that has true windows.
    """
    total = blocks.sum(axis=0)
    observed = abs(float(_differences(total)))
    if math.isnan(observed):
        return None
    change = (blocks[..., _SWAPPED] - blocks).reshape(len(blocks), -1)
    change = change[change.any(axis=1)].astype(np.float64)  # swapping equals changes nothing
    generator, extreme = np.random.Generator(np.random.PCG64(seed)), 0
    for size in _chunks(replicates, len(change)):
        bits = np.frombuffer(generator.bytes(size * 4 * -(-len(change) // 32)), dtype=np.uint8).reshape(size, -1)
        swapped = np.unpackbits(bits, axis=1, count=len(change)).astype(np.float64)
        drawn = _differences(total + (swapped @ change).reshape(size, *total.shape))
        extreme += int(np.count_nonzero(np.abs(drawn) >= observed - _NOISE))
    return (1 + extreme) / (1 + replicates)


def bootstrap(days: _Int, *, seed: int, replicates: int = REPLICATES) -> _Float:
    """Differences in macro-F1 of user-days drawn with replacement (Efron, Annals of Statistics 7, 1979).

    A label without true windows in a resample is not there: the mean is over the others. A resample without any label is left out.
    Days are counts (G, labels, 5), as for `closed_form`; the result has shape (replicates,), less what was left out.
    """
    generator, n = np.random.Generator(np.random.PCG64([seed, 1])), len(days)  # not the stream of the swaps
    flat = days.reshape(n, -1).astype(np.float64)
    draws = [np.empty(0)]
    for size in _chunks(replicates, n):
        chosen = generator.integers(0, n, size=(size, n)) + np.arange(0, size * n, n)[:, None]
        times = np.bincount(chosen.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        draws.append(_differences((times @ flat).reshape(size, *days.shape[1:])))  # whole numbers: exact in any order
    drawn = np.concatenate(draws)
    return drawn[np.isfinite(drawn)]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of any false finding stays below the level (Holm, Scand. J. Statistics 6, 1979)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        adjusted[i] = highest = max(highest, min(1.0, (len(p_values) - done) * p_values[i]))
    return adjusted


def _f1(counts: npt.NDArray[np.number]) -> _Float:
    """F1 of both models (..., labels, 2) from counts (..., labels, 5); 0 where a label is neither true nor named."""
    return 2 * counts[..., 1::2] / np.maximum(counts[..., :1] + counts[..., 2::2], 1)


def _differences(totals: npt.NDArray[np.number]) -> _Float:
    """Difference in macro-F1 of each table of counts (..., labels, 5), over its labels with true windows; NaN where it has none."""
    present = totals[..., 0] > 0
    f1, n = (_f1(totals) * present[..., None]).sum(axis=-2), present.sum(axis=-1)
    return np.where(n > 0, f1[..., 0] - f1[..., 1], np.nan) / np.maximum(n, 1)


def _chunks(replicates: int, width: int) -> list[int]:
    size = max(1, _CHUNK // max(1, width))
    return [min(size, replicates - done) for done in range(0, replicates, size)]


def _picture(draws: _Float, significance: float) -> tuple[tuple[float, float] | None, list[tuple[float, int]]]:
    if not len(draws):
        return None, []
    lower, upper = np.quantile(draws, [significance / 2, 1 - significance / 2]).tolist()
    if np.ptp(draws) < _NOISE:
        return (lower, upper), [(lower, len(draws))]
    counts, edges = np.histogram(draws, bins=_BINS)
    return (lower, upper), list(zip(((edges[:-1] + edges[1:]) / 2).tolist(), counts.tolist(), strict=True))


def _group(name: str, days: _Int, windows: int, min_user_days: int, margin: float) -> GroupSignificance:
    """One group from its counts (user-days, labels, 5), not yet adjusted for the others."""
    delta, error = closed_form(days)
    p = None
    if delta is not None and error is not None and len(days) >= min_user_days:
        without_spread = 0.0 if delta < -margin - _NOISE else 1.0
        p = without_spread if error < _NOISE else float(stdtr(len(days) - 1, (delta + margin) / error))
    judged = p is not None
    return GroupSignificance(
        name=name, windows=windows, user_days=len(days), difference=delta, standard_error=error, p_value=p, adjusted_p=None, judged=judged
    )


def _adjust(groups: list[GroupSignificance]) -> list[GroupSignificance]:
    adjusted = iter(holm([group.p_value for group in groups if group.p_value is not None]))
    return [group.model_copy(update={"adjusted_p": next(adjusted)}) if group.judged else group for group in groups]


def _words(found: SignificanceResult, min_user_days: int, small: float) -> str:
    gap, days, users, needed, least = found.difference, found.user_days, found.users, found.user_days_needed, found.detectable_difference
    if gap is None:
        return "No label has enough windows to be judged, so nothing can be said about a difference."
    words = f"The challenger is {abs(gap):.4f} {'better' if gap > 0 else 'worse'}" if abs(gap) > _NOISE else "Both models score the same"
    basis = f"{days} user-day{'s' * (days != 1)} of {users} user{'s' * (users != 1)}"
    if found.interval is None or least is None:
        return f"{words} ({basis}). How sure that is cannot be said from fewer than 2 user-days."
    words += f" ({found.confidence * 100:g} % interval {found.interval[0]:.3f} to {found.interval[1]:.3f}, {basis})."
    if days < min_user_days:
        words += f" The interval is rough: it is over fewer than {min_user_days} user-days."
    if least < _NOISE:  # every user-day says the same
        return words
    power = f"can detect a difference of {least:.2g} or more" if least <= 1 else "is too small to detect any difference"
    return f"{words} This test {power}; {_need(needed, days, small)}."


def _need(needed: int | None, days: int, small: float) -> str:
    if needed is not None and needed <= days:
        return f"that is enough to see {small:g}"
    return f"to see {small:g}, about {needed} labelled user-days are needed"
