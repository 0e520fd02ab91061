"""Trains a challenger: LightGBM, its reject threshold, then LightGBM on the validation rows as well (contract, section 6).

Which rows each fit learns from is in `learned_rows`. Deterministic: equal rows and settings give equal trees, independent of the number of
threads. The result is written in `bundle_writer`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import TrainingSettings
from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.data.frame_parts import Rows, join_parts
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.execution.trainer import Param
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe
from taskclf_dagster.domain.models.choice import Choice, derive_seed, fit_choice
from taskclf_dagster.domain.models.fitting import Fit, lightgbm_params
from taskclf_dagster.domain.models.learned_rows import Part
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.models.reject_threshold import Basis, RejectThreshold, tune_reject_threshold
from taskclf_dagster.domain.models.training_inputs import UNKNOWN_CATEGORY_FREQ_THRESHOLD, UNKNOWN_CATEGORY_MASK_RATE
from taskclf_dagster.progress import Progress, Report

if TYPE_CHECKING:
    import lightgbm


LINE_ROUNDS = 10
"""A fit has a line in the log after so many rounds."""


NAMES: dict[Part, str] = {"first_fit": "first fit", "refit": "refit"}
"""The fits in messages."""


PROBE_ROWS = 256
"""Number of validation windows whose predictions are compared bit by bit."""


SINGLE_THREAD_ROWS = 50_000
"""Below this many training rows `auto` uses one thread: LightGBM's threads then wait for each other more than they work."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained challenger in memory.

    Attributes:
        booster: the model: the refit, or the first fit without one.
        encoders: its vocabularies.
        recipe: what the trees follow from besides rows, settings and seed.
        first_tree_hash: SHA-256 of the trees of the first fit.
        reject: the reject threshold.
        out_of_fold: the predictions that it was chosen on.
        validation_true: class index of each validation row.
        validation_probabilities: of the first fit, which has not seen these rows; shape (n_validation, 8), columns in the order of LABELS.
        probe_probabilities: of the model for the first PROBE_ROWS validation rows, shape (at most PROBE_ROWS, 8).
        params: parameters of LightGBM and of the preparation of the rows.
    """

    booster: "lightgbm.Booster"
    schema: FeatureSchema
    encoders: dict[str, list[str]]
    recipe: TrainingRecipe
    first_tree_hash: str
    reject: RejectThreshold
    out_of_fold: OutOfFold
    validation_true: npt.NDArray[np.int64]
    validation_probabilities: npt.NDArray[np.float64]
    probe_probabilities: npt.NDArray[np.float64]
    params: dict[str, Param]


def train_challenger(
    load_rows: Callable[[Part], Rows],
    schema: FeatureSchema,
    *,
    settings: TrainingSettings,
    choice: Choice,
    dataset_digest: str,
    num_threads: int,
    on_progress: Report,
    out_of_fold: OutOfFold | None = None,
    engine: Engine = LOCAL,
) -> TrainedModel:
    """Fits a model, chooses its reject threshold, and, with `refit`, fits it again on the validation rows as well.

    Args:
        load_rows: returns the rows of a part of a dataset as `build_snapshot` describes them, as one frame or in parts; called once for
            each, so that only one of them is in memory at a time.
        schema: the schema version of the rows.
        settings: parameters of LightGBM, the refit, and how the reject threshold is chosen.
        choice: the settings that take the place of those of the same name.
        dataset_digest: seeds are derived from it.
        num_threads: of LightGBM; the trees do not depend on it.
        on_progress: takes reports of the rounds of the fits.
        out_of_fold: predictions of the choice on the folds, for the reject threshold; if they are None or empty, those of the first fit
            for the validation rows take their place.
        engine: trains the models.
    """
    params = settings.train_params

    def fit(part: Part) -> Fit:
        return fit_choice(
            load_rows(part),
            schema,
            choice=choice,
            params=params,
            dataset_digest=dataset_digest,
            num_threads=num_threads,
            engine=engine,
            on_round=partial(_report_round, on_progress, NAMES[part]),
        )

    first = fit("first_fit")
    validation = join_parts(load_rows("validation"))
    probabilities = first.predict(validation, num_threads=num_threads)
    true, probed = label_codes(validation).astype(np.int64), validation.head(PROBE_ROWS)
    basis: Basis = "folds"
    if out_of_fold is None or len(out_of_fold.true) == 0:
        basis, out_of_fold = "validation", OutOfFold.of(validation, probabilities)
    del validation
    final = fit("refit") if settings.refit else first
    return TrainedModel(
        booster=final.booster,
        schema=schema,
        encoders=final.encoders,
        recipe=final.recipe,
        first_tree_hash=tree_hash(first.booster.model_to_string()),
        reject=tune_reject_threshold(out_of_fold, settings.reject_threshold, basis=basis),
        out_of_fold=out_of_fold,
        validation_true=true,
        validation_probabilities=probabilities,
        probe_probabilities=final.predict(probed, num_threads=num_threads),
        params={
            **lightgbm_params(choice.apply_to(params), seed=derive_seed(dataset_digest, 0), num_threads=num_threads),
            "num_boost_round": params.num_boost_round,
            "class_weight_method": params.class_weight,
            "constant_inputs": list(choice.constant_inputs),
            "seeds": choice.seeds,
            "refit": settings.refit,
            "unknown_category_freq_threshold": UNKNOWN_CATEGORY_FREQ_THRESHOLD,
            "unknown_category_mask_rate": UNKNOWN_CATEGORY_MASK_RATE,
        },
    )


def _report_round(report: Report, part: str, done: int, total: int) -> None:
    line = f"{part}: {done} of {total} rounds" if done % LINE_ROUNDS == 0 or done == total else None
    report(Progress(part, done, total, "round", line))


def resolve_num_threads(setting: int | str, *, rows: int, cores: int) -> int:
    """Returns the number of threads: the setting, or for `auto` one for few rows and else every core."""
    if setting != "auto":
        return int(setting)
    return 1 if rows < SINGLE_THREAD_ROWS else max(1, cores)
