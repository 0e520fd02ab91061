"""The sections of a report about two models on the same minutes: what differs, by label, by person and by kind of use.

Every figure follows from the counts by block of the comparison, which a receipt holds.
"""

from collections.abc import Mapping, Sequence

from taskclf_dagster.config.settings import ComparisonSettings
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.comparative_gates import regression_bound
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION
from taskclf_dagster.domain.evaluation.comparison import Comparison
from taskclf_dagster.domain.evaluation.significance import GroupSignificance
from taskclf_dagster.domain.evaluation.slice_significance import assess_slices
from taskclf_dagster.domain.reporting.gate_words import show_share
from taskclf_dagster.domain.reporting.report_document import (
    Cell,
    Paragraph,
    Part,
    Section,
    Table,
    number_cell,
    text_cell,
    text_cells,
)
from taskclf_dagster.domain.reporting.report_pictures import draw_interval, draw_scores
from taskclf_dagster.domain.storage.records import Record

SHOWN_SLICES = 10
"""Rows of the table of slices: the largest losses."""


class LabelScore(Record):
    """One label by one model on the minutes of a comparison [0 to 1, higher is better]; None if undefined."""

    precision: float | None
    recall: float | None
    f1: float | None


def score_labels(comparison: Comparison, model: int) -> dict[str, LabelScore]:
    """Returns precision, recall and F1 of each label that is true or predicted, from the counts of a comparison.

    Args:
        comparison: of two models.
        model: CHALLENGER or CHAMPION.
    """
    total = comparison.sums.by_block().total
    scores = {}
    for i, label in enumerate(LABELS):
        support, correct, predicted = int(total.support[i]), int(total.correct[i, model]), int(total.predicted[i, model])
        if support or int(total.predicted[i].sum()):
            scores[label] = LabelScore(
                precision=correct / predicted if predicted else None,
                recall=correct / support if support else None,
                f1=2 * correct / (support + predicted) if support + predicted else None,
            )
    return scores


def describe_difference(
    comparison: Comparison, settings: ComparisonSettings, sentence: str, rows: Sequence[Sequence[Cell]], *, title: str
) -> Section:
    """Returns the section on the difference of two models: sentence, interval, metrics, and the windows that only one has right.

    Args:
        comparison: of the two models.
        settings: with the bound of the regression gate.
        sentence: the result in plain language.
        rows: metric, before, after, difference.
        title: the heading.
    """
    evidence, flips = comparison.evidence, comparison.flips
    picture = draw_interval(evidence, bound=regression_bound(settings))
    wrong, right = sum(flips.negative.values()), sum(flips.positive.values())
    shares = f"{show_share(flips.negative_share)} and {show_share(flips.positive_share)}"
    parts: list[Part] = [Paragraph(sentence), *([] if picture is None else [picture])]
    parts.append(Table("Scores on the same minutes (0 to 1, higher is better)", ["Score", "Before", "New", "Change"], rows))
    parts.append(Paragraph(f"{wrong:,} minutes become wrong, {right:,} become right ({shares} of those compared)."))
    if comparison.exclusion.excluded:
        left = f"{comparison.exclusion.excluded:,} of {comparison.exclusion.windows:,} test minutes were left out for both models"
        parts.append(Paragraph(f"{left}, because one of them had learned them, or minutes within an hour of them."))
    if evidence.detectable_difference is not None:
        least = f"With so many days, a true difference of {evidence.detectable_difference:.3f} would be found four times out of five."
        needed = evidence.user_days_needed
        lacks = needed is not None and needed > evidence.user_days
        parts.append(Paragraph(least + (f" To find one of 0.05, about {needed} days are needed." if lacks else "")))
    return Section("comparison", title, parts)


