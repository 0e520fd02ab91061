"""Reading scores: a day that is as it should be is read whole, one that is not is named and left out."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.monitoring.score_files import SCORE_COLUMNS, read_scores, scores_path
from taskclf_dagster_tests.scenario import AS_OF, DAY, flip_bytes, make_home
from taskclf_dagster_tests.score_scenario import scores_frame, write_score_file, write_scores

NINE = AS_OF + timedelta(hours=9)
TODAY, TOMORROW = AS_OF.date(), (AS_OF + DAY).date()


def _day(start: datetime = NINE) -> pd.DataFrame:
    return scores_frame(["Build", "Write", "Meet"], start=start, user="bob", confidence=[0.9, 0.5, 0.7])


def test_days_are_read_into_one_frame_by_user_and_time(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_scores(home, _day(NINE + DAY), _day(), scores_frame(["Debug"], start=NINE, user="ann"))
    reading = read_scores(home, [TOMORROW, TODAY, (AS_OF + 5 * DAY).date()])
    assert (reading.days, reading.damaged) == ([TODAY, TOMORROW], {})
    assert list(reading.frame.columns) == list(SCORE_COLUMNS)
    assert list(reading.frame["user_id"]) == ["ann", *["bob"] * 6]
    assert list(reading.frame["label"]) == ["Debug", "Build", "Mixed/Unknown", "Meet", "Build", "Mixed/Unknown", "Meet"]
    assert str(reading.frame["bucket_start_ts"].dtype) == "datetime64[us, UTC]"
    assert list(reading.frame["Write"][1:4].round(6)) == [0.014286, 0.5, 0.042857]


def test_a_home_without_scores_gives_no_rows(tmp_path: Path) -> None:
    reading = read_scores(make_home(tmp_path), [TODAY])
    assert (len(reading.frame), reading.days, reading.damaged) == (0, [], {})


DAMAGE: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a sum of two": (lambda rows: rows.assign(Build=rows["Build"] + 1), "sum of 1"),
    "less than nothing": (lambda rows: rows.assign(Build=rows["Build"] - 1, Write=rows["Write"] + 1), "sum of 1"),
    "an unknown label": (lambda rows: rows.assign(top_label="Sleep"), "'Sleep'"),
    "a rejected top label": (lambda rows: rows.assign(top_label="Mixed/Unknown"), "'Mixed/Unknown'"),
    "a window twice": (lambda rows: pd.concat([rows, rows.head(1)]), "1 of its windows come twice"),
    "a window of the next day": (lambda rows: rows.assign(bucket_start_ts=rows["bucket_start_ts"] + DAY), "3 of its windows are not of"),
    "a window without a model": (lambda rows: rows.assign(model_id=[None, "m", "m"]), "its column model_id has 1 nulls"),
    "a probability that is missing": (lambda rows: rows.assign(Build=[None, 0.1, 0.1]), "its column Build has 1 nulls"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_day_is_named_with_its_reason_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    home, (change, reason) = make_home(tmp_path), DAMAGE[name]
    write_scores(home, _day(NINE + DAY))
    (path,) = write_scores(home, _day())
    write_score_file(path, change(_day()))
    reading = read_scores(home, [TODAY, TOMORROW])
    assert (reading.days, [*reading.damaged]) == ([TOMORROW], [TODAY])
    assert reason in reading.damaged[TODAY]
    assert str(path) in reading.damaged[TODAY]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    path = scores_path(home, TODAY)
    path.parent.mkdir(parents=True)
    _day().drop(columns="Write").to_parquet(path)
    assert "Write is missing; scores need it as float" in read_scores(home, [TODAY]).damaged[TODAY]


def test_one_changed_byte_is_never_more_than_a_damaged_day(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (path,) = write_scores(home, _day())
    for _ in flip_bytes(path, times=60):
        reading = read_scores(home, [TODAY])
        assert len(reading.days) + len(reading.damaged) == 1
        assert set(reading.frame["top_label"]) <= set(LABELS)
