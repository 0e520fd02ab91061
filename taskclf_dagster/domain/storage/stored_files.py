"""Files that a record names by path and SHA-256, so that a step reads what the step before it wrote, or fails."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.domain.storage.path_names import InnerPath, is_within
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.shown_text import reason_of


class StoredFile(Record):
    """A file of a home.

    Attributes:
        path: relative to the home.
        sha256: of its bytes, in hex.
    """

    path: InnerPath
    sha256: str


def store_file(root: Path, path: Path, content: bytes) -> StoredFile:
    """Writes a file atomically and returns what a record keeps of it; `root` is the home."""
    write_atomic(path, content)
    return StoredFile(path=path.relative_to(root).as_posix(), sha256=hashlib.sha256(content).hexdigest())


def to_parquet(table: pa.Table, **options: Any) -> bytes:
    """Returns a table as the bytes of a parquet file, compressed with zstd; `options` are those of pyarrow's `write_table`."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue().to_pybytes()


def read_stored_file(root: Path, stored: StoredFile) -> bytes:
    """Returns the bytes of a file that a record names.

    Raises:
        UnreadableFileError: it is missing, lies outside of the home, or was changed since it was written.
    """
    path, fix = root / stored.path, "Materialize the asset that made it again"
    try:
        if not is_within(path, root):
            raise UnreadableFileError(path, "it is not within the home", fix)
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UnreadableFileError(path, reason_of(error), fix) from error
    if hashlib.sha256(content).hexdigest() != stored.sha256:
        raise UnreadableFileError(path, "it does not have the hash of its record: it was changed after it was written", fix)
    return content
