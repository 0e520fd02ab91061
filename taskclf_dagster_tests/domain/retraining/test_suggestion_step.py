"""Tests what to label next from stored predictions of both models and the label store; no failure of it fails the decision."""

from collections.abc import Callable
from datetime import timedelta

import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, LABELS, SchemaVersion
from taskclf_dagster.domain.decision.suggestion_store import LabelSuggestions, load_suggestions
from taskclf_dagster.domain.evaluation.prediction_diff import RecentPredictions, save_recent_predictions
from taskclf_dagster.domain.retraining.suggestion_step import NO_PREDICTIONS, leave_out_labeled, suggest_what_to_label
from taskclf_dagster.domain.storage.stored_files import StoredFile
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import a_decision
from taskclf_dagster_tests.retrain_scenario import Decide, a_snapshot
from taskclf_dagster_tests.scenario import AS_OF, DAY, MINUTE, labels_table, span, write_labels

MORNING = AS_OF - DAY + timedelta(hours=9)
ENOUGH = {"test": dict.fromkeys(LABELS, 1000)}


def predictions(home: Home, name: str, label: str, *, version: SchemaVersion = "v1", user: str = "alice", n: int = 20) -> StoredFile:
    """The same prediction for some minutes from MORNING on."""
    code = LABELS.index(label)
    rows = pd.DataFrame({"user_id": user, "bucket_start_ts": pd.date_range(MORNING, periods=n, freq="min"), "session_id": "s"})
    rows = rows.astype({"user_id": "category", "session_id": "category"}).assign(predicted=code, best=code, confidence=0.9)
    return save_recent_predictions(home.root, home.predictions / f"{name}.recent.parquet", RecentPredictions(version, rows))


def suggest(home: Home, ours: StoredFile | None, theirs: StoredFile | None) -> LabelSuggestions:
    reports = Decide(home, state="ok")
    reports._prepare()
    challenger = reports._challenger_report().model_copy(update={"recent_predictions": ours})
    champion = reports._champion_report().model_copy(update={"recent_predictions": theirs})
    snapshot = a_snapshot(home, class_distribution=ENOUGH)
    decision = a_decision(home)
    found = suggest_what_to_label(home, snapshot, challenger, champion, decision)
    assert (found.decision_id, found.as_of) == (decision.decision_id, decision.as_of)
    return found


def times(found: LabelSuggestions) -> list[tuple[str, str, int]]:
    return [(each.kind, f"{each.start:%H:%M}", each.minutes) for each in found.suggestions]


def test_both_models_are_asked_and_time_with_a_label_of_a_person_is_left_out(home: Home) -> None:
    labels = [
        span(MORNING, MORNING + 5 * MINUTE, "Build"),
        span(MORNING + 13 * MINUTE, MORNING + 14 * MINUTE, "Build", user=None),
        span(MORNING, AS_OF, "Write", provenance="weak:app"),
    ]
    write_labels(home, labels)
    found = suggest(home, predictions(home, "ours", "Build"), predictions(home, "theirs", "Write"))
    assert times(found) == [("unsure", "09:05", 8), ("unsure", "09:14", 6)]
    assert "mostly Build or Write" in found.suggestions[0].reason
    assert load_suggestions(home, found.decision_id) == found


def test_windows_of_a_champion_with_an_implicit_user_are_those_of_the_only_user(home: Home) -> None:
    write_labels(home, [span(MORNING + 15 * MINUTE, MORNING + 20 * MINUTE, "Build")])
    theirs = predictions(home, "theirs", "Write", version="v2", user=DEFAULT_USER)
    assert times(suggest(home, predictions(home, "ours", "Build"), theirs)) == [("unsure", "09:00", 15)]


def test_a_challenger_that_could_not_be_evaluated_leaves_the_champion_alone(home: Home) -> None:
    assert times(suggest(home, None, predictions(home, "theirs", "Write"))) == [("uncovered_day", "09:00", 20)]


def _tear_labels(home: Home) -> None:
    home.labels.parent.mkdir(parents=True)
    home.labels.write_bytes(b"torn")


def _write_labels_without_a_column(home: Home) -> None:
    write_labels(home, labels_table([span(MORNING, AS_OF, "Build")]).drop_columns("label"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_tear_labels, "labels.parquet cannot be read"),
        (_write_labels_without_a_column, "its column label"),
        (lambda home: (home.predictions / "ours.recent.parquet").unlink(), "ours.recent.parquet"),
        (lambda home: (home.artifacts / "suggestions").touch(), "suggestions"),
    ],
    ids=["labels", "columns of the labels", "predictions", "folder"],
)
def test_a_file_that_cannot_be_read_or_written_is_a_problem_and_no_failure(
    home: Home, damage: Callable[[Home], object], words: str
) -> None:
    ours = predictions(home, "ours", "Build")
    damage(home)
    found = suggest(home, ours, None)
    assert found.suggestions == ()
    assert words in str(found.problem)


def test_without_predictions_there_is_nothing_to_search(home: Home) -> None:
    found = suggest(home, None, None)
    assert (found.suggestions, found.problem) == ((), NO_PREDICTIONS)
    assert load_suggestions(home, found.decision_id) == found
    assert leave_out_labeled(home, found) == ([], 0)
