"""Writes and reads files of a home, and computes their hashes.

Every write is atomic: a reader sees the old file or the new one. All changes go through `filesystem`. The meaning of a file belongs to the
module that calls this one.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.records import replace_unrepresentable
from taskclf_dagster.errors import UnreadableFileError, UnsafeFileSystemError

TEMPORARY = ".tmp"


MAX_JSON_BYTES = 256 * 1024 * 1024


_RESTORE = "Restore the file or remove it"


_NO_RENAME = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_file_if_exists(path: Path) -> str | None:
    """Returns the SHA-256 of a file's bytes, in hex; None if the file does not exist."""
    return hash_file(path) if path.exists() else None


def read_bytes_if_exists(path: Path) -> bytes | None:
    """Returns the bytes of a file; None if it does not exist."""
    return path.read_bytes() if path.exists() else None


def make_folders(folder: Path) -> None:
    """Creates a folder and its missing parents, each durably."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        file_system().make_folder(new)
        file_system().sync_folder(new.parent)


def write_atomic(path: Path, content: bytes | Callable[[Path], object]) -> None:
    """Writes a temporary file in the same folder, syncs it and renames it to `path`.

    The temporary name is unique to the call, so that two writers never share a file. On failure the temporary file is removed.

    Args:
        path: the file to write or replace.
        content: its bytes, or a function that writes the file it is given.
    """
    make_folders(path.parent)
    temporary = temporary_path(path)
    fs = file_system()
    try:
        fs.create(temporary, content)
        fs.sync_file(temporary)
        with _rename_must_work(path):
            fs.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            fs.remove_file(temporary)
        raise
    fs.sync_folder(path.parent)


def temporary_path(path: Path) -> Path:
    """Returns a temporary name in the folder of `path`, unique to the call. It contains the process id, for `temporary_files`."""
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}{TEMPORARY}")


def write_second_name(path: Path, target: Path) -> None:
    """Makes `path` another name of an existing file, atomically: a hard link, or a copy where the file system has none."""
    write_atomic(path, lambda temporary: _link_or_copy(target, temporary))


def _link_or_copy(target: Path, path: Path) -> None:
    try:
        path.hardlink_to(target)
    except OSError:
        shutil.copyfile(target, path)


def write_text(path: Path, text: str) -> None:
    """Writes text atomically."""
    write_atomic(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Writes `json_text` atomically."""
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """Returns indented JSON with a final newline.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_synced(path: Path, content: bytes) -> None:
    """Creates a file and syncs its bytes. Its name is durable once the folder is synced."""
    file_system().create(path, content)
    file_system().sync_file(path)


def move_folder(source: Path, target: Path) -> None:
    """Renames a folder on the same file system and syncs both parents.

    Raises:
        FileExistsError: the target exists.
        UnsafeFileSystemError: the file system cannot rename it.
    """
    make_folders(target.parent)
    with _rename_must_work(target):
        file_system().rename(source, target)
    file_system().sync_folder(target.parent)
    if source.parent != target.parent:
        file_system().sync_folder(source.parent)


def remove_tree(path: Path) -> None:
    """Removes a file, or a folder with its content. A link is removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            remove_tree(child)
        file_system().remove_folder(path)
    else:
        file_system().remove_file(path)


def read_json_object(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> dict[str, object]:
    """Reads a JSON object.

    Raises:
        UnreadableFileError: the file cannot be read, is larger than `max_bytes`, is not JSON, its top level is not an object, or an
            object has a key twice.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= max_bytes else b""
    except (OSError, ValueError) as error:
        raise UnreadableFileError(path, str(error), _RESTORE) from error
    if size > max_bytes:
        raise UnreadableFileError(path, f"it has {size} bytes, and at most {max_bytes} are read", _RESTORE)
    return parse_json_object(path, content)


def parse_json_object(path: Path, content: bytes) -> dict[str, object]:
    """Parses the bytes of a file as a JSON object, under the rules of `read_json_object`.

    Raises:
        UnreadableFileError: it is none.
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(path, str(error), _RESTORE) from error
    if not isinstance(value, dict):
        raise UnreadableFileError(path, f"a JSON object was expected, not {type(value).__name__}", _RESTORE)
    return cast("dict[str, object]", replace_unrepresentable(value))


@dataclass(frozen=True)
class JsonFile:
    """A JSON file as found in one read.

    Attributes:
        path: the file.
        digest: SHA-256 of its bytes in hex; None if the file does not exist.
        document: the JSON object; None if the file does not exist or is not one.
        error: why the file cannot be read as a JSON object; None if it can or does not exist.
        content: its bytes; None if the file does not exist, is too large or cannot be read.
    """

    path: Path
    digest: str | None
    document: dict[str, object] | None
    error: UnreadableFileError | None
    content: bytes | None = field(default=None, repr=False)

    @property
    def exists(self) -> bool:
        return self.digest is not None


def look_at_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> JsonFile:
    """Reads a JSON file once, for its hash and its contents; never raises."""
    if not path.exists():
        return JsonFile(path, None, None, None)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            reason = f"it has {size} bytes, and at most {max_bytes} are read"
            return JsonFile(path, hash_file(path), None, UnreadableFileError(path, reason, _RESTORE))
        content = path.read_bytes()
    except OSError as error:
        return JsonFile(path, "unreadable", None, UnreadableFileError(path, str(error), _RESTORE))
    return json_file(path, content)


def json_file(path: Path, content: bytes) -> JsonFile:
    """Returns what `look_at_json` finds in a file of these bytes."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        return JsonFile(path, digest, parse_json_object(path, content), None, content)
    except UnreadableFileError as error:
        return JsonFile(path, digest, None, error, content)


@contextmanager
def _rename_must_work(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_RENAME:
            raise UnsafeFileSystemError(path, f"it cannot rename ({error})") from error
        raise


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        msg = f"key {next(key for key in keys if keys.count(key) > 1)!r} comes twice in one object"
        raise ValueError(msg)
    return value
