"""Confirmation: two days in a row, the same model, enough inputs or a dead one."""

import pytest

from taskclf_dagster.domain.monitoring.drift_confirmation import KEPT, DriftEvaluation, DriftState, confirm
from taskclf_dagster_tests.scenario import AS_OF, DAY, retrain_config

SETTINGS = retrain_config().drift


def found(day: float, *drifted: str, dead: tuple[str, ...] = (), model: str = "m") -> DriftEvaluation:
    return DriftEvaluation(as_of=AS_OF + day * DAY, model=model, drifted=drifted, dead=dead)


CASES = {
    "both inputs on both days": (found(0, "a", "b"), found(1, "a", "b", "c"), ("a", "b")),
    "one input on both days": (found(0, "a", "b"), found(1, "a", "c"), ()),
    "one input that is dead on both": (found(0, dead=("a",)), found(1, dead=("a",)), ("a",)),
    "one that drifts and then is dead": (found(0, "a"), found(1, dead=("a",)), ()),
    "two, of which one is dead": (found(0, "a", dead=("b",)), found(1, "a", dead=("b",)), ("a", "b")),
    "another model": (found(0, "a", "b", model="n"), found(1, "a", "b"), ()),
    "the same day": (found(0, "a", "b"), found(0.5, "a", "b"), ()),
    "no day in common": (found(0, "a", "b"), found(7, "a", "b"), ()),
    "a gap of days": (found(0, "a", "b"), found(6, "a", "b"), ("a", "b")),
    "a later evaluation": (found(2, "a", "b"), found(1, "a", "b"), ()),
}


@pytest.mark.parametrize("case", CASES)
def test_what_confirms_a_drift(case: str) -> None:
    before, now, inputs = CASES[case]
    evaluation, confirming = confirm(DriftState(evaluations=(before,)), now, settings=SETTINGS)
    assert confirming == inputs
    assert evaluation.is_new is bool(inputs)


def test_a_drift_that_lasts_is_confirmed_once_and_one_that_returns_again() -> None:
    state, new = DriftState(), []
    for day, names in enumerate(["ab", "ab", "ab", "ab", "", "ab", "ab"]):
        evaluation, _ = confirm(state, found(day, *names), settings=SETTINGS)
        state = state.with_evaluation(evaluation)
        new.append(evaluation.is_new)
    assert new == [False, True, False, False, False, False, True]


def test_a_second_evaluation_of_the_day_confirms_nothing_new() -> None:
    state = DriftState(evaluations=(found(0, "a", "b"),))
    first, _ = confirm(state, found(1, "a", "b"), settings=SETTINGS)
    later, _ = confirm(state.with_evaluation(first), found(1.5, "a", "b"), settings=SETTINGS)
    assert (first.is_new, later.is_new, later.confirmed_at) == (True, False, first.as_of)


def test_the_newest_evaluations_are_kept_one_a_day() -> None:
    state = DriftState()
    for day in range(KEPT + 20):
        state = state.with_evaluation(found(day)).with_evaluation(found(day + 0.5))
    assert len(state.evaluations) == KEPT
    assert state.evaluations[-1].as_of == AS_OF + (KEPT + 19.5) * DAY


def test_a_confirmed_drift_lasts_with_another_model_and_ends_with_a_quiet_day() -> None:
    state = DriftState(evaluations=(found(0, "a", "b"),))
    confirmed = confirm(state, found(1, "a", "b"), settings=SETTINGS).evaluation
    assert confirmed.is_new
    state = state.with_evaluation(confirmed)
    promoted = confirm(state, found(2, "a", "b", model="n"), settings=SETTINGS).evaluation
    assert (promoted.confirmed_at, promoted.is_new) == (confirmed.as_of, False)
    quiet = confirm(state.with_evaluation(promoted), found(3, "a", model="n"), settings=SETTINGS).evaluation
    assert quiet.confirmed_at is None
