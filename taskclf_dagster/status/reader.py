"""Reads the status of a home: its state, its last decision, what is due and what is wrong, from the instance's runs and the home's records.

Add a value here when an operator needs to see it now; past retrains belong to `run_history`. Reads only; printing belongs to `cli`, and
`client` reads the same over GraphQL.
"""

from collections.abc import Mapping
from datetime import datetime

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.automation.schedules import DAILY
from taskclf_dagster.defs.dagster_internals import is_schedule_stopped, iterate_ticks, read_scheduler_heartbeat
from taskclf_dagster.defs.runs.retrain_runs import (
    FINISHED,
    RetrainRun,
    describe_unfinished_retrain,
    find_unfinished_retrain,
    iterate_retrains,
)
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.defs.runs.run_tags import DECISION_TAG, OUTCOME_REASON_TAG, OUTCOME_TAG
from taskclf_dagster.defs.runs.time_zones import time_zone
from taskclf_dagster.domain.data.day_folders import find_passed_over
from taskclf_dagster.domain.data.passed_over import describe_passed_over
from taskclf_dagster.domain.decision.comparative_gates import REPAIR_HISTORY
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.events.outbox import count_events
from taskclf_dagster.domain.registry.active_model import ActiveModel, find_active_model
from taskclf_dagster.domain.registry.health import find_history_problem, find_policy_problem, find_usable_pointer
from taskclf_dagster.domain.registry.repair_target import advise_repair
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.registry.write_problems import find_write_problems
from taskclf_dagster.domain.scheduling.triggers import TriggerAssessment, assess_trigger
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted
from taskclf_dagster.status.records import Status
from taskclf_dagster.status.run_progress import StepTimesReader, read_progress
from taskclf_dagster.status.trial_views import describe_probation, describe_trials

MAX_VIOLATIONS = 5
"""Largest number of violations of the data contract that are warnings; the others are counted."""


DAEMON_SECONDS = 180.0
"""A daemon whose last heartbeat is older than this does not run."""


def read_status(instance: dg.DagsterInstance, home: Home, *, config: RetrainConfig, now: datetime) -> Status:
    """Returns the status of a home."""
    unfinished = find_unfinished_retrain(instance, home)
    ended = next(iterate_retrains(instance, home, statuses=FINISHED), None)
    last, shown = read_last_decided(home), unfinished or ended
    trigger, due_reason = _assess_trigger(home, config, now)
    fates = None if trigger is None else trigger.data.label_fates
    registry, stopped = read_registry_state(home), is_schedule_stopped(instance, DAILY)
    moves = {entry.decision_id: entry.sequence for entry in registry.history.moves if entry.decision_id}
    active = find_active_model(registry)
    progress = None
    if unfinished is not None:
        progress = read_progress(instance, home, unfinished, now=now, times=StepTimesReader().read(instance, home))
    return Status(
        home=home.display_name,
        state="idle" if shown is None else shown.state,
        reason=describe_idle(home) if shown is None else _explain(instance, shown, moves),
        last_run_id=None if ended is None else ended.run_id,
        last_finished=None if ended is None else ended.finished,
        last_decision=None if last is None else last.decision_id,
        last_outcome=None if last is None else last.outcome,
        last_decided=None if last is None else last.decided_at,
        last_moved=None if last is None or last.decision_id is None else moves.get(last.decision_id),
        active_model=active.model_id,
        active_model_source=active.source,
        reject_threshold=None if active.threshold is None else active.threshold.value,
        active_model_summary=active.summary,
        labels_since=None if trigger is None else trigger.changed_spans,
        label_spans=None if fates is None else fates.summary,
        spans_by_fate=None if fates is None else {str(fate): n for fate, n in fates.counts.items()},
        due=trigger is not None and trigger.launch,
        due_reason=due_reason if config.scheduling.enabled else f"{due_reason}. Nothing is launched by itself: `enabled` is false.",
        due_at=None if trigger is None else trigger.due_at,
        next_tick=find_next_tick(config, now=now) if config.scheduling.enabled and not stopped else None,
        events_waiting=count_events(home),
        warnings=[*_find_warnings(instance, registry, active, now=now, stopped=stopped), *_find_data_warnings(home, trigger)],
        progress=progress,
        trials=describe_trials(home),
        probation=describe_probation(home),
    )


