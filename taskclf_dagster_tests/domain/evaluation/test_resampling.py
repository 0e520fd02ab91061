"""The swap test against every swap, and the bootstrap distribution against what it must hold."""

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation import resampling
from taskclf_dagster.domain.evaluation.block_counts import PairedCounts
from taskclf_dagster.domain.evaluation.resampling import bootstrap_distribution, resample_user_days, swap_test
from taskclf_dagster_tests.domain.evaluation.paired_windows import Windows, assessed, noisy, one_sided


def _difference(table: npt.NDArray[np.int64]) -> float:
    """From counts (8, 5), without the code under test."""
    scores = [[2 * row[right] / (row[0] + row[named]) for row in table.tolist() if row[0]] for right, named in ((1, 2), (3, 4))]
    return sum(scores[0]) / len(scores[0]) - sum(scores[1]) / len(scores[1])


@pytest.mark.parametrize("n", [1, 2, 6])
def test_the_swap_test_comes_close_to_counting_every_swap(n: int) -> None:
    windows = noisy(40 * n, users=1, days=1, seed=n)
    windows = replace(windows, minute=windows.minute % 60 + np.arange(40 * n) // 40 * 120)
    blocks = windows.sums.by_block()
    observed = abs(_difference(blocks.total.table))
    extreme = 0
    for choice in itertools.product((False, True), repeat=n):
        table = sum(block[:, [0, 3, 4, 1, 2]] if swapped else block for swapped, block in zip(choice, blocks.table, strict=True))
        extreme += abs(_difference(table)) >= observed - 1e-12
    assert swap_test(blocks, seed=3, replicates=20_000) == pytest.approx(extreme / 2**n, abs=0.015)
    if n == 6:
        assert extreme < 2**n


def test_the_swap_test_counts_the_observed_difference_itself() -> None:
    # The challenger is right in all of 20 blocks, the champion in none: only the two swaps of all or none are as large, 2 of 2^20.
    assert swap_test(one_sided(20).sums.by_block(), seed=1, replicates=999) == 1 / 1000


def test_p_values_of_fixed_seeds_do_not_change() -> None:
    # Receipts hold them: another order of the random bits would make each of them look forged.
    found = [swap_test(noisy(800, seed=seed).sums.by_block(), seed=seed, replicates=1000) for seed in range(3)]
    assert found == [99 / 1001, 38 / 1001, 903 / 1001]


def test_a_resample_is_scored_by_the_labels_it_has_and_left_out_without_any() -> None:
    # Day 1: Break, right by the challenger alone. Day 2: Build, right by both. So a resample gives 1, 1/2 or 0, and never NaN.
    table = np.zeros((2, 2, 5), dtype=np.int64)
    table[0, 0] = (5, 5, 5, 0, 0)
    table[1, 1] = (5, 5, 5, 5, 5)
    values, counts = np.unique(resample_user_days(PairedCounts(table), seed=1, replicates=4000), return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert (counts / 4000).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    only_break = resample_user_days(PairedCounts(table[:, :1]), seed=1, replicates=4000)
    assert np.unique(only_break).tolist() == [1.0]
    assert len(only_break) / 4000 == pytest.approx(0.75, abs=0.03)


def test_replicates_are_the_same_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    days = noisy(2000).sums.by_block().take(slice(45))
    whole = resample_user_days(days, seed=1, replicates=300), swap_test(days, seed=1, replicates=300)
    monkeypatch.setattr(resampling, "_CHUNK", 7 * len(days))
    assert np.array_equal(resample_user_days(days, seed=1, replicates=300), whole[0])
    assert swap_test(days, seed=1, replicates=300) == whole[1] < 0.9


def test_the_histogram_holds_every_resample_and_the_interval_its_percentiles() -> None:
    sums = noisy(3000, days=8).sums
    expected = assessed(sums)
    found = bootstrap_distribution(sums, judged_labels=LABELS, significance=0.05, seed=7, replicates=2000)
    assert found.interval is not None
    counts = [bar.replicates for bar in found.histogram]
    assert (len(counts), sum(counts)) == (30, 2000)
    inside = sum(bar.replicates for bar in found.histogram if found.interval[0] < bar.centre < found.interval[1])
    assert inside / 2000 == pytest.approx(0.95, abs=0.03)
    assert np.average([bar.centre for bar in found.histogram], weights=counts) == pytest.approx(expected.difference, abs=0.005)
    assert found.interval == pytest.approx(expected.interval, abs=0.01)


@pytest.mark.parametrize(
    ("windows", "labels", "bars"),
    [(noisy(0), LABELS, 0), (noisy(100), [], 0), (one_sided(3), LABELS, 0), (one_sided(13), LABELS, 1)],
    ids=["no window", "no judged label", "one day", "no spread"],
)
def test_a_distribution_without_spread_has_one_bar_and_one_without_days_has_none(windows: Windows, labels: list[str], bars: int) -> None:
    found = bootstrap_distribution(windows.sums, judged_labels=labels, significance=0.05, seed=1, replicates=50)
    assert [bar.replicates for bar in found.histogram] == [50] * bars
    assert (found.interval is None) == (bars == 0)
