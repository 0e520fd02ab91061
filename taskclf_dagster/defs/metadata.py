"""Turns records into Dagster metadata: tables, numbers that Dagster plots over time, and pictures.

Nothing is computed here that a decision depends on; numbers are rounded for showing only.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from taskclf_dagster.domain.challenger import ChallengerModel
from taskclf_dagster.domain.comparison import Comparison
from taskclf_dagster.domain.evaluation import EvaluationReport
from taskclf_dagster.domain.features import LABELS, SCHEMAS
from taskclf_dagster.domain.gates import RegressionGate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_COLOURS = 48
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
                "precision": show_figure(score.precision),
                "recall": show_figure(score.recall),
                "f1": show_figure(score.f1),
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
                "macro_f1": show_figure(score.macro_f1),
                "reject_rate": show_figure(score.reject_rate),
                "seen in training": not score.unseen,
            }
            for user, score in report.per_user.items()
        ]
    )


def gate_table(gates: Sequence[RegressionGate]) -> dg.MetadataValue:
    """One row a gate: verdict, observed, threshold. The words stand with the check of the same name."""
    return table(
        [
            {"gate": gate.name, "verdict": gate.status, "observed": show_figure(gate.observed), "threshold": show_threshold(gate.threshold)}
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


def gate_check(gate: RegressionGate) -> dg.AssetCheckResult:
    """A gate as an asset check: red unless it passes or does not apply. It never blocks: a rejected model is a result."""
    metadata: dict[str, float | str] = {"verdict": gate.status, "unit": gate.unit}
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


def show_threshold(threshold: float | tuple[float, float] | None) -> str:
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
        "feature_importance_picture": _importance_picture(top),
        "params": dg.MetadataValue.json(challenger.params),
        "training_seconds": challenger.timings["training_and_threshold"],
    }


def confusion_picture(report: EvaluationReport) -> dg.MetadataValue:
    """The confusion matrix as a picture: rows true, columns predicted, `rejected` last, shaded by share of the row."""
    counts = [[*row, report.rejected_by_label[label]] for label, row in zip(LABELS, report.confusion_matrix, strict=True)]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    figure = _figure_of(5.4, 4.4)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    columns = [*LABELS, "rejected"]
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(LABELS)), list(LABELS), fontsize=7)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                axes.text(j, i, str(count), ha="center", va="center", fontsize=6, color="white" if shares[i][j] > 0.5 else "black")
    axes.set_title(f"{report.model_id}: {report.windows} test windows", fontsize=8)
    return _picture(figure, "confusion matrix")


def calibration_picture(report: EvaluationReport) -> dg.MetadataValue:
    """Reliability of each label's probability: on the diagonal, what is said happens as often as it is said."""
    figure = _figure_of(4.8, 4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for label, curve in report.calibration.items():
        axes.plot(curve.mean_predicted_value, curve.fraction_of_positives, marker=".", markersize=4, linewidth=1, label=label)
    axes.set_xlabel("predicted probability", fontsize=8)
    axes.set_ylabel("share that is true", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, frameon=False)
    axes.set_title(f"{report.model_id}: ECE {report.expected_calibration_error:.3f}", fontsize=8)
    return _picture(figure, "calibration")


def comparison_words(comparison: Comparison | None) -> str:
    """The comparison in one sentence."""
    if comparison is None:
        return "There was nothing to compare with."
    if comparison.macro_f1_delta is None:
        return f"The models have {comparison.windows} windows in common, too few of any label."
    return (
        f"On {comparison.windows} common windows the challenger scores macro-F1 {comparison.challenger_macro_f1:.4f}, the champion "
        f"{comparison.champion_macro_f1:.4f}: a difference of {comparison.macro_f1_delta:+.4f}."
    )


def _importance_picture(top: Sequence[tuple[str, float]]) -> dg.MetadataValue:
    figure = _figure_of(4.8, 3.4)
    axes = figure.subplots()
    axes.barh([name for name, _ in reversed(top)], [share for _, share in reversed(top)], color="#4478b8")
    axes.tick_params(labelsize=7)
    axes.set_xlabel("share of gain", fontsize=8)
    return _picture(figure, "feature importance")


def _figure_of(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # costs half a second; only assets with pictures pay for it

    return Figure(figsize=(width, height), dpi=90, layout="constrained")


def _picture(figure: "Figure", name: str) -> dg.MetadataValue:
    """The figure as markdown with an inline PNG of few colours, which keeps it small enough for the event log."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(PICTURE_COLOURS).save(small, format="png", optimize=True)
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(small.getvalue()).decode()})")


def _difference(name: str, champion: float | None, challenger: float | None) -> dict[str, Cell]:
    delta = None if champion is None or challenger is None else challenger - champion
    return {
        "figure": name,
        "champion": show_figure(champion),
        "challenger": show_figure(challenger),
        "difference": "-" if delta is None else f"{delta:+.4f}",
    }


def _get(report: EvaluationReport | None, name: str) -> float | None:
    return None if report is None else getattr(report, name)


def show_figure(value: float | None) -> str:
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
