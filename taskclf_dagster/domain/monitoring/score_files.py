"""Reads the scores of days: what the active model said about each window at the time. A damaged day is named, and the others are read.

Scores are written by the asset `scored_windows`; nothing here writes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.column_checks import find_column_problem
from taskclf_dagster.domain.data.feature_schema import LABELS, ColumnType
from taskclf_dagster.domain.data.parquet_files import may_exist, reading_parquet
from taskclf_dagster.domain.data.times import DAY_US, read_epoch_times
from taskclf_dagster.domain.evaluation.confusion import OUTCOMES
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

SCORES_OF_DAY = "scores.parquet"


SUM_TOLERANCE = 1e-6
"""Distance from 1 of the sum of a window's probabilities, beyond which the file is damaged; a float32 in between is off by 1e-7."""


SCORE_COLUMNS: dict[str, ColumnType] = {
    "user_id": "str",
    "session_id": "str",
    "bucket_start_ts": "datetime",
    **dict.fromkeys(LABELS, "float"),
    "confidence": "float",
    "calibrated_confidence": "float",
    "top_label": "str",
    "rejected": "bool",
    "label": "str",
    "smoothed_label": "str",
    "model_id": "str",
    "bundle_hash": "str",
    "pointer_sequence": "int",
    "policy_hash": "str",
    "reject_threshold": "float",
    "as_of": "datetime",
    "role": "str",
    "served": "bool",
}
"""The columns of a file of scores, in its order."""


ROLE = "role"


SERVED = "served"
"""The column that is True in exactly one file of a day for each window: that of the model whose score is used."""


CHAMPION, CONTENDER, PREVIOUS = "champion", "contender", "previous"
"""Values of the column role: the active model, a challenger on trial, or the model before one on probation."""


DEFAULTS = {ROLE: CHAMPION, SERVED: True}
"""Values of columns that `scores.parquet` of an earlier version lacks."""


MAY_BE_NULL = frozenset({"pointer_sequence", "policy_hash"})


_FIX = "Score the day again, or remove the file"


@dataclass(frozen=True)
class ScoreReading:
    """Scores of some days.

    Attributes:
        frame: one row a window, sorted by user and time, with SCORE_COLUMNS: user_id as category with a sorted vocabulary, times in UTC
            with microseconds, probabilities [0 to 1] as float64.
        days: the days that were read, sorted.
        damaged: the days that could not be read, with the reason.
    """

    frame: pd.DataFrame
    days: list[date] = field(default_factory=list)
    damaged: dict[date, str] = field(default_factory=dict)


def scores_path(home: Home, day: date) -> Path:
    """Returns the file of the scores of a UTC day."""
    return home.scores / f"date={day.isoformat()}" / SCORES_OF_DAY


def contender_scores_path(home: Home, day: date, model_id: str, role: str = CONTENDER) -> Path:
    """Returns the file of the scores of a UTC day by a challenger on trial, or by a model in the role PREVIOUS."""
    return scores_path(home, day).with_name(f"{role}-{model_id}.parquet")


def read_scores(home: Home, days: Iterable[date]) -> ScoreReading:
    """Reads the scores of those days that have any; never raises for what is in a file: see `damaged`."""
    tables, damaged = dict[date, pa.Table](), dict[date, str]()
    for day in sorted({*days}):
        path = scores_path(home, day)
        if not may_exist(path):
            continue
        try:
            tables[day] = read_scored_day(path, day)
        except UnreadableFileError as error:
            damaged[day] = str(error)
    return ScoreReading(_to_frame([*tables.values()]), [*tables], damaged)


def read_scored_day(path: Path, day: date) -> pa.Table:
    """Reads one file of scores.

    Args:
        path: the file.
        day: its UTC day.

    Returns:
        SCORE_COLUMNS in their order, times as timestamp[us, UTC].

    Raises:
        UnreadableFileError: it is no parquet, lacks a column, or has a value that no score can have.
    """
    with reading_parquet(path, fix=_FIX), pq.ParquetFile(path) as file:
        present = file.schema_arrow
        problems = (_find_column_problem(present, column, kind) for column, kind in SCORE_COLUMNS.items())
        problem = next((each for each in problems if each is not None), None)
        table = None if problem is not None else _canonical(_with_defaults(file.read(columns=list(SCORE_COLUMNS), use_threads=False)))
    problem = problem if table is None else _find_value_problem(table, day)
    if problem is not None or table is None:
        raise UnreadableFileError(path, str(problem), _FIX)
    return table


def _find_column_problem(present: pa.Schema, column: str, kind: ColumnType) -> str | None:
    if column in DEFAULTS and not present.get_all_field_indices(column):
        return None
    if column in MAY_BE_NULL and present.get_all_field_indices(column) and present.field(column).type == pa.null():
        return None
    problem = find_column_problem(present, column, kind, needs="scores need")
    return None if problem is None else f"its column {column} {problem}"


def _with_defaults(table: pa.Table) -> pa.Table:
    """Returns the table with the columns that an earlier version did not write; all of it is of the active model."""
    for name, value in DEFAULTS.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(value), len(table)))
    return table


def _canonical(table: pa.Table) -> pa.Table:
    columns = {}
    for name, kind in SCORE_COLUMNS.items():
        values = table[name]
        if kind == "datetime":
            valid = values.combine_chunks().is_valid()
            stored = pa.array(read_epoch_times(values).us, mask=~valid.to_numpy(zero_copy_only=False))
            columns[name] = stored.view(pa.timestamp("us", tz="UTC"))
        else:
            columns[name] = values.cast({"str": pa.string(), "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_()}[kind])
    return pa.table(columns)


def _find_value_problem(table: pa.Table, day: date) -> str | None:
    """Returns the first thing that is wrong with the values of a day, or None."""
    empty = [name for name in SCORE_COLUMNS if name not in MAY_BE_NULL and table[name].null_count]
    if empty:
        return f"its column {empty[0]} has {table[empty[0]].null_count} nulls"
    starts = table["bucket_start_ts"].cast(pa.int64()).to_numpy()
    elsewhere = int((starts // DAY_US != (day - date(1970, 1, 1)).days).sum())
    if elsewhere:
        return f"{elsewhere} of its windows are not of {day}"
    keys = table.select(["user_id", "bucket_start_ts"]).to_pandas()
    twice = int(keys.duplicated().sum())
    if twice:
        return f"{twice} of its windows come twice"
    for name, allowed in (("top_label", LABELS), ("label", OUTCOMES), (ROLE, (CHAMPION, CONTENDER, PREVIOUS))):
        other = sorted(set(table[name].unique().to_pylist()) - set(allowed))
        if other:
            return f"its column {name} has {other[0]!r}, which is no value of it"
    probabilities = np.column_stack([table[label].to_numpy() for label in LABELS])
    sound = (probabilities >= 0).all() and (np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE).all()
    return None if sound else "the probabilities of a window are not 0 or more with a sum of 1"


def _to_frame(tables: list[pa.Table]) -> pd.DataFrame:
    schema = {"str": pa.string(), "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "datetime": pa.timestamp("us", tz="UTC")}
    empty = pa.table({name: pa.array([], type=schema[kind]) for name, kind in SCORE_COLUMNS.items()})
    frame = pa.concat_tables([empty, *tables]).to_pandas(use_threads=False)
    frame["user_id"] = pd.Categorical(frame["user_id"], categories=sorted(frame["user_id"].unique()))
    return frame.sort_values(["user_id", "bucket_start_ts"], kind="stable", ignore_index=True)
