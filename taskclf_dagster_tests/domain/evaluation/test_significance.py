"""Differences and how sure they are: by hand, at the edges, and under changes that must not matter."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.block_counts import BlockSums
from taskclf_dagster.domain.evaluation.confusion import REJECTED, count_predictions
from taskclf_dagster.domain.evaluation.significance import GroupSignificance, SignificanceResult, holm
from taskclf_dagster_tests.domain.evaluation.paired_windows import (
    BREAK,
    BUILD,
    BY_HAND,
    DAY,
    DAY_A,
    DAY_B,
    READ,
    WRITE,
    Windows,
    assessed,
    noisy,
    of_day,
    one_sided,
)

# P(T <= t) of Student's t with 2 degrees of freedom is 1/2 + t / (2 sqrt(2 + t^2)), so t(p) = (2p - 1) sqrt(2 / (4p (1 - p))).
T2_975, T2_80 = (share * math.sqrt(2 / (1 - share**2)) for share in (0.95, 0.6))


def group(groups: list[GroupSignificance], name: str) -> GroupSignificance:
    return next(found for found in groups if found.name == name)


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


@pytest.mark.parametrize("seed", range(2))
def test_the_difference_is_the_one_of_the_reports(seed: int) -> None:
    windows = noisy(400, seed=seed)
    ours, theirs = (count_predictions(windows.true, said) for said in (windows.challenger, windows.champion))
    judged = ours.support >= 50
    found = assessed(windows, [LABELS[i] for i in np.flatnonzero(judged)])
    left, right = ours.macro_f1(judged), theirs.macro_f1(judged)
    assert left is not None
    assert right is not None
    assert found.difference == left - right != 0
    for one in found.by_label:
        alone = np.arange(8) == LABELS.index(one.name)
        assert one.difference == pytest.approx((ours.macro_f1(alone) or 0) - (theirs.macro_f1(alone) or 0))
        assert one.windows == int((windows.true == LABELS.index(one.name)).sum())
    for one in found.by_user:
        mine = windows.user == one.name
        tables = [count_predictions(windows.true[mine], said[mine]) for said in (windows.challenger, windows.champion)]
        assert one.difference == pytest.approx((tables[0].macro_f1(judged) or 0) - (tables[1].macro_f1(judged) or 0))
        assert one.windows == mine.sum()


def test_a_model_does_not_differ_from_its_own_copy() -> None:
    windows = noisy(2000, days=6)
    found = assessed(replace(windows, champion=windows.challenger))
    assert (found.difference, found.standard_error, found.interval, found.p_value) == (0.0, 0.0, (0.0, 0.0), 1.0)
    assert (found.detectable_difference, found.user_days_needed) == (0.0, 0)
    for one in (*found.by_label, *found.by_user):
        assert (one.difference, one.standard_error, one.p_value, one.adjusted_p, one.judged) == (0.0, 0.0, 1.0, 1.0, True)


def test_a_group_that_is_equally_bad_every_day_is_clearly_worse() -> None:
    rows = [row for day in range(5) for row in of_day("ann", day, [(4, BREAK, BREAK, BREAK), (4, BREAK, REJECTED, BREAK)])]
    (one,) = assessed(Windows.of(*rows)).by_user
    assert (one.difference, one.p_value) == (pytest.approx(2 * 4 / 12 - 1), 0.0)
    (other,) = assessed(Windows.of(*rows).swapped).by_user
    assert (other.difference, other.p_value) == (pytest.approx(1 - 2 * 4 / 12), 1.0)


def test_a_group_that_is_a_little_worse_every_day_is_within_the_margin() -> None:
    rows = [row for day in range(5) for row in of_day("ann", day, [(19, BREAK, BREAK, BREAK), (1, BREAK, REJECTED, BREAK)])]
    (one,) = assessed(Windows.of(*rows)).by_user
    assert (one.difference, one.p_value) == (pytest.approx(2 * 19 / 39 - 1), 1.0)


_LABEL = st.integers(0, 3)
_ROWS = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "cid"]), st.integers(0, 5 * DAY), _LABEL, st.integers(0, 8), st.integers(0, 8)), max_size=60
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(rows=_ROWS, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[str, int, int, int, int]], order: random.Random) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert assessed(Windows.of(*shuffled), replicates=20).record_hash == assessed(Windows.of(*rows), replicates=20).record_hash


@settings(max_examples=25, deadline=None, derandomize=True)
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


@settings(max_examples=25, deadline=None, derandomize=True)
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
    first, second, other = (assessed(sums, seed=seed, replicates=500) for seed in (2**100, 2**100, 3))
    assert first.record_hash == second.record_hash
    assert first.p_value != other.p_value
    assert (first.difference, first.interval, first.confidence) == (other.difference, other.interval, 0.95)


def test_rejected_windows_are_wrong_and_nobodys_prediction() -> None:
    rows = of_day("ann", 0, [(2, BREAK, BREAK, BREAK), (1, BREAK, REJECTED, BREAK), (1, BREAK, BUILD, BREAK)])
    found = assessed(Windows.of(*rows))
    # 2 right of 4 true and 2 named, against 4 of 4 and 4
    assert found.difference == pytest.approx(2 * 2 / (4 + 2) - 1)


def test_a_label_that_is_only_named_does_not_count() -> None:
    rows = of_day("ann", 0, [(3, BREAK, BREAK, BREAK), (1, BREAK, BUILD, BREAK)]) + of_day("ann", 1, [(4, BREAK, BREAK, BREAK)])
    found = assessed(Windows.of(*rows), ["BreakIdle", "Build"])
    assert found.difference == pytest.approx(2 * 7 / (8 + 7) - 1)
    assert group(found.by_label, "Build") == GroupSignificance(
        name="Build", windows=0, user_days=1, difference=None, standard_error=None, p_value=None, adjusted_p=None, judged=False
    )


def test_a_user_is_scored_by_the_labels_that_they_have() -> None:
    # Bob has no Build, so that the champion names his Break Build costs it recall of Break only.
    ours = of_day("ann", 0, [(2, BREAK, BREAK, BREAK), (2, BUILD, BUILD, BUILD)]) + of_day(
        "bob", 0, [(3, BREAK, BREAK, BREAK), (3, BREAK, BREAK, BUILD)]
    )
    found = assessed(Windows.of(*ours))
    assert group(found.by_user, "bob").difference == pytest.approx(1 - 2 * 3 / (6 + 3))
    assert group(found.by_user, "ann").difference == 0.0


def test_a_user_without_a_judged_label_is_not_judged() -> None:
    rows = [
        row for day in range(6) for row in of_day("ann", day, [(3, BREAK, BREAK, BUILD)]) + of_day("bob", day, [(3, WRITE, WRITE, BUILD)])
    ]
    ann, bob = assessed(Windows.of(*rows), ["BreakIdle"]).by_user
    assert (ann.judged, ann.difference, ann.user_days) == (True, 1.0, 6)
    assert (bob.judged, bob.difference, bob.p_value, bob.windows, bob.user_days) == (False, None, None, 18, 6)


def test_a_label_is_judged_by_the_days_on_which_it_occurs() -> None:
    rows = [
        row for day in range(6) for row in of_day("ann", day, [(3, BREAK, BREAK, BREAK), (3, BUILD, BREAK if day == 1 else BUILD, BUILD)])
    ]
    rows += of_day("ann", 7, [(1, WRITE, WRITE, WRITE)]) + of_day("ann", 8, [(1, WRITE, WRITE, READ)])
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
    found = assessed(one_sided(3), ["BreakIdle", "Build"])
    assert (found.user_days, found.difference, found.p_value) == (1, 1.0, pytest.approx(0.25, abs=0.1))
    assert (found.standard_error, found.interval, found.detectable_difference, found.user_days_needed) == (None, None, None, None)
    assert [one.judged for one in (*found.by_label, *found.by_user)] == [False] * 3


def test_one_user_is_enough_for_an_interval() -> None:
    found = assessed(noisy(600, users=1, days=6))
    assert (found.users, found.user_days) == (1, 6)
    assert found.interval is not None
    (one,) = found.by_user
    assert (one.difference, one.standard_error, one.judged) == (found.difference, found.standard_error, True)


@pytest.mark.parametrize(("windows", "labels"), [(Windows.of(), LABELS), (noisy(100), [])], ids=["no window", "no label"])
def test_without_a_judged_label_there_is_nothing_to_say(windows: Windows, labels: list[str]) -> None:
    found = assessed(windows, labels)
    assert found.windows == len(windows.true)
    assert (found.difference, found.standard_error, found.interval, found.p_value) == (None, None, None, None)
    assert (found.detectable_difference, found.user_days_needed) == (None, None)
    assert not any(one.judged for one in (*found.by_label, *found.by_user))


def test_a_summary_says_which_model_is_better_how_sure_that_is_and_what_the_test_can_see(snapshot: SnapshotAssertion) -> None:
    two_labels = ["BreakIdle", "Build"]
    cases = {
        "better, few days": assessed(BY_HAND, two_labels),
        "worse, enough days": assessed(BY_HAND.swapped, two_labels, min_user_days=3),
        "too small a test": assessed(Windows.of(*DAY_A, *DAY_B), two_labels, min_user_days=2),
        "the same model": assessed(replace(BY_HAND, champion=BY_HAND.challenger), two_labels, min_user_days=3),
        "one user-day": assessed(one_sided(3), two_labels),
        "no judged label": assessed(Windows.of()),
        "enough data": assessed(noisy(30_000, days=30)),
    }
    assert {case: found.summary for case, found in cases.items()} == snapshot
