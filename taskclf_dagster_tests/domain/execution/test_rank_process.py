"""Processes of LightGBM's sockets without a cluster: the trees that they make together, and how they end."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection

import numpy as np
import psutil
import pytest

from taskclf_dagster.domain.execution.bin_sample import draw_sample, load_sample
from taskclf_dagster.domain.execution.local_trainer import LocalTrainer
from taskclf_dagster.domain.execution.rank_job import RankJob
from taskclf_dagster.domain.execution.rank_process import RankProcess
from taskclf_dagster.domain.execution.trainer import FitParams, Shard
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.errors import SnapshotError, TrainingProcessError
from taskclf_dagster_tests.servers import TIMEOUT_SECONDS, until
from taskclf_dagster_tests.training_shards import MissingShard, cut, fit_params, is_alive

pytestmark = pytest.mark.slow

LONG = 1_000_000
"""Rounds of a training that a test ends."""


def jobs(shards: Sequence[Shard], dealt: Sequence[int], params: FitParams, *, shared: bool = True) -> list[RankJob]:
    sample = np.concatenate([load_sample(each) for each in draw_sample(shards, seed=5)]) if shared else None
    ranks = range(max(dealt) + 1)
    return [RankJob(rank, [shard for shard, its in zip(shards, dealt, strict=True) if its == rank], params, 5, sample, 1) for rank in ranks]


def train(
    started: Sequence[RankJob], *, on_round: Callable[[int], object] = lambda _: None, look: Callable[[int], object] = lambda _: None
) -> list[str]:
    """The texts of all ranks."""
    with ExitStack() as stack:
        processes = [stack.enter_context(RankProcess(job, look)) for job in started]
        pool = stack.enter_context(ThreadPoolExecutor(len(processes)))
        machines = [f"127.0.0.1:{port}" for port in pool.map(RankProcess.load, processes)]
        return list(pool.map(lambda process: process.train(machines, on_round), processes))


def test_two_and_four_processes_give_the_same_trees_whatever_the_ranks_of_the_shards() -> None:
    halves, quarters = cut(3000, 5000), cut(1000, 2000, 2000, 3000)
    found = [train(jobs(halves, [0, 1], fit_params())), train(jobs(quarters, [2, 0, 3, 1], fit_params()))]
    assert len({tree_hash(text) for texts in found for text in texts}) == 1
    assert found[0][0] == found[0][1]  # every line, and so neither hosts nor ports
    assert "127.0.0.1" not in found[0][0]


def test_an_only_process_makes_the_text_of_the_local_trainer() -> None:
    shards = cut(500, 700)
    local = LocalTrainer().train(shards, fit_params(), seed=5)
    assert train(jobs(shards, [0, 0], fit_params(), shared=False)) == [local.text]


def test_a_killed_process_is_an_error_that_names_the_signal() -> None:
    (job,) = jobs(cut(500), [0], fit_params(LONG), shared=False)
    with RankProcess(job, lambda _: None) as process:
        port = process.load()
        with pytest.raises(TrainingProcessError, match="ended by signal SIGKILL, as the system does when memory runs out"):
            process.train([f"127.0.0.1:{port}"], lambda _: os.kill(process.pid, signal.SIGKILL))


def test_an_error_of_a_shard_is_raised_by_its_class() -> None:
    (job,) = jobs([MissingShard(0, 500)], [0], fit_params(), shared=False)
    with RankProcess(job, lambda _: None) as process, pytest.raises(SnapshotError, match="part-001") as caught:
        process.load()
    assert caught.value.reason == "it cannot be read"


def test_a_process_that_waits_for_another_one_is_killed_when_it_is_not_wanted_any_more() -> None:
    """LightGBM's C++ code waits for the other rank, which never comes."""
    first = jobs(cut(500, 500), [0, 1], fit_params())[0]
    wanted = [True]

    def look(pid: int) -> None:
        if not wanted[0] and psutil.Process(pid).net_connections("tcp"):
            raise TrainingProcessError("it is not wanted any more")

    with RankProcess(first, look) as process:
        port = process.load()
        wanted[0] = False
        with pytest.raises(TrainingProcessError, match="not wanted"):
            process.train([f"127.0.0.1:{port}", "127.0.0.1:9"], lambda _: None)
    assert not psutil.pid_exists(process.pid)


def test_a_process_ends_when_its_parent_is_killed() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    parent = context.Process(target=_start_and_wait, args=(theirs,))
    parent.start()
    assert ours.poll(TIMEOUT_SECONDS)
    child = psutil.Process(ours.recv())
    assert is_alive(child)
    parent.kill()
    parent.join()
    for _ in until(60, every=0.1):
        if not is_alive(child):
            break
    assert not is_alive(child)


def _start_and_wait(connection: Connection) -> None:
    """Says which process waits for its peers. It sends nothing, and so does not end by a pipe that nobody reads any more."""
    (job,) = jobs(cut(500), [0], fit_params(), shared=False)
    with RankProcess(job, lambda _: None) as process:
        process.load()
        connection.send(process.pid)
        time.sleep(TIMEOUT_SECONDS)
