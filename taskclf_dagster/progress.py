"""The progress of work that takes seconds or minutes, as whoever does it reports it. Nothing here reads a clock or writes."""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """One report of progress.

    Attributes:
        part: what is being done, in plain words; the parts of one work follow each other.
        done: number of units of this part that are done.
        total: number of all of them.
        unit: a unit, such as `round`.
        line: a line for a log; None where that would be one line too many.
    """

    part: str
    done: int
    total: int
    unit: str
    line: str | None = None


Report = Callable[[Progress], object]
"""Takes reports of progress. It is called often, so it must be quick, and nothing that is computed may depend on it."""


def ignore_progress(progress: Progress) -> None:
    """Does nothing with a report."""


def report_lines(say: Callable[[str], object]) -> Report:
    """Returns a function that passes on the lines of reports alone."""

    def report(progress: Progress) -> None:
        if progress.line is not None:
            say(progress.line)

    return report
