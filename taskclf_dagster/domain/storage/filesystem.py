"""The one seam through which a home is changed: a dozen calls, so that a fault can be put into each of them.

What the calls are for belongs to `files` and the modules above it. Reading needs no seam.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

from taskclf_dagster.errors import RegistryBusyError, UnsafeFileSystemError

if sys.platform == "darwin":
    import fcntl


LOCK_TIMEOUT_SECONDS = 60.0


_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class FileSystem:
    """Changes files and folders. Nothing is durable before its `sync` call: a file's bytes by `sync_file`, names by `sync_folder`."""

    def make_folder(self, path: Path) -> None:
        """Makes one folder; one that is there already is fine."""
        path.mkdir(exist_ok=True)

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        """Makes a new file with these bytes, or lets a function write it.

        Raises:
            FileExistsError: there is such a file (bytes only).
        """
        if not isinstance(content, bytes):
            content(path)
            return
        with path.open("xb") as file:
            file.write(content)

    def append(self, path: Path, content: bytes) -> None:
        """Writes behind the end of a file, which is made if it is not there."""
        with path.open("ab") as file:
            file.write(content)

    def truncate(self, path: Path, size: int) -> None:
        """Cuts a file to a size [bytes]."""
        os.truncate(path, size)

    def sync_file(self, path: Path) -> None:
        """Makes a file's bytes survive a power loss."""
        _sync(path, os.O_RDWR)

    def sync_folder(self, path: Path) -> None:
        """Makes the names in a folder survive a power loss, where the platform can."""
        if os.name == "posix":
            _sync(path, os.O_RDONLY)

    def replace(self, source: Path, target: Path) -> None:
        """Gives a file another name in the same folder, over the file that has it."""
        source.replace(target)

    def rename(self, source: Path, target: Path) -> None:
        """Gives a folder a name that is free.

        Raises:
            FileExistsError: the name is taken.
        """
        if target.exists():
            raise FileExistsError(17, "the name is taken", str(target))
        source.rename(target)

    def remove_file(self, path: Path) -> None:
        """Removes a file; one that is gone already is fine."""
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        """Removes an empty folder; one that is gone already is fine."""
        if path.is_dir():
            path.rmdir()

    @contextmanager
    def lock(self, path: Path, *, timeout: float | None = None) -> Iterator[None]:
        """Holds an exclusive lock that ends with the process, and makes sure that it does exclude.

        Args:
            path: the lock file.
            timeout: how long to wait for it [seconds]; None is LOCK_TIMEOUT_SECONDS.

        Raises:
            RegistryBusyError: another writer holds it for too long.
            UnsafeFileSystemError: the file system has no locks, or locks that exclude nobody.
        """
        timeout = LOCK_TIMEOUT_SECONDS if timeout is None else timeout
        try:
            lock = FileLock(path, timeout=timeout, thread_local=False, fallback_to_soft=False)
            lock.acquire()
        except Timeout as error:
            raise RegistryBusyError(path, timeout) from error
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            raise UnsafeFileSystemError(path, f"it has no file locks ({error})") from error
        try:
            _require_exclusive(path)
            yield
        finally:
            lock.release()


_current: ContextVar[FileSystem] = ContextVar("file_system", default=FileSystem())  # noqa: B039  # it has no state


def file_system() -> FileSystem:
    """The file system in use."""
    return _current.get()


@contextmanager
def use_file_system(replacement: FileSystem) -> Iterator[None]:
    """Uses another file system within the block: one that fails, records or simulates."""
    token = _current.set(replacement)
    try:
        yield
    finally:
        _current.reset(token)


def _require_exclusive(path: Path) -> None:
    """Tries to take a lock that is held: a file system that lets us is not one to promote on."""
    second = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        second.acquire()
    except Timeout:
        return
    second.release()
    raise UnsafeFileSystemError(path, "its file locks exclude nobody")


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync does not reach the platter there
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
