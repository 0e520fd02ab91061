"""The file-system seam: the only calls that change a home, so that tests can make each of them fail.

Atomic writes are composed of them in `files`. Reading does not go through the seam.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

from taskclf_dagster.domain.storage.folder_lock import lock_folder
from taskclf_dagster.errors import LockFileError, RegistryBusyError, UnsafeFileSystemError

if sys.platform == "darwin":
    import fcntl


LOCK_TIMEOUT_SECONDS = 60.0

REPLACE_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.3)
"""Waits [s] between attempts to replace an open file on Windows, about a second in all, as pip does."""


_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class FileSystem:
    """Changes files and folders. A file's bytes are durable after `sync_file`, names in a folder after `sync_folder`.

    Attributes:
        replace_pauses: waits [s] between attempts to replace a file.
    """

    replace_pauses: Sequence[float] = REPLACE_PAUSES if os.name == "nt" else ()

    def make_folder(self, path: Path) -> None:
        """Creates a folder if it does not exist."""
        path.mkdir(exist_ok=True)

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        """Creates a file with the given bytes, or by a function that writes it.

        Raises:
            FileExistsError: the file exists (bytes only).
        """
        with _naming(path):
            if not isinstance(content, bytes):
                content(path)
                return
            with path.open("xb") as file:
                file.write(content)

    def append(self, path: Path, content: bytes) -> None:
        """Appends to a file, which is created if it does not exist."""
        with _naming(path), path.open("ab") as file:
            file.write(content)

    def truncate(self, path: Path, size: int) -> None:
        """Truncates a file to a size [bytes]."""
        os.truncate(path, size)

    def sync_file(self, path: Path) -> None:
        """Makes the bytes of a file durable."""
        _sync(path, os.O_RDWR)

    def sync_folder(self, path: Path) -> None:
        """Makes the names in a folder durable; on Windows nothing is done."""
        if os.name == "posix":
            _sync(path, os.O_RDONLY)

    def replace(self, source: Path, target: Path) -> None:
        """Renames a file within its folder and replaces an existing target.

        On Windows a file that another program has open cannot be replaced; the call is retried for about a second.

        Raises:
            PermissionError: it is not allowed, or the target stays open.
        """
        for pause in self.replace_pauses:
            with suppress(PermissionError):
                source.replace(target)
                return
            time.sleep(pause)
        source.replace(target)

    def rename(self, source: Path, target: Path) -> None:
        """Renames a folder.

        Raises:
            FileExistsError: the target exists.
        """
        if target.exists():
            raise FileExistsError(17, "the name is taken", str(target))
        source.rename(target)

    def remove_file(self, path: Path) -> None:
        """Removes a file if it exists."""
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        """Removes an empty folder if it exists."""
        if path.is_dir():
            path.rmdir()

    @contextmanager
    def lock(self, path: Path, *, timeout: float | None = None) -> Iterator[None]:
        """Holds an exclusive lock that ends with the process, and verifies that it excludes others.

        The lock file is locked, and its folder, so that a file that is deleted or replaced meanwhile lets nobody in (`folder_lock`).

        Args:
            path: the lock file.
            timeout: longest wait [seconds]; None is LOCK_TIMEOUT_SECONDS.

        Raises:
            RegistryBusyError: another writer holds it for too long.
            UnsafeFileSystemError: the file system has no locks, or locks that exclude nobody.
            LockFileError: the lock file is a folder, a link or something else that is no file.
        """
        require_lock_file(path)
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
            with _locked_folder(path, timeout):
                yield
        finally:
            lock.release()


def require_lock_file(path: Path) -> None:
    """Checks that a lock file is a file, or does not exist yet.

    Raises:
        LockFileError: it is something else.
    """
    if not os.path.lexists(path) or (path.is_file() and not path.is_symlink()):
        return
    kind = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "no regular file"
    raise LockFileError(path, f"it is {kind}, and must be a file")


_exclusive: set[tuple[Path, int, int]] = set()
"""Lock files whose locks were seen to exclude others in this process: resolved path, device and inode."""


_current: ContextVar[FileSystem] = ContextVar("file_system", default=FileSystem())  # noqa: B039  # it has no state


def file_system() -> FileSystem:
    """Returns the file system in use."""
    return _current.get()


@contextmanager
def use_file_system(replacement: FileSystem) -> Iterator[None]:
    """Replaces the file system within the block, in tests: by one that fails, records or simulates."""
    token = _current.set(replacement)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def _locked_folder(path: Path, timeout: float) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(lock_folder(path.parent, timeout=timeout))
        except TimeoutError as error:
            raise RegistryBusyError(path, timeout) from error
        yield


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Gives errors that name no file the path, such as those of a full disk, which come while an open file is written."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:  # of pyarrow and numpy
            raise OSError(f"{path}: {error}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def _require_exclusive(path: Path) -> None:
    """Tries to take a lock that is held, once per process and lock file.

    Raises:
        UnsafeFileSystemError: it was granted a second time.
    """
    status = path.stat()
    file = (path.resolve(), status.st_dev, status.st_ino)
    if file in _exclusive:
        return
    second = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        second.acquire()
    except Timeout:
        _exclusive.add(file)
        return
    second.release()
    raise UnsafeFileSystemError(path, "its file locks exclude nobody")


def _sync(path: Path, flags: int) -> None:
    with _naming(path):
        _sync_descriptor(os.open(path, flags))


def _sync_descriptor(descriptor: int) -> None:
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync leaves the bytes in the cache of the disk there
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
