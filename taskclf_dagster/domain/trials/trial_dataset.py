"""The dataset of a trial: exactly the windows of its closed user-days with their labels of then, stored as a snapshot is."""

from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskclf_dagster.domain.data.hashing import frame_digest, hash_row_keys
from taskclf_dagster.domain.data.snapshot import find_stored_problem
from taskclf_dagster.domain.data.snapshot_places import SNAPSHOT_FILE, find_snapshot
from taskclf_dagster.domain.data.snapshot_rows import StoredRows, count_splits, open_snapshot_rows, write_rows
from taskclf_dagster.domain.data.times import to_epoch_us
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.decision.trial import TrialRecord
from taskclf_dagster.domain.storage.files import json_text
from taskclf_dagster.domain.storage.places import Place, place_exists, write_place
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.domain.trials.closed_days import as_test_rows
from taskclf_dagster.home import Home


class TrialDataset(NamedTuple):
    """The stored dataset of a trial.

    Attributes:
        path: its folder, relative to the home.
        digest: over every value.
        split: number of rows of each part of the split: all are test.
        stored: the rows, as they were read back.
        left_out: number of windows of the trial whose features the home no longer has.
    """

    path: str
    digest: str
    split: dict[str, int]
    stored: StoredRows
    left_out: int


def store_trial_dataset(home: Home, trial: TrialRecord) -> TrialDataset:
    """Writes the windows of the closed user-days of a trial to `artifacts/snapshots/`; an intact folder is kept as it is.

    Raises:
        DataContractError: the windows violate the data contract by now.
        UnreadableFileError: a daily file cannot be read.
        NoWindowsError: no day is left.
    """
    rows, left_out = _read_frozen(home, trial)
    digest = frame_digest(rows)
    folder = find_snapshot(home, digest[:16])
    split = count_splits(rows)
    if not _is_intact(folder):
        write_rows(folder, rows)
        document = {"dataset_hash": digest[:16], "dataset_digest": digest, "trial_of": trial.model_id, "rows": split}
        write_place(folder / SNAPSHOT_FILE, json_text({**document, "record_hash": json_hash(document)}).encode())
    path = str((home.snapshots / digest[:16]).relative_to(home.root))
    return TrialDataset(path, digest, split, open_snapshot_rows(folder), left_out)


def _is_intact(folder: Place) -> bool:
    return place_exists(folder / SNAPSHOT_FILE) and find_stored_problem(folder) is None


def _read_frozen(home: Home, trial: TrialRecord) -> tuple[pd.DataFrame, int]:
    """Returns the rows of the closed user-days with their labels of then, and the number of windows that are gone."""
    days = [datetime.combine(day.day, time(), tzinfo=UTC) for day in trial.user_days]
    windows = read_windows(
        home, start=min(days), end=max(days) + timedelta(days=1), schema_version=trial.schema_version, skip_unreadable_days=False
    ).require()
    begins = [to_epoch_us(day) for day in days]
    frozen = pd.DataFrame(
        {
            "user_id": pd.Categorical([day.user for day in trial.user_days for _ in day.minutes]),
            "bucket_start_ts": pd.to_datetime(
                [begin + minute * 60_000_000 for begin, day in zip(begins, trial.user_days, strict=True) for minute in day.minutes],
                unit="us",
                utc=True,
            ),
        }
    )
    labels = np.array([label for day in trial.user_days for label in day.labels], dtype=np.int64)
    keys, wanted = hash_row_keys(windows), hash_row_keys(frozen)
    order = np.argsort(wanted)
    place = np.minimum(np.searchsorted(wanted, keys, sorter=order), len(wanted) - 1)
    found = wanted[order[place]] == keys
    rows = as_test_rows(windows, np.where(found, labels[order[place]], -1))
    return rows, len(wanted) - int(found.sum())
