"""Counts how often drift is confirmed where there is none, and where there is: weeks of autocorrelated minutes whose days differ."""

import numpy as np
import pytest

from taskclf_dagster_tests.domain.monitoring.quiet_weeks import DAY_SD, REFERENCE_DAYS, WEEK, draw_days, is_confirmed, judge, window_set

QUIET_WEEKS, DRIFTED_WEEKS = 200, 100
SD = np.sqrt(1 + DAY_SD**2)
"""Standard deviation of an input over all windows."""


def weeks(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    drawn = [draw_days(REFERENCE_DAYS + WEEK + 1, np.random.default_rng([5, week])) for week in range(number)]
    return [(days[:REFERENCE_DAYS], days[REFERENCE_DAYS:]) for days in drawn]


def test_fewer_than_5_percent_of_quiet_weeks_alarm_where_a_fixed_threshold_alarms_on_most() -> None:
    alarms = sum(is_confirmed(month, days) for month, days in weeks(QUIET_WEEKS))
    assert alarms < 0.05 * QUIET_WEEKS
    fixed = sum(
        any(each.psi > 0.2 for each in judge(window_set(month, 0), window_set(days[:WEEK], REFERENCE_DAYS))) for month, days in weeks(20)
    )
    assert fixed > 0.4 * 20


def test_a_shift_of_one_standard_deviation_in_three_inputs_is_confirmed_in_more_than_90_percent() -> None:
    found = 0
    for month, days in weeks(DRIFTED_WEEKS):
        days[..., :3] += SD
        found += is_confirmed(month, days)
    assert found > 0.9 * DRIFTED_WEEKS


@pytest.mark.parametrize("dead_days", [WEEK + 1, 3])
def test_an_input_that_goes_dead_is_always_confirmed(dead_days: int) -> None:
    for month, days in weeks(10):
        days[-dead_days:, :, 4] = np.nan
        assert is_confirmed(month, days)


def test_an_input_that_stops_changing_is_always_confirmed() -> None:
    for month, days in weeks(10):
        days[..., 4] = 0.0
        assert is_confirmed(month, days)
