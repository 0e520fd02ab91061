"""Reads feature partitions of a home into one frame, and lists violations of the data contract.

Violations are returned, not raised, so that the caller can show all of them at once. Only files that cannot be read raise. Days are listed
in `day_folders`, one daily file is read in `day_tables`, columns are defined in `feature_schema`; label spans are read in `label_store`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from taskclf_dagster.domain.data.contract_checks import ContractViolation, RowLocator, find_bound_violations, find_time_violations
from taskclf_dagster.domain.data.day_folders import find_passed_over, list_days
from taskclf_dagster.domain.data.day_tables import DayTable, read_day
from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS, SCHEMAS, WINDOW_SECONDS, FeatureSchema, SchemaVersion
from taskclf_dagster.domain.data.home_places import features_folder, windows_folder
from taskclf_dagster.domain.data.parquet_files import DataFile
from taskclf_dagster.domain.data.passed_over import describe_passed_over
from taskclf_dagster.domain.data.times import to_epoch_us
from taskclf_dagster.domain.data.window_parts import KEYS, DayRows, DaySpill, SortedDay, WindowParts, last_of_each_window, sort_day
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.errors import DataContractError, DeniedFileError, NoWindowsError, UnreadableFileError
from taskclf_dagster.home import Home

AUTO_COVERAGE = 0.9
"""Share of the days in range that the newest schema version must cover to be chosen by `auto` (contract, section 5)."""


@dataclass
class WindowReading:
    """Windows of the look-back range, with counts of what was left out of the files they came from.

    Attributes:
        schema: the one schema version that was read.
        frame: one row a window, sorted by user and time, duplicates removed: user_id and session_id (category), bucket_start_ts
            (UTC, microseconds), then the model inputs: str as category with a sorted vocabulary, bool, numbers as float64 with NaN
            for missing. None if a file was left out because of a violation, or if the windows are in parts.
        parts: the windows, if they are too many for one frame.
        violations: of the data contract.
        days: days read.
        days_of_other_versions: days in range that exist only in another schema version and are left out.
        unreadable_days: days left out because of `skip_unreadable_days`.
        raw_columns_dropped: columns starting with `raw_`, which are never read, by name with the number of files.
        duplicates_dropped: windows whose (user_id, bucket_start_ts) came again later; one in the folder of its day is kept rather than one
            in that of another.
        files: paths read, relative to the home; whole paths or URLs of those that are elsewhere.
    """

    schema: FeatureSchema
    frame: pd.DataFrame | None = None
    parts: WindowParts | None = None
    violations: list[ContractViolation] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    days_of_other_versions: list[str] = field(default_factory=list)
    unreadable_days: list[str] = field(default_factory=list)
    raw_columns_dropped: dict[str, int] = field(default_factory=dict)
    duplicates_dropped: int = 0
    files: list[str] = field(default_factory=list)

    def add(self, day: date, found: DayTable) -> None:
        """Adds what was found in one daily file; its rows are not in the frame yet."""
        self.days.append(day.isoformat())
        self.files.append(found.name)
        self.violations.extend(found.violations)
        for column in found.raw_columns:
            self.raw_columns_dropped[column] = self.raw_columns_dropped.get(column, 0) + 1

    def require(self) -> pd.DataFrame:
        """Returns the frame.

        Raises:
            DataContractError: the windows violate the data contract.
        """
        if self.frame is None or self.violations:
            raise DataContractError("windows", [violation.message for violation in self.violations])
        return self.frame


def read_windows_of_time(home: Home, *, start: datetime, end: datetime, schema_version: SchemaVersion) -> pd.DataFrame:
    """Returns the windows between two times; empty without any.

    Raises:
        DataContractError: they violate the data contract.
        UnreadableFileError: a daily file cannot be read.
    """
    try:
        reading = read_windows(home, start=start, end=end, schema_version=schema_version, skip_unreadable_days=False)
    except NoWindowsError:
        return pd.DataFrame()
    return reading.require()


def read_windows(
    home: Home,
    *,
    start: datetime,
    end: datetime,
    schema_version: Literal["auto"] | SchemaVersion,
    skip_unreadable_days: bool,
    chosen_from: datetime | None = None,
    spill: DaySpill | None = None,
    engine: Engine = LOCAL,
) -> WindowReading:
    """Reads the windows that start at or after `start` and end at or before `end`.

    Args:
        home: the taskclf home.
        start: inclusive, with a time zone.
        end: exclusive, with a time zone.
        schema_version: the version to read, or auto for the newest that covers 90 % of the days from `chosen_from` on.
        skip_unreadable_days: leave out daily files that cannot be read instead of raising.
        chosen_from: a day of the version must lie at or after this time; None for `start`.
        spill: where windows go that are too many for one part; None keeps all in one frame.
        engine: reads the days that follow once there are too many.

    Raises:
        NoWindowsError: no partition of the version lies between `chosen_from` and `end`.
        UnreadableFileError: a daily file is truncated or not parquet, and `skip_unreadable_days` is off or no day is left.
        ObjectStoreUnavailableError, DeniedFileError: an object store does not answer, or denies access; no day is left out for that.
    """
    version = _choose_version(home, chosen_from or start, end, schema_version)
    available = {each: _days_in_range(home, each, start, end) for each in SCHEMA_VERSIONS}
    partitions = available.pop(version)
    other_days = sorted({day.isoformat() for days in available.values() for day in days.keys() - partitions.keys()})
    reading = WindowReading(SCHEMAS[version], days_of_other_versions=other_days)
    tables: list[DayRows] = []
    complete = True
    for each in _read_days(_DayReader(home, reading.schema, start, end), partitions, spill, engine):
        if isinstance(each.found, UnreadableFileError):
            denied = isinstance(each.found, DeniedFileError)
            if denied or not skip_unreadable_days or (not reading.days and each.day == max(partitions)):  # no other day is left
                raise each.found
            reading.unreadable_days.append(each.day.isoformat())
            continue
        reading.add(each.day, each.found)
        complete &= each.rows is not None
        if isinstance(each.rows, DayRows):
            tables.append(each.rows)
        if spill is not None and isinstance(each.rows, SortedDay):
            spill.add(each.rows)
        if spill is not None and not spill.is_used:
            spill.take(tables, reading.schema)
    if complete and spill is not None and spill.is_used:
        reading.parts = spill.finish(reading.schema)
        reading.violations.extend(reading.parts.violations)
    elif complete and tables:
        reading.frame = _to_frame(tables, reading)
    return reading


def _choose_version(home: Home, start: datetime, end: datetime, schema_version: Literal["auto"] | SchemaVersion) -> SchemaVersion:
    """Returns the schema version to read.

    Raises:
        NoWindowsError: it has no partition in range.
    """
    days = {version: {day.isoformat() for day in _days_in_range(home, version, start, end)} for version in SCHEMA_VERSIONS}
    version = choose_schema_version(days) if schema_version == "auto" else schema_version
    if version is None or not days[version]:
        folder = windows_folder(home) if version is None else features_folder(home, version)
        passed_over = describe_passed_over(find_passed_over(home))
        raise NoWindowsError(folder, str(start.date()), str(end.date()), passed_over)
    return version


def choose_schema_version(days: dict[SchemaVersion, set[str]]) -> SchemaVersion | None:
    """Returns the newest version that covers at least 90 % of the days in range, else the one that covers most (the newest of equals)."""
    everything = set().union(*days.values())
    if not everything:
        return None
    newest_first = sorted((version for version in days if days[version]), reverse=True)
    for version in newest_first:
        if len(days[version]) >= AUTO_COVERAGE * len(everything):
            return version
    return max(newest_first, key=lambda version: (len(days[version]), version))


def _days_in_range(home: Home, version: SchemaVersion, start: datetime, end: datetime) -> dict[date, DataFile]:
    first = start.astimezone(UTC).date()
    last = (end.astimezone(UTC) - timedelta(microseconds=1)).date()
    return {day: file for day, file in list_days(home, version).items() if first <= day <= last}


class _DayRead(NamedTuple):
    """One daily file that was read.

    Attributes:
        day: of its folder.
        found: without the rows; or the error of a file that cannot be read.
        rows: those in range, in memory or on disk; None if a violation leaves none.
    """

    day: date
    found: DayTable | UnreadableFileError
    rows: DayRows | SortedDay | None


@dataclass(frozen=True)
class _DayReader:
    """Reads daily files of one schema version within a range of time."""

    home: Home
    schema: FeatureSchema
    start: datetime
    end: datetime

    def read(self, item: tuple[date, DataFile]) -> _DayRead:
        day, file = item
        try:
            found = read_day(self.home, file, day, self.schema)
        except UnreadableFileError as error:
            return _DayRead(day, error, None)
        rows = None if found.table is None else _take_range(found, found.table, self.start, self.end)
        return _DayRead(day, replace(found, table=None, of_day=found.of_day[:0]), rows)


def _read_days(reader: _DayReader, days: Mapping[date, DataFile], spill: DaySpill | None, engine: Engine) -> Iterator[_DayRead]:
    """Yields the days in order: those of one part in memory, then, if there are more, each sorted on disk by the engine."""
    left = iter(days.items())
    for item in left:
        yield reader.read(item)
        if spill is not None and spill.is_used:
            yield from engine.map(partial(_read_sorted, reader=reader, folder=spill.folder), left)


def _read_sorted(item: tuple[date, DataFile], *, reader: _DayReader, folder: Path) -> _DayRead:
    read = reader.read(item)
    return read._replace(rows=sort_day(read.rows, reader.schema, folder)) if isinstance(read.rows, DayRows) else read


def _take_range(found: DayTable, table: pa.Table, start: datetime, end: datetime) -> DayRows:
    starts = table["bucket_start_ts"].cast(pa.int64()).to_numpy()
    first, last = to_epoch_us(start), to_epoch_us(end)
    rows = np.flatnonzero((starts >= first) & (starts + WINDOW_SECONDS * 1_000_000 <= last))
    return DayRows(found.name, table if len(rows) == len(table) else table.take(rows), rows, found.of_day[rows])


def _to_frame(tables: list[DayRows], reading: WindowReading) -> pd.DataFrame:
    """Concatenates the tables, checks them and returns the frame that `WindowReading` describes; empties `tables` to save memory."""
    locator = RowLocator([(day.name, day.rows) for day in tables])
    of_day = np.concatenate([day.of_day for day in tables])
    merged = pa.concat_tables([day.table for day in tables]).unify_dictionaries()
    tables.clear()
    frame = merged.to_pandas(split_blocks=True, self_destruct=True, use_threads=False)
    del merged
    reading.violations.extend(find_time_violations(frame, locator))
    reading.violations.extend(find_bound_violations(frame, reading.schema, locator))
    frame = frame.drop(columns="bucket_end_ts")
    for column in frame.columns:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = _sorted_vocabulary(frame[column])
    kept = last_of_each_window(frame, of_day)
    reading.duplicates_dropped = len(frame) - len(kept)
    frame = frame[list(dict.fromkeys((*KEYS, *reading.schema.model_inputs)))]
    if np.array_equal(kept, np.arange(len(frame))):
        return frame
    return frame.take(kept).reset_index(drop=True)


def _sorted_vocabulary(values: pd.Series) -> pd.Series:
    """Returns the values with only the categories that occur, in sorted order, so that codes do not depend on the file layout."""
    used = values.cat.remove_unused_categories()
    ordered = sorted(used.cat.categories)
    return used if list(used.cat.categories) == ordered else used.cat.set_categories(ordered)
