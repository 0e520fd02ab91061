"""The one seam through which files of a home are written, and the hashes that name them.

Every write is atomic: a reader sees the old file or the new one. What the files mean belongs to the modules that call this.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from taskclf_dagster.errors import UnreadableFileError


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


def file_hash(path: Path) -> str:
    """SHA-256 in hex over a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bytes_hash_or_none(path: Path) -> str | None:
    """The file's hash, or None where there is no such file."""
    return file_hash(path) if path.exists() else None


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file in the same folder, syncs it and renames it to `path`.

    The name is unique to the call, so that two writers never share a temporary file. Nothing is left behind on failure.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        _sync(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes text atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes atomically."""
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON with a final newline, atomically; NaN and Infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Appends one line and syncs it; behind a torn last line it begins a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        torn = file.read(1) not in (b"", b"\n")
        file.write(("\n" if torn else "").encode() + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def move_folder(source: Path, target: Path) -> None:
    """Moves a folder to a new name on the same file system, in one rename; the target must not exist."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a power loss, where the platform can."""
    if os.name == "posix":
        _sync(folder)


def read_json_object(path: Path) -> dict[str, object]:
    """Reads a JSON object.

    Raises:
        UnreadableFileError: the file cannot be read, is not JSON, or its top level is not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFileError(path, str(error), "Restore the file or remove it") from error
    if not isinstance(value, dict):
        raise UnreadableFileError(path, f"a JSON object was expected, not {type(value).__name__}", "Restore the file or remove it")
    return value


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
