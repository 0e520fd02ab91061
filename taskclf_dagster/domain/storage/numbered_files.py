"""Numbers in front of file names, which say in which order the files of a folder were written.

File times cannot: clocks are set back, and files are restored and copied with their old times.
"""

import re
from collections.abc import Iterable
from pathlib import Path

_NUMBERED = re.compile(r"(\d{6,12})-(.+)")


def sort_numbered(paths: Iterable[Path]) -> list[Path]:
    """Returns files in the order in which they were written, the oldest first; those without a number, by name, before all others."""
    return sorted(paths, key=lambda path: (_number_of(path), path.name))


def name_without_number(path: Path) -> str:
    """Returns the name of a file without the number in front of it."""
    match = _NUMBERED.fullmatch(path.name)
    return path.name if match is None else match[2]


def next_numbered(folder: Path, name: str, present: Iterable[Path]) -> Path:
    """Returns a path in a folder for a file that is newer than the present ones.

    Args:
        folder: of the file.
        name: its name without a number.
        present: files of the folder.
    """
    return folder / f"{max((_number_of(path) for path in present), default=0) + 1:06d}-{name}"


def _number_of(path: Path) -> int:
    match = _NUMBERED.fullmatch(path.name)
    return 0 if match is None else int(match[1])
