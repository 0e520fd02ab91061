"""The windows of the replayed days that have a label of a person, by which the models of every policy are measured."""

import math
from datetime import datetime, timedelta
from typing import NamedTuple

import pandas as pd

from taskclf_dagster.config.settings import DatasetSettings
from taskclf_dagster.domain.data.feature_schema import SchemaVersion
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.errors import NoWindowsError, ReplayRangeError
from taskclf_dagster.home import Home


class LabeledHistory(NamedTuple):
    """Labeled windows of some days.

    Attributes:
        rows: those with a gold label, as `LabelingResult.frame`, sorted by user and time.
        schema_version: of their inputs.
        users: all users that recorded windows.
    """

    rows: pd.DataFrame
    schema_version: SchemaVersion
    users: list[str]


def read_labeled_history(home: Home, settings: DatasetSettings, *, first: datetime, last: datetime) -> LabeledHistory:
    """Reads the windows between two times with the labels that are known today; writes nothing.

    Raises:
        ReplayRangeError: there is none with a label of a person, or the files break the data contract.
        UnreadableFileError: a file cannot be read.
    """
    days = math.ceil((last - first) / timedelta(days=1))
    look_back = settings.model_copy(update={"data_lookback_days": days, "training_lookback_days": days})
    try:
        labeled, frame, *_ = label_windows(home, as_of=last, settings=look_back)
    except NoWindowsError as error:
        raise ReplayRangeError(f"{error}".rstrip("."), "Choose other days with --from and --to") from error
    if frame is None:
        raise ReplayRangeError(
            f"the data contract is broken: {labeled.violations[0].message}", "`taskclf-dagster check-retrain` lists all violations"
        )
    within = frame["gold"].to_numpy() & (frame["bucket_start_ts"] >= first).to_numpy()
    rows = frame[within].reset_index(drop=True)
    if rows.empty:
        raise ReplayRangeError(f"no window from {first:%Y-%m-%d} to {last:%Y-%m-%d} has a label of a person", "Choose other days")
    return LabeledHistory(rows, labeled.schema_version, list(labeled.users))
