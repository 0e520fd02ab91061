"""Learning from rows in parts: the trees are those of one matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.data.frame_parts import ChosenRows, FrameParts, WholeFrame
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.execution.local_trainer import derive_data_seed, join_targets, make_dataset
from taskclf_dagster.domain.execution.trainer import FitParams
from taskclf_dagster.domain.models.encoding import fit_encoders
from taskclf_dagster.domain.models.fitting import fit_model, lightgbm_params
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.training_inputs import TrainingShard, make_shards
from taskclf_dagster_tests.models import snapshot_rows
from taskclf_dagster_tests.scenario import retrain_config

V1 = SCHEMAS["v1"]

PARAMS = retrain_config(train_params={"num_boost_round": 3, "num_leaves": 7, "num_threads": 1}).training.train_params


@dataclass(frozen=True)
class Cut:
    """A frame cut at some rows."""

    frame: pd.DataFrame
    at: tuple[int, ...]

    @property
    def columns(self) -> Sequence[str]:
        return list(self.frame.columns)

    @property
    def sizes(self) -> Sequence[int]:
        return np.diff([0, *self.at, len(self.frame)]).tolist()

    def load_part(self, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        begin, end = [0, *self.at, len(self.frame)][number : number + 2]
        part = self.frame.iloc[begin:end].reset_index(drop=True)
        return part if columns is None else part[list(columns)]


FIT = FitParams(lightgbm={}, rounds=3, inputs=V1.model_inputs, categorical=V1.categorical)


def shards_of(rows: FrameParts, seed: int) -> list[TrainingShard]:
    params = PARAMS.model_copy(update={"constant_inputs": ["hour_of_day"], "class_weight": "none"})
    return make_shards(rows, V1, params, seed=seed, engine=LOCAL)[0]


@pytest.mark.parametrize("seed", [0, 77, 0xFFFFFFF])
@pytest.mark.parametrize("at", [(1,), (500, 900), (100, 200, 300, 400, 500, 600)])
def test_bins_are_chosen_from_the_same_sample_of_rows(at: tuple[int, ...], seed: int) -> None:
    frame = snapshot_rows()
    params = {**lightgbm_params(PARAMS, seed=seed, num_threads=1), "bin_construct_sample_cnt": 300}  # of many more rows
    trees = set()
    for rows in (WholeFrame(frame), Cut(frame, at)):
        data = make_dataset(shards_of(rows, seed), FIT, seed=seed)
        trees.add(tree_hash(lightgbm.train(params, data, num_boost_round=3).model_to_string()))
    assert len(trees) == 1


def test_another_sample_of_rows_gives_other_trees() -> None:
    assert derive_data_seed(77) != derive_data_seed(78)
    frame = snapshot_rows()
    found = set()
    for seed in (77, 78):
        data = make_dataset(shards_of(Cut(frame, (500,)), 1), FIT, seed=seed)
        params = {**lightgbm_params(PARAMS, seed=77, num_threads=1), "bin_construct_sample_cnt": 300}
        found.add(tree_hash(lightgbm.train(params, data, num_boost_round=3).model_to_string()))
    assert len(found) == 2


def test_vocabularies_masks_and_matrices_of_parts_are_those_of_the_whole() -> None:
    frame = snapshot_rows()
    (whole,), cut = shards_of(WholeFrame(frame), 5), shards_of(Cut(frame, (3, 700)), 5)
    assert all(shard.encoders == whole.encoders == fit_encoders(frame, V1, min_count=5) for shard in cut)
    np.testing.assert_array_equal(np.concatenate([shard.load_inputs() for shard in cut]), whole.load_inputs())


def test_weights_of_parts_follow_from_the_counts_of_all_rows() -> None:
    frame = snapshot_rows()
    (whole,), _ = make_shards(WholeFrame(frame), V1, PARAMS, seed=1, engine=LOCAL)
    cut, _ = make_shards(Cut(frame, (10, 700)), V1, PARAMS, seed=1, engine=LOCAL)
    there, here = join_targets([shard.load_targets() for shard in cut]), whole.load_targets()
    assert there.labels.tolist() == here.labels.tolist()
    assert here.weights is not None
    assert there.weights is not None
    assert there.weights.tolist() == here.weights.tolist()


def test_parts_without_rows_teach_nothing() -> None:
    frame = snapshot_rows()
    rows = Cut(frame, (400, 800))
    chosen = ChosenRows(rows, (np.zeros(400, dtype=bool), np.ones(400, dtype=bool), np.zeros(len(frame) - 800, dtype=bool)))
    only = frame.iloc[400:800].reset_index(drop=True)
    trees = [fit_model(each, V1, params=PARAMS, seed=3, num_threads=1).booster.model_to_string() for each in (chosen, only)]
    assert tree_hash(trees[0]) == tree_hash(trees[1])
