"""The rows of a stored snapshot, windows/part-NNN.parquet: reading them as the files that a record names, and counting them.

Each file has a range of users; most datasets are one file. Snapshots of versions up to 0.3 have one windows.parquet instead. Which rows a
snapshot has is decided in `snapshot`.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.frame_parts import OnePart, Rows, as_parts, join_frames, join_parts, list_parts
from taskclf_dagster.domain.data.hashing import hash_row_labels, parts_digest
from taskclf_dagster.domain.data.split import SPLITS, TIMED_SPLITS
from taskclf_dagster.domain.data.spooled_parts import spool_parts
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.domain.storage.places import Place, inner_path, list_names, place_exists, read_place, remove_place, write_place
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.domain.storage.stored_files import to_parquet
from taskclf_dagster.errors import ObjectMissingError, SnapshotError
from taskclf_dagster.shown_text import reason_of

ROWS_FOLDER = "windows"


ROWS_FILE_OF_0_3 = "windows.parquet"


ABOUT_ROWS = ("user_id", "bucket_start_ts", "label", "gold", "split")
"""The columns that say what a row is, without its inputs."""


_LABELED = ("user_id", "bucket_start_ts", "label")


_PART_NAME = re.compile(r"part-(\d{3,9})\.parquet")


class StoredPart(Record):
    """One file of the rows of a snapshot.

    Attributes:
        file: its path in the folder of the snapshot.
        rows: number of rows.
        sha256: of its bytes, in hex.
    """

    file: Annotated[str, Field(pattern=r"^(windows/part-[0-9]{3,9}|windows)\.parquet$")]
    rows: int
    sha256: str


@dataclass(frozen=True)
class _Source:
    """One file, and what is known of it: the hash that it must have, its bytes if they were read, and its number of rows."""

    path: Place
    sha256: str | None
    content: bytes | memoryview | None
    rows: int | None = None

    @contextmanager
    def open(self) -> Iterator[pq.ParquetFile]:
        """Opens the bytes that were read; else those of the file, compared with its hash where that is known."""
        try:
            is_opened = self.content is None and self.sha256 is None and isinstance(self.path, Path)
            source = self.path if is_opened else pa.BufferReader(self.read())
            with pq.ParquetFile(source, page_checksum_verification=True) as file:
                yield file
        except (pa.ArrowException, OSError, KeyError) as error:
            raise SnapshotError(self.path, reason_of(error)) from error

    def read(self) -> bytes | memoryview:
        """Returns the bytes that were read; else those of the file, compared with its hash where that is known.

        Raises:
            SnapshotError: the file is missing, or has another hash.
        """
        if self.content is not None:
            return self.content
        try:
            return read_place(self.path) if self.sha256 is None else read_verified(self.path, self.sha256)
        except ObjectMissingError as error:
            raise SnapshotError(self.path, error.reason) from error
        except OSError as error:
            raise SnapshotError(self.path, reason_of(error)) from error


@dataclass(frozen=True)
class StoredRows:
    """The rows of a stored snapshot, of which each call decodes the columns and splits it needs.

    The bytes of an only file are read once; those of several are read, and compared with their hash, each time.
    """

    folder: Place
    sources: tuple[_Source, ...]

    @cached_property
    def columns(self) -> Sequence[str]:
        """The names of the columns."""
        with self.sources[0].open() as file:
            return list(file.schema_arrow.names)

    @cached_property
    def sizes(self) -> Sequence[int]:
        """The number of rows of each part."""
        return [_count_rows(replace(source, sha256=None)) if source.rows is None else source.rows for source in self.sources]

    def load_part(self, number: int, columns: Sequence[str] | None = None, *, splits: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns rows of a part as `load` does."""
        with self.sources[number].open() as file:
            table = file.read(columns=None if columns is None else list(columns), use_threads=False).replace_schema_metadata(None)
            if splits is not None:
                table = table.filter(pc.is_in(table["split"].cast(pa.string()), pa.array(list(splits))))
            return table.to_pandas(split_blocks=True, self_destruct=True, use_threads=False)

    def load(self, *, columns: Sequence[str] | None = None, splits: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns rows in key order.

        Args:
            columns: the columns wanted; None is all.
            splits: the splits wanted; None is all. Needs the column split.

        Raises:
            SnapshotError: a file is not readable parquet, or not that of its record.
        """
        return join_frames([self.load_part(number, columns, splits=splits) for number in range(len(self.sources))])

    def digest(self) -> str:
        """Returns the digest of the rows; see `hashing.frame_digest`.

        Raises:
            SnapshotError: a file is not readable parquet, or has users of another.
        """
        contents: Sequence[bytes | memoryview | None] = [source.content for source in self.sources]
        if len(self.sources) > 1 and not isinstance(self.folder, Path):
            contents = spool_parts(source.read for source in self.sources)
        known = zip(self.sources, contents, strict=True)
        rows = replace(self, sources=tuple(replace(source, sha256=None, content=content) for source, content in known))
        try:
            return parts_digest(rows)  # it is itself the comparison, so that the hash of a file is not computed for each column
        except ValueError as error:
            raise SnapshotError(self.folder, str(error)) from error

    def describe(self) -> tuple[StoredPart, ...]:
        """Returns the files with their hashes."""
        parts = zip(self.sources, self.sizes, strict=True)
        return tuple(StoredPart(file=inner_path(source.path, self.folder), rows=rows, sha256=_hash(source)) for source, rows in parts)

    def find_problem(self, dataset_digest: str) -> str | None:
        """Returns the difference to the snapshot with this digest; None if it is this snapshot."""
        try:
            digest = self.digest()
        except SnapshotError as error:
            return error.reason
        return None if digest == dataset_digest else f"snapshot {self.folder.name} holds other rows than it did"


def open_snapshot_rows(folder: Place, *, parts: Sequence[StoredPart] | None = None) -> StoredRows:
    """Opens the files of a snapshot folder; an only one is read, once for several uses.

    Args:
        folder: the snapshot.
        parts: the files by the record that names them; None for those that are there, as they are now.

    Raises:
        SnapshotError: a file is missing; or the only one does not have the hash of its record.
    """
    sources = [_Source(path, None, None) for path in list_row_files(folder)]
    if parts is not None:
        sources = [_Source(folder / part.file, part.sha256, None, part.rows) for part in parts]
    if parts is None and len(sources) > 1:
        sources = [_identify(source.path) for source in sources]  # so that no later call reads other bytes
    if len(sources) <= 1:
        only = sources[0] if sources else _Source(folder / ROWS_FOLDER / "part-000.parquet", None, None)
        sources = [replace(only, content=only.read())]
    return StoredRows(folder, tuple(sources))


def _identify(path: Place) -> _Source:
    """Returns a file with the hash and, where it must be read whole for that, the number of rows that it has now."""
    if isinstance(path, Path):
        return _Source(path, hash_file(path), None)
    source = _Source(path, None, None)
    content = source.read()
    return replace(source, sha256=hashlib.sha256(content).hexdigest(), rows=_count_rows(replace(source, content=content)))


def list_row_files(folder: Place) -> list[Place]:
    """Returns the files of the rows of a snapshot folder, in order; empty if there are none."""
    names = sorted((name for name in list_names(folder / ROWS_FOLDER) if _PART_NAME.fullmatch(name)), key=lambda name: (len(name), name))
    if names or not place_exists(folder / ROWS_FILE_OF_0_3):
        return [folder / ROWS_FOLDER / name for name in names]
    return [folder / ROWS_FILE_OF_0_3]


def read_snapshot_rows(folder: Place, *, columns: Sequence[str] | None = None, splits: Sequence[str] | None = None) -> pd.DataFrame:
    """Reads the rows of a snapshot folder in key order; see `StoredRows.load`.

    Raises:
        SnapshotError: a file is missing or not readable parquet.
    """
    return open_snapshot_rows(folder).load(columns=columns, splits=splits)


def write_rows(folder: Place, rows: Rows, engine: Engine = LOCAL) -> tuple[StoredPart, ...]:
    """Writes rows to a snapshot folder, one file a part, and removes files of other rows; returns the files with their hashes.

    The engine makes the contents of the files; this process writes them.
    """
    written = []
    for number, (size, content) in enumerate(engine.map(_make_file, list_parts(rows))):
        name = f"{ROWS_FOLDER}/part-{number:03d}.parquet"
        write_place(folder / name, content)
        written.append(StoredPart(file=name, rows=size, sha256=hashlib.sha256(content).hexdigest()))
    present = {folder / ROWS_FILE_OF_0_3, *list_row_files(folder)} - {folder / part.file for part in written}
    for path in sorted(present, key=str):
        remove_place(path)
    return tuple(written)


def read_verified(path: Place, sha256: str) -> bytes:
    """Returns the bytes of a file with a known hash.

    Raises:
        SnapshotError: it has another one.
    """
    content = read_place(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SnapshotError(path, "it does not have the hash of its record: it was changed after it was written")
    return content


def _hash(source: _Source) -> str:
    return source.sha256 or hashlib.sha256(source.content or b"").hexdigest()


def _count_rows(source: _Source) -> int:
    with source.open() as file:
        return int(file.metadata.num_rows)


def holds_every_label_of(folder: Place, dataset_hash: str, rows: Rows) -> bool:
    """Returns True if a stored snapshot has every row of another one with the same label, in any split.

    A stored snapshot that is missing, damaged or not that of the hash has none.
    """
    try:
        stored = open_snapshot_rows(folder)
        if stored.digest()[:16] != dataset_hash:
            return False
        before = stored.load(columns=_LABELED)
    except SnapshotError:
        return False
    return bool(np.isin(hash_row_labels(join_parts(rows, _LABELED)), hash_row_labels(before)).all())


def compute_dataset_hash(rows: Rows) -> str:
    """Returns the first 16 hex digits of the digest of a snapshot's rows; see `hashing.frame_digest`."""
    return parts_digest(as_parts(rows))[:16]


def label_codes(rows: pd.DataFrame) -> np.ndarray:
    """Returns the class index of each row, the position of its label in LABELS, shape (rows,)."""
    return rows["label"].cat.set_categories(list(LABELS)).cat.codes.to_numpy()


def count_splits(rows: pd.DataFrame) -> dict[str, int]:
    """Returns the number of rows of each split."""
    counts = np.bincount(_split_codes(rows), minlength=len(SPLITS))
    return {name: int(n) for name, n in zip(SPLITS, counts, strict=True)}


def _split_codes(rows: pd.DataFrame) -> np.ndarray:
    return rows["split"].cat.set_categories(list(SPLITS)).cat.codes.to_numpy().astype(np.int64)


def count_classes(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Returns the number of rows by split (older, train, validation, test) and label."""
    split, label = _split_codes(rows), label_codes(rows)
    table = np.bincount(split * len(LABELS) + label, minlength=len(SPLITS) * len(LABELS)).reshape(len(SPLITS), len(LABELS))
    return {name: dict(zip(LABELS, table[SPLITS.index(name)].tolist(), strict=True)) for name in TIMED_SPLITS}


def _make_file(part: OnePart) -> tuple[int, bytes]:
    """Returns the number of rows of a part and its file."""
    frame = part.load()
    return len(frame), _to_parquet(frame)


def _to_parquet(rows: pd.DataFrame) -> bytes:
    """Returns the content of a file of rows, with page checksums."""
    table = pa.Table.from_pandas(rows, preserve_index=False, nthreads=1)
    text = [column for column in rows.columns if isinstance(rows[column].dtype, pd.CategoricalDtype)]
    # Dictionary pages only pay for text; numbers are stored plain and compressed.
    return to_parquet(table, compression_level=1, use_dictionary=text, write_statistics=False, write_page_checksum=True)
