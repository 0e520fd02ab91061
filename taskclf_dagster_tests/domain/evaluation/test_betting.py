"""Bets and the bounds that follow from them, beside values of the package confseq (commit of 2023, `betting_mart` with constant bets)."""

import numpy as np
import pytest

from taskclf_dagster.domain.evaluation.betting import Bets, Sign, choose_cap, choose_share, find_bound, highest_wealth

SHARES = [0.62, 0.48, 0.71, 0.55, 0.90, 0.33, 0.66, 0.80, 0.58]
"""Observations between 0 and 1; the bets here are on 2 x - 1, and a bet of 2 s against a mean of 1/2 there is one of s against 0 here."""


def bets_on(gains: list[float], share: float, *, largest: float = 1.0) -> Bets:
    return Bets(np.array(gains), np.ones(len(gains)), np.full(len(gains), largest), share)


@pytest.mark.parametrize(
    ("share", "sign", "expected"),
    [
        (0.45, 1, [1.108, 1.088056, 1.293698584, 1.3519150203, 1.8386044276, 1.5572979502, 1.781548855, 2.2625670458, 2.4254718731]),
        (0.45, -1, [0.892, 0.908056, 0.736433416, 0.7032939123, 0.4501081039, 0.5189746437, 0.444242295, 0.3242968754, 0.3009475004]),
        (0.90, 1, [1.216, 1.172224, 1.615324672, 1.7607038925, 3.0284106951, 2.1017170224, 2.7070115248, 4.1687977482, 4.769104624]),
    ],
)
def test_the_wealth_is_that_of_confseq_at_its_highest(share: float, sign: Sign, expected: list[float]) -> None:
    gains = [2 * x - 1 for x in SHARES]
    for n in range(1, len(gains) + 1):
        assert highest_wealth(bets_on(gains[:n], share), 0.0, sign=sign) == pytest.approx(max(1.0, *expected[:n]), rel=1e-9)


def test_a_bound_is_where_the_bets_against_it_reach_the_target() -> None:
    bets = bets_on([0.04, 0.05, 0.03, 0.06, 0.02, 0.05, 0.04, 0.04, 0.05, 0.03], 0.9, largest=0.06)
    lower = find_bound(bets, 0.05, sign=1)
    assert 0 < lower < 0.04
    assert highest_wealth(bets, lower, sign=1) == pytest.approx(20, rel=1e-6)
    assert highest_wealth(bets, lower + 0.001, sign=1) < 20
    upper = find_bound(bets, 0.05, sign=-1)
    assert 0.04 < upper < 1
    assert highest_wealth(bets, upper, sign=-1) == pytest.approx(20, rel=1e-6)


def test_a_bound_never_becomes_wider_when_more_is_known() -> None:
    gains = np.random.default_rng(3).normal(0.02, 0.05, 60).tolist()
    lower = [find_bound(bets_on(gains[:n], 0.5, largest=0.15), 0.05, sign=1) for n in range(61)]
    assert lower == sorted(lower)
    assert (lower[0], lower[-1] > -0.02) == (-1.0, True)


def test_a_stricter_significance_gives_a_wider_interval() -> None:
    bets = bets_on([0.04, 0.02, 0.05, 0.03] * 5, 0.6, largest=0.1)
    assert find_bound(bets, 0.01, sign=1) < find_bound(bets, 0.05, sign=1)


def test_one_observation_counts_as_the_largest_that_counts_at_most() -> None:
    assert highest_wealth(bets_on([50.0], 0.5), 0.0, sign=1) == pytest.approx(1.5)


def test_never_is_all_of_the_wealth_at_stake() -> None:
    assert choose_share(choose_cap(1), 0.001, 1) == 0.9
    assert choose_share(choose_cap(10_000), 0.05, 10_000) < 0.5


def test_the_chance_that_the_wealth_ever_reaches_the_target_is_at_most_the_significance() -> None:
    rng = np.random.default_rng(11)
    reached = 0
    for _ in range(1000):
        gains = rng.choice([-0.05, 0.0, 0.1], size=200, p=[0.5, 0.25, 0.25]).tolist()  # a mean of 0, and skewed
        reached += highest_wealth(bets_on(gains, 0.25, largest=0.1), 0.0, sign=1) >= 20
    assert 5 <= reached <= 50
