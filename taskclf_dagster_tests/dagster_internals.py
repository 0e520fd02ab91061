"""Everything of Dagster that tests use and that is not public; what the package itself uses is in `defs.dagster_internals`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.execution.api import execute_run
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, ScheduleInstigatorData
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
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
    "cron_string_iterator",
    "engines_made_once",
    "execute_run",
    "is_valid_cron_schedule",
    "normalize_metadata",
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
