"""Violations of the data contract in feature partitions, each with file, column, row, value, bound and fix.

Pure checks on tables and frames; columns and their types are checked in `column_checks`, label spans in `label_store`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from taskclf_dagster.domain.data.feature_schema import WINDOW_SECONDS, FeatureSchema, column_bounds
from taskclf_dagster.domain.data.times import EpochTimes, epoch_us, show_epoch_us
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

DataCheck = Literal[
    "columns_are_complete_and_typed",
    "schema_hash_is_known",
    "values_are_in_bounds",
    "windows_are_whole_minutes",
    "windows_are_of_their_day",
    "labels_are_in_the_label_set",
    "spans_end_after_they_start",
]


class ContractViolation(Record):
    """One way in which a file breaks the data contract.

    Attributes:
        check: the check that fails by it.
        file: path relative to the home.
        column: the column; None for a violation of the whole file.
        row: zero-based row in the file; None for a violation of no single row.
        message: the value, the bound and the fix.
    """

    check: DataCheck
    file: str
    column: str | None
    row: int | None
    message: str

    def __str__(self) -> str:
        column = "" if self.column is None else f", column {self.column}"
        row = "" if self.row is None else f", row {self.row}"
        return f"{self.file}{column}{row}: {self.message}"


def find_version_violations(table: pa.Table, schema: FeatureSchema, name: str) -> list[ContractViolation]:
    """Finds rows without the schema version of their folder or that version's hash; the first such row is named."""
    violations: list[ContractViolation] = []
    for column, expected in (("schema_version", schema.version), ("schema_hash", schema.schema_hash)):
        found = {str(value): count for value, count in _counts(table[column]).items()}
        wrong = {value: count for value, count in found.items() if value != expected}
        if wrong:
            row = next(i for i, value in enumerate(table[column].to_pylist()) if value != expected)
            mixed = "mixes" if len(found) > 1 else "has"
            listed = ", ".join(f"{value!r} ({counted(count, 'row')})" for value, count in sorted(found.items()))
            message = f"{mixed} {listed}, but every row must have {expected!r}. Build the day again with one schema version"
            violations.append(ContractViolation(check="schema_hash_is_known", file=name, column=column, row=row, message=message))
    return violations


def find_absurd_times(times: Mapping[str, EpochTimes], name: str, fix: str) -> list[ContractViolation]:
    """Finds times beyond the years 1 to 9999 in columns of a file; the first such row of each is named."""
    violations = []
    for column, (_, beyond) in times.items():
        if beyond.any():
            message = f"is beyond the years 1 to 9999 ({counted(int(beyond.sum()), 'row')}). {fix}"
            row = int(np.flatnonzero(beyond)[0])
            violations.append(ContractViolation(check="values_are_in_bounds", file=name, column=column, row=row, message=message))
    return violations


def find_day_violations(starts_us: npt.NDArray[np.int64], of_day: npt.NDArray[np.bool_], day: date, name: str) -> list[ContractViolation]:
    """Finds windows that do not start on the UTC day of their folder; the first such row is named."""
    if of_day.all():
        return []
    row = int(np.flatnonzero(~of_day)[0])
    message = (
        f"is {show_epoch_us(int(starts_us[row]))}, but must lie on {day} (UTC), the day of the folder "
        f"({counted(int((~of_day).sum()), 'row')}). "
        "Let taskclf build the day again"
    )
    return [ContractViolation(check="windows_are_of_their_day", file=name, column="bucket_start_ts", row=row, message=message)]


def find_null_violations(table: pa.Table, schema: FeatureSchema, name: str) -> list[ContractViolation]:
    """Finds nulls in keys, whole numbers and booleans, which the contract does not allow."""
    violations: list[ContractViolation] = []
    keys = {"user_id", "session_id", "bucket_start_ts", "bucket_end_ts"}
    for column in schema.required_columns:
        if table[column].null_count and (column in keys or schema.columns[column] in ("int", "bool")):
            row = int(np.flatnonzero(table[column].is_null().to_numpy())[0])
            message = f"is null in {counted(table[column].null_count, 'row')}, but must not be. Let taskclf build the day again"
            violations.append(ContractViolation(check="values_are_in_bounds", file=name, column=column, row=row, message=message))
    return violations


