"""Trains a challenger: LightGBM on the training split, then a reject threshold on the validation split (contract, section 6).

Deterministic: equal rows and settings give equal trees, independent of the number of threads. The result is written in `bundle_writer`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import RejectThresholdSettings, TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, FeatureSchema
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.models.encoding import encode_inputs, fit_encoders, mask_categories
from taskclf_dagster.domain.models.reject_threshold import RejectThreshold, tune_reject_threshold

if TYPE_CHECKING:
    import lightgbm


UNKNOWN_CATEGORY_FREQ_THRESHOLD = 5


UNKNOWN_CATEGORY_MASK_RATE = 0.05


PROGRESS_ROUNDS = 10


SINGLE_THREAD_ROWS = 50_000
"""Below this many training rows `auto` uses one thread: LightGBM's threads then wait for each other more than they work."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained challenger in memory.

    Attributes:
        validation_true: class index of each validation row.
        validation_probabilities: shape (n_validation, 8), columns in the order of LABELS.
        params: parameters of LightGBM and of the preparation of the rows.
    """

    booster: "lightgbm.Booster"
    schema: FeatureSchema
    encoders: dict[str, list[str]]
    reject: RejectThreshold
    validation_true: npt.NDArray[np.int64]
    validation_probabilities: npt.NDArray[np.float64]
    params: dict[str, float | int | str | bool]


def train_challenger(
    load_rows: Callable[[str], pd.DataFrame],
    schema: FeatureSchema,
    *,
    params: TrainParams,
    reject: RejectThresholdSettings,
    dataset_digest: str,
    num_threads: int,
    on_progress: Callable[[str], None],
) -> TrainedModel:
    """Trains on the training split and tunes the reject threshold on the validation split.

    Args:
        load_rows: returns the rows of a split ("train" or "validation") as `build_snapshot` describes them; called once for each, so that
            only one of them is in memory at a time.
        schema: the schema version of the rows.
        params: boosting rounds, leaves, learning rate, class weight.
        reject: the allowed range of validation reject rates.
        dataset_digest: seeds are derived from it.
        num_threads: of LightGBM; the trees do not depend on it.
        on_progress: called with a line of text every 10 rounds.
    """
    import lightgbm  # costs two seconds; only what trains or predicts pays for it

    seed = int(dataset_digest[:7], 16)
    lightgbm_params = _lightgbm_params(params, seed=seed, num_threads=num_threads)
    data, encoders = _training_data(load_rows("train"), schema, params=params, seed=seed)

    def progress(env: "lightgbm.callback.CallbackEnv") -> None:
        done = env.iteration + 1
        if done % PROGRESS_ROUNDS == 0 or done == params.num_boost_round:
            on_progress(f"trained {done} of {params.num_boost_round} rounds")

    booster = lightgbm.train(lightgbm_params, data, num_boost_round=params.num_boost_round, callbacks=[progress])
    del data
    validation = load_rows("validation")
    probabilities = predict(booster, encode_inputs(validation, schema, encoders), num_threads=num_threads)
    true = label_codes(validation).astype(np.int64)
    return TrainedModel(
        booster=booster,
        schema=schema,
        encoders=encoders,
        reject=tune_reject_threshold(probabilities, true, reject),
        validation_true=true,
        validation_probabilities=probabilities,
        params={
            **lightgbm_params,
            "num_boost_round": params.num_boost_round,
            "class_weight_method": params.class_weight,
            "unknown_category_freq_threshold": UNKNOWN_CATEGORY_FREQ_THRESHOLD,
            "unknown_category_mask_rate": UNKNOWN_CATEGORY_MASK_RATE,
        },
    )


def _lightgbm_params(params: TrainParams, *, seed: int, num_threads: int) -> dict[str, float | int | str | bool]:
    return {
        "objective": "multiclass",
        "metric": "multi_logloss",
        "num_leaves": params.num_leaves,
        "learning_rate": params.learning_rate,
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


def resolve_num_threads(setting: int | str, *, rows: int, cores: int) -> int:
    """Returns the number of threads: the setting, or for `auto` one for few rows and else every core."""
    if setting != "auto":
        return int(setting)
    return 1 if rows < SINGLE_THREAD_ROWS else max(1, cores)


def _training_data(
    rows: pd.DataFrame, schema: FeatureSchema, *, params: TrainParams, seed: int
) -> tuple["lightgbm.Dataset", dict[str, list[str]]]:
    import lightgbm

    encoders = fit_encoders(rows, schema, min_count=UNKNOWN_CATEGORY_FREQ_THRESHOLD)
    matrix = encode_inputs(rows, schema, encoders)
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
