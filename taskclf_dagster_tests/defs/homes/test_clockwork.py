"""Times of cron lines that have passed since a sensor looked: each counts once, in the time zone of the home."""

from datetime import UTC, datetime, timedelta

from taskclf_dagster.defs.homes.clockwork import LONGEST_WAIT, find_passed

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_nothing_has_passed_at_the_first_look() -> None:
    passed, state = find_passed("0 9 * * *", "UTC", state=None, now=NINE)
    assert passed is None
    assert find_passed("0 9 * * *", "UTC", state=state, now=NINE + timedelta(hours=23))[0] is None


def test_a_time_counts_once_and_of_several_the_last() -> None:
    passed, state = find_passed("0 9 * * *", "UTC", state=(NINE - timedelta(minutes=1)).isoformat(), now=NINE)
    assert passed == NINE
    assert find_passed("0 9 * * *", "UTC", state=state, now=NINE + timedelta(minutes=1))[0] is None
    later = find_passed("0 9 * * *", "UTC", state=state, now=NINE + timedelta(days=3, minutes=5))[0]
    assert later == NINE + timedelta(days=3)


def test_the_time_zone_is_that_of_the_home() -> None:
    state = (NINE - timedelta(hours=2)).isoformat()
    passed, _ = find_passed("0 9 * * *", "Europe/Berlin", state=state, now=NINE)
    assert passed == NINE - timedelta(hours=1)


def test_what_passed_while_no_sensor_ran_for_long_is_forgotten() -> None:
    state = (NINE - 2 * LONGEST_WAIT).isoformat()
    assert find_passed("0 9 1 1 *", "UTC", state=state, now=NINE)[0] is None
    assert find_passed("0 9 * * 1", "UTC", state=state, now=NINE)[0] == NINE  # a Monday: a week is not forgotten
