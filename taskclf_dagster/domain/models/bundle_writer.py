"""Writes model bundles (contract, section 7).

Reading and verifying them belongs to `models.bundle`.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.models.bundle import CONFUSION, ENCODERS, METADATA, METRICS, MODEL, TRAINING_ROWS, tree_hash
from taskclf_dagster.domain.models.training import TrainedModel
from taskclf_dagster.domain.storage.files import (
    make_folders,
    move_folder,
    remove_tree,
    temporary_path,
    write_atomic,
    write_json,
    write_text,
)


def write_bundle(
    folder: Path,
    model: TrainedModel,
    train_rows: pd.DataFrame,
    *,
    metadata: Mapping[str, object],
) -> Path:
    """Writes a bundle into a folder that does not exist yet: first beside it, then renamed as a whole.

    Args:
        folder: `<somewhere>/<model_id>`.
        model: the trained model.
        train_rows: user_id and bucket_start_ts of the training rows, for their hashes and dates.
        metadata: what the contract asks for beyond what the model knows itself, and additive keys; overrides nothing below.

    Returns:
        The folder.

    Raises:
        FileExistsError: there is such a folder.
    """
    staging = temporary_path(folder)
    make_folders(staging)
    try:
        text = model.booster.model_to_string()
        write_text(staging / MODEL, text)
        write_atomic(staging / TRAINING_ROWS, lambda path: _save_sorted(path, hash_row_keys(train_rows)))
        write_json(staging / ENCODERS, model.encoders)
        write_json(staging / METRICS, _validation_metrics(model))
        counts = confusion_counts(model.validation_true, model.validation_probabilities.argmax(axis=1))
        matrix = pd.DataFrame(counts, index=list(LABELS), columns=list(LABELS))
        write_text(staging / CONFUSION, matrix.to_csv())
        days = train_rows["bucket_start_ts"].agg(["min", "max"])
        document = {
            "schema_version": model.schema.version,
            "schema_hash": model.schema.schema_hash,
            "label_set": list(LABELS),
            "train_date_from": days["min"].date().isoformat(),
            "train_date_to": days["max"].date().isoformat(),
            "params": model.params,
            "reject_threshold": model.reject.value,
            "unknown_category_freq_threshold": model.params["unknown_category_freq_threshold"],
            "unknown_category_mask_rate": model.params["unknown_category_mask_rate"],
            "model_id": folder.name,
            "artifact_hash": hashlib.sha256(text.encode()).hexdigest(),
            "tree_hash": tree_hash(text),
            "training_rows_file": TRAINING_ROWS,
            "reject_threshold_choice": model.reject.model_dump(),
        }
        write_json(staging / METADATA, {**document, **{key: value for key, value in metadata.items() if key not in document}})
        move_folder(staging, folder)
    except BaseException:
        with suppress(OSError):
            remove_tree(staging)
        raise
    return folder


def add_test_figures(folder: Path, figures: dict[str, object]) -> None:
    """Adds the test figures to metrics.json under the key `test`, beside the contract's own keys."""
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    write_json(folder / METRICS, {**metrics, "test": figures})


def confusion_counts(true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The 8 x 8 confusion matrix: rows true, columns predicted, in the order of LABELS."""
    k = len(LABELS)
    return np.bincount(true * k + predicted, minlength=k * k).reshape(k, k)


def _validation_metrics(model: TrainedModel) -> dict[str, object]:
    matrix = confusion_counts(model.validation_true, model.validation_probabilities.argmax(axis=1))
    support, named, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    f1 = np.divide(2 * right, support + named, out=np.zeros(len(LABELS)), where=support + named > 0)
    return {
        "macro_f1": round(float(f1.mean()), 4),
        "weighted_f1": round(float((f1 * support).sum() / max(1, support.sum())), 4),
        "confusion_matrix": matrix.tolist(),
        "label_names": list(LABELS),
    }


def _save_sorted(path: Path, keys: npt.NDArray[np.uint64]) -> None:
    with path.open("wb") as file:
        np.save(file, np.sort(keys))
