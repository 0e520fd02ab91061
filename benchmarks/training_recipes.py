"""Compares the trees of several processes with each other, and the figures of their models with those of one process.

The processes are those of `dask_trainer`, started on this machine without a cluster.
"""

import argparse
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from measure import AS_OF
from run import DATA
from scale import generate
from sklearn.metrics import accuracy_score, f1_score
from tabulate import tabulate

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.data.labeled_windows import open_labeled_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot_parts, open_snapshot, save_snapshot
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.execution.bin_sample import draw_sample, hash_sample, load_sample
from taskclf_dagster.domain.execution.local_engine import LocalEngine
from taskclf_dagster.domain.execution.local_trainer import LocalTrainer
from taskclf_dagster.domain.execution.rank_job import RankJob
from taskclf_dagster.domain.execution.rank_process import RankProcess
from taskclf_dagster.domain.execution.trainer import FitParams, Shard, TrainedText, Trainer
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe, lightgbm_version
from taskclf_dagster.domain.models.fitting import Fit, fit_model
from taskclf_dagster.domain.models.learned_rows import open_part
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.home import Home

FIGURES = ["seed", "trainer", "macro-F1", "weighted F1", "accuracy", "% other label", "mean difference", "CPU s"]


@dataclass(frozen=True)
class Processes:
    """A trainer of several processes on this machine; `turned` gives the shards to the ranks in the opposite order."""

    workers: int
    turned: bool = False

    def train(
        self, shards: Sequence[Shard], params: FitParams, *, seed: int, on_round: Callable[[int], object] = lambda _: None
    ) -> TrainedText:
        dealt = [number % self.workers for number in range(len(shards))]
        dealt = [self.workers - 1 - rank for rank in dealt] if self.turned else dealt
        sample = np.concatenate([load_sample(each) for each in draw_sample(shards, seed=seed)])
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(self.workers))
            processes = []
            for rank in range(self.workers):
                mine = [shard for shard, its in zip(shards, dealt, strict=True) if its == rank]
                processes.append(stack.enter_context(RankProcess(RankJob(rank, mine, params, seed, sample, 1), lambda _: None)))
            machines = [f"127.0.0.1:{port}" for port in pool.map(RankProcess.load, processes)]
            text, *others = pool.map(lambda process: process.train(machines, on_round), processes)
        if any(other != text for other in others):
            raise SystemExit("the processes have different models")
        samples, version = [hash_sample(sample)], lightgbm_version()
        recipe = TrainingRecipe(trainer="dask", workers=self.workers, shard_ranks=dealt, bin_samples=samples, lightgbm_version=version)
        return TrainedText(text, recipe)


@dataclass(frozen=True)
class TrainingWith(LocalEngine):
    """The engine of this process with another trainer."""

    chosen: Trainer

    @property
    def trainer(self) -> Trainer:
        return self.chosen


def take_snapshot(windows: int, users: int, parts: int) -> Any:
    """The stored rows of a home of the generator, in about so many parts."""
    place = DATA / f"recipes-{windows}-{users}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "data").symlink_to(generate(windows, users) / "data")
    home, config = Home(place), load_retrain_config(None)
    record = store_labeled_windows(home, as_of=AS_OF, settings=config.dataset, part_windows=windows // parts).record
    dataset, rows = build_snapshot_parts(home, record, open_labeled_windows(home, record), config=config)
    return open_snapshot(home, save_snapshot(home, dataset, rows)), config.training.train_params


def cpu_seconds() -> float:
    return sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=20, help="of the models whose figures are compared")
    parser.add_argument("--tree-rounds", type=int, default=3, help="of the models whose trees are compared")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    pa.set_cpu_count(1)
    stored, given = take_snapshot(options.windows, options.users, options.parts)
    learned, schema = open_part(stored, "first_fit"), SCHEMAS["v1"]
    test = stored.load(splits=("test",))
    true = label_codes(test).astype(np.int64)
    print(f"{sum(learned.sizes):,} rows to learn from in {len(learned.sizes)} parts, {len(test):,} to judge", flush=True)

    def fit(trainer: Trainer, rounds: int, seed: int) -> tuple[Fit, float]:
        params, begin = given.model_copy(update={"num_boost_round": rounds}), cpu_seconds()
        engine = TrainingWith(chosen=trainer)
        return fit_model(learned, schema, params=params, seed=seed, num_threads=1, engine=engine), cpu_seconds() - begin

    table = []
    for name, trainer in {"2": Processes(2), "2, turned": Processes(2, turned=True), "4": Processes(4), "local": LocalTrainer()}.items():
        begin = time.perf_counter()
        made, cpu = fit(trainer, options.tree_rounds, 1)
        table.append([name, tree_hash(made.booster.model_to_string())[:12], cpu, time.perf_counter() - begin])
        print(tabulate(table, ["workers", "trees", "CPU s", "wall s"], floatfmt=".0f"), flush=True)
    found: dict[tuple[str, int], Any] = {}
    table = []
    for seed in range(1, options.seeds + 1):
        for name, trainer in {"local": LocalTrainer(), "2 workers": Processes(2)}.items():
            made, cpu = fit(trainer, options.rounds, seed)
            said = found[name, seed] = made.predict(test, num_threads=1)
            best = said.argmax(axis=1)
            other = found["local", seed]
            table.append(
                [
                    seed,
                    name,
                    f1_score(true, best, average="macro", labels=range(len(LABELS))),
                    f1_score(true, best, average="weighted"),
                    accuracy_score(true, best),
                    100 * (best != other.argmax(axis=1)).mean(),
                    np.abs(said - other).mean(),
                    cpu,
                ]
            )
            print(
                tabulate(table, ["seed", "", "macro-F1", "weighted", "accuracy", "% other", "mean |dp|", "CPU s"], floatfmt=".4f"),
                flush=True,
            )


if __name__ == "__main__":
    main()
