"""The base class of all records, canonical JSON and the hash of a record.

Writing records to files belongs to `storage.files`.
"""

import hashlib
import json
import math
from typing import Any, ClassVar

import rfc8785
from pydantic import BaseModel, ConfigDict

MAX_SAFE_INTEGER = 2**53
"""Integers below it in size are doubles, as every number of canonical JSON is."""


class Record(BaseModel):
    """Base of all immutable records: unknown keys are refused, and its hash names its contents.

    Attributes:
        unhashed: fields that differ between equal runs, such as timings; the hash leaves them out, also of a record within another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    unhashed: ClassVar[frozenset[str]] = frozenset()

    @property
    def record_hash(self) -> str:
        """SHA-256 over the canonical JSON of the record."""
        return json_hash(self.model_dump(mode="json", exclude=self.excluded_from_hash()))

    def excluded_from_hash(self) -> dict[str, Any]:
        """Returns the fields that the hash leaves out, as pydantic's `exclude` takes them."""
        within = {name: value.excluded_from_hash() for name, value in self if isinstance(value, Record)}
        return {**{name: excluded for name, excluded in within.items() if excluded}, **dict.fromkeys(self.unhashed, True)}


def canonical_json(value: object) -> str:
    """Returns the canonical JSON of RFC 8785, so that equal values have equal bytes in every language.

    A whole float is written without a fraction (1.0 as 1): what reads it back must know the type. An integer beyond 2**53 is written as
    the double that equals it.

    Raises:
        ValueError: a number is NaN, infinite, or an integer that no double equals; or a text has half a character.
    """
    content: Any = value
    try:
        return rfc8785.dumps(content).decode()
    except rfc8785.IntegerDomainError:
        content = _large_as_doubles(value)
        return rfc8785.dumps(content).decode()


def json_hash(value: object) -> str:
    """Returns SHA-256 in hex over the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sorted_json(value: object) -> str:
    """Returns JSON as Python writes it, with sorted keys and without spaces.

    Only seeds and model ids are made of it: they were before canonical JSON was that of RFC 8785, and the same data and configuration must
    give the same numbers as before. Hash and compare with `canonical_json`.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _large_as_doubles(value: object) -> object:
    """Replaces integers beyond 2**53 by the doubles that equal them, or that are written with the same digits."""
    if isinstance(value, dict):
        return {key: _large_as_doubles(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_large_as_doubles(item) for item in value]
    if not isinstance(value, int) or abs(value) < MAX_SAFE_INTEGER:
        return value
    double = _to_double(value)
    if double != value and rfc8785.dumps(double) != str(value).encode():
        msg = f"an integer of {value.bit_length()} bits is not JSON compliant: no double equals it"
        raise ValueError(msg)
    return double


def _to_double(value: int) -> float | None:
    """Returns the double nearest to an integer; None if it is beyond the largest."""
    try:
        return float(value)
    except OverflowError:
        return None


def replace_unrepresentable(value: object) -> object:
    """Returns a JSON value that can be written as canonical JSON, from one that another program wrote.

    NaN and infinity become None, an integer beyond 2**53 the nearest double, half a character a question mark.
    """
    if isinstance(value, dict):
        return {key: replace_unrepresentable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_unrepresentable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) >= MAX_SAFE_INTEGER:
        return _to_double(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
