"""Small named histories of runs for the tests: runs of a home in every state, in a real instance.

An instance may be shared by tests, because runs name their home and each test has its own; `forget_home` comes between. Runs are
recorded as Dagster records them; their times are the machine's, so a test that needs another time moves its own `now`.
"""

import os
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import dagster as dg

from taskclf_dagster.defs.runs.retrain_runs import RETRAIN
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, WORKER_TAG, home_tag
from taskclf_dagster.defs.runs.worker_processes import describe_worker
from taskclf_dagster.domain.storage.instance_owner import RECORD_NAME
from taskclf_dagster.home import Home
from taskclf_dagster_tests.dagster_internals import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

Status = dg.DagsterRunStatus
REPOSITORY = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("taskclf_dagster"), "__repository__")
_LAST_EVENT = {
    Status.STARTED: dg.DagsterEventType.RUN_START,
    Status.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
    Status.FAILURE: dg.DagsterEventType.RUN_FAILURE,
    Status.CANCELING: dg.DagsterEventType.RUN_CANCELING,
    Status.CANCELED: dg.DagsterEventType.RUN_CANCELED,
}


@contextmanager
def instance_in(folder: Path) -> Iterator[dg.DagsterInstance]:
    """An instance in SQLite below a folder."""
    (folder / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "dagster")) as instance:
        yield instance


def forget_home(folder: Path) -> None:
    """Makes an instance one that no home has used, as far as the record of its home says."""
    (folder / RECORD_NAME).unlink(missing_ok=True)


def add_run(
    instance: dg.DagsterInstance,
    home: Home | None,
    status: Status,
    *,
    job: str = RETRAIN,
    tags: Mapping[str, str] | None = None,
    run_config: Mapping[str, object] | None = None,
    assets: list[str] | None = None,
    failed_with: str = "",
    parent: dg.DagsterRun | None = None,
    at: datetime | None = None,
) -> dg.DagsterRun:
    """Records a run that came to this state.

    Args:
        instance: where.
        home: which it is about; None where it does not say.
        status: how far it came.
        job: of which job.
        tags: more of them.
        run_config: what the launch form said.
        assets: a part of the graph.
        failed_with: what was reported about its process.
        parent: the run that it repeats.
        at: when it began and ended; by default now.
    """
    begins = status if status in (Status.QUEUED, Status.NOT_STARTED, Status.STARTING) else Status.NOT_STARTED
    own = {} if home is None else {HOME_TAG: home_tag(home)}
    run = instance.add_run(
        dg.DagsterRun(
            job_name=job,
            run_id=str(uuid.uuid4()),
            status=begins,
            run_config=dict(run_config or {}),
            tags={**own, **(tags or {})},
            asset_selection=None if assets is None else frozenset(dg.AssetKey(name) for name in assets),
            parent_run_id=parent and parent.run_id,
            root_run_id=parent and parent.run_id,
            remote_job_origin=RemoteJobOrigin(REPOSITORY, job) if status == Status.QUEUED else None,
        )
    )
    for step in [Status.STARTED, status] if status not in (begins, Status.STARTED, Status.FAILURE) else [status]:
        if step != begins:
            event = dg.DagsterEvent(event_type_value=_LAST_EVENT[step].value, job_name=job, message=failed_with)
            instance.report_dagster_event(event, run.run_id, timestamp=at and at.timestamp())
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == status
    return found


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Status:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def work_of_the_dead() -> dict[str, str]:
    """The tag of a run whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        return {WORKER_TAG: describe_worker(process.pid)}


def work_of_the_living() -> dict[str, str]:
    """The tag of a run of this very process."""
    return {WORKER_TAG: describe_worker(os.getpid())}


def work_elsewhere() -> dict[str, str]:
    """The tag of a run on another machine, where a process with the same number has long ended."""
    _, number, started = work_of_the_dead()[WORKER_TAG].rsplit(":", 2)
    return {WORKER_TAG: f"another-{platform.node()}:{number}:{started}"}
