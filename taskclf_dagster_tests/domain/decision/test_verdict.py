"""The verdict: what follows from every combination of gates, and that each gate stops a candidate on its own."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES
from taskclf_dagster.domain.decision.gate import RegressionGate, Status
from taskclf_dagster.domain.decision.verdict import MAY_NOT_APPLY, REQUIRED_GATES, Verdict, decide
from taskclf_dagster.domain.evaluation.baselines import BaselineScore
from taskclf_dagster.domain.evaluation.comparison import Comparison
from taskclf_dagster_tests.decision_scenario import NAN, ONLY, SHIPPED, Candidate, Raising, anchor, better, scored
from taskclf_dagster_tests.models import (
    a_report,
    all_gates,
    class_score,
    feasible,
    gate,
    infeasible,
)
from taskclf_dagster_tests.scenario import retrain_config

STATUSES: tuple[Status, ...] = ("PASS", "FAIL", "INCONCLUSIVE", "ERROR", "NOT_APPLICABLE")

EXCUSABLE = {
    "seen_user_f1",
    "unseen_user_f1",
    "beats_rule_baseline",
    "beats_lookup_baseline",
    "reproducible",
    "macro_f1_no_regression",
    "min_improvement",
    "not_worse_than_anchor",
    "no_user_clearly_worse",
    "no_class_clearly_worse",
    "no_slice_clearly_worse",
    "negative_flips",
}


def verdict_of(gates: list[RegressionGate], *, auto_promote: bool = True) -> Verdict:
    return decide(gates, feasible(), auto_promote=auto_promote)[0]


def test_every_gate_is_required() -> None:
    assert (*CANDIDATE_GATES, *COMPARATIVE_GATES) == REQUIRED_GATES
    assert len(set(REQUIRED_GATES)) == 20


def test_only_gates_that_may_have_nothing_to_judge_may_not_apply() -> None:
    assert EXCUSABLE == MAY_NOT_APPLY


@pytest.mark.parametrize("name", REQUIRED_GATES)
@pytest.mark.parametrize("status", [*STATUSES, None])
def test_one_gate_decides_when_all_others_pass(name: str, status: Status | None) -> None:
    gates = [each for each in all_gates() if each.name != name] if status is None else all_gates(**{name: status})
    expected = {
        "PASS": "PROMOTE",
        "FAIL": "REJECT",
        "INCONCLUSIVE": "HOLD",
        "ERROR": "HOLD",
        "NOT_APPLICABLE": "PROMOTE" if name in EXCUSABLE else "HOLD",
        None: "HOLD",
    }[status]
    verdict, reason = decide(gates, feasible(), auto_promote=True)
    assert verdict == expected
    if expected != "PROMOTE":
        assert name in reason


def test_a_hold_by_a_gate_ends_with_the_advice_of_the_dataset() -> None:
    advised = feasible().model_copy(update={"advice": ["9 label spans: 8 of users without windows."]})
    reasons = {status: decide(all_gates(macro_f1=status), advised, auto_promote=True)[1] for status in ("INCONCLUSIVE", "FAIL", "PASS")}
    assert {status: advised.advice[0] in reason for status, reason in reasons.items()} == {
        "INCONCLUSIVE": True,
        "FAIL": False,
        "PASS": False,
    }


def test_any_combination_promotes_only_if_every_required_gate_passes_or_may_be_not_applicable() -> None:
    rng = np.random.default_rng(11)
    seen = dict.fromkeys(("PROMOTE", "REJECT", "HOLD"), 0)
    for _ in range(600):
        likely = rng.choice([0.5, 0.9, 0.99])
        drawn = [rng.choice([*STATUSES, "missing"], p=[likely, *[(1 - likely) / 5] * 5]) for _ in REQUIRED_GATES]
        statuses = dict(zip(REQUIRED_GATES, drawn, strict=True))
        fine = all(status == "PASS" or (status == "NOT_APPLICABLE" and name in EXCUSABLE) for name, status in statuses.items())
        expected = "REJECT" if "FAIL" in drawn else "PROMOTE" if fine else "HOLD"
        gates = [gate(name, status) for name, status in statuses.items() if status != "missing"]
        assert verdict_of(gates) == expected, statuses
        seen[expected] += 1
    assert min(seen.values()) > 30


def test_no_gates_at_all_never_promote() -> None:
    verdict, reason = decide([], feasible(), auto_promote=True)
    assert verdict == "HOLD"
    for name in REQUIRED_GATES:
        assert name in reason


def test_gates_that_all_do_not_apply_never_promote() -> None:
    assert verdict_of(all_gates(**dict.fromkeys(REQUIRED_GATES, "NOT_APPLICABLE"))) == "HOLD"


@pytest.mark.parametrize(("status", "expected"), [("PASS", "PROMOTE"), ("FAIL", "REJECT"), ("ERROR", "HOLD"), ("NOT_APPLICABLE", "HOLD")])
def test_a_gate_beyond_the_required_ones_counts_too(status: Status, expected: Verdict) -> None:
    assert verdict_of([*all_gates(), gate("another", status)]) == expected


@pytest.mark.parametrize("order", [("FAIL", "PASS"), ("PASS", "FAIL")])
def test_a_gate_given_twice_is_not_outvoted_by_its_double(order: tuple[Status, Status]) -> None:
    rest = [each for each in all_gates() if each.name != "macro_f1"]
    assert verdict_of([*rest, *(gate("macro_f1", status) for status in order)]) == "REJECT"


def test_the_order_of_gates_does_not_matter() -> None:
    assert verdict_of(all_gates()[::-1]) == "PROMOTE"


def test_a_rejection_names_every_gate_that_failed_with_its_detail_and_what_is_not_decided() -> None:
    verdict, reason = decide(all_gates(macro_f1="FAIL", reject_rate_bounds="FAIL", weighted_f1="ERROR"), feasible(), auto_promote=True)
    assert verdict == "REJECT"
    assert all(f"{name} (detail of {name})" in reason for name in ("macro_f1", "reject_rate_bounds"))
    assert reason.endswith("Not decided: weighted_f1 is ERROR (detail of weighted_f1).")


def test_a_hold_names_every_open_question() -> None:
    verdict, reason = decide(all_gates(macro_f1="ERROR", min_improvement="INCONCLUSIVE"), feasible(), auto_promote=True)
    assert verdict == "HOLD"
    for name, status in {"macro_f1": "ERROR", "min_improvement": "INCONCLUSIVE"}.items():
        assert f"{name} is {status} (detail of {name})" in reason


def test_without_auto_promote_a_person_has_to_approve() -> None:
    verdict, reason = decide(all_gates(seen_user_f1="NOT_APPLICABLE"), feasible(), auto_promote=False)
    assert verdict == "AWAITING_APPROVAL"
    assert ("19" in reason, "auto_promote" in reason) == (True, True)
    verdict, reason = decide(all_gates(), feasible(), auto_promote=True)
    assert (verdict, "20" in reason, "auto_promote" in reason) == ("PROMOTE", True, False)


def test_the_wording_of_the_reasons(snapshot: SnapshotAssertion) -> None:
    given = {
        "passed": (all_gates(seen_user_f1="NOT_APPLICABLE"), feasible(), True),
        "awaits approval": (all_gates(seen_user_f1="NOT_APPLICABLE"), feasible(), False),
        "failed": (all_gates(macro_f1="FAIL", reject_rate_bounds="FAIL", weighted_f1="ERROR"), feasible(), True),
        "not decided": (all_gates(macro_f1="ERROR", min_improvement="INCONCLUSIVE"), feasible(), True),
        "not judged": (all_gates()[:-1], feasible(), True),
    }
    said = {name: decide(gates, ground, auto_promote=by_itself) for name, (gates, ground, by_itself) in given.items()}
    assert said == snapshot


@pytest.mark.parametrize("auto_promote", [True, False])
@pytest.mark.parametrize(("status", "expected"), [("FAIL", "REJECT"), ("ERROR", "HOLD")])
def test_auto_promote_changes_nothing_unless_every_gate_passes(auto_promote: bool, status: Status, expected: Verdict) -> None:
    assert verdict_of(all_gates(macro_f1=status), auto_promote=auto_promote) == expected


def test_data_on_which_nothing_could_be_promoted_holds_in_the_words_of_the_pre_flight() -> None:
    ground = infeasible()
    assert decide(all_gates(), ground, auto_promote=True) == ("HOLD", ground.summary)
    for gates, more in (
        (all_gates(macro_f1="FAIL"), " Failed: macro_f1 (detail of macro_f1)."),
        (all_gates(macro_f1="ERROR"), " Not decided: macro_f1 is ERROR (detail of macro_f1)."),
    ):
        assert decide(gates, ground, auto_promote=True) == ("HOLD", ground.summary + more)
    assert decide([], ground, auto_promote=True)[0] == "HOLD"


def with_evidence(**changes: object) -> Comparison:
    return better().model_copy(update={"evidence": better().evidence.model_copy(update=changes)})


def test_a_perfect_candidate_passes_every_gate_and_is_promoted() -> None:
    candidate = Candidate()
    assert candidate.statuses == dict.fromkeys(REQUIRED_GATES, "PASS")
    assert verdict_of(candidate.gates) == "PROMOTE"


def test_there_is_a_candidate_below_for_every_gate() -> None:
    assert set(ONLY) == set(REQUIRED_GATES)


@pytest.mark.parametrize("name", REQUIRED_GATES)
def test_every_gate_stops_a_candidate_that_no_other_gate_stops(name: str) -> None:
    gates = ONLY[name]().gates
    stopped = {each.name: each.status for each in gates if each.status not in ("PASS", "NOT_APPLICABLE")}
    assert stopped == {name: "FAIL"}
    assert verdict_of(gates) == "REJECT"
    disabled = [each.model_copy(update={"status": "PASS"}) if each.name == name else each for each in gates]
    assert verdict_of(disabled) == "PROMOTE"  # nothing else would have stopped it


def _without_figure(figure: str, value: float | None) -> Callable[[], Candidate]:
    label, _, name = figure.partition(" ")
    changes = {"classes": {label: class_score(**{name: value})}} if name else {figure: value}
    return lambda: Candidate(report=scored(**changes))


FIGURES = {
    "macro_f1": "macro_f1",
    "weighted_f1": "weighted_f1",
    "breakidle_precision": "BreakIdle precision",
    "breakidle_recall": "BreakIdle recall",
    "no_class_below_50_precision": "Meet precision",
    "reject_rate_bounds": "reject_rate",
    "seen_user_f1": "seen_user_f1",
    "unseen_user_f1": "unseen_user_f1",
}

BASELINES = {"beats_rule_baseline": "rule", "beats_lookup_baseline": "lookup"}

ON_WINDOWS = (
    *("macro_f1_no_regression", "min_improvement", "negative_flips"),
    *("no_user_clearly_worse", "no_class_clearly_worse", "no_slice_clearly_worse"),
)

NO_NUMBER = BaselineScore(windows=100, model=NAN, baseline=0.4)


def _group_without_number(kind: str) -> Comparison:
    groups = [group.model_copy(update={"adjusted_p": NAN}) for group in getattr(better().evidence, kind)]
    return with_evidence(**{kind: groups})


UNDECIDED: dict[str, dict[str, Callable[[], Candidate]]] = {
    # what is the matter: the gates that it can happen to
    "INCONCLUSIVE": {
        **{name: _without_figure(figure, None) for name, figure in FIGURES.items() if name != "reject_rate_bounds"},
        **{name: lambda which=which: Candidate(**{which: None}) for name, which in BASELINES.items()},
        **dict.fromkeys(ON_WINDOWS, lambda: Candidate(comparison=None)),
    },
    "NaN": {
        **{name: _without_figure(figure, NAN) for name, figure in FIGURES.items()},
        **{name: lambda which=which: Candidate(**{which: NO_NUMBER}) for name, which in BASELINES.items()},
        "macro_f1_no_regression": lambda: Candidate(comparison=with_evidence(difference=NAN)),
        "min_improvement": lambda: Candidate(comparison=better().model_copy(update={"macro_f1_delta": NAN})),
        "not_worse_than_anchor": lambda: Candidate(anchors=(anchor(NAN),)),
        "no_user_clearly_worse": lambda: Candidate(comparison=_group_without_number("by_user")),
        "no_class_clearly_worse": lambda: Candidate(comparison=_group_without_number("by_label")),
    },
    "raises": {
        **dict.fromkeys(FIGURES, lambda: Candidate(report=Raising())),
        **{name: lambda which=which: Candidate(**{which: Raising()}) for name, which in BASELINES.items()},
        "reproducible": lambda: Candidate(reproduction=Raising()),
        **dict.fromkeys(ON_WINDOWS, lambda: Candidate(comparison=Raising())),
        "not_worse_than_anchor": lambda: Candidate(anchors=(Raising(),)),
    },
}

CANNOT_HAPPEN = {
    # a verdict of these gates is a yes or no without a figure, or follows from whole numbers; without anchors there is nothing to judge
    "INCONCLUSIVE": {"loads_and_predicts", "reject_rate_bounds", "reproducible", "not_worse_than_anchor", "not_rolled_back"},
    "NaN": {"loads_and_predicts", "reproducible", "no_slice_clearly_worse", "negative_flips", "not_rolled_back"},
    "raises": {"loads_and_predicts", "not_rolled_back"},
}


def test_every_gate_is_in_the_table_below_or_cannot_be_undecided_that_way() -> None:
    for what, gates in UNDECIDED.items():
        assert set(gates) | CANNOT_HAPPEN[what] == set(REQUIRED_GATES)
        assert not set(gates) & CANNOT_HAPPEN[what]


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, gates in UNDECIDED.items() for name in gates])
def test_a_gate_that_cannot_decide_holds_an_otherwise_perfect_candidate(what: str, name: str) -> None:
    candidate = UNDECIDED[what][name]()
    assert candidate.statuses[name] == ("INCONCLUSIVE" if what == "INCONCLUSIVE" else "ERROR")
    verdict, reason = decide(candidate.gates, feasible(), auto_promote=True)
    assert verdict == "HOLD"
    assert name in reason


@pytest.mark.parametrize("name", REQUIRED_GATES)
def test_a_gate_that_is_missing_holds_an_otherwise_perfect_candidate(name: str) -> None:
    verdict, reason = decide([each for each in Candidate().gates if each.name != name], feasible(), auto_promote=True)
    assert (verdict, name in reason) == ("HOLD", True)


EXCUSED: dict[str, Callable[[], Candidate]] = {
    **dict.fromkeys(("seen_user_f1", "unseen_user_f1"), lambda: Candidate(report=a_report())),
    **dict.fromkeys(
        BASELINES, lambda: Candidate(config=retrain_config(require_baseline_improvement=False, min_improvement=0.01, auto_promote=True))
    ),
    "reproducible": lambda: Candidate(reproduction=None),
    "min_improvement": lambda: Candidate(config=SHIPPED),
    "not_worse_than_anchor": lambda: Candidate(anchors=(anchor(None),)),
    "no_user_clearly_worse": lambda: Candidate(comparison=with_evidence(by_user=[])),
    "no_class_clearly_worse": lambda: Candidate(comparison=with_evidence(by_label=[])),
    "no_slice_clearly_worse": lambda: Candidate(config=SHIPPED),
    **dict.fromkeys(("macro_f1_no_regression", "negative_flips"), lambda: Candidate(comparison=None, state="none")),
}


@pytest.mark.parametrize("name", sorted(EXCUSABLE))
def test_a_gate_that_has_nothing_to_judge_does_not_stop_a_candidate(name: str) -> None:
    candidate = EXCUSED[name]()
    assert candidate.statuses[name] == "NOT_APPLICABLE"
    assert verdict_of(candidate.gates) == "PROMOTE"


def test_nothing_excuses_from_the_gates_that_always_apply() -> None:
    nothing = Candidate(report=a_report(), reproduction=None, comparison=None, state="none", anchors=(), config=SHIPPED)
    assert {name for name, status in nothing.statuses.items() if status == "PASS"} >= set(REQUIRED_GATES) - EXCUSABLE
    for name in set(REQUIRED_GATES) - EXCUSABLE:
        bad = ONLY[name]()
        alone = replace(nothing, report=bad.report, failure=bad.failure, rolled_back_as=bad.rolled_back_as)
        assert verdict_of(alone.gates) == "REJECT", name
