"""The folders of stored snapshots: `artifacts/snapshots/<hash>` for every record, wherever the files are.

New ones go to the place that the home names (`home_places`). One that was written into the home before stays there, and is found there.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from taskclf_dagster.domain.data.home_places import snapshots_folder
from taskclf_dagster.domain.data.snapshot_owner import check_snapshot_owner
from taskclf_dagster.domain.storage.files import list_folders, remove_whole
from taskclf_dagster.domain.storage.object_store import StoredObject, list_objects, remove_object
from taskclf_dagster.domain.storage.path_names import is_short_hash, is_within
from taskclf_dagster.domain.storage.places import Place
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster.home import Home

SNAPSHOT_FILE = "snapshot.json"


@dataclass(frozen=True)
class SnapshotPlace:
    """One stored snapshot.

    Attributes:
        folder: its files.
        is_complete: True if it has its record, which is written last.
        bytes: size of all files.
        changed: time of the last change [s since 1970].
    """

    folder: Place
    is_complete: bool
    bytes: int
    changed: float

    @property
    def name(self) -> str:
        return self.folder.name


def snapshot_folder(home: Home, path: str) -> Place:
    """Returns the folder of a snapshot that a record names.

    Args:
        home: the taskclf home.
        path: relative to the home, as the record has it.

    Raises:
        SnapshotError: it is not among the snapshots of the home.
        SettingsError: the settings file of the home cannot be read.
    """
    folder = home.root / path
    try:
        inside = is_within(folder, home.snapshots)
    except (OSError, ValueError) as error:  # too long, or not a path at all
        raise SnapshotError(home.snapshots, str(error)) from error
    if not inside:
        raise SnapshotError(folder, "it is not among the snapshots of the home")
    return find_snapshot(home, folder.name) if folder.parent == home.snapshots else folder


def find_snapshot(home: Home, name: str) -> Place:
    """Returns the folder of a snapshot by its hash: that of the home if it is complete there, else where new ones go."""
    local, place = home.snapshots / name, snapshots_folder(home)
    return local if place == home.snapshots or (local / SNAPSHOT_FILE).exists() else place / name


def list_snapshots(home: Home) -> list[SnapshotPlace]:
    """Returns the stored snapshots in every place, also those without a record, by name.

    Raises:
        ObjectStoreError, ObjectStoreUnavailableError: the object store cannot be listed, or the place is that of another home.
        SettingsError: the settings file of the home cannot be read.
        UnreadableFileError: the id of the home is damaged.
    """
    place = snapshots_folder(home)
    check_snapshot_owner(home)
    found = [*_list_local(home.snapshots)]
    if isinstance(place, UPath):
        found += _list_remote(place)
    elif place != home.snapshots:
        found += _list_local(place)
    return sorted(found, key=lambda snapshot: (snapshot.name, str(snapshot.folder)))


def remove_snapshot(home: Home, name: str) -> None:
    """Removes a snapshot in every place, its record first, so that what an interrupted removal leaves is not taken for a whole one."""
    place = snapshots_folder(home)
    for folder in {home.snapshots / name, place / name}:
        if isinstance(folder, Path):
            if folder.is_dir():
                remove_whole(folder)
            continue
        remove_object(folder / SNAPSHOT_FILE)
        for stored in list_objects(folder):
            remove_object(stored.path)


def _list_local(root: Path) -> Iterator[SnapshotPlace]:
    for folder in (folder for folder in list_folders(root) if is_short_hash(folder.name)):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        yield SnapshotPlace(folder, (folder / SNAPSHOT_FILE).exists(), size, folder.stat().st_mtime)


def _list_remote(root: UPath) -> Iterator[SnapshotPlace]:
    files: dict[str, list[StoredObject]] = defaultdict(list)
    depth = len(root.parts)
    for stored in list_objects(root):
        files[stored.path.parts[depth]].append(stored)
    for name, inside in files.items():
        if is_short_hash(name):
            changed = max((stored.modified.timestamp() for stored in inside if stored.modified is not None), default=0.0)
            is_complete = any(stored.path == root / name / SNAPSHOT_FILE for stored in inside)
            yield SnapshotPlace(root / name, is_complete, sum(stored.size for stored in inside), changed)
