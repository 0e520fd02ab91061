"""Reads feature partitions of a home into one frame, and lists what breaks the data contract.

Violations are findings, not errors: the caller shows them all at once. Only files that cannot be read raise. What columns mean is
said in `features`; labels are read by `labels`.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.contract_checks import (
    Finding,
    Origin,
    find_bound_problems,
    find_column_problems,
    find_null_problems,
    find_time_problems,
    find_version_problems,
)
from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, SCHEMA_VERSIONS, SCHEMAS, WINDOW_SECONDS, FeatureSchema, SchemaVersion
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us
from taskclf_dagster.errors import NoWindowsError, UnreadableFileError
from taskclf_dagster.home import Home

AUTO_COVERAGE = 0.9
"""Share of the days in range that the newest schema version must cover to be chosen by `auto` (contract, section 5)."""


@dataclass
class WindowReading:
    """Windows of the look-back range, with everything worth telling about the files they came from.

    Attributes:
        schema: the one schema version that was read.
        frame: one row a window, sorted by user and time, duplicates removed: user_id and session_id (category), bucket_start_ts
            (UTC, microseconds), then the model inputs: str as category with a sorted vocabulary, bool, numbers as float64 with NaN
            for missing. None if any file had to be left out because of a finding.
        findings: violations of the data contract.
        days: days read.
        days_of_other_versions: days in range that exist only in another schema version and are left out.
        unreadable_days: days left out because of `skip_unreadable_days`.
        raw_columns_dropped: columns starting with `raw_`, which are never read, by name with the number of files.
        duplicates_dropped: windows whose (user_id, bucket_start_ts) came again later.
        files: paths read, relative to the home.
    """

    schema: FeatureSchema
    frame: pd.DataFrame | None = None
    findings: list[Finding] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    days_of_other_versions: list[str] = field(default_factory=list)
    unreadable_days: list[str] = field(default_factory=list)
    raw_columns_dropped: dict[str, int] = field(default_factory=dict)
    duplicates_dropped: int = 0
    files: list[str] = field(default_factory=list)


def read_windows(
    home: Home,
    *,
    start: datetime,
    end: datetime,
    schema_version: Literal["auto"] | SchemaVersion,
    skip_unreadable_days: bool,
) -> WindowReading:
    """Reads the windows that start at or after `start` and end at or before `end`.

    Args:
        home: the taskclf home.
        start: inclusive, with a time zone.
        end: exclusive, with a time zone.
        schema_version: the version to read, or auto for the newest that covers 90 % of the days in range.
        skip_unreadable_days: leave out daily files that cannot be read instead of raising.

    Raises:
        NoWindowsError: no partition of the version lies in range.
        UnreadableFileError: a daily file is truncated or not parquet, and `skip_unreadable_days` is off or no day is left.
    """
    available = {version: _partitions(home.features(version), start, end) for version in SCHEMA_VERSIONS}
    version = choose_schema_version({v: set(days) for v, days in available.items()}) if schema_version == "auto" else schema_version
    partitions = available.get(version or "v1", {})
    if version is None or not partitions:
        folder = home.processed if version is None else home.features(version)
        raise NoWindowsError(folder, str(start.date()), str(end.date()))
    reading = WindowReading(SCHEMAS[version])
    elsewhere = {day for days in available.values() for day in days} - set(partitions)
    reading.days_of_other_versions = sorted(elsewhere)
    tables: list[tuple[str, pa.Table, npt.NDArray[np.int64]]] = []
    for day, path in sorted(partitions.items()):
        name = str(path.relative_to(home.root))
        try:
            table = _read_partition(path, name, reading)
        except UnreadableFileError:
            if not skip_unreadable_days or (not reading.days and day == max(partitions)):  # nothing is left to go on with
                raise
            reading.unreadable_days.append(day)
            continue
        reading.days.append(day)
        reading.files.append(name)
        if table is not None:
            rows = _rows_in_range(table, start, end)
            tables.append((name, table if len(rows) == len(table) else table.take(rows), rows))
    if tables and len(tables) == len(reading.days):
        reading.frame = _to_frame(tables, reading)
    return reading


def choose_schema_version(days: dict[SchemaVersion, set[str]]) -> SchemaVersion | None:
    """The newest version that covers at least 90 % of the days in range, else the one that covers most (the newest of equals)."""
    everything = set().union(*days.values())
    if not everything:
        return None
    newest_first = sorted((version for version in days if days[version]), reverse=True)
    for version in newest_first:
        if len(days[version]) >= AUTO_COVERAGE * len(everything):
            return version
    return max(newest_first, key=lambda version: (len(days[version]), version))


def _partitions(folder: Path, start: datetime, end: datetime) -> dict[str, Path]:
    first = start.astimezone(UTC).date()
    last = (end.astimezone(UTC) - timedelta(microseconds=1)).date()
    days: dict[str, Path] = {}
    for path in folder.glob("date=*/features.parquet"):
        try:
            day = date.fromisoformat(path.parent.name.removeprefix("date="))
        except ValueError:
            continue
        if first <= day <= last:
            days[day.isoformat()] = path
    return days


def _read_partition(path: Path, name: str, reading: WindowReading) -> pa.Table | None:
    """The needed columns of one daily file in canonical arrow types, or None if a finding forbids it."""
    schema = reading.schema
    strings = [column for column in schema.required_columns if schema.columns[column] == "str"]
    try:
        present = pq.read_schema(path)
        for column in (c for c in present.names if c.startswith("raw_")):
            reading.raw_columns_dropped[column] = reading.raw_columns_dropped.get(column, 0) + 1
        problems = find_column_problems(present, schema, name)
        if problems:
            reading.findings.extend(problems)
            return None
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            table = file.read(columns=list(schema.required_columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        fix = "Let taskclf write the day again, or set skip_unreadable_days to use the other days"
        raise UnreadableFileError(path, str(error).strip().split("\n")[0], fix) from error
    problems = [*find_version_problems(table, schema, name), *find_null_problems(table, schema, name)]
    reading.findings.extend(problems)
    return None if problems else _canonical(table, schema)


def _canonical(table: pa.Table, schema: FeatureSchema) -> pa.Table:
    """Model inputs and keys as dictionary<string>, float64, bool and timestamp[us, UTC]; row schema columns are dropped."""
    columns: dict[str, pa.ChunkedArray] = {}
    for column in schema.required_columns:
        values = table[column]
        if column in ("schema_version", "schema_hash"):
            continue
        match schema.columns[column]:
            case "str":
                values = _as_dictionary(values)
            case "datetime":
                zone = values.type.tz or "UTC"
                values = values.cast(pa.timestamp("us", tz=zone), safe=False).cast(pa.timestamp("us", tz="UTC"))
            case "int" | "float":
                values = values.cast(pa.float64())
            case _:
                pass
        columns[column] = values
    if "user_id" not in columns:
        columns["user_id"] = pa.chunked_array([pa.repeat(pa.scalar(DEFAULT_USER), len(table)).dictionary_encode()])
    return pa.table(columns)


def _rows_in_range(table: pa.Table, start: datetime, end: datetime) -> npt.NDArray[np.int64]:
    starts = table["bucket_start_ts"].cast(pa.int64()).to_numpy()
    first, last = to_epoch_us(start), to_epoch_us(end)
    return np.flatnonzero((starts >= first) & (starts + WINDOW_SECONDS * 1_000_000 <= last))


def _to_frame(tables: list[tuple[str, pa.Table, npt.NDArray[np.int64]]], reading: WindowReading) -> pd.DataFrame:
    origin = Origin([(name, rows) for name, _, rows in tables])
    merged = pa.concat_tables([table for _, table, _ in tables]).unify_dictionaries()
    tables.clear()
    frame = merged.to_pandas(split_blocks=True, self_destruct=True, use_threads=False)
    del merged
    reading.findings.extend(find_time_problems(frame, origin))
    reading.findings.extend(find_bound_problems(frame, reading.schema, origin))
    frame = frame.drop(columns="bucket_end_ts")
    for column in frame.columns:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = _sorted_vocabulary(frame[column])
    order = np.lexsort((epoch_us(frame["bucket_start_ts"]), frame["user_id"].cat.codes.to_numpy()))
    users = frame["user_id"].cat.codes.to_numpy()[order]
    starts = epoch_us(frame["bucket_start_ts"])[order]
    last_of_key = np.ones(len(order), dtype=bool)
    last_of_key[:-1] = (users[1:] != users[:-1]) | (starts[1:] != starts[:-1])
    reading.duplicates_dropped = int((~last_of_key).sum())
    keys = ["user_id", "session_id", "bucket_start_ts"]
    frame = frame[[*keys, *(c for c in reading.schema.model_inputs if c not in keys)]]
    kept = order[last_of_key]
    if np.array_equal(kept, np.arange(len(frame))):
        return frame
    return frame.take(kept).reset_index(drop=True)


def _as_dictionary(values: pa.ChunkedArray) -> pa.ChunkedArray:
    target = pa.dictionary(pa.int32(), pa.string())
    if values.type == target:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()).dictionary_encode()


def _sorted_vocabulary(values: pd.Series) -> pd.Series:
    """The same values with categories that occur, in sorted order, so that codes do not depend on the file layout."""
    used = values.cat.remove_unused_categories()
    ordered = sorted(used.cat.categories)
    return used if list(used.cat.categories) == ordered else used.cat.set_categories(ordered)
