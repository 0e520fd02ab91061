"""The two baselines that a challenger must beat: taskclf's rules (contract, section 10) and a lookup table of apps (design, section 5).

They predict labels and are compared with a model here; the gates on the result are in `decision.candidate_gates`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.evaluation.confusion import REJECTED, count_predictions
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.storage.records import Record

BASELINE_COLUMNS = ("app_id", "app_category", "label")
"""The columns that the lookup baseline learns from."""


LOCKSCREEN = "lockscreen"


MIN_ACTIVE_SECONDS = 5.0


MAX_IDLE_RUN_SECONDS = 50.0


READING_MIN_SCROLLS, READING_MAX_KEYS = 3.0, 10.0


BUILDING_MIN_KEYS, BUILDING_MIN_SHORTCUTS = 30.0, 1.0


_Int = npt.NDArray[np.int64]


class BaselineScore(Record):
    """A model compared with a baseline on the windows where the baseline predicts a label [macro-F1, 0 to 1, higher is better].

    Attributes:
        windows: number of these windows.
        model: macro-F1 of the model on them, over the judged labels that occur there; None if none does.
        baseline: macro-F1 of the baseline on them.
    """

    windows: int
    model: float | None
    baseline: float | None


@dataclass(frozen=True)
class LookupBaseline:
    """A table of the most common training label of each app, of each app category for unknown apps, else of all training windows."""

    by_app: dict[str, int]
    by_category: dict[str, int]
    overall: int

    def predict(self, rows: pd.DataFrame) -> _Int:
        """Returns the class index of each row, from app_id and app_category, shape (n,)."""
        by_app = self._lookup(rows["app_id"], self.by_app)
        by_category = self._lookup(rows["app_category"], self.by_category)
        return np.where(by_app >= 0, by_app, np.where(by_category >= 0, by_category, self.overall))

    @staticmethod
    def _lookup(values: pd.Series, table: dict[str, int]) -> _Int:
        codes = np.array([*(table.get(str(value), -1) for value in values.cat.categories), -1], dtype=np.int64)
        return codes[values.cat.codes.to_numpy()]


def fit_lookup(train_rows: pd.DataFrame) -> LookupBaseline:
    """Fits the table on app_id, app_category and label of the training rows; of equally common labels it takes the first by name."""
    labels = label_codes(train_rows).astype(np.int64)
    return LookupBaseline(
        by_app=_most_common(train_rows["app_id"], labels),
        by_category=_most_common(train_rows["app_category"], labels),
        overall=int(np.bincount(labels, minlength=len(LABELS)).argmax()),
    )


def predict_baseline(rows: pd.DataFrame) -> _Int:
    """Applies taskclf's rules in their order; returns the class index of each row, REJECTED if no rule applies, shape (n,).

    Args:
        rows: app_category (category), is_browser, is_editor, is_terminal, active_seconds_any, max_idle_run_seconds,
            scroll_events_per_min, keys_per_min, shortcut_rate; a missing number satisfies no comparison.
    """
    names = np.array([*(str(value) == LOCKSCREEN for value in rows["app_category"].cat.categories), False])
    locked = names[rows["app_category"].cat.codes.to_numpy()]
    active = rows["active_seconds_any"].to_numpy()
    keys = rows["keys_per_min"].to_numpy()
    idle = locked | np.isnan(active) | (active < MIN_ACTIVE_SECONDS) | (rows["max_idle_run_seconds"].to_numpy() > MAX_IDLE_RUN_SECONDS)
    reads = rows["is_browser"].to_numpy() & (rows["scroll_events_per_min"].to_numpy() > READING_MIN_SCROLLS) & (keys < READING_MAX_KEYS)
    at_code = rows["is_editor"].to_numpy() | rows["is_terminal"].to_numpy()
    builds = at_code & (keys > BUILDING_MIN_KEYS) & (rows["shortcut_rate"].to_numpy() > BUILDING_MIN_SHORTCUTS)
    codes = [LABELS.index(label) for label in ("BreakIdle", "ReadResearch", "Build")]
    return np.select([idle, reads, builds], codes, default=REJECTED)


def compare_with_baseline(predictions: Predictions, baseline: _Int, judged_labels: list[str]) -> BaselineScore:
    """Scores model and baseline on the windows where the baseline predicts a label.

    Args:
        predictions: of the model on the test windows.
        baseline: class index of each of the same windows, REJECTED for no prediction, shape (n,).
        judged_labels: labels that count.
    """
    committed = baseline != REJECTED
    judged = np.isin(LABELS, judged_labels)
    true = predictions.true[committed]
    return BaselineScore(
        windows=int(committed.sum()),
        model=count_predictions(true, predictions.predicted[committed]).macro_f1(judged),
        baseline=count_predictions(true, baseline[committed]).macro_f1(judged),
    )


def compare_with_baselines(
    learned: pd.DataFrame, rows: pd.DataFrame, predictions: Predictions, judged_labels: list[str]
) -> tuple[BaselineScore, BaselineScore]:
    """Returns the comparison with the rule baseline, and that with the lookup baseline.

    Args:
        learned: app_id, app_category and label of the windows that the model learned from.
        rows: the test windows, in the order of the predictions.
        predictions: of the model on the test windows.
        judged_labels: labels that count.
    """
    rule = compare_with_baseline(predictions, predict_baseline(rows), judged_labels)
    return rule, compare_with_baseline(predictions, fit_lookup(learned).predict(rows), judged_labels)


def _most_common(values: pd.Series, labels: _Int) -> dict[str, int]:
    categories, codes = values.cat.categories, values.cat.codes.to_numpy().astype(np.int64)
    known = codes >= 0
    counts = np.bincount(codes[known] * len(LABELS) + labels[known], minlength=len(categories) * len(LABELS))
    table = counts.reshape(len(categories), len(LABELS))
    return {str(categories[i]): int(table[i].argmax()) for i in np.flatnonzero(table.sum(axis=1))}
