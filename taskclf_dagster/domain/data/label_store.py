"""Reads the label store: label spans, and their violations of the data contract.

Spans are projected onto windows in `label_projection`. The store belongs to taskclf; nothing here writes it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.column_checks import column_violation, find_column_problem, find_text_violations
from taskclf_dagster.domain.data.contract_checks import ContractViolation, DataCheck, find_absurd_times
from taskclf_dagster.domain.data.feature_schema import LABELS, ColumnType
from taskclf_dagster.domain.data.label_fingerprints import fingerprint_spans, watermark
from taskclf_dagster.domain.data.parquet_files import may_exist, reading_parquet
from taskclf_dagster.domain.data.times import EpochTimes, read_epoch_times, show_epoch_us, to_epoch_us
from taskclf_dagster.errors import LabelColumnsError, UnreadableFileError
from taskclf_dagster.home import Home

WEAK_PREFIX = "weak:"


SYNTHETIC = "synthetic"


_REQUIRED: dict[str, ColumnType] = {"start_ts": "datetime", "end_ts": "datetime", "label": "str", "provenance": "str"}


_OPTIONAL: dict[str, ColumnType] = {"user_id": "str", "confidence": "float", "extend_forward": "bool"}


_COLUMNS = {**_REQUIRED, **_OPTIONAL}


_TIMES = ("start_ts", "end_ts")


_FIX = "Export the labels from taskclf again"


@dataclass
class LabelReading:
    """Spans of the label store.

    Attributes:
        spans: one row per span that starts before the as-of time: start_us and end_us (microseconds since 1970, end exclusive), label
            (index into LABELS, -1 where unknown), gold (bool), provenance, user_id (null: every user), extend_forward (bool).
        violations: of the data contract by spans that touch the look-back range.
        damaged: True if violations of the columns leave no span to read.
        invalid: number of spans that are left out because of their values, in the look-back range or before it.
        later: number of spans that are left out because they start at or after the as-of time.
        fingerprints: sorted 64-bit hash of every span in the file: the content of the store, whatever its layout.
    """

    spans: pd.DataFrame
    violations: list[ContractViolation] = field(default_factory=list)
    damaged: bool = False
    invalid: int = 0
    later: int = 0
    fingerprints: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))


def find_store(home: Home) -> Path:
    """Returns the file of the label store, for those who look at its stamp."""
    return home.labels


def read_label_spans(home: Home, *, start: datetime, end: datetime) -> LabelReading:
    """Reads the label store; a file that is absent or has no columns means no labels.

    Args:
        home: the taskclf home.
        start: spans that end before this are kept but not checked.
        end: the as-of time; spans that start at or after it are left out.

    Raises:
        UnreadableFileError: the file exists but is not readable parquet.
    """
    columns, violations = _read_store(home)
    if columns is None:
        return LabelReading(_empty_spans(), violations, damaged=bool(violations))
    found, usable = _find_span_violations(columns, str(home.labels.relative_to(home.root)), start, end)
    earlier = columns["start_us"].to_numpy() < to_epoch_us(end)
    spans = pd.DataFrame(
        {
            "start_us": columns["start_us"],
            "end_us": columns["end_us"],
            "label": pd.Index(LABELS).get_indexer(columns["label"]).astype(np.int8),
            "gold": is_gold(columns["provenance"]),
            "provenance": columns["provenance"],
            "user_id": columns["user_id"],
            "extend_forward": columns["extend_forward"],
        }
    )
    return LabelReading(
        spans[usable & earlier].reset_index(drop=True),
        [*violations, *found],
        invalid=int((earlier & ~usable).sum()),
        later=int((~earlier).sum()),
        fingerprints=fingerprint_spans(columns),
    )


def read_usable_spans(home: Home, *, start: datetime, end: datetime) -> pd.DataFrame:
    """Returns the spans that `read_label_spans` reads; those that violate the data contract are left out.

    Raises:
        LabelColumnsError: the columns of its spans are damaged.
        UnreadableFileError: the file exists but is not readable parquet.
    """
    reading = read_label_spans(home, start=start, end=end)
    if reading.damaged:
        raise _columns_error(home, reading.violations[0])
    return reading.spans


def is_gold(provenance: pd.Series) -> pd.Series:
    """Returns True for gold labels, those given by a person: every provenance but `weak:*` and `synthetic`."""
    return ~(provenance.str.startswith(WEAK_PREFIX) | (provenance == SYNTHETIC))


def read_fingerprints(home: Home) -> npt.NDArray[np.uint64]:
    """Reads the label store and returns the sorted fingerprints of its spans; empty if there are no labels.

    Raises:
        LabelColumnsError: the columns of its spans are damaged.
        UnreadableFileError: the file exists but is not readable parquet.
    """
    columns, violations = _read_store(home)
    for violation in violations:
        raise _columns_error(home, violation)
    return np.empty(0, dtype=np.uint64) if columns is None else fingerprint_spans(columns)


def _columns_error(home: Home, violation: ContractViolation) -> LabelColumnsError:
    return LabelColumnsError(home.labels, f"its column {violation.column} {violation.message.removesuffix(_FIX)}".rstrip(), _FIX)


def present_watermark(home: Home) -> str | None:
    """Reads the label store and returns its watermark, which names its content; None if it cannot be read."""
    try:
        return watermark(read_fingerprints(home))
    except UnreadableFileError:
        return None


def _read_store(home: Home) -> tuple[pd.DataFrame | None, list[ContractViolation]]:
    """Reads the columns of all spans; None if there are no labels, or the violations of its columns leave nothing to read."""
    path, name = home.labels, str(home.labels.relative_to(home.root))
    if not may_exist(path):
        return None, []
    with reading_parquet(path, fix="Restore the label store from taskclf or a backup"), pq.ParquetFile(path) as file:
        present = file.schema_arrow
        violations = _find_column_violations(present, name) if present.names else []
        if violations or not present.names:
            return None, violations
        table = file.read(columns=[column for column in _COLUMNS if column in present.names]).replace_schema_metadata(None)
        times = {column: read_epoch_times(table[column]) for column in _TIMES}
        texts = [column for column, kind in _COLUMNS.items() if kind == "str" and column in table.column_names]
        violations = [*find_text_violations(table, texts, name, fix=_FIX), *find_absurd_times(times, name, _FIX)]
        return (None if violations else _canonical(table, times)), violations


def _find_column_violations(present: pa.Schema, name: str) -> list[ContractViolation]:
    violations = []
    for column, kind in _COLUMNS.items():
        stored = [present.field(index).type for index in present.get_all_field_indices(column)]
        if column in _OPTIONAL and (not stored or stored == [pa.null()]):
            continue
        problem = find_column_problem(present, column, kind, needs="a label store needs")
        if problem is not None:
            violations.append(column_violation(name, column, f"{problem}. {_FIX}"))
    return violations


def _canonical(table: pa.Table, times: dict[str, EpochTimes]) -> pd.DataFrame:
    frame = table.drop_columns(list(_TIMES)).to_pandas()
    result = pd.DataFrame(index=frame.index)
    for column in _TIMES:
        part = column.removesuffix("_ts")
        result[f"{part}_us"] = times[column].us
        result[f"{part}_is_null"] = table[column].is_null().to_numpy()
    for column in ("label", "provenance", "user_id"):
        given = column in frame and frame[column].notna().any()
        result[column] = frame[column].astype("str") if given else pd.Series(None, frame.index, "str")
    result["confidence"] = frame["confidence"].astype("float64") if "confidence" in frame else np.nan
    forward = frame["extend_forward"] if "extend_forward" in frame else pd.Series(False, frame.index)
    result["extend_forward"] = forward.astype("boolean").fillna(value=False).astype(bool)
    return result


def _find_span_violations(
    columns: pd.DataFrame, name: str, start: datetime, end: datetime
) -> tuple[list[ContractViolation], npt.NDArray[np.bool_]]:
    """Finds violations of the spans that touch the range; the mask is of spans that can be projected, whatever the range."""
    first, last = to_epoch_us(start), to_epoch_us(end)
    starts, ends = columns["start_us"].to_numpy(), columns["end_us"].to_numpy()
    timeless = (columns["start_is_null"] | columns["end_is_null"]).to_numpy()
    null = timeless | (columns["label"].isna() | columns["provenance"].isna()).to_numpy()
    checked = timeless | ((starts < last) & (np.maximum(starts, ends) >= first))
    unknown = ~columns["label"].isin(LABELS).to_numpy() & ~null
    forward = columns["extend_forward"].to_numpy()
    backwards = ((ends < starts) | ((ends == starts) & ~forward)) & ~null
    confidence = columns["confidence"].to_numpy()
    outside = (confidence < 0) | (confidence > 1)
    violations: list[ContractViolation] = []

    def report(check: DataCheck, column: str, bad: npt.NDArray[np.bool_], describe: str) -> None:
        for row in np.flatnonzero(bad & checked):
            values = {
                "label": columns["label"].iloc[row],
                "confidence": confidence[row],
                "start": show_epoch_us(int(starts[row])),
                "end": show_epoch_us(int(ends[row])),
            }
            violations.append(ContractViolation(check=check, file=name, column=column, row=int(row), message=describe.format(**values)))

    report("values_are_in_bounds", "start_ts", null, "start_ts, end_ts, label and provenance must not be null. Delete or complete the span")
    report("labels_are_in_the_label_set", "label", unknown, f"is {{label!r}}, but must be one of {', '.join(LABELS)}. Relabel the span")
    rule = "ends at {end}, but must end after its start {start} (at its start only with extend_forward). Correct or delete the span"
    report("spans_end_after_they_start", "end_ts", backwards, rule)
    rule = "is {confidence:g}, but must be null or in [0, 1]. Correct the span"
    report("values_are_in_bounds", "confidence", outside, rule)
    return violations, ~null & ~unknown & ~backwards


def _empty_spans() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "start_us": pd.Series(dtype="int64"),
            "end_us": pd.Series(dtype="int64"),
            "label": pd.Series(dtype="int8"),
            "gold": pd.Series(dtype="bool"),
            "provenance": pd.Series(dtype="str"),
            "user_id": pd.Series(dtype="str"),
            "extend_forward": pd.Series(dtype="bool"),
        }
    )
