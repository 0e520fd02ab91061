"""The parts of which metadata are made: tables, plotted numbers, gates as check results. Dagster concept: metadata.

Add a part here when two assets show it; the metadata of an asset is in the module named after it. Numbers are rounded for display only;
nothing is computed that a decision depends on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.decision.comparative_gates import is_strict
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.evaluation.unusual_days import UnusualDay, describe_unusual_days
from taskclf_dagster.shown_text import show_block, show_line

DECIMALS = 4


UPPER_BOUNDS = frozenset({"negative_flips"})
"""Gates whose observed value must be at most the threshold."""


Cell = str | int | float | bool | None


def table(rows: Sequence[Mapping[str, Cell]]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """Returns a metadata table with the columns of the first row; the text "none" without rows."""
    if not rows:
        return dg.MetadataValue.text("none")
    kinds = {name: _column_kind(row[name] for row in rows) for name in rows[0]}
    schema = dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in kinds.items()])
    records = [dg.TableRecord({name: _shown(value, kinds[name]) for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records, schema=schema)


def make_result_showable(result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    """Returns a check result whose description and metadata are safe to show."""
    return dg.AssetCheckResult(
        passed=result.passed,
        asset_key=result.asset_key,
        check_name=result.check_name,
        severity=result.severity,
        description=None if result.description is None else show_block(result.description),
        metadata=make_showable(result.metadata),
    )


def make_showable(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns metadata whose texts, paths and markdown are safe to show (`shown_text`)."""
    return {name: _make_showable(value) for name, value in metadata.items()}


def _make_showable(value: Any) -> Any:
    if isinstance(value, str):
        return show_block(value)
    if isinstance(value, dg.TextMetadataValue):
        return dg.MetadataValue.text(show_block(value.text or ""))
    if isinstance(value, dg.MarkdownMetadataValue):
        return dg.MetadataValue.md(show_block(value.md_str or ""))
    if isinstance(value, dg.PathMetadataValue):
        return dg.MetadataValue.path(show_line(value.path or ""))
    return value


def column_schema(schema_version: str, extra: Mapping[str, str]) -> dg.TableSchema:
    """Returns the columns of labeled windows or a snapshot, with their types in the data contract."""
    schema = next(schema for version, schema in SCHEMAS.items() if version == schema_version)
    names = dict.fromkeys(("user_id", "session_id", "bucket_start_ts", *schema.model_inputs))
    columns = [
        dg.TableColumn(name, schema.columns.get(name, "str"), description="model input" if name in schema.model_inputs else "identity")
        for name in names
    ]
    return dg.TableSchema(columns=[*columns, *(dg.TableColumn(name, description=text) for name, text in extra.items())])


def class_distribution_table(distribution: Mapping[str, Mapping[str, int]]) -> dg.MetadataValue:
    """Returns a table with a row for each label, a column for each split or tier, and the sum."""
    return table(
        [
            {
                "label": label,
                **{name: counts[label] for name, counts in distribution.items()},
                "all": sum(c[label] for c in distribution.values()),
            }
            for label in LABELS
        ]
    )


def counts_table(counts: Mapping[str, int], name: str) -> dg.MetadataValue:
    """Returns a mapping of names to counts as a table."""
    return table([{name: key, "windows": value} for key, value in counts.items()])


def gate_table(gates: Sequence[RegressionGate]) -> dg.MetadataValue:
    """Returns a table with a row for each gate: status, observed value, needed value. The check of the same name has the description.

    Names have spaces, so that they wrap and the table fits Dagster's page.
    """
    return table(
        [
            {
                "gate": gate.name.replace("_", " "),
                "verdict": "n/a" if gate.status == "NOT_APPLICABLE" else gate.status,
                "observed": format_metric(gate.observed),
                "needed": format_needed(gate),
            }
            for gate in gates
        ]
    )


def gate_check(gate: RegressionGate, *, more: Mapping[str, dg.MetadataValue] | None = None) -> dg.AssetCheckResult:
    """Returns a gate as a check result, which fails unless the gate passes or does not apply. It never blocks: a rejection is a result."""
    metadata: dict[str, Any] = {"verdict": gate.status, "unit": gate.unit, **(more or {})}
    if gate.observed is not None:
        metadata["observed"] = round(gate.observed, DECIMALS)
    if isinstance(gate.threshold, float):
        metadata["threshold"] = gate.threshold
    elif gate.threshold is not None:
        metadata |= {"threshold_low": gate.threshold[0], "threshold_high": gate.threshold[1]}
    return dg.AssetCheckResult(
        check_name=gate.name,
        passed=gate.status in ("PASS", "NOT_APPLICABLE"),
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{gate.status}: {gate.detail}",
        metadata=metadata,
    )


def unusual_days_check(name: str, days: Sequence[UnusualDay]) -> dg.AssetCheckResult:
    """Returns the check of advice that fails if there are such days; it names user and day."""
    return dg.AssetCheckResult(
        passed=not days,
        check_name=name,
        severity=dg.AssetCheckSeverity.WARN,
        description=show_block(describe_unusual_days(days)) or "None is.",
        metadata={"days": len(days)},
    )


def format_needed(gate: RegressionGate) -> str:
    """Returns the threshold of a gate with its direction, such as `at least 0.65`; a dash if there is none."""
    if not isinstance(gate.threshold, float):
        return format_threshold(gate.threshold)
    direction = "at most" if gate.name in UPPER_BOUNDS else "above" if is_strict(gate) else "at least"
    or_champion = "" if gate.beside is None else f", or the champion's {format_metric(gate.beside.champion)}"
    return f"{direction} {format_threshold(gate.threshold)}{or_champion}"


def format_threshold(threshold: float | tuple[float, float] | None) -> str:
    """Returns a threshold as text: a number, a range, or a dash."""
    if threshold is None:
        return "-"
    return f"{threshold:.4g}" if isinstance(threshold, float) else f"{threshold[0]:g}..{threshold[1]:g}"


def plotted(**values: float | None) -> dict[str, float]:
    """Returns numbers that Dagster plots over time, without the missing ones."""
    return {name: round(float(value), DECIMALS) for name, value in values.items() if value is not None}


def format_metric(value: float | None) -> str:
    """Returns a metric with four decimals; a dash if it is undefined."""
    return "-" if value is None else f"{value:.4f}"


def _column_kind(values: Iterable[Cell]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int"
    return "float" if kinds <= {int, float} else "string"


def _shown(value: Cell, kind: str) -> str | int | float | bool:
    return show_line(str(value)) if kind == "string" or value is None else value
