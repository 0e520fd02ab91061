"""The recent windows: every window of the last days, labeled or not, as one run read it, so that each model predicts the same ones."""

from datetime import datetime, timedelta
from typing import ClassVar

import pandas as pd

from taskclf_dagster.domain.data.feature_schema import SchemaVersion
from taskclf_dagster.domain.data.frame_parts import join_frames
from taskclf_dagster.domain.data.stored_frames import load_frame, store_frame
from taskclf_dagster.domain.storage.path_names import InnerPath
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster.home import Home

RECENT_DAYS = 7


class RecentWindows(Record):
    """The file of the recent windows of a run.

    Attributes:
        schema_version: of its columns.
        path: the file, relative to the home.
        digest: of its values.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset({"path"})

    schema_version: SchemaVersion
    path: InnerPath
    digest: str


def select_recent(frame: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
    """Returns the windows of the last seven days before a time; `frame` is as `WindowReading.frame`."""
    return frame[frame["bucket_start_ts"] >= as_of - timedelta(days=RECENT_DAYS)].reset_index(drop=True)


def save_recent_windows(home: Home, frames: list[pd.DataFrame], *, schema_version: SchemaVersion) -> RecentWindows:
    """Stores recent windows.

    Args:
        home: the taskclf home.
        frames: those of each part of a reading, at least one; the list is emptied to save memory.
        schema_version: of the frames.
    """
    recent = join_frames(frames)
    for column in recent.columns:
        if isinstance(recent[column].dtype, pd.CategoricalDtype):
            recent[column] = recent[column].cat.remove_unused_categories()
    stored = store_frame(home.labeled_windows, recent, kind="recent")
    return RecentWindows(schema_version=schema_version, path=str(stored.path.relative_to(home.root)), digest=stored.digest)


def load_recent_windows(home: Home, recent: RecentWindows) -> pd.DataFrame | None:
    """Returns the recent windows; None if their file was removed since, or damaged."""
    try:
        return load_frame(home.root / recent.path, recent.digest)
    except SnapshotError:
        return None
