"""The reason of a failed run, from the events that Dagster stores with it.

Add a source of reasons here. Kinds of failure are defined in `domain.scheduling.failure_kinds`, retries in `failed_run_sensor`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dagster as dg

from taskclf_dagster import errors
from taskclf_dagster.defs.dagster_internals import ErrorInfo
from taskclf_dagster.defs.runs.lost_pods import describe_lost_pod
from taskclf_dagster.defs.runs.retrain_runs import RetrainRun
from taskclf_dagster.defs.runs.run_tags import FAILURE_TAG
from taskclf_dagster.domain.scheduling.failure_kinds import KILLED, TIMEOUT, Kind, classify_failure

OWN_ERRORS = f"{errors.__name__}."


REASON_EVENTS = frozenset(
    {
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.RUN_CANCELED,
        dg.DagsterEventType.ENGINE_EVENT,
    }
)
"""Event types that carry a reason. The death of a process is an engine event; the failure event does not mention it."""


NOT_LAUNCHED = ("Caught an unrecoverable error while dequeuing the run", "Run dequeue failed to reach the user code server after")
"""Beginnings of the engine events in which the queue says that it gave a run up; they carry the error, the failure event does not."""


WRAPPERS = frozenset({"DagsterExecutionStepExecutionError", "DagsterResourceFunctionError"})


TOOK_TOO_LONG = "it ran longer than timeout_minutes and was ended"


INTERRUPTED = "it was interrupted before it came to an end"


NO_REASON = "the run failed before any step; see the run's log"


def describe_failure(events: Iterable[dg.DagsterEvent]) -> str:
    """Returns the descriptions of failed blocking checks, else the message of the innermost error, else what ended the run from outside.

    Args:
        events: the events of one run; only those of REASON_EVENTS are used.
    """
    relevant = [event for event in events if event.event_type in REASON_EVENTS]
    checks = [event.asset_check_evaluation_data for event in relevant if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    failed = [check for check in checks if not check.passed and check.blocking]
    if failed:
        return "\n".join(f"{check.asset_key.to_user_string()}: {check.check_name}: {check.description}" for check in failed)
    error = next((found for found in map(_error_of, relevant) if found is not None), None)
    if error is not None:
        return INTERRUPTED if classify_failure(list(_walk(error))) == "interrupted" else _innermost(error)
    reported = _find_reported(relevant)
    deaths = [message for message in reported if KILLED.search(message)]
    if not deaths:
        return (reported or [NO_REASON])[-1]
    return describe_lost_pod(deaths[-1]) or deaths[-1].partition(". ")[0]


@dataclass(frozen=True)
class Failure:
    """The reason of a failed run.

    Attributes:
        kind: the kind of failure, which decides about a retry.
        message: one line for a person.
    """

    kind: Kind
    message: str


def explain_failure(instance: dg.DagsterInstance, run: RetrainRun) -> Failure:
    """Returns the reason of a stored run that failed or was canceled."""
    records = instance.get_records_for_run(run.run_id, of_type=set(REASON_EVENTS)).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event) is not None]
    error = next((found for found in map(_error_of, events) if found is not None), None)
    kind = classify_failure(list(_walk(error)), message=" ".join(_find_reported(events)), ended_as=run.tags.get(FAILURE_TAG))
    message = " ".join(describe_failure(events).split())
    if kind == TIMEOUT:
        return Failure(kind, f"{TOOK_TOO_LONG} ({message})")
    if run.run.status == dg.DagsterRunStatus.CANCELED:
        return Failure(kind, "it was canceled by a person")
    return Failure(kind, INTERRUPTED if kind == "interrupted" else message)


def _find_reported(events: Iterable[dg.DagsterEvent]) -> list[str]:
    """Returns the messages of events that report the end of the run or of its process."""
    ends = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)
    return [
        event.message
        for event in events
        if event.message
        and (event.event_type in ends or (event.event_type == dg.DagsterEventType.ENGINE_EVENT and KILLED.search(event.message)))
    ]


def _walk(error: ErrorInfo | None) -> Iterator[tuple[str, str]]:
    """Yields class name and message of an error and its causes, the outermost first, without Dagster's wrappers."""
    while error is not None:
        if error.cls_name not in WRAPPERS:
            yield error.cls_name or "", error.message.strip()
        error = error.cause or error.context


def _error_of(event: dg.DagsterEvent) -> ErrorInfo | None:
    """Returns the error of a failed step, run or launch; None for a run that was ended from outside."""
    if event.is_step_failure:
        return event.step_failure_data.error
    if event.event_type == dg.DagsterEventType.ENGINE_EVENT and (event.message or "").startswith(NOT_LAUNCHED):
        return event.engine_event_data.error
    is_run_failure = event.event_type == dg.DagsterEventType.RUN_FAILURE and event.event_specific_data is not None
    return event.job_failure_data.error if is_run_failure else None


def _innermost(error: ErrorInfo) -> str:
    while not error.message.startswith(OWN_ERRORS) and error.cause is not None:
        error = error.cause
    message = error.message.strip()
    return message.partition(": ")[2] if message.startswith(OWN_ERRORS) else message
