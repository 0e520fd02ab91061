"""Telemetry: a line a day, appended for real, whoever else writes and whatever the users are called."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.monitoring.drift_predictions import PredictedSet
from taskclf_dagster.domain.monitoring.telemetry import append_telemetry, describe_days, describe_windows
from taskclf_dagster.domain.monitoring.window_sets import WindowSet
from taskclf_dagster_tests.scenario import DAY, at, make_home, windows_frame


def predicted(days: int, *, user: str = "alice", first: int = 0) -> PredictedSet:
    """Ten windows a day: seven certain Meet, three in which Meet and Write are equal and below the threshold."""
    frames = [windows_frame(user=user, start=at("09:00", day=first + number), n=10) for number in range(days)]
    rows = pd.concat(frames, ignore_index=True).astype({"user_id": "category"})
    rows.loc[0, "keys_per_min"] = np.nan
    probabilities = np.zeros((10, len(LABELS)))
    probabilities[:7, 4] = 1.0
    probabilities[7:, [4, 7]] = 0.5
    return PredictedSet.of(WindowSet(rows), np.tile(probabilities, (days, 1)), reject_threshold=0.6)


def test_a_snapshot_has_the_figures_worked_out_by_hand() -> None:
    found = describe_windows(predicted(1), SCHEMAS["v1"], as_of=at("12:00"))
    assert (found.total_windows, found.reject_rate) == (10, 0.3)
    assert found.class_distribution == {"Meet": 0.7, "Mixed/Unknown": 0.3}
    assert found.mean_entropy == pytest.approx(0.3 * np.log(2), abs=1e-6)
    assert (found.confidence_stats.mean, found.confidence_stats.median) == (0.85, 1.0)
    assert found.feature_missingness["keys_per_min"] == 0.1
    assert (found.window_start, found.window_end) == ("2026-01-05T09:00:00+00:00", "2026-01-05T09:10:00+00:00")


def test_a_day_gets_its_line_once_it_has_ended_and_only_once(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    for as_of in (at("12:00", day=2), at("12:00", day=2), at("00:00", day=3)):
        append_telemetry(home, describe_days(predicted(3), SCHEMAS["v1"], as_of=as_of))
    lines = [json.loads(line) for line in home.telemetry.read_text(encoding="utf-8").splitlines()]
    assert [line["window_start"][:10] for line in lines] == ["2026-01-05", "2026-01-06", "2026-01-07"]


def test_what_is_in_the_file_stays_byte_by_byte_and_a_torn_line_keeps_a_line_of_its_own(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    home.telemetry.parent.mkdir(parents=True)
    before = b'{"timestamp":"x","user_id":null,"window_start":"2026-01-05T00:00:00Z","window_end":"2026-01-12T00:00:00Z"}\n{"torn": tr'
    home.telemetry.write_bytes(before)
    number = home.telemetry.stat().st_ino
    append_telemetry(home, describe_days(predicted(1), SCHEMAS["v1"], as_of=at("00:00", day=1)))
    content = home.telemetry.read_bytes()
    assert content.startswith(before + b"\n")
    assert json.loads(content.splitlines()[-1])["total_windows"] == 10
    assert home.telemetry.stat().st_ino == number  # the same file, not a new one in its place


def test_lines_of_many_writers_are_all_there(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    work = [describe_days(predicted(1, first=day), SCHEMAS["v1"], as_of=at("00:00", day=day + 1)) for day in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda lines: append_telemetry(home, lines), work))
    days = [json.loads(line)["window_start"][:10] for line in home.telemetry.read_text(encoding="utf-8").splitlines()]
    assert sorted(days) == [f"{at('09:00') + day * DAY:%Y-%m-%d}" for day in range(40)]


def test_no_user_is_part_of_a_file_name(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    found = predicted(1, user="x/../../../escaped")
    append_telemetry(home, describe_days(found, SCHEMAS["v1"], as_of=at("00:00", day=1)))
    assert [path.name for path in home.artifacts.rglob("*") if path.is_file()] == ["telemetry_global.jsonl"]
    assert not list(tmp_path.rglob("*escaped*"))
