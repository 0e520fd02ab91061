"""The trainer of a cluster: LightGBM's socket learner, with one process on each worker of dask. Its trees depend on its recipe.

Shards are dealt to ranks in order, whatever worker has read them before, and all ranks choose bins from one sample, so that nothing depends
on chance. Rows in one shard are trained on in this process, and with one worker in one process there, by the recipe of the local trainer.
A training that loses a worker is ended on the others; the retrain is then launched again.
"""

import pickle
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue

import numpy as np
from distributed import Future, Lock
from lightgbm.basic import LightGBMError

from taskclf_dagster.domain.execution.bin_sample import draw_sample, hash_sample, load_sample
from taskclf_dagster.domain.execution.dask_cluster import Cluster, ClusterWorker, Watch
from taskclf_dagster.domain.execution.dask_rank import TOPIC, RankEvent, RankTask, deliver_machines, run_rank
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_trainer import LocalTrainer
from taskclf_dagster.domain.execution.trainer import FitParams, Matrix, Shard, TrainedText
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe, lightgbm_version, local_recipe
from taskclf_dagster.errors import ClusterLostError, ClusterNotUsableError

WORKER_SECONDS = 60.0
"""Longest wait for as many workers as there were at the beginning. A worker that ended is started again by its nanny in seconds."""


CAUSE_SECONDS = 5.0
"""Time in which the cause is looked for after a rank has lost its connection to another one."""


_LOCK = "taskclf_dagster-training"


_LOOK_SECONDS = 0.5


_CONNECTION = re.compile(r"socket|connect|bind|port|network|rank|recv|send", re.IGNORECASE)


@dataclass(frozen=True)
class DaskTrainer:
    """Fits LightGBM on the workers of a cluster, one training of all its users at a time.

    Attributes:
        cluster: the cluster.
        engine: loads the sample.
        workers: largest number of processes.
        worker_seconds: longest wait for so many workers [seconds].
    """

    cluster: Cluster
    engine: Engine
    workers: int
    worker_seconds: float = WORKER_SECONDS

    def train(
        self, shards: Sequence[Shard], params: FitParams, *, seed: int, on_round: Callable[[int], object] = lambda _: None
    ) -> TrainedText:
        """See `Trainer.train`.

        Raises:
            ClusterLostError: the scheduler, a worker or a training process went away.
            ClusterNotUsableError: a worker is not as required.
        """
        filled = [shard for shard in shards if shard.rows] or list(shards[:1])
        ranks = min(self.workers, len(filled))
        dealt = deal_shards(len(filled), ranks)
        if len(filled) == 1:
            return LocalTrainer().train(filled, params, seed=seed, on_round=on_round)
        sample = np.concatenate(list(self.engine.map(load_sample, draw_sample(filled, seed=seed)))) if ranks > 1 else None
        with _alone(self.cluster):
            workers = self._find_workers(ranks)
            name = uuid.uuid4().hex
            tasks = [
                RankTask(name, rank, [filled[i] for i in np.flatnonzero(np.equal(dealt, rank))], params, seed, self.cluster.required)
                for rank in range(ranks)
            ]
            text = _Training(replace(self.cluster, workers=workers), name, tasks, sample, on_round).run()
        on_round(params.rounds)
        if sample is None:
            return TrainedText(text, local_recipe())
        samples, version = [hash_sample(sample)], lightgbm_version()
        return TrainedText(
            text, TrainingRecipe(trainer="dask", workers=ranks, shard_ranks=dealt, bin_samples=samples, lightgbm_version=version)
        )

    def _find_workers(self, number: int) -> tuple[ClusterWorker, ...]:
        """Returns the first workers by name.

        Raises:
            ClusterLostError: there are not as many.
        """
        begin = time.monotonic()
        while len(workers := self.cluster.present_workers()) < number:
            if time.monotonic() - begin > self.worker_seconds:
                reason = f"it has {len(workers)} of the {number} workers that it began with, for {self.worker_seconds:g} s"
                raise ClusterLostError(self.cluster.address, "workers", reason)
            time.sleep(_LOOK_SECONDS)
        return workers[:number]


def deal_shards(shards: int, ranks: int) -> list[int]:
    """Returns the rank of each shard: the ranks in turn."""
    return [number % ranks for number in range(shards)]


