"""Says what a gate found for the owner of a home, in plain language and with the figures of the gate.

The text of each gate is in `gate_texts`; verdict and comparison are said in `verdict_words`. Nothing is judged here.
"""

from collections.abc import Sequence

from taskclf_dagster.domain.decision.comparative_gates import SLICE_GATE, is_strict
from taskclf_dagster.domain.decision.decision import DecisionContent
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.evaluation.significance import GroupSignificance
from taskclf_dagster.domain.evaluation.slice_significance import assess_slices
from taskclf_dagster.domain.reporting.gate_texts import GATE_TEXTS, REJECTS_TOO_OFTEN, REJECTS_TOO_RARELY, GateText, Shown
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted, shorten_names

_GROUPS = {"no_user_clearly_worse": "one person", "no_class_clearly_worse": "one label", SLICE_GATE: "one app or hour"}
"""The subject of a gate on groups, where the group is not known."""


_MEASURED_BOUNDS = ("beats_rule_baseline", "beats_lookup_baseline", "negative_flips")
"""Gates whose threshold is a measured figure, too, and is rounded as one."""


_LEAST_CHANCE = 0.001
"""Smaller p-values are not distinguished."""


_SMALL_SHARE = 0.1
"""Smaller shares have a digit after the point."""


_MOST_DIGITS = 6
"""Digits after the point of a percentage."""


_LIKELY_CHANCE = 0.5
"""From larger p-values on there is no decline to speak of."""


class GateWords(Record):
    """A gate in plain language.

    Attributes:
        title: what it asks for, in a few words.
        sentence: what it found, with its figures.
        help: what would help; None if it passed or does not apply.
    """

    title: str
    sentence: str
    help: str | None


def explain_gate(gate: RegressionGate, decision: DecisionContent | None = None) -> GateWords:
    """Says in plain language what a gate found and what would help.

    Args:
        gate: the gate; one of another version, whose name is not known, is shown as it is.
        decision: the decision that it is of; without it a person, label or slice is not named.
    """
    text = GATE_TEXTS.get(gate.name)
    detail = gate.detail.rstrip(".")
    if text is None:
        return GateWords(title=gate.name.replace("_", " "), sentence=f"{gate.status}: {detail}.", help=None)
    if gate.status == "NOT_APPLICABLE":
        how = "Not judged, because bootstrap was given" if gate.overridden else "Not asked here"
        return GateWords(title=text.title, sentence=f"{how}: {detail.removeprefix('bootstrap was given: ')}.", help=None)
    if gate.status == "ERROR":
        again = "Retrain with force. If it fails again, report this message: until it is judged no model can be promoted."
        return GateWords(title=text.title, sentence=f"The check itself failed: {detail}.", help=again)
    if gate.status == "INCONCLUSIVE":
        sentence = f"It could not be judged whether {text.asks}: {detail}."
        return GateWords(title=text.title, sentence=sentence, help=_help_to_decide(gate, text, decision))
    template = text.passed if gate.passed else text.failed
    figures = _list_figures(gate, text.shows, decision)
    help_ = None if gate.passed else _help_to_improve(gate, text).format_map(figures)
    return GateWords(title=text.title, sentence=template.format_map(figures) + _describe_beside(gate), help=help_)


def show_share(value: float, beside: float | None = None) -> str:
    """Returns a share from 0 to 1 as percent, with as many digits as it takes not to contradict what it is compared with.

    Only all is 100 %, and only nothing 0 %.
    """
    digits = 0 if value >= _SMALL_SHARE else 1
    while 0 < value < 1 and digits < _MOST_DIGITS and float(f"{100 * value:.{digits}f}") in (0, 100):
        digits += 1
    shown = _show_beside(100 * value, None if beside is None else 100 * beside, digits=digits)
    return f"{shown.removesuffix('.0')} %"


def show_score(value: float, beside: float | None = None) -> str:
    """Returns a score from 0 to 1 with two digits, or as many as it takes not to contradict what it is compared with."""
    return _show_beside(value, beside, digits=2)


def show_change(value: float, beside: float | None = None) -> str:
    """Returns a change with its sign and three digits, or as many as it takes not to contradict what it is compared with."""
    shown = _show_beside(value, beside, digits=3)
    return shown if shown.startswith("-") else f"+{shown}"


def _show_beside(value: float, beside: float | None, *, digits: int) -> str:
    """Returns a number with at least these digits, rounded so that it stays above, below or equal to the other number."""
    value = round(value, 9)
    other = value if beside is None else round(beside, 9)
    for places in range(digits, 9):
        shown = f"{value:.{places}f}"
        if beside is None or (float(shown) > other, float(shown) < other) == (value > other, value < other):
            break
    return shown.removeprefix("-") if float(shown) == 0 else shown


