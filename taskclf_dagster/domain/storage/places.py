"""Files of a folder that may be on this machine or in an object store, by one set of functions.

A `Place` is a path of either kind; it can be pickled and holds nothing open. On this machine writes are atomic and durable (`files`); in an
object store each is one object, which is written only if it is absent or has other content.
"""

from pathlib import Path
from typing import TypeAlias

from upath import UPath

from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.object_store import (
    list_objects,
    look_at_object,
    object_exists,
    read_object,
    remove_object,
    write_object,
)
from taskclf_dagster.errors import ObjectMissingError

Place: TypeAlias = Path | UPath
"""A file or a folder."""


def read_place(place: Place) -> bytes:
    """Returns the bytes of a file.

    Raises:
        OSError: it is on this machine and cannot be read.
        ObjectMissingError, ObjectStoreError, ObjectStoreUnavailableError: see `object_store`.
    """
    return place.read_bytes() if isinstance(place, Path) else read_object(place)


def write_place(place: Place, content: bytes) -> None:
    """Writes a whole file; readers see the old one, or none, or the new one.

    Raises:
        OSError, ObjectStoreError, ObjectStoreUnavailableError: as `read_place`.
    """
    if isinstance(place, Path):
        write_atomic(place, content)
    elif not _holds(place, content):
        write_object(place, content)


def place_exists(place: Place) -> bool:
    """Returns True if there is such a file."""
    return place.exists() if isinstance(place, Path) else object_exists(place)


def list_names(folder: Place) -> list[str]:
    """Returns the names of the files in a folder, sorted; empty if it does not exist."""
    if isinstance(folder, Path):
        return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    depth = len(folder.parts) + 1
    return sorted(stored.path.name for stored in list_objects(folder) if len(stored.path.parts) == depth)


def remove_place(place: Place) -> None:
    """Removes a file."""
    if isinstance(place, Path):
        file_system().remove_file(place)
    else:
        remove_object(place)


def inner_path(place: Place, folder: Place) -> str:
    """Returns the path of a file in a folder, with slashes."""
    return "/".join(place.parts[len(folder.parts) :])


def _holds(place: UPath, content: bytes) -> bool:
    try:
        return look_at_object(place).size == len(content) and read_object(place) == content
    except ObjectMissingError:
        return False
