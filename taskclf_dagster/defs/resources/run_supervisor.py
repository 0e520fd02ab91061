"""What every step of a retrain needs before it may run: the place of the one retrain, and a watchdog that ends the run in time.

A resource, because that is what every launch route goes through: the job, "Materialize all", the command line. The lock is `domain/slot`,
ending the process is `watchdog`. Dagster concept: resources.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from pydantic import Field

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs import watchdog
from taskclf_dagster.defs.runs.retrain_runs import FAILURE_TAG, HOME_TAG, WORKER_TAG, home_tag
from taskclf_dagster.defs.runs.worker_processes import describe_worker, was_running
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock
from taskclf_dagster.domain.storage.temporary_files import remove_orphaned_files
from taskclf_dagster.home import Home

MAX_RUNTIME_TAG = "dagster/max_runtime"


PACKAGE_PARENT = Path(watchdog.__file__).parents[3]


PARTING_SECONDS = 3 * watchdog.REPORT_SECONDS
"""How long the watchdog may take to end once it was told to: it may be about to tell the instance something."""


class RunSupervisor(dg.ConfigurableResource["RunSupervisor"]):
    """Lets one retrain of a home run at a time, and ends it after `timeout_minutes`."""

    home: dg.ResourceDependency[HomeResource]
    run_settings: dg.ResourceDependency[RunSettingsResource]
    timeout_seconds: float | None = Field(
        default=None, gt=0, description="Ends a run after this time; default: timeout_minutes of the settings."
    )
    grace_seconds: float = Field(default=15.0, gt=0, description="How long a run that was interrupted may take to end before it is killed.")

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["RunSupervisor"]:
        """Waits for the place of a retrain, then watches over the process until the run has ended.

        Raises:
            SettingsError: the configuration is not valid.
            RetrainBusyError: another retrain did not end in time.
        """
        run, instance = context.run, context.instance
        if run is None or instance is None:  # a tick or a tool that is no run
            yield self
            return
        home, seconds = self._open_home(run), self.timeout_seconds or 60.0 * self._load_config(run).scheduling.timeout_minutes
        worker = describe_worker(psutil.Process())
        tags = {HOME_TAG: home_tag(home), WORKER_TAG: worker, MAX_RUNTIME_TAG: str(max_runtime(seconds))}
        if FAILURE_TAG in run.tags:  # of the run that this one executes again
            tags[FAILURE_TAG] = ""
        instance.add_run_tags(run.run_id, tags)
        holder = RunLockHolder(run_id=run.run_id, worker=worker, since=datetime.now(UTC))
        with hold_run_lock(home, holder, patience_seconds=2 * seconds, on_wait=_log(context).warning):
            for name in remove_orphaned_files(home, is_alive=was_running):
                _log(context).info(f"removed {name}, left by a process that is gone")
            with _watched(instance, run, home_root=home.root, timeout_seconds=seconds, grace_seconds=self.grace_seconds):
                yield self

    def _open_home(self, run: dg.DagsterRun) -> Home:
        root = _read_form(run, "home").get("root")
        return HomeResource(root=root).open() if root else self.home.open()

    def _load_config(self, run: dg.DagsterRun) -> RetrainConfig:
        mapped: Mapping[str, Any] = run.run_config
        chosen = mapped.get("config_path") or _read_form(run, "run_settings").get("config_path")
        return RunSettingsResource(config_path=chosen).load_config() if chosen else self.run_settings.load_config()


def _read_form(run: dg.DagsterRun, resource: str) -> dict[str, Any]:
    """What the launch form of this very run said of a resource, which a resource within a resource does not see."""
    form: Mapping[str, Any] = run.run_config
    told = form.get("resources", {}).get(resource, {}).get("config", {})
    return {name: dg.EnvVar(value["env"]).get_value() if isinstance(value, Mapping) else value for name, value in told.items()}


def max_runtime(timeout_seconds: float) -> int:
    """When Dagster itself ends a run [seconds], should the watchdog be gone: after the longest wait, the timeout, and five minutes."""
    return int(3 * timeout_seconds) + 300


@contextmanager
def _watched(
    instance: dg.DagsterInstance, run: dg.DagsterRun, *, home_root: Path, timeout_seconds: float, grace_seconds: float
) -> Iterator[None]:
    """Starts the watchdog, which ends with this block, or with this process."""
    order = {
        "process": os.getpid(),
        "run_id": run.run_id,
        "home": str(home_root),
        "timeout_seconds": timeout_seconds,
        "grace_seconds": grace_seconds,
        "instance": dg.serialize_value(instance.get_ref()) if instance.is_persistent else None,
    }
    search_path = os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-P", "-m", watchdog.__name__],
        bufsize=0,  # nothing is left to write to one that is gone
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal is for the run, not for who watches it
        env={**os.environ, "PYTHONPATH": search_path},
    )
    try:
        _tell(process, json.dumps(order))
        yield
    finally:
        _tell(process, watchdog.DONE)
        _part_with(process)


def _tell(process: "subprocess.Popen[bytes]", line: str) -> None:
    """Says something to a watchdog; that it is gone is no reason for a run to fail."""
    with suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.write(line.encode() + b"\n")


def _part_with(process: "subprocess.Popen[bytes]") -> None:
    """Leaves no watchdog behind, not even one that hangs."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(PARTING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log(context: dg.InitResourceContext) -> logging.Logger:
    return context.log or dg.get_dagster_logger()
