"""Scores a model on the test split: every figure of contract section 9, from one pass over its predictions.

It describes; whether a figure is good enough is decided in `gates`, which of two models is better in `comparison`.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.evaluation.calibration_metrics import (
    CalibrationCurve,
    brier_score,
    calibration_curves,
    expected_calibration_error,
    log_loss,
    one_vs_rest_auc,
)
from taskclf_dagster.domain.evaluation.predictions import Predictions, rows_digest
from taskclf_dagster.domain.storage.records import Record

K = len(LABELS)


REJECTED = K
"""Code of a rejected prediction: one past the last label."""


TOP_CONFUSIONS = 10


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


class ClassScore(Record):
    """One label on the test split; a figure is None where it is undefined (never 0 for lack of data).

    Attributes:
        support: true windows.
        predicted: windows named so, rejected ones not counted.
        judged: whether there are at least `min_class_windows` true windows.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int
    judged: bool


class UserScore(Record):
    """One user on the test split. macro_f1 is over the judged labels this user has; None where there are none."""

    windows: int
    macro_f1: float | None
    reject_rate: float
    unseen: bool


class Confusion(Record):
    """How often one label was taken for another."""

    true_label: str
    pred_label: str
    count: int


class EvaluationReport(Record):
    """All figures of one model on one set of windows. F1, precision and recall: 0 to 1, higher is better.

    Attributes:
        model_id: the bundle that was scored.
        rows_digest: names the windows: SHA-256 of their sorted key hashes.
        macro_f1: mean F1 of the judged labels; None where no label is judged.
        weighted_f1: mean F1 of the judged labels, weighted by their true windows.
        macro_precision: mean precision of the judged labels; None where one of them was never predicted.
        macro_recall: mean recall of the judged labels.
        one_vs_rest_auc: mean area under the ROC curve of each judged label's probability against all other labels [0.5 is chance,
            1 is best]; None where no judged label has both windows of its own and of others.
        all_labels_macro_f1: as the original counts: all eight labels, undefined as 0.
        confusion_matrix: rows true, columns predicted, in the order of label_names.
        rejected_by_label: windows of each true label that were rejected, `Mixed/Unknown`.
        reject_rate: share of windows below the threshold.
        expected_calibration_error: mean gap of confidence and accuracy over ten bins [0 to 1, lower is better].
        multiclass_brier_score: mean squared distance of probabilities from the truth [0 to 2, lower is better].
        multiclass_log_loss: mean negative log probability of the true label [nats, lower is better].
        flap_rate: label changes between neighbouring windows of a session, per window [0 to 1, lower is better].
        flap_rate_smoothed: the same after taskclf's smoothing: the majority of each window and its two neighbours.
        seen_user_f1, unseen_user_f1: macro-F1 over users in training and held-out users; None without held-out users.
    """

    model_id: str
    schema_version: str
    reject_threshold: float
    windows: int
    rows_digest: str
    predictions_path: str | None
    judged_labels: list[str]
    label_names: list[str]
    macro_f1: float | None
    weighted_f1: float | None
    macro_precision: float | None
    macro_recall: float | None
    one_vs_rest_auc: float | None
    all_labels_macro_f1: float
    all_labels_weighted_f1: float
    accuracy: float
    per_class: dict[str, ClassScore]
    per_user: dict[str, UserScore]
    seen_user_f1: float | None
    unseen_user_f1: float | None
    confusion_matrix: list[list[int]]
    rejected_by_label: dict[str, int]
    reject_rate: float
    calibration: dict[str, CalibrationCurve]
    expected_calibration_error: float
    multiclass_brier_score: float
    multiclass_log_loss: float
    flap_rate: float
    flap_rate_smoothed: float
    top_confusion_pairs: list[Confusion]


def evaluate(
    rows: pd.DataFrame,
    true: _Int,
    probabilities: _Float,
    *,
    model_id: str,
    schema_version: str,
    reject_threshold: float,
    min_class_windows: int,
    unseen_users: list[str],
) -> tuple[EvaluationReport, Predictions]:
    """Scores probabilities against the truth.

    Args:
        rows: user_id and session_id (category) and bucket_start_ts of each window, sorted by user and time.
        true: class index of each window, shape (n,).
        probabilities: shape (n, 8), columns in the order of LABELS.
        model_id: named in the report.
        schema_version: the schema version of the model.
        reject_threshold: a window whose largest probability is below it counts as rejected, so as wrong.
        min_class_windows: a label with fewer true windows is not judged.
        unseen_users: users that were held out of training.
    """
    n = len(true)
    best = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(n), best]
    predicted = apply_reject(probabilities, reject_threshold)
    user = rows["user_id"].cat.codes.to_numpy().astype(np.int64)
    names = [str(name) for name in rows["user_id"].cat.categories]
    counts = np.bincount((user * K + true) * (K + 1) + predicted, minlength=len(names) * K * (K + 1)).reshape(len(names), K, K + 1)
    table = counts.sum(axis=0)
    judged = table.sum(axis=1) >= min_class_windows
    f1, support = _f1(table), table.sum(axis=1)
    unseen = np.isin(names, unseen_users)
    scores = _class_scores(table, judged)
    same_session = _follows_in_session(rows)
    key = hash_row_keys(rows)
    report = EvaluationReport(
        model_id=model_id,
        schema_version=schema_version,
        reject_threshold=reject_threshold,
        windows=n,
        rows_digest=rows_digest(key),
        predictions_path=None,
        judged_labels=[label for label, yes in zip(LABELS, judged, strict=True) if yes],
        label_names=list(LABELS),
        macro_f1=macro_f1(table, judged),
        weighted_f1=float((f1 * support)[judged].sum() / support[judged].sum()) if judged.any() else None,
        macro_precision=_mean_or_none([scores[LABELS[i]].precision for i in np.flatnonzero(judged)]),
        macro_recall=_mean_or_none([scores[LABELS[i]].recall for i in np.flatnonzero(judged)]),
        one_vs_rest_auc=one_vs_rest_auc(probabilities, true, judged),
        all_labels_macro_f1=float(np.nan_to_num(f1).mean()),
        all_labels_weighted_f1=float((np.nan_to_num(f1) * support).sum() / max(1, n)),
        accuracy=float(table[:, :K].trace() / max(1, n)),
        per_class=scores,
        per_user=_user_scores(counts, names, judged, unseen),
        seen_user_f1=macro_f1(counts[~unseen].sum(axis=0), judged) if unseen.any() else None,
        unseen_user_f1=macro_f1(counts[unseen].sum(axis=0), judged) if unseen.any() else None,
        confusion_matrix=table[:, :K].tolist(),
        rejected_by_label=dict(zip(LABELS, table[:, REJECTED].tolist(), strict=True)),
        reject_rate=float(table[:, REJECTED].sum() / max(1, n)),
        calibration=calibration_curves(probabilities, true),
        expected_calibration_error=expected_calibration_error(confidence, best == true),
        multiclass_brier_score=brier_score(probabilities, true),
        multiclass_log_loss=log_loss(probabilities, true),
        flap_rate=flap_rate(predicted, same_session),
        flap_rate_smoothed=flap_rate(smooth(predicted, same_session), same_session),
        top_confusion_pairs=_top_confusions(table),
    )
    return report, Predictions(key, true, predicted)


