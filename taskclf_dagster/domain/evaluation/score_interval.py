"""The confidence interval of one model's macro-F1 on labeled windows; that of a difference between two is in `significance`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.evaluation.block_counts import sum_blocks
from taskclf_dagster.domain.evaluation.scored_windows import ScoredWindows
from taskclf_dagster.domain.evaluation.significance import closed_form, student_bound
from taskclf_dagster.domain.storage.records import Record


class ScoreInterval(Record):
    """The uncertainty of a macro-F1 over whole user-days.

    Attributes:
        user_days: number of user-days (UTC).
        confidence: of the interval [0 to 1].
        interval: closed form, Student t, within 0 and 1; None below two user-days or without a judged label.
    """

    user_days: int
    confidence: float
    interval: tuple[float, float] | None


def measure_score_interval(
    rows: pd.DataFrame, scored: ScoredWindows, *, judged_labels: Sequence[str], significance: float
) -> ScoreInterval:
    """Computes the interval of a model's macro-F1 from the influence of each user-day.

    It is that of the difference to a model that is always right, whose F1 is 1 on every day and adds nothing to the error.

    Args:
        rows: user_id (category) and bucket_start_ts (UTC) of at least the scored windows.
        scored: the predictions.
        judged_labels: whose F1 counts.
        significance: two-sided error rate.
    """
    keys = hash_row_keys(rows)
    known = np.isin(keys, scored.key)
    own, said = rows[known], scored.in_order(keys[known]).predictions
    days = sum_blocks(own["user_id"], own["bucket_start_ts"], said.true, said.predicted, said.true).by_user_day().counts
    difference, error = closed_form(days.take_labels([LABELS.index(label) for label in judged_labels]))
    confidence = 1 - significance
    if difference is None or error is None:
        return ScoreInterval(user_days=len(days), confidence=confidence, interval=None)
    half = student_bound(error, len(days), 1 - significance / 2)
    low, high = max(0.0, 1 + difference - half), min(1.0, 1 + difference + half)
    return ScoreInterval(user_days=len(days), confidence=confidence, interval=(low, high))
