"""Builds a challenger from a snapshot: trains it, names it, and writes its bundle to artifacts/challengers.

Training itself is in `training`, the bundle's format in `bundle`.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar

import numpy as np
import pandas as pd

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.hashing import probabilities_digest
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, open_snapshot
from taskclf_dagster.domain.data.snapshot_rows import StoredRows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.execution.trainer import Param
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe
from taskclf_dagster.domain.models.bundle import LoadedModel, bundle_error, parse_bundle
from taskclf_dagster.domain.models.bundle_files import BundleFiles
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.bundle_writer import write_bundle
from taskclf_dagster.domain.models.chosen_settings import ChosenSettings, choose_settings
from taskclf_dagster.domain.models.learned_rows import load_learned, open_part
from taskclf_dagster.domain.models.reject_threshold import RejectThreshold
from taskclf_dagster.domain.models.training import PROBE_ROWS, TrainedModel, resolve_num_threads, train_challenger
from taskclf_dagster.domain.storage.path_names import InnerPath
from taskclf_dagster.domain.storage.records import Record, sorted_json
from taskclf_dagster.errors import DataContractError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Report


class ChallengerModel(Record):
    """A trained challenger on disk.

    Attributes:
        path: the bundle, relative to the home, where it was built; a decision moves it.
        files: SHA-256 of every file of the bundle, by name.
        artifact_hash: SHA-256 of model.txt.
        probe_digest: SHA-256 of the probabilities of the first validation windows, before the bundle was written.
        reject: the reject threshold and how it was tuned.
        macro_f1, weighted_f1: on the validation split, without rejecting, as in metrics.json [0 to 1, higher is better].
        training_windows: number of rows that the model of the bundle has learned from.
        params: parameters of LightGBM and of the preparation of the rows.
        settings: the choice of settings that it was trained with, and how it came about.
        recipe: what its trees follow from besides rows, settings and seed; None in records of versions that trained in one process only.
        feature_importance: total gain of each model input, as a share of all gain [0 to 1], largest first.
        timings: seconds by step.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset({"timings", "files"})

    model_id: str
    path: InnerPath
    dataset_hash: str
    files: dict[str, str]
    schema_version: SchemaVersion
    artifact_hash: str
    tree_hash: str
    probe_digest: str
    reject: RejectThreshold
    macro_f1: float
    weighted_f1: float
    training_windows: int
    params: dict[str, Param]
    settings: ChosenSettings
    feature_importance: dict[str, float]
    timings: dict[str, float]
    recipe: TrainingRecipe | None = None


def build_challenger(
    home: Home,
    snapshot: DatasetSnapshot,
    *,
    config: RetrainConfig,
    earlier: ChosenSettings | None,
    cores: int,
    code_version: str,
    library_versions: Mapping[str, str],
    stopwatch: Callable[[], float],
    on_progress: Report,
    engine: Engine = LOCAL,
) -> ChallengerModel:
    """Trains on a snapshot and writes the bundle.

    Args:
        home: the taskclf home.
        snapshot: the dataset.
        config: the training settings take effect; the policy is recorded.
        earlier: the settings of the last decided run; None if there is none.
        cores: number of processors that `num_threads: auto` may use.
        code_version: commit of this package, for the bundle's metadata.
        library_versions: for the bundle's metadata.
        stopwatch: a monotonic clock [s], for the timings.
        on_progress: takes reports of the rounds of the fits.
        engine: trains the models.

    Raises:
        DataContractError: the snapshot has blockers.
        SnapshotError: the snapshot cannot be read.
    """
    if snapshot.blockers:
        raise DataContractError("dataset_snapshot", [blocker.message for blocker in snapshot.blockers])
    stored = open_snapshot(home, snapshot)
    threads = resolve_num_threads(config.training.train_params.num_threads, rows=snapshot.learning_rows, cores=cores)
    begin = stopwatch()
    settings, out_of_fold = choose_settings(
        stored, snapshot, config=config, earlier=earlier, num_threads=threads, on_progress=on_progress, engine=engine
    )
    found = stopwatch()
    model = train_challenger(
        lambda part: open_part(stored, part),
        SCHEMAS[snapshot.schema_version],
        settings=config.training,
        choice=settings.choice,
        out_of_fold=out_of_fold,
        dataset_digest=snapshot.dataset_digest,
        num_threads=threads,
        on_progress=on_progress,
        engine=engine,
    )
    timings = {"folds_and_search": round(found - begin, 3), "training_and_threshold": round(stopwatch() - found, 3)}
    rows = {"refit": config.training.refit, "uses_older": settings.choice.uses_older}
    learned = load_learned(stored, **rows, columns=["user_id", "bucket_start_ts", "gold"])
    metadata: dict[str, object] = {
        "dataset_hash": snapshot.dataset_hash,
        "dataset_digest": snapshot.dataset_digest,
        "data_provenance": _provenance(snapshot, learned),
        "created_at": snapshot.as_of.astimezone(UTC).isoformat(),
        "git_commit": code_version,
        "snapshot_path": snapshot.path,
        "label_schema_version": snapshot.label_schema_version,
        "class_distribution": snapshot.class_distribution,
        "user_count": len(snapshot.users),
        "holdout_users": snapshot.holdout_users,
        **rows,
        "chosen_settings": settings.model_dump(mode="json"),
        "config": config.policy,
        "library_versions": dict(library_versions),
        "timings_seconds": timings,
    }
    files = _write_under_free_id(home, snapshot, model, learned, metadata, config.policy)
    return _describe_challenger(home, snapshot, model, files, settings=settings, training_windows=len(learned), timings=timings)