def _list_figures(gate: RegressionGate, shows: Shown, decision: DecisionContent | None) -> dict[str, str]:
    """Returns what stands for the names in the text of a gate."""
    figures = {"detail": gate.detail.rstrip("."), "observed": "-", "threshold": "-", "low": "-", "high": "-"}
    if gate.observed is None or gate.threshold is None:
        group = _GROUPS.get(gate.name, "")
        return {**figures, "group": group, "whom": group, "chance": figures["detail"]}
    show = {"share": show_share, "score": show_score, "change": show_change, "nothing": show_score}[shows]
    if isinstance(gate.threshold, tuple):
        low, high = gate.threshold
        near = low if gate.observed < (low + high) / 2 else high
        return {**figures, "observed": show(gate.observed, near), "low": show(low, low), "high": show(high, high)}
    observed, threshold = show(gate.observed, gate.threshold), show(gate.threshold, gate.threshold)
    if gate.name in _MEASURED_BOUNDS:
        threshold = show(gate.threshold, gate.observed)
    if gate.kind == "comparative" and shows == "change" and is_strict(gate):
        observed = f"{observed} in the less favorable case"
    if gate.name in _GROUPS:
        figures |= _describe_group(gate, observed, threshold, decision)
    return {**figures, "observed": observed, "threshold": threshold}


def _describe_group(gate: RegressionGate, observed: str, threshold: str, decision: DecisionContent | None) -> dict[str, str]:
    """Returns the person, label or slice whose figure a gate shows, with its p-value: how often chance alone shows as much."""
    if gate.observed is not None and gate.observed < _LEAST_CHANCE:
        observed = f"less than {show_share(_LEAST_CHANCE, _LEAST_CHANCE)}"
    counts = f"only below {threshold} would it count" if gate.passed else f"below {threshold} it counts as shown"
    chance = f"chance alone would show such a decline in {observed} of cases, and {counts}"
    if gate.passed and gate.observed is not None and gate.observed > _LIKELY_CHANCE:
        chance = f"no decline is shown (below {threshold} it would be, and it is {observed})"
    groups = _list_groups(gate, decision)
    found = [group for group in groups if group.adjusted_p is not None and group.adjusted_p == gate.observed]
    if not found:
        return {"group": _GROUPS[gate.name], "whom": _GROUPS[gate.name].replace("one", "that", 1), "chance": chance}
    worst = min(found, key=lambda group: group.difference or 0.0)
    is_user = gate.name == "no_user_clearly_worse"
    name = shorten_names(group.name for group in groups)[worst.name] if is_user else worst.name
    name = f'"{name}"' if gate.name == SLICE_GATE else name
    changed = "" if worst.difference is None else f"the score changes by {show_change(worst.difference)}; "
    return {"group": name, "whom": name, "chance": f"{changed}{chance}"}


def _list_groups(gate: RegressionGate, decision: DecisionContent | None) -> Sequence[GroupSignificance]:
    """Returns the people, labels or slices that a gate judges; none without their decision."""
    comparison = None if decision is None else decision.comparison
    if decision is None or comparison is None:
        return []
    if gate.name == SLICE_GATE:
        return [] if comparison.slices is None else assess_slices(comparison.slices, decision.settings.comparison)
    return comparison.evidence.by_user if gate.name == "no_user_clearly_worse" else comparison.evidence.by_label


def _describe_beside(gate: RegressionGate) -> str:
    """Returns what a floor that is missed was judged by, if the running model was looked at; nothing otherwise."""
    beside = gate.beside
    if beside is None or not isinstance(gate.threshold, float):
        return ""
    show = show_share if GATE_TEXTS[gate.name].shows == "share" else show_score
    ours, theirs = show(beside.challenger, beside.champion), show(beside.champion, beside.challenger)
    same = f"on the same {counted(beside.windows, 'minute')} it has {ours} and the running model {theirs}"
    if gate.passed:
        return f" It misses that, but so does the running model, and it is not worse: {same}."
    return f" Beside the running model this does not pass either: {same}."


def _help_to_improve(gate: RegressionGate, text: GateText) -> str:
    if isinstance(gate.threshold, tuple) and gate.observed is not None:
        return REJECTS_TOO_OFTEN if gate.observed > gate.threshold[1] else REJECTS_TOO_RARELY
    return text.improve


def _help_to_decide(gate: RegressionGate, text: GateText, decision: DecisionContent | None) -> str:
    """Returns what would let a gate be judged: the running model must work before anything can be compared with it."""
    if decision is None or gate.kind != "comparative":
        return text.decide
    if decision.registry.history_damaged and gate.name in ("not_worse_than_anchor", "not_rolled_back"):
        return text.decide
    if decision.champion.state not in ("ok", "none"):
        return "Put the running model in order, which `taskclf-dagster registry fsck` checks, or retrain with bootstrap."
    return text.decide
