"""Differences and how sure they are: by hand, at the edges, and under changes that must not matter."""

import itertools
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation import significance
from taskclf_dagster.domain.evaluation.metrics import REJECTED, macro_f1, tabulate
from taskclf_dagster.domain.evaluation.significance import (
    BlockSums,
    Flips,
    GroupSignificance,
    SignificanceResult,
    assess_significance,
    bootstrap,
    closed_form,
    count_flips,
    holm,
    sum_blocks,
    swap_test,
)

BREAK, BUILD, COMMUNICATE, DEBUG, MEET, READ, REVIEW, WRITE = range(8)
DAY = 24 * 60
START = pd.Timestamp("2026-03-02", tz="UTC")

# P(T <= t) of Student's t with 2 degrees of freedom is 1/2 + t / (2 sqrt(2 + t^2)), so t(p) = (2p - 1) sqrt(2 / (4p (1 - p))).
T2_975, T2_80 = (share * math.sqrt(2 / (1 - share**2)) for share in (0.95, 0.6))


@dataclass(frozen=True)
class Windows:
    """Windows that two models scored: user, minute since START, true label and both predictions."""

    user: npt.NDArray[np.str_]
    minute: npt.NDArray[np.int64]
    true: npt.NDArray[np.int64]
    challenger: npt.NDArray[np.int64]
    champion: npt.NDArray[np.int64]

    @classmethod
    def of(cls, *rows: tuple[str, int, int, int, int]) -> "Windows":
        """One window per row."""
        user, *numbers = zip(*rows, strict=True) if rows else ((),) * 5
        return cls(np.array(user, dtype=np.str_), *(np.array(column, dtype=np.int64) for column in numbers))

    def taken(self, positions: npt.NDArray[np.int64]) -> "Windows":
        columns = (self.user, self.minute, self.true, self.challenger, self.champion)
        return Windows(*(column[positions] for column in columns))

    @property
    def swapped(self) -> "Windows":
        return replace(self, challenger=self.champion, champion=self.challenger)

    @property
    def sums(self) -> BlockSums:
        start = pd.Series(START + pd.to_timedelta(self.minute, unit="min"))
        return sum_blocks(pd.Series(self.user).astype("category"), start, self.true, self.challenger, self.champion)


def assessed(
    windows: Windows | BlockSums, labels: Sequence[str] = LABELS, *, min_user_days: int = 5, replicates: int = 200
) -> SignificanceResult:
    return assess_significance(
        windows.sums if isinstance(windows, Windows) else windows,
        judged_labels=labels,
        significance=0.05,
        min_user_days=min_user_days,
        margin=0.05,
        small_difference=0.05,
        seed=7,
        replicates=replicates,
    )


