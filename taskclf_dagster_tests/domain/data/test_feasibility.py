"""The pre-flight: which class counts make a promotion impossible, and the words that say what to label."""

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.feasibility import assess_feasibility
from taskclf_dagster.domain.data.feature_schema import LABELS


def counts(train: int = 100, validation: int = 30, test: int = 30, **by_split: dict[str, int]) -> dict[str, dict[str, int]]:
    """A distribution with the same count for every label, some of them replaced: `counts(test_counts={"Meet": 0})`."""
    parts = {"older": 0, "train": train, "validation": validation, "test": test}
    table = {part: dict.fromkeys(LABELS, number) for part, number in parts.items()}
    for name, values in by_split.items():
        table[name.removesuffix("_counts")] |= values
    return table


def test_thirty_test_windows_of_every_label_can_be_judged() -> None:
    found = assess_feasibility(counts(), min_class_windows=30, held_out=False)
    assert (found.promotable, found.judged_classes, found.reasons, found.advice) == (True, list(LABELS), [], [])


def test_thirty_test_windows_of_breakidle_are_enough_and_twenty_nine_are_not() -> None:
    assert assess_feasibility(counts(test_counts={"BreakIdle": 30}), min_class_windows=30, held_out=False).promotable
    found = assess_feasibility(counts(test_counts={"BreakIdle": 29}), min_class_windows=30, held_out=False)
    assert not found.promotable
    assert found.judged_classes == list(LABELS[1:])
    # 100 train + 30 validation + 29 test windows in all; new labels push those of the test part out, so one more is not enough
    (reason,), (advice,) = found.reasons, found.advice
    assert all(part in reason for part in ("BreakIdle", "29", "159", "30"))
    assert ("BreakIdle" in advice, " 30 " in advice) == (True, True)


def test_the_wording_of_the_summary(snapshot: SnapshotAssertion) -> None:
    given = {
        "every label": (counts(), False),
        "too few of BreakIdle": (counts(test_counts={"BreakIdle": 4}), False),
        "nothing to learn from": (counts(train_counts={"Meet": 0}, test_counts={"Meet": 31}), False),
        "no label judged": (counts(test=29), False),
        "every user held out": (counts(train=0, validation=0), True),
    }
    said = {name: assess_feasibility(table, min_class_windows=30, held_out=held_out).summary for name, (table, held_out) in given.items()}
    assert said == snapshot


@pytest.mark.parametrize("label", LABELS[1:])
def test_another_label_below_thirty_is_not_judged_but_does_not_stand_in_the_way(label: str) -> None:
    found = assess_feasibility(counts(test_counts={label: 29}), min_class_windows=30, held_out=False)
    assert found.promotable
    assert label not in found.judged_classes
    assert "7 of 8" in found.summary


def test_a_label_that_is_judged_but_was_never_taught_is_named() -> None:
    found = assess_feasibility(counts(train_counts={"Meet": 0}, test_counts={"Meet": 31}), min_class_windows=30, held_out=False)
    assert not found.promotable
    (reason,), (advice,) = found.reasons, found.advice
    assert ("Meet" in reason, "31" in reason, "Meet" in advice) == (True, True, True)


def test_older_windows_are_enough_to_learn_from() -> None:
    assert assess_feasibility(counts(train_counts={"Meet": 0}, older_counts={"Meet": 1}), min_class_windows=30, held_out=False).promotable


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
    assert (len(found.reasons), "30" in found.reasons[-1]) == (2, True)  # BreakIdle, and every label


def test_holding_out_every_user_leaves_nothing_to_learn_from() -> None:
    found = assess_feasibility(counts(train=0, validation=0), min_class_windows=30, held_out=True)
    free = assess_feasibility(counts(train=0, validation=0), min_class_windows=30, held_out=False)
    assert not found.promotable
    assert (set(found.reasons) > set(free.reasons), set(found.advice) > set(free.advice)) == (True, True)


def test_held_out_users_beside_others_do_not_stand_in_the_way() -> None:
    assert assess_feasibility(counts(), min_class_windows=30, held_out=True).promotable


@pytest.mark.parametrize(("min_class_windows", "promotable"), [(30, True), (31, False)])
def test_the_configured_number_of_windows_decides(min_class_windows: int, *, promotable: bool) -> None:
    assert assess_feasibility(counts(), min_class_windows=min_class_windows, held_out=False).promotable is promotable
