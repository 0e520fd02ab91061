"""Fits LightGBM on labeled rows: inputs, class weights, parameters, and predictions of the fit (contract, section 6).

Deterministic: equal rows, parameters and seed give equal trees, independent of the number of threads. What is fitted for a challenger, and
in which order, is in `training`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, FeatureSchema
from taskclf_dagster.domain.data.frame_parts import Rows, as_parts, join_parts
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.models.encoding import Encoders, encode_blocks, fit_encoders

if TYPE_CHECKING:
    import lightgbm


UNKNOWN_CATEGORY_FREQ_THRESHOLD = 5


UNKNOWN_CATEGORY_MASK_RATE = 0.05


Param = float | int | str | bool | list[str]


@dataclass(frozen=True)
class Fit:
    """One fitted LightGBM model with its vocabularies."""

    booster: "lightgbm.Booster"
    schema: FeatureSchema
    encoders: dict[str, list[str]]

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
    on_round: Callable[[int], object] = lambda _: None,
) -> Fit:
    """Fits LightGBM on rows with their labels, as `build_snapshot` describes them.

    Args:
        rows: the rows to learn from.
        schema: their schema version.
        params: parameters of LightGBM and of the preparation of the rows.
        seed: every random choice follows from it.
        num_threads: of LightGBM; the trees do not depend on it.
        on_round: called with the number of rounds done after each of them; the trees do not depend on it.
    """
    import lightgbm  # costs two seconds; only what trains or predicts pays for it

    data, encoders = _training_data(rows, schema, params=params, seed=seed)
    del rows

    def after_round(env: "lightgbm.callback.CallbackEnv") -> None:
        on_round(env.iteration + 1)

    booster = lightgbm.train(
        lightgbm_params(params, seed=seed, num_threads=num_threads),
        data,
        num_boost_round=params.num_boost_round,
        callbacks=[after_round],
    )
    return Fit(booster, schema, encoders)


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


def class_weights(labels: npt.NDArray[np.int64], method: str) -> npt.NDArray[np.float64] | None:
    """Returns the weight of each row, n / (number of labels present * rows of its label), shape (n,); None for the method "none".

    The method "balanced" is that of sklearn.utils.class_weight.compute_sample_weight.
    """
    if method == "none":
        return None
    counts = np.bincount(labels, minlength=len(LABELS))
    per_class = np.divide(len(labels), np.count_nonzero(counts) * counts, out=np.zeros(len(LABELS)), where=counts > 0)
    return per_class[labels]


def _training_data(rows: Rows, schema: FeatureSchema, *, params: TrainParams, seed: int) -> tuple["lightgbm.Dataset", dict[str, list[str]]]:
    from taskclf_dagster.domain.models.training_inputs import TrainingInputs, make_dataset

    parts = as_parts(rows)
    encoders = fit_encoders(parts, schema, min_count=UNKNOWN_CATEGORY_FREQ_THRESHOLD)
    labels = label_codes(join_parts(parts, ["label"])).astype(np.int64)
    inputs = TrainingInputs(parts, schema, encoders, params.constant_inputs, UNKNOWN_CATEGORY_MASK_RATE, seed)
    return make_dataset(inputs, labels, class_weights(labels, params.class_weight), seed=seed), encoders
