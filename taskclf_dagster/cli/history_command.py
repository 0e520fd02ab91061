"""The command `history`."""

import json
from pathlib import Path

import click

from taskclf_dagster.cli.common import existing_home, home_option, json_option
from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.shown_text import counted
from taskclf_dagster.status.records import Retrain
from taskclf_dagster.status.run_history import read_retrains

DEFAULT_HISTORY = 20


@click.command("history")
@home_option
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_HISTORY, show_default=True, help="How many retrains, newest first.")
@json_option
def history_command(home: Path | None, limit: int, as_json: bool) -> None:
    """List every retrain of this home, newest first, and every pointer change.

    With --json each has its run and decision, previous and new version, status, times, label count, metrics before and after, and error.
    """
    taskclf_home = existing_home(home)
    with open_instance(taskclf_home) as instance:
        retrains = read_retrains(instance, taskclf_home, limit=limit)
    if as_json:
        say_block(json.dumps([retrain.model_dump(mode="json") for retrain in retrains], indent=2))
    else:
        _print_moves(read_history(taskclf_home).moves, limit)
        say(f"{taskclf_home.display_name}: {counted(len(retrains), 'retrain')}")
        if retrains:
            headers = ["started", "verdict", "macro-F1", "why", "decision or run"]
            say_block(make_table(map(_history_row, retrains), headers=headers, wraps=[3]))
    for receipt in list_decisions(taskclf_home)[1]:
        say(f"passed over: {receipt.problem}", err=True)


def _history_row(retrain: Retrain) -> list[object]:
    return [
        "-" if retrain.started is None else f"{retrain.started:%Y-%m-%d %H:%M}",
        (retrain.outcome or retrain.status) + (f", record {retrain.moved}" if retrain.moved else ""),
        _describe_scores(retrain),
        retrain.error or retrain.reason or "-",
        retrain.decision_id or (retrain.run_id or "-")[:8],
    ]


def _describe_scores(retrain: Retrain) -> str:
    """Returns the macro-F1 of champion and challenger on the windows that were compared."""
    before, after = (None if metrics is None else metrics["macro_f1"] for metrics in (retrain.metrics_before, retrain.metrics_after))
    if after is None:
        return "-"
    return f"{'' if before is None else f'{before:.4f} to '}{after:.4f} on {retrain.compared_windows}"


def _print_moves(moves: list[ActiveHistoryEntry], limit: int) -> None:
    if not moves:
        return
    lines = [[m.sequence or "-", f"{m.at:%Y-%m-%d %H:%M}", m.action or "by taskclf", m.new.name if m.new else "-", m.reason] for m in moves]
    headers = ["record", "at", "what", "model", "why"]
    say_block(make_table(lines[: -limit - 1 : -1], headers=headers, wraps=[4]) + "\n")
