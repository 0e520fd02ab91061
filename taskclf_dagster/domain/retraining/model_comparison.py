"""Compares any two models on the current snapshot: metrics, significance, and the comparative gates.

It decides nothing and writes nothing; the comparison of a retrain is made in `decision_step`.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from pydantic import ValidationError

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, open_snapshot
from taskclf_dagster.domain.decision.comparative_gates import check_pair
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.evaluation.comparison import Comparison, compare, derive_seed
from taskclf_dagster.domain.evaluation.leakage import exclude_leaked
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.evaluation.scored_windows import add_training_distance
from taskclf_dagster.domain.evaluation.scoring import rows_for, score_model
from taskclf_dagster.domain.evaluation.slices import describe_windows
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_paths import require_named_bundle
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import RecordNotFoundError, UnreadableFileError
from taskclf_dagster.home import Home

Better = Literal["higher", "lower", "neither"]


ModelVerdict = Literal["FIRST_BETTER", "SECOND_BETTER", "NO_CLEAR_DIFFERENCE", "INCONCLUSIVE"]


FIGURES: dict[str, Better] = {
    "macro_f1": "higher",
    "weighted_f1": "higher",
    "accuracy": "higher",
    "macro_precision": "higher",
    "macro_recall": "higher",
    "one_vs_rest_auc": "higher",
    "multiclass_log_loss": "lower",
    "expected_calibration_error": "lower",
    "reject_rate": "neither",
}
"""Figures that are shown, and which direction is better."""


class FigurePair(Record):
    """One metric of both models.

    Attributes:
        better: higher, lower or neither.
        absolute: first minus second; None if one is undefined.
        relative: absolute as a share of the second's; None if that is 0 or undefined.
    """

    name: str
    better: Better
    first: float | None
    second: float | None
    absolute: float | None
    relative: float | None


class ModelComparison(Record):
    """The comparison of two models, on windows that neither was trained on.

    Attributes:
        settings: those that each was trained with, as text; "not recorded" for a bundle of another program.
        verdict: FIRST_BETTER, SECOND_BETTER, NO_CLEAR_DIFFERENCE, or INCONCLUSIVE if too few windows are left.
        factors: the comparative gates, with the first as challenger and the second as champion.
        would_replace: True if these gates pass.
    """

    first: str
    second: str
    settings: tuple[str, str]
    dataset_hash: str
    windows: int
    figures: list[FigurePair]
    comparison: Comparison
    factors: list[RegressionGate]
    would_replace: bool
    verdict: ModelVerdict
    reason: str


def compare_models(home: Home, first: str, second: str, *, config: RetrainConfig, num_threads: int) -> ModelComparison:
    """Evaluates two bundles, in any folder of the home, on the test windows of the current snapshot.

    Args:
        home: the taskclf home.
        first: model id; differences are its metrics minus those of the second.
        second: model id.
        config: the policy.
        num_threads: LightGBM threads.

    Raises:
        BundleError: a bundle does not exist, or does not load or predict.
        RecordNotFoundError: no snapshot was ever made for this home.
        SnapshotError: the snapshot cannot be read.
    """
    snapshot = read_current_snapshot(home)
    models = [_with_calibrators(home, load_bundle(require_named_bundle(home, name))) for name in (first, second)]
    rows = open_snapshot(home, snapshot).load(splits=("test",))
    own = [rows_for(model, home, rows, schema_version=snapshot.schema_version, users=list(snapshot.users))[0] for model in models]
    keys = [hash_row_keys(frame) for frame in own]
    shared = np.intersect1d(keys[0], keys[1], assume_unique=True)
    own = [frame[np.isin(key, shared)].reset_index(drop=True) for frame, key in zip(own, keys, strict=True)]
    score = partial(
        score_model, unseen_users=snapshot.holdout_users, min_class_windows=config.evaluation.min_class_windows, num_threads=num_threads
    )
    whole = [
        add_training_distance(frame, score(model, frame)[1], model.bundle, model.files, knows=model.knows_categories(frame))
        for model, frame in zip(models, own, strict=True)
    ]
    comparison = compare(
        describe_windows(rows, snapshot.schema_version),
        whole[0],
        whole[1],
        settings=config.comparison,
        min_class_windows=config.evaluation.min_class_windows,
        seed=derive_seed(snapshot.dataset_digest, [model.files.hashes() for model in reversed(models)], config.policy),
    )
    keep, _ = exclude_leaked(own[0]["bucket_start_ts"], [scored.distance for scored in whole], max_share=config.comparison.max_leaked_share)
    fair = [score(model, frame[keep].reset_index(drop=True))[0] for model, frame in zip(models, own, strict=True)]
    factors = check_pair(comparison, config.comparison)
    verdict, reason = _judge(comparison, factors.gates[0], min_windows=config.comparison.min_windows)
    return ModelComparison(
        first=first,
        second=second,
        settings=(_describe_settings(models[0]), _describe_settings(models[1])),
        dataset_hash=snapshot.dataset_hash,
        windows=comparison.windows,
        figures=[_pair(name, better, *fair) for name, better in FIGURES.items()],
        comparison=comparison,
        factors=factors.gates,
        would_replace=factors.all_passed,
        verdict=verdict,
        reason=reason,
    )


def _with_calibrators(home: Home, model: LoadedModel) -> LoadedModel:
    """Returns the active model with the calibrators and the threshold of its policy, if that names calibrators; any other as it is."""
    active = find_active_model(read_registry_state(home))
    if active.threshold is None or active.calibrators.store is None or active.model_id != model.bundle.model_id:
        return model
    return replace(model, reject_threshold=active.threshold.value, calibrators=active.calibrators.store)


def read_current_snapshot(home: Home) -> DatasetSnapshot:
    """Returns the snapshot that the last run made.

    Raises:
        RecordNotFoundError: no run made one.
        UnreadableFileError: its record is damaged or of another version.
    """
    path = home.records / "dataset_snapshot" / "latest.json"
    if not path.exists():
        raise RecordNotFoundError("dataset_snapshot", path.parent)
    try:
        return DatasetSnapshot.model_validate(read_json_object(path))
    except ValidationError as error:
        raise UnreadableFileError(path, "it is not a DatasetSnapshot of this version", "Materialize dataset_snapshot again") from error


def _judge(comparison: Comparison, regression: RegressionGate, *, min_windows: int) -> tuple[ModelVerdict, str]:
    interval = comparison.evidence.interval
    if interval is None or comparison.windows < min_windows:
        return "INCONCLUSIVE", regression.detail if regression.status == "INCONCLUSIVE" else comparison.evidence.summary
    if interval[0] > 0:
        return "FIRST_BETTER", comparison.evidence.summary
    return "SECOND_BETTER" if interval[1] < 0 else "NO_CLEAR_DIFFERENCE", comparison.evidence.summary


def _describe_settings(model: LoadedModel) -> str:
    chosen = model.bundle.require().chosen_settings
    return "settings not recorded" if chosen is None else chosen.choice.describe()


def _pair(name: str, better: Better, first: EvaluationReport, second: EvaluationReport) -> FigurePair:
    ours, theirs = getattr(first, name), getattr(second, name)
    absolute = None if ours is None or theirs is None else ours - theirs
    relative = None if absolute is None or not theirs else absolute / theirs
    return FigurePair(name=name, better=better, first=ours, second=theirs, absolute=absolute, relative=relative)
