"""The sections of a report that say what a decision was made of: data, settings, training, protections, hashes and how to verify them."""

from collections.abc import Mapping

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.reporting.report_document import (
    Bullets,
    Cell,
    Paragraph,
    Part,
    Section,
    Table,
    number_cell,
    text_cell,
    text_cells,
)
from taskclf_dagster.domain.reporting.report_evidence import ReportEvidence
from taskclf_dagster.domain.storage.records import canonical_json

PARTS = {
    "older": "older days, only learned from",
    "train": "learned from",
    "validation": "to choose the threshold",
    "test": "to judge",
    "embargo": "between the parts, unused",
    "weak_after_cut": "weak labels on newer days, unused",
}
"""The purpose of each part of the split."""


EXCLUSIONS = {
    "short_session": "of a session that is too short",
    "no_measurement": "without any measurement",
    "duplicate_window": "that stand in the files twice",
    "embargo": "between the parts of the split",
    "weak_after_cut": "with a weak label after the cut",
}
"""The reasons why labeled minutes did not count; another one is shown by its name."""


def describe_data(decision: PromotionDecision, snapshot: DatasetSnapshot | None) -> Section:
    """Returns the section on the dataset: days, people, labels by part of the split, and what did not count."""
    dataset = decision.dataset
    lines = [f"{sum(dataset.split.values()):,} labeled minutes up to {decision.as_of:%Y-%m-%d %H:%M} UTC."]
    if dataset.labels_until is not None:
        lines.append(f"The newest labeled minute is of {dataset.labels_until:%Y-%m-%d %H:%M} UTC.")
    parts: list[Part] = []
    if snapshot is not None:
        if snapshot.time_range is not None:
            first, last = snapshot.time_range
            lines.append(f"They are of {(last.date() - first.date()).days + 1} days, {first:%Y-%m-%d} to {last:%Y-%m-%d}.")
        people = f"{len(snapshot.users)} {'person' if len(snapshot.users) == 1 else 'people'}"
        held = f", of whom {len(snapshot.holdout_users)} were held out of learning" if snapshot.holdout_users else ""
        lines.append(f"They are of {people}{held}; the columns are those of schema {snapshot.schema_version}.")
        if snapshot.has_synthetic_spans:
            lines.append("Some labels are generated, not given by a person.")
    parts.append(Paragraph(" ".join(lines)))
    rows = [text_cells(f"{name}: {PARTS.get(name, '')}".rstrip(": "), number) for name, number in dataset.split.items()]
    parts.append(Table("Labeled minutes by part", ["Part", "Minutes"], rows))
    if snapshot is not None:
        counts = snapshot.class_distribution
        rows = [[text_cell(label), *(text_cell(counts[part].get(label, 0)) for part in counts)] for label in LABELS]
        parts.append(Table("Labeled minutes by label and part", ["Label", *counts], rows))
        lost = [text_cells(_explain_exclusion(name), number) for name, number in snapshot.exclusions.items() if number]
        parts += [Table("Minutes that did not count", ["Minutes", "Number"], lost)] if lost else []
    if dataset.feasibility.advice:
        parts.append(Bullets(dataset.feasibility.advice))
    return Section("data", "Data", parts)


def describe_settings(decision: PromotionDecision, evidence: ReportEvidence) -> Section:
    """Returns the section on settings that are not the shipped ones, or differ from those of the decision before."""
    shipped = dict(flatten(RetrainConfig.model_validate({}).policy))
    before = None if evidence.previous is None else dict(flatten(evidence.previous.policy))
    now = dict(flatten(decision.policy))
    rows = []
    for name in sorted({*now, *(before or {})}):
        values = [_show_value(each, name) for each in (shipped, before, now)]
        if values[2] != values[0] or (before is not None and values[2] != values[1]):
            changed = "-" if before is None else "yes" if values[2] != values[1] else "no"
            rows.append([Cell(name, "code"), *(Cell(value, "code") for value in values), text_cell(changed)])
    parts: list[Part] = []
    if rows:
        columns = ["Setting", "As shipped", "Decision before", "This decision", "Changed since"]
        parts.append(Table("Settings that are not as shipped, or changed since the decision before", columns, rows))
    else:
        parts.append(Paragraph("Every setting is as shipped" + (", as in the decision before." if before is not None else ".")))
    if evidence.previous is not None:
        parts.append(Paragraph(f"The decision before is {evidence.previous.decision_id} ({evidence.previous.outcome})."))
    training = decision.training
    if training is not None:
        parts.append(Paragraph(f"Trained with {training.choice.describe()}. {training.reason}"))
    if decision.recipe is not None and decision.recipe.trainer != "local":
        parts.append(Paragraph(f"Trained by {decision.recipe.describe()}. Another number of workers may give other trees."))
    return Section("settings", "Settings", parts)


