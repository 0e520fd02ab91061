"""Scores a loaded model on labeled rows, with the features of the model's own schema version.

Writes nothing.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, WINDOW_SECONDS, SchemaVersion
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport, evaluate
from taskclf_dagster.domain.evaluation.predictions import Predictions, summarize_probabilities
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.errors import BundleError, NoWindowsError, UnreadableFileError
from taskclf_dagster.home import Home

_Float = npt.NDArray[np.float64]


class Score(NamedTuple):
    """A model on labeled rows.

    Attributes:
        report: its metrics.
        predictions: of each row.
        confidences: key (hash of user and time), predicted, best and confidence of each row, as `summarize_probabilities`.
    """

    report: EvaluationReport
    predictions: Predictions
    confidences: pd.DataFrame


def score_model(model: LoadedModel, rows: pd.DataFrame, *, unseen_users: list[str], min_class_windows: int, num_threads: int) -> Score:
    """Scores a model on labeled rows that have the inputs of its schema version; writes nothing.

    Args:
        model: the loaded bundle.
        rows: as `DatasetSnapshot` rows: keys, session_id, the model inputs and label, sorted by user and time.
        unseen_users: users that were held out of training.
        min_class_windows: a label with fewer true windows is not judged.
        num_threads: of LightGBM.

    Raises:
        BundleError: the model does not predict valid probabilities.
    """
    import lightgbm

    try:
        probabilities = model.predict_rows(rows, num_threads=num_threads)
    except lightgbm.basic.LightGBMError as error:
        raise BundleError(model.bundle.path, "predictions", f"invalid: it does not predict: {error}") from error
    _check_probabilities(model, probabilities)
    report, predictions = evaluate(
        rows,
        label_codes(rows).astype(np.int64),
        probabilities,
        model_id=model.bundle.model_id,
        schema_version=model.schema.version,
        reject_threshold=model.reject_threshold,
        min_class_windows=min_class_windows,
        unseen_users=unseen_users,
    )
    said = summarize_probabilities(probabilities, model.reject_threshold)
    return Score(report, predictions, said.assign(key=hash_row_keys(rows)))


def _check_probabilities(model: LoadedModel, probabilities: _Float) -> None:
    bad = ~(np.isfinite(probabilities).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) < 1e-6))
    if bad.any():
        raise BundleError(
            model.bundle.path, "predictions", f"invalid: {int(bad.sum())} of {len(bad)} test windows get no valid probabilities"
        )


def rows_for(
    model: LoadedModel, home: Home, rows: pd.DataFrame, *, schema_version: SchemaVersion, users: Sequence[str]
) -> tuple[pd.DataFrame, int]:
    """Returns the test rows with the inputs of the model's own schema version, and the number of rows without them.

    Features of another version are read from that version's own partitions, matched by user and time; rows of v2, which have one
    implicit user, are matched by time, and only if the other side has one user.

    Args:
        model: the loaded bundle.
        home: the taskclf home.
        rows: test rows of the dataset.
        schema_version: of the rows.
        users: all users of the dataset.
    """
    if model.schema.version == schema_version or rows.empty:
        return rows, 0
    starts = rows["bucket_start_ts"]
    end = starts.max().to_pydatetime() + timedelta(seconds=WINDOW_SECONDS)
    try:
        reading = read_windows(
            home, start=starts.min().to_pydatetime(), end=end, schema_version=model.schema.version, skip_unreadable_days=True
        )
    except (NoWindowsError, UnreadableFileError):
        return rows.head(0), len(rows)
    if reading.frame is None or reading.violations:
        return rows.head(0), len(rows)
    own = reading.frame
    others = [str(user) for user in own["user_id"].cat.categories]
    if list(users) != others and len(users) == len(others) == 1 and DEFAULT_USER in (users[0], others[0]):
        own = own.assign(user_id=own["user_id"].cat.rename_categories({others[0]: users[0]}))
    keys = hash_row_keys(rows)
    _, mine, theirs = np.intersect1d(keys, hash_row_keys(own), assume_unique=True, return_indices=True)
    order = np.argsort(mine)
    matched = own.take(theirs[order]).reset_index(drop=True)
    base = rows.take(mine[order]).reset_index(drop=True)
    keep = ["user_id", "session_id", "bucket_start_ts"]
    inputs = [column for column in model.schema.model_inputs if column not in keep]
    return pd.concat([base[[*keep, "label"]], matched[inputs]], axis=1), len(rows) - len(base)
