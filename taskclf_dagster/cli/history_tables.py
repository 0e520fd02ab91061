"""Retrains and pointer changes as tables, for CSV and parquet: one row each, columns with a type, times in UTC.

docs/data.md lists the columns; a column is never removed and never changes its meaning. Printing belongs to `history_command`.
"""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa

from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.shown_text import show_line
from taskclf_dagster.status.records import Retrain

METRICS = ("macro_f1", "weighted_f1", "accuracy", "macro_precision", "macro_recall")


_TEXT, _COUNT, _NUMBER, _TIME = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC")


RETRAIN_COLUMNS: dict[str, pa.DataType] = {
    "run_id": _TEXT,
    "decision_id": _TEXT,
    "status": _TEXT,
    "outcome": _TEXT,
    "cause": _TEXT,
    "started": _TIME,
    "finished": _TIME,
    "seconds": _NUMBER,
    "previous_version": _TEXT,
    "challenger": _TEXT,
    "new_version": _TEXT,
    "labels": _COUNT,
    "compared_windows": _COUNT,
    **{f"before_{name}": _NUMBER for name in METRICS},
    **{f"after_{name}": _NUMBER for name in METRICS},
    "moved": _COUNT,
    "error": _TEXT,
    "reason": _TEXT,
    "sentence": _TEXT,
}


MOVE_COLUMNS: dict[str, pa.DataType] = {
    "sequence": _COUNT,
    "at": _TIME,
    "action": _TEXT,
    "old_model": _TEXT,
    "new_model": _TEXT,
    "decision_id": _TEXT,
    "run_id": _TEXT,
    "reason": _TEXT,
}


_FORMULA = ("=", "+", "-", "@")
"""Beginnings of what a spreadsheet computes instead of showing."""


def tabulate_retrains(retrains: Iterable[Retrain]) -> pa.Table:
    """Returns one row for each retrain, in the order given, with RETRAIN_COLUMNS."""
    return pa.Table.from_pylist([_flatten(retrain) for retrain in retrains], schema=pa.schema(RETRAIN_COLUMNS))


def tabulate_moves(moves: Iterable[ActiveHistoryEntry]) -> pa.Table:
    """Returns one row for each pointer change, in the order given, with MOVE_COLUMNS; null in `sequence` means another program."""
    rows = [
        {
            **move.model_dump(include={"sequence", "action", "decision_id", "run_id", "reason"}),
            "at": _to_utc(move.at),
            "old_model": None if move.old is None else move.old.name,
            "new_model": None if move.new is None else move.new.name,
        }
        for move in moves
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(MOVE_COLUMNS))


def write_csv(table: pa.Table) -> str:
    """Returns a table as CSV with a header: times as ISO 8601, nothing for null, each row on a line.

    A text that begins with =, +, - or @ gets an apostrophe in front, so that a spreadsheet shows it and computes nothing.
    """
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows([_show(value) for value in row.values()] for row in table.to_pylist())
    return content.getvalue()


def _flatten(retrain: Retrain) -> dict[str, object]:
    row: dict[str, object] = retrain.model_dump(include=set(RETRAIN_COLUMNS))
    took = retrain.finished - retrain.started if retrain.started and retrain.finished else None
    row["seconds"] = None if took is None else took.total_seconds()
    row |= {"started": _to_utc(retrain.started), "finished": _to_utc(retrain.finished)}
    for prefix, metrics in (("before", retrain.metrics_before), ("after", retrain.metrics_after)):
        row |= {f"{prefix}_{name}": (metrics or {}).get(name) for name in METRICS}
    return row


def _to_utc(moment: datetime | None) -> datetime | None:
    """Returns a time in UTC; other programs write some without a zone, which are in UTC."""
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _show(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    line = show_line(value)
    return f"'{line}" if line.startswith(_FORMULA) else line
