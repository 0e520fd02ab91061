"""The two pieces of advice about days whose labels may be wrong, on a home with one such day of each kind and on the same home without."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.defs.checks.data import DAYS, dataset_snapshot_file
from taskclf_dagster.defs.display.metadata import unusual_days_check
from taskclf_dagster.defs.display.promotion_metadata import DISAGREEMENT
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.retraining.decision_step import find_disagreeing_days, load_predictions_once
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import LEARNED, judge_challenger, take_snapshot, train_challenger
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home, write_labels

SAME, SHIFTED = AS_OF - 8 * DAY, AS_OF - DAY


def _relabel(home: Home) -> None:
    """Labels all of one day of user-1 the same, and gives every span of the last day of user-0 the next label."""
    spans = pq.read_table(home.labels).to_pylist()
    for span in spans:
        if span["user_id"] == "user-1" and _is_on(span["start_ts"], SAME):
            span["label"] = "Meet"
        if span["user_id"] == "user-0" and _is_on(span["start_ts"], SHIFTED):
            span["label"] = LABELS[(LABELS.index(span["label"]) + 1) % len(LABELS)]
    write_labels(home, spans)


def _is_on(moment: datetime, day: datetime) -> bool:
    return timedelta() <= moment - day < DAY


def _check(home: Home) -> tuple[dg.AssetCheckResult, dg.AssetCheckResult]:
    resource = HomeResource(root=str(home.root))
    snapshot, _ = take_snapshot(home, LEARNED)
    ours, theirs = judge_challenger(home, snapshot, train_challenger(home, snapshot, LEARNED))
    one_label = next(result for result in dataset_snapshot_file(snapshot, resource) if result.check_name == DAYS.name)
    days = find_disagreeing_days(ours, theirs, load_predictions_once(home))
    return one_label, unusual_days_check(DISAGREEMENT, days)


def _facts(result: dg.AssetCheckResult) -> tuple[bool, object]:
    return result.passed, result.metadata["days"].value


@pytest.mark.parametrize("poisoned", [False, True], ids=["clean", "poisoned"])
def test_a_day_of_one_label_and_a_shifted_day_are_warnings_that_name_user_and_day(tmp_path: Path, *, poisoned: bool) -> None:
    home = learnable_home(tmp_path, users=5)
    if poisoned:
        _relabel(home)
    results = _check(home)
    assert [_facts(result) for result in results] == [(not poisoned, int(poisoned))] * 2
    assert {result.severity for result in results} == {dg.AssetCheckSeverity.WARN}
    for result, user, day in zip(results, ("user-1", "user-0"), (SAME, SHIFTED), strict=True):
        assert (f"{user} on {day:%Y-%m-%d}" in (result.description or "")) is poisoned
