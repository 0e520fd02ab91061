"""Frames that one asset hands to the next as files: arrow IPC, named by a number and the digest of the values; the newest few are kept."""

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.storage.files import write_atomic
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


def store_frame(folder: Path, frame: pd.DataFrame, *, kind: str) -> StoredFrame:
    """Writes a frame under its digest; frames of its kind that were written before the newest few are removed.

    Args:
        folder: of the frames.
        frame: with columns of numbers, times, booleans and categories.
        kind: a word of the file's name.
    """
    digest = frame_digest(frame)
    name, frames = f"{digest[:16]}.{kind}.arrow", list_frames(folder, kind)
    is_newest = bool(frames) and name_without_number(frames[-1]) == name
    path = frames.pop() if is_newest else next_numbered(folder, name, frames)
    write_atomic(path, lambda temporary: _write(temporary, frame))
    for old in frames[: 1 - KEPT_FRAMES]:
        file_system().remove_file(old)
    return StoredFrame(path, digest)


def list_frames(folder: Path, kind: str = "*") -> list[Path]:
    """Returns the frames of a kind, or of all kinds, the oldest first; those of versions up to 0.2, without kind, belong to every kind."""
    frames = (path for path in folder.glob("*.arrow") if not path.name.startswith("."))
    return sort_numbered(path for path in frames if path.match(f"*.{kind}.arrow") or _NAME_OF_0_2.fullmatch(path.name))


def digest_of_name(path: Path) -> str:
    """Returns the first 16 hex digits of the digest that the name of a frame stands for."""
    return name_without_number(path).split(".")[0]


def load_frame(path: Path, digest: str) -> pd.DataFrame:
    """Reads a frame and compares its digest.

    Raises:
        SnapshotError: the file is missing or unreadable, or has another digest.
    """
    frame, _ = load_columns(path, None)
    if frame_digest(frame) != digest:
        raise SnapshotError(path, "the values in it do not have the hash of their record")
    return frame


def load_columns(path: Path, columns: list[str] | None) -> tuple[pd.DataFrame, list[str]]:
    """Reads some columns of a frame (None is all), and the names of all columns in the file; its digest is not checked.

    Raises:
        SnapshotError: the file is missing or unreadable.
    """
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            names = list(table.schema.names)
            table = table if columns is None else table.select(columns)
            return table.replace_schema_metadata(None).to_pandas(split_blocks=True, self_destruct=True, use_threads=False), names
    except (pa.ArrowException, OSError, KeyError, MemoryError) as error:  # a damaged size field asks for absurd memory
        raise SnapshotError(path, reason_of(error)) from error


def _write(path: Path, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False, nthreads=1)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
