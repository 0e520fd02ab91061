"""The model card of a promoted bundle, `MODEL_CARD.md`: what the model is for, what it learned from, how good it is, and its limits.

Its sections are those of Mitchell et al., Model Cards for Model Reporting, FAT* 2019. It is written with the manifest, which names it, so
that it can have the figures of the decision. The receipt names the files that were judged, and the card is none of them: a model runs
without it. It names no person, only their number.
"""

import re
from collections.abc import Iterable, Mapping

from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE, LABELS
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION
from taskclf_dagster.domain.evaluation.comparison import Comparison, f1_by_label
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.bundle_files import METADATA, METRICS
from taskclf_dagster.domain.storage.json_files import parse_json_object
from taskclf_dagster.shown_text import counted, show_line

_USE = f"""\
## Intended use

To name the kind of work of each minute of a person at a computer, one of {len(LABELS)} labels, from counts and categories that taskclf
collects on that computer. For the people of this home, to look at their own days; taskclf pauses on {BREAK_IDLE}.

Out of scope: judging the work of other people, pay, attendance or any decision about a person; other people than those of this home without
comparing first; safety; and data of other feature schemas. It gets no typed text and no pictures,
and of window titles hashes and counts only.
"""


_LIMITS = """\
## Limits and cautions

- It learned from the people of one home. For somebody else it can be far worse: hold people out to see by how much.
- Labels are what people say they did; what they call alike it cannot keep apart.
- Habits, apps and seasons change. `taskclf-dagster live` and `taskclf-dagster drift` say when it is time to retrain.
- A minute below the reject threshold gets no label; where figures count, it counts as wrong.
- Minutes near each other are alike. Intervals are over whole days of a person, never over single minutes.
- Labels are personal data. Bundles hold hashes of the minutes that were learned from, and vocabularies of app names: share them with care.
"""


def write_model_card(decision: PromotionDecision, model: LoadedModel) -> str:
    """Returns the card of the model that a decision promotes: equal arguments give equal text.

    Args:
        decision: the receipt.
        model: the bundle, as it was judged.
    """
    files = model.files
    metadata = parse_json_object(files.folder / METADATA, files.content(METADATA))
    test = _mapping(parse_json_object(files.folder / METRICS, files.content(METRICS)).get("test"))
    parts = [
        f"# Model card: {_code(decision.challenger.model_id)}\n",
        _describe_model(decision, model, metadata),
        _USE,
        _describe_metrics(test),
        _describe_comparison(decision),
        _describe_training(decision, model, metadata),
        _LIMITS,
        _describe_verification(decision, model),
    ]
    return "\n".join(parts)


def _describe_model(decision: PromotionDecision, model: LoadedModel, metadata: Mapping[str, object]) -> str:
    versions = ", ".join(f"{_plain(name)} {_plain(version)}" for name, version in _mapping(metadata.get("library_versions")).items())
    made = model.bundle.require()
    lines = [
        "Type: gradient boosted trees (LightGBM), one probability for each label; below the reject threshold no label is given",
        f"Labels: {', '.join(LABELS)}",
        f"Reject threshold: {model.reject_threshold:.4f}",
        f"Inputs: feature schema {_plain(made.schema_version)} ({_code(made.schema_hash)})",
        f"Made: {made.created_at:%Y-%m-%d %H:%M} UTC, from labels up to then",
        f"Promoted by decision {_code(decision.decision_id)} ({decision.verdict})",
        f"Program: taskclf-dagster, commit {_code(decision.code_version)}; {versions or 'library versions are not recorded'}",
        "License of the program: MIT. The model belongs to the people whose labels it learned from; no license to it is given.",
    ]
    return "## Model details\n\n" + _bullets(lines)


def _describe_metrics(test: Mapping[str, object]) -> str:
    """Returns the metrics on all test minutes, which the model has not learned from, with the interval of the first."""
    windows, days = test.get("windows"), test.get("user_days")
    head = "## Metrics on minutes that it has not learned from\n\n"
    if not isinstance(windows, int):
        return f"{head}They are not recorded in this bundle.\n"
    over = f" of {counted(days, 'user-day')}" if isinstance(days, int) else ""
    text = f"{head}{windows:,} test minutes{over}, the newest of each person. F1 is from 0 to 1, higher is better.\n\n"
    interval, confidence = test.get("macro_f1_interval"), _number(test.get("confidence"))
    bounds = [_number(value) for value in interval] if isinstance(interval, list) else []
    span = "-"
    if len(bounds) == 2 and None not in bounds and confidence is not None:
        span = f"{_figure(bounds[0])} to {_figure(bounds[1])} ({100 * confidence:g} %)"
    rows = [["macro-F1, the mean over labels", _figure(test.get("macro_f1")), span]]
    names = {
        "weighted_f1": "weighted F1",
        "accuracy": "accuracy",
        "reject_rate": "share without a label",
        "expected_calibration_error": "calibration error (lower is better)",
    }
    rows += [[name, _figure(test.get(key)), "-"] for key, name in names.items()]
    rows += [[f"F1 of {_plain(label)}", _figure(value), "-"] for label, value in _mapping(test.get("f1")).items()]
    return text + _table(["metric", "value", "interval"], rows)


