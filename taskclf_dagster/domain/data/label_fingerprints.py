"""Fingerprints of the label store: hashes of spans, from which the changes between two runs are counted.

The store is read in `label_store`.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.hashing import hash_strings, mix64, read_hashes
from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.path_names import is_short_hash


def fingerprint_spans(columns: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """Returns a 64-bit hash of each span's values, sorted, shape (spans,); independent of row order, types and file layout.

    Args:
        columns: start_us, end_us, extend_forward, confidence, label, provenance and user_id of each span.
    """
    parts = [columns["start_us"].to_numpy(), columns["end_us"].to_numpy(), columns["extend_forward"].to_numpy()]
    hashes = np.zeros(len(columns), dtype=np.uint64)
    for part in parts:
        hashes = mix64(hashes ^ part.astype(np.int64).view(np.uint64))
    hashes = mix64(hashes ^ (columns["confidence"].to_numpy(dtype=np.float64) + 0.0).view(np.uint64))
    for column in ("label", "provenance", "user_id"):
        hashes = mix64(hashes ^ hash_strings(columns[column]))
    return np.sort(hashes)


def watermark(fingerprints: npt.NDArray[np.uint64]) -> str:
    """Returns the label watermark: 16 hex digits that name the content of a label store."""
    return hashlib.sha256(np.ascontiguousarray(fingerprints, dtype="<u8").tobytes()).hexdigest()[:16]


def keep_fingerprints(folder: Path, fingerprints: npt.NDArray[np.uint64]) -> str:
    """Writes a store's fingerprints under their watermark, so that later changes can be counted, and returns the watermark."""
    mark = watermark(fingerprints)
    path = _kept(folder, mark)
    if not path.exists():
        write_atomic(path, lambda temporary: _save_array(temporary, fingerprints))
    return mark


def forget_other_fingerprints(folder: Path, mark: str) -> None:
    """Removes the fingerprints of every other watermark, once a decided run has seen this one."""
    for other in filter(is_fingerprints_file, folder.glob("*.npy")):
        if other != _kept(folder, mark):
            file_system().remove_file(other)


def count_changed_spans(folder: Path, mark: str | None, fingerprints: npt.NDArray[np.uint64]) -> int:
    """Counts spans that are new, edited or deleted since the watermark; all spans if its fingerprints are missing or damaged.

    An edited span is one deleted and one new span, and counts once.
    """
    before = None if mark is None else read_hashes(_kept(folder, mark))
    if before is None:
        return len(fingerprints)
    return max(_count_missing(fingerprints, before), _count_missing(before, fingerprints))


def find_fingerprint_problems(folder: Path) -> dict[Path, str]:
    """Returns what is wrong with the kept fingerprints, by file: each is named by the watermark of its content."""
    problems = {}
    for path in sorted(filter(is_fingerprints_file, folder.glob("*.npy"))):
        fingerprints = read_hashes(path)
        if fingerprints is None:
            problems[path] = "it is not an array of fingerprints"
        elif _kept(folder, watermark(fingerprints)) != path:
            problems[path] = f"it holds the fingerprints of {watermark(fingerprints)}"
    return problems


def is_fingerprints_file(path: Path) -> bool:
    """Returns True if a file has the name of kept fingerprints; copies by file managers have another."""
    mark = path.name.removeprefix("labels_").removesuffix(".npy")
    return is_short_hash(mark) and path == _kept(path.parent, mark)


def _kept(folder: Path, mark: str) -> Path:
    return folder / f"labels_{mark}.npy"


def _count_missing(values: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> int:
    """Counts values that are not among the known ones; both sorted."""
    if not len(known):
        return len(values)
    nearest = np.searchsorted(known, values).clip(max=len(known) - 1)
    return int(np.count_nonzero(known[nearest] != values))


def _save_array(path: Path, array: npt.NDArray[np.uint64]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
