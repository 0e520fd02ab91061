"""Runs and ticks check first that the folder is a home, and that the instance belongs to it."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.schedules import evaluate_daily_retrain
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, iterate_retrains
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.storage.home_id import ensure_home_id
from taskclf_dagster.domain.storage.instance_owner import RECORD_NAME, read_owner
from taskclf_dagster.errors import InstanceError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import AS_OF, make_home

JOBS = {"retrain": {}, "rollback": {"reason": "because"}, "verify_registry": {}, "__ASSET_JOB": {}}
TICKS = ("daily_retrain", "label_arrival", "drift_report", "failed_runs", "event_delivery")


def _launch(instance: dg.DagsterInstance, home: Home, job: str) -> RetrainRun:
    """The stored run of a job that failed, as a person launches it in the browser."""
    definitions = build_definitions(home=HomeResource(root=str(home.root)))
    found = definitions.resolve_implicit_global_asset_job_def() if job == "__ASSET_JOB" else definitions.resolve_job_def(job)
    result = found.execute_in_process(run_config=JOBS[job], instance=instance, raise_on_error=False)
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return RetrainRun(run, *[instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))[0].create_timestamp] * 3)


def _tick(instance: dg.DagsterInstance, home: Home, name: str) -> str | None:
    resources = {"home": HomeResource(root=str(home.root)), "run_settings": RunSettingsResource(), "clock": ClockResource()}
    if name == "daily_retrain":
        answer = evaluate_daily_retrain(instance, home, resources["run_settings"], scheduled=AS_OF, now=AS_OF)
        return answer.message if isinstance(answer, SkipReason) else None
    definitions = build_definitions(home=resources["home"])
    return definitions.resolve_sensor_def(name).evaluate_tick(dg.build_sensor_context(instance=instance, resources=resources)).skip_message


@pytest.mark.parametrize("job", JOBS)
def test_a_run_on_a_folder_that_is_no_home_ends_before_it_writes_there(tmp_path: Path, instance: dg.DagsterInstance, job: str) -> None:
    folder = Home(tmp_path / "documents")
    (folder.root / "letters").mkdir(parents=True)
    before = contents(folder.root)
    run = _launch(instance, folder, job)
    failure = explain_failure(instance, run)
    assert failure.kind == "error"
    assert str(folder.root) in failure.message
    assert "Traceback" not in failure.message
    assert contents(folder.root) == before
    assert instance.get_run_step_stats(run.run_id) == [] or job in ("rollback", "verify_registry")
    assert not (Path(instance.root_directory) / RECORD_NAME).exists()


@pytest.mark.parametrize("job", JOBS)
def test_a_run_on_another_home_than_the_instances_ends_before_it_writes_there(
    tmp_path: Path, instance: dg.DagsterInstance, job: str
) -> None:
    first, second = make_home(tmp_path / "a"), make_home(tmp_path / "b")
    require_own_instance(instance, first)
    before = contents(second.root)
    failure = explain_failure(instance, _launch(instance, second, job))
    assert failure.kind == "error"
    assert [name for name in (str(first.root), str(second.root)) if name not in failure.message] == []
    assert contents(second.root) == before


@pytest.mark.parametrize("name", TICKS)
def test_a_tick_makes_a_new_instance_the_homes_and_skips_on_another_and_on_a_folder_that_is_none(
    tmp_path: Path, instance: dg.DagsterInstance, name: str
) -> None:
    first, second, folder = make_home(tmp_path / "a"), make_home(tmp_path / "b"), Home(tmp_path / "documents")
    (folder.root / "letters").mkdir(parents=True)
    assert str(folder.root) in str(_tick(instance, folder, name))
    _tick(instance, first, name)
    owner = read_owner(Path(instance.root_directory))
    assert owner is not None
    assert owner.home == str(first.root)
    before = contents(tmp_path)
    message = str(_tick(instance, second, name))
    assert [name for name in (str(first.root), str(second.root)) if name not in message] == []
    assert contents(tmp_path) == before


def test_an_instance_in_memory_belongs_to_nobody(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        require_own_instance(instance, make_home(tmp_path / "a"))
        require_own_instance(instance, make_home(tmp_path / "b"))


def test_the_history_of_a_home_that_was_moved_has_the_runs_of_its_former_path_and_no_others(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    home = make_home(tmp_path / "a")
    ensure_home_id(home)
    require_own_instance(instance, home)
    before = add_run(instance, home, Status.SUCCESS)
    other = add_run(instance, Home(tmp_path / "other"), Status.SUCCESS)
    moved = Home(tmp_path / "moved")
    shutil.move(home.root, moved.root)
    assert before.run_id in {run.run_id for run in iterate_retrains(instance, moved)}
    require_own_instance(instance, moved)
    after = add_run(instance, moved, Status.SUCCESS)
    found = {run.run_id for run in iterate_retrains(instance, moved)}
    assert {before.run_id, after.run_id} <= found
    assert other.run_id not in found
    with pytest.raises(InstanceError):
        require_own_instance(instance, make_home(tmp_path / "a"))
