"""What an operator wants to know of a home: its state now, and every retrain there was. From the instance's runs and the home's records.

Reads only; how it is printed belongs to the command line, and the same over HTTP is in `client`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._utils.schedules import cron_string_iterator
from pydantic import BaseModel, ConfigDict

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.automation.schedules import DAILY, time_zone
from taskclf_dagster.defs.runs.retrain_runs import (
    BY_HAND,
    CAUSE_TAG,
    DECISION_TAG,
    FINISHED,
    OUTCOME_REASON_TAG,
    OUTCOME_TAG,
    RetrainRun,
    describe_unfinished_retrain,
    find_unfinished_retrain,
    iterate_retrains,
)
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.domain.decision.decision import JudgedModel, PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.events.outbox import count_events
from taskclf_dagster.domain.registry.health import find_active_model_dir, find_policy_problem, find_usable_pointer
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.scheduling.triggers import assess_trigger
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

MAX_LOG_EVENTS = 200


SCHEDULER = "SCHEDULER"


DAEMON_SECONDS = 180.0
"""A daemon that was not heard of for so long is not running."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Progress(_View):
    """How far a retrain is.

    Attributes:
        run_id: the run.
        since: when its process began, or, while it is queued, when it was asked for.
        steps_done: assets and checks that have ended.
        steps: all of them.
        step: the one at work now; None before the first.
        message: what it logged last.
    """

    run_id: str
    since: datetime
    steps_done: int
    steps: int
    step: str | None
    message: str | None


class Status(_View):
    """The state of a home's retraining.

    Attributes:
        state: running (or queued) where a retrain is under way; else how the last one ended; idle where there never was one.
        reason: of that state, in words.
        last_run_id: the last run that ended.
        last_finished: when it ended.
        last_decision: id of the last decision that counts.
        last_outcome: its verdict, or SKIP.
        last_decided: when that was.
        active_model: what taskclf runs; None where it runs none.
        labels_since: label spans new, changed or gone since the last decided run; None where they cannot be read.
        due: whether a retrain would be launched by the daily schedule now.
        due_reason: why, or why not and until when.
        due_at: when one is due at the latest, new labels apart.
        next_tick: when the daily schedule looks next; None where it is off.
        events_waiting: events that not every sink has yet.
        warnings: what keeps it from running by itself, or what is damaged, in words.
        progress: of the run under way.
    """

    home: str
    state: Literal["idle", "queued", "running", "completed", "skipped", "failed"]
    reason: str
    last_run_id: str | None
    last_finished: datetime | None
    last_decision: str | None
    last_outcome: str | None
    last_decided: datetime | None
    active_model: str | None
    labels_since: int | None
    due: bool
    due_reason: str
    due_at: datetime | None
    next_tick: datetime | None
    events_waiting: int
    warnings: list[str]
    progress: Progress | None


class Retrain(_View):
    """One retrain, as the history lists it.

    Attributes:
        run_id: the Dagster run; None where this instance does not know it.
        decision_id: its decision; None where none was made.
        status: queued, running, completed, skipped or failed.
        outcome: the verdict, SKIP, or FAILED; None before that.
        cause: what launched it.
        previous_version: the champion it was judged against.
        new_version: its model, if the pointer moved to it.
        challenger: the model it trained.
        labels: labelled windows of its dataset.
        metrics_before: macro_f1 and weighted_f1 of the champion on its test windows.
        metrics_after: the same of the challenger.
        moved: number of the registry's record by which the pointer moved.
        error: why it failed.
        reason: of the outcome, in words.
    """

    run_id: str | None = None
    decision_id: str | None = None
    status: str
    outcome: str | None = None
    cause: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    previous_version: str | None = None
    new_version: str | None = None
    challenger: str | None = None
    labels: int | None = None
    metrics_before: dict[str, float | None] | None = None
    metrics_after: dict[str, float | None] | None = None
    moved: int | None = None
    error: str | None = None
    reason: str | None = None


def read_status(instance: dg.DagsterInstance, home: Home, *, config: RetrainConfig, now: datetime) -> Status:
    """The state of a home's retraining now."""
    unfinished = find_unfinished_retrain(instance, home)
    ended = next(iterate_retrains(instance, home, statuses=FINISHED), None)
    last, shown = read_last_decided(home), unfinished or ended
    try:
        trigger = assess_trigger(home, config=config, now=now)
        due, due_reason, labels, due_at = trigger.launch, trigger.reason, trigger.changed_spans, trigger.due_at
    except (TaskclfDagsterError, OSError) as error:
        due, due_reason, labels, due_at = False, str(error), None, None
    running, switched_off = find_active_model_dir(home), is_switched_off(instance)
    return Status(
        home=home.display_name,
        state="idle" if shown is None else shown.state,
        reason="no retrain was ever launched for this home" if shown is None else _explain(instance, shown),
        last_run_id=None if ended is None else ended.run_id,
        last_finished=None if ended is None else ended.finished,
        last_decision=None if last is None else last.decision_id,
        last_outcome=None if last is None else last.outcome,
        last_decided=None if last is None else last.decided_at,
        active_model=None if running is None else running.rpartition("/")[2],
        labels_since=labels,
        due=due,
        due_reason=due_reason if config.scheduling.enabled else f"{due_reason}. Nothing is launched by itself: `enabled` is false.",
        due_at=due_at,
        next_tick=find_next_tick(config, now=now) if config.scheduling.enabled and not switched_off else None,
        events_waiting=count_events(home),
        warnings=_find_warnings(instance, home, now=now, switched_off=switched_off),
        progress=None if unfinished is None else read_progress(instance, unfinished),
    )


