"""Confidence intervals and tests of the difference in macro-F1 between two models on the same windows.

One-minute windows are autocorrelated, so rows are never treated as independent: intervals are over whole user-days, the p-value swaps the
models in 2-hour blocks. Which difference is allowed is decided in `decision.comparative_gates`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION, BlockSums, PairedCounts
from taskclf_dagster.domain.evaluation.resampling import REPLICATES, ROUNDING_NOISE, swap_test
from taskclf_dagster.domain.storage.records import Record

POWER = 0.8


class GroupSignificance(Record):
    """The difference for one user or one label, and the test that it is clearly worse.

    Attributes:
        windows: of the user; true windows of the label.
        user_days: of the user; those where the label is true or predicted by either model.
        difference: challenger minus champion [-1 to 1, higher is better]: macro-F1 over the judged labels that the user has, F1 of the
            label. None where there is no true window.
        standard_error: of the difference, over user-days; None below two.
        p_value: one-sided, of "the difference is at least -margin" [0 to 1, low: clearly worse]; None where not judged.
        adjusted_p: p_value after Holm over the judged groups of this kind.
        judged: true where there are a difference and enough user-days.
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
    """Challenger minus champion in macro-F1 [-1 to 1, higher is better], with its uncertainty.

    Attributes:
        user_days, blocks: in UTC; a block is of one user.
        difference: over the judged labels that have true windows; None, as all that follows, where there are none.
        standard_error: closed form over user-days; None, as the interval and the detectable difference, below two.
        confidence: of the interval, 1 - significance.
        interval: closed form, Student t.
        p_value: two-sided, models swapped within blocks.
        detectable_difference: the true difference that 80 % of such tests would find.
        user_days_needed: labelled user-days with which that is `small_difference`.
        summary: the result in one or two sentences.
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
    detectable_difference: float | None
    user_days_needed: int | None
    summary: str
    by_label: list[GroupSignificance]
    by_user: list[GroupSignificance]


class _Precision(NamedTuple):
    """Interval and power that follow from a standard error."""

    interval: tuple[float, float] | None = None
    detectable_difference: float | None = None
    user_days_needed: int | None = None


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
    """Computes the difference between challenger and champion with interval, p-value and power; equal arguments give an equal record.

    Args:
        sums: from `sum_blocks`.
        judged_labels: whose F1 counts.
        significance: two-sided error rate of the interval and of the detectable difference.
        min_user_days: a group with fewer is not judged, and an interval over fewer is called rough.
        margin: how much worse a user or a label may be, 0 or more.
        small_difference: for `user_days_needed`, above 0.
        seed: of the swaps, 0 or more.
        replicates: number of swaps.
    """
    judged = [i for i, label in enumerate(LABELS) if label in judged_labels]
    blocks, user_days = sums.by_block(), sums.by_user_day()
    days = user_days.counts.take_labels(judged)
    difference, error = closed_form(days)
    precision = _assess_precision(difference, error, len(days), significance, small_difference)
    result = SignificanceResult(
        windows=int(blocks.support.sum()),
        users=len(sums.users),
        user_days=len(days),
        blocks=len(blocks),
        difference=difference,
        standard_error=error,
        confidence=1 - significance,
        p_value=swap_test(blocks.take_labels(judged), seed=seed, replicates=replicates),
        summary="",
        by_label=_assess_labels(user_days.counts, judged, min_user_days, margin),
        by_user=adjust_groups(
            [
                assess_group(user, days.take(mine), int(user_days.counts.support[mine].sum()), min_user_days, margin)
                for user, mine in ((user, user_days.user == i) for i, user in enumerate(sums.users))
            ]
        ),
        **precision._asdict(),
    )
    return result.model_copy(update={"summary": _summarize(result, min_user_days, small_difference)})


def closed_form(days: PairedCounts) -> tuple[float | None, float | None]:
    """Returns the difference in macro-F1 and its standard error from the influence of each user-day, without resampling.

    For a model and a label with F = 2T/D (T: correct, D: true plus predicted), day b has influence (2 t_b - F d_b) / D; g_b is its mean
    over labels, challenger minus champion. SE = sqrt(G/(G-1) * sum g_b^2), the linearised ratio over clusters (Cochran, Sampling
    Techniques, 1977, chapters 6 and 9A). A label without true windows is left out.

    Args:
        days: counts of shape (days, labels).

    Returns:
        Difference and standard error; the difference is None without a label, the standard error also below two days.
    """
    present = days.total.support > 0
    if not present.any():
        return None, None
    days = days.take_labels(present)
    total = days.total
    f1 = total.f1()
    difference = float(f1[:, CHALLENGER].mean() - f1[:, CHAMPION].mean())
    if len(days) < 2:
        return difference, None
    influence = (2 * days.correct - f1 * days.actual_and_predicted) / total.actual_and_predicted
    by_day = (influence[..., CHALLENGER] - influence[..., CHAMPION]).tolist()
    g = [math.fsum(row) / len(total) for row in by_day]
    return difference, math.sqrt(len(g) / (len(g) - 1) * math.fsum(x * x for x in g))


def student_bound(error: float, user_days: int, share: float) -> float:
    """Returns the distance that Student's t over these user-days, times the standard error, stays below with this probability.

    Args:
        error: the standard error.
        user_days: two or more.
        share: the probability [0.5 to 1); 1 - significance / 2 gives half the width of a two-sided interval.
    """
    from scipy.special import stdtrit  # costs half a second; only what compares models pays for it

    return float(stdtrit(user_days - 1, share)) * error


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values so that the chance of any false positive stays below the level (Holm, Scand. J. Statistics 6, 1979)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        adjusted[i] = highest = max(highest, min(1.0, (len(p_values) - done) * p_values[i]))
    return adjusted


def _assess_precision(
    difference: float | None, error: float | None, user_days: int, significance: float, small_difference: float
) -> _Precision:
    if difference is None or error is None:
        return _Precision()
    half, power = (student_bound(error, user_days, share) for share in (1 - significance / 2, POWER))
    needed = math.ceil(user_days * ((half + power) / small_difference) ** 2)
    return _Precision((difference - half, difference + half), half + power, needed)


def _assess_labels(days: PairedCounts, judged: Sequence[int], min_user_days: int, margin: float) -> list[GroupSignificance]:
    """Assesses each judged label over the user-days where it is true or predicted; days of shape (days, 8)."""
    groups = []
    for i in judged:
        occurs = np.asarray(days.take_labels([i]).table.any(axis=(1, 2)))
        one = days.take_labels([i]).take(occurs)
        groups.append(assess_group(LABELS[i], one, int(one.support.sum()), min_user_days, margin))
    return adjust_groups(groups)


def assess_group(name: str, days: PairedCounts, windows: int, min_user_days: int, margin: float) -> GroupSignificance:
    """Assesses one group from its counts of shape (user-days, labels), not yet adjusted for the others; see `GroupSignificance`."""
    difference, error = closed_form(days)
    p = None
    if difference is not None and error is not None and len(days) >= min_user_days:
        from scipy.special import stdtr

        without_spread = 0.0 if difference < -margin - ROUNDING_NOISE else 1.0
        p = without_spread if error < ROUNDING_NOISE else float(stdtr(len(days) - 1, (difference + margin) / error))
    return GroupSignificance(
        name=name,
        windows=windows,
        user_days=len(days),
        difference=difference,
        standard_error=error,
        p_value=p,
        adjusted_p=None,
        judged=p is not None,
    )


_Group = TypeVar("_Group", bound=GroupSignificance)


def adjust_groups(groups: list[_Group]) -> list[_Group]:
    """Returns the groups in their order with `adjusted_p`: p-values after Holm over those that are judged."""
    adjusted = iter(holm([group.p_value for group in groups if group.p_value is not None]))
    return [group.model_copy(update={"adjusted_p": next(adjusted)}) if group.judged else group for group in groups]


def _summarize(result: SignificanceResult, min_user_days: int, small: float) -> str:
    gap, days, users, least = result.difference, result.user_days, result.users, result.detectable_difference
    if gap is None:
        return "No label has enough windows to be judged, so nothing can be said about a difference."
    text = (
        f"The challenger is {abs(gap):.4f} {'better' if gap > 0 else 'worse'}"
        if abs(gap) > ROUNDING_NOISE
        else "Both models score the same"
    )
    basis = f"{days} user-day{'s' * (days != 1)} of {users} user{'s' * (users != 1)}"
    if result.interval is None or least is None:
        return f"{text} ({basis}). How sure that is cannot be said from fewer than 2 user-days."
    text += f" ({result.confidence * 100:g} % interval {result.interval[0]:.3f} to {result.interval[1]:.3f}, {basis})."
    if days < min_user_days:
        text += f" The interval is rough: it is over fewer than {min_user_days} user-days."
    if least < ROUNDING_NOISE:  # every user-day says the same
        return text
    power = f"can detect a difference of {least:.2g} or more" if least <= 1 else "is too small to detect any difference"
    needed = result.user_days_needed
    enough = needed is not None and needed <= days
    need = f"that is enough to see {small:g}" if enough else f"to see {small:g}, about {needed} labelled user-days are needed"
    return f"{text} This test {power}; {need}."
