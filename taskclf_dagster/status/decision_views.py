"""Describes decisions for page and API: the verdict and its gates in plain words, fair figures before and after.

The sentences are those of `domain.reporting`; the records are in `decision_records`. Reads nothing and decides nothing.
"""

from collections.abc import Sequence

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.reporting.gate_words import explain_gate
from taskclf_dagster.domain.reporting.verdict_words import say_comparison, say_verdict, sort_gates
from taskclf_dagster.status.decision_records import (
    ComparisonView,
    DecisionSummary,
    Flips,
    GateView,
    TrendPoint,
)
from taskclf_dagster.status.job_history import REPORT_PATH

TREND_LENGTH = 20
"""Largest number of decisions in the trend."""


def summarize_decision(decision: PromotionDecision, *, moved: int | None, waits: bool, reports: str = REPORT_PATH) -> DecisionSummary:
    """Describes a decision for a person.

    Args:
        decision: the decision.
        moved: number of the history record by which its challenger became active; None if it did not.
        waits: True if it awaits approval, and still can be approved.
        reports: the path of the reports of its home on the web server.
    """
    champion = decision.champion.model
    return DecisionSummary(
        decision_id=decision.decision_id,
        verdict=decision.verdict,
        dry_run=decision.options.dry_run,
        sentence=say_verdict(decision, moved is not None),
        as_of=decision.as_of,
        model_id=decision.challenger.model_id,
        previous_version=None if champion is None else champion.model_id,
        moved=moved,
        gates=_describe_gates(decision),
        comparison=_describe_comparison(decision),
        report_url=f"{reports}{decision.decision_id}",
        waits=waits,
    )


def find_trend(decisions: Sequence[PromotionDecision]) -> list[TrendPoint]:
    """Returns the fair figures of the newest decisions, oldest first, without dry runs.

    Args:
        decisions: the newest first.
    """
    made = [decision for decision in decisions if not decision.options.dry_run][:TREND_LENGTH]
    return [_describe_point(decision) for decision in reversed(made)]


def _describe_gates(decision: PromotionDecision) -> list[GateView]:
    views = []
    for gate in sort_gates(decision.gates):
        words = explain_gate(gate, decision)
        views.append(
            GateView(
                name=gate.name,
                title=words.title,
                status=gate.status,
                observed=gate.observed,
                threshold=gate.threshold,
                unit=gate.unit,
                sentence=words.sentence,
                help=words.help,
            )
        )
    return views


def _describe_comparison(decision: PromotionDecision) -> ComparisonView | None:
    comparison = decision.comparison
    if comparison is None:
        return None
    evidence, flips = comparison.evidence, comparison.flips
    low, high = evidence.interval or (None, None)
    return ComparisonView(
        windows=comparison.windows,
        user_days=evidence.user_days,
        before=comparison.champion_macro_f1,
        after=comparison.challenger_macro_f1,
        difference=comparison.macro_f1_delta,
        low=low,
        high=high,
        significance=1 - evidence.confidence,
        p_value=evidence.p_value,
        sentence=say_comparison(decision),
        detectable=evidence.detectable_difference,
        changes=Flips(became_right=sum(flips.positive.values()), became_wrong=sum(flips.negative.values())),
    )


def _describe_point(decision: PromotionDecision) -> TrendPoint:
    before, after = score_fairly(decision)
    return TrendPoint(
        at=decision.as_of,
        decision_id=decision.decision_id,
        verdict=decision.verdict,
        before=None if before is None else before.macro_f1,
        after=after.macro_f1,
    )
