"""Everything of Dagster that is used and is not public: private imports, and methods of the instance without a promise of stability.

Add a name here, with a test in `test_dagster_internals.py` of the behavior that is relied on, when Dagster's public interface has no equal;
a test forbids private imports elsewhere. When Dagster moves, that test file says what breaks.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.execution import compute_logs
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import base as run_coordinator
from dagster._core.run_coordinator import queued_run_coordinator
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.schedules import cron_string_iterator
from dagster_shared.error import SerializableErrorInfo

AssetJob = UnresolvedAssetJobDefinition
"""The return type of `dg.define_asset_job`."""


ErrorInfo = SerializableErrorInfo
"""An error as Dagster stores it with a run: class name, message, cause and context, but no exception object."""


RunQueue = queued_run_coordinator.QueuedRunCoordinator
"""Dagster's queue, which the queue for many homes is derived from."""


RunQueueLimits = queued_run_coordinator.RunQueueConfig
"""The limits that the daemon asks the queue for."""


QueuedRun = run_coordinator.SubmitRunContext
"""A run that enters the queue."""


IMPLICIT_JOB = "__ASSET_JOB"
"""The job that Dagster runs for "Materialize" in the browser, and for `dg launch --assets`."""


SCHEDULER_DAEMON = "SCHEDULER"


MODULE, LOCATION, REPOSITORY = "taskclf_dagster.definitions", "taskclf_dagster", "__repository__"
"""The module of the definitions, the name of their code location in workspace.yaml, and of the repository that Dagster makes of them."""


HOMES_MODULE = "taskclf_dagster.team_definitions"
"""The module of the definitions for many homes, which has the same names of code location and repository."""


def dump_instance(instance: dg.DagsterInstance) -> str | None:
    """Returns a text from which another process can open the same instance; None if the instance lives in memory only."""
    return dg.serialize_value(instance.get_ref()) if instance.is_persistent else None


def open_instance(text: str) -> dg.DagsterInstance:
    """Opens the instance of a text from `dump_instance`, in any process of this machine."""
    reference: Any = dg.deserialize_value(text)
    return dg.DagsterInstance.from_ref(reference)


def open_instance_of_settings(folder: Path, settings: Mapping[str, Any]) -> dg.DagsterInstance:
    """Opens an instance with these settings in place of those in the folder's dagster.yaml."""
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=settings))


@contextmanager
def runs_of_the_code_location(instance: dg.DagsterInstance, job: str) -> Iterator[None]:
    """Makes runs that begin within the block belong to the code location of workspace.yaml, as runs that Dagster launches do.

    The timeline, which is the first page in the browser, shows no others, and only these can be executed again there.
    """
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name=MODULE), location_name=LOCATION)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job)
    create = instance.create_run_for_job
    vars(instance)["create_run_for_job"] = partial(create, remote_job_origin=origin)
    try:
        yield
    finally:
        del vars(instance)["create_run_for_job"]


@contextmanager
def outlasting_interrupts() -> Iterator[None]:
    """Makes the processes that copy the output of steps to the terminal, within the block, deaf to a Ctrl-C that is typed there.

    It is for this process, which ends them; from a Ctrl-C of their own they write a traceback.
    """
    start = partial(subprocess.Popen, start_new_session=True)
    vars(compute_logs)["subprocess"] = SimpleNamespace(Popen=start)
    try:
        yield
    finally:
        vars(compute_logs)["subprocess"] = subprocess


def iterate_ticks(cron: str, time_zone: str, *, after: datetime) -> Iterator[datetime]:
    """Returns the times of a schedule from a time on, as Dagster's daemon computes them."""
    return iter(cron_string_iterator(after.timestamp(), cron, time_zone))


def is_schedule_stopped(instance: dg.DagsterInstance, name: str) -> bool:
    """Returns True if a person switched the schedule off in the browser; False if it has its default status, or nothing is stored.

    Where a deployment serves many homes, a sensor of the same name is in its place.
    """
    if not instance.is_persistent:  # in memory, there is no storage for schedules
        return False
    states = instance.all_instigator_state()
    return any(state.instigator_name == name and state.status == InstigatorStatus.STOPPED for state in states)


def read_scheduler_heartbeat(instance: dg.DagsterInstance) -> float | None:
    """Returns the time [s since 1970] of the last heartbeat of the daemon that runs schedules; None if there was none."""
    heartbeat = instance.get_daemon_heartbeats().get(SCHEDULER_DAEMON)
    return None if heartbeat is None else float(heartbeat.timestamp)


def list_planned_steps(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str] | None:
    """Returns the keys of the steps that a run is to execute; None if its plan is not stored."""
    if run.execution_plan_snapshot_id is None:
        return None
    return list(instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).step_keys_to_execute)


def select_partition(asset: dg.AssetKey, partition: str | None) -> dg.AssetRecordsFilter:
    """Returns the filter for the materializations of one partition of an asset; without a partition, of all."""
    return dg.AssetRecordsFilter(asset_key=asset, asset_partitions=None if partition is None else [partition])


def report_check(instance: dg.DagsterInstance, asset: dg.AssetKey, result: dg.AssetCheckResult, *, partition: str | None = None) -> None:
    """Reports a check result about the latest materialization of an asset, or of one partition of it, without a run.

    A result that names no materialization counts for those of earlier seconds only: the browser shows the check as not executed.
    """
    latest = instance.fetch_materializations(select_partition(asset, partition), limit=1).records
    target = [
        AssetCheckEvaluationTargetMaterializationData(storage_id=each.storage_id, run_id=each.run_id, timestamp=each.timestamp)
        for each in latest
    ]
    evaluation = dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=result.check_name or "",
        passed=result.passed,
        description=result.description,
        metadata={},
        target_materialization_data=next(iter(target), None),
    )
    instance.report_runless_asset_event(evaluation)
