"""What breaks when Dagster moves: the behavior of its private names that the package relies on, one test for each."""

import ast
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import dagster as dg
import pytest
import yaml

from taskclf_dagster import errors
from taskclf_dagster.defs import dagster_internals
from taskclf_dagster.defs.dagster_internals import (
    AssetJob,
    ErrorInfo,
    dump_instance,
    is_schedule_stopped,
    iterate_ticks,
    list_planned_steps,
    open_instance,
    outlasting_interrupts,
    read_scheduler_heartbeat,
    report_check,
    runs_of_the_code_location,
    select_partition,
)
from taskclf_dagster_tests.dagster_internals import (
    DaemonHeartbeat,
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    RegisteredCodeLocationOrigin,
    RemoteRepositoryOrigin,
    ScheduleInstigatorData,
    execute_posix_tail,
)

PACKAGE = Path(errors.__file__).parents[1]
TESTS = Path(__file__).parents[1]
PRIVATE = ("dagster._", "dagster_shared", "dagster_graphql._", "dagster_webserver")
OPEN = "import sys; from taskclf_dagster.defs.dagster_internals import open_instance; print(open_instance(sys.argv[1]).get_runs_count())"


@dg.asset
def leaf() -> None:
    """An asset that does nothing."""


@dg.asset
def broken() -> None:
    """An asset that fails for a reason with a cause."""
    raise ValueError("while it was writing") from OSError(28, "no space")


# --- Nothing else is private ------------------------------------------------------------------------------------------------------


def _private_imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.startswith(PRIVATE)]


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["package", "tests"])
def test_only_one_module_imports_what_dagster_keeps_private_and_one_what_its_web_server_does(folder: Path) -> None:
    offenders = {str(path.relative_to(folder)): names for path in folder.rglob("*.py") if (names := _private_imports(path))}
    if folder == TESTS:
        assert set(offenders) == {"dagster_internals.py"}
        return
    of_web = {name for name in offenders.pop("web/dagster_webserver.py") if not name.startswith("dagster_webserver")}
    assert of_web == set()
    assert set(offenders) == {str(Path(dagster_internals.__file__).relative_to(PACKAGE))}


# --- What is relied on, name by name ----------------------------------------------------------------------------------------------


def test_an_asset_job_is_what_define_asset_job_returns() -> None:
    assert isinstance(dg.define_asset_job("some", selection=[leaf]), AssetJob)


def test_an_error_is_stored_with_class_message_and_cause() -> None:
    result = dg.materialize([broken], raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert isinstance(error, ErrorInfo)
    assert error.cls_name == "DagsterExecutionStepExecutionError"  # the wrapper that run_failures leaves out
    assert error.cause is not None
    assert (error.cause.cls_name, error.cause.message.strip()) == ("ValueError", "ValueError: while it was writing")
    assert error.cause.cause is not None
    assert error.cause.cause.cls_name == "OSError"


def test_the_job_behind_materialize_is_named_as_we_name_it() -> None:
    job = dg.Definitions(assets=[leaf]).resolve_implicit_global_asset_job_def()
    assert job.name == dagster_internals.IMPLICIT_JOB


def test_another_process_opens_the_instance_of_a_text(instance: dg.DagsterInstance) -> None:
    text = dump_instance(instance)
    assert text is not None
    dg.materialize([leaf], instance=instance)
    with open_instance(text) as again:
        assert again.get_runs_count() == instance.get_runs_count() > 0
    answer = subprocess.run([sys.executable, "-c", OPEN, text], capture_output=True, text=True, check=True)
    assert int(answer.stdout) == instance.get_runs_count()


def test_a_run_that_begins_here_belongs_to_the_code_location_of_the_workspace(instance: dg.DagsterInstance) -> None:
    (loaded,) = yaml.safe_load((PACKAGE.parent / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    job = dg.Definitions(assets=[leaf]).resolve_implicit_global_asset_job_def()
    with runs_of_the_code_location(instance, job.name):
        inside = job.execute_in_process(instance=instance).dagster_run
    outside = job.execute_in_process(instance=instance).dagster_run
    assert outside.remote_job_origin is None
    assert inside.remote_job_origin.job_name == job.name
    repository = inside.remote_job_origin.repository_origin
    assert repository.repository_name == dg.Definitions(assets=[leaf]).get_repository_def().name
    location = repository.code_location_origin
    assert (location.location_name, location.loadable_target_origin.module_name) == tuple(
        loaded["python_module"][key] for key in ("location_name", "module_name")
    )


def test_an_instance_in_memory_has_no_text() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert dump_instance(instance) is None


def test_ticks_come_in_the_zone_of_the_schedule_and_after_the_given_time() -> None:
    after = datetime(2026, 3, 28, 12, tzinfo=UTC)
    ticks = list(islice(iterate_ticks("0 6 * * *", "Europe/Vienna", after=after), 2))
    assert [tick.astimezone(UTC).isoformat() for tick in ticks] == ["2026-03-29T04:00:00+00:00", "2026-03-30T04:00:00+00:00"]
    assert [(tick.hour, tick.minute) for tick in ticks] == [(6, 0), (6, 0)]


def test_a_schedule_that_was_switched_off_is_stopped_and_no_other(instance: dg.DagsterInstance) -> None:
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("some"), "__repository__").get_instigator_origin("mine")
    data = ScheduleInstigatorData("0 6 * * *")
    assert not is_schedule_stopped(instance, "mine")
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING, data))
    assert not is_schedule_stopped(instance, "mine")
    instance.update_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus.STOPPED, data))
    assert is_schedule_stopped(instance, "mine")
    assert not is_schedule_stopped(instance, "another")


