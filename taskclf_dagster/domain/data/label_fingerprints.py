"""Fingerprints of the label store: hashes of spans, by which changes between two runs are counted.

Reading the store belongs to `data.label_store`.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.hashing import hash_strings, mix64, read_hashes
from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.domain.storage.filesystem import file_system


def fingerprint_spans(columns: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each span's own values, sorted: equal for equal stores whatever the row order, types or file layout."""
    parts = [columns["start_us"].to_numpy(), columns["end_us"].to_numpy(), columns["extend_forward"].to_numpy()]
    hashes = np.zeros(len(columns), dtype=np.uint64)
    for part in parts:
        hashes = mix64(hashes ^ part.astype(np.int64).view(np.uint64))
    hashes = mix64(hashes ^ (columns["confidence"].to_numpy(dtype=np.float64) + 0.0).view(np.uint64))
    for column in ("label", "provenance", "user_id"):
        hashes = mix64(hashes ^ hash_strings(columns[column]))
    return np.sort(hashes)


def watermark(fingerprints: npt.NDArray[np.uint64]) -> str:
    """16 hex digits that name the content of a label store."""
    return hashlib.sha256(np.ascontiguousarray(fingerprints, dtype="<u8").tobytes()).hexdigest()[:16]


def keep_fingerprints(folder: Path, fingerprints: npt.NDArray[np.uint64]) -> str:
    """Keeps a store's fingerprints under their watermark, so that later changes can be counted."""
    mark = watermark(fingerprints)
    path = _kept(folder, mark)
    if not path.exists():
        write_atomic(path, lambda temporary: _save_array(temporary, fingerprints))
    return mark


def forget_other_fingerprints(folder: Path, mark: str) -> None:
    """Removes what was kept of other stores, once a decided run saw this one."""
    for other in folder.glob(_kept(folder, "*").name):
        if other != _kept(folder, mark):
            file_system().remove_file(other)


def count_changed_spans(folder: Path, mark: str | None, fingerprints: npt.NDArray[np.uint64]) -> int:
    """Spans that are new, edited or deleted against a kept watermark; all of them where nothing was kept.

    An edited span is one that went and one that came, and counts once.
    """
    before = None if mark is None else read_hashes(_kept(folder, mark))
    if before is None:  # missing or damaged: as if nothing had been kept
        return len(fingerprints)
    return max(_count_missing(fingerprints, before), _count_missing(before, fingerprints))


def _kept(folder: Path, mark: str) -> Path:
    return folder / f"labels_{mark}.npy"


def _count_missing(values: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> int:
    """How many values are not among the known ones; both sorted."""
    if not len(known):
        return len(values)
    place = np.searchsorted(known, values).clip(max=len(known) - 1)
    return int(np.count_nonzero(known[place] != values))


def _save_array(path: Path, array: npt.NDArray[np.uint64]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