class _Training:
    """One training while it runs; worker number r of the cluster has rank r."""

    def __init__(
        self, cluster: Cluster, name: str, tasks: Sequence[RankTask], sample: Matrix | None, on_round: Callable[[int], object]
    ) -> None:
        self._cluster, self._client, self._name, self._on_round = cluster, cluster.client, name, on_round
        self._tasks, self._sample = tasks, sample
        self._events: SimpleQueue[RankEvent] = SimpleQueue()
        self._machines: dict[int, str] = {}
        self._futures: list[Future[str]] = []
        self._watch = Watch(cluster)

    def run(self) -> str:
        """Runs the ranks, and returns the text of the model."""
        self._client.subscribe_topic(TOPIC, self._receive)
        try:
            self._submit()
            while not all(future.done() for future in self._futures):
                self._handle_events()
                self._raise_loss()
                if any(future.status in ("error", "cancelled", "lost") for future in self._futures):
                    raise self._find_cause()
            return self._join([future.result() for future in self._futures])
        except (OSError, TimeoutError) as error:
            self._raise_loss()
            raise ClusterLostError(self._cluster.address, "workers", f"they did not answer ({error})") from error
        finally:
            self._end()

    def _submit(self) -> None:
        addresses = [worker.address for worker in self._cluster.workers]
        sample = None if self._sample is None else self._client.scatter(self._sample, workers=addresses, broadcast=True, hash=False)
        self._futures = [
            self._client.submit(run_rank, pickle.dumps(task), sample, workers=[address], allow_other_workers=False, pure=False, retries=0)
            for task, address in zip(self._tasks, addresses, strict=True)
        ]

    def _receive(self, event: tuple[float, RankEvent]) -> None:
        if event[1]["training"] == self._name:
            self._events.put(event[1])

    def _handle_events(self) -> None:
        with suppress(Empty):
            event = self._events.get(timeout=_LOOK_SECONDS)
            if not event["machine"]:
                self._on_round(event["done"])
                return
            self._machines[event["rank"]] = event["machine"]
            if len(self._machines) == len(self._tasks):
                machines = tuple(self._machines[rank] for rank in range(len(self._tasks)))
                addresses = [worker.address for worker in self._cluster.workers]
                self._client.run(deliver_machines, self._name, machines, workers=addresses, on_error="return")

    def _raise_loss(self) -> None:
        loss = self._watch.find_loss()
        if loss is not None:
            raise loss

    def _find_cause(self) -> BaseException:
        """Returns the error to raise once a rank has failed: one that lost its connection to another fails before the cause is known."""
        until = time.monotonic() + CAUSE_SECONDS
        while True:
            self._raise_loss()
            errors = [future.exception() for future in self._futures if future.status == "error"]
            causes = [error for error in errors if error is not None and not _is_connection(error)]
            if causes:
                return causes[0]
            if time.monotonic() > until:
                reason = str(errors[0]) if errors else "its tasks were cancelled"
                return ClusterLostError(self._cluster.address, "training", f"a training process lost the others: {reason}")
            time.sleep(_LOOK_SECONDS)

    def _join(self, texts: Sequence[str]) -> str:
        """Returns the model, which every rank has.

        Raises:
            ClusterNotUsableError: the ranks have different models.
        """
        differing = [worker.name for worker, text in zip(self._cluster.workers, texts, strict=True) if text != texts[0]]
        if differing:
            reason = f"worker {differing[0]} has made another model than worker {self._cluster.workers[0].name} from the same histograms"
            fix = "Use machines with the same processors and libraries"
            raise ClusterNotUsableError(self._cluster.address, "code", reason, fix)
        return texts[0]

    def _end(self) -> None:
        """Cancels what still runs: the tasks see it and kill their processes."""
        with suppress(OSError, TimeoutError, ValueError, RuntimeError):
            if self._client.status == "running":
                self._client.cancel(self._futures)
                self._client.unsubscribe_topic(TOPIC)


def _is_connection(error: BaseException) -> bool:
    return isinstance(error, LightGBMError) and _CONNECTION.search(str(error)) is not None


@contextmanager
def _alone(cluster: Cluster) -> Iterator[None]:
    """Waits until no other training runs on the cluster: two of them would need the memory of both."""
    lock = Lock(_LOCK, scheduler_rpc=cluster.client.scheduler, loop=cluster.client.loop)
    watch = cluster.watch()
    take = partial(lock.acquire, timeout=_LOOK_SECONDS)
    while not _or_loss(take, watch):
        loss = watch.find_loss()
        if loss is not None and loss.kind == "scheduler":
            raise loss
    try:
        yield
    finally:
        with suppress(OSError, TimeoutError, RuntimeError):
            if cluster.client.status == "running":
                lock.release()


def _or_loss(take: Callable[[], bool], watch: Watch) -> bool:
    try:
        return take()
    except (OSError, TimeoutError) as error:
        raise watch.find_loss() or error from error
