"""What the instance knows of retrains: which runs are retrains of a home, how far they came, and which is under way."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.defs.runs import retrain_runs
from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, describe_unfinished_retrain, find_unfinished_retrain, iterate_retrains
from taskclf_dagster.defs.runs.run_tags import BY_HAND, RunState
from taskclf_dagster.home import Home
from taskclf_dagster_tests.masking import masked
from taskclf_dagster_tests.runs import Status, add_run, instance_in
from taskclf_dagster_tests.scenario import make_home

ALL_ASSETS = ["labeled_windows", "dataset_snapshot", "challenger_model", "challenger_report", "champion_report", "promotion_decision"]
STATES: dict[Status, RunState] = {
    Status.QUEUED: "queued",
    Status.NOT_STARTED: "queued",
    Status.STARTING: "queued",
    Status.STARTED: "running",
    Status.CANCELING: "running",
    Status.SUCCESS: "completed",
    Status.FAILURE: "failed",
    Status.CANCELED: "failed",
}
UNDER_WAY = [status for status, state in STATES.items() if state in ("queued", "running")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def _ids(instance: dg.DagsterInstance, home: Home, **options: object) -> list[str]:
    return [run.run_id for run in iterate_retrains(instance, home, **options)]  # type: ignore[arg-type]


def _only(instance: dg.DagsterInstance, home: Home) -> RetrainRun:
    (run,) = iterate_retrains(instance, home)
    return run


@pytest.mark.parametrize("status", STATES)
def test_a_run_is_in_a_state_that_a_person_understands(instance: dg.DagsterInstance, home: Home, status: Status) -> None:
    add_run(instance, home, status)
    run = _only(instance, home)
    assert run.state == STATES[status]
    assert (run.started is not None) is (status in (Status.STARTED, Status.CANCELING, Status.SUCCESS, Status.CANCELED))
    assert (run.finished is not None) is (status in (Status.SUCCESS, Status.FAILURE, Status.CANCELED))
    assert abs(run.created - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_run_that_found_nothing_new_was_skipped(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.SUCCESS, tags={"taskclf/outcome": "SKIP"})
    assert _only(instance, home).state == "skipped"


@pytest.mark.parametrize(("form", "dry"), [({}, False), ({"dry_run": False}, False), ({"dry_run": True}, True)])
def test_a_dry_run_is_told_by_its_form(instance: dg.DagsterInstance, home: Home, form: dict[str, object], dry: bool) -> None:
    add_run(instance, home, Status.SUCCESS, run_config=form)
    assert _only(instance, home).dry_run is dry


def test_runs_of_other_homes_and_of_other_jobs_are_none_of_this_home(instance: dg.DagsterInstance, home: Home, tmp_path: Path) -> None:
    add_run(instance, Home(tmp_path / "other"), Status.STARTED)
    add_run(instance, home, Status.STARTED, job="rollback")
    assert _ids(instance, home) == []
    assert find_unfinished_retrain(instance, home) is None


def test_a_home_is_the_same_behind_a_link(instance: dg.DagsterInstance, home: Home, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home.root, target_is_directory=True)
    run = add_run(instance, home, Status.STARTED)
    assert _ids(instance, Home(tmp_path / "link")) == [run.run_id]


def test_a_run_that_does_not_say_which_home_counts_for_every_home(tmp_path: Path, home: Home) -> None:
    with instance_in(tmp_path) as instance:
        run = add_run(instance, None, Status.QUEUED)
        assert _ids(instance, home) == [run.run_id]
        assert _ids(instance, Home(tmp_path / "other")) == [run.run_id]


def test_materialize_all_is_a_retrain_and_materialize_selected_only_while_it_lasts(instance: dg.DagsterInstance, home: Home) -> None:
    whole = add_run(instance, home, Status.STARTED, job="__ASSET_JOB", assets=[*ALL_ASSETS, "active_pointer"])
    without_pointer = add_run(instance, home, Status.STARTED, job="__ASSET_JOB", assets=ALL_ASSETS)
    part = add_run(instance, home, Status.STARTED, job="__ASSET_JOB", assets=["labeled_windows"])
    assert _ids(instance, home) == [without_pointer.run_id, whole.run_id]
    assert _ids(instance, home, whole=False) == [part.run_id, without_pointer.run_id, whole.run_id]


def test_a_part_of_the_graph_occupies_the_place_of_a_retrain(instance: dg.DagsterInstance, home: Home) -> None:
    part = add_run(instance, home, Status.STARTED, job="__ASSET_JOB", assets=["labeled_windows"])
    under_way = find_unfinished_retrain(instance, home)
    assert under_way is not None
    assert under_way.run_id == part.run_id


def test_runs_come_newest_first_over_any_number_of_pages(instance: dg.DagsterInstance, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain_runs, "_PAGE", 2)
    runs = [add_run(instance, home, Status.SUCCESS).run_id for _ in range(5)]
    assert _ids(instance, home) == runs[::-1]


def test_runs_are_chosen_by_status_and_tags(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.SUCCESS)
    failed = add_run(instance, home, Status.FAILURE, tags={".dagster/taskclf_demand": "labels-1"})
    other = add_run(instance, home, Status.SUCCESS, tags={".dagster/taskclf_demand": "labels-1"})
    assert _ids(instance, home, tags={".dagster/taskclf_demand": "labels-1"}) == [other.run_id, failed.run_id]
    assert _ids(instance, home, statuses=(Status.FAILURE,)) == [failed.run_id]


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(hours=5, minutes=45), timedelta(hours=-8)])
def test_runs_are_chosen_by_time_whatever_the_zone_of_that_time(instance: dg.DagsterInstance, home: Home, offset: timedelta) -> None:
    run = add_run(instance, home, Status.SUCCESS)
    now = datetime.now(UTC).astimezone(timezone(offset))
    assert _ids(instance, home, updated_after=now - timedelta(minutes=1)) == [run.run_id]
    assert _ids(instance, home, updated_after=now + timedelta(minutes=1)) == []


@pytest.mark.parametrize("status", UNDER_WAY)
def test_a_run_that_has_not_ended_is_under_way(instance: dg.DagsterInstance, home: Home, status: Status) -> None:
    add_run(instance, home, Status.SUCCESS)
    run = add_run(instance, home, status, tags={"taskclf/cause": "cadence"})
    under_way = find_unfinished_retrain(instance, home)
    assert under_way is not None
    assert (under_way.run_id, under_way.state) == (run.run_id, STATES[status])


def test_an_unfinished_retrain_is_described_by_state_run_cause_and_time(
    instance: dg.DagsterInstance, home: Home, snapshot: SnapshotAssertion
) -> None:
    add_run(instance, home, Status.STARTED, tags={"taskclf/cause": "cadence"})
    under_way = find_unfinished_retrain(instance, home)
    assert under_way is not None
    assert masked(describe_unfinished_retrain(under_way)) == snapshot


def test_the_oldest_of_several_is_named_and_one_without_a_cause_was_launched_by_hand(instance: dg.DagsterInstance, home: Home) -> None:
    first = add_run(instance, home, Status.QUEUED)
    add_run(instance, home, Status.QUEUED)
    under_way = find_unfinished_retrain(instance, home)
    assert under_way is not None
    assert under_way.run_id == first.run_id
    assert BY_HAND in describe_unfinished_retrain(under_way)


def test_runs_that_have_ended_are_not_under_way(instance: dg.DagsterInstance, home: Home) -> None:
    for status in (Status.SUCCESS, Status.FAILURE, Status.CANCELED):
        add_run(instance, home, status)
    assert find_unfinished_retrain(instance, home) is None
