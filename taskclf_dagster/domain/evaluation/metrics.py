"""The evaluation report of a model: every metric of contract section 9, from one pass over its predictions.

Metrics are compared with thresholds in `decision`, two models in `comparison`.
"""

from dataclasses import dataclass

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
from taskclf_dagster.domain.evaluation.confusion import N_LABELS, ConfusionCounts, apply_reject, count_predictions_by_user
from taskclf_dagster.domain.evaluation.predictions import Predictions, rows_digest
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.domain.storage.stored_files import StoredFile

TOP_CONFUSIONS = 10


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


_Bool = npt.NDArray[np.bool_]


class ClassScore(Record):
    """One label on the test split; a metric is None if it is undefined (never 0 for lack of data).

    Attributes:
        precision, recall, f1: 0 to 1, higher is better.
        support: number of true windows.
        predicted: number of windows predicted so; rejected ones do not count.
        judged: True with at least `min_class_windows` true windows.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int
    judged: bool


class UserScore(Record):
    """One user on the test split. macro_f1 is over the judged labels that this user has; None if there are none."""

    windows: int
    macro_f1: float | None
    reject_rate: float
    unseen: bool


class Confusion(Record):
    """Number of windows of one label that were predicted as another."""

    true_label: str
    pred_label: str
    count: int


class EvaluationReport(Record):
    """All metrics of one model on one set of windows. F1, precision and recall: 0 to 1, higher is better.

    Attributes:
        model_id: the bundle that was scored.
        rows_digest: names the windows: SHA-256 of their sorted key hashes.
        predictions: the file of the predictions; None if they are not stored.
        macro_f1: mean F1 of the judged labels; None if no label is judged.
        weighted_f1: mean F1 of the judged labels, weighted by their true windows.
        macro_precision: mean precision of the judged labels; None if one of them was never predicted.
        macro_recall: mean recall of the judged labels.
        one_vs_rest_auc: mean area under the ROC curve of each judged label's probability against all other labels [0.5 is chance,
            1 is best]; None if no judged label has both windows of its own and of others.
        all_labels_macro_f1, all_labels_weighted_f1: as taskclf computes them: all eight labels, undefined as 0.
        accuracy: share of windows predicted right; rejected ones are wrong.
        confusion_matrix: rows true, columns predicted, in the order of label_names.
        rejected_by_label: windows of each true label that were rejected, `Mixed/Unknown`.
        reject_rate: share of windows below the threshold.
        expected_calibration_error: mean gap of confidence and accuracy over ten bins [0 to 1, lower is better].
        multiclass_brier_score: mean squared distance of probabilities from the truth [0 to 2, lower is better].
        multiclass_log_loss: mean negative log probability of the true label [nats, lower is better].
        flap_rate: label changes between neighboring windows of a session, per window [0 to 1, lower is better].
        flap_rate_smoothed: the same after taskclf's smoothing: the majority of each window and its two neighbors.
        seen_user_f1, unseen_user_f1: macro-F1 over users in training and held-out users; None without held-out users.
    """

    model_id: str
    schema_version: str
    reject_threshold: float
    windows: int
    rows_digest: str
    predictions: StoredFile | None
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


@dataclass(frozen=True)
class _Scored:
    """Windows of a test set, scored: predictions of shape (n,), counts by user, and the labels and users that are distinguished.

    Attributes:
        counts: table of shape (users, 8, 9).
        judged: mask of the judged labels, shape (8,).
        unseen: mask of the held-out users, shape (users,).
        follows: mask of the windows whose predecessor is of the same user and session, shape (n,).
    """

    true: _Int
    probabilities: _Float
    predicted: _Int
    users: list[str]
    counts: ConfusionCounts
    judged: _Bool
    unseen: _Bool
    follows: _Bool


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
    """Scores probabilities against the true labels.

    Args:
        rows: user_id and session_id (category) and bucket_start_ts of each window, sorted by user and time.
        true: class index of each window, shape (n,).
        probabilities: shape (n, 8), columns in the order of LABELS.
        model_id: recorded in the report.
        schema_version: recorded: the schema version of the model.
        reject_threshold: a window whose largest probability is below it is rejected and counts as wrong.
        min_class_windows: a label with fewer true windows is not judged.
        unseen_users: users that were held out of training.
    """
    predicted = apply_reject(probabilities, reject_threshold)
    user = rows["user_id"].cat.codes.to_numpy().astype(np.int64)
    users = [str(name) for name in rows["user_id"].cat.categories]
    counts = count_predictions_by_user(user, len(users), true, predicted)
    scored = _Scored(
        true=true,
        probabilities=probabilities,
        predicted=predicted,
        users=users,
        counts=counts,
        judged=counts.table.sum(axis=(0, 2)) >= min_class_windows,
        unseen=np.isin(users, unseen_users),
        follows=follows_in_session(rows),
    )
    key = hash_row_keys(rows)
    report = _report(scored, model_id=model_id, schema_version=schema_version, reject_threshold=reject_threshold, digest=rows_digest(key))
    return report, Predictions(key, true, predicted)


def _report(scored: _Scored, *, model_id: str, schema_version: str, reject_threshold: float, digest: str) -> EvaluationReport:
    total, judged, n = ConfusionCounts(scored.counts.table.sum(axis=0)), scored.judged, len(scored.true)
    f1, support, scores = total.f1(), total.support, _class_scores(total, judged)
    best = scored.probabilities.argmax(axis=1)
    return EvaluationReport(
        model_id=model_id,
        schema_version=schema_version,
        reject_threshold=reject_threshold,
        windows=n,
        rows_digest=digest,
        predictions=None,
        judged_labels=[LABELS[i] for i in np.flatnonzero(judged)],
        label_names=list(LABELS),
        macro_f1=total.macro_f1(judged),
        weighted_f1=float((f1 * support)[judged].sum() / support[judged].sum()) if judged.any() else None,
        macro_precision=_mean_or_none([scores[LABELS[i]].precision for i in np.flatnonzero(judged)]),
        macro_recall=_mean_or_none([scores[LABELS[i]].recall for i in np.flatnonzero(judged)]),
        one_vs_rest_auc=one_vs_rest_auc(scored.probabilities, scored.true, judged),
        all_labels_macro_f1=float(np.nan_to_num(f1).mean()),
        all_labels_weighted_f1=float((np.nan_to_num(f1) * support).sum() / max(1, n)),
        accuracy=float(total.correct.sum() / max(1, n)),
        per_class=scores,
        per_user=_user_scores(scored),
        seen_user_f1=_macro_f1_of_users(scored, ~scored.unseen),
        unseen_user_f1=_macro_f1_of_users(scored, scored.unseen),
        confusion_matrix=total.accepted.tolist(),
        rejected_by_label=dict(zip(LABELS, total.rejected.tolist(), strict=True)),
        reject_rate=float(total.rejected.sum() / max(1, n)),
        calibration=calibration_curves(scored.probabilities, scored.true),
        expected_calibration_error=expected_calibration_error(scored.probabilities[np.arange(n), best], best == scored.true),
        multiclass_brier_score=brier_score(scored.probabilities, scored.true),
        multiclass_log_loss=log_loss(scored.probabilities, scored.true),
        flap_rate=flap_rate(scored.predicted, scored.follows),
        flap_rate_smoothed=flap_rate(smooth(scored.predicted, scored.follows), scored.follows),
        top_confusion_pairs=_top_confusions(total),
    )


def flap_rate(predicted: _Int, follows: _Bool) -> float:
    """Returns label changes per window, counted from one window to the next of the same session [0 to 1, lower is better].

    Args:
        predicted: class index or REJECTED of each window in order, shape (n,).
        follows: mask of the windows whose predecessor is of the same session, shape (n,).
    """
    changes = (predicted[1:] != predicted[:-1]) & follows[1:]
    return float(changes.sum() / max(1, len(predicted)))


def smooth(predicted: _Int, follows: _Bool) -> _Int:
    """Returns the majority of each window and its two neighbors in the session, shape (n,); its own label without a majority.

    Args:
        predicted: class index or REJECTED of each window in order, shape (n,).
        follows: mask of the windows whose predecessor is of the same session, shape (n,).
    """
    smoothed = predicted.copy()
    inner = follows[1:-1] & follows[2:] & (predicted[:-2] == predicted[2:])
    smoothed[1:-1][inner] = predicted[:-2][inner]
    return smoothed


def _class_scores(counts: ConfusionCounts, judged: _Bool) -> dict[str, ClassScore]:
    f1 = counts.f1()
    scores = {}
    for i, label in enumerate(LABELS):
        support, predicted, correct = int(counts.support[i]), int(counts.predicted[i]), int(counts.correct[i])
        scores[label] = ClassScore(
            precision=correct / predicted if predicted else None,
            recall=correct / support if support else None,
            f1=None if np.isnan(f1[i]) else float(f1[i]),
            support=support,
            predicted=predicted,
            judged=bool(judged[i]),
        )
    return scores


def _mean_or_none(values: list[float | None]) -> float | None:
    """Returns the mean of values that are all defined; None if one is undefined or there are none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined and len(defined) == len(values) else None