def find_next_tick(config: RetrainConfig, *, now: datetime) -> datetime:
    """When the daily schedule looks next, in its own time zone."""
    return next(cron_string_iterator(now.timestamp(), config.scheduling.schedule.cron, time_zone(config.scheduling.schedule)))


def is_switched_off(instance: dg.DagsterInstance) -> bool:
    """Whether a person turned the daily schedule off in the browser."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    return any(state.instigator_name == DAILY and state.status == InstigatorStatus.STOPPED for state in states)


def _find_warnings(instance: dg.DagsterInstance, home: Home, *, now: datetime, switched_off: bool) -> list[str]:
    heartbeat = instance.get_daemon_heartbeats().get(SCHEDULER)
    warnings = []
    if heartbeat is None or now.timestamp() - heartbeat.timestamp > DAEMON_SECONDS:
        warnings.append("no daemon is running, so nothing happens by itself: start `dagster dev`, or the deployment")
    elif switched_off:
        warnings.append(f"the schedule {DAILY} was switched off in the browser")
    problems = [find_usable_pointer(home)[1], find_policy_problem(home)]
    return warnings + [f"{problem}; `taskclf-dagster registry repair` mends it" for problem in problems if problem is not None]


def read_progress(instance: dg.DagsterInstance, run: RetrainRun) -> Progress:
    """How far a run is, from its event log."""
    stats = instance.get_run_step_stats(run.run_id)
    begun = [step for step in stats if step.start_time is not None]
    at_work = [step for step in begun if step.end_time is None]
    records = instance.get_records_for_run(run.run_id, limit=MAX_LOG_EVENTS, ascending=False).records
    said = next((record.event_log_entry.user_message for record in records if not record.event_log_entry.is_dagster_event), None)
    plan = instance.get_execution_plan_snapshot(run.run.execution_plan_snapshot_id) if run.run.execution_plan_snapshot_id else None
    return Progress(
        run_id=run.run_id,
        since=_began(run),
        steps_done=len(begun) - len(at_work),
        steps=len(begun) if plan is None else len(plan.step_keys_to_execute),
        step=at_work[-1].step_key if at_work else None,
        message=said,
    )


def read_retrains(instance: dg.DagsterInstance, home: Home, *, limit: int) -> list[Retrain]:
    """Every retrain of a home, the newest first: the runs that the instance knows, and decisions that other instances made."""
    moves = {entry.decision_id: entry.sequence for entry in read_history(home).moves if entry.decision_id}
    decisions = {decision.decision_id: decision for decision in list_decisions(home)[0]}
    runs = list(iterate_retrains(instance, home))
    known = {run.tags.get(DECISION_TAG) for run in runs}
    when = [(_began(run), _describe_run(instance, run, decisions, moves)) for run in runs[:limit]]
    when += [(_kept_at(home, decision), _describe_decision(decision, moves)) for name, decision in decisions.items() if name not in known]
    return [entry for _, entry in sorted(when, key=lambda pair: pair[0], reverse=True)[:limit]]


def _began(run: RetrainRun) -> datetime:
    return run.started or run.created


def _describe_run(
    instance: dg.DagsterInstance, run: RetrainRun, decisions: Mapping[str, PromotionDecision], moves: Mapping[str, int | None]
) -> Retrain:
    decision = decisions.get(run.tags.get(DECISION_TAG, ""))
    failed = run.state == "failed"
    entry = _describe_decision(decision, moves) if decision is not None else Retrain(status=run.state)
    return entry.model_copy(
        update={
            "run_id": run.run_id,
            "decision_id": run.tags.get(DECISION_TAG),
            "status": run.state,
            "outcome": "FAILED" if failed else run.tags.get(OUTCOME_TAG),
            "cause": run.tags.get(CAUSE_TAG, BY_HAND),
            "started": _began(run),
            "finished": run.finished,
            "error": explain_failure(instance, run).words if failed else None,
            "reason": run.tags.get(OUTCOME_REASON_TAG),
        }
    )


def _describe_decision(decision: PromotionDecision, moves: Mapping[str, int | None]) -> Retrain:
    challenger, champion = decision.challenger, decision.champion
    moved = moves.get(decision.decision_id)
    return Retrain(
        decision_id=decision.decision_id,
        status="completed",
        outcome=decision.outcome,
        previous_version=None if champion is None else champion.model_id,
        new_version=None if moved is None else challenger.model_id,
        challenger=challenger.model_id,
        labels=sum(decision.split.values()),
        metrics_before=None if champion is None else _metrics(champion),
        metrics_after=_metrics(challenger),
        moved=moved,
        reason=decision.reason,
    )


def _kept_at(home: Home, decision: PromotionDecision) -> datetime:
    """When a record was written: its as-of time may be any."""
    return datetime.fromtimestamp((home.decisions / f"{decision.decision_id}.json").stat().st_mtime, UTC)


def _metrics(model: JudgedModel) -> dict[str, float | None]:
    return {"macro_f1": model.macro_f1, "weighted_f1": model.weighted_f1}


def _explain(instance: dg.DagsterInstance, run: RetrainRun) -> str:
    """The reason of a run's state, in words."""
    if run.state in ("queued", "running"):
        return describe_unfinished_retrain(run)
    if run.state == "failed":
        return f"run {run.run_id} failed: {explain_failure(instance, run).words}"
    outcome = run.tags.get(OUTCOME_TAG, "it ended well")
    return f"run {run.run_id}: {outcome}: {run.tags.get(OUTCOME_REASON_TAG, 'no reason was recorded')}"
