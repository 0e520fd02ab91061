"""How often the statistics are wrong, and what they find, in worlds whose truth is known.

The world: six labels; a user's day is three 2-hour blocks of 120 windows. Activities follow each other within a block, each a run of
windows of one label, of geometric length. A model has an activity right or wrong as a whole, so its errors come in runs, independently of
the other model's. How hard an activity is depends on its block, day and user, equally for both models.

What this is not: an activity never crosses the border of a block, and no model has good or bad days of its own. The swap test relies on
both (models must be exchangeable block by block); the closed form over user-days does not.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.block_counts import BlockSums, sum_blocks
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.resampling import resample_user_days
from taskclf_dagster.domain.evaluation.significance import GroupSignificance, SignificanceResult, assess_significance

BUILD = LABELS.index("Build")
BLOCK, BLOCKS_PER_DAY = 120, 3
NAMES = [f"user-{i}" for i in range(8)]
JUDGED = LABELS[:6]

_Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Windows in order of user, day and time, with two models' predictions."""

    user: _Int
    day: _Int
    minute: _Int
    true: _Int
    challenger: _Int
    champion: _Int

    @property
    def sums(self) -> BlockSums:
        user = pd.Series(pd.Categorical.from_codes(self.user, NAMES))
        start = pd.Series(((self.day * 1440 + 8 * 60 + self.minute) * 60).astype("datetime64[s]")).dt.tz_localize("UTC")
        return sum_blocks(user, start, self.true, self.challenger, self.champion)

    def assessed(self, *, replicates: int = 400, seed: int = 1) -> SignificanceResult:
        return assess_significance(
            self.sums,
            judged_labels=JUDGED,
            significance=0.05,
            min_user_days=5,
            margin=0.05,
            small_difference=0.05,
            seed=seed,
            replicates=replicates,
        )


