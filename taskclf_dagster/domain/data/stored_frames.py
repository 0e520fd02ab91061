"""Frames that one asset hands to the next as files: arrow IPC, named by a number and the digest of the values; the newest few are kept.

Each part of the rows is one record batch; parts without rows are left out.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from taskclf_dagster.domain.data.hashing import frame_digest, parts_digest
from taskclf_dagster.domain.storage.files import write_and_name
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.numbered_files import name_without_number, next_numbered, sort_numbered
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster.shown_text import reason_of

KEPT_FRAMES = 3
"""Number of frames of one kind that are kept; a snapshot holds its own copy."""


_NAME_OF_0_2 = re.compile(r"[0-9a-f]{16}\.arrow")


class StoredFrame(NamedTuple):
    """A frame that was written: its file, and the digest of its values."""

    path: Path
    digest: str


@dataclass(frozen=True)
class FrameFile:
    """The rows of a file, one part for each of its record batches. Its digest is not checked."""

    path: Path

    @cached_property
    def columns(self) -> Sequence[str]:
        with _open(self.path) as file:
            return list(file.schema.names)

    @cached_property
    def sizes(self) -> Sequence[int]:
        with _open(self.path) as file:
            return [file.get_batch(number).num_rows for number in range(file.num_record_batches)] or [0]

    def load_part(self, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns the rows of a part, numbered from 0; some columns, or all.

        Raises:
            SnapshotError: the file is missing or unreadable.
        """
        with _open(self.path) as file:
            table = pa.Table.from_batches([file.get_batch(number)] if file.num_record_batches else [], file.schema)
            return _to_pandas(table if columns is None else table.select(list(columns)))

    def digest(self) -> str:
        """Returns the digest of the rows; see `hashing.frame_digest`.

        Raises:
            SnapshotError: the file is missing or unreadable, or has users of a part in another.
        """
        try:
            return parts_digest(self)
        except ValueError as error:
            raise SnapshotError(self.path, str(error)) from error


def store_parts(folder: Path, frames: Iterable[pd.DataFrame], *, kind: str) -> StoredFrame:
    """Writes rows under their digest; files of their kind that were written before the newest few are removed.

    Args:
        folder: of the files.
        frames: the parts, at least one, each written as soon as it is made. Columns of numbers, times, booleans and categories, with the
            same categories in every part.
        kind: a word of the file's name.
    """
    digests: list[str] = []

    def write(temporary: Path) -> None:
        digests.append(_write(temporary, frames) or FrameFile(temporary).digest())

    def choose_name() -> Path:
        name, present = f"{digests[0][:16]}.{kind}.arrow", list_frames(folder, kind)
        is_newest = bool(present) and name_without_number(present[-1]) == name
        return present[-1] if is_newest else next_numbered(folder, name, present)

    path = write_and_name(folder, f"{kind}.arrow", write, choose_name)
    for old in list_frames(folder, kind)[:-KEPT_FRAMES]:
        file_system().remove_file(old)
    return StoredFrame(path, digests[0])


def list_frames(folder: Path, kind: str = "*") -> list[Path]:
    """Returns the frames of a kind, or of all kinds, the oldest first; those of versions up to 0.2, without kind, belong to every kind."""
    frames = (path for path in folder.glob("*.arrow") if not path.name.startswith("."))
    return sort_numbered(path for path in frames if path.match(f"*.{kind}.arrow") or _NAME_OF_0_2.fullmatch(path.name))


def digest_of_name(path: Path) -> str:
    """Returns the first 16 hex digits of the digest that the name of a frame stands for."""
    return name_without_number(path).split(".")[0]


def open_frames(path: Path, digest: str) -> FrameFile:
    """Returns the parts of a file and compares their digest.

    Raises:
        SnapshotError: the file is missing or unreadable, or has another digest.
    """
    file = FrameFile(path)
    if file.digest() != digest:
        raise SnapshotError(path, "the values in it do not have the hash of their record")
    return file


def load_columns(path: Path, columns: list[str] | None) -> tuple[pd.DataFrame, list[str]]:
    """Reads some columns of a frame (None is all), and the names of all columns in the file; its digest is not checked.

    Raises:
        SnapshotError: the file is missing or unreadable.
    """
    with _open(path) as file:
        table = file.read_all()
        return _to_pandas(table if columns is None else table.select(columns)), list(file.schema.names)


@contextmanager
def _open(path: Path) -> Iterator[pa.ipc.RecordBatchFileReader]:
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            yield file
    except (pa.ArrowException, OSError, KeyError, MemoryError) as error:  # a damaged size field asks for absurd memory
        raise SnapshotError(path, reason_of(error)) from error


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    return table.replace_schema_metadata(None).to_pandas(split_blocks=True, self_destruct=True, use_threads=False)


def _write(path: Path, frames: Iterable[pd.DataFrame]) -> str | None:
    """Writes the parts; returns the digest of the only part that has rows, None if there are several."""
    digest: str | None = None
    writer: pa.RecordBatchFileWriter | None = None
    written = 0
    with pa.OSFile(str(path), "wb") as sink, ExitStack() as stack:
        for frame in frames:
            table = pa.Table.from_pandas(frame, preserve_index=False, nthreads=1)
            if writer is None:
                writer = stack.enter_context(pa.ipc.new_file(sink, table.schema))
            if written == 0:
                digest = frame_digest(frame)
            if len(frame):
                writer.write_table(table)
                written += 1
    return digest if written <= 1 else None
