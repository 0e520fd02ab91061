"""Results that a reader of the same home keeps, so that it can be asked every two seconds."""

import time
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

_Result = TypeVar("_Result")

SHORTEST_SECONDS = 30.0
"""The time that a result is kept at least, unless what it is made of changes [s]."""


COST_FACTOR = 50.0
"""A result is kept for so many times what it cost, so that at most a fiftieth of the time goes into it."""


class KeptResult(Generic[_Result]):
    """One result, computed again when what it is made of has changed, or after COST_FACTOR times the time that it took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key: Hashable = None
        self._until = 0.0
        self._result: list[_Result] = []

    def get(self, key: Hashable, compute: Callable[[], _Result]) -> _Result:
        """Returns the result.

        Args:
            key: names what the result is made of, such as the stamps of files.
            compute: makes the result; what it raises is passed on and not kept.
        """
        begin = self._clock()
        if self._result and key == self._key and begin < self._until:
            return self._result[0]
        result = compute()
        end = self._clock()
        self._key, self._result = key, [result]
        self._until = end + max(SHORTEST_SECONDS, COST_FACTOR * (end - begin))
        return result


def take_stamps(paths: Iterable[Path], *, depth: int = 0) -> tuple[tuple[str, int, int, int], ...]:
    """Returns path, time of the last change [ns], size and inode of files and folders; those that do not exist are left out.

    Args:
        paths: of files and folders.
        depth: levels of folders whose content is looked at as well.
    """
    stamps = []
    for path in paths:
        try:
            status = path.stat()
            stamps.append((str(path), status.st_mtime_ns, status.st_size, status.st_ino))
            if depth > 0 and path.is_dir():
                stamps += take_stamps(sorted(path.iterdir()), depth=depth - 1)
        except OSError:
            continue
    return tuple(stamps)
