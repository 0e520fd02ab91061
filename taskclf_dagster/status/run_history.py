"""The run history of a home: every retrain, newest first, from the runs of the instance and the decision receipts of the home.

Add a value here when every retrain should show it. Reads only; printing belongs to `cli`.
"""

from collections.abc import Mapping

import dagster as dg

from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, iterate_retrains
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.defs.runs.run_tags import BY_HAND, CAUSE_TAG, DECISION_TAG, FAILED, OUTCOME_REASON_TAG, OUTCOME_TAG
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.decision.verdict import describe_approval
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.home import Home
from taskclf_dagster.status.records import Retrain

_METRICS = {"macro_f1", "weighted_f1", "accuracy", "macro_precision", "macro_recall"}


def read_retrains(instance: dg.DagsterInstance, home: Home, *, limit: int) -> list[Retrain]:
    """Returns the newest retrains of a home, newest first: runs of this instance by start, decisions of others by as-of time."""
    moves = {entry.decision_id: entry.sequence for entry in read_history(home).moves if entry.decision_id}
    decisions = {decision.decision_id: decision for decision in list_decisions(home)[0]}
    runs = list(iterate_retrains(instance, home))
    known = {run.tags.get(DECISION_TAG) for run in runs}
    dated = [(run.began, _describe_run(instance, run, decisions, moves)) for run in runs[:limit]]
    dated += [(decision.as_of, _describe_decision(decision, moves)) for name, decision in decisions.items() if name not in known]
    return [retrain for _, retrain in sorted(dated, key=lambda pair: pair[0], reverse=True)[:limit]]


def _describe_run(
    instance: dg.DagsterInstance, run: RetrainRun, decisions: Mapping[str, PromotionDecision], moves: Mapping[str, int | None]
) -> Retrain:
    decision = decisions.get(run.tags.get(DECISION_TAG, ""))
    failed = run.state == "failed"
    retrain = _describe_decision(decision, moves) if decision is not None else Retrain(status=run.state)
    return retrain.model_copy(
        update={
            "run_id": run.run_id,
            "decision_id": run.tags.get(DECISION_TAG),
            "status": run.state,
            "outcome": FAILED if failed else run.tags.get(OUTCOME_TAG),
            "cause": run.tags.get(CAUSE_TAG, BY_HAND),
            "started": run.began,
            "finished": run.finished,
            "error": explain_failure(instance, run).message if failed else None,
            "reason": retrain.reason if retrain.moved is not None else run.tags.get(OUTCOME_REASON_TAG),
        }
    )


def _describe_decision(decision: PromotionDecision, moves: Mapping[str, int | None]) -> Retrain:
    challenger, champion = decision.challenger, decision.champion.model
    moved, (before, after) = moves.get(decision.decision_id), score_fairly(decision)
    is_approved = moved is not None and decision.verdict == "AWAITING_APPROVAL"
    return Retrain(
        decision_id=decision.decision_id,
        status="completed",
        outcome=decision.outcome,
        previous_version=None if champion is None else champion.model_id,
        new_version=None if moved is None else challenger.model_id,
        challenger=challenger.model_id,
        labels=sum(decision.dataset.split.values()),
        metrics_before=None if before is None else before.model_dump(include=_METRICS),
        metrics_after=after.model_dump(include=_METRICS),
        compared_windows=after.windows,
        moved=moved,
        reason=describe_approval(decision.reason) if is_approved else decision.reason,
    )
