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
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.models.encoding import encode_inputs, fit_encoders, mask_categories

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
        """Returns class probabilities of shape (n_rows, 8); see `predict`."""
        return predict(self.booster, encode_inputs(rows, self.schema, self.encoders), num_threads=num_threads)


def fit_model(
    rows: pd.DataFrame,
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


def predict(booster: "lightgbm.Booster", matrix: npt.NDArray[np.float64], *, num_threads: int) -> npt.NDArray[np.float64]:
    """Returns class probabilities of shape (n_rows, 8), columns in the order of LABELS, rows summing to 1."""
    if len(matrix) == 0:
        return np.empty((0, len(LABELS)))
    return np.asarray(booster.predict(matrix, num_threads=num_threads))


def class_weights(labels: npt.NDArray[np.int64], method: str) -> npt.NDArray[np.float64] | None:
    """Returns the weight of each row, n / (number of labels present * rows of its label), shape (n,); None for the method "none".

    The method "balanced" is that of sklearn.utils.class_weight.compute_sample_weight.
    """
    if method == "none":
        return None
    counts = np.bincount(labels, minlength=len(LABELS))
    per_class = np.divide(len(labels), np.count_nonzero(counts) * counts, out=np.zeros(len(LABELS)), where=counts > 0)
    return per_class[labels]


def _training_data(
    rows: pd.DataFrame, schema: FeatureSchema, *, params: TrainParams, seed: int
) -> tuple["lightgbm.Dataset", dict[str, list[str]]]:
    import lightgbm

    encoders = fit_encoders(rows, schema, min_count=UNKNOWN_CATEGORY_FREQ_THRESHOLD)
    matrix = encode_inputs(rows, schema, encoders)
    matrix[:, [schema.model_inputs.index(name) for name in params.constant_inputs]] = 0.0  # no tree splits a constant
    mask_categories(matrix, schema, encoders, rate=UNKNOWN_CATEGORY_MASK_RATE, seed=seed)
    labels = label_codes(rows).astype(np.int64)
    data = lightgbm.Dataset(
        matrix,
        label=labels,
        weight=class_weights(labels, params.class_weight),
        feature_name=list(schema.model_inputs),
        categorical_feature=list(schema.categorical),
    )
    return data, encoders
