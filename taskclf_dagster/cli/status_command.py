"""The command `status`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config, now
from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.output import make_table, say_block
from taskclf_dagster.cli.progress_bar import say_time
from taskclf_dagster.domain.probation.probation_views import show_probations
from taskclf_dagster.domain.trials.trial_step import show_trials
from taskclf_dagster.home import Home
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
    trials = [look for look in show_trials(taskclf_home, as_of=now()).looks if look.outcome == "waits"]
    rows = [
        *_status_rows(status),
        *_probation_rows(taskclf_home),
        *(["on trial", f"{look.model_id}, until {look.ends_at:%Y-%m-%d}: {look.detail}"] for look in trials),
        *(["batch scores", f"{look.model_id} {look.serving.sentence}"] for look in trials if look.serving is not None),
    ]
    say_block(make_table(rows, tablefmt="plain", wraps=[1]))


def _probation_rows(home: Home) -> Iterator[list[str]]:
    for look in show_probations(home, as_of=now()).looks:
        if look.outcome in ("goes_on", "harm"):
            yield ["on probation", f"{look.model_id}, until {look.ends_at:%Y-%m-%d}, beside {look.previous_id}: {look.detail}"]


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
