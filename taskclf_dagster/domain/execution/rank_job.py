"""One process of a training that several share: what it is given, and what it does with LightGBM.

LightGBM's own socket learner connects the processes (`tree_learner=data`): each has its rows, and they add up their histograms. The process
is started and ended in `rank_process`.
"""

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lightgbm

from taskclf_dagster.domain.execution.local_trainer import derive_data_seed, make_dataset, report_rounds
from taskclf_dagster.domain.execution.trainer import FitParams, Matrix, Param, Shard

CONNECTION_MINUTES = 120
"""Longest silence of another process that LightGBM bears; one that is lost is noticed by others, much earlier."""


_PLACE = re.compile(r"^\[(machines|local_listen_port|num_threads): .*\]$", re.MULTILINE)


@dataclass(frozen=True)
class RankJob:
    """The part of one process in a training.

    Attributes:
        rank: its number, from 0.
        shards: its rows; at least one shard, none of them empty.
        params: of the fit.
        seed: every random choice follows from it.
        sample: the rows that bins are chosen from, the same for every process; None for an only process, which trains as this one would.
        num_threads: of LightGBM.
    """

    rank: int
    shards: Sequence[Shard]
    params: FitParams
    seed: int
    sample: Matrix | None
    num_threads: int


def load_rank(job: RankJob) -> lightgbm.Dataset:
    """Reads the rows of a job and returns them as LightGBM's dataset, with the bins of the common sample."""
    if job.sample is None:
        return make_dataset(job.shards, job.params, seed=job.seed, params=_fit_params(job)).construct()
    reference = lightgbm.Dataset(
        job.sample,
        feature_name=list(job.params.inputs),
        categorical_feature=list(job.params.categorical),
        params={**_fit_params(job), "data_random_seed": derive_data_seed(job.seed)},
    ).construct()
    return make_dataset(job.shards, job.params, seed=job.seed, reference=reference).construct()


def choose_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as chosen:
        chosen.bind(("", 0))
        return int(chosen.getsockname()[1])


def train_rank(job: RankJob, data: lightgbm.Dataset, machines: Sequence[str], on_round: Callable[[int], object]) -> str:
    """Trains together with the processes of the other ranks, and returns the model, which is the same in each of them.

    Args:
        job: what this process was given.
        data: from `load_rank`.
        machines: `host:port` of each rank; LightGBM finds out which of them it is itself.
        on_round: called with the number of rounds done after each of them.
    """
    network: dict[str, Param] = {}
    if job.sample is not None:
        network = {
            "machines": ",".join(machines),
            "local_listen_port": int(machines[job.rank].rpartition(":")[2]),
            "num_machines": len(machines),
            "time_out": CONNECTION_MINUTES,
        }
    booster = lightgbm.train(
        {**_fit_params(job), **network},
        data,
        num_boost_round=job.params.rounds,
        callbacks=[report_rounds(on_round)],
        keep_training_booster=True,
    )
    return without_place(booster.model_to_string(), num_threads=job.params.lightgbm.get("num_threads", 0))


def without_place(text: str, *, num_threads: Param) -> str:
    """Returns the text of a model without hosts and ports of its training, and with the number of threads that was asked for."""
    defaults = {"machines": "", "local_listen_port": 12400, "num_threads": num_threads}
    return _PLACE.sub(lambda found: f"[{found[1]}: {defaults[found[1]]}]", text)


def _fit_params(job: RankJob) -> dict[str, Param]:
    params: dict[str, Param] = {**job.params.lightgbm, "seed": job.seed, "num_threads": job.num_threads}
    if job.sample is None:
        return params
    return {
        **params,
        "tree_learner": "data",
        "pre_partition": True,
        "feature_pre_filter": False,  # an input that the sample has too seldom to be split by may be split by in all rows
    }
