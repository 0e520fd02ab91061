"""Fits LightGBM on labeled rows: parameters, and predictions of the fit (contract, section 6). `training_inputs` prepares the rows.

Deterministic: equal rows, parameters, seed and recipe give equal trees, independent of the number of threads. What is
fitted for a challenger, and in which order, is in `training`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, FeatureSchema
from taskclf_dagster.domain.data.frame_parts import Rows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.execution.trainer import FitParams, Param
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe
from taskclf_dagster.domain.models.encoding import Encoders, encode_blocks
from taskclf_dagster.domain.models.training_inputs import make_shards

if TYPE_CHECKING:
    import lightgbm


@dataclass(frozen=True)
class Fit:
    """One fitted LightGBM model with its vocabularies, and the recipe of its trees."""

    booster: "lightgbm.Booster"
    schema: FeatureSchema
    encoders: dict[str, list[str]]
    recipe: TrainingRecipe

    def predict(self, rows: pd.DataFrame, *, num_threads: int) -> npt.NDArray[np.float64]:
        """Returns class probabilities of shape (n_rows, 8); see `predict_rows`."""
        return predict_rows(self.booster, rows, self.schema, self.encoders, num_threads=num_threads)


def fit_model(
    rows: Rows,
    schema: FeatureSchema,
    *,
    params: TrainParams,
    seed: int,
    num_threads: int,
    engine: Engine = LOCAL,
    on_round: Callable[[int], object] = lambda _: None,
) -> Fit:
    """Fits LightGBM on rows with their labels, as `build_snapshot` describes them.

    Args:
        rows: the rows to learn from.
        schema: their schema version.
        params: parameters of LightGBM and of the preparation of the rows.
        seed: every random choice follows from it.
        num_threads: of LightGBM; the trees do not depend on it.
        engine: counts the rows and trains; the trees depend on its recipe.
        on_round: called with the number of rounds that are done; the trees do not depend on it.
    """
    shards, encoders = make_shards(rows, schema, params, seed=seed, engine=engine)
    del rows
    fit_params = FitParams(
        lightgbm=lightgbm_params(params, seed=seed, num_threads=num_threads),
        rounds=params.num_boost_round,
        inputs=schema.model_inputs,
        categorical=schema.categorical,
    )
    trained = engine.trainer.train(shards, fit_params, seed=seed, on_round=on_round)
    return Fit(read_booster(trained.text), schema, encoders, trained.recipe)


def read_booster(text: str) -> "lightgbm.Booster":
    """Returns the model of a text that a trainer returned."""
    import lightgbm  # costs two seconds; only what trains or predicts pays for it

    return lightgbm.Booster(model_str=text)


def lightgbm_params(params: TrainParams, *, seed: int, num_threads: int) -> dict[str, Param]:
    """Returns the parameters of `lightgbm.train`, but for the number of rounds."""
    return {
        "objective": "multiclass",
        "metric": "multi_logloss",
        **params.model_dump(exclude={"num_boost_round", "class_weight", "constant_inputs", "num_threads"}),
        "verbose": -1,
        "num_class": len(LABELS),
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "num_threads": num_threads,
    }


def predict(
    booster: "lightgbm.Booster", matrix: npt.NDArray[np.float64], *, num_threads: int, raw_score: bool = False
) -> npt.NDArray[np.float64]:
    """Returns class probabilities or raw scores of shape (n_rows, 8), columns in the order of LABELS; probabilities of a row sum to 1."""
    if len(matrix) == 0:
        return np.empty((0, len(LABELS)))
    return np.asarray(booster.predict(matrix, num_threads=num_threads, raw_score=raw_score))


def predict_rows(
    booster: "lightgbm.Booster",
    rows: pd.DataFrame,
    schema: FeatureSchema,
    encoders: Encoders,
    *,
    num_threads: int,
    raw_score: bool = False,
) -> npt.NDArray[np.float64]:
    """Returns what `predict` does, for rows with the model inputs of a schema; one block of rows after another is encoded."""
    blocks = encode_blocks(rows, schema, encoders)
    found = [predict(booster, block, num_threads=num_threads, raw_score=raw_score) for block in blocks]
    return found[0] if len(found) == 1 else np.concatenate([np.empty((0, len(LABELS))), *found])
