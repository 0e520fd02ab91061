"""The run lock: lets one retrain of a home run at a time, and names its holder. It ends with the process.

It holds for every way to launch a retrain, because some of them bypass Dagster's limits. The registry lock is another one, held for
moments only.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from pydantic import AwareDatetime, ValidationError

from taskclf_dagster.domain.storage.files import make_folders, write_json
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import RegistryBusyError, RetrainBusyError, UnreadableFileError
from taskclf_dagster.home import Home

POLL_SECONDS = 1.0


class RunLockHolder(Record):
    """The run that holds the run lock.

    Attributes:
        worker: PID namespace, process id and start of its process.
        since: the time at which it took the lock.
    """

    run_id: str
    worker: str
    since: AwareDatetime

    @property
    def summary(self) -> str:
        """A message that names the run and the time."""
        return f"another retrain is under way: run {self.run_id} since {self.since:%Y-%m-%d %H:%M:%S %Z}"


@contextmanager
def hold_run_lock(
    home: Home, holder: RunLockHolder, *, patience_seconds: float, on_wait: Callable[[str], object] = lambda _: None
) -> Iterator[None]:
    """Waits for the run lock and holds it. If the process dies, the lock is released at once.

    Args:
        home: the taskclf home; if it does not exist nothing is held.
        holder: the run that takes the lock, for others to read.
        patience_seconds: longest wait for another retrain.
        on_wait: called once with the message that names the holder, if that is another run.

    Raises:
        RetrainBusyError: the other retrain did not end in time.
        UnsafeFileSystemError: the file system has no locks that work.
    """
    if not home.root.is_dir():
        yield
        return
    make_folders(home.artifacts)
    with ExitStack() as stack:
        _wait_for_lock(home, stack, patience_seconds, on_wait)
        with suppress(OSError):  # for people to read; the lock is what counts
            write_json(home.run_lock_holder, holder.model_dump(mode="json"))
        try:
            yield
        finally:
            with suppress(OSError):
                file_system().remove_file(home.run_lock_holder)


def read_holder(home: Home) -> RunLockHolder | None:
    """Returns the run that took the lock last and did not release it; None if there is none, or the file cannot be read."""
    try:
        return RunLockHolder.model_validate(read_json_object(home.run_lock_holder))
    except (UnreadableFileError, ValidationError):
        return None


def _wait_for_lock(home: Home, stack: ExitStack, patience_seconds: float, on_wait: Callable[[str], object]) -> None:
    deadline = time.monotonic() + patience_seconds
    reported = False
    while True:
        try:
            stack.enter_context(file_system().lock(home.retrain_lock, timeout=POLL_SECONDS if reported else 0))
        except RegistryBusyError as error:
            other = read_holder(home)
            message = "another retrain is under way" if other is None else other.summary
            if time.monotonic() >= deadline:
                raise RetrainBusyError(message, patience_seconds) from error
            if not reported:
                on_wait(f"{message}; waiting for it to end")
                reported = True
        else:
            return
