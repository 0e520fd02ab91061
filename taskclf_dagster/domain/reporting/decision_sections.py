"""The sections of a report that say what was decided and why: what would help, the checks, what changes for each person."""

from collections.abc import Mapping, Sequence

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.decision.gate import RegressionGate, Status
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff
from taskclf_dagster.domain.reporting.gate_words import explain_gate, show_share
from taskclf_dagster.domain.reporting.report_document import (
    Bullets,
    Cell,
    Paragraph,
    Part,
    Section,
    Table,
    Tone,
    number_cell,
    text_cell,
    text_cells,
)
from taskclf_dagster.domain.reporting.verdict_words import say_help, sort_gates

RESULTS: dict[Status, tuple[str, Tone]] = {
    "PASS": ("passed", "good"),
    "FAIL": ("failed", "bad"),
    "INCONCLUSIVE": ("not judged", "unsure"),
    "ERROR": ("error", "bad"),
    "NOT_APPLICABLE": ("not asked", "neutral"),
}
"""The name of each status for people, and its tone."""


SHOWN_PEOPLE = 40
"""Rows of the table of people for whom minutes change."""


SHOWN_PAIRS = 15
"""Rows of the table of labels that change."""


_SCORES = (("Average over labels (macro-F1)", "macro_f1"), ("Frequent labels count more (weighted F1)", "weighted_f1"))


def describe_help(decision: PromotionDecision) -> Section:
    """Returns the section on what would help; without parts if nothing stopped the model."""
    advice = say_help(decision)
    return Section("help", "What would help", [Bullets(advice)] if advice else [])


def describe_gates(gates: Sequence[RegressionGate], decision: PromotionDecision | None = None) -> Section:
    """Returns the section with every check in plain language, those that stopped the model first.

    Args:
        gates: the gates.
        decision: that they are of, if they are of one.
    """
    rows = []
    for gate in sort_gates(gates):
        explained, (result, tone) = explain_gate(gate, decision), RESULTS[gate.status]
        rows.append(
            [
                text_cell(explained.title),
                Cell(result, tone),
                Cell(explained.sentence if explained.help is None else f"{explained.sentence} {explained.help}", "prose"),
                Cell(f"{gate.name}: {_figures(gate)}", "code"),
            ]
        )
    table = Table("Every check, those that stopped the model first", ["Check", "Result", "What was found", "Gate"], rows)
    return Section("checks", "Checks", [table] if rows else [])


def list_scores(decision: PromotionDecision) -> list[list[Cell]]:
    """Returns the metrics of both models that may be compared: name, before, new, change."""
    before, after = score_fairly(decision)
    rows = []
    for name, field in (*_SCORES, ("Share of minutes that are right (accuracy)", "accuracy")):
        old, new = None if before is None else getattr(before, field), getattr(after, field)
        change = None if old is None or new is None else new - old
        rows.append([text_cell(name), number_cell(old), number_cell(new), number_cell(change, "+.3f")])
    return rows


def describe_alone(decision: PromotionDecision, sentence: str) -> Section:
    """Returns the section on a model that nothing was compared with."""
    _, after = score_fairly(decision)
    table = Table(
        f"Scores on {after.windows:,} test minutes, which it has not learned from (0 to 1, higher is better)",
        ["Score", "New"],
        [[row[0], row[2]] for row in list_scores(decision)[:2]],
    )
    return Section("comparison", "The new model on minutes that it has not learned from", [Paragraph(sentence), table])


def describe_changes(diff: PredictionDiff | None, names: Mapping[str, str]) -> Section:
    """Returns the section on what each person would see otherwise in the last days, labeled or not."""
    title = "What changes for you"
    if diff is None:
        return Section("changes", title, [])
    share = f" ({show_share(diff.relabelled / diff.windows)})" if diff.windows else ""
    found = f"the new model calls {diff.relabelled:,} of {diff.windows:,} minutes otherwise than the running one{share}"
    span = f"From {diff.start:%Y-%m-%d %H:%M} to {diff.end:%Y-%m-%d %H:%M} UTC {found}, labeled or not."
    unscored = f" {diff.unscored:,} more can be scored by one of the models only." if diff.unscored else ""
    parts: list[Part] = [Paragraph(f"{span}{unscored} Which of the two is right is not known.")]
    if diff.by_label:
        rows = [text_cells(pair.champion_label, pair.challenger_label, pair.minutes) for pair in diff.by_label[:SHOWN_PAIRS]]
        caption = "Minutes by what they are called before and with the new model"
        caption += f" (the {SHOWN_PAIRS} most frequent of {len(diff.by_label)} changes)" if len(diff.by_label) > SHOWN_PAIRS else ""
        parts.append(Table(caption, ["Before", "New", "Minutes"], rows))
    if diff.by_user:
        people = sorted(diff.by_user.items(), key=lambda each: (-sum(each[1].values()), each[0]))
        rows = [
            [*text_cells(names.get(user, user), sum(labels.values())), text_cell(_most_often(labels))]
            for user, labels in people[:SHOWN_PEOPLE]
        ]
        caption = "Minutes that change, by person"
        caption += f" (the {SHOWN_PEOPLE} of {len(people)} with most of them)" if len(people) > SHOWN_PEOPLE else ""
        parts.append(Table(caption, ["Person", "Minutes", "Most often now"], rows))
    if diff.largest_blocks:
        rows = [
            text_cells(
                names.get(block.user_id, block.user_id),
                f"{block.start:%Y-%m-%d %H:%M}",
                block.minutes,
                block.champion_label,
                block.challenger_label,
            )
            for block in diff.largest_blocks
        ]
        parts.append(Table("Longest stretches that change (UTC)", ["Person", "From", "Minutes", "Before", "New"], rows))
    return Section("changes", title, parts)


def _most_often(labels: Mapping[str, int]) -> str:
    label = max(sorted(labels), key=lambda name: labels[name])
    return f"{label}, {labels[label]:,}"


def _figures(gate: RegressionGate) -> str:
    """Returns observed value and threshold of a gate with four digits, for those who know them."""
    threshold = gate.threshold
    needed = "-" if threshold is None else f"{threshold:.4g}" if isinstance(threshold, float) else f"{threshold[0]:g}..{threshold[1]:g}"
    return f"{'-' if gate.observed is None else f'{gate.observed:.4f}'} / {needed}"
