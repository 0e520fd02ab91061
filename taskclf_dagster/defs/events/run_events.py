"""Events about runs, derived from the instance's records, because a process that was killed cannot report itself.

`defs.runs.retrain_runs` finds the retrains, `domain.events.delivery` delivers events. Nothing is launched here.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg
from pydantic import AwareDatetime, ValidationError

from taskclf_dagster.config.event_types import EventType
from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, iterate_retrains
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.defs.runs.run_tags import CAUSE_TAG, DECISION_TAG, MODEL_TAG, OUTCOME_REASON_TAG, REASON_TAG
from taskclf_dagster.domain.decision.decision_events import describe_decision
from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.outbox import write_event
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home

OVERLAP = timedelta(minutes=10)
"""Largest delay of a run's record, or error of the clock of its process."""


_KINDS: dict[str, EventType] = {
    "completed": "model.retrain.completed",
    "skipped": "model.retrain.skipped",
    "failed": "model.retrain.failed",
}


class RunCursor(Record):
    """The runs for which events were written.

    Attributes:
        since: time of the first read; nothing before it becomes an event.
        through: time up to which, less OVERLAP, events were written.
        reported: ids of the events since then, with their times.
    """

    since: AwareDatetime
    through: AwareDatetime
    reported: dict[str, AwareDatetime]


def read_cursor(text: str | None, *, now: datetime) -> RunCursor:
    """Returns the stored cursor; one that begins now if there is none, or it cannot be read."""
    try:
        return RunCursor.model_validate_json(text or "")
    except ValidationError:
        return RunCursor(since=now, through=now, reported={})


def write_run_events(home: Home, instance: dg.DagsterInstance, cursor: RunCursor, *, now: datetime) -> RunCursor:
    """Writes the events of runs that began or ended since the cursor.

    Args:
        home: the taskclf home.
        instance: the Dagster instance.
        cursor: result of the last call.
        now: the present time.

    Returns:
        The cursor to store once all events are written.

    Raises:
        OSError: the outbox cannot be written; with the old cursor the events are written again, with the same ids.
    """
    begin = max(cursor.since, cursor.through - OVERLAP)
    reported = dict(cursor.reported)
    for run in iterate_retrains(instance, home, updated_after=begin):
        for event_id, moment in _moments(run):
            if moment >= begin and event_id not in reported:
                write_event(home, _build(home, instance, run, event_id, moment))
                reported[event_id] = moment
    through = max(now, cursor.through)
    return RunCursor(
        since=cursor.since,
        through=through,
        reported={event_id: moment for event_id, moment in reported.items() if moment >= through - OVERLAP},
    )


def _moments(run: RetrainRun) -> Iterator[tuple[str, datetime]]:
    if run.started is not None:
        yield f"{run.run_id}-started", run.started
    if run.finished is not None and run.state in _KINDS:
        yield f"{run.run_id}-{run.state}", run.finished


def _build(home: Home, instance: dg.DagsterInstance, run: RetrainRun, event_id: str, moment: datetime) -> Event:
    if event_id.endswith("-started"):
        kind: EventType = "model.retrain.started"
        payload = _payload(reason=run.tags.get(REASON_TAG) or f"cause: {run.tags.get(CAUSE_TAG, 'by hand')}")
    else:
        kind, payload = _KINDS[run.state], _describe_end(home, instance, run)
    return Event(event_id=event_id, event_type=kind, occurred_at=moment, run_id=run.run_id, payload=payload)


def _describe_end(home: Home, instance: dg.DagsterInstance, run: RetrainRun) -> EventPayload:
    if run.state == "failed":
        return _payload(model_id=run.tags.get(MODEL_TAG), reason=explain_failure(instance, run).message)
    decision = read_decision(home, run.tags[DECISION_TAG]) if DECISION_TAG in run.tags else None
    if decision is None:  # nothing was decided, or its receipt was deleted
        return _payload(model_id=run.tags.get(MODEL_TAG), reason=run.tags.get(OUTCOME_REASON_TAG))
    return describe_decision(decision, reason=f"{decision.outcome}: {decision.reason}")


def _payload(*, reason: str | None, model_id: str | None = None) -> EventPayload:
    return EventPayload(model_id=model_id, metrics=pick_metrics(None), reason=reason)
