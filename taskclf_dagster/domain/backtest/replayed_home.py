"""A home of its own for each policy of a replay: the recorded windows are those of the real home, by links; all else is the policy's.

Nothing of the real home is written but `artifacts/backtest/`. The folder of a replayed home is removed when its replay ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from taskclf_dagster.config.home_locations import read_locations
from taskclf_dagster.domain.backtest.known_labels import KnownLabels
from taskclf_dagster.domain.data.day_folders import list_days
from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS
from taskclf_dagster.domain.data.parquet_files import DataFile
from taskclf_dagster.domain.storage.files import make_folders, remove_tree, temporary_path, write_json
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.domain.storage.object_store import StoredObject
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.home import Home


class _Unsynced(FileSystem):
    """A file system whose files need not survive a loss of power: a replay is computed again."""

    def sync_file(self, path: Path) -> None:
        """Does nothing."""

    def sync_folder(self, path: Path) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class ReplayedHome:
    """The home of one policy.

    Attributes:
        home: its folder has the layout of a taskclf home.
        labels: of the real home.
    """

    home: Home
    labels: KnownLabels

    def advance(self, now: datetime) -> None:
        """Makes the labels that are known by a time those of the home."""
        self.labels.write(self.home, now)


@contextmanager
def open_replayed_home(source: Home, labels: KnownLabels) -> Iterator[ReplayedHome]:
    """Makes a home for one policy within the block.

    Args:
        source: the real home.
        labels: of the real home.
    """
    folder = temporary_path(source.backtest / "home")
    home = Home(folder)
    with use_file_system(_Unsynced()):
        make_folders(home.processed)
        make_folders(home.models)
        for version in SCHEMA_VERSIONS:
            if source.features(version).is_dir():
                home.features(version).symlink_to(source.features(version).resolve(), target_is_directory=True)
        features_url = read_locations(source).features_url
        if features_url is not None:
            write_json(home.settings_file, {"home": {"features_url": features_url}})  # JSON is YAML
        if source.is_demo:
            home.demo_marker.write_bytes(source.demo_marker.read_bytes())
        try:
            yield ReplayedHome(home, labels)
        finally:
            remove_tree(folder)


class RecordedDays:
    """The daily files of a home, by which a dataset is known to be of the same windows.

    Args:
        home: the taskclf home; the stamps of its files are read once.
    """

    def __init__(self, home: Home) -> None:
        self._stamps = []
        for version in SCHEMA_VERSIONS:
            for day, file in list_days(home, version).items():
                self._stamps.append((day.isoformat(), version, *_stamp_of(file)))

    def stamp(self, until: datetime) -> str:
        """Returns a hash of name, size and time of every file of a day up to that of a time."""
        last = until.date().isoformat()
        return json_hash([[day, version, size, state] for day, version, size, state in self._stamps if day <= last])


def _stamp_of(file: DataFile) -> tuple[int, str]:
    """Returns the size of a file and what changes with its content: its time, or the ETag of an object."""
    if isinstance(file, StoredObject):
        return file.size, file.etag or str(file.modified)
    status = file.stat()
    return status.st_size, str(status.st_mtime_ns)