def _describe_comparison(decision: PromotionDecision) -> str:
    """Returns how it compares with the model before it, over all people together and without naming one."""
    comparison = decision.comparison
    head = "## Compared with the model before it\n\n"
    if comparison is None:
        return f"{head}There was none: the checks of the model alone decided.\n"
    evidence = comparison.evidence
    f1 = dict(zip(LABELS, f1_by_label(comparison.sums)[1].T.tolist(), strict=True))
    rows = [
        ["macro-F1", _figure(comparison.champion_macro_f1), _figure(comparison.challenger_macro_f1), _change(evidence.difference)],
        *(
            [f"F1 of {group.name}", _figure(f1[group.name][CHAMPION]), _figure(f1[group.name][CHALLENGER]), _change(group.difference)]
            for group in evidence.by_label
        ),
    ]
    span = ""
    if evidence.interval is not None:
        low, high = evidence.interval
        span = f" The {100 * evidence.confidence:g} % interval of the difference in macro-F1 is {low:+.4f} to {high:+.4f}."
    text = (
        f"On {comparison.windows:,} minutes of {counted(evidence.user_days, 'user-day')} that neither has learned from.{span} "
        f"{100 * comparison.flips.negative_share:.2f} % of them became wrong, {100 * comparison.flips.positive_share:.2f} % right. "
        f"{_describe_people(comparison)}\n\n"
    )
    return head + text + _table(["metric", "before", "this model", "change"], rows)


def _describe_people(comparison: Comparison) -> str:
    """Returns by how much the figures of single people changed, without their names."""
    changes = sorted(group.difference for group in comparison.evidence.by_user if group.difference is not None)
    if not changes:
        return "No person can be judged alone."
    if len(changes) == 1:
        return f"For the one person judged macro-F1 changes by {changes[0]:+.4f}."
    return f"For the {len(changes)} people judged the change in macro-F1 is between {changes[0]:+.4f} and {changes[-1]:+.4f}."


def _describe_training(decision: PromotionDecision, model: LoadedModel, metadata: Mapping[str, object]) -> str:
    made, people = model.bundle.require(), metadata.get("user_count")
    who = counted(people, "person").replace("persons", "people") if isinstance(people, int) else "an unrecorded number of people"
    held = len(made.holdout_users)
    lines = [
        f"Days: {made.train_date_from} to {made.train_date_to}",
        f"People: {who}" + (f", of whom {held} were held out of learning" if held else ""),
        f"Labels: {'generated demo data' if decision.demo else f'{made.data_provenance} (real: given by people)'}",
        "Split of each person's minutes by time: earlier ones to learn from, then to choose the threshold, the newest to judge",
        f"Dataset: SHA-256 {_code(decision.dataset.digest)}",
    ]
    if decision.training is not None:
        lines.append(f"Settings: {_plain(decision.training.choice.describe())}")
    if decision.recipe is not None and decision.recipe.trainer != "local":
        lines.append(f"Trainer: {_plain(decision.recipe.describe())}")
    text = "## Data that it learned from and was judged on\n\n" + _bullets(lines)
    counts = {part: _mapping(labels) for part, labels in _mapping(metadata.get("class_distribution")).items()}
    if not counts:
        return text
    rows = [[label, *(_plain(labels.get(label, 0)) for labels in counts.values())] for label in LABELS]
    return f"{text}\n{_table(['labeled minutes', *map(_plain, counts)], rows)}"


def _describe_verification(decision: PromotionDecision, model: LoadedModel) -> str:
    lines = [
        f"`taskclf-dagster verify {_bare(decision.decision_id)} --deep` computes the decision again from the dataset and both models",
        f"`taskclf-dagster reproduce {_bare(decision.challenger.model_id)}` trains this model again and compares it",
        "`taskclf-dagster registry fsck` compares every file with `MANIFEST.json`, this card too",
        f"Trees: SHA-256 {_code(model.tree_hash)}",
        f"Receipt: SHA-256 {_code(decision.decision_hash)}",
    ]
    return "## How to verify\n\n" + _bullets(lines)


def _bullets(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _bare(text: str) -> str:
    """Returns a text as one line without what ends a code span."""
    return show_line(text).replace("`", "'")


def _code(text: str) -> str:
    return f"`{_bare(text)}`"


def _plain(value: object) -> str:
    """Returns a value of a file as one line in which markdown and HTML mean nothing."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", show_line(str(value)))


def _figure(value: object) -> str:
    number = _number(value)
    return "-" if number is None else f"{number:.4f}"


def _change(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
