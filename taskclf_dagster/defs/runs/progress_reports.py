"""Passes on the progress of a step: lines to the log of the run, the present round to a file that other processes read.

The file is `domain.scheduling.run_progress`; `status.run_progress` reads it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taskclf_dagster.domain.scheduling.run_progress import RunProgress, remove_run_progress, write_run_progress
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress, Report

INTERVAL_SECONDS = 1.0
"""The file is written at most once in this time [s]; the last round of a part may so be missing from it."""


@contextmanager
def reports_of(home: Home, run_id: str, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> Iterator[Report]:
    """Gives a function that takes the reports of a step, and removes the file when the step has ended.

    Args:
        home: the taskclf home.
        run_id: the run.
        say: writes a line to its log.
        clock: a monotonic clock [s].
    """
    written = -INTERVAL_SECONDS

    def report(progress: Progress) -> None:
        nonlocal written
        if progress.line is not None:
            say(progress.line)
        if progress.total and clock() - written >= INTERVAL_SECONDS:
            write_run_progress(home, RunProgress(run_id=run_id, part=progress.part, done=progress.done, total=progress.total))
            written = clock()

    try:
        yield report
    finally:
        remove_run_progress(home)
