"""The resource that limits retrains: one at a time in each home, and each ended after its timeout. Dagster concept: resources.

Every asset requires it, because resources are what every launch route sets up: the job, "Materialize all", the command line. Add here
what has to hold while a run lasts. The lock itself is `domain.scheduling.run_lock`, ending the process is `defs.runs.watchdog`.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from pydantic import Field

from taskclf_dagster.defs.dagster_internals import dump_instance
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs import watchdog
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.run_tags import (
    DECISION_TAG,
    FAILURE_TAG,
    HOME_TAG,
    MAX_RUNTIME_TAG,
    MODEL_TAG,
    OUTCOME_REASON_TAG,
    OUTCOME_TAG,
    WORKER_TAG,
    home_tag,
)
from taskclf_dagster.defs.runs.worker_processes import describe_worker, is_running
from taskclf_dagster.domain.registry.write_problems import require_writable
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock
from taskclf_dagster.domain.storage.temporary_files import remove_orphaned_files

GRACE_SECONDS = 15.0


PACKAGE_PARENT = Path(watchdog.__file__).parents[3]


STOP_SECONDS = 3 * watchdog.REPORT_SECONDS
"""The time that the watchdog may take to end: it may be reporting to the instance."""


class RunSupervisor(dg.ConfigurableResource["RunSupervisor"]):
    """Holds the run lock of the home while a run lasts, and ends the run after `timeout_minutes`.

    Home and settings are those of the run: `build_definitions` shares them with this resource.
    """

    home: dg.ResourceDependency[HomeResource]
    run_settings: dg.ResourceDependency[RunSettingsResource]
    timeout_seconds: float | None = Field(
        default=None, gt=0, description="Time after which a run is ended; default: timeout_minutes of the configuration."
    )
    grace_seconds: float = Field(
        default=GRACE_SECONDS, gt=0, description="Time that an interrupted run may take to end before its process is killed."
    )

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["RunSupervisor"]:
        """Waits for the run lock, then watches the process until the run has ended.

        Raises:
            HomeNotFoundError: the folder is no home; nothing is written into it.
            InstanceError: the instance belongs to another home.
            RegistryRefusedError: what is trained could not be written; a dry run needs no such thing.
            RetrainBusyError: another retrain did not end in time.
        """
        run, instance = context.run, context.instance
        if run is None or instance is None:  # a tick or a tool, not a run
            yield self
            return
        home = self.home.open()
        seconds = self.timeout_seconds or 60.0 * self.run_settings.load_config(home).scheduling.timeout_minutes
        worker = describe_worker(os.getpid())
        tags = {HOME_TAG: home_tag(home), WORKER_TAG: worker, MAX_RUNTIME_TAG: str(max_runtime(seconds))}
        tags |= dict.fromkeys(find_copied_tags(run), "")
        instance.add_run_tags(run.run_id, tags)
        require_own_instance(instance, home)
        holder = RunLockHolder(run_id=run.run_id, worker=worker, since=datetime.now(UTC))
        if not self.run_settings.dry_run:
            require_writable(home)
        with hold_run_lock(home, holder, patience_seconds=2 * seconds, on_wait=_log(context).warning):
            for name in remove_orphaned_files(home, is_alive=is_running):
                _log(context).info(f"removed {name}, left by a process that has ended")
            with _watched(instance, run, home_root=home.root, timeout_seconds=seconds, grace_seconds=self.grace_seconds):
                yield self


def find_copied_tags(run: dg.DagsterRun) -> list[str]:
    """Returns the tags about the end of another run that Dagster copied when it re-executed that one; tags cannot be removed.

    What was decided stays where this run does not decide, such as one that only repeats the step that failed after the decision.
    """
    steps = run.step_keys_to_execute
    decides = run.parent_run_id is not None and (not steps or "promotion_decision" in steps)
    about = (FAILURE_TAG, *((OUTCOME_TAG, OUTCOME_REASON_TAG, DECISION_TAG, MODEL_TAG) if decides else ()))
    return [name for name in about if name in run.tags]


def max_runtime(timeout_seconds: float) -> int:
    """Returns the time [s] after which Dagster ends a run if the watchdog cannot: the longest wait, the timeout, and five minutes."""
    return int(3 * timeout_seconds) + 300


@contextmanager
def _watched(
    instance: dg.DagsterInstance, run: dg.DagsterRun, *, home_root: Path, timeout_seconds: float, grace_seconds: float
) -> Iterator[None]:
    """Runs the watchdog for as long as the block lasts, or until this process ends."""
    order = {
        "process": os.getpid(),
        "run_id": run.run_id,
        "home": str(home_root),
        "timeout_seconds": timeout_seconds,
        "grace_seconds": grace_seconds,
        "instance": dump_instance(instance),
    }
    search_path = os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-P", "-m", watchdog.__name__],
        bufsize=0,  # no unwritten bytes remain when the watchdog has ended
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal interrupts the run, not its watchdog
        env={**os.environ, "PYTHONPATH": search_path},
    )
    try:
        _send(process, json.dumps(order))
        yield
    finally:
        _send(process, watchdog.DONE)
        _stop(process)


def _send(process: "subprocess.Popen[bytes]", line: str) -> None:
    """Writes a line to the watchdog; one that has ended does not fail the run."""
    with suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.write(line.encode() + b"\n")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Waits for the watchdog to end, and kills one that hangs."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log(context: dg.InitResourceContext) -> logging.Logger:
    return context.log or dg.get_dagster_logger()
