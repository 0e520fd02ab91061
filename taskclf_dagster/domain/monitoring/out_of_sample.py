"""Predictions of labelled windows that the active model has not learned from: those of its folds, and of windows after its training."""

from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import DatasetSettings
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.split_rows import MIN_SESSION_SECONDS
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.evaluation.leakage import measure_training_distance
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.out_of_fold import OutOfFold, read_out_of_fold
from taskclf_dagster.errors import BundleError, NoWindowsError, UnreadableFileError
from taskclf_dagster.home import Home


class OutOfSample(NamedTuple):
    """Predictions of windows that a model has not learned from, as the booster gives them: not calibrated.

    Attributes:
        predictions: of all of them.
        folds: number of those that the models of its folds predicted.
        newer: number of those after its training that it predicted itself.
        notes: why there are none of a kind; empty if there are of both.
    """

    predictions: OutOfFold
    folds: int
    newer: int
    notes: list[str]


def predict_out_of_sample(home: Home, model: LoadedModel, *, as_of: datetime, settings: DatasetSettings, num_threads: int) -> OutOfSample:
    """Predicts the windows with a gold label that a model has not learned from; writes nothing.

    A window counts as newer if it starts more than 60 minutes after the last one of its user that the model learned from.

    Args:
        home: the taskclf home.
        model: the active model.
        as_of: the end of the look-back.
        settings: its length; the schema version is the model's own.
        num_threads: of LightGBM.
    """
    notes, parts, known = [], list[OutOfFold](), np.empty(0, dtype=np.uint64)
    try:
        parts.append(read_out_of_fold(model.files))
        known = hash_row_keys(parts[0].rows)
    except BundleError:
        notes.append(f"{model.bundle.model_id} has no predictions of its folds")
    try:
        rows = _find_newer(home, model, as_of=as_of, settings=settings)
        rows = rows[~np.isin(hash_row_keys(rows), known)].reset_index(drop=True)
        parts.append(OutOfFold.of(rows, model.predict_uncalibrated(rows, num_threads=num_threads)))
        if rows.empty:
            notes.append("no gold label is newer than its training")
    except (NoWindowsError, UnreadableFileError) as error:
        notes.append(f"newer windows cannot be read: {error}")
    folds = len(parts[0].true) if len(known) else 0
    predictions = _join(parts)
    return OutOfSample(predictions, folds, len(predictions.true) - folds, notes)


def _find_newer(home: Home, model: LoadedModel, *, as_of: datetime, settings: DatasetSettings) -> pd.DataFrame:
    """Returns the gold-labelled windows after a model's training, as `label_windows` describes them; none if the contract is violated."""
    own = settings.model_copy(update={"schema_version": model.schema.version})
    frame = label_windows(home, as_of=as_of, settings=own).frame
    if frame is None:
        raise UnreadableFileError(home.processed, "it violates the data contract", "`taskclf-dagster check-retrain` lists the violations")
    frame = frame[frame["gold"].to_numpy() & (frame["session_seconds"].to_numpy() >= MIN_SESSION_SECONDS)].reset_index(drop=True)
    distance = measure_training_distance(frame, model.bundle, model.files)
    return frame[~distance.leaked & _is_after_training(frame, distance.minutes == 0)].reset_index(drop=True)


def _is_after_training(rows: pd.DataFrame, learned: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Returns True for each row after the last one of its user that was learned from, shape (n,); all of a user without any."""
    users, start = rows["user_id"].cat.codes.to_numpy() + 1, epoch_us(rows["bucket_start_ts"])
    last = np.full(len(rows["user_id"].cat.categories) + 1, np.iinfo(np.int64).min)
    np.maximum.at(last, users[learned], start[learned])
    return start > last[users]


def _join(parts: list[OutOfFold]) -> OutOfFold:
    """Returns all predictions in one, one part after another."""
    if not parts:
        rows = pd.DataFrame({"user_id": pd.Categorical([]), "bucket_start_ts": pd.to_datetime([], utc=True)})
        return OutOfFold(rows, np.empty(0, dtype=np.int64), np.empty((0, len(LABELS)), dtype=np.float32))
    rows = pd.concat([part.rows.astype({"user_id": str}) for part in parts], ignore_index=True).astype({"user_id": "category"})
    return OutOfFold(rows, np.concatenate([part.true for part in parts]), np.concatenate([part.probabilities for part in parts]))
