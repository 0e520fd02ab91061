"""Finds what to label next with each decision, from predictions of the last days and the label store; and what was labeled since."""

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.label_projection import project_blocks_to_windows
from taskclf_dagster.domain.data.label_store import read_usable_spans
from taskclf_dagster.domain.data.recent_windows import RECENT_DAYS
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.suggestion_store import LabelSuggestions, save_suggestions
from taskclf_dagster.domain.evaluation.day_effects import DayEffects
from taskclf_dagster.domain.evaluation.label_suggestions import NOT_PREDICTED, RecentMinutes, Suggestion, suggest_labels
from taskclf_dagster.domain.evaluation.prediction_diff import load_recent_predictions, match_predictions
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.domain.storage.stored_files import StoredFile
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

NO_PREDICTIONS = "no model has predictions for the last days"


class OpenSuggestions(NamedTuple):
    """The suggestions of a decision, by what became of them.

    Attributes:
        open: those that are still without a label.
        labeled: number of those that a label of a person touches since.
    """

    open: list[Suggestion]
    labeled: int


def suggest_what_to_label(
    home: Home,
    snapshot: DatasetSnapshot,
    challenger: ChallengerReport,
    champion: ChampionReport,
    decision: PromotionDecision,
    effects: DayEffects | None = None,
) -> LabelSuggestions:
    """Finds and stores what to label next after a decision. A failure is recorded and does not fail the decision, which stands.

    Args:
        home: the taskclf home.
        snapshot: the dataset.
        challenger: the report on it.
        champion: the report on it.
        decision: the decision.
        effects: days whose labels may be wrong, stored with it.
    """
    found = LabelSuggestions(decision_id=decision.decision_id, as_of=decision.as_of, days=RECENT_DAYS, day_effects=effects)
    ours, theirs = challenger.recent_predictions, champion.recent_predictions
    first = ours or theirs
    try:
        if first is None:
            found = found.model_copy(update={"problem": NO_PREDICTIONS})
        else:
            minutes = _read_minutes(home, first, theirs if ours is not None else None, as_of=decision.as_of)
            suggestions = suggest_labels(
                minutes,
                test_windows=snapshot.class_distribution["test"],
                min_class_windows=decision.settings.evaluation.min_class_windows,
            )
            found = found.model_copy(update={"suggestions": tuple(suggestions), "unlabeled": int((~minutes.labeled).sum())})
        save_suggestions(home, found)
    except (OSError, TaskclfDagsterError) as error:
        return found.model_copy(update={"suggestions": (), "problem": str(error)})
    return found


def leave_out_labeled(home: Home, found: LabelSuggestions) -> OpenSuggestions:
    """Reads the label store, and leaves out the suggestions that a label of a person touches by now.

    Raises:
        UnreadableFileError: the label store cannot be read.
    """
    if not found.suggestions:
        return OpenSuggestions([], 0)
    order = sorted(found.suggestions, key=lambda each: (each.user_id, each.start))
    minutes = [(each.user_id, each.start + i * timedelta(minutes=1), n) for n, each in enumerate(order) for i in range(each.minutes)]
    rows = pd.DataFrame(minutes, columns=["user_id", "bucket_start_ts", "number"]).astype({"user_id": "category"})
    touched = rows["number"][_find_labeled(home, rows, as_of=found.as_of, days=found.days)]
    labeled = [order[number] for number in touched.unique()]
    return OpenSuggestions([each for each in found.suggestions if each not in labeled], len(labeled))


def _read_minutes(home: Home, stored: StoredFile, other: StoredFile | None, *, as_of: datetime) -> RecentMinutes:
    """Reads the predictions of one model, with those of the champion for the same windows, and finds which windows are labeled."""
    recent = load_recent_predictions(home.root, stored)
    rows, champion = recent.rows, np.full(len(recent.rows), NOT_PREDICTED)
    if other is not None:
        rows, theirs, here, there = match_predictions(recent, load_recent_predictions(home.root, other))
        champion[here] = theirs["predicted"].to_numpy()[there]
    return RecentMinutes.from_rows(rows, champion=champion, labeled=_find_labeled(home, rows, as_of=as_of, days=RECENT_DAYS))


def _find_labeled(home: Home, rows: pd.DataFrame, *, as_of: datetime, days: int) -> npt.NDArray[np.bool_]:
    """Returns True for windows that a label of a person touches, shape (n,); the rows are sorted by user and time.

    Raises:
        UnreadableFileError: the label store cannot be read.
    """
    spans = read_usable_spans(home, start=as_of - timedelta(days=days), end=as_of)
    return project_blocks_to_windows(rows, spans).gold_touches
