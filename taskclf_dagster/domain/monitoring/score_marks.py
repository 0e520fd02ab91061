"""Marks of the scores of a day: which file has the score of a window that is served. Exactly one has it, or the day is scored again.

`scores.parquet` is written last, so that a day whose writing was interrupted lacks it, has an old one, or has marks that disagree.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.parquet_files import may_exist, reading_parquet
from taskclf_dagster.domain.monitoring.score_files import CONTENDER, SCORES_OF_DAY, SERVED
from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.domain.storage.stored_files import to_parquet
from taskclf_dagster.errors import UnreadableFileError

_FIX = "Score the day again, or remove the file"

_MARKED = pa.schema([("user_id", pa.string()), ("bucket_start_ts", pa.timestamp("us", tz="UTC")), (SERVED, pa.bool_())])


def marks_agree(folder: Path) -> bool:
    """Returns True if each window of a day is served by exactly one model; False also if its scores cannot be read."""
    try:
        elsewhere = _read_keys(folder / SCORES_OF_DAY, served=False)
    except UnreadableFileError:
        return False
    found = [served for _, served in _list_served(folder)]
    return np.array_equal(np.sort(elsewhere), np.sort(np.concatenate([np.array([], dtype=np.uint64), *found])))


def has_marks(path: Path) -> bool:
    """Returns True if a file of a contender has a served window; False if it does not exist, or cannot be read."""
    try:
        return may_exist(path) and bool(len(_read_keys(path, served=True)))
    except UnreadableFileError:
        return False


def count_served(folder: Path) -> dict[str, int]:
    """Returns the number of windows of a day that each contender serves, by model; those that serve none are left out."""
    return {path.stem.removeprefix(f"{CONTENDER}-"): len(served) for path, served in _list_served(folder) if len(served)}


def clear_marks(folder: Path, *, keep: Path | None) -> None:
    """Writes the files of contenders of a day without a served window, but for one file; files that serve none stay as they are.

    Raises:
        UnreadableFileError: one cannot be read whole.
    """
    for path, served in _list_served(folder):
        if len(served) and path != keep:
            with reading_parquet(path, fix="Remove the file, and score the day again"):
                table = pq.read_table(path, partitioning=None, use_threads=False)
            none = pa.repeat(pa.scalar(False), len(table))
            write_atomic(path, to_parquet(table.set_column(table.column_names.index(SERVED), SERVED, none)))


def _list_served(folder: Path) -> Iterator[tuple[Path, npt.NDArray[np.uint64]]]:
    """Yields the files of contenders that can be read, with the hashes of the windows that each serves."""
    for path in sorted(folder.glob(f"{CONTENDER}-*.parquet")):
        try:
            yield path, _read_keys(path, served=True)
        except UnreadableFileError:
            continue


def _read_keys(path: Path, *, served: bool) -> npt.NDArray[np.uint64]:
    """Returns the hashes of the windows that a file marks so; none of a file without marks, of which those of the active model are served.

    Raises:
        UnreadableFileError: it cannot be read.
    """
    with reading_parquet(path, fix=_FIX), pq.ParquetFile(path) as file:
        if SERVED not in file.schema_arrow.names:
            return np.array([], dtype=np.uint64)
        rows = file.read(_MARKED.names, use_threads=False).cast(_MARKED).to_pandas()
    return hash_row_keys(rows[rows[SERVED] == served])
