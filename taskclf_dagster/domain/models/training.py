"""Trains a challenger: LightGBM, its reject threshold on the validation rows, then LightGBM on these as well (contract, section 6).

Which rows each fit learns from is in `learned_rows`. Deterministic: equal rows and settings give equal trees, independent of the number of
threads. The result is written in `bundle_writer`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import TrainingSettings, TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, FeatureSchema
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.models.encoding import encode_inputs, fit_encoders, mask_categories
from taskclf_dagster.domain.models.learned_rows import Part
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.reject_threshold import RejectThreshold, tune_reject_threshold

if TYPE_CHECKING:
    import lightgbm


UNKNOWN_CATEGORY_FREQ_THRESHOLD = 5


UNKNOWN_CATEGORY_MASK_RATE = 0.05


PROGRESS_ROUNDS = 10


NAMES: dict[Part, str] = {"first_fit": "first fit", "refit": "refit"}
"""The fits in messages."""


PROBE_ROWS = 256
"""Number of validation windows whose predictions are compared bit by bit."""


SINGLE_THREAD_ROWS = 50_000
"""Below this many training rows `auto` uses one thread: LightGBM's threads then wait for each other more than they work."""


Param = float | int | str | bool | list[str]


@dataclass(frozen=True)
class TrainedModel:
    """A trained challenger in memory.

    Attributes:
        booster: the model: the refit, or the first fit without one.
        encoders: its vocabularies.
        first_tree_hash: SHA-256 of the trees of the first fit.
        reject: the reject threshold, from the first fit.
        validation_true: class index of each validation row.
        validation_probabilities: of the first fit, which has not seen these rows; shape (n_validation, 8), columns in the order of LABELS.
        probe_probabilities: of the model for the first PROBE_ROWS validation rows, shape (at most PROBE_ROWS, 8).
        params: parameters of LightGBM and of the preparation of the rows.
    """

    booster: "lightgbm.Booster"
    schema: FeatureSchema
    encoders: dict[str, list[str]]
    first_tree_hash: str
    reject: RejectThreshold
    validation_true: npt.NDArray[np.int64]
    validation_probabilities: npt.NDArray[np.float64]
    probe_probabilities: npt.NDArray[np.float64]
    params: dict[str, Param]


@dataclass(frozen=True)
class Fit:
    """One fitted LightGBM model with its vocabularies."""

    booster: "lightgbm.Booster"
    schema: FeatureSchema
    encoders: dict[str, list[str]]

    def predict(self, rows: pd.DataFrame, *, num_threads: int) -> npt.NDArray[np.float64]:
        """Returns class probabilities of shape (n_rows, 8); see `predict`."""
        return predict(self.booster, encode_inputs(rows, self.schema, self.encoders), num_threads=num_threads)


def train_challenger(
    load_rows: Callable[[Part], pd.DataFrame],
    schema: FeatureSchema,
    *,
    settings: TrainingSettings,
    dataset_digest: str,
    num_threads: int,
    on_progress: Callable[[str], None],
) -> TrainedModel:
    """Fits a model, tunes its reject threshold on the validation rows, and, with `refit`, fits it again on those rows as well.

    Args:
        load_rows: returns the rows of a part as `build_snapshot` describes them; called once for each, so that only one of them is in
            memory at a time.
        schema: the schema version of the rows.
        settings: parameters of LightGBM, the refit, and the allowed range of validation reject rates.
        dataset_digest: seeds are derived from it.
        num_threads: of LightGBM; the trees do not depend on it.
        on_progress: called with a line of text every 10 rounds.
    """
    params, seed = settings.train_params, int(dataset_digest[:7], 16)

    def fit(part: Part) -> Fit:
        def tell(done: int) -> None:
            on_progress(f"{NAMES[part]}: {done} of {params.num_boost_round} rounds")

        return fit_model(load_rows(part), schema, params=params, seed=seed, num_threads=num_threads, on_progress=tell)

    first = fit("first_fit")
    validation = load_rows("validation")
    probabilities = first.predict(validation, num_threads=num_threads)
    true, probed = label_codes(validation).astype(np.int64), validation.head(PROBE_ROWS)
    del validation
    final = fit("refit") if settings.refit else first
    return TrainedModel(
        booster=final.booster,
        schema=schema,
        encoders=final.encoders,
        first_tree_hash=tree_hash(first.booster.model_to_string()),
        reject=tune_reject_threshold(probabilities, true, settings.reject_threshold),
        validation_true=true,
        validation_probabilities=probabilities,
        probe_probabilities=final.predict(probed, num_threads=num_threads),
        params={
            **_lightgbm_params(params, seed=seed, num_threads=num_threads),
            "num_boost_round": params.num_boost_round,
            "class_weight_method": params.class_weight,
            "constant_inputs": list(params.constant_inputs),
            "refit": settings.refit,
            "unknown_category_freq_threshold": UNKNOWN_CATEGORY_FREQ_THRESHOLD,
            "unknown_category_mask_rate": UNKNOWN_CATEGORY_MASK_RATE,
        },
    )


def fit_model(
    rows: pd.DataFrame,
    schema: FeatureSchema,
    *,
    params: TrainParams,
    seed: int,
    num_threads: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Fit:
    """Fits LightGBM on rows with their labels, as `build_snapshot` describes them.

    Args:
        rows: the rows to learn from.
        schema: their schema version.
        params: parameters of LightGBM and of the preparation of the rows.
        seed: every random choice follows from it.
        num_threads: of LightGBM; the trees do not depend on it.
        on_progress: called with the number of rounds done, every 10 rounds and at the end.
    """
    import lightgbm  # costs two seconds; only what trains or predicts pays for it

    data, encoders = _training_data(rows, schema, params=params, seed=seed)
    del rows

    def progress(env: "lightgbm.callback.CallbackEnv") -> None:
        done = env.iteration + 1
        if done % PROGRESS_ROUNDS == 0 or done == params.num_boost_round:
            on_progress(done)

    booster = lightgbm.train(
        _lightgbm_params(params, seed=seed, num_threads=num_threads),
        data,
        num_boost_round=params.num_boost_round,
        callbacks=[progress],
    )
    return Fit(booster, schema, encoders)


def _lightgbm_params(params: TrainParams, *, seed: int, num_threads: int) -> dict[str, Param]:
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