def noisy(n: int, *, users: int = 3, days: int = 4, seed: int = 1) -> Windows:
    """Windows of all labels, right in about 70 % of cases, some rejected."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 8, n)
    said = (np.where(rng.random(n) < 0.7, true, rng.integers(0, 9, n)) for _ in range(2))
    user = np.array([f"user-{i}" for i in range(users)])[rng.integers(0, users, n)]
    return Windows(user, rng.integers(0, days, n) * DAY + rng.integers(0, 8 * 60, n), true, *said)


def group(groups: list[GroupSignificance], name: str) -> GroupSignificance:
    return next(found for found in groups if found.name == name)


def _rows(user: str, day: int, cases: list[tuple[int, int, int, int]]) -> list[tuple[str, int, int, int, int]]:
    """One window for each of (count, true, challenger, champion)."""
    return [(user, day * DAY, true, ours, theirs) for count, true, ours, theirs in cases for _ in range(count)]


# Ten windows each of Break and Build over three days, 8 of each right by the challenger and 6 by the champion. Wrong ones are named the
# other label, so that each model names each label ten times: F1 is 2*8/20 and 2*6/20.
DAY_A = _rows("ann", 0, [(2, BREAK, BREAK, BREAK), (2, BREAK, BREAK, BUILD), (2, BUILD, BUILD, BUILD), (2, BUILD, BUILD, BREAK)])
DAY_B = _rows("ann", 1, [(3, BREAK, BREAK, BREAK), (1, BREAK, BUILD, BUILD), (1, BUILD, BUILD, BUILD), (1, BUILD, BREAK, BREAK)])
DAY_C = _rows("bob", 0, [(1, BREAK, BREAK, BREAK), (1, BREAK, BUILD, BUILD), (3, BUILD, BUILD, BUILD), (1, BUILD, BREAK, BREAK)])
BY_HAND = Windows.of(*DAY_A, *DAY_B, *DAY_C)


def test_counts_are_kept_by_user_and_two_hour_block() -> None:
    windows = Windows.of(
        ("bob", 119, BREAK, BREAK, REJECTED),
        ("ann", 120, BUILD, BREAK, BUILD),
        ("bob", 0, BREAK, BREAK, BREAK),
        ("bob", -1, BREAK, BUILD, BUILD),
    )
    first = int(START.timestamp()) // 7200
    assert windows.sums == BlockSums(
        users=["ann", "bob"],
        blocks=[(0, first + 1), (1, first - 1), (1, first)],
        # block, label, true, challenger right and named, champion right and named
        cells=[
            (0, BREAK, 0, 0, 1, 0, 0),
            (0, BUILD, 1, 0, 0, 1, 1),
            (1, BREAK, 1, 0, 0, 0, 0),
            (1, BUILD, 0, 0, 1, 0, 1),
            (2, BREAK, 2, 2, 2, 1, 1),
        ],
    )


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_blocks_do_not_depend_on_the_unit_of_time(unit: str) -> None:
    windows = noisy(300)
    start = pd.Series(START + pd.to_timedelta(windows.minute, unit="min")).dt.as_unit(unit)
    user = pd.Series(windows.user).astype(pd.CategoricalDtype(["nobody", "user-2", "user-1", "user-0"]))
    assert sum_blocks(user, start, windows.true, windows.challenger, windows.champion) == windows.sums


def test_days_end_at_midnight_utc_also_before_1970() -> None:
    long_ago = -60 * 365 * DAY
    minutes = (0, DAY - 1, DAY, 2 * DAY - 1, long_ago, long_ago + DAY - 1, long_ago - 1)
    windows = Windows.of(*(("ann", minute, BREAK, BREAK, BREAK) for minute in minutes))
    found = assessed(windows)
    assert (found.user_days, found.blocks) == (4, 7)
    epoch = int(START.timestamp()) // 60
    assert windows.sums.blocks == [(0, (epoch + minute) // 120) for minute in sorted(minutes)]
    assert windows.sums.blocks[0][1] < 0


def test_flips_are_counted_by_true_label() -> None:
    true = np.array([BREAK, BREAK, BREAK, BUILD, BUILD, WRITE])
    ours, theirs = np.array([BREAK, BUILD, REJECTED, BUILD, WRITE, READ]), np.array([REJECTED, BREAK, BREAK, BREAK, WRITE, MEET])
    none = dict.fromkeys(LABELS, 0)
    found = count_flips(true, ours, theirs)
    assert found == Flips(windows=6, negative=none | {"BreakIdle": 2}, positive=none | {"BreakIdle": 1, "Build": 1})
    assert (found.negative_share, found.positive_share) == (2 / 6, 2 / 6)


def test_no_windows_have_no_flips() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    found = count_flips(nothing, nothing, nothing)
    assert (found.windows, found.negative_share, found.positive_share) == (0, 0.0, 0.0)


def test_difference_standard_error_and_interval_by_hand() -> None:
    found = assessed(BY_HAND, ["BreakIdle", "Build"])
    # Influence (2 t_b - F d_b) / D with D = 20, labels Break and Build; F = 0.8 and 0.6.
    # Challenger A: t 4, 4 and d 8, 8: 0.08, 0.08. B: t 3, 1 and d 8, 4: -0.02, -0.06. C: t 1, 3 and d 4, 8: -0.06, -0.02.
    # Champion A: t 2, 2 and d 8, 8: -0.04, -0.04. B: t 3, 1 and d 8, 4: 0.06, -0.02. C: t 1, 3 and d 4, 8: -0.02, 0.06.
    # g: A 0.08 + 0.04, B -0.04 - 0.02, C -0.04 - 0.02; SE = sqrt(3/2 * (0.0144 + 0.0036 + 0.0036)) = 0.18.
    assert (found.windows, found.users, found.user_days, found.blocks) == (20, 2, 3, 3)
    assert found.difference == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(0.18)
    assert found.interval == pytest.approx((0.2 - 4.302653 * 0.18, 0.2 + 4.302653 * 0.18))
    assert pytest.approx(4.302653) == T2_975
    assert found.confidence == 0.95
    detectable = (T2_975 + T2_80) * 0.18
    assert found.detectable_difference == pytest.approx(detectable)
    # 3 * (0.965396 / 0.05)^2 = 1118.4
    assert (round(detectable, 6), found.user_days_needed) == (0.965396, 1119)
    assert found.words == (
        "The challenger is 0.2000 better (95 % interval -0.574 to 0.974, 3 user-days of 2 users). The interval is rough: it is over fewer "
        "than 5 user-days. This test can detect a difference of 0.97 or more; to see 0.05, about 1119 labelled user-days are needed."
    )


def test_labels_by_hand() -> None:
    found = assessed(BY_HAND, ["BreakIdle", "Build"], min_user_days=3).by_label
    # g of Break: A 0.08 + 0.04, B -0.02 - 0.06, C -0.06 + 0.02; of Build the same with B and C exchanged.
    error = math.sqrt(1.5 * (0.12**2 + 0.08**2 + 0.04**2))
    t = (0.2 + 0.05) / error
    for label, one in zip(("BreakIdle", "Build"), found, strict=True):
        assert (one.name, one.windows, one.user_days, one.judged) == (label, 10, 3, True)
        assert one.difference == pytest.approx(0.2)
        assert one.standard_error == pytest.approx(error)
        assert one.p_value == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)))
        assert one.adjusted_p == 1.0


def test_users_by_hand() -> None:
    ann, bob = assessed(BY_HAND, ["BreakIdle", "Build"], min_user_days=2).by_user
    # Ann has days A and B. Challenger: Break 2*7/16, Build 2*5/12; champion: 2*5/16 and 2*3/12. With two days g_A = -g_B, SE = 2 |g_A|.
    # g_A: challenger (8 - 7/8*8)/16 and (8 - 5/6*8)/12, so (1/16 + 1/9)/2; champion (4 - 5/8*8)/16 and (4 - 1/2*8)/12, so -1/32.
    assert (ann.name, ann.windows, ann.user_days, ann.judged) == ("ann", 14, 2, True)
    assert ann.difference == pytest.approx((7 / 8 + 5 / 6 - 5 / 8 - 1 / 2) / 2)
    assert ann.standard_error == pytest.approx(2 * ((1 / 16 + 1 / 9) / 2 + 1 / 32))
    # One degree of freedom: 1/2 + atan(t)/pi. Bob has one day, so Holm has nothing to adjust for.
    assert ann.p_value == ann.adjusted_p == pytest.approx(0.5 + math.atan((7 / 24 + 0.05) / (17 / 72)) / math.pi)
    assert bob == GroupSignificance(
        name="bob", windows=6, user_days=1, difference=0.0, standard_error=None, p_value=None, adjusted_p=None, judged=False
    )


def test_holm_by_hand() -> None:
    # Sorted: 0.01*4, 0.02*3, 0.03*2 raised to 0.06, 0.6*1.
    assert holm([0.03, 0.01, 0.6, 0.02]) == pytest.approx([0.06, 0.04, 0.6, 0.06])
    assert holm([0.7, 0.5]) == [1.0, 1.0]
    assert holm([0.5, 0.5, 0.5]) == [1.0, 1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_the_swap_test_comes_close_to_counting_every_swap(n: int) -> None:
    windows = noisy(40 * n, users=1, days=1, seed=n)
    windows = replace(windows, minute=windows.minute % 60 + np.arange(40 * n) // 40 * 120)
    blocks = _dense(windows.sums)
    observed = abs(_difference(blocks.sum(axis=0)))
    extreme = 0
    for choice in itertools.product((False, True), repeat=n):
        table = sum(block[:, [0, 3, 4, 1, 2]] if swapped else block for swapped, block in zip(choice, blocks, strict=True))
        extreme += abs(_difference(table)) >= observed - 1e-12
    found = swap_test(blocks, seed=3, replicates=20_000)
    assert found == pytest.approx(extreme / 2**n, abs=0.015)
    if n == 6:
        assert extreme < 2**n


def test_the_swap_test_counts_the_observed_difference_itself() -> None:
    # The challenger is right in all of 20 blocks, the champion in none: only the two swaps of all or none are as large, 2 of 2^20.
    assert swap_test(_dense(_one_sided(20).sums), seed=1, replicates=999) == 1 / 1000


def _one_sided(n: int) -> Windows:
    return Windows.of(*(("ann", 120 * i, label, label, REJECTED) for i in range(n) for label in (BREAK, BUILD)))


def _dense(sums: BlockSums) -> npt.NDArray[np.int64]:
    counts = np.zeros((len(sums.blocks), 8, 5), dtype=np.int64)
    for block, label, *numbers in sums.cells:
        counts[block, label] = numbers
    return counts


def _difference(table: npt.NDArray[np.int64]) -> float:
    """From counts (8, 5), without the module."""
    scores = [[2 * row[right] / (row[0] + row[named]) for row in table.tolist() if row[0]] for right, named in ((1, 2), (3, 4))]
    return sum(scores[0]) / len(scores[0]) - sum(scores[1]) / len(scores[1])


def test_a_resample_without_any_window_of_a_label_is_scored_by_the_others() -> None:
    # Day 1: Break, right by the challenger alone. Day 2: Build, right by both. So a resample gives 1, 1/2 or 0, and never NaN.
    days = np.zeros((2, 2, 5), dtype=np.int64)
    days[0, 0] = (5, 5, 5, 0, 0)
    days[1, 1] = (5, 5, 5, 5, 5)
    draws = bootstrap(days, seed=1, replicates=4000)
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert (counts / 4000).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_a_resample_without_any_label_is_left_out() -> None:
    days = np.zeros((2, 1, 5), dtype=np.int64)
    days[0, 0] = (5, 5, 5, 0, 0)
    draws = bootstrap(days, seed=1, replicates=4000)
    assert np.unique(draws).tolist() == [1.0]
    assert len(draws) / 4000 == pytest.approx(0.75, abs=0.03)


def test_replicates_are_the_same_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    days = _dense(noisy(2000).sums)[:45]
    whole = bootstrap(days, seed=1, replicates=300), swap_test(days, seed=1, replicates=300)
    monkeypatch.setattr(significance, "_CHUNK", 7 * len(days))
    assert np.array_equal(bootstrap(days, seed=1, replicates=300), whole[0])
    assert swap_test(days, seed=1, replicates=300) == whole[1] < 0.9


@pytest.mark.parametrize("seed", range(5))
def test_the_difference_is_the_one_of_the_reports(seed: int) -> None:
    windows = noisy(400, seed=seed)
    ours, theirs = (tabulate(windows.true, said) for said in (windows.challenger, windows.champion))
    judged = ours.sum(axis=1) >= 50
    found = assessed(windows, [LABELS[i] for i in np.flatnonzero(judged)])
    left, right = macro_f1(ours, judged), macro_f1(theirs, judged)
    assert left is not None
    assert right is not None
    assert found.difference == left - right != 0
    for one in found.by_label:
        alone = np.arange(8) == LABELS.index(one.name)
        assert one.difference == pytest.approx((macro_f1(ours, alone) or 0) - (macro_f1(theirs, alone) or 0))
        assert one.windows == int((windows.true == LABELS.index(one.name)).sum())
    for one in found.by_user:
        mine = windows.user == one.name
        tables = [tabulate(windows.true[mine], said[mine]) for said in (windows.challenger, windows.champion)]
        assert one.difference == pytest.approx((macro_f1(tables[0], judged) or 0) - (macro_f1(tables[1], judged) or 0))
        assert one.windows == mine.sum()


def test_the_histogram_holds_every_resample_and_the_interval_its_percentiles() -> None:
    windows = noisy(3000, days=8)
    found = assessed(windows, replicates=2000)
    assert found.bootstrap_interval is not None
    assert found.interval is not None
    centres, counts = zip(*found.bootstrap_histogram, strict=True)
    assert len(counts) == 30
    assert sum(counts) == 2000
    inside = sum(count for centre, count in found.bootstrap_histogram if found.bootstrap_interval[0] < centre < found.bootstrap_interval[1])
    assert inside / 2000 == pytest.approx(0.95, abs=0.03)
    assert np.average(centres, weights=counts) == pytest.approx(found.difference, abs=0.005)
    assert found.bootstrap_interval == pytest.approx(found.interval, abs=0.01)


def test_a_model_does_not_differ_from_its_own_copy() -> None:
    windows = noisy(2000, days=6)
    found = assessed(replace(windows, champion=windows.challenger))
    assert (found.difference, found.standard_error, found.interval, found.p_value) == (0.0, 0.0, (0.0, 0.0), 1.0)
    assert (found.detectable_difference, found.user_days_needed) == (0.0, 0)
    assert (found.bootstrap_interval, found.bootstrap_histogram) == ((0.0, 0.0), [(0.0, 200)])
    for one in (*found.by_label, *found.by_user):
        assert (one.difference, one.standard_error, one.p_value, one.adjusted_p, one.judged) == (0.0, 0.0, 1.0, 1.0, True)
    assert found.words == "Both models score the same (95 % interval 0.000 to 0.000, 18 user-days of 3 users)."


def test_a_group_that_is_equally_bad_every_day_is_clearly_worse() -> None:
    rows = [row for day in range(5) for row in _rows("ann", day, [(4, BREAK, BREAK, BREAK), (4, BREAK, REJECTED, BREAK)])]
    (one,) = assessed(Windows.of(*rows)).by_user
    assert (one.difference, one.p_value) == (pytest.approx(2 * 4 / 12 - 1), 0.0)
    (other,) = assessed(Windows.of(*rows).swapped).by_user
    assert (other.difference, other.p_value) == (pytest.approx(1 - 2 * 4 / 12), 1.0)


def test_a_group_that_is_a_little_worse_every_day_is_within_the_margin() -> None:
    rows = [row for day in range(5) for row in _rows("ann", day, [(19, BREAK, BREAK, BREAK), (1, BREAK, REJECTED, BREAK)])]
    (one,) = assessed(Windows.of(*rows)).by_user
    assert (one.difference, one.p_value) == (pytest.approx(2 * 19 / 39 - 1), 1.0)


_LABEL = st.integers(0, 3)
_ROWS = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "cid"]), st.integers(0, 5 * DAY), _LABEL, st.integers(0, 8), st.integers(0, 8)), max_size=60
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=_ROWS, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[str, int, int, int, int]], order: random.Random) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert assessed(Windows.of(*shuffled), replicates=20).record_hash == assessed(Windows.of(*rows), replicates=20).record_hash


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=_ROWS)
def test_swapped_models_differ_by_as_much_the_other_way(rows: list[tuple[str, int, int, int, int]]) -> None:
    windows = Windows.of(*rows)
    ahead, behind = (assessed(one, ["BreakIdle", "Build", "Debug"], replicates=20) for one in (windows, windows.swapped))
    assert behind.difference == (None if ahead.difference is None else -ahead.difference)
    assert behind.interval == (None if ahead.interval is None else (-ahead.interval[1], -ahead.interval[0]))
    assert (behind.standard_error, behind.p_value, behind.detectable_difference) == (
        ahead.standard_error,
        ahead.p_value,
        ahead.detectable_difference,
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=_ROWS)
def test_records_are_read_back_from_json_as_they_were(rows: list[tuple[str, int, int, int, int]]) -> None:
    sums = Windows.of(*rows).sums
    read = BlockSums.model_validate(sums.model_dump(mode="json"))
    assert read == sums
    found = assessed(sums, replicates=20)
    assert assessed(read, replicates=20) == found
    assert SignificanceResult.model_validate(found.model_dump(mode="json")) == found
    assert SignificanceResult.model_validate_json(found.model_dump_json()).record_hash == found.record_hash


def test_the_same_seed_gives_the_same_record_and_another_seed_other_replicates() -> None:
    sums = noisy(500).sums
    arguments = {
        "judged_labels": LABELS,
        "significance": 0.1,
        "min_user_days": 5,
        "margin": 0.05,
        "small_difference": 0.05,
        "replicates": 500,
    }
    first, second, other = (assess_significance(sums, seed=seed, **arguments) for seed in (2**100, 2**100, 3))
    assert first.record_hash == second.record_hash
    assert first.bootstrap_histogram != other.bootstrap_histogram
    assert first.p_value != other.p_value
    assert (first.difference, first.interval, first.confidence) == (other.difference, other.interval, 0.9)


def test_rejected_windows_are_wrong_and_nobodys_prediction() -> None:
    rows = _rows("ann", 0, [(2, BREAK, BREAK, BREAK), (1, BREAK, REJECTED, BREAK), (1, BREAK, BUILD, BREAK)])
    found = assessed(Windows.of(*rows))
    # 2 right of 4 true and 2 named, against 4 of 4 and 4
    assert found.difference == pytest.approx(2 * 2 / (4 + 2) - 1)


def test_a_label_that_is_only_named_does_not_count() -> None:
    rows = _rows("ann", 0, [(3, BREAK, BREAK, BREAK), (1, BREAK, BUILD, BREAK)]) + _rows("ann", 1, [(4, BREAK, BREAK, BREAK)])
    found = assessed(Windows.of(*rows), ["BreakIdle", "Build"])
    assert found.difference == pytest.approx(2 * 7 / (8 + 7) - 1)
    assert group(found.by_label, "Build") == GroupSignificance(
        name="Build", windows=0, user_days=1, difference=None, standard_error=None, p_value=None, adjusted_p=None, judged=False
    )


def test_a_user_is_scored_by_the_labels_that_they_have() -> None:
    # Bob has no Build, so that the champion names his Break Build costs it recall of Break only.
    ours = _rows("ann", 0, [(2, BREAK, BREAK, BREAK), (2, BUILD, BUILD, BUILD)]) + _rows(
        "bob", 0, [(3, BREAK, BREAK, BREAK), (3, BREAK, BREAK, BUILD)]
    )
    found = assessed(Windows.of(*ours))
    assert group(found.by_user, "bob").difference == pytest.approx(1 - 2 * 3 / (6 + 3))
    assert group(found.by_user, "ann").difference == 0.0


def test_a_user_without_a_judged_label_is_not_judged() -> None:
    rows = [
        row for day in range(6) for row in _rows("ann", day, [(3, BREAK, BREAK, BUILD)]) + _rows("bob", day, [(3, WRITE, WRITE, BUILD)])
    ]
    ann, bob = assessed(Windows.of(*rows), ["BreakIdle"]).by_user
    assert (ann.judged, ann.difference, ann.user_days) == (True, 1.0, 6)
    assert (bob.judged, bob.difference, bob.p_value, bob.windows, bob.user_days) == (False, None, None, 18, 6)


def test_a_label_is_judged_by_the_days_on_which_it_occurs() -> None:
    rows = [
        row for day in range(6) for row in _rows("ann", day, [(3, BREAK, BREAK, BREAK), (3, BUILD, BREAK if day == 1 else BUILD, BUILD)])
    ]
    rows += _rows("ann", 7, [(1, WRITE, WRITE, WRITE)]) + _rows("ann", 8, [(1, WRITE, WRITE, READ)])
    found = assessed(Windows.of(*rows))
    assert found.user_days == 8
    # Read is only named, and only on one day.
    assert [(one.name, one.user_days, one.judged) for one in found.by_label if one.user_days] == [
        ("BreakIdle", 6, True),
        ("Build", 6, True),
        ("ReadResearch", 1, False),
        ("Write", 2, False),
    ]


def test_one_user_day_has_a_difference_and_no_interval() -> None:
    found = assessed(_one_sided(3), ["BreakIdle", "Build"])
    assert (found.user_days, found.difference, found.p_value) == (1, 1.0, pytest.approx(0.25, abs=0.1))
    assert (found.standard_error, found.interval, found.detectable_difference, found.user_days_needed) == (None, None, None, None)
    assert (found.bootstrap_interval, found.bootstrap_histogram) == (None, [])
    assert [one.judged for one in (*found.by_label, *found.by_user)] == [False] * 3
    assert (
        found.words
        == "The challenger is 1.0000 better (1 user-day of 1 user). How sure that is cannot be said from fewer than 2 user-days."
    )


def test_one_user_is_enough_for_an_interval() -> None:
    found = assessed(noisy(600, users=1, days=6))
    assert (found.users, found.user_days) == (1, 6)
    assert found.interval is not None
    (one,) = found.by_user
    assert (one.difference, one.standard_error, one.judged) == (found.difference, found.standard_error, True)
    assert "of 1 user)" in found.words


@pytest.mark.parametrize(("windows", "labels"), [(Windows.of(), LABELS), (Windows.of(), []), (noisy(100), [])])
def test_without_a_judged_label_there_is_nothing_to_say(windows: Windows, labels: Sequence[str]) -> None:
    found = assessed(windows, labels)
    assert found.windows == len(windows.true)
    assert (found.difference, found.standard_error, found.interval, found.p_value) == (None, None, None, None)
    assert (found.bootstrap_interval, found.bootstrap_histogram, found.detectable_difference, found.user_days_needed) == (
        None,
        [],
        None,
        None,
    )
    assert not any(one.judged for one in (*found.by_label, *found.by_user))
    assert found.words == "No label has enough windows to be judged, so nothing can be said about a difference."


def test_words_for_a_worse_challenger_over_enough_days() -> None:
    found = assessed(BY_HAND.swapped, ["BreakIdle", "Build"], min_user_days=3)
    assert found.words == (
        "The challenger is 0.2000 worse (95 % interval -0.974 to 0.574, 3 user-days of 2 users). "
        "This test can detect a difference of 0.97 or more; to see 0.05, about 1119 labelled user-days are needed."
    )


def test_words_for_a_test_that_can_detect_nothing() -> None:
    found = assessed(Windows.of(*DAY_A, *DAY_B), ["BreakIdle", "Build"], min_user_days=2)
    assert found.detectable_difference is not None
    assert found.detectable_difference > 1
    words = f"to see 0.05, about {found.user_days_needed} labelled user-days are needed"
    assert f"This test is too small to detect any difference; {words}" in found.words


def _best(call: Callable[[], object]) -> float:
    """Seconds, the best of three."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def test_a_large_test_set_is_assessed_fast_enough() -> None:
    days = _dense(noisy(40_000, users=30, days=40).sums)[:1200]
    assert len(days) == 1200
    assert _best(lambda: closed_form(days)) < 0.010
    assert _best(lambda: bootstrap(days, seed=1)) < 1.0
    assert _best(lambda: swap_test(days, seed=1)) < 1.0
