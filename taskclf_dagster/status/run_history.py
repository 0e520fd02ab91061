"""The run history of a home: every retrain, newest first, from the runs of the instance and the decision receipts of the home.

Add a value here when every retrain should show it; how page and API show one is in `job_history`. Reads only; printing belongs to `cli`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

import dagster as dg

from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, find_retrain, iterate_retrains
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.defs.runs.run_tags import BY_HAND, CAUSE_TAG, DECISION_TAG, FAILED, OUTCOME_REASON_TAG, OUTCOME_TAG
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import ReceiptCache, list_decisions
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.decision.verdict import describe_approval
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.reporting.verdict_words import say_verdict
from taskclf_dagster.domain.storage.path_names import find_name_problem
from taskclf_dagster.home import Home
from taskclf_dagster.status.records import Retrain

CURSOR_PATTERN = r"^[0-9]{1,18}\.[0-9A-Za-z_-]{1,200}$"
"""The form of a cursor: the time of a retrain [microseconds since 1970] and its id."""


_METRICS = {"macro_f1", "weighted_f1", "accuracy", "macro_precision", "macro_recall"}


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryPage(NamedTuple):
    """Some retrains, newest first, and the cursor of those behind them; None if there are none."""

    retrains: list[Retrain]
    next_cursor: str | None


class _Position(NamedTuple):
    """The place of a retrain in the history: its time [microseconds since 1970] and its id. Neither ever changes."""

    microseconds: int
    name: str

    @property
    def cursor(self) -> str:
        return f"{self.microseconds}.{self.name}"


def read_retrains(instance: dg.DagsterInstance, home: Home, *, limit: int) -> list[Retrain]:
    """Returns the newest retrains of a home, newest first: runs of this instance by launch, decisions of others by as-of time."""
    return read_history_page(instance, home, limit=limit).retrains


def read_history_page(
    instance: dg.DagsterInstance, home: Home, *, limit: int, after: str | None = None, receipts: ReceiptCache | None = None
) -> HistoryPage:
    """Returns a page of the retrains that `read_retrains` lists; retrains that are launched between two pages move nothing.

    Args:
        instance: the Dagster instance.
        home: the taskclf home.
        limit: number of retrains on the page.
        after: cursor of the page before; None for the first.
        receipts: those that were read already.

    Raises:
        ValueError: `after` is not a cursor (CURSOR_PATTERN).
    """
    begin = None if after is None else _parse_cursor(after)
    moves = _read_moves(home)
    decisions = {decision.decision_id: decision for decision in list_decisions(home, receipts)[0]}
    describe: dict[_Position, Callable[[], Retrain]] = {}
    known = set()
    for run in iterate_retrains(instance, home):
        known.add(run.tags.get(DECISION_TAG))
        decision = decisions.get(run.tags.get(DECISION_TAG, ""))
        describe[_position(run.created, run.run_id)] = partial(_describe_run, instance, run, decision, moves)
    for name, decision in decisions.items():
        if name not in known:
            describe[_position(decision.as_of, name)] = partial(_describe_decision, decision, moves)
    behind = sorted((position for position in describe if begin is None or position < begin), reverse=True)
    page = behind[:limit]
    return HistoryPage([describe[position]() for position in page], page[-1].cursor if page and len(behind) > limit else None)


def read_retrain(instance: dg.DagsterInstance, home: Home, name: str, receipts: ReceiptCache | None = None) -> Retrain | None:
    """Returns one retrain of a home by the id of its run or of its decision; None if there is none.

    Args:
        instance: the Dagster instance.
        home: the taskclf home.
        name: id of the run, or of a decision, whether or not this instance has its run.
        receipts: those that were read already.
    """
    if find_name_problem(name) is not None:
        return None
    receipts = receipts or ReceiptCache()
    run = find_retrain(instance, home, name) or next(iterate_retrains(instance, home, tags={DECISION_TAG: name}), None)
    if run is not None:
        return _describe_run(instance, run, receipts.find(home, run.tags.get(DECISION_TAG, "")), _read_moves(home))
    decision = receipts.find(home, name)
    return None if decision is None else _describe_decision(decision, _read_moves(home))


def _position(at: datetime, name: str) -> _Position:
    return _Position((at - _EPOCH) // timedelta(microseconds=1), name)


def _parse_cursor(text: str) -> _Position:
    if re.fullmatch(CURSOR_PATTERN, text, re.ASCII) is None:
        msg = "it is not a cursor, which nextCursor of another page gives"
        raise ValueError(msg)
    microseconds, _, name = text.partition(".")
    return _Position(int(microseconds), name)


def _read_moves(home: Home) -> Mapping[str, int | None]:
    """Returns the sequence numbers of pointer changes by the decision that made them."""
    return {entry.decision_id: entry.sequence for entry in read_history(home).moves if entry.decision_id}


def _describe_run(
    instance: dg.DagsterInstance, run: RetrainRun, decision: PromotionDecision | None, moves: Mapping[str, int | None]
) -> Retrain:
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
        sentence=say_verdict(decision, moved is not None),
    )
