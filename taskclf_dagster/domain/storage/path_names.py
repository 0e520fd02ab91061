"""Checks names and paths that stand in a file before a path is made of them.

A text that passes can be joined to a folder: every call that opens the result gives an `OSError` at worst, and nothing leaves the folder
but through a link.
"""

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

from pydantic import AfterValidator

MAX_NAME_BYTES = 200
"""Bytes of a file's name in UTF-8; file systems take 255, and temporary names are longer."""


MAX_PATH_BYTES = 1024


def find_name_problem(name: str) -> str | None:
    """Returns why a text cannot be the name of a file or folder, or None."""
    if name in ("", ".", ".."):
        return "it is no name"
    if PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
        return "it is a path, not a name"
    return _find_text_problem(name, MAX_NAME_BYTES)


def find_path_problem(path: str) -> str | None:
    """Returns why a text cannot be a path below a folder, or None."""
    problem = _find_text_problem(path, MAX_PATH_BYTES)
    if problem is not None:
        return problem
    if Path(path).is_absolute() or PureWindowsPath(path).anchor or ".." in PureWindowsPath(path).parts:
        return "it leaves the folder that it is relative to"
    return next((f"of one part, {words}" for part in Path(path).parts if (words := _find_text_problem(part, MAX_NAME_BYTES))), None)


def is_short_hash(name: str) -> bool:
    """Returns True for 16 hex digits, by which snapshots, their predictions and label fingerprints are named."""
    return re.fullmatch("[0-9a-f]{16}", name) is not None


def is_within(path: Path, folder: Path) -> bool:
    """Returns True if a path leads into a folder once every link is followed; a circle of links stays where it is.

    Raises:
        ValueError: it has a null byte.
        OSError: it is too long.
    """
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _find_text_problem(text: str, max_bytes: int) -> str | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "it has half a character"
    if "\0" in text:
        return "it has a null byte"
    return f"it has {size} bytes, and at most {max_bytes} are allowed" if size > max_bytes else None


def _require_name(name: str) -> str:
    problem = find_name_problem(name)
    if problem is not None:
        raise ValueError(problem)
    return name


def _require_path(path: str) -> str:
    problem = find_path_problem(path)
    if problem is not None:
        raise ValueError(problem)
    return path


FileName = Annotated[str, AfterValidator(_require_name)]
"""A field whose value is the name of a file or folder."""


InnerPath = Annotated[str, AfterValidator(_require_path)]
"""A field whose value is a path relative to the home."""
