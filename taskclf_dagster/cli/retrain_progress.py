"""Shows a retrain that runs in this process: a bar on a terminal, the messages of its steps elsewhere.

Steps are heard as Dagster logs them; rounds are in the file that the steps write (`domain.scheduling.run_progress`).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from taskclf_dagster.cli.output import say
from taskclf_dagster.cli.progress_bar import BarState, draw_bar, draws_bars
from taskclf_dagster.defs.dagster_internals import list_planned_steps
from taskclf_dagster.domain.scheduling.run_progress import read_run_progress
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted
from taskclf_dagster.status.run_progress import STARTS, StepTimesReader, estimate_seconds_left, title_of

_ENDS = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_SKIPPED)


class RetrainProgress(logging.Handler):
    """Follows the one run that logs to it.

    Attributes:
        show: takes the messages of the steps; None to show none.
        least: level from which messages are shown.
    """

    def __init__(self, instance: dg.DagsterInstance, home: Home, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._instance, self._home, self._clock = instance, home, clock
        self._medians = StepTimesReader().read(instance, home).by_step
        self._begin = clock()
        self._run_id: str | None = None
        self._planned: Sequence[str] = ()
        self._running: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._share = 0.0
        self.show: Callable[[str], object] | None = None
        self.least = logging.INFO

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a log record of Dagster: an event of the run, or a message of a step."""
        meta = getattr(record, "dagster_meta", {})
        event = meta.get("dagster_event")
        if event is not None:
            self._follow(event, meta.get("run_id"))
            return
        message = str(meta.get("orig_message") or record.getMessage())
        hidden = message.startswith(("Skipping step", "Dependencies for step"))
        if self.show is not None and record.levelno >= self.least and not hidden:
            self.show(f"{meta.get('step_key') or 'run'}: {message}")

    def look(self) -> BarState:
        """Returns the state of the bar; what is done never becomes less."""
        running, ended = dict(self._running), dict(self._ended)
        step = next(reversed(running), None)
        elapsed = {each: self._clock() - begin for each, begin in running.items()}
        left = estimate_seconds_left(self._planned, ended, elapsed, self._medians)
        rounds = None if step is None or self._run_id is None else read_run_progress(self._home, self._run_id)
        counts = f"step {min(len(ended) + 1, max(1, len(self._planned)))} of {len(self._planned)}" if self._planned else ""
        if rounds is not None:
            counts += f", {rounds.done} of {counted(rounds.total, 'round')}"
        passed = self._clock() - self._begin
        share = len(ended) / len(self._planned) if self._planned else 0.0
        self._share = max(self._share, share if left is None else passed / max(passed + left, 1e-9))
        return BarState(STARTS if step is None else title_of(step), self._share, counts, left)

    def _follow(self, event: dg.DagsterEvent, run_id: str | None) -> None:
        if run_id is not None and self._run_id is None:
            self._run_id = run_id
            run = self._instance.get_run_by_id(run_id)
            self._planned = (None if run is None else list_planned_steps(self._instance, run)) or ()
        if event.step_key is None:
            return
        if event.event_type == dg.DagsterEventType.STEP_START:
            self._running[event.step_key] = self._clock()
        elif event.event_type in _ENDS:
            self._ended[event.step_key] = self._clock() - self._running.pop(event.step_key, self._clock())


@contextmanager
def show_retrain(instance: dg.DagsterInstance, home: Home, *, quiet: bool) -> Iterator[dg.LoggerDefinition]:
    """Gives the console logger of a run in this process, which shows it within the block.

    Args:
        instance: the Dagster instance that records the run.
        home: the taskclf home.
        quiet: True to show nothing.
    """
    handler = RetrainProgress(instance, home)
    if quiet:
        yield _make_logger(handler)
    elif draws_bars():
        handler.least = logging.WARNING
        with draw_bar(handler.look) as above:
            handler.show = above
            yield _make_logger(handler)
    else:
        handler.show = say
        yield _make_logger(handler)


def _make_logger(handler: logging.Handler) -> dg.LoggerDefinition:
    @dg.logger(config_schema={"log_level": str})
    def progress_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.getLogger("taskclf_dagster.progress")
        logger.setLevel(logging.DEBUG)  # Dagster logs the beginnings of steps there
        logger.propagate = False
        logger.handlers = [handler]
        return logger

    return progress_logger
