"""The verdict that follows from the gates: PROMOTE, AWAITING_APPROVAL, REJECT or HOLD."""

from collections.abc import Sequence
from typing import Literal

from taskclf_dagster.domain.data.feasibility import Feasibility
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES
from taskclf_dagster.domain.decision.gate import RegressionGate, Status

Verdict = Literal["PROMOTE", "AWAITING_APPROVAL", "REJECT", "HOLD"]


REQUIRED_GATES = (*CANDIDATE_GATES, *COMPARATIVE_GATES)


MAY_NOT_APPLY = frozenset(
    {
        *("seen_user_f1", "unseen_user_f1", "beats_rule_baseline", "beats_lookup_baseline", "reproducible"),
        *("macro_f1_no_regression", "min_improvement", "not_worse_than_anchor"),
        *("no_user_clearly_worse", "no_class_clearly_worse", "no_slice_clearly_worse", "negative_flips"),
    }
)
"""Gates that have nothing to judge in some situations; every other one must pass."""


_ASK = "; auto_promote is off, so a person has to approve"


def decide(
    gates: Sequence[RegressionGate], feasibility: Feasibility, *, auto_promote: bool, required: Sequence[str] = REQUIRED_GATES
) -> tuple[Verdict, str]:
    """Returns the verdict that follows from the gates, and the reason for it.

    HOLD if no model could be promoted on this data; REJECT if a gate fails; HOLD, with the advice of the feasibility, if a required gate is
    missing, is INCONCLUSIVE or ERROR, or does not apply though it always must; else PROMOTE, or AWAITING_APPROVAL without `auto_promote`.
    The reason of a HOLD and of a REJECT lists everything that prevents a promotion, not only what decided.
    """
    failed = [gate for gate in gates if gate.status == "FAIL"]
    held = [*_list_missing(gates, required), *_list_undecided([gate for gate in gates if gate not in failed])]
    failures = ["Failed: " + "; ".join(f"{gate.name} ({gate.detail})" for gate in failed) + "."] if failed else []
    open_questions = ["Not decided: " + "; ".join(held) + "."] if held else []
    if not feasibility.promotable:
        return "HOLD", " ".join([feasibility.summary, *failures, *open_questions])
    if failed:
        return "REJECT", " ".join([*failures, *open_questions])
    if held:
        return "HOLD", " ".join([*open_questions, *feasibility.advice])
    passed = f"All {sum(gate.status == 'PASS' for gate in gates)} gates that apply passed"
    below = sum(gate.status == "PASS" and gate.beside is not None for gate in gates)
    if below:
        passed += f", {below} of them below the floor, but not below the champion"
    if any(gate.overridden for gate in gates):
        passed += ", the champion was not compared with because bootstrap was given"
    if auto_promote:
        return "PROMOTE", f"{passed}."
    return "AWAITING_APPROVAL", f"{passed}{_ASK}."


def describe_approval(reason: str, by: str | None = None) -> str:
    """Returns the reason of a decision that a person has approved, from that of its verdict.

    Args:
        reason: the reason of its verdict.
        by: who approved it; None if that is not known.
    """
    return f"approved by {by or 'a person'}. {reason.replace(_ASK, '')}"


def _list_missing(gates: Sequence[RegressionGate], required: Sequence[str]) -> list[str]:
    found = {gate.name for gate in gates}
    return [f"{name} was not judged" for name in required if name not in found]


def _list_undecided(gates: Sequence[RegressionGate]) -> list[str]:
    """Returns one text for each status and detail, with the names of the gates that share them."""
    reasons: dict[tuple[Status, str], list[str]] = {}
    for gate in gates:
        excused = gate.status == "NOT_APPLICABLE" and gate.name in MAY_NOT_APPLY
        if gate.status != "PASS" and not excused:
            reasons.setdefault((gate.status, gate.detail), []).append(gate.name)
    return [f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {status} ({detail})" for (status, detail), names in reasons.items()]
