"""Figures of the models that scored past days: by model, by day and by user, with an interval over user-days (design, section 6)."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.block_counts import sum_blocks
from taskclf_dagster.domain.evaluation.calibration_metrics import brier_score
from taskclf_dagster.domain.evaluation.confusion import REJECTED, count_predictions
from taskclf_dagster.domain.evaluation.significance import closed_form, student_bound
from taskclf_dagster.domain.monitoring.live_windows import is_labeled
from taskclf_dagster.domain.storage.records import Record

_Bool = npt.NDArray[np.bool_]


class LiveFigures(Record):
    """Figures of one model on some windows that it scored; None where they are undefined.

    Attributes:
        windows: number of scored windows.
        labeled: number of those with a gold label; all figures but the reject rate are on them.
        macro_f1: mean F1 of the labels that are judged for the model and have true windows here [0 to 1, higher is better]; a rejected
            window counts as wrong.
        f1: of each label that is true or predicted here, judged or not.
        support: number of true windows of each label that has any.
        reject_rate: share of all scored windows that were rejected.
        brier_score: mean squared distance of the probabilities, before calibration, from the true label [0 to 2, lower is better].
    """

    windows: int
    labeled: int
    macro_f1: float | None
    f1: dict[str, float]
    support: dict[str, int]
    reject_rate: float | None
    brier_score: float | None


class LiveDay(LiveFigures):
    """Figures of one UTC day: of one user, or of all users together (user_id None)."""

    day: date
    user_id: str | None


class ProvenanceFigures(Record):
    """The windows that labels of one provenance gave a label.

    Attributes:
        windows: number of them.
        agreed: the label is what was predicted.
        corrected: the label is another than what was predicted.
        rejected: the prediction was rejected, so that nothing was proposed.
        macro_f1: as in LiveFigures, on these windows alone.
    """

    windows: int
    agreed: int
    corrected: int
    rejected: int
    macro_f1: float | None


class LiveModel(Record):
    """Figures of one model over the days.

    Attributes:
        left_out: number of windows that it scored and may have learned from; they count nowhere else.
        judged_labels: those with at least min_class_windows true windows.
        user_days: number of user-days with a gold label.
        standard_error: of macro_f1, over user-days; None below two.
        interval: of macro_f1 by Student's t; None below two user-days.
        figures: over all days and users.
        by_user: over all days.
        by_day: of each day, all users together first.
        by_provenance: of the labels.
    """

    model_id: str
    left_out: int
    judged_labels: list[str]
    user_days: int
    standard_error: float | None
    interval: tuple[float, float] | None
    figures: LiveFigures
    by_user: dict[str, LiveFigures]
    by_day: list[LiveDay]
    by_provenance: dict[str, ProvenanceFigures]


def summarize_model(model_id: str, joined: pd.DataFrame, *, left_out: int, min_class_windows: int, significance: float) -> LiveModel:
    """Returns the figures of one model.

    Args:
        model_id: the model.
        joined: its windows, as `join_labels` returns them, without those that it may have learned from.
        left_out: number of those.
        min_class_windows: a label with fewer true windows over all days is not judged.
        significance: two-sided error rate of the interval.
    """
    known = joined[is_labeled(joined)]
    judged = np.bincount(known["true"], minlength=len(LABELS)) >= min_class_windows
    labels = [label for label, counts in zip(LABELS, judged, strict=True) if counts]
    macro_f1, error, days = score_with_error(known, labels)
    half = None if error is None or macro_f1 is None else student_bound(error, days, 1 - significance / 2)
    day = joined["bucket_start_ts"].dt.date
    by_day = [LiveDay(day=each, user_id=None, **_figures(rows, judged).model_dump()) for each, rows in joined.groupby(day)]
    by_user_day = [
        LiveDay(day=each, user_id=str(user), **_figures(rows, judged).model_dump())
        for (each, user), rows in joined.groupby([day, "user_id"], observed=True)
    ]
    return LiveModel(
        model_id=model_id,
        left_out=left_out,
        judged_labels=labels,
        user_days=days,
        standard_error=error,
        interval=None if half is None or macro_f1 is None else (macro_f1 - half, macro_f1 + half),
        figures=_figures(joined, judged),
        by_user={str(user): _figures(rows, judged) for user, rows in joined.groupby("user_id", observed=True)},
        by_day=sorted([*by_day, *by_user_day], key=lambda each: (each.day, each.user_id or "")),
        by_provenance={str(name): _count_provenance(rows, judged) for name, rows in known.groupby("provenance")},
    )


def score_with_error(known: pd.DataFrame, labels: Sequence[str]) -> tuple[float | None, float | None, int]:
    """Returns macro-F1 over some labels with its standard error over user-days, and the number of user-days.

    It is the difference to a model that is always right, whose F1 is 1 on every day and adds nothing to the error (`closed_form`).

    Args:
        known: labeled windows, as `join_labels` returns them.
        labels: those that count.

    Returns:
        None for macro-F1 without a true window of these labels, None for the error also below two user-days.
    """
    difference, error, days = compare_with_error(known, known["true"].to_numpy(), labels)
    return None if difference is None else 1 + difference, error, days


def compare_with_error(known: pd.DataFrame, other: npt.NDArray[np.int64], labels: Sequence[str]) -> tuple[float | None, float | None, int]:
    """Returns macro-F1 minus that of other predictions of the same windows, its standard error over user-days, and their number.

    Args:
        known: labeled windows, as `join_labels` returns them.
        other: class index of each of the other predictions, REJECTED for none, shape (rows,).
        labels: those that count.
    """
    if known.empty:
        return None, None, 0
    users = known["user_id"].cat.remove_unused_categories()
    sums = sum_blocks(users, known["bucket_start_ts"], known["true"].to_numpy(), known["predicted"].to_numpy(), other)
    days = sums.by_user_day().counts
    difference, error = closed_form(days.take_labels([LABELS.index(label) for label in labels]))
    return difference, error, len(days)


def _figures(rows: pd.DataFrame, judged: _Bool) -> LiveFigures:
    known = rows[is_labeled(rows)]
    true, predicted = known["true"].to_numpy(), known["predicted"].to_numpy()
    counts = count_predictions(true, predicted)
    f1, support = counts.f1(), counts.support
    return LiveFigures(
        windows=len(rows),
        labeled=len(known),
        macro_f1=counts.macro_f1(judged),
        f1={LABELS[i]: float(f1[i]) for i in np.flatnonzero(~np.isnan(f1))},
        support={LABELS[i]: int(support[i]) for i in np.flatnonzero(support)},
        reject_rate=float((rows["predicted"] == REJECTED).mean()) if len(rows) else None,
        brier_score=brier_score(known[list(LABELS)].to_numpy(), true) if len(known) else None,
    )


def _count_provenance(rows: pd.DataFrame, judged: _Bool) -> ProvenanceFigures:
    true, predicted = rows["true"].to_numpy(), rows["predicted"].to_numpy()
    agreed, rejected = int((true == predicted).sum()), int((predicted == REJECTED).sum())
    return ProvenanceFigures(
        windows=len(rows),
        agreed=agreed,
        corrected=len(rows) - agreed - rejected,
        rejected=rejected,
        macro_f1=count_predictions(true, predicted).macro_f1(judged),
    )
