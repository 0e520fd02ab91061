"""Why a run failed, in the words that a person needs, out of the events that Dagster keeps of it.

That a run failed is its status; what to do about it is decided elsewhere.
"""

from collections.abc import Iterable

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from taskclf_dagster.errors import TaskclfDagsterError

OWN_ERRORS = f"{TaskclfDagsterError.__module__}."
TELLING = frozenset(
    {
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.RUN_CANCELED,
    }
)
"""The kinds of events that say why."""
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
    return next((event.message for event in reversed(told) if event.message), NOTHING_SAID)


def find_failure(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why a stored run failed."""
    records = instance.get_records_for_run(run_id, of_type=set(TELLING)).records
    events = [record.event_log_entry.dagster_event for record in records]
    return describe_failure(event for event in events if event is not None)


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
