"""Reads and writes objects of an object store by fsspec: whole objects, in bounded time, with further attempts after transient errors.

A path of an object store is a `upath.UPath`, which can be pickled and holds no connection. Nothing here says what an object means; which
places exist is in `config.home_locations`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fsspec.asyn import AsyncFileSystem
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential
from upath import UPath

from taskclf_dagster.domain.storage.object_store_errors import ChangedWhileReadError, describe_failure, is_transient
from taskclf_dagster.errors import ObjectMissingError

ATTEMPTS = 4
"""Attempts of reading and writing. Listing has one, because pages and ticks wait for it."""


RETRY_SECONDS = 120.0
"""No further attempt begins after this time [s]."""


OBJECT_SECONDS = 600.0
"""The longest time of one attempt to read or write an object [s]."""


LISTING_SECONDS = 60.0
"""The longest time of listing a folder, or of looking at one object [s]."""


_S3_CLIENT: dict[str, object] = {"connect_timeout": 10, "read_timeout": 60, "retries": {"total_max_attempts": 2}}
"""Time without a byte [s] and attempts of the client of S3, which would otherwise multiply with those here."""


_Result = TypeVar("_Result")


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredObject:
    """One object as a listing found it.

    Attributes:
        path: its place.
        size: number of bytes.
        etag: changes with its content; "" if the store has none.
        modified: the time of the last change; None if the store has none.
    """

    path: UPath
    size: int
    etag: str
    modified: datetime | None


def open_location(url: str) -> Path | UPath:
    """Returns the folder of a URL: a path of this machine for `file://`, else one of an object store. Opens nothing."""
    if url.startswith("file://"):
        return Path(urlsplit(url).path)
    options: dict[str, Any] = {"config_kwargs": _S3_CLIENT} if url.startswith("s3://") else {}
    return UPath(url, use_listings_cache=False, **options)  # a listing shows what is there now


def list_objects(folder: UPath) -> list[StoredObject]:
    """Returns the objects below a folder, by name; empty if there are none.

    Raises:
        ObjectStoreError: it cannot be listed, such as for want of the bucket or of permission.
        ObjectStoreUnavailableError: the store does not answer.
    """

    def find() -> list[StoredObject]:
        root = folder.path.rstrip("/")
        found = _call(folder, "find", root, seconds=LISTING_SECONDS, detail=True)
        return [_describe(folder / name.removeprefix(root).lstrip("/"), found[name]) for name in sorted(found)]

    return _attempt(folder, find, attempts=1)


def look_at_object(path: UPath) -> StoredObject:
    """Returns size and etag of an object.

    Raises:
        ObjectMissingError: there is none.
        ObjectStoreError: it cannot be looked at.
        ObjectStoreUnavailableError: the store does not answer.
    """
    return _attempt(path, lambda: _look(path))


def object_exists(path: UPath) -> bool:
    """Returns True if there is an object; raises as `look_at_object` else."""
    try:
        look_at_object(path)  # fsspec's own `isfile` takes every error for an object that does not exist
    except ObjectMissingError:
        return False
    return True


def read_object(path: UPath) -> bytes:
    """Returns the bytes of an object, for a caller that compares them with a hash.

    Raises:
        ObjectMissingError, ObjectStoreError, ObjectStoreUnavailableError: as `look_at_object`.
    """
    return _attempt(path, lambda: _get(path))


def read_unchanged(found: StoredObject) -> bytes:
    """Returns the bytes of one version of an object: it was the same before and after. A later version than the listed one is as good.

    Raises:
        ObjectMissingError, ObjectStoreError: as `look_at_object`.
        ObjectStoreUnavailableError: the store does not answer, or the object was replaced at every attempt.
    """
    before = found

    def read() -> bytes:
        nonlocal before
        content = _get(found.path)
        after = _look(found.path)
        if (after.size, after.etag) != (before.size, before.etag) or len(content) != after.size:
            before = after
            msg = "it was replaced while it was read"
            raise ChangedWhileReadError(msg)
        return content

    return _attempt(found.path, read)


def write_object(path: UPath, content: bytes) -> None:
    """Writes an object: readers see the old one, or none, or the new one.

    Raises:
        ObjectStoreError, ObjectStoreUnavailableError: as `look_at_object`.
    """
    _attempt(path, lambda: _call(path, "pipe_file", path.path, content, seconds=OBJECT_SECONDS))


def remove_object(path: UPath) -> None:
    """Removes an object; one that does not exist is no error.

    Raises:
        ObjectStoreError, ObjectStoreUnavailableError: as `look_at_object`.
    """

    def remove() -> None:
        try:
            _call(path, "rm_file", path.path, seconds=LISTING_SECONDS)
        except FileNotFoundError:
            return

    _attempt(path, remove)


def _get(path: UPath) -> bytes:
    return bytes(_call(path, "cat_file", path.path, seconds=OBJECT_SECONDS))


def _look(path: UPath) -> StoredObject:
    return _describe(path, _call(path, "info", path.path, seconds=LISTING_SECONDS))


def _describe(path: UPath, info: dict[str, object]) -> StoredObject:
    etag = next((str(info[key]) for key in ("ETag", "etag", "md5Hash") if info.get(key)), "")
    times = (info.get(key) for key in ("LastModified", "last_modified", "mtime", "updated"))
    modified = next((time for time in times if isinstance(time, datetime)), None)
    return StoredObject(path, int(str(info["size"])), etag.strip('"'), modified)


def _call(path: UPath, name: str, *args: object, seconds: float, **options: object) -> Any:
    """Calls a function of the file system of a path; those of all object stores take a time limit."""
    system = path.fs
    if path.protocol == "s3":
        system.retries = 1  # s3fs repeats what its client has repeated already
    limit = {"timeout": seconds} if isinstance(system, AsyncFileSystem) else {}
    return getattr(system, name)(*args, **limit, **options)


def _attempt(path: UPath, act: Callable[[], _Result], *, attempts: int = ATTEMPTS) -> _Result:
    retrying = Retrying(
        stop=stop_after_attempt(attempts) | stop_after_delay(RETRY_SECONDS),
        wait=wait_random_exponential(multiplier=0.5, max=20),
        retry=retry_if_exception(is_transient),
        before_sleep=lambda state: _log.warning("%s: attempt %d failed, the next one follows", path, state.attempt_number),
        reraise=True,
    )
    try:
        return retrying(act)
    except Exception as error:
        raise describe_failure(path, error) from error
