"""The watchdog: a process that interrupts a run after its timeout, kills it if it does not end, and reports that.

Dagster ends a run by asking its process, which a hanging process does not notice. The watchdog runs as `python -m`, reads its order as one
line of JSON, and holds the other end of a pipe, so that it learns at once of the end of the run and of the death of its process. It imports
only the standard library until a run has to be ended. Do not import Dagster at the top of this module.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from taskclf_dagster.shown_text import counted

DONE = "done"


GONE = ""
"""The empty line that is read when the process at the other end of the pipe has ended."""


REPORT_SECONDS = 20.0
"""The time that the instance may take to store something; after it the watchdog goes on without."""


SETTLE_SECONDS = 5.0
"""The time that the launcher of a process that died may take to report that."""


Order = dict[str, Any]


def main() -> None:
    """Watches one process until it reports that it is done, or has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = _read_line()
    if line == GONE:
        return
    order: Order = json.loads(line)
    ending = _wait(order["timeout_seconds"])
    if ending is not None:
        _finish(order, ending, timed_out=False)
        return
    tagging = _fork(_tag_timeout, order)
    ending = _end(order["process"], signal.SIGINT, order["grace_seconds"])
    is_tagged = _wait_for(tagging, REPORT_SECONDS)  # before the run is seen as failed
    ending = ending if ending is not None else _wait(0)
    ending = ending if ending is not None else _end(order["process"], signal.SIGKILL, order["grace_seconds"])
    _finish(order, ending, timed_out=True, is_tagged=is_tagged)


def _wait(seconds: float) -> str | None:
    """Returns DONE or GONE, or None when the time is up and nothing can be read."""
    deadline = time.monotonic() + seconds
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        ready, _, _ = select.select([sys.stdin], [], [], min(left, 3600.0))
        if ready:
            return _read_line()
        if left == 0.0:
            return None


def _read_line() -> str:
    """Returns the next line of the pipe; GONE if the other end is closed. Unbuffered, so that `select` sees the remaining bytes."""
    return FileIO(sys.stdin.fileno(), closefd=False).readline().decode().strip()


def _end(process: int, how: signal.Signals, seconds: float) -> str | None:
    """Sends a signal to a process. Returns DONE or GONE, or None if the process still runs after this time."""
    with suppress(ProcessLookupError):
        os.kill(process, how)
    return _wait(seconds)


def _finish(order: Order, ending: str | None, *, timed_out: bool, is_tagged: bool = False) -> None:
    """Removes orphaned files and reports the run as failed, unless it ended by itself and in time."""
    minutes = order["timeout_seconds"] / 60
    message = (
        f"ended by the watchdog: it ran longer than {counted(minutes, 'minute')} (timeout_minutes)"
        if timed_out
        else "its process has ended"
    )
    if ending != DONE:
        if timed_out:
            print(f"run {order['run_id']} was {message}", file=sys.stderr)  # noqa: T201  # a terminal would only show "Killed"
        with suppress(OSError):
            _remove_files(order, is_dead=ending == GONE)
        _wait_for(_fork(_report_failed, order, message, timed_out), REPORT_SECONDS + SETTLE_SECONDS)
    elif timed_out and not is_tagged:
        _wait_for(_fork(_tag_timeout, order), REPORT_SECONDS)


def _remove_files(order: Order, *, is_dead: bool) -> None:
    """Removes files that an ended process was writing; the watched process may still be listed as a zombie."""
    from taskclf_dagster.defs.runs.worker_processes import is_running
    from taskclf_dagster.domain.storage.temporary_files import remove_orphaned_files
    from taskclf_dagster.home import Home

    dead = order["process"] if is_dead else None
    remove_orphaned_files(Home(Path(order["home"])), is_alive=lambda number, mark: number != dead and is_running(number, mark))


def _fork(work: Callable[..., None], order: Order, *arguments: object) -> int | None:
    """Calls a function in a child process, so that a database that hangs does not stop the watchdog. Returns the child's number."""
    if order["instance"] is None:
        return None
    child = os.fork()
    if child == 0:
        try:
            work(order, *arguments)
            os._exit(0)
        except Exception as error:  # the watchdog goes on without the instance
            print(f"the watchdog of run {order['run_id']} cannot reach the instance: {error!r}", file=sys.stderr)  # noqa: T201
        finally:
            os._exit(1)
    return child


def _wait_for(child: int | None, seconds: float) -> bool:
    """Returns True if the child succeeded within this time; kills it otherwise."""
    if child is None:
        return True
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended == child:
            return status == 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _tag_timeout(order: Order) -> None:
    from taskclf_dagster.defs.runs.run_tags import FAILURE_TAG
    from taskclf_dagster.domain.scheduling.failure_kinds import TIMEOUT

    with _open_instance(order) as instance:
        instance.add_run_tags(order["run_id"], {FAILURE_TAG: TIMEOUT})


def _report_failed(order: Order, message: str, timed_out: bool) -> None:
    """Reports the run as failed if no launcher does; a run of the command line has no launcher."""
    if timed_out:
        _tag_timeout(order)
    with _open_instance(order) as instance:
        deadline = time.monotonic() + SETTLE_SECONDS
        while (run := instance.get_run_by_id(order["run_id"])) is not None and not run.is_finished:
            if time.monotonic() >= deadline:
                instance.report_run_failed(run, message=message)
                return
            time.sleep(0.5)


def _open_instance(order: Order) -> Any:
    from taskclf_dagster.defs.dagster_internals import open_instance

    return open_instance(order["instance"])


if __name__ == "__main__":
    main()
