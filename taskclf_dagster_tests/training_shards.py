"""Rows for trainings of several processes: drawn, so that a test can ask for any number of them, and shards that fail or fill memory."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from taskclf_dagster.domain.execution import training_process
from taskclf_dagster.domain.execution.trainer import FitParams, Matrix, Targets
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster_tests.servers import TIMEOUT_SECONDS

INPUTS = ("a", "b", "c")


@dataclass(frozen=True)
class DrawnShard:
    """Rows `begin` to `end` of a table that every process draws alike: two numbers, and a category of three values."""

    begin: int
    end: int

    @property
    def rows(self) -> int:
        return self.end - self.begin

    def load_inputs(self) -> Matrix:
        rng = np.random.default_rng(7)
        table = np.column_stack([rng.normal(size=20_000), rng.normal(size=20_000), rng.integers(0, 3, size=20_000)])
        return np.asarray(table[self.begin : self.end], order="F")

    def load_targets(self) -> Targets:
        matrix = self.load_inputs()
        labels = (matrix[:, 0] + 0.5 * matrix[:, 2] > 0).astype(np.int64) + 2 * (matrix[:, 1] > 0.3)
        return Targets(labels, np.where(labels == 0, 2.0, 1.0))


@dataclass(frozen=True)
class MissingShard(DrawnShard):
    """A shard whose file is missing when it is loaded to train."""

    def load_targets(self) -> Targets:
        raise SnapshotError(Path("/x/part-001.parquet"), "it cannot be read")


@dataclass(frozen=True)
class LargeShard(DrawnShard):
    """A shard that takes a GiB of memory while it is loaded to train."""

    def load_targets(self) -> Targets:
        held, begin = np.ones(2**27), time.monotonic()
        while held[0] and time.monotonic() - begin < TIMEOUT_SECONDS:  # until somebody ends it
            time.sleep(0.1)
        return super().load_targets()


def cut(*sizes: int) -> list[DrawnShard]:
    """Shards of these sizes, one after another."""
    ends = np.cumsum(sizes).tolist()
    return [DrawnShard(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def fit_params(rounds: int = 5) -> FitParams:
    """Parameters of a small fit."""
    given = {"objective": "multiclass", "num_class": 4, "num_leaves": 7, "verbose": -1, "deterministic": True, "force_row_wise": True}
    return FitParams(lightgbm={**given, "num_threads": 1}, rounds=rounds, inputs=INPUTS, categorical=("c",))


def training_processes(roots: Sequence[int]) -> list[psutil.Process]:
    """The processes that train, among the descendants of others."""
    found = []
    for root in roots:
        for process in _descendants(root):
            try:
                if training_process.__name__ in process.cmdline():
                    found.append(process)
            except psutil.Error:
                continue
    return found


def is_alive(process: psutil.Process) -> bool:
    """True if a process runs; one that nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _descendants(root: int) -> Iterator[psutil.Process]:
    try:
        yield from psutil.Process(root).children(recursive=True)
    except psutil.NoSuchProcess:
        return
