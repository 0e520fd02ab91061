"""Draws one progress bar on stderr while a command works: what it does, how far it is, and the time that is left.

Only on a terminal, and not with `--quiet`; elsewhere commands print lines or nothing. Results go to stdout, where nothing here writes; the
lines of a retrain, which are its log, go there as well (`retrain_progress`).
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from taskclf_dagster.cli.output import FALLBACK_SIZE, say
from taskclf_dagster.progress import Progress as WorkProgress
from taskclf_dagster.progress import Report, ignore_progress
from taskclf_dagster.shown_text import counted, show_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

REDRAW_SECONDS = 0.25


TITLE_COLUMNS, NARROW = 26, 70
"""Width of what is being done; on a terminal with fewer columns than the second there is no space for the counts."""


quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print the result only, no progress.")


class BarState(NamedTuple):
    """The content of a bar.

    Attributes:
        title: what is being done.
        share: share of the work that is done [0 to 1]; None if that is not known.
        counts: how far it is in numbers.
        seconds_left: estimate of the time left [s]; None without one.
    """

    title: str
    share: float | None
    counts: str = ""
    seconds_left: float | None = None


def draws_bars() -> bool:
    """Returns True if stderr is a terminal that can redraw a line."""
    from rich.console import Console

    return sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal


@contextmanager
def draw_bar(look: Callable[[], BarState]) -> Iterator[Callable[[str], None]]:
    """Draws a bar on stderr within the block, and removes it then.

    Args:
        look: returns what to show; called from another thread, some times a second.

    Yields:
        A function that prints a line above the bar.
    """
    from rich.console import Console

    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as terminal:  # while a step runs, Dagster sends stderr to a file
        console = Console(file=terminal, highlight=False)
        yield from _draw_on(console, look, terminal.fileno())


def find_columns(descriptor: int) -> int:
    """Returns the width of the terminal with a file descriptor, also where stdout is another file; COLUMNS overrides it."""
    given = os.environ.get("COLUMNS", "")
    try:
        columns = int(given) if given.isdecimal() and int(given) else os.get_terminal_size(descriptor).columns
    except (OSError, ValueError):
        columns = 0
    return columns or FALLBACK_SIZE[0]


def _draw_on(console: "Console", look: Callable[[], BarState], descriptor: int) -> Iterator[Callable[[str], None]]:
    from rich.progress import BarColumn, Progress, TextColumn

    texts = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), TextColumn("{task.fields[counts]}", markup=False)]
    bar = Progress(*texts, console=console, transient=True, auto_refresh=False, expand=True, redirect_stdout=False, redirect_stderr=False)
    task = bar.add_task("", total=1.0, counts="")
    ended = threading.Event()

    def draw() -> None:
        console.width = find_columns(descriptor)  # a window may have another size by now
        _show(bar, task, look(), console.width)

    def redraw() -> None:
        while not ended.wait(REDRAW_SECONDS):
            draw()

    drawer = threading.Thread(target=redraw, name="progress-bar", daemon=True)
    with bar:
        draw()
        drawer.start()
        try:
            yield lambda line: console.print(show_line(line), markup=False)
        finally:
            ended.set()
            drawer.join()


@contextmanager
def show_work(title: str, *, quiet: bool, lines: bool = True) -> Iterator[Report]:
    """Shows the progress of work within the block: a bar on a terminal, lines on stderr elsewhere.

    Args:
        title: what the command does, until the work reports its parts.
        quiet: True to show nothing.
        lines: False to show nothing where stderr is no terminal.
    """
    if quiet:
        yield ignore_progress
    elif draws_bars():
        work = ReportedWork(title)
        with draw_bar(work.look):
            yield work.report
    else:
        yield _say_line if lines else ignore_progress


class ReportedWork:
    """Work that reports its progress, as a bar shows it.

    Args:
        title: what is done, until the first report.
        clock: a monotonic clock [s].
    """

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest = WorkProgress(title, 0, 0, "")
        self._begin = self._clock()

    def report(self, progress: WorkProgress) -> None:
        """Takes a report. Where the number of all units changes, other work begins, and the time that is left is that of this."""
        if progress.total != self._latest.total or progress.done < self._latest.done:
            self._begin = self._clock()
        self._latest = progress

    def look(self) -> BarState:
        """Returns the state of the bar."""
        latest, passed = self._latest, self._clock() - self._begin
        if not latest.total:
            return BarState(latest.part, None)
        left = passed * (latest.total - latest.done) / latest.done if latest.done else None
        return BarState(latest.part, latest.done / latest.total, f"{latest.done} of {counted(latest.total, latest.unit)}", left)


def say_time(seconds: float) -> str:
    """Returns a time as `0:05`, `12:30` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _show(bar: "Bar", task: "TaskID", state: BarState, width: int) -> None:
    """Draws a state."""
    left = "" if state.seconds_left is None else f"{say_time(state.seconds_left)} left"
    counts = [state.counts, left] if width >= NARROW else [left]
    title = show_line(state.title)
    title = title if len(title) <= TITLE_COLUMNS else f"{title[: TITLE_COLUMNS - 1]}…"
    bar.update(
        task,
        description=f"{title:{TITLE_COLUMNS}}",
        counts="  ".join(filter(None, counts)),
        total=None if state.share is None else 1.0,
        completed=state.share or 0.0,
    )
    bar.refresh()


def _say_line(progress: WorkProgress) -> None:
    if progress.line is not None:
        say(progress.line, err=True)
