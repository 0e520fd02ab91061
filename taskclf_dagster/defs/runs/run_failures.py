"""Why a run failed, in the words that a person needs, out of the events that Dagster keeps of it.

That a run failed is its status; which kinds of failure there are is decided in `domain/failures`, what to do about them in `failed_runs`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from taskclf_dagster.defs.runs.retrain_runs import FAILURE_TAG, RetrainRun
from taskclf_dagster.domain.scheduling.failure_kinds import KILLED, TIMEOUT, Kind, classify_failure
from taskclf_dagster.errors import TaskclfDagsterError

OWN_ERRORS = f"{TaskclfDagsterError.__module__}."


TELLING = frozenset(
    {
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.RUN_CANCELED,
        dg.DagsterEventType.ENGINE_EVENT,
    }
)
"""The kinds of events that say why. That a process has died stands in an engine event; the failure itself says nothing of it."""


WRAPPERS = frozenset({"DagsterExecutionStepExecutionError", "DagsterResourceFunctionError"})


TOOK_TOO_LONG = "it ran longer than timeout_minutes and was ended"


NOTHING_SAID = "the run failed before any step; see the run's log"


def describe_failure(events: Iterable[dg.DagsterEvent]) -> str:
    """The words of blocking checks that are red, else of the innermost error, else what ended the run from outside.

    Args:
        events: of one run; those of TELLING are enough.
    """
    told = [event for event in events if event.event_type in TELLING]
    checks = [event.asset_check_evaluation_data for event in told if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    red = [check for check in checks if not check.passed and check.blocking]
    if red:
        return "\n".join(f"{check.asset_key.to_user_string()}: {check.check_name}: {check.description}" for check in red)
    error = next((found for found in map(_error_of, told) if found is not None), None)
    if error is not None:
        return _innermost(error)
    reported = _find_reported(told)
    deaths = [message for message in reported if KILLED.search(message)]
    return deaths[-1].partition(". ")[0] if deaths else (reported or [NOTHING_SAID])[-1]


@dataclass(frozen=True)
class Failure:
    """Why a run failed: what kind of failure it was, and in words."""

    kind: Kind
    words: str


def explain_failure(instance: dg.DagsterInstance, run: RetrainRun) -> Failure:
    """Why a stored run failed."""
    records = instance.get_records_for_run(run.run_id, of_type=set(TELLING)).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event) is not None]
    error = next((found for found in map(_error_of, events) if found is not None), None)
    kind = classify_failure(list(_walk(error)), message=" ".join(_find_reported(events)), ended_as=run.tags.get(FAILURE_TAG))
    words = " ".join(describe_failure(events).split())
    if kind == TIMEOUT:
        return Failure(kind, f"{TOOK_TOO_LONG} ({words})")
    if run.run.status == dg.DagsterRunStatus.CANCELED:
        return Failure(kind, "it was canceled by a person")
    return Failure(kind, "it was interrupted before it came to an end" if kind == "interrupted" else words)


def _find_reported(events: Iterable[dg.DagsterEvent]) -> list[str]:
    """What was said of the run and its process by whoever saw it end."""
    ends = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)
    return [
        event.message
        for event in events
        if event.message
        and (event.event_type in ends or (event.event_type == dg.DagsterEventType.ENGINE_EVENT and KILLED.search(event.message)))
    ]


def _walk(error: SerializableErrorInfo | None) -> Iterator[tuple[str, str]]:
    """Class name and message of an error and of its causes, the outermost first; Dagster's own wrappers say nothing."""
    while error is not None:
        if error.cls_name not in WRAPPERS:
            yield error.cls_name or "", error.message.strip()
        error = error.cause or error.context


def _error_of(event: dg.DagsterEvent) -> SerializableErrorInfo | None:
    """The error of a step or of the run; a run that was ended from outside has none."""
    if event.is_step_failure:
        return event.step_failure_data.error
    is_run_failure = event.event_type == dg.DagsterEventType.RUN_FAILURE and event.event_specific_data is not None
    return event.job_failure_data.error if is_run_failure else None


def _innermost(error: SerializableErrorInfo) -> str:
    while not error.message.startswith(OWN_ERRORS) and error.cause is not None:
        error = error.cause
    message = error.message.strip()
    return message.partition(": ")[2] if message.startswith(OWN_ERRORS) else message
