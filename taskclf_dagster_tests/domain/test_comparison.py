"""Challenger beside champion: on the windows both scored, by hand."""

import numpy as np
import pytest

from taskclf_dagster.domain.comparison import Comparison, compare
from taskclf_dagster.domain.evaluation import REJECTED, Predictions
from taskclf_dagster.domain.features import LABELS

BREAK, BUILD, COMMUNICATE, DEBUG, MEET, READ, REVIEW, WRITE = range(8)

TRUE = [BREAK, BREAK, BREAK, BUILD, BUILD, BUILD, WRITE]
OURS = [BREAK, BREAK, BREAK, BUILD, BUILD, WRITE, WRITE]
THEIRS = [BREAK, BREAK, REJECTED, BUILD, BREAK, BREAK, WRITE]


def predictions(true: list[int], said: list[int], *, keys: list[int] | None = None) -> Predictions:
    names = np.array(keys or range(10, 10 + len(true)), dtype=np.uint64)
    return Predictions(names, np.array(true, dtype=np.int64), np.array(said, dtype=np.int64))


def taken(model: Predictions, positions: list[int]) -> Predictions:
    """Some windows of a model, in this order."""
    return Predictions(model.key[positions], model.true[positions], model.predicted[positions])


CHALLENGER, CHAMPION = predictions(TRUE, OURS), predictions(TRUE, THEIRS)


def test_both_models_and_their_difference_by_hand() -> None:
    found = compare(CHALLENGER, CHAMPION, min_class_windows=3)
    # Challenger: Break 2*3/(3+3), Build 2*2/(3+2). Champion: Break 2*2/(3+4), Build 2*1/(3+1). Write has one window: not judged.
    assert (found.windows, found.left_out) == (7, 0)
    assert found.judged_labels == ["BreakIdle", "Build"]
    assert found.challenger_macro_f1 == pytest.approx((1 + 4 / 5) / 2)
    assert found.champion_macro_f1 == pytest.approx((4 / 7 + 1 / 2) / 2)
    assert found.macro_f1_delta == pytest.approx((1 + 4 / 5) / 2 - (4 / 7 + 1 / 2) / 2)
    assert found.f1_delta_by_label == {"BreakIdle": pytest.approx(1 - 4 / 7), "Build": pytest.approx(4 / 5 - 1 / 2)}


def test_a_worse_challenger_has_a_negative_difference() -> None:
    ahead, behind = (compare(a, b, min_class_windows=3) for a, b in ((CHALLENGER, CHAMPION), (CHAMPION, CHALLENGER)))
    assert behind.macro_f1_delta == -ahead.macro_f1_delta < 0
    assert (behind.challenger_macro_f1, behind.champion_macro_f1) == (ahead.champion_macro_f1, ahead.challenger_macro_f1)


def test_identical_predictions_differ_by_exactly_nothing() -> None:
    rng = np.random.default_rng(5)
    true, said = rng.integers(0, 8, 3000), rng.integers(0, 9, 3000)
    model = Predictions(rng.permutation(3000).astype(np.uint64), true, said)
    shuffled = taken(model, rng.permutation(3000).tolist())
    found = compare(model, shuffled, min_class_windows=1)
    assert found.macro_f1_delta == 0.0
    assert found.challenger_macro_f1 == found.champion_macro_f1 > 0
    assert set(found.f1_delta_by_label.values()) == {0.0}
    assert list(found.f1_delta_by_label) == list(LABELS)


def test_the_order_of_windows_does_not_matter() -> None:
    expected = compare(CHALLENGER, CHAMPION, min_class_windows=3)
    assert compare(CHALLENGER, taken(CHAMPION, [6, 2, 4, 0, 1, 5, 3]), min_class_windows=3) == expected
    assert compare(taken(CHALLENGER, [3, 6, 0, 5, 2, 1, 4]), CHAMPION, min_class_windows=3) == expected


def test_windows_that_the_champion_lacks_leave_the_comparison_for_both() -> None:
    # Without window 5, which the challenger has wrong: challenger Build 2*2/(2+2), champion Build 2*1/(2+1), Break 2*2/(3+3).
    found = compare(CHALLENGER, taken(CHAMPION, [0, 1, 2, 3, 4, 6]), min_class_windows=2)
    assert (found.windows, found.left_out) == (6, 1)
    assert found.challenger_macro_f1 == pytest.approx((1 + 1) / 2)
    assert found.champion_macro_f1 == pytest.approx((4 / 6 + 2 / 3) / 2)


def test_windows_that_only_the_champion_has_do_not_count() -> None:
    longer = predictions([*TRUE, BUILD, BUILD], [*THEIRS, BUILD, BUILD])
    assert compare(CHALLENGER, longer, min_class_windows=3) == compare(CHALLENGER, CHAMPION, min_class_windows=3)


@pytest.mark.parametrize(("fewest", "judged"), [(1, ["BreakIdle", "Build", "Write"]), (2, ["BreakIdle", "Build"]), (3, ["BreakIdle"])])
def test_labels_are_judged_by_their_windows_in_common(fewest: int, judged: list[str]) -> None:
    found = compare(CHALLENGER, taken(CHAMPION, [0, 1, 2, 3, 4, 6]), min_class_windows=fewest)
    assert found.judged_labels == judged
    assert list(found.f1_delta_by_label) == judged


def test_without_a_judged_label_there_is_no_difference() -> None:
    found = compare(CHALLENGER, CHAMPION, min_class_windows=4)
    assert (found.challenger_macro_f1, found.champion_macro_f1, found.macro_f1_delta) == (None, None, None)
    assert (found.judged_labels, found.f1_delta_by_label, found.windows) == ([], {}, 7)


@pytest.mark.parametrize("champion", [predictions([], []), predictions(TRUE, THEIRS, keys=[1, 2, 3, 4, 5, 6, 7])])
def test_models_without_a_window_in_common_are_not_compared(champion: Predictions) -> None:
    found = compare(CHALLENGER, champion, min_class_windows=1)
    assert (found.windows, found.left_out, found.macro_f1_delta) == (0, 7, None)


def test_a_rejected_window_is_wrong_and_nobodys_prediction() -> None:
    found = compare(predictions([BREAK] * 4, [BREAK, BREAK, REJECTED, BUILD]), predictions([BREAK] * 4, [BREAK] * 4), min_class_windows=4)
    # 2 right of 4 true and 2 named
    assert found.challenger_macro_f1 == pytest.approx(2 * 2 / (4 + 2))
    assert found.champion_macro_f1 == 1


def test_a_comparison_is_read_back_from_json_as_it_was() -> None:
    found = compare(CHALLENGER, CHAMPION, min_class_windows=3)
    assert Comparison.model_validate_json(found.model_dump_json()) == found
