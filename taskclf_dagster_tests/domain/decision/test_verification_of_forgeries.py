"""Verification of forgeries in which everything that is computed follows."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.decision.verdict import decide
from taskclf_dagster.domain.decision.verification import judge_comparative_gates, verify_decision
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import ONLY, computed, following, receipt, reseal
from taskclf_dagster_tests.models import (
    a_decision,
    all_gates,
    gate,
    infeasible,
    with_changes,
)


def _judged_again(decision: PromotionDecision, **changes: object) -> PromotionDecision:
    """The decision with some fields changed, and gates, verdict and hash made to follow from them."""
    content = with_changes(decision, **changes)
    comparative = judge_comparative_gates(content, decision.settings)
    gates = [*(each for each in decision.gates if each.kind == "candidate"), *comparative]
    verdict, reason = decide(gates, content.dataset.feasibility, auto_promote=decision.settings.promotion.auto_promote)
    return seal(with_changes(content, gates=gates, verdict=verdict, reason=reason))


def _with_seed_of_choice(home: Home) -> PromotionDecision:
    """Of all seeds the one with the p-value that one likes best."""
    honest = receipt(home)
    assert honest.comparison is not None
    return _judged_again(honest, comparison=computed(honest.comparison, honest.settings, seed=12345))


def _with_flips_of_choice(home: Home) -> PromotionDecision:
    """Windows became wrong, which the flips do not say, although champion and challenger right differ by it in the counts."""
    honest = receipt(home, ONLY["negative_flips"]())
    assert honest.comparison is not None
    none = dict.fromkeys(LABELS, 0)
    flips = honest.comparison.flips.model_copy(update={"negative": none})
    return _judged_again(honest, comparison=computed(honest.comparison.model_copy(update={"flips": flips}), honest.settings))


def _with_a_gate_of_the_other_kind(home: Home, name: str) -> PromotionDecision:
    """A gate that failed passes now, and says that it is of the kind whose checks it passes."""
    honest = receipt(home, ONLY[name]())
    kind = "candidate" if name in COMPARATIVE_GATES else "comparative"
    forged = {"status": "PASS", "kind": kind, "observed": 0.9, "threshold": 0.1}
    gates = [each.model_copy(update=forged) if each.name == name else each for each in honest.gates]
    return following(with_changes(honest, gates=gates))


def _with_a_champion_that_is_none(home: Home) -> PromotionDecision:
    """The champion that won is named and compared with, and there is none."""
    return _judged_again(
        receipt(home, ONLY["macro_f1_no_regression"]()), champion_state="none", champion_reason="no model was ever promoted"
    )


def _with_an_anchor_that_was_better(home: Home) -> PromotionDecision:
    """An anchor's difference that is not that of its two figures."""
    honest = receipt(home, ONLY["not_worse_than_anchor"]())
    return _judged_again(honest, anchors=[each.model_copy(update={"difference": 0.0}) for each in honest.anchors])


def _with_an_exclusion_that_does_not_add_up(home: Home) -> PromotionDecision:
    """Half of the windows were left out, and all of them compared."""
    honest = receipt(home)
    assert honest.comparison is not None
    exclusion = honest.comparison.exclusion.model_copy(update={"excluded": 200, "remaining": 200})
    comparison = computed(honest.comparison.model_copy(update={"exclusion": exclusion}), honest.settings)
    return _judged_again(honest, comparison=comparison)


def _with_more_right_than_there_are(home: Home) -> PromotionDecision:
    """The challenger has more windows of a block right than there are."""
    honest = receipt(home)
    assert honest.comparison is not None
    block, label, true, _, named_by_ours, *theirs = honest.comparison.sums.cells[0]
    cells = [(block, label, true, true + 9, named_by_ours + 9, *theirs), *honest.comparison.sums.cells[1:]]
    sums = honest.comparison.sums.model_copy(update={"cells": cells})
    return _judged_again(honest, comparison=computed(honest.comparison.model_copy(update={"sums": sums}), honest.settings))


def _with_a_gate_that_does_not_apply(home: Home, name: str) -> PromotionDecision:
    """A gate that failed has nothing to judge now, although the policy asks for it and there is something."""
    honest = receipt(home, ONLY[name]())
    excused = {"status": "NOT_APPLICABLE", "observed": None}
    gates = [each.model_copy(update=excused) if each.name == name else each for each in honest.gates]
    return following(with_changes(honest, gates=gates))


