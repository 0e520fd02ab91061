"""Training on a cluster on loopback: trees that follow from the recipe, and what happens when processes go away in the middle."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pytest

from taskclf_dagster.domain.execution.bin_sample import draw_sample, hash_sample, load_sample
from taskclf_dagster.domain.execution.dask_cluster import open_cluster
from taskclf_dagster.domain.execution.dask_engine import DaskEngine
from taskclf_dagster.domain.execution.dask_rank import run_rank
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.execution.local_trainer import LocalTrainer
from taskclf_dagster.domain.execution.trainer import Shard, TrainedText
from taskclf_dagster.domain.execution.training_recipe import lightgbm_version, local_recipe
from taskclf_dagster.domain.scheduling.failure_kinds import TRANSIENT, classify_failure
from taskclf_dagster.errors import ClusterLostError, SnapshotError
from taskclf_dagster_tests.dask_processes import TIMEOUT_SECONDS, DaskProcesses, dask_processes
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.servers import until
from taskclf_dagster_tests.training_shards import LargeShard, MissingShard, cut, fit_params, is_alive, training_processes

pytestmark = pytest.mark.server

LONG = 1_000_000
"""Rounds of a training that a test ends."""


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with dask_processes(tmp_path_factory.mktemp("cluster") / "dask") as started:
        yield started


@pytest.fixture
def pair(lasting: DaskProcesses) -> DaskProcesses:
    """A cluster of two workers of 800 MiB, which a test may kill."""
    lasting.start_again(2, "--memory-limit", "800MiB")
    return lasting


@contextmanager
def engine_of(processes: DaskProcesses | str, tmp_path: Path) -> Iterator[DaskEngine]:
    address = processes if isinstance(processes, str) else processes.address
    with open_cluster(address, make_home(tmp_path)) as cluster:
        yield DaskEngine(cluster)


def train(
    engine: DaskEngine, shards: Sequence[Shard], *, rounds: int = 5, on_round: Callable[[int], object] = lambda _: None
) -> TrainedText:
    return engine.trainer.train(shards, fit_params(rounds), seed=5, on_round=on_round)


def processes_of(cluster: DaskProcesses) -> list[psutil.Process]:
    return training_processes([worker.pid for worker in cluster.workers.values()])


def assert_gone(processes: Sequence[psutil.Process]) -> None:
    for _ in until(90, every=0.1):
        if not any(map(is_alive, processes)):
            break
    assert [process for process in processes if is_alive(process)] == []


def lose(engine: DaskEngine, cluster: DaskProcesses, go_away: Callable[[list[psutil.Process]], object]) -> ClusterLostError:
    """Trains until something goes away after some rounds; no process that trained is left, and the failure is one that may pass."""
    seen: list[psutil.Process] = []

    def on_round(done: int) -> None:
        if not seen:
            seen.extend(processes_of(cluster))
            assert len(seen) == 2
            go_away(seen)

    with pytest.raises(ClusterLostError) as caught:
        train(engine, cut(3000, 3000), rounds=LONG, on_round=on_round)
    assert_gone(seen)
    assert classify_failure([("ClusterLostError", str(caught.value))]) in TRANSIENT
    return caught.value


# --- Trees and recipe -----------------------------------------------------------------------------------------------------------


def test_two_trainings_give_the_same_text_by_the_same_recipe(pair: DaskProcesses, tmp_path: Path) -> None:
    shards, heard = cut(1000, 0, 2000, 1500), []
    with engine_of(pair, tmp_path) as engine:
        found = [train(engine, shards, on_round=heard.append) for _ in range(2)]
    assert found[0] == found[1]
    recipe = found[0].recipe
    assert (recipe.trainer, recipe.workers, recipe.shard_ranks) == ("dask", 2, [0, 1, 0])  # shards without rows have no rank
    sample = np.concatenate([load_sample(each) for each in draw_sample(shards, seed=5)])
    assert (recipe.bin_samples, recipe.lightgbm_version) == ([hash_sample(sample)], lightgbm_version())
    assert heard[-1] == 5
    assert processes_of(pair) == []
    assert found[0].text != LocalTrainer().train(shards, fit_params(), seed=5).text


def test_one_shard_or_one_worker_is_trained_by_the_recipe_of_one_process(pair: DaskProcesses, tmp_path: Path) -> None:
    halves = cut(1000, 1000)
    local = LocalTrainer().train(halves, fit_params(), seed=5)
    assert local.recipe == local_recipe()
    with engine_of(pair, tmp_path) as engine:
        assert train(replace(engine, training_workers=1), halves) == local
        assert train(engine, cut(2000)) == local


def test_a_cluster_follows_the_recipes_that_it_has_the_workers_for(pair: DaskProcesses, tmp_path: Path) -> None:
    with engine_of(pair, tmp_path) as engine:
        recipe = local_recipe().model_copy(update={"trainer": "dask", "workers": 2})
        assert engine.following(recipe) == replace(engine, training_workers=2)
        assert engine.following(local_recipe()) is LOCAL
        assert "the cluster has 2 workers" in str(engine.following(recipe.model_copy(update={"workers": 3})))
        assert "LightGBM is" in str(engine.following(recipe.model_copy(update={"lightgbm_version": "4.0.0"})))


# --- Processes that go away -----------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_in_the_middle_ends_the_training_on_the_other_one(pair: DaskProcesses, tmp_path: Path) -> None:
    with engine_of(pair, tmp_path) as engine:
        victim = list(pair.workers)[1]
        lost = lose(engine, pair, lambda _: pair.kill(victim))
        assert (lost.kind, f"worker {victim} went away in the middle of the work" in str(lost)) == ("workers", True)
        assert [key for key in engine.cluster.client.futures if run_rank.__name__ in str(key)] == []


def test_a_training_process_that_is_killed_is_named_with_its_worker_and_the_workers_train_again(
    pair: DaskProcesses, tmp_path: Path
) -> None:
    with engine_of(pair, tmp_path) as engine:
        lost = lose(engine, pair, lambda seen: seen[1].kill())
        assert (lost.kind, "ended: it was ended by signal SIGKILL" in str(lost)) == ("training", True)
        assert train(engine, cut(1000, 1000)).recipe.workers == 2


def test_a_scheduler_that_is_killed_in_the_middle_ends_the_training_on_all_workers(pair: DaskProcesses, tmp_path: Path) -> None:
    with engine_of(pair, tmp_path) as engine:
        lost = lose(engine, pair, lambda _: pair.kill_scheduler())
    assert (lost.kind, "the scheduler went away" in str(lost)) == ("scheduler", True)


def test_a_run_that_is_killed_in_the_middle_leaves_no_training_behind(pair: DaskProcesses, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    run = context.Process(target=_train_for_long, args=(pair.address, tmp_path, theirs))
    run.start()
    assert ours.poll(TIMEOUT_SECONDS)
    seen = processes_of(pair)
    assert len(seen) == 2
    run.kill()
    run.join()
    assert_gone(seen)


def test_a_process_that_needs_more_memory_than_its_worker_may_use_is_ended_with_the_limit_in_the_sentence(
    pair: DaskProcesses, tmp_path: Path
) -> None:
    with engine_of(pair, tmp_path) as engine, pytest.raises(ClusterLostError) as caught:
        train(engine, [*cut(500), LargeShard(500, 1000)])
    assert "limit of its worker is 0.78 GiB" in str(caught.value)
    assert caught.value.kind == "training"
    assert classify_failure([("ClusterLostError", str(caught.value))]) in TRANSIENT
    assert_gone(processes_of(pair))


def test_an_error_of_a_shard_is_raised_here_and_ends_the_other_processes(pair: DaskProcesses, tmp_path: Path) -> None:
    with engine_of(pair, tmp_path) as engine, pytest.raises(SnapshotError, match="part-001"):
        train(engine, [*cut(500), MissingShard(500, 1000)])
    assert_gone(processes_of(pair))


def _train_for_long(address: str, folder: Path, connection: Connection) -> None:
    with engine_of(address, folder) as engine:
        train(engine, cut(3000, 3000), rounds=LONG, on_round=connection.send)