def find_next_tick(config: RetrainConfig, *, now: datetime) -> datetime:
    """Returns the next tick of the daily schedule, in its own time zone."""
    schedule = config.scheduling.schedule
    return next(iterate_ticks(schedule.cron, time_zone(schedule), after=now))


def is_daemon_running(instance: dg.DagsterInstance, now: datetime) -> bool:
    """Returns True if the daemon that ticks schedules and starts queued runs gave a sign of life lately."""
    heartbeat = read_scheduler_heartbeat(instance)
    return heartbeat is not None and now.timestamp() - heartbeat <= DAEMON_SECONDS


def describe_idle(home: Home) -> str:
    """Returns the reason of the state of a home of which the instance has no run."""
    last = read_last_decided(home)
    if last is None:
        return "no retrain was ever launched for this home"
    return f"this Dagster instance has no retrain of this home; the last one decided on {last.decided_at:%Y-%m-%d %H:%M %Z}"


def _find_warnings(
    instance: dg.DagsterInstance, registry: RegistryState, active: ActiveModel, *, now: datetime, stopped: bool
) -> list[str]:
    warnings = []
    if not is_daemon_running(instance, now):
        warnings.append("no daemon is running, so nothing happens by itself: start `taskclf-dagster serve`, or the deployment")
    elif stopped:
        warnings.append(f"the schedule {DAILY} was switched off in the browser")
    problems = [find_usable_pointer(registry).problem, find_policy_problem(registry)]
    warnings += [f"{problem}; {advise_repair(registry)}" for problem in problems if problem is not None]
    warnings += active.details("policy_names_another_model", "threshold_differs", "repair_restores")
    warnings += map(str, find_write_problems(registry.home))
    damaged = find_history_problem(registry)
    if damaged is not None:
        warnings.append(f"{damaged}: nothing is promoted; {REPAIR_HISTORY}")
    return warnings


def _assess_trigger(home: Home, config: RetrainConfig, now: datetime) -> tuple[TriggerAssessment | None, str]:
    """Returns the assessment of the triggers and its reason; None and the error if a file cannot be read."""
    try:
        trigger = assess_trigger(home, config=config, now=now)
    except (TaskclfDagsterError, OSError) as error:
        return None, str(error)
    return trigger, trigger.reason


def _find_data_warnings(home: Home, trigger: TriggerAssessment | None) -> list[str]:
    """Returns what is not read, breaks the data contract or labels nothing; a problem that is in the trigger's reason is not repeated."""
    warnings = []
    try:
        passed_over = describe_passed_over(find_passed_over(home))
    except TaskclfDagsterError as error:
        passed_over = str(error)
    if passed_over:
        warnings.append(passed_over)
    if trigger is None:
        return warnings
    if trigger.data.problem is not None and trigger.data.problem not in trigger.blockers:
        warnings.append(trigger.data.problem)
    violations = [violation for violation in trigger.data.violations if violation not in trigger.blockers]
    warnings += violations[:MAX_VIOLATIONS]
    if len(violations) > MAX_VIOLATIONS:
        warnings.append(
            f"{counted(len(violations) - MAX_VIOLATIONS, 'more violation')} of the data contract: a retrain lists them in its checks"
        )
    return warnings if trigger.data.label_fates is None else warnings + trigger.data.label_fates.causes


def _explain(instance: dg.DagsterInstance, run: RetrainRun, moves: Mapping[str, int | None]) -> str:
    """Returns the reason of a run's state.

    Args:
        instance: the Dagster instance.
        run: the run.
        moves: sequence numbers of pointer changes by the decision that made them.
    """
    if run.state in ("queued", "running"):
        return describe_unfinished_retrain(run)
    if run.state == "failed":
        return f"run {run.run_id} failed: {explain_failure(instance, run).message}"
    outcome, moved = run.tags.get(OUTCOME_TAG, "completed"), moves.get(run.tags.get(DECISION_TAG, ""))
    if outcome == "AWAITING_APPROVAL" and moved is not None:
        return f"run {run.run_id}: {outcome}, and a person approved it since (record {moved})"
    return f"run {run.run_id}: {outcome}: {run.tags.get(OUTCOME_REASON_TAG, 'no reason was recorded')}"
