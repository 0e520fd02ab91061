"""Compares two models on identical windows.

Each model is scored alone in `evaluation`; whether a difference is allowed is decided in `gates`.
"""

import numpy as np

from taskclf_dagster.domain.evaluation import Predictions, macro_f1, tabulate
from taskclf_dagster.domain.features import LABELS
from taskclf_dagster.domain.files import Record


class Comparison(Record):
    """Challenger beside champion on the windows that both scored [macro-F1, 0 to 1, higher is better].

    Attributes:
        windows: windows in common.
        left_out: test windows that one of the two could not score; they are out for both.
        judged_labels: labels with enough true windows among those in common.
        macro_f1_delta: challenger minus champion; None where no label is judged.
    """

    windows: int
    left_out: int
    judged_labels: list[str]
    challenger_macro_f1: float | None
    champion_macro_f1: float | None
    macro_f1_delta: float | None
    f1_delta_by_label: dict[str, float]


def compare(challenger: Predictions, champion: Predictions, *, min_class_windows: int) -> Comparison:
    """Compares predictions of two models, matched by window.

    Args:
        challenger: predictions on the test windows.
        champion: predictions on all or some of the same windows, in any order.
        min_class_windows: a label with fewer true windows in common is not judged.
    """
    shared, left, right = np.intersect1d(challenger.key, champion.key, assume_unique=True, return_indices=True)
    true = challenger.true[left]
    ours, theirs = tabulate(true, challenger.predicted[left]), tabulate(true, champion.predicted[right])
    judged = ours.sum(axis=1) >= min_class_windows
    ours_f1, theirs_f1 = macro_f1(ours, judged), macro_f1(theirs, judged)
    by_label = {}
    for i in np.flatnonzero(judged):
        alone = np.arange(len(LABELS)) == i
        own, other = macro_f1(ours, alone), macro_f1(theirs, alone)
        if own is not None and other is not None:
            by_label[LABELS[i]] = own - other
    return Comparison(
        windows=len(shared),
        left_out=len(challenger.key) - len(shared),
        judged_labels=[LABELS[i] for i in np.flatnonzero(judged)],
        challenger_macro_f1=ours_f1,
        champion_macro_f1=theirs_f1,
        macro_f1_delta=None if ours_f1 is None or theirs_f1 is None else ours_f1 - theirs_f1,
        f1_delta_by_label=by_label,
    )
