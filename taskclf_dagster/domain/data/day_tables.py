"""Reads one daily file: its rows as an arrow table of canonical types, or its violations of the data contract.

The days of a look-back are joined in `windows`.
"""

from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.column_checks import REBUILD, find_column_violations, find_text_violations
from taskclf_dagster.domain.data.contract_checks import (
    ContractViolation,
    find_absurd_times,
    find_day_violations,
    find_null_violations,
    find_version_violations,
)
from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, FeatureSchema
from taskclf_dagster.domain.data.home_places import show_place
from taskclf_dagster.domain.data.parquet_files import DataFile, opening_parquet, path_of
from taskclf_dagster.domain.data.times import DAY_US, EpochTimes, read_epoch_times
from taskclf_dagster.home import Home

_TIMES = ("bucket_start_ts", "bucket_end_ts")
_FIX = "Let taskclf write the day again, or set skip_unreadable_days to use the other days"


@dataclass
class DayTable:
    """The rows of one daily file.

    Attributes:
        name: path of the file, relative to the home; the whole path or URL of one that is elsewhere.
        table: strings as dictionary<string>, numbers as float64, bool, times as timestamp[us, UTC]; with a user_id in every version. None
            if a violation leaves nothing to check further.
        of_day: True for rows that start on the UTC day of the folder, shape (rows,).
        violations: of the data contract, but for those that are found in the joined frame.
        raw_columns: names of the columns that start with `raw_`, which are never read.
    """

    name: str
    table: pa.Table | None = None
    of_day: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    violations: list[ContractViolation] = field(default_factory=list)
    raw_columns: list[str] = field(default_factory=list)


def read_day(home: Home, file: DataFile, day: date, schema: FeatureSchema) -> DayTable:
    """Reads the needed columns of a daily file, and checks columns, versions, nulls, text and the day of every row.

    Raises:
        UnreadableFileError: it is truncated, not parquet, or no regular file.
        ObjectStoreUnavailableError: it is in an object store that does not answer.
    """
    result = DayTable(show_place(home, path_of(file)))
    with opening_parquet(file, fix=_FIX) as source:
        metadata = pq.read_metadata(source)
        present = metadata.schema.to_arrow_schema()
        result.raw_columns = sorted({column for column in present.names if column.startswith("raw_")})
        result.violations = find_column_violations(present, schema, result.name)
        if result.violations:
            return result
        strings = [column for column in schema.required_columns if schema.columns[column] == "str"]
        with pq.ParquetFile(source, metadata=metadata, read_dictionary=strings) as parquet:
            table = parquet.read(columns=list(schema.required_columns), use_threads=False)
        _check(table, day, schema, result)
    return result


def _check(table: pa.Table, day: date, schema: FeatureSchema, result: DayTable) -> None:
    """Adds the violations of the rows to the result, and the rows unless they cannot be checked further."""
    strings = [column for column in schema.required_columns if schema.columns[column] == "str"]
    unreadable = find_text_violations(table, strings, result.name, fix=REBUILD)
    times = {column: read_epoch_times(table[column]) for column in _TIMES}
    result.violations = unreadable or [
        *find_version_violations(table, schema, result.name),
        *find_null_violations(table, schema, result.name),
        *find_absurd_times(times, result.name, REBUILD),
    ]
    if not result.violations:
        result.of_day = times["bucket_start_ts"].us // DAY_US == (day - date(1970, 1, 1)).days
        result.violations = find_day_violations(times["bucket_start_ts"].us, result.of_day, day, result.name)
        result.table = _canonical(table, times, schema)


def _canonical(table: pa.Table, times: dict[str, EpochTimes], schema: FeatureSchema) -> pa.Table:
    """Casts model inputs and keys to their canonical types, and drops the row schema columns."""
    columns: dict[str, pa.ChunkedArray] = {}
    for column in schema.required_columns:
        values = _decode_numbers(table[column])
        if column in ("schema_version", "schema_hash"):
            continue
        match schema.columns[column]:
            case "str":
                values = _as_dictionary(values)
            case "datetime":
                values = pa.chunked_array([pa.array(times[column].us).view(pa.timestamp("us", tz="UTC"))])
            case "int" | "float":
                values = values.cast(pa.float64(), safe=False)  # a whole number beyond 2**53 is the nearest double
            case _:
                pass
        columns[column] = values
    if "user_id" not in columns:
        columns["user_id"] = pa.chunked_array([pa.repeat(pa.scalar(DEFAULT_USER), len(table)).dictionary_encode()])
    return pa.table(columns)


def _decode_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column with its values instead of codes for them; columns of text stay as they are."""
    encoded = pa.types.is_dictionary(values.type) and not pa.types.is_string(values.type.value_type)
    return values.cast(values.type.value_type) if encoded else values


def _as_dictionary(values: pa.ChunkedArray) -> pa.ChunkedArray:
    target = pa.dictionary(pa.int32(), pa.string())
    if values.type == target:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()).dictionary_encode()
