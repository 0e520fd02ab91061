"""The command `status`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config, now
from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.output import make_table, say_block
from taskclf_dagster.cli.progress_bar import say_time
from taskclf_dagster.shown_text import counted
from taskclf_dagster.status.reader import read_status
from taskclf_dagster.status.records import Progress, Status


@click.command("status")
@home_option
@config_option
@json_option
def status_command(home: Path | None, config: Path | None, as_json: bool) -> None:
    """Show the state of retraining: the last and the current run, what is due and why, and the next tick of the schedule.

    State: idle (nothing was ever launched), queued, running, completed, skipped (no label is new) or failed.
    """
    taskclf_home = existing_home(home)
    settings = load_config(taskclf_home, config)
    with open_instance(taskclf_home) as instance:
        status = read_status(instance, taskclf_home, config=settings, now=now())
    if as_json:
        say_block(status.model_dump_json(indent=2))
        return
    say_block(make_table(list(_status_rows(status)), tablefmt="plain", wraps=[1]))


def _status_rows(status: Status) -> Iterator[list[str]]:
    yield ["home", status.home]
    yield ["state", f"{status.state}: {status.reason}"]
    if status.progress is not None:
        yield ["progress", _progress_words(status.progress)]
    yield ["last decision", _last_words(status)]
    yield ["active model", status.active_model_summary]
    yield ["new labels", "unknown" if status.labels_since is None else f"{counted(status.labels_since, 'span')} since the last decided run"]
    yield ["labels", status.label_spans or "not counted: windows or labels cannot be read, or there are too many to read them here"]
    yield ["due", f"{'yes' if status.due else 'no'}: {status.due_reason}"]
    yield ["next tick", "none: it is off" if status.next_tick is None else _when(status.next_tick)]
    yield ["events", f"{status.events_waiting} {'waits' if status.events_waiting == 1 else 'wait'} for delivery"]
    for warning in status.warnings:
        yield ["warning", warning]
    if (probation := status.probation) is not None:
        told = f"{probation.model_id}, until {probation.until:%Y-%m-%d}, beside {probation.previous_id}: {probation.sentence}"
        yield ["on probation", told]
    for trial in status.trials:
        if trial.is_open:
            yield ["on trial", f"{trial.model_id}, until {trial.until:%Y-%m-%d}: {trial.sentence}"]
        if trial.serving is not None:
            yield ["batch scores", f"{trial.model_id}: {trial.serving}"]


def _last_words(status: Status) -> str:
    if status.last_decided is None:
        return "none yet"
    moved = "" if status.last_moved is None else f", since then the active model (record {status.last_moved})"
    named = "" if status.last_decision is None else f" ({status.last_decision})"
    return f"{status.last_outcome} on {_when(status.last_decided)}{named}{moved}"


def _progress_words(progress: Progress) -> str:
    step = f" ({progress.step})" if progress.step else ""
    rounds = "" if progress.rounds is None else f", {progress.round} of {counted(progress.rounds, 'round')}"
    left = "" if progress.seconds_left is None else f", {say_time(progress.seconds_left)} left by the last retrains"
    message = f": {progress.message}" if progress.message else ""
    done = f"{progress.steps_done} of {counted(progress.steps, 'step')} since {_when(progress.since)}"
    return f"{done}, now {progress.step_title}{step}{rounds}{left}{message}"


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"
