"""The progress of a retrain: what it does in plain words, its rounds, and how long it takes by the last retrains."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.assets.common import RETRAIN_ASSETS
from taskclf_dagster.defs.jobs.retrain import RetrainParams, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.defs.runs.progress_reports import reports_of
from taskclf_dagster.defs.runs.retrain_runs import find_unfinished_retrain
from taskclf_dagster.domain.scheduling.run_progress import RunProgress, read_run_progress, write_run_progress
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress
from taskclf_dagster.status.run_progress import (
    LEAST_SHARE,
    STEP_TITLES,
    StepTimes,
    StepTimesReader,
    estimate_seconds_left,
    read_progress,
)
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import AS_OF, learnable_home, make_home

MEDIANS = {"read": 4.0, "train": 20.0, "judge": 6.0}


@pytest.mark.parametrize(
    ("ended", "executing", "left"),
    [
        ({}, {}, 30.0),
        ({"read": 4.0}, {"train": 5.0}, 15.0 + 6.0),
        ({"read": 8.0}, {"train": 5.0}, 2 * 20.0 - 5.0 + 2 * 6.0),  # half as fast so far
        ({"read": 40.0}, {"train": 5.0}, 4 * 20.0 - 5.0 + 4 * 6.0),  # one slow step does not make hours of minutes
        ({"read": 4.0}, {"train": 60.0}, LEAST_SHARE * 20.0 + 6.0),  # longer than it ever took
        ({"read": 4.0, "train": 20.0}, {"judge": 1.0}, 5.0),
        ({"read": 4.0, "train": 20.0, "judge": 6.0}, {"new": 1.0}, None),
    ],
)
def test_the_time_left_is_that_of_the_steps_left_at_the_pace_so_far(
    ended: dict[str, float], executing: dict[str, float], left: float | None
) -> None:
    found = estimate_seconds_left([*MEDIANS, "new"], ended, executing, MEDIANS)
    assert found == (None if left is None else pytest.approx(left))


def test_without_earlier_times_nothing_is_estimated() -> None:
    assert estimate_seconds_left(["read"], {}, {"read": 1.0}, {}) is None


def test_every_asset_of_a_retrain_has_a_title() -> None:
    assert STEP_TITLES.keys() == set(RETRAIN_ASSETS)


def test_the_times_are_those_of_retrains_that_decided(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    reader = StepTimesReader()
    assert reader.read(instance, home) == StepTimes({}, None)
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=AS_OF.isoformat()))
    run_retrain_pipeline(definitions, RetrainParams(dry_run=True), instance=instance)
    times = reader.read(instance, home)
    assert set(RETRAIN_ASSETS) <= times.by_step.keys()
    assert times.whole is not None
    assert times.whole >= times.by_step["challenger_model"] > 0
    add_run(instance, home, Status.SUCCESS, tags={"taskclf/outcome": "SKIP"})
    assert reader.read(instance, home) == times
    run = add_run(instance, home, Status.STARTED)
    unfinished = find_unfinished_retrain(instance, home)
    assert unfinished is not None
    found = read_progress(instance, home, unfinished, now=datetime.now(UTC), times=times)
    assert (found.run_id, found.step_title) == (run.run_id, "starting")
    assert found.seconds_left == pytest.approx(sum(times.by_step.values()))


def test_rounds_of_another_run_are_not_those_of_this_one(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    home.artifacts.mkdir()
    write_run_progress(home, RunProgress(run_id="a", part="refit", done=3, total=9))
    assert read_run_progress(home, "a") == RunProgress(run_id="a", part="refit", done=3, total=9)
    assert read_run_progress(home, "b") is None
    home.run_progress.write_text("{", encoding="utf-8")
    assert read_run_progress(home, "a") is None


def test_rounds_are_written_once_a_second_at_most_and_lines_always(tmp_path: Path) -> None:
    home, lines, now = _with_artifacts(tmp_path), list[str](), [10.0]
    seen = []
    with reports_of(home, "run", lines.append, clock=lambda: now[0]) as report:
        for done, moment in enumerate((10.0, 10.4, 10.9, 11.0), start=1):
            now[0] = moment
            report(Progress("refit", done, 9, "round", f"line {done}"))
            found = read_run_progress(home, "run")
            seen.append(None if found is None else found.done)
    assert seen == [1, 1, 1, 4]
    assert lines == ["line 1", "line 2", "line 3", "line 4"]
    assert not home.run_progress.exists()


def test_a_step_goes_on_where_its_progress_cannot_be_written(tmp_path: Path) -> None:
    home = _with_artifacts(tmp_path)
    (home.run_progress / "in the way").mkdir(parents=True)
    lines: list[str] = []
    with reports_of(home, "run", lines.append) as report:
        report(Progress("refit", 1, 9, "round", "line"))
    assert lines == ["line"]


def _with_artifacts(tmp_path: Path) -> Home:
    home = make_home(tmp_path)
    home.artifacts.mkdir()
    return home
