"""The engine of a cluster: parts are computed on the workers of dask, which computes those of a lost worker again elsewhere.

Workers are found and checked in `dask_cluster`. Results come back to this process, and only it writes what lasts, so that a worker that is
late writes nothing.
"""

import pickle
import time
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from distributed import Future, KilledWorker, get_worker

from taskclf_dagster.domain.execution.dask_cluster import SCHEDULER_WENT, Cluster, refuse_worker
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe, find_other_version
from taskclf_dagster.domain.execution.worker_checks import Requirement, find_difference
from taskclf_dagster.domain.execution.worker_errors import sendable_errors
from taskclf_dagster.errors import ClusterLostError, TaskclfDagsterError
from taskclf_dagster.shown_text import counted

if TYPE_CHECKING:
    from taskclf_dagster.domain.execution.trainer import Trainer

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

EXTRA_PARTS = 2
"""Number of parts that wait for a thread of a worker, or whose results wait to be taken, besides those that are computed."""

WORKER_SECONDS = 60.0
"""Longest time without any worker. A worker that ended for lack of memory is started again by its nanny in seconds."""

_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class DaskEngine:
    """Calls each function on a worker, if there are several items.

    Attributes:
        cluster: the cluster.
        worker_seconds: longest time without any worker [seconds].
        training_workers: largest number of workers that train together; None for all that were there at the beginning.
    """

    cluster: Cluster
    worker_seconds: float = WORKER_SECONDS
    training_workers: int | None = None

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """See `Engine.map`; an only item is computed in this process.

        Raises:
            ClusterLostError: the scheduler went away, no worker is left, or one item ended each worker that tried it.
            ClusterNotUsableError: a worker that joined later is not as required.
        """
        pending = iter(items)
        first = list(islice(pending, 2))
        if len(first) < 2:
            yield from map(function, first)
            return
        yield from self._map(function, chain(first, pending))

    @property
    def trainer(self) -> "Trainer":
        """See `Engine.trainer`."""
        from taskclf_dagster.domain.execution.dask_trainer import DaskTrainer  # imports LightGBM, which costs two seconds

        return DaskTrainer(self.cluster, self, self.training_workers or len(self.cluster.workers), self.worker_seconds)

    def following(self, recipe: TrainingRecipe) -> Engine | str:
        """See `Engine.following`."""
        present = len(self.cluster.workers)
        if recipe.trainer == "local" or find_other_version(recipe) is not None:
            return LOCAL.following(recipe)
        if present < recipe.workers:
            return f"the cluster has {counted(present, 'worker')}, and the model was trained by {recipe.describe()}"
        return replace(self, training_workers=recipe.workers)

    def _map(self, function: Callable[[_Item], _Result], items: Iterator[_Item]) -> Iterator[_Result]:
        ahead = sum(worker.threads for worker in self.cluster.workers) + EXTRA_PARTS
        held = self._submit(_hold, pickle.dumps(function))
        submitted = deque(self._submit(_compute, self.cluster.required, held, pickle.dumps(item)) for item in islice(items, ahead))
        number = 0
        try:
            while submitted:
                number += 1
                future = submitted.popleft()
                result = self._take(future, number)
                del future  # so that the worker forgets the result
                submitted.extend(self._submit(_compute, self.cluster.required, held, pickle.dumps(item)) for item in islice(items, 1))
                yield result
                del result
        finally:
            if submitted and self.cluster.client.status == "running":
                self.cluster.client.cancel(list(submitted))

    def _submit(self, function: Callable[..., object], *arguments: object) -> Future[Any]:
        with self._loss_as_error():
            return self.cluster.client.submit(function, *arguments, pure=False)

    def _take(self, future: Future[Any], number: int) -> Any:
        """Returns the result of an item, once it is there."""
        seen = time.monotonic()
        while True:
            with self._loss_as_error(), suppress(TimeoutError):
                error = future.exception(timeout=_LOOK_SECONDS)
                if error is None:
                    return future.result(timeout=self.worker_seconds)  # its worker may be lost by now: then it is computed again
                break
            if self.cluster.present_workers():
                seen = time.monotonic()
            elif time.monotonic() - seen > self.worker_seconds:
                raise ClusterLostError(self.cluster.address, "workers", f"it has no worker any more for {self.worker_seconds:g} s")
        raise self._name_killed(error, number)

    def _name_killed(self, error: BaseException, number: int) -> BaseException:
        """Returns the error to raise for that of an item."""
        if isinstance(error, CancelledError | futures.CancelledError):
            return ClusterLostError(self.cluster.address, "scheduler", SCHEDULER_WENT)
        if not isinstance(error, KilledWorker):
            return error
        ended = f"item {number} ended {error.allowed_failures + 1} workers that computed it, the last {error.last_worker.name}"
        lost = ClusterLostError(self.cluster.address, "killed", f"{ended}. Mostly a worker has less memory than a part needs")
        lost.__cause__ = error
        return lost

    @contextmanager
    def _loss_as_error(self) -> Iterator[None]:
        """Raises ClusterLostError for errors of a connection that is not there any more."""
        try:
            yield
        except (CancelledError, futures.CancelledError) as error:
            raise ClusterLostError(self.cluster.address, "scheduler", SCHEDULER_WENT) from error
        except Exception as error:
            if isinstance(error, TaskclfDagsterError) or self.cluster.client.status == "running":
                raise
            raise ClusterLostError(self.cluster.address, "scheduler", SCHEDULER_WENT) from error


def _hold(function: bytes) -> bytes:
    """Returns a pickled function, which is sent to the scheduler once; workers have it from each other."""
    return function


def _compute(required: Requirement, function: bytes, item: bytes) -> object:
    """Computes one item on a worker."""
    with sendable_errors():
        difference = find_difference(required)
        if difference is not None:
            worker = get_worker()
            raise refuse_worker(str(worker.scheduler.address), str(worker.name), difference)
        return pickle.loads(function)(pickle.loads(item))  # noqa: S301  # of our own process
