"""The predictions of one model on the test windows, with the distance of each window from the model's training windows, and their file.

Both are found once, when the model is evaluated; comparisons read them and need no bundle.
"""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.evaluation.leakage import LeakageBasis, TrainingDistance, measure_training_distance
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.slices import slice_columns
from taskclf_dagster.domain.models.bundle import ModelBundle
from taskclf_dagster.domain.models.bundle_files import BundleFiles
from taskclf_dagster.domain.storage.json_files import parse_json
from taskclf_dagster.domain.storage.stored_files import StoredFile, read_stored_file, store_file, to_parquet
from taskclf_dagster.errors import SnapshotError

_SOURCE = b"trained_on"


@dataclass(frozen=True)
class ScoredWindows:
    """One model on some windows.

    Attributes:
        predictions: of each window.
        distance: of the same windows, in the same order.
        knows: True for each of them whose categories are all in the model's vocabularies, shape (n,); None if an earlier version wrote it.
    """

    predictions: Predictions
    distance: TrainingDistance
    knows: npt.NDArray[np.bool_] | None = None

    @property
    def key(self) -> npt.NDArray[np.uint64]:
        """Hash of (user_id, bucket_start_ts) of each window, shape (n,)."""
        return self.predictions.key

    def take(self, positions: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "ScoredWindows":
        """Returns some of the windows."""
        said, knows = self.predictions, self.knows
        return ScoredWindows(
            Predictions(said.key[positions], said.true[positions], said.predicted[positions]),
            self.distance.take(positions),
            None if knows is None else knows[positions],
        )

    def in_order(self, keys: npt.NDArray[np.uint64]) -> "ScoredWindows":
        """Returns the windows with these keys, in their order; each must be among the windows."""
        order = np.argsort(self.key)
        return self.take(order[np.searchsorted(self.key, keys, sorter=order)])


def add_training_distance(
    rows: pd.DataFrame,
    predictions: Predictions,
    bundle: ModelBundle,
    files: BundleFiles | None = None,
    *,
    knows: npt.NDArray[np.bool_] | None = None,
) -> ScoredWindows:
    """Measures how far the predicted windows are from those that the model was trained on.

    Args:
        rows: user_id (category) and bucket_start_ts (UTC) of at least the predicted windows, in any order.
        predictions: of the model.
        bundle: the model.
        files: the files of the bundle if it was loaded, so that they are not read again.
        knows: from `LoadedModel.knows_categories` for the predicted windows.

    Raises:
        BundleError: the bundle is invalid.
    """
    return ScoredWindows(predictions, measure_training_distance(_in_order_of(rows, predictions.key), bundle, files), knows)


def _in_order_of(rows: pd.DataFrame, key: npt.NDArray[np.uint64]) -> pd.DataFrame:
    """Returns the rows with these keys, in their order."""
    keys = hash_row_keys(rows)
    order = np.argsort(keys)
    return rows.take(order[np.searchsorted(keys, key, sorter=order)])


def save_scored_windows(root: Path, path: Path, scored: ScoredWindows, rows: pd.DataFrame) -> StoredFile:
    """Writes parquet with a row per window: user_id, bucket_start_ts, its slices, key, true, predicted, minutes_to_training, knows.

    The model and its dates are in the metadata.

    Args:
        root: the home.
        path: the file.
        scored: the predictions.
        rows: user_id (category) and bucket_start_ts (UTC) of at least these windows, in any order; with the columns of
            `slices.describe_windows` if the windows are to be sliced.
    """
    said, distance = scored.predictions, scored.distance
    source = {
        "model_id": distance.model_id,
        "basis": distance.basis,
        "trained_from": distance.trained_from.isoformat(),
        "trained_to": distance.trained_to.isoformat(),
    }
    own = _in_order_of(rows, said.key)
    columns = {
        "user_id": pa.array(own["user_id"]),
        **{name: pa.array(own[name]) for name in ("bucket_start_ts", *slice_columns(own.columns))},
        "key": said.key,
        "true": said.true.astype(np.int8),
        "predicted": said.predicted.astype(np.int8),
        "minutes_to_training": distance.minutes.astype(np.int8),
        **({} if scored.knows is None else {"knows": scored.knows}),
    }
    table = pa.table(columns).replace_schema_metadata({_SOURCE: json.dumps(source)})
    return store_file(root, path, to_parquet(table))


class StoredPredictions(NamedTuple):
    """The content of a file of predictions.

    Attributes:
        scored: the predictions.
        rows: user_id (category) and bucket_start_ts (UTC) of the same windows, in the same order, with what they are sliced by.
    """

    scored: ScoredWindows
    rows: pd.DataFrame


def load_scored_windows(root: Path, stored: StoredFile) -> StoredPredictions:
    """Reads what `save_scored_windows` wrote; `root` is the home.

    Raises:
        UnreadableFileError: the file is missing or was changed.
        SnapshotError: it is not readable parquet, or was not written by `save_scored_windows`.
    """
    path, content = root / stored.path, read_stored_file(root, stored)
    try:
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
        source = cast("dict[str, Any]", parse_json((table.schema.metadata or {})[_SOURCE]))
        columns = {name: table[name].to_numpy() for name in ("key", "true", "predicted", "minutes_to_training")}
        described = ["user_id", "bucket_start_ts", *slice_columns(table.column_names)]
        rows = table.select(described).replace_schema_metadata(None).to_pandas()
        knows = table["knows"].to_numpy().astype(bool) if "knows" in table.column_names else None
        basis: LeakageBasis = source["basis"]
        if basis not in get_args(LeakageBasis):
            msg = f"basis is {basis!r}"
            raise ValueError(msg)  # noqa: TRY301  # as any other content that was not written by us
        dates = date.fromisoformat(source["trained_from"]), date.fromisoformat(source["trained_to"])
        distance = TrainingDistance(str(source["model_id"]), basis, *dates, columns["minutes_to_training"].astype(np.int64))
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        raise SnapshotError(path, str(error).strip().split("\n")[0]) from error
    predictions = Predictions(columns["key"], columns["true"].astype(np.int64), columns["predicted"].astype(np.int64))
    return StoredPredictions(ScoredWindows(predictions, distance, knows), rows)
