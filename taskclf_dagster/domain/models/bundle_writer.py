"""Writes model bundles (contract, section 7).

Reading and verifying them belongs to `models.bundle`.
"""

import hashlib
import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.models.bundle_files import (
    CONFUSION,
    ENCODERS,
    METADATA,
    METRICS,
    MODEL,
    OUT_OF_FOLD,
    TRAINING_ROWS,
    BundleFiles,
)
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.training import TrainedModel
from taskclf_dagster.domain.storage.files import (
    json_text,
    make_folders,
    move_folder,
    remove_tree,
    temporary_path,
    write_atomic,
)
from taskclf_dagster.domain.storage.json_files import parse_json_object
from taskclf_dagster.errors import UnreadableFileError


def write_bundle(
    folder: Path,
    model: TrainedModel,
    learned: pd.DataFrame,
    *,
    metadata: Mapping[str, object],
) -> BundleFiles:
    """Writes a bundle into a temporary folder, which is renamed to one that does not exist yet.

    Args:
        folder: `<somewhere>/<model_id>`.
        model: the trained model.
        learned: user_id and bucket_start_ts of the rows that the model learned from, for their hashes and dates.
        metadata: keys of metadata.json that do not follow from the model; they override none that do.

    Returns:
        The files as written.

    Raises:
        FileExistsError: the folder exists.
    """
    text = model.booster.model_to_string()
    counts = confusion_counts(model.validation_true, model.validation_probabilities.argmax(axis=1))
    document = _describe(folder.name, model, text, learned)
    texts = {
        MODEL: text,
        ENCODERS: json_text(model.encoders),
        METRICS: json_text(_validation_metrics(counts)),
        CONFUSION: pd.DataFrame(counts, index=list(LABELS), columns=list(LABELS)).to_csv(),
        METADATA: json_text({**document, **{key: value for key, value in metadata.items() if key not in document}}),
    }
    contents = {
        TRAINING_ROWS: _sorted_keys(learned),
        OUT_OF_FOLD: model.out_of_fold.to_bytes(),
        **{name: content.encode() for name, content in texts.items()},
    }
    staging = temporary_path(folder)
    make_folders(staging)
    try:
        for name, content in contents.items():
            write_atomic(staging / name, content)
        move_folder(staging, folder)
    except BaseException:
        with suppress(OSError):
            remove_tree(staging)
        raise
    return BundleFiles(folder, ()).with_contents(contents)


def _describe(model_id: str, model: TrainedModel, text: str, learned: pd.DataFrame) -> dict[str, object]:
    """Returns the keys of metadata.json that follow from the model itself."""
    days = learned["bucket_start_ts"].agg(["min", "max"])
    return {
        "schema_version": model.schema.version,
        "schema_hash": model.schema.schema_hash,
        "label_set": list(LABELS),
        "train_date_from": days["min"].date().isoformat(),
        "train_date_to": days["max"].date().isoformat(),
        "params": model.params,
        "reject_threshold": model.reject.value,
        "unknown_category_freq_threshold": model.params["unknown_category_freq_threshold"],
        "unknown_category_mask_rate": model.params["unknown_category_mask_rate"],
        "model_id": model_id,
        "artifact_hash": hashlib.sha256(text.encode()).hexdigest(),
        "tree_hash": tree_hash(text),
        "first_tree_hash": model.first_tree_hash,
        "recipe": model.recipe.model_dump(mode="json"),
        "training_rows_file": TRAINING_ROWS,
        "reject_threshold_choice": model.reject.model_dump(),
    }


def add_test_figures(files: BundleFiles, figures: dict[str, object]) -> BundleFiles:
    """Adds the test metrics to metrics.json under the key `test`, next to the contract's keys, and returns the files."""
    content = json_text({**parse_json_object(files.folder / METRICS, files.content(METRICS)), "test": figures}).encode()
    write_atomic(files.folder / METRICS, content)
    return files.with_contents({METRICS: content})


def without_test_figures(files: BundleFiles) -> BundleFiles:
    """Returns the files as they were built, before `add_test_figures`; as they are if there are no test metrics or none can be read."""
    try:
        document = parse_json_object(files.folder / METRICS, files.content(METRICS))
    except (OSError, UnreadableFileError):
        return files
    if document.pop("test", None) is None:
        return files
    return files.with_contents({METRICS: json_text(document).encode()})


def confusion_counts(true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the confusion matrix of class indices of shape (n,): shape (8, 8), rows true, columns predicted, in the order of LABELS."""
    n = len(LABELS)
    return np.bincount(true * n + predicted, minlength=n * n).reshape(n, n)


def _validation_metrics(matrix: npt.NDArray[np.int64]) -> dict[str, object]:
    """Returns the content of metrics.json, from the confusion matrix of the first fit on the validation split; an undefined F1 is 0."""
    # From the counts that the file holds as well. The tests compare F1 with sklearn.metrics.f1_score.
    support, predicted, correct = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    f1 = np.divide(2 * correct, support + predicted, out=np.zeros(len(LABELS)), where=support + predicted > 0)
    return {
        "macro_f1": round(float(f1.mean()), 4),
        "weighted_f1": round(float((f1 * support).sum() / max(1, support.sum())), 4),
        "confusion_matrix": matrix.tolist(),
        "label_names": list(LABELS),
    }


def _sorted_keys(learned: pd.DataFrame) -> bytes:
    """Returns the content of training_rows.npy: the sorted hashes of the keys of the rows that a model learned from."""
    file = io.BytesIO()
    np.save(file, np.sort(hash_row_keys(learned)))
    return file.getvalue()
