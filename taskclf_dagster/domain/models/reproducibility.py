"""Reproduction: trains a model again from its stored snapshot and checks that trees, predictions and threshold are the same.

Training is made deterministic in `training`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import ValidationError

from taskclf_dagster.config.settings import TrainingSettings, TrainParams
from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.data.hashing import probabilities_digest
from taskclf_dagster.domain.data.snapshot_places import snapshot_folder
from taskclf_dagster.domain.data.snapshot_rows import StoredRows, open_snapshot_rows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_files import METADATA, BundleFiles
from taskclf_dagster.domain.models.choice import Choice
from taskclf_dagster.domain.models.chosen_settings import ChosenSettings
from taskclf_dagster.domain.models.fold_fits import FOLD_SPLITS, FoldFits
from taskclf_dagster.domain.models.learned_rows import open_part, open_splits
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.out_of_fold import OutOfFold, read_out_of_fold
from taskclf_dagster.domain.models.reject_threshold import Basis, RejectThreshold
from taskclf_dagster.domain.models.search import fit_with_reports
from taskclf_dagster.domain.models.training import PROBE_ROWS, TrainedModel, train_challenger
from taskclf_dagster.domain.storage.json_files import parse_json_object
from taskclf_dagster.domain.storage.path_names import find_path_problem
from taskclf_dagster.domain.storage.places import Place
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import BundleError, SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Report, ignore_progress

PROVE_BELOW_WINDOWS = 200_000
"""`prove_reproducible: auto` trains again below this number of labeled windows."""


class Reproduction(Record):
    """The comparison of a model with one that was trained again from the same snapshot and settings.

    Attributes:
        same: True if the trees of both fits, the sample of their bins, probe and out-of-fold predictions and reject threshold are equal.
        obstacle: the reason why the model could not be made again by its recipe; None if it could.
        tree_hash, reproduced_tree_hash: SHA-256 of the tree section of model.txt, on disk and trained again.
        probe_digest, reproduced_probe_digest: SHA-256 of the probabilities of the first validation windows; what was not made is "".
        summary: the comparison in one sentence.
    """

    model_id: str
    dataset_hash: str
    same: bool
    tree_hash: str
    reproduced_tree_hash: str
    probe_digest: str
    reproduced_probe_digest: str
    summary: str
    obstacle: str | None = None


@dataclass(frozen=True)
class _Recipe:
    """The inputs that a model was trained with, as its metadata.json names them.

    Attributes:
        snapshot_path: the snapshot folder, relative to the home.
        first_tree_hash: of the trees of the first fit.
        trained: what its trees follow from besides; None for bundles of versions that trained in one process only.
        basis: the predictions that the reject threshold was chosen on.
    """

    settings: TrainingSettings
    choice: Choice
    snapshot_path: str
    dataset_digest: str
    num_threads: int
    first_tree_hash: str
    trained: TrainingRecipe | None
    basis: Basis


def is_proof_wanted(prove_reproducible: Literal["auto"] | bool, *, windows: int) -> bool:
    """Returns True if a run trains a second time to check that the model can be reproduced.

    Args:
        prove_reproducible: the setting; auto is True below PROVE_BELOW_WINDOWS.
        windows: number of labeled windows of the dataset.
    """
    return windows < PROVE_BELOW_WINDOWS if prove_reproducible == "auto" else prove_reproducible


def reproduce(
    home: Home,
    source: Path | LoadedModel,
    *,
    folds: bool = True,
    stored: StoredRows | None = None,
    on_progress: Report = ignore_progress,
    engine: Engine = LOCAL,
) -> Reproduction:
    """Trains a model again from its stored snapshot, its own settings and its own recipe, and compares both.

    Args:
        home: the taskclf home.
        source: the bundle's folder, or the bundle as loaded.
        folds: False takes the out-of-fold predictions that the bundle keeps instead of fitting the folds again, which costs about as
            much as the two fits of the model.
        stored: the rows of a snapshot that was opened already; used if it is the model's.
        on_progress: takes reports of the rounds of the fits.
        engine: trains the models, if it can follow the recipe.

    Raises:
        BundleError: the bundle does not load, or its metadata does not name snapshot and settings, as those of other programs.
        SnapshotError: the snapshot is missing or was changed.
    """
    loaded = source if isinstance(source, LoadedModel) else load_bundle(source)
    recipe = _read_recipe(loaded.files)
    follower = LOCAL if recipe.trained is None else engine.following(recipe.trained)
    if isinstance(follower, str):
        return _give_up(loaded, recipe, follower)
    folder = snapshot_folder(home, recipe.snapshot_path)
    stored = _open_verified(folder, recipe.dataset_digest, None if stored is None or stored.folder != folder else stored)
    again = train_challenger(
        lambda part: open_part(stored, part),
        SCHEMAS[loaded.schema.version],
        settings=recipe.settings,
        choice=recipe.choice,
        out_of_fold=_predict_folds(loaded, recipe, stored, on_progress, refit=folds, engine=follower),
        dataset_digest=recipe.dataset_digest,
        num_threads=recipe.num_threads,
        on_progress=on_progress,
        engine=follower,
    )
    if recipe.trained is not None and recipe.trained.shard_ranks != again.recipe.shard_ranks:
        return _give_up(loaded, recipe, "the parts of its snapshot are divided in another way than when it was trained")
    rows = stored.load(splits=("validation",)).head(PROBE_ROWS)
    return _compare(loaded, again, rows, recipe, folds=folds)


def open_training_snapshot(home: Home, files: BundleFiles) -> StoredRows:
    """Reads the rows of the snapshot that a model was made of, and checks them against the digest in its metadata.

    Raises:
        BundleError: the metadata does not name the snapshot, as that of other programs.
        SnapshotError: the snapshot is missing or was changed.
    """
    recipe = _read_recipe(files)
    return _open_verified(snapshot_folder(home, recipe.snapshot_path), recipe.dataset_digest, None)


def _predict_folds(
    loaded: LoadedModel, recipe: _Recipe, stored: StoredRows, on_progress: Report, *, refit: bool, engine: Engine
) -> OutOfFold | None:
    """Returns the out-of-fold predictions of a recipe; None if the threshold was chosen on those of the first fit."""
    if recipe.basis == "validation":
        return None
    if not refit:
        return read_out_of_fold(loaded.files)
    params, threads = recipe.settings.train_params, recipe.num_threads
    rows, schema = open_splits(stored, FOLD_SPLITS), SCHEMAS[loaded.schema.version]
    fits = FoldFits(rows, schema, params=params, dataset_digest=recipe.dataset_digest, num_threads=threads, engine=engine)
    fit_with_reports(fits, recipe.choice, "folds", on_progress)
    return fits.out_of_fold(recipe.choice)


def _open_verified(folder: Place, dataset_digest: str, known: StoredRows | None) -> StoredRows:
    """Reads a snapshot's rows, unless they are known, and checks them against the digest.

    Raises:
        SnapshotError: the snapshot is missing or was changed.
    """
    fix = "Restore it from a backup: a model is only made again from what it was made of"
    try:
        stored = known or open_snapshot_rows(folder)
    except SnapshotError as error:
        raise SnapshotError(folder, error.reason, fix) from error
    problem = stored.find_problem(dataset_digest)
    if problem is not None:
        raise SnapshotError(folder, problem, fix)
    return stored


def _compare(loaded: LoadedModel, again: TrainedModel, probe_rows: pd.DataFrame, recipe: _Recipe, *, folds: bool) -> Reproduction:
    reproduced_trees = tree_hash(again.booster.model_to_string())
    probe = probabilities_digest(loaded.predict_rows(probe_rows, num_threads=1))
    reproduced_probe = probabilities_digest(again.probe_probabilities)
    equal = {
        "rows that bins are chosen from": recipe.trained is None or recipe.trained.bin_samples == again.recipe.bin_samples,
        "trees": loaded.tree_hash == reproduced_trees,
        "trees of the first fit": recipe.first_tree_hash == again.first_tree_hash,
        "predictions": probe == reproduced_probe,
        "out-of-fold predictions": not folds or again.out_of_fold.is_same_as(read_out_of_fold(loaded.files)),
        "threshold": bool(np.isclose(loaded.reject_threshold, again.reject.value, rtol=0, atol=0)),
    }
    differing = [name for name, is_equal in equal.items() if not is_equal]
    result = f"{' and '.join(differing)} differ" if differing else "the same trees, predictions and threshold"
    return Reproduction(
        model_id=loaded.files.model_id,
        dataset_hash=recipe.dataset_digest[:16],
        same=not differing,
        tree_hash=loaded.tree_hash,
        reproduced_tree_hash=reproduced_trees,
        probe_digest=probe,
        reproduced_probe_digest=reproduced_probe,
        summary=f"trained again from snapshot {recipe.dataset_digest[:16]}: {result}",
    )


def _give_up(loaded: LoadedModel, recipe: _Recipe, obstacle: str) -> Reproduction:
    """Returns the result for a model that cannot be made again by its recipe, so that nothing is known of its trees."""
    return Reproduction(
        model_id=loaded.files.model_id,
        dataset_hash=recipe.dataset_digest[:16],
        same=False,
        tree_hash=loaded.tree_hash,
        reproduced_tree_hash="",
        probe_digest="",
        reproduced_probe_digest="",
        summary=f"not made again by its recipe: {obstacle}",
        obstacle=obstacle,
    )


def _read_recipe(files: BundleFiles) -> _Recipe:
    """Reads the recipe from metadata.json.

    Raises:
        BundleError: metadata.json does not name it.
    """
    folder = files.folder
    metadata = parse_json_object(folder / METADATA, files.content(METADATA))
    config, params = metadata.get("config"), metadata.get("params")
    snapshot, digest = metadata.get("snapshot_path"), metadata.get("dataset_digest")
    if not isinstance(config, dict) or not isinstance(params, dict) or not isinstance(snapshot, str) or not isinstance(digest, str):
        raise BundleError(
            folder, "recipe", f"{METADATA} does not say from which snapshot and settings it was made: it is not of this program"
        )
    problem = find_path_problem(snapshot)
    if problem is not None:
        raise BundleError(folder, "recipe", f"snapshot_path of {METADATA} is no path within the home: {problem}")
    try:
        return _Recipe(
            settings=TrainingSettings(
                train_params=_read_params(config["train_params"]),
                refit=config["refit"],
                search="off",
                search_budget=0.0,
                search_cadence_days=1,
                reject_threshold=config["reject_threshold"],
                prove_reproducible=False,
            ),
            choice=ChosenSettings.model_validate(metadata["chosen_settings"]).choice,
            snapshot_path=snapshot,
            dataset_digest=digest,
            num_threads=int(params["num_threads"]),
            first_tree_hash=str(metadata["first_tree_hash"]),
            trained=None if metadata.get("recipe") is None else TrainingRecipe.model_validate(metadata["recipe"]),
            basis=RejectThreshold.model_validate(metadata["reject_threshold_choice"]).basis,
        )
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise BundleError(folder, "recipe", f"{METADATA} does not say how it was trained: {str(error).splitlines()[0]}") from error


def _read_params(recorded: object) -> TrainParams:
    """Returns the parameters that a model was trained with; one that is not recorded is not taken from today's configuration.

    Raises:
        ValueError: a parameter is missing or not valid.
    """
    missing = sorted(TrainParams.model_fields.keys() - (recorded.keys() if isinstance(recorded, dict) else set()))
    if missing:
        raise ValueError(f"train_params lacks {', '.join(missing)}; an earlier version may have trained it, which reproduces it")
    return TrainParams.model_validate(recorded)
