"""Lists the days of a home: the one place that decides which folder is a day, which file holds its windows, and what is passed over.

A day is a folder `date=YYYY-MM-DD` with a real date, and its windows are in `features.parquet`. Everything else in `features_v*/` that may
hold windows is passed over, counted and named. Daily files are read in `day_tables`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Literal

from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS, SchemaVersion
from taskclf_dagster.domain.data.parquet_files import count_rows, is_folder, is_parquet, may_exist
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted, reason_of

WINDOWS_OF_DAY = "features.parquet"

MAX_ENTRIES = 10_000
"""Largest number of files that are looked at in one folder that is passed over."""

MAX_NAMED = 10
"""Number of entries that a message names; the others are counted."""

_DAY = re.compile(r"date=([0-9]{4}-[0-9]{2}-[0-9]{2})")
_TABLE_SUFFIXES = frozenset({".parquet", ".parq", ".pq", ".arrow", ".feather", ".orc", ".csv"})
_FIX = "Make the folder readable for the user that runs this"

PassedOverKind = Literal["not_a_day", "another_file", "another_version", "unreadable_folder"]
"""A folder or file that is not in the folder of a day; a second file or folder in it; a folder of an unknown schema version; a folder that
cannot be listed."""


class PassedOver(Record):
    """A folder or file beside the daily files that may hold windows and is not read.

    Attributes:
        path: relative to the home.
        kind: the reason why it is not read.
        files: number of files in it that may hold windows; 1 for a file, 0 for a folder that cannot be listed.
        rows: number of rows in those whose parquet footer can be read; None if that is none of them.
    """

    path: str
    kind: PassedOverKind
    files: int
    rows: int | None


def list_days(home: Home, version: SchemaVersion) -> dict[date, Path]:
    """Returns the daily files of a schema version by UTC day, oldest first; empty if there is no folder of this version.

    Raises:
        UnreadableFileError: the folder cannot be listed.
    """
    folders = {day: entry for entry in _list_folder(home.features(version)) if (day := day_of(entry)) is not None}
    files = {day: folder / WINDOWS_OF_DAY for day, folder in sorted(folders.items())}
    return {day: path for day, path in files.items() if may_exist(path)}


def find_passed_over(home: Home) -> list[PassedOver]:
    """Returns the folders and files in `features_v*/`, in letters of any case, that may hold windows and are not read, sorted by path.

    Hidden files, and temporary files of taskclf (`*.tmp`), are none of them.

    Raises:
        UnreadableFileError: a folder cannot be listed.
    """
    known = [home.features(version) for version in SCHEMA_VERSIONS]
    found = [entry for folder in known for entry in _find_in_version(home, folder)]
    for folder in _list_folder(home.processed):
        if folder.name.lower().startswith("features_v") and not any(_is_read_as(folder, name) for name in known):
            found += _describe(home, folder, "another_version")
    return sorted(found, key=lambda entry: entry.path)


def count_passed_over(found: Sequence[PassedOver]) -> int:
    """Returns the number of rows in what was passed over, as far as they could be counted."""
    return sum(entry.rows or 0 for entry in found)


def describe_passed_over(found: Sequence[PassedOver]) -> str:
    """Returns a message that counts and names what was passed over; empty if that is nothing."""
    if not found:
        return ""
    named = ", ".join(
        f"{entry.path} ({'rows unknown' if entry.rows is None else counted(entry.rows, 'row')})" for entry in found[:MAX_NAMED]
    )
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    entries, are = ("1 folder or file", "is") if len(found) == 1 else (f"{len(found)} folders or files", "are")
    return (
        f"{entries} in data/processed that may hold windows, {counted(count_passed_over(found), 'row')}, {are} not read: "
        f"{named}{more}. Only "
        f"date=YYYY-MM-DD/{WINDOWS_OF_DAY} is read: let taskclf write the day again, or move what is not needed out of the folder"
    )


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
    match = _DAY.fullmatch(folder.name)
    try:
        return None if match is None or not is_folder(folder) else date.fromisoformat(match[1])
    except ValueError:
        return None


def _describe(home: Home, path: Path, kind: PassedOverKind) -> Iterator[PassedOver]:
    """Yields the entry if it may hold windows: a table file, or a folder with one anywhere in it."""
    if is_folder(path) and not os.access(path, os.R_OK | os.X_OK):
        yield _unreadable(home, path)
        return
    tables = [file for file in islice(_walk(path), MAX_ENTRIES) if _may_hold_windows(file)]
    if tables:
        rows = [count for count in map(count_rows, tables) if count is not None]
        yield PassedOver(path=str(path.relative_to(home.root)), kind=kind, files=len(tables), rows=sum(rows) if rows else None)


def _unreadable(home: Home, folder: Path) -> PassedOver:
    return PassedOver(path=str(folder.relative_to(home.root)), kind="unreadable_folder", files=0, rows=None)


def _walk(path: Path) -> Iterator[Path]:
    if not is_folder(path):
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(_visible(folders))
        yield from (Path(folder, name) for name in sorted(_visible(files)))


def _may_hold_windows(path: Path) -> bool:
    return any(suffix.lower() in _TABLE_SUFFIXES for suffix in path.suffixes) or is_parquet(path)


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