def apply_reject(probabilities: _Float, reject_threshold: float) -> _Int:
    """What a model says, shape (n,): the class index of the largest of (n, 8) probabilities, REJECTED where that is below the threshold."""
    return np.where(probabilities.max(axis=1) < reject_threshold, REJECTED, probabilities.argmax(axis=1))


def macro_f1(table: _Int, judged: npt.NDArray[np.bool_]) -> float | None:
    """Mean F1 of the judged labels that have true windows in the table; None where there are none.

    Args:
        table: counts of shape (8, 9): rows true, columns predicted, the last column rejected.
        judged: which labels count, shape (8,).
    """
    counted = judged & (table.sum(axis=1) > 0)
    return float(_f1(table)[counted].mean()) if counted.any() else None


def tabulate(true: _Int, predicted: _Int) -> _Int:
    """Counts of shape (8, 9): rows true, columns predicted, the last column rejected."""
    return np.bincount(true * (K + 1) + predicted, minlength=K * (K + 1)).reshape(K, K + 1)


def flap_rate(predicted: _Int, follows: npt.NDArray[np.bool_]) -> float:
    """Label changes per window; only changes from one window to the next of the same session count."""
    changes = (predicted[1:] != predicted[:-1]) & follows[1:]
    return float(changes.sum() / max(1, len(predicted)))


def smooth(predicted: _Int, follows: npt.NDArray[np.bool_]) -> _Int:
    """The majority of each window and its two neighbours in the session; without a majority the window keeps its own label."""
    smoothed = predicted.copy()
    inner = follows[1:-1] & follows[2:] & (predicted[:-2] == predicted[2:])
    smoothed[1:-1][inner] = predicted[:-2][inner]
    return smoothed


def _f1(table: _Int) -> _Float:
    """F1 of each label; NaN where it has neither true nor predicted windows."""
    support, named, right = table.sum(axis=1), table[:, :K].sum(axis=0), table[:, :K].diagonal()
    return np.divide(2 * right, support + named, out=np.full(K, np.nan), where=support + named > 0)


def _class_scores(table: _Int, judged: npt.NDArray[np.bool_]) -> dict[str, ClassScore]:
    f1 = _f1(table)
    scores = {}
    for i, label in enumerate(LABELS):
        support, named, right = int(table[i].sum()), int(table[:, i].sum()), int(table[i, i])
        scores[label] = ClassScore(
            precision=right / named if named else None,
            recall=right / support if support else None,
            f1=None if np.isnan(f1[i]) else float(f1[i]),
            support=support,
            predicted=named,
            judged=bool(judged[i]),
        )
    return scores


def _mean_or_none(values: list[float | None]) -> float | None:
    """The mean of figures that are all defined; None where one is undefined or there are none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined and len(defined) == len(values) else None


def _user_scores(counts: _Int, names: list[str], judged: npt.NDArray[np.bool_], unseen: npt.NDArray[np.bool_]) -> dict[str, UserScore]:
    windows = counts.sum(axis=(1, 2))
    return {
        names[i]: UserScore(
            windows=int(windows[i]),
            macro_f1=macro_f1(counts[i], judged),
            reject_rate=float(counts[i, :, REJECTED].sum() / windows[i]),
            unseen=bool(unseen[i]),
        )
        for i in np.flatnonzero(windows)
    }


def _follows_in_session(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether the row before is of the same user and session."""
    follows = np.zeros(len(rows), dtype=bool)
    for column in ("user_id", "session_id"):
        codes = rows[column].cat.codes.to_numpy()
        same = codes[1:] == codes[:-1]
        follows[1:] = same if column == "user_id" else follows[1:] & same
    return follows


def _top_confusions(table: _Int) -> list[Confusion]:
    off = table[:, :K].copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:TOP_CONFUSIONS]
    pairs = [divmod(int(position), K) for position in order]
    return [Confusion(true_label=LABELS[i], pred_label=LABELS[j], count=int(off[i, j])) for i, j in pairs if off[i, j]]
