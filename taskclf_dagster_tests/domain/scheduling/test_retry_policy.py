"""The retry policy: a trigger on the next day, a transient failure within the hour, and both with an end."""

from datetime import timedelta

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.scheduling.retry_policy import check_attempts, check_next_day, retry_due_at
from taskclf_dagster_tests.scenario import DAY, at

FAILED = at("06:10")
MICROSECOND = timedelta(microseconds=1)


def test_a_trigger_without_a_failed_run_launches_one_now() -> None:
    assert check_attempts([], now=FAILED, max_attempts=1) is None


def test_a_trigger_whose_run_failed_is_retried_a_day_later(snapshot: SnapshotAssertion) -> None:
    waiting = check_attempts([FAILED], now=FAILED + DAY - MICROSECOND, max_attempts=3)
    assert waiting is not None
    assert waiting.kind == "next_day"
    assert waiting.message == snapshot
    assert check_attempts([FAILED], now=FAILED + DAY, max_attempts=3) is None


def test_the_day_counts_from_the_last_failure_whatever_their_order() -> None:
    failed = [FAILED + DAY, FAILED]
    assert check_attempts(failed, now=FAILED + 2 * DAY - MICROSECOND, max_attempts=3) is not None
    assert check_attempts(failed, now=FAILED + 2 * DAY, max_attempts=3) is None


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_after_max_attempts_a_trigger_is_given_up(attempts: int, snapshot: SnapshotAssertion) -> None:
    failed = [FAILED + n * DAY for n in range(attempts)]
    given_up = check_attempts(failed, now=FAILED + 100 * DAY, max_attempts=attempts)
    assert given_up is not None
    assert given_up.kind == "attempts_exhausted"
    assert given_up.message == snapshot
    assert check_attempts(failed, now=FAILED + 100 * DAY, max_attempts=attempts + 1) is None


def test_a_failure_of_the_future_is_not_waited_for_longer_than_a_day() -> None:
    assert check_attempts([FAILED + 1000 * DAY], now=FAILED, max_attempts=3) is not None
    assert check_attempts([FAILED + 1000 * DAY], now=FAILED + DAY, max_attempts=3) is not None  # counted from the present time


def test_a_transient_failure_is_retried_after_1_5_and_25_minutes_and_then_no_more() -> None:
    waits = [due and due - FAILED for due in (retry_due_at(FAILED, retries=n) for n in range(5))]
    assert waits == [timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=25), None, None]


def test_the_schedule_waits_a_day_after_a_failed_run(snapshot: SnapshotAssertion) -> None:
    assert check_next_day(None, now=FAILED) is None
    assert check_next_day(FAILED, now=FAILED + DAY) is None
    assert check_next_day(FAILED + MICROSECOND, now=FAILED) is None  # the clock was set back
    waiting = check_next_day(FAILED, now=FAILED + DAY - MICROSECOND)
    assert waiting is not None
    assert waiting.kind == "next_day"
    assert waiting.message == snapshot
