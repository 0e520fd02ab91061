"""The state of delivery between ticks: what each sink has of the waiting events, and when it is retried.

One file of the outbox. If it is lost, waiting events are sent again.
"""

from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field, ValidationError

from taskclf_dagster.domain.events.outbox import DELIVERY
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)


LONGEST_WAIT_ASKED_FOR = timedelta(days=1)


class RetryState(Record):
    """A failure of a sink or an event, and its next attempt.

    Attributes:
        failures: number of failures in a row.
        retry_at: time of the next attempt.
        problem: the reason of the last failure.
    """

    failures: int
    retry_at: AwareDatetime
    problem: str


class SinkState(Record):
    """The state of one sink.

    Attributes:
        delivered: ids of events that it has and that still wait for another sink.
        refused: events that it refused, by id.
        retry: set while it is unavailable.
    """

    delivered: list[str] = Field(default_factory=list)
    refused: dict[str, RetryState] = Field(default_factory=dict)
    retry: RetryState | None = None


class DeliveryState(Record):
    """The states of all sinks, by name."""

    sinks: dict[str, SinkState] = Field(default_factory=dict)


def read_delivery_state(home: Home) -> DeliveryState:
    """Returns the stored state; an empty one if the file is missing or damaged."""
    try:
        return DeliveryState.model_validate(read_json_object(home.outbox / DELIVERY))
    except (UnreadableFileError, ValidationError):
        return DeliveryState()


def write_delivery_state(home: Home, state: DeliveryState) -> None:
    """Stores the state.

    Raises:
        OSError: the outbox cannot be written.
    """
    write_json(home.outbox / DELIVERY, state.model_dump(mode="json"))


def plan_retry(before: RetryState | None, *, now: datetime, problem: str, wait_seconds: float = 0.0) -> RetryState:
    """Returns the next attempt after a failure: 30 s later, then twice as long each time, at most an hour.

    Args:
        before: the failure before, if the last attempt failed as well.
        now: the present time.
        problem: the reason of the failure.
        wait_seconds: the shortest wait that the receiver asked for, of which at most a day counts [s].
    """
    failures = 1 if before is None else before.failures + 1
    wait = min(FIRST_WAIT * 2 ** min(failures - 1, 20), LONGEST_WAIT)
    wait = max(wait, min(timedelta(seconds=wait_seconds), LONGEST_WAIT_ASKED_FOR))
    return RetryState(failures=failures, retry_at=now + wait, problem=problem)


def is_retry_due(retry: RetryState | None, *, now: datetime) -> bool:
    """Returns True if an attempt is due; also if its time is further away than any wait, because the clock was wrong."""
    return retry is None or not now < retry.retry_at <= now + LONGEST_WAIT_ASKED_FOR
