"""Hashes of frames and rows that depend on their values alone: independent of layout, order and library versions.

Files are hashed in `storage.files`, JSON in `storage.records`.
"""

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.frame_parts import FrameParts
from taskclf_dagster.domain.data.times import epoch_us

_UInt = npt.NDArray[np.uint64]


_Kind = Literal["bool", "time_us", "number", "string"]


def frame_digest(frame: pd.DataFrame) -> str:
    """Returns the SHA-256 in hex over the values of a frame whose key is user_id and bucket_start_ts.

    Independent of row order, column order, storage types, categories that do not occur and NaN payloads; sensitive to every value, to
    the positions of NaN, and to column names. Columns enter by name, each as a typed header and one buffer of its rows in key order.
    """
    users, starts = _codes(frame["user_id"])[0], epoch_us(frame["bucket_start_ts"])
    order = _key_order(users, starts)
    digest = hashlib.sha256(f"rows:{len(frame)}\n".encode())
    for name in sorted(frame.columns):
        column = _buffer(frame[name])
        digest.update(json.dumps([name, column.kind, column.vocabulary], ensure_ascii=False).encode() + b"\n")
        digest.update(np.ascontiguousarray(column.numbers if order is None else column.numbers[order]).data)
    return digest.hexdigest()


def parts_digest(parts: FrameParts) -> str:
    """Returns the `frame_digest` of the rows of all parts, of which one column of one part is in memory at a time.

    Raises:
        ValueError: a part has users that do not follow those of the part before it.
    """
    if len(parts.sizes) == 1:
        return frame_digest(parts.load_part(0))
    numbers = range(len(parts.sizes))
    orders = _part_orders(parts)
    digest = hashlib.sha256(f"rows:{sum(parts.sizes)}\n".encode())
    for name in sorted(parts.columns):
        columns = (parts.load_part(number, [name])[name] for number in numbers)
        vocabulary = _join_vocabularies(columns)
        for number in numbers:
            column = _buffer(parts.load_part(number, [name])[name])
            values = column.numbers
            if column.kind == "string":
                values = _place_codes(column, vocabulary)
            if number == 0:
                digest.update(json.dumps([name, column.kind, vocabulary], ensure_ascii=False).encode() + b"\n")
            order = orders[number]
            digest.update(np.ascontiguousarray(values if order is None else values[order]).data)
    return digest.hexdigest()


def _part_orders(parts: FrameParts) -> list[npt.NDArray[np.int64] | None]:
    """Returns the positions that put the rows of each part in key order; None for one that is in order."""
    orders: list[npt.NDArray[np.int64] | None] = []
    before: str | None = None
    for number in range(len(parts.sizes)):
        keys = parts.load_part(number, ["user_id", "bucket_start_ts"])
        users, names = _codes(keys["user_id"])
        if names and before is not None and names[0] <= before:
            msg = f"part {number} has user {names[0]!r}, who does not follow the users of the parts before it"
            raise ValueError(msg)
        before = names[-1] if names else before
        orders.append(_key_order(users, epoch_us(keys["bucket_start_ts"])))
    return orders


