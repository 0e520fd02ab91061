"""Lists the days of a home: the one place that decides which folder is a day, which file holds its windows, and what is passed over.

A day is a folder `date=YYYY-MM-DD` with a real date, and its windows are in `features.parquet`. Everything else in `features_v*/` that may
hold windows is passed over, counted and named. Daily files are read in `day_tables`; the same from an object store is in `day_objects`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import islice
from pathlib import Path

from taskclf_dagster.domain.data.day_objects import find_passed_over_objects, list_day_objects, parse_day
from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS, SchemaVersion
from taskclf_dagster.domain.data.home_places import features_folder, show_place, windows_folder
from taskclf_dagster.domain.data.parquet_files import DataFile, count_rows, is_folder, is_parquet, may_exist
from taskclf_dagster.domain.data.passed_over import TABLE_SUFFIXES, WINDOWS_OF_DAY, PassedOver, PassedOverKind
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import reason_of

MAX_ENTRIES = 10_000
"""Largest number of files that are looked at in one folder that is passed over."""

_FIX = "Make the folder readable for the user that runs this"


def list_days(home: Home, version: SchemaVersion) -> Mapping[date, DataFile]:
    """Returns the daily files of a schema version by UTC day, oldest first; empty if there is no folder of this version.

    Raises:
        UnreadableFileError: the folder cannot be listed.
        ObjectStoreUnavailableError: the object store of the home does not answer.
        SettingsError: the settings file of the home cannot be read.
    """
    place = features_folder(home, version)
    if not isinstance(place, Path):
        return list_day_objects(place.parent, place.name)
    folders = {day: entry for entry in _list_folder(place) if (day := day_of(entry)) is not None}
    files = {day: folder / WINDOWS_OF_DAY for day, folder in sorted(folders.items())}
    return {day: path for day, path in files.items() if may_exist(path)}


def find_passed_over(home: Home) -> list[PassedOver]:
    """Returns the folders and files in `features_v*/`, in letters of any case, that may hold windows and are not read, sorted by path.

    Hidden files, and temporary files of taskclf (`*.tmp`), are none of them.

    Raises:
        UnreadableFileError, ObjectStoreUnavailableError, SettingsError: as `list_days`.
    """
    place = windows_folder(home)
    names = [home.features(version).name for version in SCHEMA_VERSIONS]
    if not isinstance(place, Path):
        return find_passed_over_objects(place, set(names))
    known = [place / name for name in names]
    found = [entry for folder in known for entry in _find_in_version(home, folder)]
    for folder in _list_folder(place):
        if folder.name.lower().startswith("features_v") and not any(_is_read_as(folder, name) for name in known):
            found += _describe(home, folder, "another_version")
    return sorted(found, key=lambda entry: entry.path)


def _find_in_version(home: Home, folder: Path) -> Iterator[PassedOver]:
    for entry in _list_folder(folder):
        if day_of(entry) is None:
            yield from _describe(home, entry, "not_a_day")
        elif not os.access(entry, os.R_OK | os.X_OK):
            yield _unreadable(home, entry)
        else:
            others = (other for other in _list_folder(entry) if not _is_read_as(other, entry / WINDOWS_OF_DAY))
            yield from (found for other in others for found in _describe(home, other, "another_file"))


def _is_read_as(path: Path, name: Path) -> bool:
    """Returns True if a path is that name, also in other letters where the disk does not distinguish them."""
    return path == name or (path.name.lower() == name.name.lower() and name.exists() and path.exists() and path.samefile(name))


def day_of(folder: Path) -> date | None:
    """Returns the day of a folder `date=YYYY-MM-DD`; None if it is none, or no folder."""
    day = parse_day(folder.name)
    return day if day is not None and is_folder(folder) else None


def _describe(home: Home, path: Path, kind: PassedOverKind) -> Iterator[PassedOver]:
    """Yields the entry if it may hold windows: a table file, or a folder with one anywhere in it."""
    if is_folder(path) and not os.access(path, os.R_OK | os.X_OK):
        yield _unreadable(home, path)
        return
    tables = [file for file in islice(_walk(path), MAX_ENTRIES) if _may_hold_windows(file)]
    if tables:
        rows = [count for count in map(count_rows, tables) if count is not None]
        yield PassedOver(path=show_place(home, path), kind=kind, files=len(tables), rows=sum(rows) if rows else None)


def _unreadable(home: Home, folder: Path) -> PassedOver:
    return PassedOver(path=show_place(home, folder), kind="unreadable_folder", files=0, rows=None)


def _walk(path: Path) -> Iterator[Path]:
    if not is_folder(path):
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(_visible(folders))
        yield from (Path(folder, name) for name in sorted(_visible(files)))


def _may_hold_windows(path: Path) -> bool:
    return any(suffix.lower() in TABLE_SUFFIXES for suffix in path.suffixes) or is_parquet(path)


def _visible(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.startswith(".") and not name.endswith(".tmp"))


def _list_folder(folder: Path) -> list[Path]:
    """Returns the entries of a folder without hidden and temporary ones; empty if it does not exist or is no folder."""
    try:
        return [folder / name for name in sorted(_visible(entry.name for entry in folder.iterdir()))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnreadableFileError(folder, reason_of(error), _FIX) from error
