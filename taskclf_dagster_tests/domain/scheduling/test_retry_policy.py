"""When a failed launch is tried again: the next day for a demand, within the hour for a passing failure, and never without an end."""

from datetime import timedelta

import pytest

from taskclf_dagster.domain.scheduling.retry_policy import find_attempt_obstacle, retry_due_at
from taskclf_dagster_tests.scenario import DAY, at

FAILED = at("06:10")
MICROSECOND = timedelta(microseconds=1)


def test_a_demand_without_a_failed_run_is_answered_now() -> None:
    assert find_attempt_obstacle([], now=FAILED, max_attempts=1) is None


def test_a_demand_whose_run_failed_is_answered_again_a_day_later_and_the_words_say_when() -> None:
    words = find_attempt_obstacle([FAILED], now=FAILED + DAY - MICROSECOND, max_attempts=3)
    assert words == "run 1 of 3 for it failed on 2026-01-05 06:10 UTC, tried again on 2026-01-06 06:10 UTC"
    assert find_attempt_obstacle([FAILED], now=FAILED + DAY, max_attempts=3) is None


def test_the_day_counts_from_the_last_failure_whatever_their_order() -> None:
    failed = [FAILED + DAY, FAILED]
    assert find_attempt_obstacle(failed, now=FAILED + 2 * DAY - MICROSECOND, max_attempts=3) is not None
    assert find_attempt_obstacle(failed, now=FAILED + 2 * DAY, max_attempts=3) is None


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_after_max_attempts_it_is_given_up_for_good(attempts: int) -> None:
    failed = [FAILED + n * DAY for n in range(attempts)]
    words = find_attempt_obstacle(failed, now=FAILED + 100 * DAY, max_attempts=attempts)
    assert words == f"{attempts} runs for it failed (max_attempts is {attempts}), the last on {failed[-1]:%Y-%m-%d %H:%M} UTC"
    assert find_attempt_obstacle(failed, now=FAILED + 100 * DAY, max_attempts=attempts + 1) is None


def test_a_failure_of_the_future_is_not_waited_for_longer_than_a_day() -> None:
    words = find_attempt_obstacle([FAILED + 1000 * DAY], now=FAILED, max_attempts=3)
    assert words is not None
    assert words.endswith("tried again on 2026-01-06 06:10 UTC")


def test_a_passing_failure_is_tried_again_after_1_5_and_25_minutes_and_then_no_more() -> None:
    waits = [due and due - FAILED for due in (retry_due_at(FAILED, retries=n) for n in range(5))]
    assert waits == [timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=25), None, None]
