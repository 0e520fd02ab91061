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
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

DONE = "done"
REPORT_SECONDS = 20.0
"""How long the instance may take to note why a run is ended, before it is ended all the same."""
SETTLE_SECONDS = 5.0
"""How long whoever started a process that died may take to report that."""


def main() -> None:
    """Watches over one process until it says that it is done, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = json.loads(_read_line())
    deadline = time.monotonic() + order["timeout_seconds"]
    word = _wait(deadline)
    if word == DONE:
        return
    if word is None:  # its time is up
        words = f"ended by the watchdog: it ran longer than {order['timeout_seconds'] / 60:g} minutes (timeout_minutes)"
        _note_reason(order)
        word = _end(order["process"], order["grace_seconds"])
        if word == DONE:
            return
    else:
        words = "its process is gone"
    _clean_up(order, words)


def _wait(deadline: float) -> str | None:
    """DONE, "" when the process is gone, or None when the time is up."""
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], min(left, 3600.0))
        if ready:
            return _read_line()
    return None


def _read_line() -> str:
    """The next line of the pipe; "" when the other end is gone. Unbuffered, so that `select` sees what is left."""
    return FileIO(sys.stdin.fileno(), closefd=False).readline().decode().strip()


def _end(process: int, grace_seconds: float) -> str:
    """Interrupts a process, and kills it after the grace period."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGINT)
    word = _wait(time.monotonic() + grace_seconds)
    if word is not None:
        return word
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return _wait(time.monotonic() + grace_seconds) or ""


def _note_reason(order: dict[str, Any]) -> None:
    """Tags the run in a process of its own, so that a database that hangs does not keep a run alive."""
    if order["instance"] is None:
        return
    child = os.fork()
    if child == 0:
        _tag_timeout(order)
        os._exit(0)
    deadline = time.monotonic() + REPORT_SECONDS
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0] == child:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _tag_timeout(order: dict[str, Any]) -> None:
    from taskclf_dagster.defs.retrain_runs import FAILURE_TAG
    from taskclf_dagster.domain.failures import TIMEOUT

    with _open_instance(order) as instance:
        instance.add_run_tags(order["run_id"], {FAILURE_TAG: TIMEOUT})


def _clean_up(order: dict[str, Any], words: str) -> None:
    """Removes what the process was writing, and reports the run as failed if nobody else did."""
    import psutil

    from taskclf_dagster.domain.leftovers import sweep_leftovers
    from taskclf_dagster.home import Home

    sweep_leftovers(Home(Path(order["home"])), is_alive=psutil.pid_exists)
    if order["instance"] is None:
        return
    time.sleep(SETTLE_SECONDS)
    with _open_instance(order) as instance:
        run = instance.get_run_by_id(order["run_id"])
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, message=words)


def _open_instance(order: dict[str, Any]) -> Any:
    import dagster as dg
    from dagster._core.instance import InstanceRef

    return dg.DagsterInstance.from_ref(dg.deserialize_value(order["instance"], InstanceRef))


if __name__ == "__main__":
    main()
