"""The rows of a stored snapshot, windows.parquet: reading them as the file that a record names, and counting them.

Which rows a snapshot has is decided in `snapshot`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import frame_digest, hash_row_labels
from taskclf_dagster.domain.data.split import SPLITS, TIMED_SPLITS
from taskclf_dagster.domain.storage.path_names import is_within
from taskclf_dagster.domain.storage.stored_files import to_parquet
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import reason_of

WINDOWS_FILE = "windows.parquet"


def snapshot_folder(home: Home, path: str) -> Path:
    """Returns the folder of a snapshot that a record names.

    Args:
        home: the taskclf home.
        path: relative to the home.

    Raises:
        SnapshotError: it is not among the snapshots of the home.
    """
    folder = home.root / path
    try:
        inside = is_within(folder, home.snapshots)
    except (OSError, ValueError) as error:  # too long, or not a path at all
        raise SnapshotError(home.snapshots, str(error)) from error
    if not inside:
        raise SnapshotError(folder, "it is not among the snapshots of the home")
    return folder


@dataclass(frozen=True)
class StoredRows:
    """The rows of a stored snapshot: the bytes of its file, read once, from which each call decodes the columns and splits it needs."""

    path: Path
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def load(self, *, columns: Sequence[str] | None = None, splits: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns rows in key order.

        Args:
            columns: the columns wanted; None is all.
            splits: the splits wanted; None is all. Needs the column split.

        Raises:
            SnapshotError: the file is not readable parquet.
        """
        return _decode_rows(pa.BufferReader(self.content), self.path, columns, splits)

    def find_problem(self, dataset_digest: str) -> str | None:
        """Returns the difference to the snapshot with this digest; None if it is this snapshot."""
        try:
            digest = frame_digest(self.load())
        except SnapshotError as error:
            return error.reason
        return None if digest == dataset_digest else f"snapshot {self.path.parent.name} holds other rows than it did"


def open_snapshot_rows(folder: Path, *, sha256: str | None = None) -> StoredRows:
    """Reads the file of a snapshot folder once, for several uses.

    Args:
        folder: the snapshot.
        sha256: of the file by the record that names it, if there is one.

    Raises:
        SnapshotError: the file is missing, or does not have this hash.
    """
    path = folder / WINDOWS_FILE
    try:
        stored = StoredRows(path, path.read_bytes())
    except OSError as error:
        raise _snapshot_error(path, error) from error
    if sha256 is not None and stored.sha256 != sha256:
        raise SnapshotError(path, "it does not have the hash of its record: it was changed after it was written")
    return stored


def read_snapshot_rows(folder: Path, *, columns: Sequence[str] | None = None, splits: Sequence[str] | None = None) -> pd.DataFrame:
    """Reads the rows of a snapshot folder in key order; see `StoredRows.load`.

    Raises:
        SnapshotError: the file is missing or not readable parquet.
    """
    path = folder / WINDOWS_FILE
    return _decode_rows(path, path, columns, splits)


def _decode_rows(source: Path | pa.BufferReader, path: Path, columns: Sequence[str] | None, splits: Sequence[str] | None) -> pd.DataFrame:
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            table = file.read(columns=None if columns is None else list(columns), use_threads=False).replace_schema_metadata(None)
        if splits is not None:
            table = table.filter(pc.is_in(table["split"].cast(pa.string()), pa.array(list(splits))))
        return table.to_pandas(split_blocks=True, self_destruct=True, use_threads=False)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _snapshot_error(path, error) from error


def _snapshot_error(path: Path, error: Exception) -> SnapshotError:
    return SnapshotError(path, reason_of(error))


def holds_every_label_of(folder: Path, dataset_hash: str, rows: pd.DataFrame) -> bool:
    """Returns True if a stored snapshot has every row of another one with the same label, in any split.

    A stored snapshot that is missing, damaged or not that of the hash has none.
    """
    try:
        before = open_snapshot_rows(folder).load()
    except SnapshotError:
        return False
    if compute_dataset_hash(before) != dataset_hash:
        return False
    return bool(np.isin(hash_row_labels(rows), hash_row_labels(before)).all())


def compute_dataset_hash(rows: pd.DataFrame) -> str:
    """Returns the first 16 hex digits of the digest of a snapshot's rows; see `hashing.frame_digest`."""
    return frame_digest(rows)[:16]


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


def rows_to_parquet(rows: pd.DataFrame) -> bytes:
    """Returns the content of windows.parquet, with page checksums."""
    table = pa.Table.from_pandas(rows, preserve_index=False, nthreads=1)
    text = [column for column in rows.columns if isinstance(rows[column].dtype, pd.CategoricalDtype)]
    # Dictionary pages only pay for text; numbers are stored plain and compressed.
    return to_parquet(table, compression_level=1, use_dictionary=text, write_statistics=False, write_page_checksum=True)
