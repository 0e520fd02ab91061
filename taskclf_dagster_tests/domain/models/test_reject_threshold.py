"""The reject threshold: the best in its range, moved towards the fallback, lowered for the last days, and what to expect of it.

Expected values are worked out by hand, in the comments.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from taskclf_dagster.config.settings import RejectThresholdSettings
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.models.reject_threshold import RejectThreshold, expect_reject_rate, find_nearly_best, tune_reject_threshold

BUILD, DEBUG, WRITE = (LABELS.index(label) for label in ("Build", "Debug", "Write"))

# Ten windows, five of Build and five of Debug, by rising confidence. When the k least confident are rejected:
#   k  right Build, named Build, F1      right Debug, named Debug, F1      macro-F1
#   0  4            6            8/11    3            4            6/9     0.6970
#   1  4            6            8/11    3            3            6/8     0.7386
#   2  4            5            8/10    3            3            6/8     0.7750
#   3  3            4            6/9     3            3            6/8     0.7083
#   4  3            3            6/8     3            3            6/8     0.7500
# F1 is 2 * right / (true + named), and 5 windows of each label are true.
CONFIDENCE = [0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75]
TRUE = [BUILD, DEBUG, BUILD, DEBUG, BUILD, DEBUG, BUILD, DEBUG, BUILD, DEBUG]
NAMED = [DEBUG, BUILD, BUILD, BUILD, BUILD, DEBUG, BUILD, DEBUG, BUILD, DEBUG]


def predictions(
    confidence: list[float], named: list[int], true: list[int], days: list[int] | None = None, users: list[str] | None = None
) -> OutOfFold:
    """The named label has the confidence, the other seven share the rest. Every window is of alice on one day if no days are given."""
    table = np.repeat((1 - np.array(confidence))[:, None] / 7, 8, axis=1) if confidence else np.empty((0, 8))
    table[np.arange(len(named)), named] = confidence
    starts = pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(np.arange(len(named)) % 1440, unit="min")
    rows = pd.DataFrame(
        {
            "user_id": pd.Categorical(users or ["alice"] * len(named)),
            "bucket_start_ts": starts + pd.to_timedelta(days or [0] * len(named), unit="D"),
        }
    )
    return OutOfFold(rows, np.array(true, dtype=np.int64), table.astype(np.float32))


def settings(low: float, high: float, *, fallback: float = 0.55, weight: int = 0) -> RejectThresholdSettings:
    return RejectThresholdSettings(min_reject_rate=low, max_reject_rate=high, fallback=fallback, fallback_windows=weight)


def tune(
    low: float,
    high: float,
    *,
    fallback: float = 0.55,
    weight: int = 0,
    confidence: list[float] = CONFIDENCE,
    named: list[int] = NAMED,
    true: list[int] = TRUE,
    days: list[int] | None = None,
    users: list[str] | None = None,
) -> RejectThreshold:
    table = predictions(confidence, named, true, days, users)
    return tune_reject_threshold(table, settings(low, high, fallback=fallback, weight=weight), basis="folds")


def nearly_best(
    low: float, high: float, *, confidence: list[float] = CONFIDENCE, named: list[int] = NAMED, true: list[int] = TRUE
) -> tuple[float, float]:
    """The threshold of the first step, and the share of windows that it rejects."""
    table = predictions(confidence, named, true)
    value = find_nearly_best(table, settings(low, high))
    return value, float((table.confidence < value).mean())


# --- The best in the range --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "value", "rate"),
    [
        (0.1, 0.3, 0.40, 0.2),  # best of 1, 2 and 3 rejected
        (0.0, 0.1, 0.35, 0.1),  # of 0 and 1: the upper end counts
        (0.3, 0.4, 0.50, 0.4),  # of 3 and 4: both ends count
        (0.3, 0.3, 0.45, 0.3),  # a range of one value
        (0.0, 0.0, 0.30, 0.0),
    ],
)
def test_the_best_threshold_in_the_range_is_taken(low: float, high: float, value: float, rate: float) -> None:
    assert nearly_best(low, high) == (pytest.approx(value, abs=1e-7), rate)


def test_the_macro_f1_of_the_chosen_threshold_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(11)
    true, named, confidence = rng.integers(0, 8, 400), rng.integers(0, 8, 400), rng.uniform(0.2, 1, 400)
    named = np.where(rng.random(400) < 0.6, true, named)
    chosen = tune(0.05, 0.3, confidence=confidence.tolist(), named=named.tolist(), true=true.tolist())
    said = np.where(confidence.astype(np.float32) < chosen.value, 8, named)
    assert 0.05 <= chosen.reject_rate <= 0.3
    assert chosen.macro_f1 == pytest.approx(f1_score(true, said, labels=range(8), average="macro", zero_division=0), abs=1e-12)


def test_windows_in_any_order_give_the_same_threshold() -> None:
    order = np.random.default_rng(5).permutation(10)
    shuffled = {"confidence": [CONFIDENCE[i] for i in order], "named": [NAMED[i] for i in order], "true": [TRUE[i] for i in order]}
    assert nearly_best(0.1, 0.3, **shuffled) == nearly_best(0.1, 0.3)


def test_of_equally_good_thresholds_the_lowest_is_taken() -> None:
    # The least confident window is named Write, which occurs nowhere: rejecting it or not gives the same macro-F1.
    assert nearly_best(0.0, 0.1, named=[WRITE, *NAMED[1:]]) == (pytest.approx(0.30), 0.0)


@pytest.mark.parametrize(("windows", "rejected"), [(20, 1), (200, 0)])
def test_of_nearly_equal_thresholds_the_lowest_is_taken(windows: int, rejected: int) -> None:
    # So many windows of Build and of Debug, all right but the least confident one, which is of Build and named Debug. Rejecting it leaves
    # F1 of Build as it is, and raises that of Debug from 2n / (2n + 1) to 1: macro-F1 by 0.012 with 20 windows, and by 0.001 with 200.
    true = [BUILD] * windows + [DEBUG] * windows
    confidence = np.linspace(0.3, 0.9, 2 * windows).tolist()
    found = nearly_best(0.0, 1 / (2 * windows), confidence=confidence, named=[DEBUG, *true[1:]], true=true)
    assert found[1] == rejected / (2 * windows)


def test_windows_of_equal_confidence_are_rejected_together_or_not_at_all() -> None:
    tied = [0.30, 0.30, 0.40, 0.40, 0.40, 0.55, 0.60, 0.65, 0.70, 0.75]
    assert nearly_best(0.1, 0.4, confidence=tied)[1] == 0.2
    assert not tune(0.3, 0.4, confidence=tied).tuned


def test_the_average_is_over_the_labels_that_occur() -> None:
    chosen = tune(0.0, 0.0, confidence=[0.5, 0.6], named=[BUILD, WRITE], true=[BUILD, BUILD])
    # Build: 1 right of 2 true and 1 named, 2 * 1 / (2 + 1); Write does not occur and does not count
    assert chosen.macro_f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize(("fallback", "rate"), [(0.56, 0.6), (0.29, 0.0), (0.31, 0.1), (0.99, 1.0)])
def test_without_a_threshold_in_the_range_the_fallback_is_taken_and_says_so(fallback: float, rate: float) -> None:
    chosen = tune(0.11, 0.19, fallback=fallback)
    assert (chosen.value, chosen.tuned, chosen.reject_rate) == (fallback, False, rate)
    for part in ("fallback", "0.11..0.19", f"{fallback:.4f}", f"reject {rate:.1%}"):
        assert part in chosen.detail


def test_the_fallback_has_the_macro_f1_of_what_it_accepts() -> None:
    # Above 0.44 the first three are rejected, as in the fourth line of the table above.
    assert tune(0.11, 0.19, fallback=0.44).macro_f1 == pytest.approx((6 / 9 + 6 / 8) / 2)


def test_no_windows_give_the_fallback() -> None:
    chosen = tune(0.0, 1.0, fallback=0.5, confidence=[], named=[], true=[])
    assert (chosen.value, chosen.tuned, chosen.reject_rate, chosen.macro_f1, chosen.interval) == (0.5, False, 0.0, 0.0, None)


@pytest.mark.parametrize(("rate", "rejected"), [(0.07, 7), (0.29, 29), (0.08, 8), (0.25, 25), (0.57, 57)])
def test_a_reject_rate_exactly_at_both_ends_of_the_range_is_in_it(rate: float, rejected: int) -> None:
    # 0.07 * 100 is 7.000000000000001 in floats, and 0.29 * 100 is 28.999999999999996
    chosen = tune(rate, rate, confidence=np.linspace(0.3, 0.9, 100).tolist(), named=[BUILD] * 100, true=[BUILD, DEBUG] * 50)
    assert chosen.tuned
    assert chosen.reject_rate == rate == rejected / 100


# --- Little to choose by ----------------------------------------------------------------------------------------------------------


def steady(n: int = 1000, *, days: int = 20) -> dict[str, list[Any]]:
    """Windows with confidences from 0.3 to 0.8 spread over all days alike; those below 0.4, a fifth, are wrong."""
    confidence = np.linspace(0.3, 0.8, n).tolist()
    true = [WRITE if value < 0.4 else BUILD for value in confidence]
    return {"confidence": confidence, "named": [BUILD] * n, "true": true, "days": [i % days for i in range(n)]}


@pytest.mark.parametrize("weight", [0, 100, 1000])
def test_with_few_windows_the_threshold_is_moved_towards_the_fallback(weight: int) -> None:
    windows = steady()
    best = find_nearly_best(predictions(**windows), settings(0.1, 0.4))
    chosen = tune(0.1, 0.4, weight=weight, fallback=0.5, **windows)
    assert best == pytest.approx(0.392, abs=0.001)
    assert chosen.value == pytest.approx((1000 * best + weight * 0.5) / (1000 + weight), abs=1e-6)
    assert ("before it was moved" in chosen.detail) is (weight > 0)


def test_the_threshold_is_not_moved_out_of_the_range() -> None:
    assert tune(0.1, 0.4, weight=1_000_000, fallback=0.9, **steady()).reject_rate <= 0.4
    assert tune(0.1, 0.4, weight=1_000_000, fallback=0.0, **steady()).reject_rate >= 0.1


def test_with_a_single_user_day_the_least_is_rejected() -> None:
    assert tune(0.1, 0.3, weight=1000).reject_rate == 0.1
    assert tune(0.1, 0.4, weight=1000, **{**steady(), "days": [0] * 1000}).reject_rate == pytest.approx(0.1)


def shifting(last: float, *, days: int = 10) -> tuple[list[float], list[int], list[int]]:
    """Confidences, days and names of 100 windows a day: from 0.4 to 0.9, but a share of those of the last three days from 0.2 to 0.39."""
    confidence, day = [], []
    for number in range(days):
        values = np.linspace(0.4, 0.9, 100)
        if number >= days - 3:
            values[: int(100 * last)] = np.linspace(0.2, 0.39, int(100 * last))
        confidence += values.tolist()
        day += [number] * 100
    return confidence, day, [BUILD] * len(day)


def test_a_shift_in_the_last_days_lowers_the_threshold_so_that_the_next_days_are_not_rejected() -> None:
    # Every window below 0.5 is wrong, so that rejecting a fifth would be best. In the last three days half of the windows are below 0.4.
    confidence, day, named = shifting(0.5)
    true = [BUILD if value >= 0.5 else WRITE for value in confidence]
    calm, _, _ = shifting(0.0)
    unmoved = tune(0.05, 0.3, confidence=calm, named=named, true=[BUILD if value >= 0.5 else WRITE for value in calm], days=day)
    assert unmoved.reject_rate == pytest.approx(0.2, abs=0.011)
    chosen = tune(0.05, 0.3, confidence=confidence, named=named, true=true, days=day)
    rejected = np.array(confidence, dtype=np.float32) < chosen.value
    last = rejected[700:].mean()
    assert last + (last - rejected.mean()) <= 0.3
    assert chosen.reject_rate < 0.15
    assert chosen.interval is not None
    assert chosen.interval[1] <= 0.3
    assert "lowered" in chosen.detail


def test_a_threshold_is_not_lowered_below_the_range() -> None:
    # Everything that is rejected is of the last day; with two user-days the interval is as wide as it can be.
    confidence = [*np.linspace(0.6, 0.9, 50).tolist(), *np.linspace(0.2, 0.5, 50).tolist()]
    chosen = tune(0.1, 0.3, confidence=confidence, named=[BUILD] * 100, true=[BUILD] * 100, days=[0] * 50 + [1] * 50)
    assert chosen.reject_rate == pytest.approx(0.1)


# --- What to expect ---------------------------------------------------------------------------------------------------------------


def test_the_expected_reject_rate_has_an_interval_for_a_further_user_day() -> None:
    # Three user-days of 10, 20 and 10 windows reject 1, 4 and 3: the rate is 8 / 40 = 0.2, the excess -1, 0 and 1.
    # Variance of the rate: 3/2 * (1 + 0 + 1) / 40^2 = 0.001875; of a further user-day 1 + 3 times that; t(0.975, 2) = 4.302653.
    rejected = np.repeat([True, False, True, False, True, False], [1, 9, 4, 16, 3, 7])
    rate, interval = expect_reject_rate(rejected, np.repeat([5, 6, 9], [10, 20, 10]))
    half = 4.302653 * np.sqrt(0.001875 * 4)
    assert rate == pytest.approx(0.2)
    assert interval == pytest.approx((0.0, 0.2 + half), abs=1e-6)
    assert expect_reject_rate(rejected, np.zeros(40, dtype=np.int64)) == (pytest.approx(0.2), None)


def test_the_interval_holds_for_nineteen_of_twenty_user_days() -> None:
    # Each of 12 user-days has a reject rate of its own around 0.15, and 60 windows; so has the one that follows.
    rng, inside = np.random.default_rng(3), 0
    for _ in range(600):
        rates = rng.normal(0.15, 0.03, 13).clip(0, 1)
        rejected = rng.random((13, 60)) < rates[:, None]
        _, interval = expect_reject_rate(rejected[:12].ravel(), np.repeat(np.arange(12), 60))
        assert interval is not None
        inside += interval[0] <= rejected[12].mean() <= interval[1]
    assert 0.93 <= inside / 600 <= 0.98


def test_user_days_are_those_of_each_user() -> None:
    both = tune(0.1, 0.3, days=[0] * 5 + [1] * 5, users=["alice", "bob"] * 5)
    assert (both.user_days, tune(0.1, 0.3, days=[0] * 5 + [1] * 5).user_days) == (4, 2)


def test_the_choice_is_told_in_words() -> None:
    detail = tune(0.1, 0.3, days=[0] * 5 + [1] * 5).detail
    assert detail == (
        "0.3500: rejects least of those nearly best with a reject rate in 0.1..0.3 (0.4000 before it was moved towards the fallback or "
        "lowered); expected to reject 10.0% of the windows, and 0.0% to 100.0% of a single user-day (95 %); macro-F1 0.7386; from 10 "
        "predictions of models of the labels before them, on 2 user-days"
    )
    assert (
        "of the first fit for the validation windows"
        in tune_reject_threshold(predictions(CONFIDENCE, NAMED, TRUE), settings(0.1, 0.3), basis="validation").detail
    )
