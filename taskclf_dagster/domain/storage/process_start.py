"""The start of a process as a value that no change of the clock moves; with its number it names a process permanently.

On Linux it is counted in ticks since the machine was started. Elsewhere the system stores it once, when the process begins. A number
can be looked up in its own PID namespace only (`pid_namespace`).
"""

import hashlib
import sys
from functools import lru_cache
from pathlib import Path

from taskclf_dagster.domain.storage.pid_namespace import find_pid_namespace

_START_DIGITS, _NAMESPACE_DIGITS = 12, 8


MARK_DIGITS = _START_DIGITS + _NAMESPACE_DIGITS

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
    """Returns start and PID namespace of a running process of this one as hex digits for the name of a file; None if there is none."""
    start = find_start(number)
    return None if start is None else _digest(start, _START_DIGITS) + _digest(find_pid_namespace(), _NAMESPACE_DIGITS)


def is_of_this_namespace(mark: str) -> bool:
    """Returns True if the process with this mark is of this PID namespace, so that its number can be looked up."""
    return mark[_START_DIGITS:] == _digest(find_pid_namespace(), _NAMESPACE_DIGITS)


@lru_cache(maxsize=1)
def mark_of_this_process(number: int) -> str:
    """Returns `find_mark` of the calling process, whose number this is; zeros if it is unknown."""
    return find_mark(number) or "0" * MARK_DIGITS


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _find_on_linux(number: int) -> str | None:
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[_STATE] in "ZX" else fields[_START_TICKS]
