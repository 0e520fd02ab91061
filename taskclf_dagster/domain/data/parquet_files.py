"""Opens parquet files that another program wrote: whatever is wrong with one becomes one of our errors."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from taskclf_dagster.domain.storage.object_store import StoredObject, read_unchanged
from taskclf_dagster.errors import DeniedFileError, ObjectMissingError, ObjectStoreError, UnreadableFileError
from taskclf_dagster.shown_text import reason_of

_MAGIC = b"PAR1"


DataFile: TypeAlias = Path | StoredObject
"""A file of the home, or an object of an object store as a listing found it."""


def path_of(file: DataFile) -> Path | UPath:
    """Returns the place of a file or an object."""
    return file if isinstance(file, Path) else file.path


@contextmanager
def reading_parquet(path: Path, *, fix: str) -> Iterator[None]:
    """Makes every error of opening and decoding a file in its block an UnreadableFileError.

    Args:
        path: the file, which must be a regular one: opening a pipe would wait for its writer.
        fix: what repairs it, one sentence.

    Raises:
        UnreadableFileError: it is no regular file, or pyarrow refuses it.
    """
    with _decoding(path, fix):
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableFileError(path, "it is not a regular file", fix)
        yield


@contextmanager
def opening_parquet(file: DataFile, *, fix: str) -> Iterator[pa.NativeFile]:
    """Opens a file, or an object of an object store, which is read whole and as one version; else as `reading_parquet`.

    Raises:
        UnreadableFileError: as `reading_parquet`; or the object does not exist any more.
        DeniedFileError: access to the object is denied, such as with credentials that have expired.
        ObjectStoreUnavailableError: the object store does not answer.
    """
    if isinstance(file, Path):
        with reading_parquet(file, fix=fix), pa.OSFile(str(file), "rb") as source:
            yield source
        return
    try:
        content = read_unchanged(file)
    except ObjectMissingError as error:
        raise UnreadableFileError(file.path, error.reason, fix) from error
    except ObjectStoreError as error:
        raise DeniedFileError(file.path, error.reason, f"{error.fix}.") from error
    with _decoding(file.path, fix), pa.BufferReader(content) as source:
        yield source


@contextmanager
def _decoding(path: Path | UPath, fix: str) -> Iterator[None]:
    try:
        yield
    # pyarrow raises OverflowError and UnicodeDecodeError (a ValueError) for names and numbers that Python cannot hold
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise UnreadableFileError(path, reason_of(error), fix) from error


def may_exist(path: Path) -> bool:
    """Returns False if there is no such name; True also for a broken link or an unreachable file, which `reading_parquet` reports."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def is_folder(path: Path) -> bool:
    """Returns True for a folder, or a link to one; False also for what cannot be reached."""
    try:
        return path.is_dir()
    except OSError:
        return False


def count_rows(path: Path) -> int | None:
    """Returns the number of rows in the footer of a parquet file; None if it cannot be read."""
    try:
        with reading_parquet(path, fix=""):
            return pq.read_metadata(path).num_rows
    except UnreadableFileError:
        return None


def is_parquet(path: Path) -> bool:
    """Returns True if a file begins as a parquet file does; False if it cannot be opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