def _write_under_free_id(
    home: Home,
    snapshot: DatasetSnapshot,
    model: TrainedModel,
    learned: pd.DataFrame,
    metadata: Mapping[str, object],
    policy: Mapping[str, object],
) -> BundleFiles:
    while True:
        model_id = next_model_id(home, snapshot.as_of, snapshot.dataset_digest, policy)
        try:
            return write_bundle(home.challengers / model_id, model, learned, metadata=metadata)
        except FileExistsError:
            if not (home.challengers / model_id).is_dir():
                raise  # else another retrain has taken the name in the meantime


def _describe_challenger(
    home: Home,
    snapshot: DatasetSnapshot,
    model: TrainedModel,
    files: BundleFiles,
    *,
    settings: ChosenSettings,
    training_windows: int,
    timings: dict[str, float],
) -> ChallengerModel:
    """Returns the record of a written bundle, whose files are parsed as by a reader.

    Raises:
        BundleError: the bundle is invalid.
    """
    written = parse_bundle(files)
    if written.metrics is None or written.metadata is None:
        raise bundle_error(files.folder, written.problem)
    gain = model.booster.feature_importance(importance_type="gain")
    order = np.argsort(-gain, kind="stable")
    return ChallengerModel(
        model_id=files.model_id,
        path=str(files.folder.relative_to(home.root)),
        dataset_hash=snapshot.dataset_hash,
        files=files.hashes(),
        schema_version=snapshot.schema_version,
        artifact_hash=written.metadata.artifact_hash or "",
        tree_hash=written.metadata.tree_hash or "",
        probe_digest=probabilities_digest(model.probe_probabilities),
        reject=model.reject,
        macro_f1=written.metrics.macro_f1,
        weighted_f1=written.metrics.weighted_f1,
        training_windows=training_windows,
        params=model.params,
        settings=settings,
        feature_importance={model.schema.model_inputs[i]: float(gain[i] / max(gain.sum(), 1e-300)) for i in order},
        timings=timings,
        recipe=model.recipe,
    )


def next_model_id(home: Home, as_of: datetime, dataset_digest: str, policy: Mapping[str, object]) -> str:
    """Returns `YYYY-MM-DD_HHMMSS_run-NNNN`: the as-of time (UTC) and a number from dataset and policy, the next free one if taken."""
    seed = hashlib.sha256(f"{dataset_digest}{sorted_json(policy)}".encode()).hexdigest()
    number = int(seed[:8], 16) % 10_000
    stamp = as_of.astimezone(UTC).strftime("%Y-%m-%d_%H%M%S")
    while find_bundle(home, model_id := f"{stamp}_run-{number:04d}") is not None:
        number = (number + 1) % 10_000
    return model_id


def probe(model: LoadedModel, stored: StoredRows) -> str:
    """Returns the digest of a loaded model's probabilities on the probe windows of its snapshot, to compare with `probe_digest`.

    Raises:
        SnapshotError: the snapshot cannot be read.
    """
    rows = stored.load(splits=("validation",)).head(PROBE_ROWS)
    return probabilities_digest(model.predict_rows(rows, num_threads=1))


def _provenance(snapshot: DatasetSnapshot, train_rows: pd.DataFrame) -> str:
    """Returns real, or mixed if weak training rows may come from synthetic spans; gold rows are always real."""
    return "mixed" if snapshot.has_synthetic_spans and not train_rows["gold"].all() else "real"
