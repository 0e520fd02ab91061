"""The command `history`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pyarrow as pa

from taskclf_dagster.cli.common import GIVEN_PATH, existing_home, home_option, json_option, require_place
from taskclf_dagster.cli.history_tables import tabulate_moves, tabulate_retrains, write_csv
from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.storage.files import write_atomic, write_text
from taskclf_dagster.domain.storage.stored_files import to_parquet
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted
from taskclf_dagster.status.records import Retrain
from taskclf_dagster.status.run_history import read_retrains

DEFAULT_HISTORY = 20


@click.command("history")
@home_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"How many retrains or changes, newest first. Default: {DEFAULT_HISTORY}; all for CSV and parquet.",
)
@click.option("--moves", "only_moves", is_flag=True, help="The changes of the active model alone, instead of the retrains.")
@json_option
@click.option("--csv", "csv_file", type=click.STRING, metavar="FILE", help="Write a CSV file with one row each; - for standard output.")
@click.option("--parquet", "parquet_file", type=GIVEN_PATH, metavar="FILE", help="Write a parquet file with one row each.")
def history_command(
    home: Path | None, limit: int | None, only_moves: bool, as_json: bool, csv_file: str | None, parquet_file: Path | None
) -> None:
    """List every retrain of this home, newest first, and every pointer change.

    With --json each has its run and decision, previous and new version, status, times, label count, metrics before and after, and error.
    docs/data.md lists the columns of --csv and --parquet.
    """
    taskclf_home = existing_home(home)
    is_file = csv_file is not None or parquet_file is not None
    if as_json and is_file:
        raise click.UsageError("Give one of --json, and --csv or --parquet.")
    if parquet_file is not None and parquet_file.name == "-":
        raise click.UsageError("--parquet writes a file only; --csv - writes on standard output.")
    wanted = limit or (sys.maxsize if is_file else DEFAULT_HISTORY)
    moves = read_history(taskclf_home).moves[::-1][:wanted]
    retrains = [] if only_moves else _read_retrains(taskclf_home, wanted)
    if is_file:
        _export(tabulate_moves(moves) if only_moves else tabulate_retrains(retrains), csv_file, parquet_file)
    elif as_json:
        shown = [move.document for move in moves] if only_moves else [retrain.model_dump(mode="json") for retrain in retrains]
        say_block(json.dumps(shown, indent=2))
    else:
        _print(taskclf_home, moves, None if only_moves else retrains)
    for receipt in list_decisions(taskclf_home)[1]:
        say(f"passed over: {receipt.problem}", err=True)


def _read_retrains(home: Home, limit: int) -> list[Retrain]:
    with open_instance(home) as instance:
        return read_retrains(instance, home, limit=limit)


def _export(table: pa.Table, csv_file: str | None, parquet_file: Path | None) -> None:
    if csv_file == "-":
        say_block(write_csv(table).removesuffix("\n"))
    elif csv_file is not None:
        _save(GIVEN_PATH.convert(csv_file, None, None), table, lambda path: write_text(path, write_csv(table)))
    if parquet_file is not None:
        _save(parquet_file, table, lambda path: write_atomic(path, to_parquet(table)))


def _save(path: Path, table: pa.Table, write: Callable[[Path], object]) -> None:
    require_place(path)
    write(path)
    say(f"{path}: {counted(table.num_rows, 'row')}, {counted(table.num_columns, 'column')}", err=True)


def _print(home: Home, moves: list[ActiveHistoryEntry], retrains: list[Retrain] | None) -> None:
    _print_moves(moves)
    if retrains is None:
        say(f"{home.display_name}: {counted(len(moves), 'change')} of the active model")
        return
    say(f"{home.display_name}: {counted(len(retrains), 'retrain')}")
    if retrains:
        headers = ["started", "verdict", "macro-F1", "why", "decision or run"]
        say_block(make_table(map(_history_row, retrains), headers=headers, wraps=[3]))


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


def _print_moves(moves: list[ActiveHistoryEntry]) -> None:
    if not moves:
        return
    lines = [[m.sequence or "-", f"{m.at:%Y-%m-%d %H:%M}", m.action or "by taskclf", m.new.name if m.new else "-", m.reason] for m in moves]
    headers = ["record", "at", "what", "model", "why"]
    say_block(make_table(lines, headers=headers, wraps=[4]) + "\n")
