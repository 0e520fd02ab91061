"""A home whose active model is watched: a promoted model, and quiet days after it, of which a test changes inputs."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from taskclf_dagster.domain.monitoring.drift_check import run_drift_check
from taskclf_dagster.domain.monitoring.drift_report import DriftReport
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import Learned
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, day_file, retrain_config

FIRST_DRIFTED = 10
"""The day after AS_OF from which on a test changes inputs."""

DAYS = 16
"""Days after AS_OF that have windows; the model was trained at AS_OF."""

THREE_INPUTS = ("keys_per_min", "mouse_distance", "clicks_per_min")


def at_day(number: int) -> datetime:
    """Five in the morning of a day after AS_OF, when that many days have ended."""
    return AS_OF + number * DAY + timedelta(hours=5)


def watched_home(learned: Learned, folder: Path) -> Home:
    """A copy of the learned home with quiet days after its promotion."""
    shutil.copytree(learned[0].root, folder / "watched")
    home = Home(folder / "watched")
    add_learnable_days(home, first=AS_OF + 4 * DAY, days=DAYS - 4)
    return home


def change_days(home: Home, change: Callable[[dict[str, object]], object], *, first: int = FIRST_DRIFTED, last: int = DAYS) -> None:
    """Changes every window of some days in place; `change` takes a row."""
    for number in range(first, last):
        path = day_file(home, (AS_OF + number * DAY).date())
        table = pq.read_table(path)
        rows = table.to_pylist()
        for row in rows:
            change(row)
        pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)


def shift_inputs(row: dict[str, object]) -> None:
    """Moves three inputs of user-0 far away."""
    if row["user_id"] == "user-0":
        row.update({name: float(str(row[name])) + 5000.0 for name in THREE_INPUTS})


def forget_labels(home: Home, *, first: int = FIRST_DRIFTED) -> None:
    """Removes the label spans of the days from `first` on."""
    table = pq.read_table(home.labels)
    kept = [row for row in table.to_pylist() if row["start_ts"] < AS_OF + first * DAY]
    pq.write_table(type(table).from_pylist(kept, schema=table.schema), home.labels)


def check(home: Home, day: int, **overrides: object) -> DriftReport:
    return run_drift_check(home, config=retrain_config(**overrides), as_of=at_day(day), num_threads=1, run_id="run-1")


def evaluation(home: Home, day: int) -> dict[str, object]:
    """The report of a day in taskclf's format."""
    return json.loads((home.drift_evaluations / f"{at_day(day):%Y-%m-%d}.json").read_text(encoding="utf-8"))
