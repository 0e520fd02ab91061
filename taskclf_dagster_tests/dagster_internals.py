"""Everything of Dagster that tests use and that is not public; what the package itself uses is in `defs.dagster_internals`."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.execution.api import execute_run
from dagster._core.execution.compute_logs import execute_posix_tail
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, ScheduleInstigatorData
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon
from dagster._daemon.types import DaemonHeartbeat
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._utils.schedules import CroniterShim, cron_string_iterator, is_valid_cron_schedule

__all__ = [
    "ConfigurableClass",
    "ConfigurableClassData",
    "CroniterShim",
    "DaemonHeartbeat",
    "DagsterStorage",
    "InMemoryJob",
    "InstanceRef",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorType",
    "RegisteredCodeLocationOrigin",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "ScheduleInstigatorData",
    "choose_from_queue",
    "cron_string_iterator",
    "engines_made_once",
    "execute_posix_tail",
    "execute_run",
    "is_valid_cron_schedule",
    "normalize_metadata",
    "workspace_in_process",
]


@contextmanager
def engines_made_once() -> Iterator[None]:
    """Lets the SQLite storages keep the engine of each file; they make one per call, which is most of what storing an event takes.

    An engine holds no connection, but the statements that it has compiled.
    """
    engines: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
            make = module.create_engine

            def find(url: str, *, make: Any = make, **options: Any) -> Any:
                return engines.get(url) or engines.setdefault(url, make(url, **options))

            patch.setattr(module, "create_engine", find)
        yield


def choose_from_queue(instance: DagsterInstance) -> list[DagsterRun]:
    """The runs that Dagster's daemon launches next, in their order."""
    with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
        return daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), fixed_iteration_time=None)


@contextmanager
def workspace_in_process(instance: DagsterInstance, module: str, location: str) -> Iterator[WorkspaceProcessContext]:
    """What Dagster's web server works on, with a code location that is loaded in this process."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=module)
    origin = InProcessCodeLocationOrigin(loadable_target_origin=target, location_name=location)
    with ExitStack() as stack:
        with warnings.catch_warnings():  # Dagster warns about itself when it describes a schedule
            warnings.simplefilter("ignore", DeprecationWarning)
            context = stack.enter_context(WorkspaceProcessContext(instance, InProcessTestWorkspaceLoadTarget(origin)))
        yield context
