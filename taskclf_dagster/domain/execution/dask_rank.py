"""One rank of a training as a task of a worker of dask: it starts the training process, and kills it when nobody wants it any more.

The task announces the port of its process as an event, and waits until `deliver_machines` is called on its worker. `dask_trainer` does
both for all ranks.
"""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import psutil
from distributed import Worker, get_worker, secede
from distributed.core import Status

from taskclf_dagster.domain.execution.dask_cluster import refuse_worker
from taskclf_dagster.domain.execution.rank_job import RankJob
from taskclf_dagster.domain.execution.rank_process import RankProcess
from taskclf_dagster.domain.execution.trainer import FitParams, Matrix, Shard
from taskclf_dagster.domain.execution.worker_checks import Requirement, find_difference
from taskclf_dagster.domain.execution.worker_errors import sendable_errors
from taskclf_dagster.errors import ClusterLostError, TrainingProcessError

TOPIC = "taskclf_dagster-training"
"""The topic of the events of all trainings."""


class RankEvent(TypedDict):
    """An event: the process of a rank is ready on a machine, or rank 0 has done some rounds."""

    training: str
    rank: int
    machine: str
    done: int


@dataclass(frozen=True)
class RankTask:
    """The task of one rank.

    Attributes:
        training: a name that no other training has.
        rank: its number, from 0.
        shards: its rows.
        params: of the fit.
        seed: of the fit.
        required: the state that its worker must have.
    """

    training: str
    rank: int
    shards: Sequence[Shard]
    params: FitParams
    seed: int
    required: Requirement


_machines: dict[str, tuple[str, ...]] = {}
"""The machines of the trainings that this worker takes part in."""


def deliver_machines(training: str, machines: tuple[str, ...]) -> None:
    """Hands the machines on which the processes of all ranks listen to the tasks of a training on this worker."""
    _machines[training] = machines


@sendable_errors()
def run_rank(pickled: bytes, sample: Matrix | None) -> str:
    """Runs a rank on this worker and returns the text of the model.

    Args:
        pickled: a RankTask.
        sample: the rows that bins are chosen from; None for an only rank.

    Raises:
        ClusterLostError: the process ended, needs more memory than the worker has, or is not wanted any more.
        ClusterNotUsableError: the worker is not as required.
    """
    task: RankTask = pickle.loads(pickled)  # noqa: S301 - of our own process
    worker = get_worker()
    scheduler, name = str(worker.scheduler.address), str(worker.name)
    difference = find_difference(task.required)
    if difference is not None:
        raise refuse_worker(scheduler, name, difference)
    look = _Look(worker, str(worker.get_current_task()))
    secede()  # parts of other retrains can be computed meanwhile, and two trainings cannot wait for a thread of each other
    job = RankJob(task.rank, task.shards, task.params, task.seed, sample, worker.state.nthreads)
    try:
        with RankProcess(job, look) as process:
            return _train(worker, task, process)
    except TrainingProcessError as error:
        raise ClusterLostError(scheduler, "training", f"the training process on worker {name} ended: {error.reason}") from error
    finally:
        _machines.pop(task.training, None)


def _train(worker: Worker, task: RankTask, process: RankProcess) -> str:
    def announce(machine: str, done: int) -> None:
        worker.log_event(TOPIC, {"training": task.training, "rank": task.rank, "machine": machine, "done": done})

    announce(f"{worker.ip}:{process.load()}", 0)
    process.wait(lambda: task.training in _machines)
    return process.train(_machines[task.training], lambda done: announce("", done) if task.rank == 0 else None)


@dataclass(frozen=True)
class _Look:
    """Looks whether a training process should go on."""

    worker: Worker
    key: str

    def __call__(self, pid: int) -> None:
        """Raises an error for a process that nobody wants any more, or that needs more memory than its worker may use."""
        task = self.worker.state.tasks.get(self.key)
        if self.worker.status not in (Status.running, Status.paused) or task is None or task.state not in ("executing", "long-running"):
            raise TrainingProcessError("it is not wanted any more")
        limit = self.worker.memory_manager.memory_limit
        try:
            used = psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:
            return  # its end is the next message
        if limit is not None and used > limit:
            sizes = f"{used / 2**30:.2f} GiB of memory, and the limit of its worker is {limit / 2**30:.2f} GiB"
            raise TrainingProcessError(f"it needs {sizes}. Start workers with a larger --memory-limit, or more workers")
