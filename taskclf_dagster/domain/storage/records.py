"""Base class of all records, canonical JSON and the hash of a record.

Writing records to files belongs to `storage.files`.
"""

import hashlib
import json
import math
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of all immutable records: unknown keys are refused, and its hash names its contents.

    Attributes:
        unhashed: fields that differ between equal runs, such as timings; the hash leaves them out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    unhashed: ClassVar[frozenset[str]] = frozenset()

    @property
    def record_hash(self) -> str:
        """SHA-256 over the canonical JSON of the record."""
        return json_hash(self.model_dump(mode="json", exclude=set(self.unhashed)))


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal bytes; NaN and Infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def json_hash(value: object) -> str:
    """SHA-256 in hex over the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def presentable(value: object) -> object:
    """A JSON value without what JSON has not: other programs write NaN and halves of characters, which we could not write again."""
    if isinstance(value, dict):
        return {key: presentable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [presentable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
