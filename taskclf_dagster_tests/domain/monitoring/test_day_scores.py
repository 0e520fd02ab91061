"""Scores of a day: those of the model that was active, kept once the day is over, readable by others, and whole or not there."""

import json
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.monitoring.day_scores import find_scoring_model, list_scored_days, read_day_scores
from taskclf_dagster.domain.monitoring.score_files import SCORE_COLUMNS, read_scores, scores_path
from taskclf_dagster.domain.monitoring.scored_days import (
    ScoredDays,
    choose_days,
    find_waiting_days,
    remove_old_scores,
    score_days,
    write_score_events,
)
from taskclf_dagster.domain.monitoring.taskclf_files import write_taskclf_files
from taskclf_dagster.errors import BundleError, NoActiveModelError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress
from taskclf_dagster_tests.models import MID, OLD, home_with_champion, point_at, write_policy
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home

DAYS = [(AS_OF - n * DAY).date() for n in (3, 2, 1)]
"""The days of the home, the last of which ends at AS_OF."""

WINDOWS = 320
"""Of a day: two users, 160 each."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_with_champion(learnable_home(tmp_path, users=2, days=3))


def score(home: Home, days: list[date] = DAYS, *, as_of: datetime = AS_OF, replace: bool = False) -> ScoredDays:
    return score_days(home, days, find_scoring_model(home), as_of=as_of, cores=1, replace=replace)


def test_a_threshold_that_the_policy_has_for_a_user_is_applied_to_that_user(home: Home) -> None:
    score(home)
    user = str(read_day_scores(scores_path(home, DAYS[0]))["user_id"].iloc[0])
    write_policy(home, MID, reject_threshold=0.0, per_user_reject_thresholds={user: 1.0})
    score(home, replace=True)
    table = read_day_scores(scores_path(home, DAYS[0]))
    mine = table["user_id"].astype(str) == user
    assert set(table.loc[mine, "reject_threshold"]) == {1.0}
    assert set(table.loc[~mine, "reject_threshold"]) == {0.0}
    assert table.loc[mine, "rejected"].all()
    assert not table.loc[~mine, "rejected"].any()


def test_every_window_of_every_day_is_scored_by_the_model_that_is_active(home: Home) -> None:
    scorer, record = find_scoring_model(home), score(home)
    assert [(day.day, day.outcome, day.windows, day.missing, day.model_ids) for day in record.days] == [
        (day, "scored", WINDOWS, 0, (MID,)) for day in DAYS
    ]
    for day in DAYS:
        table = read_day_scores(scores_path(home, day))
        assert list(table.columns) == list(SCORE_COLUMNS)
        assert set(table["bucket_start_ts"].dt.date) == {day}
        assert table["bundle_hash"].unique().tolist() == [scorer.bundle_hash]
        assert (table["reject_threshold"] == 0.55).all()
        assert (table["rejected"] == (table["confidence"] < 0.55)).all()
        assert np.allclose(table[list(LABELS)].sum(axis=1), 1, atol=1e-12)
    assert ScoredDays.model_validate_json(record.model_dump_json()) == record
    read = read_scores(home, DAYS)  # as live performance does
    assert (read.days, read.damaged, len(read.frame)) == (DAYS, {}, 3 * WINDOWS)


def test_a_day_that_is_over_keeps_the_scores_of_its_time_unless_they_are_to_be_replaced(home: Home) -> None:
    score(home, DAYS[:1])
    before = scores_path(home, DAYS[0]).read_bytes()
    point_at(home, OLD)
    kept = score(home, DAYS[:2])
    assert [(day.outcome, day.model_ids) for day in kept.days] == [("kept", (MID,)), ("scored", (OLD,))]
    assert scores_path(home, DAYS[0]).read_bytes() == before
    assert score(home, DAYS[:1], replace=True).days[0].model_ids == (OLD,)


def test_a_day_that_is_not_over_is_scored_again_with_what_came_since(home: Home) -> None:
    noon = AS_OF - DAY / 2
    first = score(home, DAYS[2:], as_of=noon).days[0]
    assert 0 < first.windows < WINDOWS
    assert (first.outcome, first.is_over, first.as_of) == ("scored", False, noon)
    assert pd.read_parquet(scores_path(home, DAYS[2]))["bucket_start_ts"].max() < noon
    assert [score(home, DAYS[2:]).days[0].outcome for _ in range(2)] == ["scored", "kept"]


def test_a_promotion_in_the_middle_of_a_run_changes_nothing_within_it(home: Home) -> None:
    scorer = find_scoring_model(home)

    def promote(_: Progress) -> None:
        point_at(home, OLD)

    record = score_days(home, DAYS, scorer, as_of=AS_OF, cores=1, on_progress=promote)
    assert {model for day in record.days for model in day.model_ids} == {MID}
    assert find_scoring_model(home).model_id == OLD


def test_a_model_that_does_not_load_leaves_the_earlier_scores_and_says_so(home: Home) -> None:
    score(home, DAYS[:1])
    before = scores_path(home, DAYS[0]).read_bytes()
    for model in (MID, OLD):
        (home.models / model / "model.txt").write_text("torn", encoding="utf-8")
    with pytest.raises(BundleError, match="the scores of earlier runs stay"):
        score(home, DAYS, replace=True)
    assert scores_path(home, DAYS[0]).read_bytes() == before
    assert list(list_scored_days(home)) == DAYS[:1]


def test_without_an_active_model_there_is_nothing_to_score_with(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    with pytest.raises(NoActiveModelError, match="Promote one"):
        score(home)
    assert find_waiting_days(home, find_scoring_model(home), now=AS_OF, today=True) == []


def test_a_day_without_windows_has_no_file(home: Home) -> None:
    found = score(home, [DAYS[0] - timedelta(days=30)]).days[0]
    assert (found.outcome, found.stored, found.windows) == ("no_windows", None, 0)
    assert list_scored_days(home) == {}


def test_windows_that_a_file_lacks_and_a_second_model_are_found_when_it_is_read_back(home: Home) -> None:
    score(home, DAYS[:1])
    path = scores_path(home, DAYS[0])
    table = pq.read_table(path).to_pandas()
    table.loc[1, "bucket_start_ts"] += pd.Timedelta("1D")
    table["model_id"] = ["another", *["one"] * (len(table) - 1)]
    table.to_parquet(path)
    found = score(home, DAYS[:1]).days[0]
    assert (found.outcome, found.missing, found.model_ids) == ("kept", 1, ("another", "one"))


@pytest.mark.parametrize("content", [b"", b"PAR1 torn", pd.DataFrame({"user_id": ["a"]}).to_parquet()])
def test_scores_that_are_damaged_are_an_error_for_readers_and_are_made_again(home: Home, content: bytes) -> None:
    score(home, DAYS[:1])
    path = scores_path(home, DAYS[0])
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"scores\.parquet"):
        read_day_scores(path)
    assert score(home, DAYS[:1]).days[0].outcome == "scored"
    assert len(read_day_scores(path)) == WINDOWS


def test_pandas_polars_and_duckdb_read_the_same_scores(home: Home) -> None:
    score(home, DAYS[:1])
    path = scores_path(home, DAYS[0])
    table = pd.read_parquet(path)
    other = polars.read_parquet(path, hive_partitioning=False)
    assert other["smoothed_label"].cast(polars.String).to_list() == table["smoothed_label"].astype(str).tolist()
    assert other["Build"].to_list() == table["Build"].tolist()
    counted = duckdb.sql(f"select label, count(*) as n, avg(confidence) from '{path}' group by label").fetchall()  # noqa: S608  # our own path
    assert {label: n for label, n, _ in counted} == table["label"].astype(str).value_counts().to_dict()
    times = duckdb.sql(f"select epoch_us(min(bucket_start_ts)) from '{path}'").fetchall()  # noqa: S608  # our own path
    assert times == [(table["bucket_start_ts"].min().value // 1000,)]


def test_days_wait_until_they_are_scored_after_their_end_and_today_always(home: Home) -> None:
    scorer, now = find_scoring_model(home), AS_OF + timedelta(hours=9)
    add_learnable_days(home, days=1)
    today = AS_OF.date()
    assert find_waiting_days(home, scorer, now=now, today=True) == [*DAYS, today]
    score(home, DAYS[:1])
    score(home, DAYS[1:2], as_of=AS_OF - 1.5 * DAY)
    assert find_waiting_days(home, scorer, now=now, today=False) == DAYS[1:]
    assert find_waiting_days(home, scorer, now=now + 8 * DAY, today=True) == []
    assert choose_days(home, scorer, first=None, last=DAYS[2], now=now) == DAYS[1:]
    assert choose_days(home, scorer, first=DAYS[0], last=DAYS[1], now=now) == DAYS[:2]
    assert choose_days(home, scorer, first=DAYS[0] - timedelta(days=9), last=None, now=now) == [*DAYS, today]


def test_old_scores_are_removed_and_other_folders_stay(home: Home) -> None:
    score(home)
    (home.scores / "notes").mkdir()
    assert remove_old_scores(home, keep_days=2, now=AS_OF) == DAYS[:1]
    assert list(list_scored_days(home)) == DAYS[1:]
    assert (home.scores / "notes").is_dir()


def test_each_day_that_is_over_and_was_scored_is_one_event(home: Home) -> None:
    record = score(home, as_of=AS_OF - DAY / 2)
    for _ in range(2):
        write_score_events(home, record, run_id="run", at=AS_OF)
    events = read_outbox(home).events
    assert [(event.event_type, event.payload.model_id, event.payload.metrics["windows"]) for event in events] == [
        ("model.scored", MID, WINDOWS)
    ] * 2
    write_score_events(home, score(home, DAYS[:2]), run_id="run", at=AS_OF)  # kept
    assert len(read_outbox(home).events) == 2


def test_files_of_taskclf_have_its_columns_and_each_user_has_their_own(home: Home, tmp_path: Path) -> None:
    for day in score(home).days[:1]:
        written = write_taskclf_files(home, day)
    assert sorted({path.parent.name for path in written}) == ["user=user-0", "user=user-1"]
    alone = home_with_champion(learnable_home(tmp_path / "alone", users=1, days=1))
    predictions, segments = write_taskclf_files(alone, score(alone, DAYS[2:]).days[0])
    table = pd.read_csv(predictions)
    assert list(table.columns) == ["bucket_start_ts", "predicted_label", "confidence", "is_rejected", "core_probs"]
    scores = read_day_scores(scores_path(alone, DAYS[2]))
    assert table["predicted_label"].tolist() == scores["smoothed_label"].astype(str).tolist()
    assert table["bucket_start_ts"][0] == f"{scores['bucket_start_ts'][0]:%Y-%m-%d %H:%M:%S}"
    assert json.loads(table["core_probs"][0]) == pytest.approx(scores.loc[0, list(LABELS)].tolist(), abs=5e-5)
    blocks = json.loads(segments.read_text(encoding="utf-8"))
    assert sum(block["bucket_count"] for block in blocks) == len(scores)
    assert set(blocks[0]) == {"start_ts", "end_ts", "label", "bucket_count"}


def test_scores_of_the_originals_home_are_those_that_it_wrote_itself(tmp_path: Path, real_homes: Path) -> None:
    home = Home(shutil.copytree(real_homes / "original-home", tmp_path / "home"))
    first = date(2026, 1, 5)
    days = [first + timedelta(days=n) for n in range(7)]
    score(home, days)
    theirs = pd.read_csv(home.artifacts / "w1" / "predictions.csv", parse_dates=["bucket_start_ts"])
    ours = pd.concat([read_day_scores(scores_path(home, day)) for day in days])
    both = theirs.merge(
        ours.assign(bucket_start_ts=ours["bucket_start_ts"].dt.tz_localize(None)), on="bucket_start_ts", suffixes=("_theirs", "")
    )
    assert len(both) == len(theirs) == 7 * 480
    assert (both["predicted_label"] == both["smoothed_label"].astype(str)).all()
    assert (both["confidence_theirs"] - both["confidence"]).abs().max() <= 5.1e-5
    assert (both["is_rejected"] == both["rejected"]).all()
