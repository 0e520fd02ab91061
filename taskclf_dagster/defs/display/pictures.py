"""Pictures in metadata: confusion matrix, calibration, importance, drift, and the interval of a difference. Dagster concept: metadata.

Add a picture here when a table cannot show it. Each is markdown with a small inline PNG, because it is stored in the event log. Nothing is
computed that a decision depends on.
"""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.evaluation.resampling import BootstrapDistribution
from taskclf_dagster.domain.evaluation.significance import SignificanceResult
from taskclf_dagster.domain.models.search_result import LearningPoint
from taskclf_dagster.shown_text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


PICTURE_COLORS = 48


SHOWN_INPUTS = 15


def interval_sketch(evidence: SignificanceResult, *, bound: float) -> dg.MetadataValue:
    """Draws difference, interval, zero and the bound of the regression gate as an SVG that is small enough for Dagster to show inline."""
    if evidence.difference is None:
        return dg.MetadataValue.text("no label is judged")
    low, high = evidence.interval or (evidence.difference, evidence.difference)
    reach = 1.15 * max(abs(low), abs(high), abs(bound), 0.02)
    zero, left, right, point, limit = (round(150 + 150 * value / reach) for value in (0.0, low, high, evidence.difference, bound))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="24" stroke="#888">'
        f'<path d="M{zero} 2V22"/><path d="M{limit} 2V22" stroke="#b03030" stroke-dasharray="3"/>'
        f'<path d="M{left} 12H{right}" stroke="#1f4e8c" stroke-width="4"/><circle cx="{point}" cy="12" r="5" fill="#1f4e8c"/></svg>'
    )
    encoded = base64.b64encode(svg.encode()).decode()
    numbers = f"{evidence.difference:+.4f}" + ("" if evidence.interval is None else f" ({low:+.4f} to {high:+.4f})")
    return dg.MetadataValue.md(f"![difference](data:image/svg+xml;base64,{encoded}) {numbers}")


def interval_picture(evidence: SignificanceResult, resampled: BootstrapDistribution, *, bound: float) -> dg.MetadataValue:
    """Draws resampled differences as bars, the closed-form interval as a line, and the bound of the regression gate."""
    figure, axes = _axes_of(5.4, 2.8, left=0.04, bottom=0.19)
    centres, counts = [bar.centre for bar in resampled.histogram], [bar.replicates for bar in resampled.histogram]
    width = (max(centres) - min(centres)) / max(1, len(centres) - 1) if centres else 1.0
    axes.bar(centres, counts, width=width or 0.001, color="#c8d8ee")
    axes.axvline(bound, color="#b03030", linewidth=1, linestyle="--", label=f"bound {bound:g}")
    axes.axvline(0, color="0.6", linewidth=1)
    if evidence.interval is not None and evidence.difference is not None:
        height = 0.5 * max(counts, default=1)
        axes.plot(evidence.interval, [height, height], color="#1f4e8c", linewidth=3, label=f"{evidence.confidence:.0%} interval")
        axes.plot([evidence.difference], [height], "o", color="#1f4e8c")
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.set_xlabel("macro-F1 of the challenger minus that of the champion", fontsize=8)
    axes.legend(fontsize=7, frameon=False)
    axes.set_title(
        f"{counted(evidence.windows, 'window')}, {counted(evidence.user_days, 'user-day')}, {counted(evidence.users, 'user')}", fontsize=8
    )
    return _picture(figure, "difference with interval")


def confusion_picture(report: EvaluationReport) -> dg.MetadataValue:
    """Draws the confusion matrix: rows true, columns predicted, `rejected` last, shaded by the share of the row."""
    counts = [[*row, report.rejected_by_label[label]] for label, row in zip(LABELS, report.confusion_matrix, strict=True)]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    figure, axes = _axes_of(5.4, 4.4, left=0.2, bottom=0.25)
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
    """Draws the calibration curve of each label; on the diagonal, predicted probabilities equal observed shares."""
    figure, axes = _axes_of(4.8, 4.2, left=0.12, bottom=0.12)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for label, curve in report.calibration.items():
        axes.plot(curve.mean_predicted_value, curve.fraction_of_positives, marker=".", markersize=4, linewidth=1, label=label)
    axes.set_xlabel("predicted probability", fontsize=8)
    axes.set_ylabel("share that is true", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, frameon=False)
    axes.set_title(f"{report.model_id}: ECE {report.expected_calibration_error:.3f}", fontsize=8)
    return _picture(figure, "calibration")


def learning_curve_picture(points: Sequence[LearningPoint]) -> dg.MetadataValue:
    """Draws macro-F1 on the next labels against the user-days that were learned from, one point for each fold."""
    figure, axes = _axes_of(4.8, 2.8, left=0.13, bottom=0.19)
    axes.plot([point.learned_days for point in points], [point.macro_f1 or 0.0 for point in points], marker=".", color="#1f4e8c")
    axes.set_ylim(0, 1)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("user-days learned from", fontsize=8)
    axes.set_ylabel("macro-F1 on the next labels", fontsize=8)
    return _picture(figure, "learning curve")


def importance_picture(top: Sequence[tuple[str, float]]) -> dg.MetadataValue:
    """Draws the inputs with the largest share of gain."""
    figure, axes = _axes_of(4.8, 3.4, left=0.42, bottom=0.14)
    axes.barh([name for name, _ in reversed(top)], [share for _, share in reversed(top)], color="#4478b8")
    axes.tick_params(labelsize=7)
    axes.set_xlabel("share of gain", fontsize=8)
    return _picture(figure, "feature importance")


def drift_picture(inputs: Sequence[tuple[str, float, float]]) -> dg.MetadataValue:
    """Draws the population stability index of the inputs that are nearest to their thresholds, and the thresholds.

    Args:
        inputs: name, index and threshold, the largest first; SHOWN_INPUTS are drawn.
    """
    figure, axes = _axes_of(4.8, 3.8, left=0.42, bottom=0.13)
    names, indices, thresholds = zip(*reversed(inputs[:SHOWN_INPUTS]), strict=True)
    axes.barh(names, indices, color="#4478b8")
    axes.plot(thresholds, names, "|", color="#b03030", markersize=10, markeredgewidth=2)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("population stability index (red: threshold)", fontsize=8)
    return _picture(figure, "drift of the inputs")


def _axes_of(width: float, height: float, *, left: float, bottom: float) -> tuple["Figure", "Axes"]:
    """Returns a figure (inches) with one plot, and its margins as shares: a layout engine would draw every text three times."""
    from matplotlib.figure import Figure  # costs half a second; only assets with pictures pay for it

    figure = Figure(figsize=(width, height), dpi=90)
    return figure, figure.add_axes((left, bottom, 0.97 - left, 0.92 - bottom))


def _picture(figure: "Figure", name: str) -> dg.MetadataValue:
    """Returns the figure as markdown with an inline PNG of few colors, small enough for the event log."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(figure)
    png = io.BytesIO()
    canvas.draw()  # once; `savefig` draws twice, the first time for the layout
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(PICTURE_COLORS).save(png, format="png", optimize=True)
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png.getvalue()).decode()})")
