"""What every step of a retrain waits for: one retrain of a home at a time, and the time limit that the run itself was given.

The runs here are real but short: there is nothing to learn from in their homes. What hangs is tried in `test_watchdog`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from pydantic import ValidationError

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources import run_supervisor as supervisor_module
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor, find_copied_tags, max_runtime
from taskclf_dagster.defs.runs.worker_processes import describe_worker
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock, read_holder
from taskclf_dagster.domain.storage.files import temporary_path
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import make_home, windows_frame, write_windows

MINUTES = {"shipped": 30, "environment": 7, "form": 3}
"""timeout_minutes of the shipped settings, of what the environment names, and of what the launch form names."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _settings(folder: Path, minutes: int) -> str:
    path = folder / f"{minutes}.yaml"
    path.write_text(f"timeout_minutes: {minutes}\n", encoding="utf-8")
    return str(path)


def _resources(home: Home) -> dict[str, Any]:
    return {"home": HomeResource(root=str(home.root)), "run_settings": RunSettingsResource()}


def _job(home: Home, name: str = "retrain", **options: Any) -> dg.JobDefinition:
    resource = HomeResource(root=str(home.root))
    definitions = build_definitions(home=resource, **options)
    return definitions.resolve_job_def(name) if name == "retrain" else definitions.resolve_implicit_global_asset_job_def()


def _run(job: dg.JobDefinition, instance: dg.DagsterInstance, **options: Any) -> dg.DagsterRun:
    result = job.execute_in_process(instance=instance, raise_on_error=False, **options)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


def _log(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run.run_id) if entry.user_message]


# --- The time limit ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "environment", "form", "expected"),
    [
        ("retrain", False, False, "shipped"),
        ("retrain", True, False, "environment"),
        ("retrain", True, True, "form"),
        ("__ASSET_JOB", False, False, "shipped"),
        ("__ASSET_JOB", True, False, "environment"),
        ("__ASSET_JOB", True, True, "form"),
    ],
)
def test_the_time_limit_is_that_of_the_settings_which_the_run_itself_was_given(
    tmp_path: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    environment: bool,
    form: bool,
    expected: str,
) -> None:
    if environment:
        monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", _settings(tmp_path, MINUTES["environment"]))
    settings = {"config_path": _settings(tmp_path, MINUTES["form"])} if form else {}
    mapped = name == "retrain"
    run_config = settings if mapped else {"resources": {"run_settings": {"config": settings}}}
    run = _run(_job(make_home(tmp_path), name), instance, run_config=run_config)
    assert run.tags["dagster/max_runtime"] == str(max_runtime(60.0 * MINUTES[expected]))