def simulated(rng: np.random.Generator, *, users: int = 8, days: int = 5, better: float = 0.0, mean_run: float = 10.0) -> World:
    """A world where the champion has about 70 % right, the challenger `better` more [share of activities]."""
    blocks = users * days * BLOCKS_PER_DAY
    n = blocks * BLOCK
    begins = rng.random(n) < 1 / mean_run
    begins[::BLOCK] = True
    activity = np.cumsum(begins) - 1
    block_of = np.flatnonzero(begins) // BLOCK
    count = len(block_of)
    easy = np.full(blocks, 0.7)
    for width in (1, BLOCKS_PER_DAY, days * BLOCKS_PER_DAY):  # block, day, user
        easy += rng.normal(0, 0.05, blocks)[np.arange(blocks) // width * width]
    true = rng.integers(0, 6, count)
    chances = (easy[block_of] + extra for extra in (better, 0.0))
    said = [np.where(rng.random(count) < chance, true, (true + rng.integers(1, 6, count)) % 6)[activity] for chance in chances]
    window = np.arange(n)
    day = window // (BLOCK * BLOCKS_PER_DAY)
    return World(day // days, day % days, window % (BLOCK * BLOCKS_PER_DAY), true[activity], *said)


def _excludes_zero(interval: tuple[float, float] | None) -> bool:
    assert interval is not None
    return interval[0] > 0 or interval[1] < 0


def _row_bootstrap_excludes_zero(world: World, rng: np.random.Generator) -> bool:
    """The interval that takes windows for independent: what is not to be done."""
    cells, counts = np.unique((world.true * 6 + world.challenger) * 6 + world.champion, return_counts=True)
    draws = rng.multinomial(counts.sum(), counts / counts.sum(), size=200).astype(np.float64)
    true, ours, theirs = (column[:, None] == np.arange(6) for column in (cells // 36, cells // 6 % 6, cells % 6))
    f1 = [2 * (draws @ (true & said)) / (draws @ (true.astype(np.float64) + said)) for said in (ours, theirs)]
    lower, upper = np.quantile((f1[0] - f1[1]).mean(axis=1), [0.025, 0.975])
    return bool(lower > 0 or upper < 0)


@pytest.mark.slow
def test_two_equally_good_models_are_told_apart_as_often_as_the_significance_says() -> None:
    rng, runs = np.random.default_rng(20260301), 250
    interval = swap = rows = 0
    for seed in range(runs):
        world = simulated(rng)
        found = world.assessed(seed=seed, replicates=200)
        assert found.p_value is not None
        interval += _excludes_zero(found.interval)
        swap += found.p_value < 0.05
        rows += _row_bootstrap_excludes_zero(world, rng)
    assert 0.02 <= interval / runs <= 0.09
    assert 0.02 <= swap / runs <= 0.09
    # Why whole days are resampled.
    assert rows / runs > 0.15


@pytest.mark.parametrize(("users", "days"), [(8, 4), (6, 5), (3, 20)])
def test_the_standard_error_is_the_one_of_the_bootstrap(users: int, days: int) -> None:
    world = simulated(np.random.default_rng(5), users=users, days=days, better=0.05)
    found = world.assessed(replicates=1)
    assert found.user_days == users * days >= 30
    draws = resample_user_days(world.sums.by_user_day().counts.take_labels(range(len(JUDGED))), seed=1, replicates=2000)
    assert found.standard_error == pytest.approx(draws.std(), rel=0.10)


def test_longer_runs_make_the_difference_less_sure() -> None:
    errors = [simulated(np.random.default_rng(6), mean_run=length).assessed().standard_error or 0 for length in (1, 10, 60)]
    assert errors[0] < errors[1] / 2 < errors[2] / 3


def test_a_detectable_difference_is_found_in_about_four_of_five_tests() -> None:
    rng = np.random.default_rng(7)
    # Labels are balanced, so that macro-F1 moves by about the share of activities.
    found = [simulated(rng, better=0.06).assessed(replicates=1) for _ in range(150)]
    detectable = np.mean([one.detectable_difference or 0 for one in found])
    power = np.mean([_excludes_zero(one.interval) for one in found])
    assert np.mean([one.difference or 0 for one in found]) == pytest.approx(detectable, abs=0.01)
    assert 0.7 <= power <= 0.9


@pytest.fixture(scope="module")
def even() -> World:
    return simulated(np.random.default_rng(8))


@pytest.mark.parametrize("seed", range(5))
def test_a_truly_better_model_is_found(seed: int) -> None:
    found = simulated(np.random.default_rng(seed), better=0.15).assessed()
    assert found.interval is not None
    assert found.p_value is not None
    assert found.interval[0] > 0
    assert found.difference == pytest.approx(0.15, abs=0.07)
    assert found.p_value < 0.05
    assert not _failing(found.by_label)
    assert not _failing(found.by_user)


def test_shuffled_predictions_are_clearly_worse(even: World) -> None:
    shuffled = np.random.default_rng(1).permutation(even.challenger)
    found = replace(even, challenger=shuffled).assessed()
    assert found.interval is not None
    assert found.interval[1] < -0.4
    assert found.p_value == 1 / 401
    assert _failing(found.by_label) == list(JUDGED)
    assert _failing(found.by_user) == NAMES


def test_a_label_that_collapses_is_found_and_only_it(even: World) -> None:
    collapsed = np.where(even.true == BUILD, REJECTED, even.challenger)
    assert not _failing(even.assessed().by_label)
    assert _failing(replace(even, challenger=collapsed).assessed().by_label) == ["Build"]


def test_a_user_for_whom_the_model_fails_is_found_and_only_they(even: World) -> None:
    failing = np.where(even.user == 3, np.random.default_rng(1).permutation(even.champion), even.champion)
    assert _failing(replace(even, challenger=failing).assessed().by_user) == ["user-3"]


def _failing(groups: list[GroupSignificance]) -> list[str]:
    assert all(one.judged for one in groups)
    return [one.name for one in groups if one.adjusted_p is not None and one.adjusted_p < 0.05]


def test_five_users_with_noise_are_not_found() -> None:
    rng = np.random.default_rng(9)
    found = [simulated(rng, users=5, days=6).assessed(replicates=1) for _ in range(100)]
    # At 5 % of a difference of exactly -0.05; here it is 0.
    assert sum(bool(_failing(one.by_user)) for one in found) <= 3
    assert sum(bool(_failing(one.by_label)) for one in found) <= 3
    # Not because nothing is worse: the noise does go below the margin.
    assert sum(any((user.difference or 0) < -0.05 for user in one.by_user) for one in found) > 50
