"""The sections of a report about one model on all of its test minutes: what it confuses, and if it is as right as it is sure."""

from collections.abc import Mapping, Sequence

from taskclf_dagster.domain.evaluation.calibration_metrics import BINS, CalibrationCurve
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.reporting.report_document import Cell, Paragraph, Part, Section, Table, number_cell, text_cell, text_cells
from taskclf_dagster.domain.reporting.report_pictures import draw_reliability

SHADES = 9


def describe_confusion(report: EvaluationReport) -> Section:
    """Returns the section on what a model confuses: the confusion matrix, shaded by the share of the row, and the most frequent pairs."""
    columns = ["Label that is right", *report.label_names, "unsure"]
    rows = []
    for label, counts in zip(report.label_names, report.confusion_matrix, strict=True):
        row = [*counts, report.rejected_by_label.get(label, 0)]
        rows.append([text_cell(label), *(_shaded(number, sum(row)) for number in row)])
    parts: list[Part] = [
        Paragraph(
            f"All {report.windows:,} test minutes of the new model, which it has not learned from. A row is what a minute is, a column "
            f"what the model said; unsure is a confidence below {report.reject_threshold:.3f}, which counts as wrong."
        ),
        Table("Number of minutes by label that is right and label that the model gave", columns, rows),
    ]
    if report.top_confusion_pairs:
        pairs = [text_cells(pair.true_label, pair.pred_label, pair.count) for pair in report.top_confusion_pairs]
        parts.append(Table("Most frequent mistakes", ["Is", "Was called", "Minutes"], pairs))
    return Section("confusion", "What it confuses", parts)


def describe_calibration(reports: Sequence[tuple[str, str, EvaluationReport]]) -> Section:
    """Returns the section on calibration: what share came true of what was predicted with which probability.

    Args:
        reports: name, style (new or old) and report of each model.
    """
    pooled = [(name, style, pool_curves(report.calibration)) for name, style, report in reports]
    picture = draw_reliability([(name, style, [(said, true) for said, true, _ in bins]) for name, style, bins in pooled])
    if picture is None:
        return Section("calibration", "How sure it is, and how often it is right", [])
    rows = [
        [text_cell(name), number_cell(said, ".1%"), number_cell(true, ".1%"), text_cell(number)]
        for name, _, bins in pooled
        for said, true, number in bins
    ]
    metrics = [
        [
            text_cell(name),
            number_cell(report.expected_calibration_error),
            number_cell(report.multiclass_brier_score),
            number_cell(report.reject_rate, ".1%"),
        ]
        for name, _, report in reports
    ]
    note = (
        "Every label of every test minute counts once, by how probable the model said it is. A running model may have learned some of its "
        "test minutes, so that its figures here flatter it."
    )
    return Section(
        "calibration",
        "How sure it is, and how often it is right",
        [
            picture,
            Table("Calibration (lower is better)", ["Model", "Calibration error", "Brier score", "Unsure"], metrics),
            Table("Predicted and observed", ["Model", "Predicted", "Came true", "Predictions"], rows),
            Paragraph(note),
        ],
    )


def pool_curves(curves: Mapping[str, CalibrationCurve]) -> list[tuple[float, float, int]]:
    """Returns mean predicted probability, share that came true and number of predictions of each bin, over all labels."""
    sums: dict[int, tuple[float, float, int]] = {}
    for curve in curves.values():
        for said, true, windows in zip(curve.mean_predicted_value, curve.fraction_of_positives, curve.windows, strict=True):
            index = min(BINS - 1, max(0, int(said * BINS)))
            before = sums.get(index, (0.0, 0.0, 0))
            sums[index] = before[0] + said * windows, before[1] + true * windows, before[2] + windows
    return [(said / number, true / number, number) for _, (said, true, number) in sorted(sums.items()) if number]


def _shaded(number: int, of: int) -> Cell:
    return Cell(f"{number:,}" if number else "·", f"shade{round(SHADES * number / max(1, of))}")
