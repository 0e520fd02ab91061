"""A process of its own beside each retrain: interrupts it when its time is up, kills it if it does not heed that, and reports that.

Dagster ends a run by asking its process, which a hanging one does not hear. Runs as `python -m`, gets its order as one line of JSON and
holds the other end of a pipe, so that it learns of the end of the run, and of the death of its process, at once. Only the standard library
is loaded as long as all is well.
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

DONE = "done"


GONE = ""
"""What is read when the process at the other end of the pipe is no more."""


REPORT_SECONDS = 20.0
"""How long the instance may take to note something, before what must be done is done all the same."""


SETTLE_SECONDS = 5.0
"""How long whoever started a process that died may take to report that."""


Order = dict[str, Any]


def main() -> None:
    """Watches over one process until it says that it is done, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = _read_line()
    if line == GONE:
        return
    order: Order = json.loads(line)
    word = _wait(order["timeout_seconds"])
    if word is not None:
        _look_after(order, word, timed_out=False)
        return
    note = _fork(_note_timeout, order)
    word = _end(order["process"], signal.SIGINT, order["grace_seconds"])
    is_noted = _wait_for(note, REPORT_SECONDS)  # before anybody can see that the run has failed
    word = word if word is not None else _wait(0)
    word = word if word is not None else _end(order["process"], signal.SIGKILL, order["grace_seconds"])
    _look_after(order, word, timed_out=True, is_noted=is_noted)


def _wait(seconds: float) -> str | None:
    """DONE, GONE, or None when the time is up; what is there to read counts even then."""
    deadline = time.monotonic() + seconds
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        ready, _, _ = select.select([sys.stdin], [], [], min(left, 3600.0))
        if ready:
            return _read_line()
        if left == 0.0:
            return None


def _read_line() -> str:
    """The next line of the pipe; GONE when nobody holds the other end. Unbuffered, so that `select` sees what is left."""
    return FileIO(sys.stdin.fileno(), closefd=False).readline().decode().strip()


def _end(process: int, how: signal.Signals, seconds: float) -> str | None:
    """Sends a process a signal; None if it is still there after this time."""
    with suppress(ProcessLookupError):
        os.kill(process, how)
    return _wait(seconds)


def _look_after(order: Order, word: str | None, *, timed_out: bool, is_noted: bool = False) -> None:
    """What remains to be done once a run has ended: nothing, if it did so by itself and in time."""
    minutes = order["timeout_seconds"] / 60
    words = f"ended by the watchdog: it ran longer than {minutes:g} minutes (timeout_minutes)" if timed_out else "its process is gone"
    if word != DONE:
        if timed_out:
            print(f"run {order['run_id']} was {words}", file=sys.stderr)  # noqa: T201  # a terminal would only say "Killed"
        with suppress(OSError):
            _sweep(order, is_dead=word == GONE)
        _wait_for(_fork(_report_failed, order, words, timed_out), REPORT_SECONDS + SETTLE_SECONDS)
    elif timed_out and not is_noted:
        _wait_for(_fork(_note_timeout, order), REPORT_SECONDS)


def _sweep(order: Order, *, is_dead: bool) -> None:
    """Removes what a process was writing; the one that was watched may not have been buried yet."""
    from taskclf_dagster.defs.runs.worker_processes import was_running
    from taskclf_dagster.domain.storage.temporary_files import remove_orphaned_files
    from taskclf_dagster.home import Home

    dead = order["process"] if is_dead else None
    remove_orphaned_files(Home(Path(order["home"])), is_alive=lambda number, at: number != dead and was_running(number, at))


def _fork(work: Callable[..., None], order: Order, *arguments: object) -> int | None:
    """Does something with the instance in a process of its own, so that a database that hangs keeps nothing alive."""
    if order["instance"] is None:
        return None
    child = os.fork()
    if child == 0:
        try:
            work(order, *arguments)
            os._exit(0)
        except Exception as error:  # what must be done is done without the instance
            print(f"the watchdog of run {order['run_id']} cannot reach the instance: {error!r}", file=sys.stderr)  # noqa: T201
        finally:
            os._exit(1)
    return child


def _wait_for(child: int | None, seconds: float) -> bool:
    """Whether what was begun came to a good end within this time; after that it is ended."""
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


def _note_timeout(order: Order) -> None:
    from taskclf_dagster.defs.runs.retrain_runs import FAILURE_TAG
    from taskclf_dagster.domain.scheduling.failure_kinds import TIMEOUT

    with _open_instance(order) as instance:
        instance.add_run_tags(order["run_id"], {FAILURE_TAG: TIMEOUT})


def _report_failed(order: Order, words: str, timed_out: bool) -> None:
    """Reports the run as failed if nobody else does; one whose command line was its only process has no launcher that would."""
    if timed_out:
        _note_timeout(order)
    with _open_instance(order) as instance:
        deadline = time.monotonic() + SETTLE_SECONDS
        while (run := instance.get_run_by_id(order["run_id"])) is not None and not run.is_finished:
            if time.monotonic() >= deadline:
                instance.report_run_failed(run, message=words)
                return
            time.sleep(0.5)


def _open_instance(order: Order) -> Any:
    import dagster as dg
    from dagster._core.instance import InstanceRef

    return dg.DagsterInstance.from_ref(dg.deserialize_value(order["instance"], InstanceRef))


if __name__ == "__main__":
    main()