def _key_order(users: npt.NDArray[np.int32], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    in_order = bool(((users[1:] > users[:-1]) | ((users[1:] == users[:-1]) & (starts[1:] > starts[:-1]))).all())
    return None if in_order else np.lexsort((starts, users))


def _join_vocabularies(columns: Iterator[pd.Series]) -> list[str]:
    """Returns the sorted vocabulary of the values that occur in a column of several parts; empty unless it holds strings."""
    values: set[str] = set()
    for column in columns:
        if _kind(column) != "string":
            return []
        values.update(_codes(column)[1])
    return sorted(values)


def _place_codes(column: "_ColumnBuffer", vocabulary: list[str]) -> npt.NDArray[np.int32]:
    """Returns the codes of a column against a vocabulary that has all of its values."""
    position = {value: code for code, value in enumerate(vocabulary)}
    table = np.array([*(position[value] for value in column.vocabulary), -1], dtype="<i4")
    return cast("npt.NDArray[np.int32]", table[column.numbers])


def hash_row_keys(frame: pd.DataFrame) -> _UInt:
    """Returns a 64-bit hash of each row's (user_id, bucket_start_ts), shape (rows,)."""
    return mix64(mix64(epoch_us(frame["bucket_start_ts"]).view(np.uint64)) ^ hash_strings(frame["user_id"]))


def hash_row_labels(frame: pd.DataFrame) -> _UInt:
    """Returns a 64-bit hash of each row's (user_id, bucket_start_ts, label), shape (rows,)."""
    return mix64(hash_row_keys(frame) ^ hash_strings(frame["label"]))


def probabilities_digest(probabilities: npt.NDArray[np.float64]) -> str:
    """Returns the SHA-256 in hex over the exact bits of probabilities, row by row."""
    return hashlib.sha256(np.ascontiguousarray(probabilities, dtype="<f8").tobytes()).hexdigest()


class _ColumnBuffer(NamedTuple):
    """The kind of a column, its vocabulary (strings only), and its values as little-endian numbers."""

    kind: _Kind
    vocabulary: list[str]
    numbers: npt.NDArray[np.generic]


def _kind(column: pd.Series) -> _Kind:
    if pd.api.types.is_bool_dtype(column.dtype):
        return "bool"
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return "time_us"
    return "number" if pd.api.types.is_numeric_dtype(column.dtype) else "string"


def _buffer(column: pd.Series) -> _ColumnBuffer:
    kind = _kind(column)
    if kind == "bool":
        return _ColumnBuffer(kind, [], column.to_numpy().astype("u1"))
    if kind == "time_us":
        return _ColumnBuffer(kind, [], epoch_us(column).astype("<i8", copy=False))
    if kind == "number":
        numbers = column.to_numpy().astype("<f8", copy=True)
        numbers += 0.0  # -0.0 becomes 0.0
        numbers[np.isnan(numbers)] = np.nan
        return _ColumnBuffer(kind, [], numbers)
    codes, vocabulary = _codes(column)
    return _ColumnBuffer(kind, vocabulary, codes.astype("<i4", copy=False))


def _codes(column: pd.Series) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Returns codes against the sorted vocabulary of the values that occur (null is -1), and this vocabulary."""
    raw, distinct = (column.cat.codes.to_numpy(), column.cat.categories) if hasattr(column, "cat") else pd.factorize(column)
    used = np.zeros(len(distinct), dtype=bool)
    used[raw[raw >= 0]] = True
    order = sorted(np.flatnonzero(used), key=lambda i: str(distinct[i]))
    position = np.full(len(distinct) + 1, -1, dtype=np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    return cast("npt.NDArray[np.int32]", position[raw]), [str(distinct[i]) for i in order]


def mix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mixes bits with the splitmix64 finalizer (Steele, Lea and Flood, 2014): every input bit reaches every output bit."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return cast("npt.NDArray[np.uint64]", z ^ (z >> np.uint64(31)))


def hash_strings(values: pd.Series) -> npt.NDArray[np.uint64]:
    """Returns the first 64 bits of the SHA-256 of each string, 0 for null; computed once per distinct value."""
    codes, distinct = pd.factorize(values)
    table = np.zeros(len(distinct) + 1, dtype=np.uint64)
    for position, text in enumerate(distinct):
        table[position] = int.from_bytes(hashlib.sha256(str(text).encode()).digest()[:8], "little")
    return cast("npt.NDArray[np.uint64]", table[codes])


def read_hashes(path: Path) -> npt.NDArray[np.uint64] | None:
    """Reads an array of 64-bit hashes; None if the file is missing or damaged."""
    try:
        return parse_hashes(path.read_bytes())
    except OSError:
        return None


def parse_hashes(content: bytes) -> npt.NDArray[np.uint64] | None:
    """Returns the array of 64-bit hashes of a file with this content; None if it is damaged."""
    try:
        hashes = np.lib.format.read_array(BytesIO(content), allow_pickle=False)
    except Exception:  # a damaged header makes numpy raise ValueError, TokenError, SyntaxError, TypeError or MemoryError
        return None
    return hashes if hashes.dtype == np.uint64 and hashes.ndim == 1 else None
