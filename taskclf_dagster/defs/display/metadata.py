"""Turns records into Dagster metadata: tables, words, and numbers that Dagster plots over time. Pictures are drawn in `pictures`.

Nothing is computed here that a decision depends on; numbers are rounded for showing only.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from taskclf_dagster.defs.display.pictures import importance_picture
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.models.challenger import ChallengerModel

TOP_FEATURES = 15


Cell = str | int | float | bool | None


def table(rows: Sequence[Mapping[str, Cell]]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """A metadata table; columns are those of the first row."""
    if not rows:
        return dg.MetadataValue.text("none")
    kinds = {name: _column_kind(row[name] for row in rows) for name in rows[0]}
    schema = dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in kinds.items()])
    records = [dg.TableRecord({name: _shown(value, kinds[name]) for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records, schema=schema)


def column_schema(schema_version: str, extra: Mapping[str, str]) -> dg.TableSchema:
    """Columns of labeled windows or a snapshot, with the logical type of the contract."""
    schema = next(schema for version, schema in SCHEMAS.items() if version == schema_version)
    names = dict.fromkeys(("user_id", "session_id", "bucket_start_ts", *schema.model_inputs))
    columns = [
        dg.TableColumn(name, schema.columns.get(name, "str"), description="model input" if name in schema.model_inputs else "identity")
        for name in names
    ]
    return dg.TableSchema(columns=[*columns, *(dg.TableColumn(name, description=text) for name, text in extra.items())])


def class_distribution_table(distribution: Mapping[str, Mapping[str, int]]) -> dg.MetadataValue:
    """One row a label, one column a split or tier, and the sum."""
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
    """A mapping of names to counts as a table."""
    return table([{name: key, "windows": value} for key, value in counts.items()])


def per_class_table(report: EvaluationReport) -> dg.MetadataValue:
    """One row a label: precision, recall, F1, support; undefined figures stay undefined."""
    return table(
        [
            {
                "label": label,
                "precision": format_metric(score.precision),
                "recall": format_metric(score.recall),
                "f1": format_metric(score.f1),
                "windows": score.support,
                "predicted": score.predicted,
                "judged": score.judged,
            }
            for label, score in report.per_class.items()
        ]
    )


def per_user_table(report: EvaluationReport) -> dg.MetadataValue:
    """One row a user: windows, macro-F1, reject rate."""
    return table(
        [
            {
                "user": user,
                "windows": score.windows,
                "macro_f1": format_metric(score.macro_f1),
                "reject_rate": format_metric(score.reject_rate),
                "seen in training": not score.unseen,
            }
            for user, score in report.per_user.items()
        ]
    )


def gate_table(gates: Sequence[RegressionGate]) -> dg.MetadataValue:
    """One row a gate: verdict, observed, threshold. The words stand with the check of the same name."""
    return table(
        [
            {
                "gate": gate.name,
                "verdict": gate.status,
                "observed": format_metric(gate.observed),
                "threshold": format_threshold(gate.threshold),
            }
            for gate in gates
        ]
    )


def comparison_table(challenger: EvaluationReport | None, champion: EvaluationReport | None) -> dg.MetadataValue:
    """Champion beside challenger, with the difference (challenger minus champion)."""
    names = (
        "macro_f1",
        "weighted_f1",
        "accuracy",
        "reject_rate",
        "expected_calibration_error",
        "multiclass_log_loss",
        "flap_rate_smoothed",
    )
    rows = [_difference(name, _get(champion, name), _get(challenger, name)) for name in names]
    for label in LABELS:
        ours, theirs = (None if report is None else report.per_class[label].f1 for report in (challenger, champion))
        rows.append(_difference(f"F1 {label}", theirs, ours))
    return table(rows)


def gate_check(gate: RegressionGate, *, more: Mapping[str, dg.MetadataValue] | None = None) -> dg.AssetCheckResult:
    """A gate as an asset check: red unless it passes or does not apply. It never blocks: a rejected model is a result."""
    metadata: dict[str, Any] = {"verdict": gate.status, "unit": gate.unit, **(more or {})}
    if gate.observed is not None:
        metadata["observed"] = gate.observed
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


def format_threshold(threshold: float | tuple[float, float] | None) -> str:
    """A threshold as text: a number, or a range."""
    if threshold is None:
        return "-"
    return f"{threshold:.4g}" if isinstance(threshold, float) else f"{threshold[0]:g}..{threshold[1]:g}"


def plotted(**values: float | None) -> dict[str, float]:
    """Numbers that Dagster plots over time; missing ones are left out."""
    return {name: float(value) for name, value in values.items() if value is not None}


def training_metadata(challenger: ChallengerModel) -> dict[str, object]:
    """Importance of the inputs, parameters and timings."""
    top = list(challenger.feature_importance.items())[:TOP_FEATURES]
    return {
        "feature_importance": table([{"input": name, "share of gain": round(share, 4)} for name, share in top]),
        "feature_importance_picture": importance_picture(top),
        "params": dg.MetadataValue.json(challenger.params),
        "training_seconds": challenger.timings["training_and_threshold"],
    }


def _difference(name: str, champion: float | None, challenger: float | None) -> dict[str, Cell]:
    delta = None if champion is None or challenger is None else challenger - champion
    return {
        "figure": name,
        "champion": format_metric(champion),
        "challenger": format_metric(challenger),
        "difference": "-" if delta is None else f"{delta:+.4f}",
    }


def _get(report: EvaluationReport | None, name: str) -> float | None:
    return None if report is None else getattr(report, name)


def format_metric(value: float | None) -> str:
    """A figure for showing: four decimals, or a dash where it is undefined."""
    return "-" if value is None else f"{value:.4f}"


def _column_kind(values: Iterable[Cell]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int"
    return "float" if kinds <= {int, float} else "string"


def _shown(value: Cell, kind: str) -> str | int | float | bool:
    return str(value) if kind == "string" or value is None else value
