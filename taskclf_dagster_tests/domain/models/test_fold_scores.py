"""Macro-F1 from counts, and the gain between two choices on few user-days, worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from taskclf_dagster.domain.models.fold_scores import EXACT_DAYS, EXCHANGES, count_days, macro_f1, paired_gain

TRUE = np.tile([0, 0, 1, 1], 3)
DAYS = np.repeat([0, 1, 2], 4)


def counts(predicted: list[int] | np.ndarray, true: np.ndarray = TRUE, days: np.ndarray = DAYS) -> np.ndarray:
    return count_days(days, true, np.asarray(predicted))[:, :2]


def test_macro_f1_of_counts_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    true, predicted, days = rng.integers(0, 8, 300), rng.integers(0, 8, 300), rng.integers(0, 5, 300)
    table = count_days(days, true, predicted)
    assert table.shape == (5, 8, 3)
    assert macro_f1(table.sum(axis=0)) == pytest.approx(f1_score(true, predicted, average="macro", labels=range(8)))
    assert macro_f1(table[2]) == pytest.approx(f1_score(true[days == 2], predicted[days == 2], average="macro", labels=range(8)))


def test_a_choice_that_is_better_on_each_of_three_days_has_a_chance_of_one_in_eight() -> None:
    better, worse = counts([0, 0, 1, 1] * 3), counts([0, 1, 1, 1] * 3)
    gain = paired_gain(better, worse, seed=1)
    f1_of_worse = (2 * 3 / (6 + 3) + 2 * 6 / (6 + 9)) / 2  # label 0: 3 right of 6 true and 3 named; label 1: 6 of 6 and 9
    assert gain.value == pytest.approx(1 - f1_of_worse)
    assert gain.p_value == 1 / 8
    assert paired_gain(worse, better, seed=1).p_value == 1.0


def test_a_choice_that_is_better_on_one_day_and_equal_on_others_has_a_chance_of_one_half() -> None:
    gain = paired_gain(counts([0, 0, 1, 1] * 3), counts([0, 1, 1, 1] + [0, 0, 1, 1] * 2), seed=1)
    assert gain.p_value == 1 / 2
    assert gain.standard_error == pytest.approx(gain.value)  # four exchanges give the gain, four its opposite


def test_equal_predictions_have_no_gain() -> None:
    gain = paired_gain(counts([0, 1, 1, 1] * 3), counts([0, 1, 1, 1] * 3), seed=1)
    assert (gain.value, gain.standard_error, gain.p_value) == (0.0, 0.0, 1.0)


def test_many_user_days_are_exchanged_at_random_by_the_seed() -> None:
    n = EXACT_DAYS + 8
    true, days = np.tile([0, 0, 1, 1], n), np.repeat(np.arange(n), 4)
    rng = np.random.default_rng(5)
    one, other = (counts(np.where(rng.random(4 * n) < 0.8, true, 1 - true), true, days) for _ in range(2))
    gain = paired_gain(one, other, seed=1)
    assert paired_gain(one, other, seed=1) == gain
    assert paired_gain(one, other, seed=2).p_value == pytest.approx(gain.p_value, abs=0.03)
    assert (gain.p_value * EXCHANGES).is_integer()
    perfect = counts(true, true, days)
    assert paired_gain(perfect, other, seed=1).p_value == 1 / EXCHANGES
