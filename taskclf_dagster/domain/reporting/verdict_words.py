"""Says in plain language what was decided, what the comparison found, and what would help.

Single gates are explained in `gate_words`. Its terms are those of `gate_texts`: a window is a minute, the challenger is the new model,
the champion the running one.
"""

from collections.abc import Sequence

from taskclf_dagster.domain.decision.decision import DecisionContent
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.evaluation.comparison import Comparison
from taskclf_dagster.domain.evaluation.resampling import ROUNDING_NOISE
from taskclf_dagster.domain.reporting.gate_words import explain_gate, show_change, show_score
from taskclf_dagster.shown_text import counted


def sort_gates(gates: Sequence[RegressionGate]) -> list[RegressionGate]:
    """Returns the gates with those first that stopped the model: failed, not decided, passed, not asked; else in their order."""
    order = {"FAIL": 0, "ERROR": 1, "INCONCLUSIVE": 2, "PASS": 3, "NOT_APPLICABLE": 4}
    return sorted(gates, key=lambda gate: order[gate.status])


def say_verdict(decision: DecisionContent, moved: bool) -> str:
    """Says in one sentence what was decided and what it means for the model that runs.

    Args:
        decision: the decision.
        moved: True if its model became the active one since, by itself or by an approval.
    """
    sentence = _say_verdict(decision, moved)
    if not decision.options.dry_run:
        return sentence
    return f"Dry run, nothing was changed: {sentence[0].lower()}{sentence[1:]}"


def say_comparison(decision: DecisionContent) -> str:
    """Says how new and running model differ on minutes that neither has learned from, and how sure that is."""
    comparison = decision.comparison
    if comparison is None:
        if decision.champion.state == "none":
            return "There was no running model to compare the new one with."
        return f"The new model could not be compared with the running one, which is {decision.champion.state}."
    return say_difference(comparison, "the new model", "the running one")


def say_difference(comparison: Comparison, first: str, second: str) -> str:
    """Says how two models differ on minutes that neither has learned from, and how sure that is.

    Args:
        comparison: of the two; the first is its challenger.
        first: what to call it, such as `the new model`.
        second: likewise.
    """
    ours, theirs, evidence = comparison.challenger_macro_f1, comparison.champion_macro_f1, comparison.evidence
    basis = f"On {_grouped(comparison.windows, 'minute')} of {counted(evidence.user_days, 'day')} that neither model has learned from"
    if evidence.users > 1:
        basis = (
            f"On {_grouped(comparison.windows, 'minute')} of {evidence.users} people and {counted(evidence.user_days, 'day')} in all, "
            "which neither model has learned from"
        )
    if ours is None or theirs is None or evidence.difference is None:
        return f"{basis}, no label has enough minutes to be judged, so nothing can be said about a difference."
    scores = f"{basis}, {first} scores {show_score(ours, theirs)} and {second} {show_score(theirs, ours)}"
    gap = evidence.difference
    same = abs(gap) <= ROUNDING_NOISE
    found = "which is the same" if same else f"{show_change(abs(gap)).removeprefix('+')} {'better' if gap > 0 else 'worse'}"
    if evidence.interval is None:
        return f"{scores}, {found}. How sure that is cannot be said from a single day."
    low, high = evidence.interval
    span = f"{evidence.confidence * 100:g} % interval {show_change(low)} to {show_change(high)}"
    meaning = "that is more than chance" if low > 0 or high < 0 else "that may be chance"
    return f"{scores}, {found} ({span}): {meaning}." if not same else f"{scores}, {found} ({span})."


def say_help(decision: DecisionContent) -> list[str]:
    """Returns what would help, one sentence each, what stopped the model first; empty if nothing did."""
    advice = [] if decision.dataset.feasibility.promotable else list(decision.dataset.feasibility.advice)
    for gate in sort_gates(decision.gates):
        help_ = explain_gate(gate, decision).help
        if help_:
            advice.append(help_)
    if decision.dataset.feasibility.promotable:
        advice += decision.dataset.feasibility.advice
    return list(dict.fromkeys(advice))


def _say_verdict(decision: DecisionContent, moved: bool) -> str:
    passed = counted(sum(gate.passed for gate in decision.gates), "check")
    if moved:
        how = "was approved by a person and" if decision.verdict == "AWAITING_APPROVAL" else ""
        return f"The new model passed all {passed} that apply{' and' if not how else f', {how}'} became the running model."
    if decision.verdict == "PROMOTE":
        then = "would become the running model" if decision.options.dry_run else "is to become the running model"
        return f"The new model passed all {passed} that apply and {then}."
    if decision.verdict == "AWAITING_APPROVAL":
        return f"The new model passed all {passed} that apply and {'would wait' if decision.options.dry_run else 'waits'} for approval."
    if not decision.dataset.feasibility.promotable:
        return f"No new model could be judged: {'; '.join(decision.dataset.feasibility.reasons)}. {_who_runs(decision)}"
    failed = [gate for gate in decision.gates if gate.status == "FAIL"]
    if decision.verdict == "REJECT":
        return f"The new model is not good enough: it failed {counted(len(failed), 'check')} ({_titles(failed)}). {_who_runs(decision)}"
    held = [gate for gate in decision.gates if gate.status in ("INCONCLUSIVE", "ERROR")]
    why = f"{counted(len(held), 'check')} could not be judged ({_titles(held)})" if held else "not every check that is required was judged"
    return f"The new model is kept, but not used: {why}. {_who_runs(decision)}"


def _titles(gates: Sequence[RegressionGate]) -> str:
    """Returns the titles of the first gates, as a list in a sentence."""
    titles = [explain_gate(gate).title for gate in gates]
    return "; ".join([*titles[:3], *(["..."] if len(titles) > 3 else [])])


def _who_runs(decision: DecisionContent) -> str:
    return "No model runs yet." if decision.champion.state == "none" else "The running model stays."


def _grouped(number: int, noun: str) -> str:
    return counted(number, noun).replace(str(number), f"{number:,}", 1)