def test_the_scheduler_is_known_by_its_heartbeat(instance: dg.DagsterInstance) -> None:
    assert read_scheduler_heartbeat(instance) is None
    now = time.time()
    instance.add_daemon_heartbeat(DaemonHeartbeat(now, "SENSOR", "daemon", []))
    assert read_scheduler_heartbeat(instance) is None
    instance.add_daemon_heartbeat(DaemonHeartbeat(now, "SCHEDULER", "daemon", []))
    assert read_scheduler_heartbeat(instance) == pytest.approx(now, abs=1)


def test_a_run_stores_which_steps_it_has(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions(assets=[leaf, broken]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job)
    assert sorted(list_planned_steps(instance, run) or []) == ["broken", "leaf"]
    unplanned = instance.add_run(dg.DagsterRun(job_name="some", run_id="1" * 36))
    assert list_planned_steps(instance, unplanned) is None


def test_a_check_without_a_run_is_about_the_latest_materialization(instance: dg.DagsterInstance) -> None:
    asset = dg.AssetKey("thing")
    report_check(instance, asset, dg.AssetCheckResult(passed=True, check_name="early"))
    instance.report_runless_asset_event(dg.AssetMaterialization(asset))
    report_check(instance, asset, dg.AssetCheckResult(passed=False, check_name="late", description="It is not."))
    (latest,) = instance.fetch_materializations(asset, limit=1).records
    found = {
        name: instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(asset, name), limit=1)[0]
        for name in ("early", "late")
    }
    evaluations = {name: record.event.dagster_event.asset_check_evaluation_data for name, record in found.items()}
    assert evaluations["early"].target_materialization_data is None
    assert evaluations["late"].target_materialization_data.storage_id == latest.storage_id
    assert (evaluations["late"].passed, evaluations["late"].description) == (False, "It is not.")


def test_a_check_of_a_partition_is_about_the_latest_materialization_of_that_partition(instance: dg.DagsterInstance) -> None:
    asset = dg.AssetKey("shared")
    for partition in ("anna", "ben"):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))
    (latest,) = instance.fetch_materializations(select_partition(asset, "anna"), limit=5).records
    assert latest.partition_key == "anna"
    report_check(instance, asset, dg.AssetCheckResult(passed=True, check_name="of_anna"), partition="anna")
    (record,) = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(asset, "of_anna"), limit=1)
    assert record.event.dagster_event.asset_check_evaluation_data.target_materialization_data.storage_id == latest.storage_id


# --- Output of steps ------------------------------------------------------------------------------------------------------------------


def test_what_copies_the_output_of_steps_gets_no_ctrl_c_of_our_terminal(tmp_path: Path) -> None:
    (tmp_path / "captured").write_text("", encoding="utf-8")
    found = []
    with (tmp_path / "copied").open("w") as copied:
        with outlasting_interrupts(), execute_posix_tail(str(tmp_path / "captured"), copied) as processes:
            found.append({os.getsid(process) == os.getsid(0) for process in processes})
        with execute_posix_tail(str(tmp_path / "captured"), copied) as processes:
            found.append({os.getsid(process) == os.getsid(0) for process in processes})
    assert found == [{False}, {True}]