def describe_labels(comparison: Comparison) -> Section:
    """Returns the section on each label: how often its name is right, how much of it is found, and the minutes that changed."""
    ours, theirs = score_labels(comparison, CHALLENGER), score_labels(comparison, CHAMPION)
    total = comparison.sums.by_block().total
    tested = {group.name: group for group in comparison.evidence.by_label}
    rows, drawn = [], []
    for label, new in ours.items():
        old = theirs[label]
        rows.append(
            [
                text_cell(label),
                text_cell(int(total.support[LABELS.index(label)])),
                *(number_cell(value) for value in (old.precision, new.precision, old.recall, new.recall, old.f1, new.f1)),
                text_cell(comparison.flips.negative[label]),
                text_cell(comparison.flips.positive[label]),
                _chance_cell(tested.get(label)),
            ]
        )
        drawn.append((label, old.f1, new.f1))
    columns = ["Label", "Minutes", *_both("Right when named"), *_both("Found"), *_both("Score"), "Now wrong", "Now right", "Chance"]
    picture = draw_scores(drawn)
    note = (
        "Right when named: the share of what a model calls so that is so (precision). Found: the share of it that the model names "
        "(recall). Chance: how often chance alone would show such a decline; a small number means that the label got clearly worse."
    )
    parts: list[Part] = [*([] if picture is None else [picture]), Table("Each label, before and with the new model", columns, rows)]
    return Section("labels", "By label", [*parts, Paragraph(note)])


def describe_users(comparison: Comparison, names: Mapping[str, str]) -> Section:
    """Returns the section on each person: what share of their minutes each model has right, and if a decline is shown.

    Args:
        comparison: of two models.
        names: what to call each user.
    """
    by_day, sums = comparison.sums.by_user_day(), comparison.sums
    tested = {group.name: group for group in comparison.evidence.by_user}
    rows = []
    for i, user in enumerate(sums.users):
        counts = by_day.counts.take(by_day.user == i).total
        group, windows = tested.get(user), int(counts.support.sum())
        before, after = (int(counts.correct[:, model].sum()) / max(1, windows) for model in (CHAMPION, CHALLENGER))
        change = None if group is None else group.difference
        rows.append(
            [
                text_cell(names.get(user, user)),
                text_cell(windows),
                text_cell(int((by_day.user == i).sum())),
                number_cell(before, ".1%"),
                number_cell(after, ".1%"),
                number_cell(change, "+.3f"),
                _chance_cell(group),
            ]
        )
    columns = ["Person", "Minutes", "Days", "Right before", "Right now", "Change of score", "Chance"]
    return Section("people", "By person", [Table("Each person, before and with the new model", columns, rows)] if rows else [])


def describe_slices(comparison: Comparison, settings: ComparisonSettings) -> Section:
    """Returns the section on apps, hours and other kinds of use, the largest losses first."""
    slices = [] if comparison.slices is None else assess_slices(comparison.slices, settings)
    rows = [
        [
            *text_cells(each.name, each.windows, each.user_days),
            number_cell(each.champion_accuracy, ".1%"),
            number_cell(each.challenger_accuracy, ".1%"),
            Cell("-", "number") if each.interval is None else Cell(f"{each.interval[0]:+.1%} to {each.interval[1]:+.1%}", "number"),
            _chance_cell(each),
        ]
        for each in slices[:SHOWN_SLICES]
    ]
    if not rows:
        return Section("use", "By app, hour and other kinds of use", [])
    caption = f"The {len(rows)} of {len(slices)} kinds of use with the largest losses"
    columns = ["Kind of use", "Minutes", "Days", "Right before", "Right now", "Interval of the change", "Chance"]
    return Section("use", "By app, hour and other kinds of use", [Table(caption, columns, rows)])


def _both(name: str) -> tuple[str, str]:
    return f"{name}, before", f"{name}, new"


def _chance_cell(group: GroupSignificance | None) -> Cell:
    """Returns the adjusted p-value of "no decline beyond the margin"; a dash where nothing was judged."""
    return number_cell(None if group is None else group.adjusted_p, ".1%")
