"""The difference between challenger and champion in each slice, with its interval, and the test that a slice is clearly worse.

The figure of a slice is the accuracy, the share of windows that a model has right; a rejected window is wrong. It is defined for a slice
with one label as well as for one with eight, the differences of the slices of a dimension average to that of all windows, and it needs no
smallest number of windows of each label, which would leave most slices unjudged. A decline in a rare label is found by label.
"""

from collections.abc import Sequence

from taskclf_dagster.config.settings import ComparisonSettings
from taskclf_dagster.domain.evaluation.block_counts import PairedCounts
from taskclf_dagster.domain.evaluation.resampling import ROUNDING_NOISE
from taskclf_dagster.domain.evaluation.significance import GroupSignificance, adjust_groups, assess_group
from taskclf_dagster.domain.evaluation.slices import SliceSums


class SliceSignificance(GroupSignificance):
    """The difference in one slice, and the test that it is clearly worse; `difference` is in accuracy [-1 to 1, higher is better].

    Attributes:
        challenger_accuracy: share of windows that are right [0 to 1, higher is better].
        champion_accuracy: likewise.
        interval: of the difference, over user-days, at 1 - significance; None below two.
    """

    challenger_accuracy: float
    champion_accuracy: float
    interval: tuple[float, float] | None


def assess_slices(sums: SliceSums, settings: ComparisonSettings) -> list[SliceSignificance]:
    """Computes the difference in each slice, the largest losses first, with the p-values of all judged slices adjusted together (Holm).

    An accuracy is the F1 of a single label that is true and predicted in every window, so that interval and test are those of
    `significance.closed_form`: the linearised ratio over clusters, with Student's t over user-days.

    Args:
        sums: from `sum_slices`.
        settings: a slice with fewer than `min_slice_windows` windows or `min_user_days` user-days is not judged; it is clearly worse below
            `significance`, for a decline of more than `clearly_worse_margin`.
    """
    slices = []
    for each, counts in sums.by_slice():
        windows, ours, theirs = counts.sum(axis=0).tolist()
        days = PairedCounts(counts[:, None, [0, 1, 0, 2, 0]])
        group = assess_group(each.name, days, windows, settings.min_user_days, settings.clearly_worse_margin)
        if windows < settings.min_slice_windows:
            group = group.model_copy(update={"p_value": None, "judged": False})
        slices.append(
            SliceSignificance(
                **dict(group),
                challenger_accuracy=ours / windows,
                champion_accuracy=theirs / windows,
                interval=_interval(group, settings.significance),
            )
        )
    return sorted(adjust_groups(slices), key=lambda each: (each.difference or 0.0, each.name))


def find_clearly_worse(slices: Sequence[SliceSignificance], significance: float) -> list[SliceSignificance]:
    """Returns the slices of which a decline is shown, in their order."""
    return [each for each in slices if each.adjusted_p is not None and each.adjusted_p < significance - ROUNDING_NOISE]


def _interval(group: GroupSignificance, significance: float) -> tuple[float, float] | None:
    if group.difference is None or group.standard_error is None:
        return None
    from scipy.special import stdtrit  # costs half a second; only what compares models pays for it

    half = float(stdtrit(group.user_days - 1, 1 - significance / 2)) * group.standard_error
    return group.difference - half, group.difference + half