def describe_protections(decision: PromotionDecision) -> Section:
    """Returns the section on what protected the decision, and on models of the last weeks that it was compared with."""
    lines = [*decision.protections, *decision.champion.warnings]
    if decision.champion.reason:
        lines.append(f"running model: {decision.champion.state}, {decision.champion.reason}")
    if decision.champion.threshold is not None:
        lines.append(f"its reject threshold: {decision.champion.threshold.summary}")
    parts: list[Part] = [Bullets(lines)] if lines else []
    if decision.anchors:
        rows = [
            [
                Cell(anchor.model_id, "code"),
                text_cell(f"{anchor.ran_at:%Y-%m-%d}"),
                number_cell(anchor.anchor_macro_f1),
                number_cell(anchor.challenger_macro_f1),
                number_cell(anchor.difference, "+.3f"),
                text_cell(anchor.windows),
            ]
            for anchor in decision.anchors
        ]
        parts.append(Table("Models of the last weeks on the same minutes", ["Model", "Ran", "Its score", "New", "Change", "Minutes"], rows))
    return Section("protections", "Protections", parts)


def describe_hashes(decision: PromotionDecision) -> Section:
    """Returns the section with the hashes of everything that was judged, and the commands that verify them."""
    signature = "no" if decision.signature is None else "yes"
    rows = [
        ("Decision", decision.decision_id),
        ("SHA-256 of the decision", decision.decision_hash),
        ("Signed", signature),
        ("Home id", decision.home_id or "-"),
        ("Program", decision.code_version),
        ("Dataset, SHA-256", decision.dataset.digest),
        ("Label store", decision.dataset.label_watermark),
        ("New model", decision.challenger.model_id),
        *_hash_rows("new", decision.challenger.files),
    ]
    if decision.champion.model is not None:
        rows += [("Running model", decision.champion.model.model_id), *_hash_rows("running", decision.champion.model.files)]
    commands = [
        f"taskclf-dagster verify {decision.decision_id} follows the verdict again from the numbers of the receipt.",
        f"taskclf-dagster verify {decision.decision_id} --deep predicts the test minutes again, from the dataset and both models.",
        f"taskclf-dagster reproduce {decision.challenger.model_id} trains the new model again and compares it.",
    ]
    replaced = f"It takes the place of {', '.join(decision.replaces)}." if decision.replaces else ""
    table = Table("What was judged, by hash", ["What", "Value"], [[text_cell(name), Cell(value, "code")] for name, value in rows])
    return Section("hashes", "Hashes, and how to verify them", [Bullets(commands), table, *([Paragraph(replaced)] if replaced else [])])


def _hash_rows(model: str, files: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"{name} ({model})", digest) for name, digest in files.items()]


def _explain_exclusion(name: str) -> str:
    known = EXCLUSIONS.get(name)
    if known is not None:
        return known
    reason = name.removeprefix("unlabeled_").replace("_", " ")
    return f"without a label: {reason}" if name.startswith("unlabeled_") else reason


def _show_value(values: Mapping[str, object] | None, name: str) -> str:
    return "-" if values is None or name not in values else canonical_json(values[name])


def describe_left_out(left_out: list[str]) -> Section:
    """Returns the section on what the home no longer has, so that the report leaves it out."""
    return Section("left-out", "Left out", [Bullets(left_out)] if left_out else [])
