"""Predictions of one model on a set of windows, and their file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.errors import SnapshotError


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model on some windows, each array of shape (n,).

    Attributes:
        key: hash of (user_id, bucket_start_ts), which names the window.
        true: class index of the label.
        predicted: class index of the largest probability, REJECTED below the threshold.
    """

    key: npt.NDArray[np.uint64]
    true: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]


def rows_digest(key: npt.NDArray[np.uint64]) -> str:
    """Returns 16 hex digits that name a set of windows, independent of their order."""
    return hashlib.sha256(np.sort(key).astype("<u8").tobytes()).hexdigest()[:16]


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Writes predictions as parquet with the columns key, true and predicted."""
    table = pa.table({"key": predictions.key, "true": predictions.true.astype(np.int8), "predicted": predictions.predicted.astype(np.int8)})
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def load_predictions(path: Path) -> Predictions:
    """Reads stored predictions.

    Raises:
        SnapshotError: the file is missing or not readable parquet.
    """
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise SnapshotError(path, str(error).strip().split("\n")[0]) from error
    return Predictions(table["key"].to_numpy(), table["true"].to_numpy().astype(np.int64), table["predicted"].to_numpy().astype(np.int64))