def _user_scores(scored: _Scored) -> dict[str, UserScore]:
    windows = scored.counts.table.sum(axis=(1, 2))
    scores = {}
    for i in np.flatnonzero(windows):
        own = ConfusionCounts(scored.counts.table[i])
        scores[scored.users[i]] = UserScore(
            windows=int(windows[i]),
            macro_f1=own.macro_f1(scored.judged),
            reject_rate=float(own.rejected.sum() / windows[i]),
            unseen=bool(scored.unseen[i]),
        )
    return scores


def _macro_f1_of_users(scored: _Scored, chosen: _Bool) -> float | None:
    """Returns macro-F1 over the windows of some users; None without held-out users."""
    if not scored.unseen.any():
        return None
    return ConfusionCounts(scored.counts.table[chosen].sum(axis=0)).macro_f1(scored.judged)


def follows_in_session(rows: pd.DataFrame) -> _Bool:
    """Returns True for each row whose predecessor is of the same user and session, shape (n,)."""
    follows = np.zeros(len(rows), dtype=bool)
    user, session = rows["user_id"].cat.codes.to_numpy(), rows["session_id"].cat.codes.to_numpy()
    follows[1:] = (user[1:] == user[:-1]) & (session[1:] == session[:-1])
    return follows


def _top_confusions(counts: ConfusionCounts) -> list[Confusion]:
    off = counts.accepted.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:TOP_CONFUSIONS]
    pairs = [divmod(int(position), N_LABELS) for position in order]
    return [Confusion(true_label=LABELS[i], pred_label=LABELS[j], count=int(off[i, j])) for i, j in pairs if off[i, j]]
