"""The start of a process as a value that no change of the clock moves; with its number, it names a process permanently.

On Linux it is counted in ticks since the machine was started. Elsewhere the system stores it once, when the process begins.
"""

import hashlib
import sys
from functools import lru_cache
from pathlib import Path

MARK_DIGITS = 12

_STATE, _START_TICKS = 0, 19
"""Positions in /proc/<number>/stat behind the name of the program, which may hold spaces (proc(5), fields 3 and 22)."""


def find_start(number: int) -> str | None:
    """Returns the start of a running process; None if there is none, or it has ended and its parent has not looked yet."""
    if sys.platform == "linux":
        return _find_on_linux(number)
    import psutil

    try:
        process = psutil.Process(number)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def find_mark(number: int) -> str | None:
    """Returns the start of a running process as hex digits for the name of a file; None if there is none."""
    start = find_start(number)
    return None if start is None else hashlib.sha256(start.encode()).hexdigest()[:MARK_DIGITS]


@lru_cache(maxsize=1)
def mark_of_this_process(number: int) -> str:
    """Returns `find_mark` of the calling process, whose number this is; zeros if it is unknown."""
    return find_mark(number) or "0" * MARK_DIGITS


def _find_on_linux(number: int) -> str | None:
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[_STATE] in "ZX" else fields[_START_TICKS]
