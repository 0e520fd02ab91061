"""The report on two models of a home, on the same minutes: the layout of a decision's report, without a verdict."""

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.reporting.comparison_sections import describe_difference, describe_labels, describe_slices, describe_users
from taskclf_dagster.domain.reporting.decision_sections import describe_gates
from taskclf_dagster.domain.reporting.report_document import Cell, Report, Section, Table, number_cell, text_cell
from taskclf_dagster.domain.reporting.verdict_words import say_difference
from taskclf_dagster.domain.retraining.model_comparison import FigurePair, ModelComparison
from taskclf_dagster.shown_text import shorten_names

_NAMES = {
    "macro_f1": "Average over labels (macro-F1)",
    "weighted_f1": "Frequent labels count more (weighted F1)",
    "accuracy": "Share of minutes that are right (accuracy)",
    "macro_precision": "Right when named, average over labels (precision)",
    "macro_recall": "Found, average over labels (recall)",
    "one_vs_rest_auc": "Labels distinguished (area under the ROC curve)",
    "multiclass_log_loss": "Log loss (lower is better)",
    "expected_calibration_error": "Calibration error (lower is better)",
    "reject_rate": "Unsure",
}
"""The name of each metric for people; one without a name here is shown as it is."""


def describe_pair(found: ModelComparison, config: RetrainConfig) -> Report:
    """Returns the report on two models; the first takes the place of the new one, the second that of the running one.

    Args:
        found: the comparison.
        config: the policy that it was made with.
    """
    comparison, settings = found.comparison, config.comparison
    sentence = say_difference(comparison, "the first", "the second")
    return Report(
        title="Comparison of two models",
        headline=f"{sentence[0].upper()}{sentence[1:]}",
        badge=None,
        facts=[
            ("First (new)", f"{found.first}: {found.settings[0]}"),
            ("Second (before)", f"{found.second}: {found.settings[1]}"),
            ("Dataset", found.dataset_hash),
        ],
        sections=[
            describe_difference(
                comparison, settings, sentence, [_row(pair) for pair in found.figures], title="Both models on the same minutes"
            ),
            describe_gates(found.factors),
            describe_labels(comparison),
            describe_users(comparison, shorten_names(comparison.sums.users)),
            describe_slices(comparison, settings),
            Section("hashes", "What was compared", [_list_learned(found)]),
        ],
        closing=[
            "Nothing is decided by this file; only a retrain promotes a model.",
            f"taskclf-dagster report --compare {found.first} {found.second} makes it again, on the dataset of the last run.",
        ],
    )


def _row(pair: FigurePair) -> list[Cell]:
    name = _NAMES.get(pair.name, pair.name.replace("_", " "))
    return [text_cell(name), number_cell(pair.second), number_cell(pair.first), number_cell(pair.absolute, "+.3f")]


def _list_learned(found: ModelComparison) -> Table:
    """Returns what each model had learned of the test minutes, which were left out for both."""
    rows = [
        [
            Cell(report.model_id, "code"),
            text_cell(report.trained_on),
            text_cell(report.neighbors),
            text_cell(f"{report.trained_until:%Y-%m-%d}"),
        ]
        for report in found.comparison.exclusion.leakage
    ]
    return Table("Test minutes that a model has learned, or that are near one", ["Model", "Learned", "Near", "Learned until"], rows)
