"""The days of a home whose windows are in an object store: daily files and what is passed over, from one listing of the folder.

The rules are those of `day_folders`. A listing is one request for each thousand objects; it is kept for some seconds, so that a tick or a
page asks once, also if the store does not answer. What is passed over is known by its name alone: nothing is opened, and no row is counted.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from threading import Lock
from typing import NamedTuple

from upath import UPath

from taskclf_dagster.domain.data.passed_over import TABLE_SUFFIXES, WINDOWS_OF_DAY, PassedOver, PassedOverKind
from taskclf_dagster.domain.storage.object_store import StoredObject, list_objects
from taskclf_dagster.errors import ObjectStoreError, ObjectStoreUnavailableError, UnreadableFileError

KEPT_SECONDS = 10.0
"""The time for which a listing counts [s]."""


_DAY = re.compile(r"date=([0-9]{4}-[0-9]{2}-[0-9]{2})")


class _Listing(NamedTuple):
    """The objects below a folder by their path in it; or the error of listing it."""

    objects: dict[tuple[str, ...], StoredObject]
    error: ObjectStoreError | ObjectStoreUnavailableError | None


class _KeptListing:
    """The last listing of one folder, for KEPT_SECONDS."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: tuple[float, _Listing] | None = None

    @property
    def is_stale(self) -> bool:
        return not self._lock.locked() and (self._kept is None or time.monotonic() - self._kept[0] > KEPT_SECONDS)

    def get(self, folder: UPath) -> _Listing:
        with self._lock:  # whoever comes meanwhile waits for the same listing
            if self._kept is None or time.monotonic() - self._kept[0] > KEPT_SECONDS:
                listing = _list(folder)
                self._kept = time.monotonic(), listing
            return self._kept[1]


class _KeptListings:
    """The last listings of all folders. A folder whose store does not answer holds up nobody who asks for another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, _KeptListing] = {}

    def get(self, folder: UPath) -> _Listing:
        with self._lock:
            self._kept = {url: each for url, each in self._kept.items() if url == str(folder) or not each.is_stale}
            kept = self._kept.setdefault(str(folder), _KeptListing())
        return kept.get(folder)

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()


_LISTINGS = _KeptListings()


def forget_listings() -> None:
    """Makes the next call list anew: for a process that has just written into the store."""
    _LISTINGS.forget()


def list_day_objects(folder: UPath, version: str) -> dict[date, StoredObject]:
    """Returns the daily files of a folder such as features_v1 by UTC day, oldest first.

    Args:
        folder: the folder of all versions.
        version: the name of the folder in it.

    Raises:
        UnreadableFileError: it cannot be listed.
        ObjectStoreUnavailableError: the object store does not answer.
    """
    found = {}
    for parts, stored in _read(folder).items():
        match parts:
            case (name, day_name, file) if name == version and file == WINDOWS_OF_DAY and (day := parse_day(day_name)) is not None:
                found[day] = stored
            case _:
                pass
    return dict(sorted(found.items()))


def find_passed_over_objects(folder: UPath, versions: set[str]) -> list[PassedOver]:
    """Returns what may hold windows and is not read, as `find_passed_over`, with the names of the objects and no number of rows.

    Args:
        folder: the folder of all versions.
        versions: the names of those that are read.

    Raises:
        UnreadableFileError, ObjectStoreUnavailableError: as `list_day_objects`.
    """
    counts = Counter(found for parts in _read(folder) for found in _classify(parts, versions))
    entries = (PassedOver(path=str(folder.joinpath(*parts)), kind=kind, files=files, rows=None) for (parts, kind), files in counts.items())
    return sorted(entries, key=lambda entry: entry.path)


def parse_day(name: str) -> date | None:
    """Returns the day of a folder's name `date=YYYY-MM-DD`; None if it is none."""
    match = _DAY.fullmatch(name)
    try:
        return None if match is None else date.fromisoformat(match[1])
    except ValueError:
        return None


def _classify(parts: tuple[str, ...], versions: set[str]) -> Iterator[tuple[tuple[str, ...], PassedOverKind]]:
    """Yields the folder or file that an object belongs to, and the reason why it is not read; nothing for what is read or is no table."""
    if not parts[0].lower().startswith("features_v") or not _may_hold_windows(parts):
        return
    if parts[0] not in versions:
        yield parts[:1], "another_version"
    elif len(parts) < 3 or parse_day(parts[1]) is None:
        yield parts[:2], "not_a_day"
    elif parts[2:] != (WINDOWS_OF_DAY,):
        yield parts[:3], "another_file"


def _may_hold_windows(parts: tuple[str, ...]) -> bool:
    """Returns True for the name of a table of which no part is hidden or temporary."""
    visible = not any(part.startswith(".") or part.endswith(".tmp") for part in parts)
    return visible and any(f".{suffix}".lower() in TABLE_SUFFIXES for suffix in parts[-1].split(".")[1:])


def _read(folder: UPath) -> dict[tuple[str, ...], StoredObject]:
    listing = _LISTINGS.get(folder)
    if isinstance(listing.error, ObjectStoreError):
        raise UnreadableFileError(folder, listing.error.reason, f"{listing.error.fix}.") from listing.error
    if listing.error is not None:
        raise listing.error
    return listing.objects


def _list(folder: UPath) -> _Listing:
    try:
        objects = list_objects(folder)
    except (ObjectStoreError, ObjectStoreUnavailableError) as error:
        return _Listing({}, error)
    depth = len(folder.parts)
    return _Listing({tuple(stored.path.parts[depth:]): stored for stored in objects}, None)
