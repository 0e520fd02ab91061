"""The gate of a receipt that was made by a trial: the challenger must be shown to be better, at whatever look that is."""

from taskclf_dagster.domain.decision.comparative_gates import LOWER_END
from taskclf_dagster.domain.decision.gate import GateRule, Judged, NoVerdictError, RegressionGate, judge_gate
from taskclf_dagster.domain.decision.trial import TrialEvidence
from taskclf_dagster.domain.evaluation.sequential import SequentialBounds

TRIAL_GATE = "shown_better_in_trial"


def judge_trial(evidence: TrialEvidence) -> RegressionGate:
    """Judges the bounds of a trial: PASS above 0, FAIL below 0, else INCONCLUSIVE."""
    return judge_gate(GateRule(TRIAL_GATE, LOWER_END, 0.0, lambda: _judge(evidence.bounds)), "comparative")


def describe_bounds(bounds: SequentialBounds) -> str:
    """Returns difference and bounds as one clause."""
    gap = "not known" if bounds.difference is None else f"{bounds.difference:+.4f}"
    days = f"{bounds.user_days} user-day{'s' * (bounds.user_days != 1)}"
    return f"{gap}, between {bounds.lower:+.4f} and {bounds.upper:+.4f} on {days} with {bounds.windows} windows"


def _judge(bounds: SequentialBounds) -> Judged:
    shown = describe_bounds(bounds)
    if bounds.shows_better:
        return Judged(bounds.lower, True, f"{shown}: above 0 at this look, with every earlier look counted")
    if bounds.shows_worse:
        return Judged(bounds.lower, False, f"{shown}: below 0")
    raise NoVerdictError("INCONCLUSIVE", f"{shown}: neither better nor worse is shown yet")
