"""Writes files of a home, and computes their hashes.

Every write is atomic: a reader sees the old file or the new one. All changes go through `filesystem`. JSON is read in `json_files`; the
meaning of a file belongs to the module that calls this one.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.process_start import MARK_DIGITS, mark_of_this_process
from taskclf_dagster.errors import UnsafeFileSystemError

MEBIBYTE = 1024 * 1024


TEMPORARY = ".tmp"


_NO_RENAME = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_file_if_exists(path: Path) -> str | None:
    """Returns the SHA-256 of a file's bytes, in hex; None if the file does not exist."""
    return hash_file(path) if path.exists() else None


def list_folders(folder: Path) -> list[Path]:
    """Returns the folders in a folder, by name; hidden ones are temporary or of other programs. Empty if it does not exist."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")) if folder.is_dir() else []


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
    write_and_name(path.parent, path.name, content, lambda: path)


def write_and_name(folder: Path, kind: str, content: bytes | Callable[[Path], object], name: Callable[[], Path]) -> Path:
    """Writes a temporary file, and renames it to a path that is chosen once the content is written; else as `write_atomic`.

    Args:
        folder: of the file.
        kind: part of its temporary name.
        content: its bytes, or a function that writes the file it is given.
        name: returns the path in the folder.

    Returns:
        The path.
    """
    make_folders(folder)
    temporary = temporary_path(folder / kind)
    fs = file_system()
    try:
        fs.create(temporary, content)
        fs.sync_file(temporary)
        path = name()
        with _rename_must_work(path):
            fs.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            fs.remove_file(temporary)
        raise
    fs.sync_folder(folder)
    return path


def temporary_path(path: Path) -> Path:
    """Returns a temporary name in the folder of `path`, unique to the call, with number and mark of the process for `temporary_files`."""
    process = os.getpid()
    return path.with_name(f".{path.name}.{process}-{mark_of_this_process(process)}{uuid.uuid4().hex[MARK_DIGITS:]}{TEMPORARY}")


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


def write_note(path: Path, text: str) -> None:
    """Replaces a file whose loss harms nothing: atomically for readers, without syncing. Its folder exists."""
    temporary = temporary_path(path)
    file_system().create(temporary, text.encode())
    file_system().replace(temporary, path)


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


def remove_whole(folder: Path) -> None:
    """Removes a folder that exists as a whole or not at all for every reader: it gets a temporary name first."""
    temporary = temporary_path(folder)
    move_folder(folder, temporary)
    remove_tree(temporary)


def remove_tree(path: Path) -> None:
    """Removes a file, or a folder with its content. A link is removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            remove_tree(child)
        file_system().remove_folder(path)
    else:
        file_system().remove_file(path)


@contextmanager
def _rename_must_work(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_RENAME:
            raise UnsafeFileSystemError(path, f"it cannot rename ({error})") from error
        raise