class BadRows(NamedTuple):
    """Rows of one file that break a rule: the first of them, its position in the concatenated frame, and their number."""

    file: str
    first_row: int
    position: int
    n_rows: int


class RowLocator:
    """Maps rows of a concatenated frame to the files that they were read from."""

    def __init__(self, files: list[tuple[str, npt.NDArray[np.int64]]]) -> None:
        self._files = files
        self._ends = np.cumsum([len(rows) for _, rows in files])

    def locate(self, bad: npt.NDArray[np.bool_]) -> list[BadRows]:
        """Returns one entry for each file with bad rows; the mask has one element for each row of the frame."""
        positions = np.flatnonzero(bad)
        owners = np.searchsorted(self._ends, positions, side="right")
        found = []
        for owner in np.unique(owners):
            mine = positions[owners == owner]
            name, rows = self._files[owner]
            begin = 0 if owner == 0 else self._ends[owner - 1]
            found.append(BadRows(name, int(rows[mine[0] - begin]), int(mine[0]), len(mine)))
        return found


def find_time_violations(frame: pd.DataFrame, locator: RowLocator) -> list[ContractViolation]:
    """Finds windows that do not start on a whole minute or do not last 60 s."""
    starts, ends = epoch_us(frame["bucket_start_ts"]), epoch_us(frame["bucket_end_ts"])
    minute = WINDOW_SECONDS * 1_000_000
    violations: list[ContractViolation] = []
    for column, bad, rule in (
        ("bucket_start_ts", starts % minute != 0, "must lie on a whole minute (UTC)"),
        ("bucket_end_ts", ends - starts != minute, "must lie 60 s after bucket_start_ts"),
    ):
        for rows in locator.locate(bad):
            found = frame[column].iloc[rows.position].isoformat()
            message = f"is {found}, but {rule} ({counted(rows.n_rows, 'row')}). Let taskclf build the day again"
            violations.append(
                ContractViolation(check="windows_are_whole_minutes", file=rows.file, column=column, row=rows.first_row, message=message)
            )
    return violations


def find_bound_violations(frame: pd.DataFrame, schema: FeatureSchema, locator: RowLocator) -> list[ContractViolation]:
    """Finds numbers that are out of their column's bounds, infinite, or not whole in a column of whole numbers."""
    violations: list[ContractViolation] = []
    for column in schema.model_inputs:
        kind = schema.columns[column]
        if kind not in ("int", "float"):
            continue
        values = frame[column].to_numpy()
        low, high = column_bounds(column)
        if _all_within(values, low, high, whole=kind == "int"):
            continue
        bad = np.isinf(values) | (values < low) | (values > high)
        rule = f"must be a finite number in [{low:g}, {high:g}]"
        if kind == "int":
            bad |= values != np.round(values)
            rule = f"must be a whole number in [{low:g}, {high:g}]"
        for rows in locator.locate(bad):
            message = f"is {values[rows.position]:g}, but {rule} ({counted(rows.n_rows, 'row')}). Let taskclf build the day again"
            violations.append(
                ContractViolation(check="values_are_in_bounds", file=rows.file, column=column, row=rows.first_row, message=message)
            )
    return violations


def _all_within(values: npt.NDArray[np.float64], low: float, high: float, *, whole: bool) -> bool:
    if len(values) == 0:
        return True
    smallest, largest = np.fmin.reduce(values), np.fmax.reduce(values)
    if np.isnan(smallest):
        return not whole
    finite = bool(np.isfinite(smallest) and np.isfinite(largest))
    return finite and bool(low <= smallest and largest <= high) and not (whole and bool((values != np.round(values)).any()))


def _counts(values: pa.ChunkedArray) -> dict[object, int]:
    return {entry["values"]: entry["counts"] for entry in values.value_counts().to_pylist()}
