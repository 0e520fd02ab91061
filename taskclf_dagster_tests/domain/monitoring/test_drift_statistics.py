"""The statistics of drift against values worked out by hand, and where those of taskclf are known to be wrong."""

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from taskclf_dagster.domain.monitoring.drift_statistics import (
    compare_distributions,
    compute_entropy,
    compute_psi,
    compute_share,
    compute_shift,
    count_by_group,
    find_cuts,
    put_into_bins,
    reaches,
)
from taskclf_dagster.domain.monitoring.drift_thresholds import DRAWS, calibrate_threshold, draw_blocks

NORMAL = np.random.default_rng(7).normal(size=3000)


def psi(reference: np.ndarray, current: np.ndarray) -> float:
    cuts = find_cuts(reference)
    counts = [np.bincount(put_into_bins(values, cuts), minlength=len(cuts) + 2) for values in (reference, current)]
    return float(compute_psi(*counts))


def test_psi_is_the_sum_of_the_difference_of_smoothed_shares_times_the_logarithm_of_their_ratio() -> None:
    # (19.5 + 0.5) / 41 and (20.5 + 0.5) / 41 against (9.5 + 0.5) / 41 and (30.5 + 0.5) / 41
    expected = (10 / 41 - 20 / 41) * math.log(10 / 20) + (31 / 41 - 21 / 41) * math.log(31 / 21)
    assert compute_psi([19.5, 20.5], [9.5, 30.5]) == pytest.approx(expected, rel=1e-12)
    assert compute_psi([3, 4, 5], [3, 4, 5]) == 0.0


def test_ten_bins_hold_as_many_windows_each_and_an_empty_bin_gives_a_finite_index() -> None:
    values = np.arange(100.0)
    codes = put_into_bins(values, find_cuts(values))
    assert np.bincount(codes, minlength=11).tolist() == [10] * 10 + [0]
    assert math.isfinite(psi(values, np.full(100, 5.0)))


@pytest.mark.parametrize("shift", [5.0, 8.0, 100.0, -8.0, -100.0, math.inf])
def test_values_beyond_all_of_the_reference_are_the_largest_drift_and_not_none(shift: float) -> None:
    farthest = psi(NORMAL, NORMAL + shift)
    assert farthest > 5
    assert farthest >= psi(NORMAL, NORMAL + math.copysign(2.0, shift))


@pytest.mark.parametrize("now", [100.0, -100.0, np.nextafter(0.0, 1.0)])
def test_a_constant_input_that_has_another_value_has_drifted(now: float) -> None:
    assert psi(np.zeros(500), np.full(500, now)) > 5
    assert psi(np.zeros(500), np.zeros(300)) < 0.01


def test_a_value_that_most_windows_share_has_a_bin_of_its_own() -> None:
    mostly_zero = np.concatenate([np.zeros(800), np.arange(1.0, 201.0)])
    assert psi(mostly_zero, np.concatenate([np.zeros(400), np.arange(1.0, 201.0), np.full(400, 0.5)])) > 0.5
    assert psi(mostly_zero, np.concatenate([np.zeros(400), np.full(400, -1.0), np.arange(1.0, 201.0)])) > 0.5


def test_missing_values_are_a_bin_and_an_input_without_any_value_before_is_compared_all_the_same() -> None:
    gone = np.where(np.arange(3000) % 2 == 0, math.nan, NORMAL)
    assert psi(NORMAL, gone) > 1
    assert psi(np.full(300, math.nan), NORMAL) > 5
    assert psi(np.full(300, math.nan), np.full(300, math.nan)) == pytest.approx(0.0)


def test_kolmogorov_and_smirnov_are_those_of_scipy_without_missing_values() -> None:
    other = np.concatenate([NORMAL[:500] + 0.2, [math.nan] * 50])
    found, expected = compare_distributions(NORMAL, other), ks_2samp(NORMAL, NORMAL[:500] + 0.2, method="asymp")
    assert found == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert compare_distributions(NORMAL, np.full(5, math.nan)) is None


def test_an_increase_from_20_to_30_percent_reaches_10_points() -> None:
    increase = compute_share([70, 30], 1) - compute_share([80, 20], 1)
    assert increase < 0.1
    assert reaches(increase, 0.1)
    assert not reaches(0.0999, 0.1)


def test_shares_shifts_and_entropy() -> None:
    assert compute_shift([1, 1, 2], [0, 3, 1]).tolist() == [-0.25, 0.5, -0.25]
    assert compute_entropy(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist() == pytest.approx([0.0, math.log(2)])
    table = count_by_group(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), groups=2, size=3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 1]]


def test_blocks_have_as_many_days_as_are_judged_and_at_most_half_of_all() -> None:
    assert set(draw_blocks(30, 7, seed=3).sum(axis=1)) == {7.0}
    assert set(draw_blocks(9, 7, seed=3).sum(axis=1)) == {4.0}
    assert draw_blocks(30, 7, seed=3).shape == (DRAWS, 30)
    assert (draw_blocks(30, 7, seed=3) == draw_blocks(30, 7, seed=3)).all()
    assert (draw_blocks(30, 7, seed=3) != draw_blocks(30, 7, seed=4)).any()


def test_a_threshold_is_the_quantile_over_the_blocks_but_no_less_than_the_floor() -> None:
    by_day = np.array([[10, 0], [10, 0], [0, 10], [10, 0]])
    blocks = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]])

    def share(others: np.ndarray, block: np.ndarray) -> np.ndarray:
        return compute_share(block, 1) - compute_share(others, 1)

    assert calibrate_threshold(by_day, blocks, share, floor=0.2, quantile=1.0) == pytest.approx(1.0)  # the third day against the others
    assert calibrate_threshold(by_day, blocks, share, floor=0.2, quantile=0.5) == 0.2
