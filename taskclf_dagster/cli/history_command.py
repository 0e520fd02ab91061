"""The command `history`."""

import json
from pathlib import Path

import click

from taskclf_dagster.cli.common import existing_home, home_option, json_option
from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.history import ActiveHistoryEntry, read_history
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
        say(f"{taskclf_home.display_name}: {len(retrains)} retrains")
        if retrains:
            rows = [_history_row(retrain) for retrain in retrains]
            say_block(make_table(rows, headers="keys", maxcolwidths=[None] * 8 + [60], disable_numparse=True))
    for receipt in list_decisions(taskclf_home)[1]:
        say(f"passed over: {receipt.problem}", err=True)


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
