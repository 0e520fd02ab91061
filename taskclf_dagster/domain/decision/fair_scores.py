"""The metrics of a decision's models that may be compared: on the same windows, which neither was trained on.

Every other metric of the two is on all test windows, of which the champion may have learned some; where it is shown, it is labeled so.
"""

import numpy as np

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION
from taskclf_dagster.domain.evaluation.comparison import Comparison, f1_by_label
from taskclf_dagster.domain.storage.records import Record


class FairScores(Record):
    """Metrics of one model [0 to 1, higher is better]; None if undefined.

    Attributes:
        windows: number of windows.
        macro_f1: mean F1 of the judged labels.
        macro_precision: mean precision of the judged labels; that of a label that is never predicted is 0. None without a comparison.
        macro_recall: mean recall of the judged labels; a rejected window is not found. None without a comparison.
        weighted_f1: the same, weighted by the number of true windows.
        accuracy: share of windows that are predicted correctly; a rejected window is not. None without a comparison.
        f1: of every judged label; empty without a comparison.
    """

    windows: int
    macro_f1: float | None
    weighted_f1: float | None
    accuracy: float | None
    macro_precision: float | None
    macro_recall: float | None
    f1: dict[str, float]


def score_fairly(decision: PromotionDecision) -> tuple[FairScores | None, FairScores]:
    """Returns the scores of champion and challenger on the windows of their comparison.

    Without a comparison there is no champion to be fair to: the challenger's are on all test windows, which it never saw.
    """
    if decision.comparison is not None:
        return _score(decision.comparison, CHAMPION), _score(decision.comparison, CHALLENGER)
    model = decision.challenger
    windows = decision.dataset.split.get("test", 0)
    unknown = {"accuracy": None, "macro_precision": None, "macro_recall": None}
    return None, FairScores(windows=windows, macro_f1=model.macro_f1, weighted_f1=model.weighted_f1, f1={}, **unknown)


def _score(comparison: Comparison, model: int) -> FairScores:
    support, f1 = f1_by_label(comparison.sums)
    judged = [LABELS.index(label) for label in comparison.judged_labels]
    counts = comparison.sums.by_block().total
    right, named = counts.correct[:, model], counts.predicted[:, model]
    return FairScores(
        windows=comparison.windows,
        macro_f1=(comparison.challenger_macro_f1, comparison.champion_macro_f1)[model],
        weighted_f1=float(np.average(f1[model, judged], weights=support[judged])) if judged else None,
        accuracy=int(right.sum()) / comparison.windows if comparison.windows else None,
        macro_precision=float((right / np.maximum(named, 1))[judged].mean()) if judged else None,
        macro_recall=float((right / np.maximum(support, 1))[judged].mean()) if judged else None,
        f1={LABELS[label]: float(f1[model, label]) for label in judged},
    )
