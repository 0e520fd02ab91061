"""Locks a folder itself, beside the lock file in it.

A lock file is a name that anyone can delete or replace while its lock is held; the next writer then makes and locks another file of that
name, and nobody notices. The folder stays: who holds its lock excludes every other writer, whatever became of the file. The file's lock
remains the first, because it works on Windows (where a file that is open cannot be deleted) and on network file systems that lock no
folders; there the file alone counts, as before.

A folder must hold one lock file only: two would exclude each other.
"""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

POLL_SECONDS = 0.05


_BUSY = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}


_NO_FOLDER_LOCKS = {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


_held: set[int] = set()
"""Descriptors of folders that are locked by this process."""


@contextmanager
def lock_folder(folder: Path, *, timeout: float) -> Iterator[None]:
    """Holds an exclusive lock on a folder within the block; it ends with the process. Where folders cannot be locked, nothing is held.

    Raises:
        TimeoutError: another process held it for longer than `timeout` [s].
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    _held.add(descriptor)
    try:
        _acquire(descriptor, folder, timeout)
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            with suppress(OSError):  # where folders cannot be locked
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _acquire(descriptor: int, folder: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_FOLDER_LOCKS:
                return
            if error.errno not in _BUSY:
                raise OSError(error.errno, error.strerror, str(folder)) from error
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds the lock of the folder", str(folder)) from error
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
        else:
            return


def _close_in_child() -> None:
    """Closes inherited descriptors in a forked process, which would keep a lock alive after its holder died."""
    while _held:
        with suppress(OSError):
            os.close(_held.pop())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_in_child)
