"""Trains a model again from its stored snapshot and proves that it comes out the same: same trees, same predictions.

How training is made deterministic is in `training`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from taskclf_dagster.config.settings import RejectThresholdSettings, RetrainConfig, TrainParams
from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.data.hashing import probabilities_digest
from taskclf_dagster.domain.data.snapshot import find_snapshot_problem, read_snapshot_rows
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_files import METADATA, BundleFiles
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.training import train_challenger
from taskclf_dagster.domain.storage.files import parse_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import BundleError, SnapshotError
from taskclf_dagster.home import Home

PROBE_ROWS = 256
"""Validation windows whose predictions are compared bit by bit."""


PROVE_BELOW_WINDOWS = 200_000
"""`prove_reproducible: auto` trains again below this many labelled windows."""


class Reproduction(Record):
    """What training again gave.

    Attributes:
        same: trees and probe predictions are equal, and so is the reject threshold.
        tree_hash, again_tree_hash: SHA-256 of the tree section of model.txt, on disk and trained again.
        probe_digest, again_probe_digest: SHA-256 of the probabilities of the first validation windows.
        detail: one sentence for a person.
    """

    model_id: str
    dataset_hash: str
    same: bool
    tree_hash: str
    again_tree_hash: str
    probe_digest: str
    again_probe_digest: str
    detail: str


def is_proof_wanted(config: RetrainConfig, *, windows: int) -> bool:
    """Whether a run trains a second time to prove that it can."""
    return windows < PROVE_BELOW_WINDOWS if config.training.prove_reproducible == "auto" else config.training.prove_reproducible


def reproduce(home: Home, source: Path | LoadedModel, *, on_progress: Callable[[str], None] = lambda _: None) -> Reproduction:
    """Trains a bundle again from its snapshot and its own settings, and compares.

    Args:
        home: the taskclf home.
        source: the bundle's folder, or the bundle as loaded.
        on_progress: called with a line of text every 10 rounds.

    Raises:
        BundleError: the bundle does not load, or does not say how it was made, as those of other programs.
        SnapshotError: the snapshot it was made of is gone or changed.
    """
    loaded = source if isinstance(source, LoadedModel) else load_bundle(source)
    params, reject, snapshot, digest, threads = _read_recipe(loaded.files)
    problem = find_snapshot_problem(home.root / snapshot, digest)
    if problem is not None:
        raise SnapshotError(home.root / snapshot, problem, "Restore it from a backup: a model is only made again from what it was made of")
    schema = SCHEMAS[loaded.schema.version]
    again = train_challenger(
        lambda split: read_snapshot_rows(home.root / snapshot, splits=(split,)),
        schema,
        params=params,
        reject=reject,
        dataset_digest=digest,
        num_threads=threads,
        on_progress=on_progress,
    )
    rows = read_snapshot_rows(home.root / snapshot, splits=("validation",)).head(PROBE_ROWS)
    hashes = loaded.tree_hash, tree_hash(again.booster.model_to_string())
    probes = (
        probabilities_digest(loaded.predict_rows(rows, num_threads=1)),
        probabilities_digest(again.validation_probabilities[:PROBE_ROWS]),
    )
    threshold = bool(np.isclose(loaded.reject_threshold, again.reject.value, rtol=0, atol=0))
    differing = [
        name
        for name, equal in (("trees", hashes[0] == hashes[1]), ("predictions", probes[0] == probes[1]), ("threshold", threshold))
        if not equal
    ]
    what = f"trained again from snapshot {digest[:16]}"
    return Reproduction(
        model_id=loaded.files.model_id,
        dataset_hash=digest[:16],
        same=not differing,
        tree_hash=hashes[0],
        again_tree_hash=hashes[1],
        probe_digest=probes[0],
        again_probe_digest=probes[1],
        detail=f"{what}: {' and '.join(differing)} differ" if differing else f"{what}: the same trees, predictions and threshold",
    )


def _read_recipe(files: BundleFiles) -> tuple[TrainParams, RejectThresholdSettings, str, str, int]:
    """Training settings, snapshot folder (relative to the home), dataset digest and threads, as metadata.json tells them."""
    folder = files.folder
    metadata = parse_json_object(folder / METADATA, files.content(METADATA))
    config, params = metadata.get("config"), metadata.get("params")
    snapshot, digest = metadata.get("snapshot_path"), metadata.get("dataset_digest")
    if not isinstance(config, dict) or not isinstance(params, dict) or not isinstance(snapshot, str) or not isinstance(digest, str):
        raise BundleError(
            folder, "recipe", f"{METADATA} does not say from which snapshot and settings it was made: it is not of this program"
        )
    try:
        train, reject = (
            TrainParams.model_validate(config["train_params"]),
            RejectThresholdSettings.model_validate(config["reject_threshold"]),
        )
        return train, reject, snapshot, digest, int(params["num_threads"])
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise BundleError(folder, "recipe", f"{METADATA} does not say how it was trained: {str(error).splitlines()[0]}") from error