def test_settings_that_an_environment_variable_names_in_the_launch_form_hold_as_well(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTINGS_OF_MINE", _settings(tmp_path, 3))
    run_config = {"resources": {"run_settings": {"config": {"config_path": {"env": "SETTINGS_OF_MINE"}}}}}
    run = _run(_job(make_home(tmp_path), "__ASSET_JOB"), instance, run_config=run_config)
    assert run.tags["dagster/max_runtime"] == str(max_runtime(180.0))


@pytest.mark.parametrize("name", ["timeout_seconds", "grace_seconds"])
@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_at_all_is_not_a_limit(tmp_path: Path, name: str, seconds: float) -> None:
    with pytest.raises(ValidationError) as caught:
        RunSupervisor(**_resources(make_home(tmp_path)), **{name: seconds})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [((name,), "greater_than")]


def test_dagster_ends_a_run_only_when_waiting_and_running_took_as_long_as_they_may() -> None:
    assert max_runtime(1800.0) > 2 * 1800 + 1800 + 60


def test_settings_that_are_wrong_end_a_run_in_words_and_keep_no_place(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    job, path = _job(home), tmp_path / "wrong.yaml"
    path.write_text("timeout_minutes: never\n", encoding="utf-8")
    result = job.execute_in_process(instance=instance, raise_on_error=False, run_config={"config_path": str(path)})
    assert not result.success
    assert any("timeout_minutes" in str(event.event_specific_data) for event in result.all_events if event.is_failure)
    assert not home.artifacts.exists()


# --- Whose run it is --------------------------------------------------------------------------------------------------------------


def test_a_run_says_which_home_and_which_process_it_is_about(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    run = _run(_job(home), instance)
    assert run.tags[".dagster/taskclf_home"] == str(home.root)
    assert run.tags[".dagster/taskclf_worker"] == describe_worker(os.getpid())


def test_a_home_that_the_launch_form_names_is_the_one_whose_place_is_taken(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    usual, other = make_home(tmp_path / "usual"), make_home(tmp_path / "other")
    form = {"resources": {"home": {"config": {"root": str(other.root)}}}}
    run = _run(_job(usual, "__ASSET_JOB"), instance, run_config=form)
    assert run.tags[".dagster/taskclf_home"] == str(other.root)
    assert (other.retrain_lock.exists(), usual.retrain_lock.exists()) == (True, False)


def test_a_run_that_executes_another_again_does_not_take_over_how_that_was_ended(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    job = _job(make_home(tmp_path))
    run = _run(job, instance, tags={"taskclf/failure": "timeout", ".dagster/taskclf_worker": "elsewhere:1:1.00"})
    assert run.tags["taskclf/failure"] == ""
    assert run.tags[".dagster/taskclf_worker"] == describe_worker(os.getpid())


# --- One at a time ----------------------------------------------------------------------------------------------------------------


def test_a_run_has_the_place_while_it_lasts_and_gives_it_back(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    seen: list[RunLockHolder | None] = []

    @dg.asset
    def look(supervisor: RunSupervisor) -> None:
        seen.append(read_holder(home))

    result = dg.materialize([look], resources={"supervisor": RunSupervisor(**_resources(home))}, instance=instance)
    assert seen[0] is not None
    assert (seen[0].run_id, seen[0].worker) == (result.run_id, describe_worker(os.getpid()))
    assert read_holder(home) is None


def test_a_run_that_finds_the_place_taken_waits_and_fails_after_twice_its_time(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    other = RunLockHolder(run_id="of another", worker="a:1:1.00", since=datetime(2026, 2, 4, tzinfo=UTC))
    begin = time.monotonic()
    with hold_run_lock(home, other, patience_seconds=0):
        result = _job(home, timeout_seconds=1.0).execute_in_process(instance=instance, raise_on_error=False)
    assert time.monotonic() - begin > 2.0
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert any(other.run_id in line for line in _log(instance, run))
    errors = [str(event.event_specific_data) for event in result.all_events if event.is_failure]
    assert any("RetrainBusyError" in error and other.run_id in error for error in errors)
    assert sorted(path.name for path in home.artifacts.iterdir()) == [".retrain.lock"]


def test_what_a_dead_process_left_is_removed_and_named_before_anything_is_made(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    left, mine = (temporary_path(home.decisions / name) for name in ("dead.json", "living.json"))
    left = left.with_name(left.name.replace(f".{os.getpid()}-", f".{dead.pid}-"))
    home.decisions.mkdir(parents=True)
    left.touch()
    mine.touch()
    run = _run(_job(home), instance)
    assert any(f"artifacts/decisions/{left.name}" in line for line in _log(instance, run))
    assert list(home.decisions.iterdir()) == [mine]


def test_a_run_whose_model_could_not_be_written_ends_before_it_trains_and_a_dry_run_does_not(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    home = make_home(tmp_path)
    write_windows(home, windows_frame(n=10))
    (tmp_path / "disk").mkdir()
    home.models.symlink_to(tmp_path / "disk")
    result = _job(home).execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert any("it is a link that leaves the home" in str(event.event_specific_data) for event in result.all_events if event.is_failure)
    assert not home.artifacts.exists()
    dry = _run(_job(home), instance, run_config={"dry_run": True})
    assert instance.get_run_step_stats(dry.run_id)  # it ends at a blocking check, not before its first step


def test_where_there_is_no_home_a_run_makes_none(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    assert _run(_job(Home(tmp_path / "nowhere")), instance).status == dg.DagsterRunStatus.FAILURE
    assert list(tmp_path.iterdir()) == []


def _watchdogs() -> list[psutil.Process]:
    """The watchdogs that this process started; processes of earlier test files may still be among its children."""
    return [child for child in psutil.Process().children() if any("watchdog" in word for word in child.cmdline())]


def test_what_is_no_run_is_neither_watched_nor_kept_waiting(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    supervisor = RunSupervisor(**_resources(home))
    with supervisor.yield_for_execution(dg.build_init_resource_context()) as found:
        assert found is supervisor
        assert _watchdogs() == []
    assert [path.name for path in home.root.iterdir()] == ["data"]


# --- The watchdog's end -----------------------------------------------------------------------------------------------------------


def test_a_watchdog_that_died_is_no_reason_to_fail(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def kill_it(supervisor: RunSupervisor) -> None:
        (dog,) = _watchdogs()
        dog.kill()
        while dog.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)

    supervisor = RunSupervisor(**_resources(make_home(tmp_path)))
    assert dg.materialize([kill_it], resources={"supervisor": supervisor}, instance=instance).success
    assert _watchdogs() == []


def test_a_watchdog_that_hangs_does_not_keep_a_run_from_ending(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_SECONDS", 0.5)

    @dg.asset
    def stop_it(supervisor: RunSupervisor) -> None:
        (dog,) = _watchdogs()
        dog.send_signal(signal.SIGSTOP)

    supervisor = RunSupervisor(**_resources(make_home(tmp_path)))
    assert dg.materialize([stop_it], resources={"supervisor": supervisor}, instance=instance).success
    assert _watchdogs() == []


def test_a_run_that_fails_leaves_no_watchdog(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    write_windows(home, windows_frame())
    assert _run(_job(home), instance).status == dg.DagsterRunStatus.FAILURE
    assert _watchdogs() == []


COPIED = {
    "taskclf/failure": "timeout",
    "taskclf/outcome": "REJECT",
    "taskclf/outcome_reason": "worse",
    "taskclf/decision": "d",
    "mine": "x",
}


@pytest.mark.parametrize(
    ("parent", "steps", "found"),
    [
        (None, None, ["taskclf/failure"]),
        ("1" * 36, None, ["taskclf/failure", "taskclf/outcome", "taskclf/outcome_reason", "taskclf/decision"]),
        (
            "1" * 36,
            ["promotion_decision", "active_pointer"],
            ["taskclf/failure", "taskclf/outcome", "taskclf/outcome_reason", "taskclf/decision"],
        ),
        ("1" * 36, ["active_pointer"], ["taskclf/failure"]),
    ],
    ids=["no re-execution", "everything again", "from the decision on", "after the decision"],
)
def test_a_run_that_decides_anew_leaves_behind_what_was_decided_before(
    parent: str | None, steps: list[str] | None, found: list[str]
) -> None:
    run = dg.DagsterRun(
        job_name="retrain", run_id="2" * 36, tags=COPIED, parent_run_id=parent, root_run_id=parent, step_keys_to_execute=steps
    )
    assert find_copied_tags(run) == found
