"""The pre-flight: which class counts make a promotion impossible, and the words that say what to label."""

import pytest

from taskclf_dagster.domain.data.feasibility import assess_feasibility
from taskclf_dagster.domain.data.feature_schema import LABELS


def counts(train: int = 100, validation: int = 30, test: int = 30, **by_split: dict[str, int]) -> dict[str, dict[str, int]]:
    """A distribution with the same count for every label, some of them replaced: `counts(test_counts={"Meet": 0})`."""
    table = {"train": dict.fromkeys(LABELS, train), "validation": dict.fromkeys(LABELS, validation), "test": dict.fromkeys(LABELS, test)}
    for name, values in by_split.items():
        table[name.removesuffix("_counts")] |= values
    return table


def test_thirty_test_windows_of_every_label_can_be_judged() -> None:
    found = assess_feasibility(counts(), min_class_windows=30, held_out=False)
    assert (found.promotable, found.judged_classes, found.reasons, found.advice) == (True, list(LABELS), [], [])
    assert found.summary == "A model could be promoted: 8 of 8 labels can be judged."


def test_thirty_test_windows_of_breakidle_are_enough_and_twenty_nine_are_not() -> None:
    assert assess_feasibility(counts(test_counts={"BreakIdle": 30}), min_class_windows=30, held_out=False).promotable
    found = assess_feasibility(counts(test_counts={"BreakIdle": 29}), min_class_windows=30, held_out=False)
    assert not found.promotable
    assert found.judged_classes == list(LABELS[1:])
    # 100 train + 30 validation + 29 test windows in all, one is missing
    assert found.reasons == ["BreakIdle has 29 test windows (159 in all) and must be judged on at least 30"]
    assert found.advice == ["Label at least 1 more minutes of BreakIdle on the most recent days, and some on earlier days."]


def test_the_words_carry_reasons_and_advice_with_label_and_number() -> None:
    found = assess_feasibility(counts(test_counts={"BreakIdle": 4}), min_class_windows=30, held_out=False)
    for part in (
        "No model could be promoted",
        "BreakIdle has 4 test windows",
        "at least 30",
        "Label at least 26 more minutes of BreakIdle",
    ):
        assert part in found.summary


@pytest.mark.parametrize("label", LABELS[1:])
def test_another_label_below_thirty_is_not_judged_but_does_not_stand_in_the_way(label: str) -> None:
    found = assess_feasibility(counts(test_counts={label: 29}), min_class_windows=30, held_out=False)
    assert found.promotable
    assert label not in found.judged_classes
    assert "7 of 8" in found.summary


def test_a_label_that_is_judged_but_was_never_taught_is_named() -> None:
    found = assess_feasibility(counts(train_counts={"Meet": 0}, test_counts={"Meet": 31}), min_class_windows=30, held_out=False)
    assert not found.promotable
    assert found.reasons == ["Meet is judged on 31 test windows, but has none to learn from"]
    assert found.advice == ["Label Meet on earlier days, too."]


def test_one_window_to_learn_from_is_enough_to_try() -> None:
    assert assess_feasibility(counts(train_counts={"Meet": 1}), min_class_windows=30, held_out=False).promotable


def test_a_label_without_any_window_does_not_stand_in_the_way() -> None:
    found = assess_feasibility(
        counts(train_counts={"Meet": 0}, validation_counts={"Meet": 0}, test_counts={"Meet": 0}), min_class_windows=30, held_out=False
    )
    assert found.promotable


def test_a_home_without_any_judged_label_is_told_so() -> None:
    found = assess_feasibility(counts(test=29), min_class_windows=30, held_out=False)
    assert found.judged_classes == []
    assert found.reasons[-1] == "no label has 30 test windows"
    assert found.advice[-1] == "Label more minutes on the most recent days."


def test_holding_out_every_user_leaves_nothing_to_learn_from() -> None:
    found = assess_feasibility(counts(train=0, validation=0), min_class_windows=30, held_out=True)
    assert not found.promotable
    assert "every user is held out" in found.reasons
    assert "Hold out a smaller share of users." in found.advice


def test_held_out_users_beside_others_do_not_stand_in_the_way() -> None:
    assert assess_feasibility(counts(), min_class_windows=30, held_out=True).promotable


@pytest.mark.parametrize(("min_class_windows", "promotable"), [(30, True), (31, False)])
def test_the_configured_number_of_windows_decides(min_class_windows: int, *, promotable: bool) -> None:
    assert assess_feasibility(counts(), min_class_windows=min_class_windows, held_out=False).promotable is promotable
