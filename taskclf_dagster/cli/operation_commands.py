"""Commands for operating a home: `status`, `history` and `config`."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config, now, open_instance
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.config.environment import find_overrides
from taskclf_dagster.config.loading import DEFAULT_CONFIG_PATH, find_config_file, list_sources
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.history import ActiveHistoryEntry, read_history
from taskclf_dagster.status.reader import read_status
from taskclf_dagster.status.records import Progress, Retrain, Status
from taskclf_dagster.status.run_history import read_retrains

DEFAULT_HISTORY = 20


@click.command("status")
@home_option
@config_option
@json_option
def status_command(home: Path | None, config: Path | None, as_json: bool) -> None:
    """Show the state of retraining: the last and the current run, what is due and why, and the next tick of the schedule.

    State: idle (nothing was ever launched), queued, running, completed, skipped (no label is new) or failed.
    """
    taskclf_home, settings = existing_home(home), load_config(config)
    with open_instance() as instance:
        status = read_status(instance, taskclf_home, config=settings, now=now())
    if as_json:
        say_block(status.model_dump_json(indent=2))
        return
    say_block(make_table(list(_status_rows(status)), tablefmt="plain", maxcolwidths=[None, 120]))


@click.command("history")
@home_option
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_HISTORY, show_default=True, help="How many retrains, newest first.")
@json_option
def history_command(home: Path | None, limit: int, as_json: bool) -> None:
    """List every retrain of this home, newest first, and every pointer change.

    With --json each has its run and decision, previous and new version, status, times, label count, metrics before and after, and error.
    """
    taskclf_home = existing_home(home)
    with open_instance() as instance:
        retrains = read_retrains(instance, taskclf_home, limit=limit)
    if as_json:
        say_block(json.dumps([retrain.model_dump(mode="json") for retrain in retrains], indent=2))
    else:
        _print_moves(read_history(taskclf_home).moves, limit)
        say(f"{taskclf_home.display_name}: {len(retrains)} retrains")
        if retrains:
            rows = [_history_row(retrain) for retrain in retrains]
            say_block(make_table(rows, headers="keys", maxcolwidths=[None] * 8 + [60], disable_numparse=True))
    for receipt in list_decisions(taskclf_home)[1]:
        say(f"passed over: {receipt.problem}", err=True)


@click.group("config")
def config_group() -> None:
    """Show the configuration in effect, or check a file."""


@config_group.command("show")
@config_option
@json_option
def show_command(config: Path | None, as_json: bool) -> None:
    """Print every key with its value and source: the default file, a file of your own, or the environment."""
    settings = load_config(config)
    if as_json:
        say_block(json.dumps(settings.document, indent=2))
        return
    sources = list_sources(None if config is None else str(config.absolute()))
    rows = [[key, json.dumps(value), sources[key]] for key, value in flatten(settings.document)]
    say_block(make_table(rows, headers=["key", "value", "from"], disable_numparse=True, maxcolwidths=[None, 80, None]))


@config_group.command("check")
@config_option
def check_command(config: Path | None) -> None:
    """Check a configuration file and the environment, and list every error. Exits with 1 if there is one."""
    load_config(config)
    path = find_config_file(None if config is None else str(config.absolute()))
    say(f"{DEFAULT_CONFIG_PATH} is valid" if path is None else f"{path}, which overrides {DEFAULT_CONFIG_PATH}, is valid")
    for key, (name, value) in find_overrides(os.environ).items():
        say(f"{key} is {json.dumps(value)}: the environment variable {name} overrides the file")


def _status_rows(status: Status) -> Iterator[list[str]]:
    yield ["home", status.home]
    yield ["state", f"{status.state}: {status.reason}"]
    if status.progress is not None:
        yield ["progress", _progress_words(status.progress)]
    yield ["last decision", _last_words(status)]
    yield ["active model", status.active_model or "none"]
    yield ["new labels", "unknown" if status.labels_since is None else f"{status.labels_since} spans since the last decided run"]
    yield ["due", f"{'yes' if status.due else 'no'}: {status.due_reason}"]
    yield ["next tick", "none: it is off" if status.next_tick is None else _when(status.next_tick)]
    yield ["events", f"{status.events_waiting} wait for delivery"]
    for warning in status.warnings:
        yield ["warning", warning]


def _last_words(status: Status) -> str:
    if status.last_decided is None:
        return "none yet"
    return f"{status.last_outcome} on {_when(status.last_decided)}" + (f" ({status.last_decision})" if status.last_decision else "")


def _progress_words(progress: Progress) -> str:
    step = f", now {progress.step}" if progress.step else ""
    message = f": {progress.message}" if progress.message else ""
    return f"{progress.steps_done} of {progress.steps} steps since {_when(progress.since)}{step}{message}"


def _history_row(retrain: Retrain) -> dict[str, object]:
    before, after = (_score(metrics) for metrics in (retrain.metrics_before, retrain.metrics_after))
    return {
        "started": "-" if retrain.started is None else f"{retrain.started:%Y-%m-%d %H:%M}",
        "status": retrain.status,
        "verdict": retrain.outcome or "-",
        "cause": retrain.cause or "-",
        "previous version": retrain.previous_version or "-",
        "challenger": (retrain.challenger or "-") + (f" (record {retrain.moved})" if retrain.moved else ""),
        "macro-F1": f"{before} > {after}",
        "labels": "-" if retrain.labels is None else retrain.labels,
        "why": retrain.error or retrain.reason or "-",
        "decision or run": retrain.decision_id or retrain.run_id,
    }


def _score(metrics: dict[str, float | None] | None) -> str:
    value = None if metrics is None else metrics["macro_f1"]
    return "-" if value is None else f"{value:.4f}"


def _print_moves(moves: list[ActiveHistoryEntry], limit: int) -> None:
    if not moves:
        return
    lines = [[m.sequence or "-", f"{m.at:%Y-%m-%d %H:%M}", m.action or "by taskclf", m.new.name if m.new else "-", m.reason] for m in moves]
    headers = ["record", "at", "what", "model", "why"]
    say_block(make_table(lines[: -limit - 1 : -1], headers=headers, maxcolwidths=[None] * 4 + [70]) + "\n")


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"


OPERATION_COMMANDS = (status_command, history_command, config_group)
