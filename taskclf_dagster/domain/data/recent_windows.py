"""The recent windows: every window of the last days, labeled or not, as one run read it, so that each model predicts the same ones."""

from collections.abc import Iterable
from typing import ClassVar

import pandas as pd

from taskclf_dagster.domain.data.feature_schema import SchemaVersion
from taskclf_dagster.domain.data.stored_frames import FrameFile, open_frames, store_parts
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


def save_recent_windows(home: Home, frames: Iterable[pd.DataFrame], *, schema_version: SchemaVersion) -> RecentWindows:
    """Stores recent windows.

    Args:
        home: the taskclf home.
        frames: the parts, as `Labeling.recent` yields them.
        schema_version: of the frames.
    """
    stored = store_parts(home.labeled_windows, frames, kind="recent")
    return RecentWindows(schema_version=schema_version, path=str(stored.path.relative_to(home.root)), digest=stored.digest)


def open_recent_windows(home: Home, recent: RecentWindows) -> FrameFile | None:
    """Returns the recent windows; None if their file was removed since, or damaged."""
    try:
        return open_frames(home.root / recent.path, recent.digest)
    except SnapshotError:
        return None
