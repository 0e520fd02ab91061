"""Trains the challengers of the next looks in other processes, while the present one is judged.

What a look will train is guessed: labels launch a retrain as soon as there are enough, with the settings of the last challenger. A wrong
guess costs its time and nothing else, because a fit is found by all that it follows from.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.backtest.looks import Look
from taskclf_dagster.domain.backtest.policies import Policy
from taskclf_dagster.domain.backtest.replayed_home import open_replayed_home
from taskclf_dagster.domain.backtest.shared_fits import Trainer
from taskclf_dagster.domain.backtest.workshop import Workshop
from taskclf_dagster.domain.models.chosen_settings import ChosenSettings
from taskclf_dagster.home import Home


class FitOrder(NamedTuple):
    """One challenger to train ahead.

    Attributes:
        root: folder of the real home.
        config: of the policy.
        at: the as-of time.
        earlier: the settings of the last challenger.
        code_version, library_versions: of the trainer.
    """

    root: Path
    config: RetrainConfig
    at: datetime
    earlier: ChosenSettings
    code_version: str
    library_versions: Mapping[str, str]

    @property
    def name(self) -> tuple[datetime, str, str]:
        """All that the fit follows from, but the home."""
        config = self.config
        shapes = config.dataset.model_dump_json() + config.training.model_dump_json() + config.evaluation.model_dump_json()
        return self.at, shapes, self.earlier.model_copy(update={"reason": "", "search": None}).model_dump_json()


@dataclass
class FitsAhead:
    """The fits that other processes train.

    Attributes:
        workshop: of the replay.
        pool: the processes; None to train nothing ahead.
        workers: number of them.
        started: the fits that were started, by all that they follow from.
    """

    workshop: Workshop
    pool: ProcessPoolExecutor | None
    workers: int
    started: dict[tuple[datetime, str, str], "Future[None]"] = field(default_factory=dict)

    def start(self, policy: Policy, looks: Sequence[Look], earlier: ChosenSettings) -> None:
        """Starts the fits of the next looks, one for each process.

        Args:
            policy: the policy.
            looks: those that are still to come, in order.
            earlier: the settings of the last challenger.
        """
        if self.pool is None or policy.rule == "never" or policy.config.scheduling.min_new_labels > self.workshop.labels.count:
            return
        trainer = self.workshop.retrainer.trainer
        for look in [look for look in looks if look.by == "labels"][: self.workers]:
            order = FitOrder(self.workshop.home.root, policy.config, look.at, earlier, trainer.code_version, trainer.library_versions)
            if order.name in self.started:
                continue
            try:
                self.started[order.name] = self.pool.submit(train_ahead, order)
            except BrokenExecutor:  # a process was killed, as where memory is short: the replay goes on alone
                self.pool = None
                return

    def wait(self, at: datetime) -> None:
        """Waits for the fits of a look that are under way; one that failed is trained again by the replay, which reports why."""
        for (moment, *_), future in self.started.items():
            if moment == at:
                future.exception()


@contextmanager
def open_fits_ahead(workshop: Workshop, workers: int) -> Iterator[FitsAhead]:
    """Starts the processes within the block; with one worker or fewer there are none.

    A process ends with the one that started it, however that ends.
    """
    if workers < 2:  # a single processor has no time to spare
        yield FitsAhead(workshop, None, 0)
        return
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    try:
        yield FitsAhead(workshop, pool, workers)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()


def train_ahead(order: FitOrder) -> None:
    """Trains one challenger in this process, unless there is nothing to learn from; its bundle is kept for all replays."""
    workshop = _open_workshop(order.root, order.code_version, tuple(order.library_versions.items()))
    with open_replayed_home(workshop.home, workshop.labels) as replayed:
        replayed.advance(order.at)
        dataset = workshop.retrainer.datasets.get(replayed.home, as_of=order.at, config=order.config, may_skip=False)
        if dataset.snapshot is not None:
            workshop.retrainer.fits.get(replayed.home, dataset.snapshot, config=order.config, earlier=order.earlier)


@cache
def _open_workshop(root: Path, code_version: str, library_versions: tuple[tuple[str, str], ...]) -> Workshop:
    return Workshop.open(Home(root), Trainer(1, code_version, dict(library_versions), time.perf_counter, time.process_time))


def _end_with_parent() -> None:
    """Leaves Ctrl-C to the process that started this one, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), name="end-with-parent", daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
