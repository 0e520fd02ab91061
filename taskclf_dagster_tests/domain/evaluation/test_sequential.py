"""The bounds of a trial: what they are made of, and how often they are wrong in worlds whose truth is known."""

import numpy as np
import pytest

from taskclf_dagster.domain.evaluation.betting import choose_cap, choose_share
from taskclf_dagster.domain.evaluation.block_counts import PairedCounts
from taskclf_dagster.domain.evaluation.sequential import SequentialBounds, find_bounds
from taskclf_dagster_tests.domain.evaluation.trial_worlds import TRIAL_DAYS, TrialWorld, as_reference


def bounds_of(counts: PairedCounts, before: PairedCounts, *, significance: float = 0.05, expected: int = 70) -> SequentialBounds:
    return find_bounds(counts, as_reference(before), significance=significance, expected_user_days=expected)


@pytest.fixture(scope="module")
def before() -> PairedCounts:
    return TrialWorld().draw(np.random.default_rng(1), 8)


def test_before_the_first_user_day_nothing_is_known(before: PairedCounts) -> None:
    found = bounds_of(before.take(slice(0, 0)), before)
    assert (found.lower, found.upper, found.difference, found.wealth) == (-1.0, 1.0, None, 1.0)
    assert not found.shows_better
    assert not found.shows_worse


def test_the_bounds_lie_around_the_difference(before: PairedCounts) -> None:
    counts = TrialWorld(users=30, better=0.05).draw(np.random.default_rng(2), TRIAL_DAYS)
    found = bounds_of(counts, before, expected=420)
    assert found.difference is not None
    assert found.lower < found.difference < found.upper
    assert found.lower > 0
    assert found.shows_better


def test_what_is_bet_on_a_user_day_is_fixed_before_it_is_known(before: PairedCounts) -> None:
    day = 1000 * before.table[:1]
    day[..., 1:4] = day[..., [0, 0, 0]]
    day[..., 3] = 0  # the challenger was always right, and the champion never
    assert bounds_of(PairedCounts(day), before).wealth == pytest.approx(1 + choose_share(choose_cap(70), 0.05, 70))


def test_models_that_are_swapped_have_swapped_bounds(before: PairedCounts) -> None:
    counts = TrialWorld(better=0.03).draw(np.random.default_rng(3), TRIAL_DAYS)
    found, swapped = bounds_of(counts, before), bounds_of(counts.swapped, before.swapped)
    assert (swapped.lower, swapped.upper) == pytest.approx((-found.upper, -found.lower), abs=1e-9)


def test_two_equal_models_are_never_told_apart(before: PairedCounts) -> None:
    table = before.table.copy()
    table[..., 3:] = table[..., 1:3]
    same = PairedCounts(table)
    found = bounds_of(same, same)
    assert found.lower < 0 < found.upper
    assert (found.difference, found.wealth, found.wealth_against) == (0.0, 1.0, 1.0)


def test_bets_that_won_earlier_do_not_promote_what_is_worse_by_now(before: PairedCounts) -> None:
    rng = np.random.default_rng(4)
    better = TrialWorld(better=0.2, alike=0.95).draw(rng, 6)
    worse = TrialWorld(better=-0.25, alike=0.95).draw(rng, 14)
    found = bounds_of(PairedCounts(np.concatenate([better.table, worse.table])), before)
    assert found.lower > 0
    assert found.difference is not None
    assert found.difference < 0
    assert not found.shows_better


@pytest.mark.slow
@pytest.mark.parametrize("users", [1, 5])
def test_of_500_trials_of_equal_models_no_more_are_promoted_than_the_significance_says(users: int) -> None:
    ends = [TrialWorld(users=users).run(seed) for seed in range(500)]
    assert sum(end.shows_better for end in ends) <= 25
    assert sum(end.shows_worse for end in ends) <= 25


@pytest.mark.slow
def test_the_power_is_what_the_documentation_says() -> None:
    promoted = {
        better: np.mean([TrialWorld(users=5, better=better).run(seed).shows_better for seed in range(60)]) for better in (0.03, 0.05)
    }
    assert promoted[0.03] == pytest.approx(0.40, abs=0.15)
    assert promoted[0.05] == pytest.approx(0.76, abs=0.15)


def test_a_challenger_that_is_worse_is_never_promoted() -> None:
    assert not any(TrialWorld(users=5, better=-0.03).run(seed).shows_better for seed in range(20))
