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

from taskclf_dagster.domain.data.contract_checks import ContractViolation, DataCheck, has_type
from taskclf_dagster.domain.data.feature_schema import LABELS, ColumnType
from taskclf_dagster.domain.data.label_fingerprints import fingerprint_spans, watermark
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

WEAK_PREFIX = "weak:"


SYNTHETIC = "synthetic"


_REQUIRED: dict[str, ColumnType] = {"start_ts": "datetime", "end_ts": "datetime", "label": "str", "provenance": "str"}


_OPTIONAL: dict[str, ColumnType] = {"user_id": "str", "confidence": "float", "extend_forward": "bool"}


@dataclass
class LabelReading:
    """Spans of the label store.

    Attributes:
        spans: one row per span that starts before the as-of time: start_us and end_us (microseconds since 1970, end exclusive), label
            (index into LABELS, -1 where unknown), gold (bool), provenance, user_id (null: every user), extend_forward (bool).
        violations: of the data contract by spans that touch the look-back range.
        fingerprints: sorted 64-bit hash of every span in the file: the content of the store, whatever its layout.
    """

    spans: pd.DataFrame
    violations: list[ContractViolation] = field(default_factory=list)
    fingerprints: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))


def read_label_spans(home: Home, *, start: datetime, end: datetime) -> LabelReading:
    """Reads the label store; a file that is absent or has no columns means no labels.

    Args:
        home: the taskclf home.
        start: spans that end before this are kept but not checked.
        end: the as-of time; spans that start at or after it are left out.

    Raises:
        UnreadableFileError: the file exists but is not readable parquet.
    """
    table = _read_table(home.labels)
    name = str(home.labels.relative_to(home.root))
    if table is None or not table.column_names:
        return LabelReading(_empty_spans())
    violations = _find_column_violations(table, name)
    if violations:
        return LabelReading(_empty_spans(), violations)
    columns = _canonical(table)
    violations, rows = _find_span_violations(columns, name, start, end)
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
    return LabelReading(spans[rows].reset_index(drop=True), violations, fingerprint_spans(columns))


def is_gold(provenance: pd.Series) -> pd.Series:
    """Returns True for gold labels, those given by a person: every provenance but `weak:*` and `synthetic`."""
    return ~(provenance.str.startswith(WEAK_PREFIX) | (provenance == SYNTHETIC))


def read_fingerprints(home: Home) -> npt.NDArray[np.uint64]:
    """Reads the label store and returns the sorted fingerprints of its spans; empty if there are no labels or columns are missing.

    Raises:
        UnreadableFileError: the file exists but is not readable parquet.
    """
    table = _read_table(home.labels)
    if table is None or not table.column_names or _find_column_violations(table, ""):
        return np.empty(0, dtype=np.uint64)
    return fingerprint_spans(_canonical(table))


def present_watermark(home: Home) -> str | None:
    """Reads the label store and returns its watermark, which names its content; None if it cannot be read."""
    try:
        return watermark(read_fingerprints(home))
    except UnreadableFileError:
        return None


def _read_table(path: Path) -> pa.Table | None:
    if not path.exists():
        return None
    try:
        with pq.ParquetFile(path) as file:
            wanted = [name for name in (*_REQUIRED, *_OPTIONAL) if name in file.schema_arrow.names]
            return file.read(columns=wanted).replace_schema_metadata(None) if file.schema_arrow.names else pa.table({})
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UnreadableFileError(path, reason, "Restore the label store from taskclf or a backup") from error


def _find_column_violations(table: pa.Table, name: str) -> list[ContractViolation]:
    violations = []
    for column, kind in {**_REQUIRED, **_OPTIONAL}.items():
        if column not in table.column_names:
            if column in _OPTIONAL:
                continue
            message = f"is missing; a label store needs it as {kind}. Export the labels from taskclf again"
        else:
            found = table.schema.field(column).type
            if has_type(found, kind) or (column in _OPTIONAL and pa.types.is_null(found)):
                continue
            message = f"has type {found}, but a label store needs {kind}. Export the labels from taskclf again"
        violations.append(ContractViolation(check="columns_are_complete_and_typed", file=name, column=column, row=None, message=message))
    return violations


def _canonical(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    result = pd.DataFrame(index=frame.index)
    for column in ("start", "end"):
        moment = frame[f"{column}_ts"]
        moment = moment.dt.tz_localize("UTC") if moment.dt.tz is None else moment
        filled = moment.fillna(pd.Timestamp(0, tz="UTC"))
        result[f"{column}_us"] = epoch_us(filled)
        result[f"{column}_is_null"] = moment.isna()
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
    """Finds violations of the spans that touch the range; the mask is of spans that are usable and start before its end."""
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
                "start": pd.Timestamp(int(starts[row]), unit="us", tz="UTC").isoformat(),
                "end": pd.Timestamp(int(ends[row]), unit="us", tz="UTC").isoformat(),
            }
            violations.append(ContractViolation(check=check, file=name, column=column, row=int(row), message=describe.format(**values)))

    report("values_are_in_bounds", "start_ts", null, "start_ts, end_ts, label and provenance must not be null. Delete or complete the span")
    report("labels_are_in_the_label_set", "label", unknown, f"is {{label!r}}, but must be one of {', '.join(LABELS)}. Relabel the span")
    rule = "ends at {end}, but must end after its start {start} (at its start only with extend_forward). Correct or delete the span"
    report("spans_end_after_they_start", "end_ts", backwards, rule)
    rule = "is {confidence:g}, but must be null or in [0, 1]. Correct the span"
    report("values_are_in_bounds", "confidence", outside, rule)
    return violations, ~null & ~unknown & ~backwards & (starts < last)


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
