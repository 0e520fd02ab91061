"""Everything of Dagster that tests use and that is not public; what the package itself uses is in `defs.dagster_internals`."""

from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.execution.api import execute_run
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, ScheduleInstigatorData
from dagster._core.storage.base_storage import DagsterStorage
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
    "execute_run",
    "is_valid_cron_schedule",
    "normalize_metadata",
]
