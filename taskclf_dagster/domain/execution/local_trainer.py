"""The trainer of one machine: LightGBM in this process, for one matrix, or for several shards one matrix at a time.

Both give the same trees: LightGBM chooses its bins from the same sample of rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import lightgbm
import numpy as np

from taskclf_dagster.domain.execution.trainer import FitParams, Matrix, Param, Shard, Targets, TrainedText
from taskclf_dagster.domain.execution.training_recipe import local_recipe

if TYPE_CHECKING:
    from lightgbm.callback import CallbackEnv


@dataclass(frozen=True)
class LocalTrainer:
    """Fits LightGBM in this process; its trees depend neither on the shards nor on the number of threads."""

    def train(
        self, shards: Sequence[Shard], params: FitParams, *, seed: int, on_round: Callable[[int], object] = lambda _: None
    ) -> TrainedText:
        """See `Trainer.train`."""
        data = make_dataset(shards, params, seed=seed)
        del shards
        booster = lightgbm.train(
            {**params.lightgbm, "seed": seed},
            data,
            num_boost_round=params.rounds,
            callbacks=[report_rounds(on_round)],
            keep_training_booster=True,  # its text is all that is needed of it
        )
        return TrainedText(booster.model_to_string(), local_recipe())


def report_rounds(on_round: Callable[[int], object]) -> "Callable[[CallbackEnv], None]":
    """Returns a callback of LightGBM that calls with the number of rounds done after each of them."""

    def after_round(env: "CallbackEnv") -> None:
        on_round(env.iteration + 1)

    return after_round


def make_dataset(
    shards: Sequence[Shard],
    fit: FitParams,
    *,
    seed: int,
    params: Mapping[str, Param] | None = None,
    reference: lightgbm.Dataset | None = None,
) -> lightgbm.Dataset:
    """Returns the dataset of LightGBM; it reads each of several shards twice when it is made.

    Args:
        shards: the rows.
        fit: names of the inputs.
        seed: the parameter `seed` of LightGBM.
        params: parameters of LightGBM, if the dataset is made before the fit.
        reference: a dataset whose parameters and bins are taken.
    """
    filled = [shard for shard in shards if shard.rows] or list(shards[:1])
    targets = join_targets([shard.load_targets() for shard in filled])
    data: Matrix | list[_ShardInputs]
    chosen = dict((params if reference is None else reference.params) or {})
    if len(filled) == 1:
        data = filled[0].load_inputs()
    else:
        loaded = _LoadedShard()
        data = [_ShardInputs(loaded, shard) for shard in filled]
        chosen.setdefault("data_random_seed", derive_data_seed(seed))
    return lightgbm.Dataset(
        data,
        label=targets.labels,
        weight=targets.weights,
        feature_name=list(fit.inputs),
        categorical_feature=list(fit.categorical),
        params=chosen,
        reference=reference,
    )


def join_targets(targets: Sequence[Targets]) -> Targets:
    """Returns the targets of several shards, at least one, as those of one."""
    if len(targets) == 1:
        return targets[0]
    weights = [each.weights for each in targets if each.weights is not None]
    return Targets(np.concatenate([each.labels for each in targets]), np.concatenate(weights) if weights else None)


def derive_data_seed(seed: int) -> int:
    """Returns the seed by which LightGBM samples rows for its bins, as it derives it from `seed` for a matrix, but not for parts."""
    state = (214013 * (seed & 0xFFFFFFFF) + 2531011) & 0xFFFFFFFF
    return int(((state >> 16) & 0x7FFF) % 0x7FFF)


class _LoadedShard:
    """The matrix of the shard that was used last; LightGBM goes through the shards in order."""

    def __init__(self) -> None:
        self._shard: Shard | None = None
        self._matrix: Matrix = np.empty((0, 0))

    def load(self, shard: Shard) -> Matrix:
        if shard is not self._shard:
            self._matrix = np.empty((0, 0))  # so that only one is in memory
            self._shard, self._matrix = shard, np.ascontiguousarray(shard.load_inputs())
        return self._matrix


class _ShardInputs(lightgbm.Sequence):
    """The rows of one shard as LightGBM asks for them."""

    def __init__(self, loaded: _LoadedShard, shard: Shard) -> None:
        self._loaded, self._shard = loaded, shard

    def __getitem__(self, rows: int | slice | list[int]) -> Matrix:
        return self._loaded.load(self._shard)[rows]

    def __len__(self) -> int:
        return self._shard.rows