CONTRADICTIONS: dict[str, Callable[[Home], PromotionDecision]] = {
    "a seed of one's own choice": _with_seed_of_choice,
    "flips that are not those of the counts": _with_flips_of_choice,
    "a comparative gate that calls itself a candidate's": lambda home: _with_a_gate_of_the_other_kind(home, "macro_f1_no_regression"),
    "a candidate's gate that calls itself comparative": lambda home: _with_a_gate_of_the_other_kind(home, "macro_f1"),
    "a champion that is none, with its comparison": _with_a_champion_that_is_none,
    "an anchor whose difference is not that of its figures": _with_an_anchor_that_was_better,
    "an exclusion that does not add up": _with_an_exclusion_that_does_not_add_up,
    "more windows right than there are": _with_more_right_than_there_are,
    "a proof that the policy asks for and that does not apply": lambda home: _with_a_gate_that_does_not_apply(home, "reproducible"),
    "a baseline that must be beaten and does not apply": lambda home: _with_a_gate_that_does_not_apply(home, "beats_lookup_baseline"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_forgery_in_which_everything_computed_follows_is_found_by_what_contradicts_itself(home: Home, name: str) -> None:
    forged = CONTRADICTIONS[name](home)
    assert forged.verdict == "PROMOTE"
    assert verify_decision(forged) != []


@pytest.mark.parametrize(
    "gates", [all_gates(macro_f1="FAIL"), all_gates(macro_f1="ERROR"), all_gates()[:-1], []], ids=["failed", "error", "incomplete", "none"]
)
def test_a_verdict_that_does_not_follow_is_found_even_when_the_hash_fits(home: Home, gates: list[RegressionGate]) -> None:
    made = a_decision(home)
    beside = {each.name: each for each in made.gates if each.kind == "comparative"}
    forged = reseal(made, gates=[beside.get(each.name, each) for each in gates])
    assert forged.verdict == "PROMOTE"
    (finding,) = verify_decision(forged)
    assert (finding.kind, "PROMOTE" in finding.detail) == ("verdict_does_not_follow", True)


def test_an_approval_that_the_settings_do_not_give_is_found_even_when_the_hash_fits(home: Home) -> None:
    honest = a_decision(home, auto_promote=False)
    forged = reseal(honest, verdict="PROMOTE", reason=honest.reason.split(";")[0] + ".")
    (finding,) = verify_decision(forged)
    assert (finding.kind, "AWAITING_APPROVAL" in finding.detail) == ("verdict_does_not_follow", True)


def test_an_infeasible_promotion_is_found_even_when_the_hash_fits(home: Home) -> None:
    (finding,) = verify_decision(reseal(a_decision(home), feasibility=infeasible()))
    assert (finding.kind, "HOLD" in finding.detail) == ("verdict_does_not_follow", True)


def test_a_gate_that_appears_twice_is_found(home: Home) -> None:
    decision = a_decision(home, gates=[*all_gates(), gate("macro_f1")])
    (finding,) = verify_decision(decision)
    assert (finding.kind, "macro_f1" in finding.detail) == ("gate_repeated", True)


def test_a_decision_with_a_key_too_many_is_not_read(home: Home) -> None:
    with pytest.raises(ValidationError) as caught:
        PromotionDecision.model_validate({**receipt(home).model_dump(mode="json"), "approved_by": "me"})
    assert [(error["type"], error["loc"]) for error in caught.value.errors()] == [("extra_forbidden", ("approved_by",))]


@pytest.mark.parametrize(
    ("name", "forged", "kind"),
    [
        ("macro_f1", {"observed": 0.1}, "gate_does_not_follow"),
        ("macro_f1", {"threshold": 0.05}, "gate_threshold_differs"),
        ("breakidle_recall", {"observed": None}, "gate_without_numbers"),
        ("reject_rate_bounds", {"observed": 0.31}, "gate_does_not_follow"),
        ("beats_lookup_baseline", {"observed": 0.5, "threshold": 0.5}, "gate_does_not_follow"),
        ("reproducible", {"observed": 0.0}, "gate_does_not_follow"),
        ("macro_f1_no_regression", {"observed": -0.03}, "gate_does_not_follow"),
    ],
)
def test_a_gate_whose_verdict_does_not_follow_from_its_numbers_is_found_in_a_sealed_decision(
    home: Home, name: str, forged: dict[str, object], kind: str
) -> None:
    honest = receipt(home)
    gates = [each.model_copy(update=forged) if each.name == name else each for each in honest.gates]
    (finding,) = verify_decision(reseal(honest, gates=gates))
    assert (finding.kind, name in finding.detail) == (kind, True)


def test_gates_that_follow_from_their_numbers_contradict_nothing(tmp_path: Path) -> None:
    for status in ("PASS", "FAIL"):
        assert verify_decision(a_decision(Home(tmp_path), gates=all_gates(macro_f1=status, reject_rate_bounds=status))) == []
