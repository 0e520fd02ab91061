"""The decision: what follows from every combination of gates, where the bundle goes, and that no change goes unnoticed."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from pydantic import ValidationError

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.label_store import present_watermark
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES, check_candidate_gates
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES, check_regression_gates
from taskclf_dagster.domain.decision.decision import DecisionContent, PromotionDecision, seal
from taskclf_dagster.domain.decision.decision_store import (
    ReceiptCache,
    find_later_decision,
    list_decisions,
    read_decision,
    save_decision,
    verify_stored,
)
from taskclf_dagster.domain.decision.gate import RegressionGate, Status
from taskclf_dagster.domain.decision.references import ChampionRef, ChampionState, DatasetRef, ModelRef, RegistryRef, RunOptions
from taskclf_dagster.domain.decision.verdict import MAY_NOT_APPLY, REQUIRED_GATES, Verdict, decide
from taskclf_dagster.domain.decision.verification import judge_comparative_gates, verify_decision
from taskclf_dagster.domain.evaluation.baselines import BaselineScore
from taskclf_dagster.domain.evaluation.comparison import AnchorComparison, Comparison, complete_comparison, derive_seed
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport, UserScore
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff
from taskclf_dagster.domain.models.reproducibility import Reproduction
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import DecisionNotFoundError, ReceiptVersionError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    MID,
    NEW,
    OLD,
    a_decision,
    a_report,
    a_reproduction,
    all_gates,
    beside_champion,
    class_score,
    duel_rows,
    feasible,
    gate,
    infeasible,
    model_ref,
    named,
    pointer_to,
    some,
    with_changes,
)
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home, retrain_config, span, write_labels

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
    "negative_flips",
}
NAN = float("nan")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def verdict_of(gates: list[RegressionGate], *, auto_promote: bool = True) -> Verdict:
    return decide(gates, feasible(), auto_promote=auto_promote)[0]


# --- What follows from the gates --------------------------------------------------------------------------------------------------


def test_every_gate_is_required() -> None:
    assert (*CANDIDATE_GATES, *COMPARATIVE_GATES) == REQUIRED_GATES
    assert len(set(REQUIRED_GATES)) == 19


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
        assert f"{name} was not judged" in reason


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


def test_a_rejection_names_every_gate_that_failed_with_its_detail() -> None:
    verdict, reason = decide(all_gates(macro_f1="FAIL", reject_rate_bounds="FAIL", weighted_f1="ERROR"), feasible(), auto_promote=True)
    assert verdict == "REJECT"
    assert reason == "Failed: macro_f1 (detail of macro_f1); reject_rate_bounds (detail of reject_rate_bounds)."


def test_a_hold_names_every_open_question() -> None:
    verdict, reason = decide(all_gates(macro_f1="ERROR", min_improvement="INCONCLUSIVE"), feasible(), auto_promote=True)
    assert verdict == "HOLD"
    expected = "Not decided: macro_f1 is ERROR (detail of macro_f1); min_improvement is INCONCLUSIVE (detail of min_improvement)."
    assert reason == expected


def test_without_auto_promote_a_person_has_to_approve() -> None:
    verdict, reason = decide(all_gates(seen_user_f1="NOT_APPLICABLE"), feasible(), auto_promote=False)
    assert verdict == "AWAITING_APPROVAL"
    assert reason == "All 18 gates that apply passed; auto_promote is off, so a person has to approve."
    assert decide(all_gates(), feasible(), auto_promote=True) == ("PROMOTE", "All 19 gates that apply passed.")


@pytest.mark.parametrize("auto_promote", [True, False])
@pytest.mark.parametrize(("status", "expected"), [("FAIL", "REJECT"), ("ERROR", "HOLD")])
def test_auto_promote_changes_nothing_unless_every_gate_passes(auto_promote: bool, status: Status, expected: Verdict) -> None:
    assert verdict_of(all_gates(macro_f1=status), auto_promote=auto_promote) == expected


@pytest.mark.parametrize("gates", [all_gates(), all_gates(macro_f1="FAIL"), []])
def test_data_on_which_nothing_could_be_promoted_holds_in_the_words_of_the_pre_flight(gates: list[RegressionGate]) -> None:
    ground = infeasible()
    assert decide(gates, ground, auto_promote=True) == ("HOLD", ground.summary)
    assert "BreakIdle has 4 test windows" in ground.summary
    assert "Label 26 more minutes of it." in ground.summary


# --- From figures to the verdict ----------------------------------------------------------------------------------------------------


class Raising:
    """Fails whatever figure it is asked for."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ZeroDivisionError(name)


@cache
def better() -> Comparison:
    """A challenger with 96 % right beside a champion with 94 %, who have other windows wrong."""
    rows = duel_rows()
    return beside_champion(rows, named(rows, wrong=some(rows, 0.04)), named(rows, wrong=some(rows, 0.06, after=0.5)))


def anchor(difference: float | None, model_id: str = OLD) -> AnchorComparison:
    ours = 0.9
    return AnchorComparison(
        model_id=model_id,
        ran_at=AS_OF - DAY,
        windows=400,
        challenger_macro_f1=ours,
        anchor_macro_f1=None if difference is None else ours - difference,
        difference=None if difference is None else ours - (ours - difference),
        detail="d",
    )


def scored(**figures: object) -> EvaluationReport:
    """A report that passes every gate, those of held-out users too."""
    unseen = UserScore(windows=100, macro_f1=0.9, reject_rate=0.1, unseen=True)
    return a_report(**{"per_user": {"user-9": unseen}, "seen_user_f1": 0.9, "unseen_user_f1": 0.9, **figures})


@dataclass(frozen=True)
class Candidate:
    """What a challenger is judged by: all of it in its favour, and every gate applies, but for what a test changes."""

    report: object = field(default_factory=scored)
    failure: str | None = None
    rule: object = BaselineScore(windows=100, model=0.9, baseline=0.4)
    lookup: object = BaselineScore(windows=100, model=0.9, baseline=0.4)
    reproduction: Reproduction | Raising | None = field(default_factory=a_reproduction)
    comparison: object = field(default_factory=better)
    state: ChampionState = "ok"
    anchors: tuple[object, ...] = field(default_factory=lambda: (anchor(0.01),))
    rolled_back_as: str | None = None
    bootstrap: bool = False
    config: RetrainConfig = field(default_factory=lambda: retrain_config(min_improvement=0.01, auto_promote=True))

    @property
    def gates(self) -> list[RegressionGate]:
        alone = {"failure": self.failure, "rule": self.rule, "lookup": self.lookup, "reproduction": self.reproduction}
        beside = {"anchors": self.anchors, "rolled_back_as": self.rolled_back_as, "bootstrap": self.bootstrap}
        candidate = check_candidate_gates(self.report, **alone, settings=self.config.evaluation)  # type: ignore[arg-type]
        comparative = check_regression_gates(
            self.comparison,  # type: ignore[arg-type]
            champion_state=self.state,
            champion_reason="named by the pointer",
            **beside,  # type: ignore[arg-type]
            settings=self.config.comparison,
        )
        return [*candidate.gates, *comparative.gates]

    @property
    def statuses(self) -> dict[str, Status]:
        return {each.name: each.status for each in self.gates}


def with_evidence(**changes: object) -> Comparison:
    return better().model_copy(update={"evidence": better().evidence.model_copy(update=changes)})


def _rare_label_lost() -> Comparison:
    """Meetings are rare and on four user-days only, and the challenger takes a third of them for reading."""
    rows = duel_rows({"ann": 20, "bob": 20})
    day = rows["bucket_start_ts"].dt.day
    rows = rows[
        (rows["label"] != "Meet") | ((day <= day.min() + 1) & (rows.groupby(["user_id", day, "label"], observed=True).cumcount() < 8))
    ]
    rows = rows.reset_index(drop=True)
    return beside_champion(rows, named(rows, wrong=some(rows, 0.3, among=rows["label"] == "Meet")), named(rows))


def _user_lost() -> Comparison:
    """A tenth of the windows is ann's, and the challenger has 38 % of them wrong; for bob it is better."""
    rows = duel_rows({"ann": 2, "bob": 18})
    ann, bob = rows["user_id"] == "ann", rows["user_id"] == "bob"
    return beside_champion(rows, named(rows, wrong=some(rows, 0.38, among=ann)), named(rows, wrong=some(rows, 0.035, among=bob)))


def _label_lost() -> Comparison:
    """The challenger takes a quarter of the meetings for reading, and is better at everything else."""
    rows = duel_rows({"ann": 10, "bob": 10})
    meet = rows["label"] == "Meet"
    return beside_champion(rows, named(rows, wrong=some(rows, 0.25, among=meet)), named(rows, wrong=some(rows, 0.03, among=~meet)))


def _others_wrong() -> Comparison:
    """As good as the champion in all, with 6 % of other windows wrong."""
    rows = duel_rows()
    return beside_champion(rows, named(rows, wrong=some(rows, 0.06)), named(rows, wrong=some(rows, 0.06, after=0.5)))


SHIPPED = retrain_config(auto_promote=True)
WORSE = BaselineScore(windows=100, model=0.4, baseline=0.9)
ONLY: dict[str, Callable[[], Candidate]] = {
    # gate: a candidate that is perfect but for what this gate looks at
    "loads_and_predicts": lambda: Candidate(failure="model.txt is gone"),
    "macro_f1": lambda: Candidate(report=scored(macro_f1=0.64)),
    "weighted_f1": lambda: Candidate(report=scored(weighted_f1=0.69)),
    "breakidle_precision": lambda: Candidate(report=scored(classes={"BreakIdle": class_score(precision=0.94)})),
    "breakidle_recall": lambda: Candidate(report=scored(classes={"BreakIdle": class_score(recall=0.89)})),
    "no_class_below_50_precision": lambda: Candidate(report=scored(classes={"Meet": class_score(precision=0.49)})),
    "reject_rate_bounds": lambda: Candidate(report=scored(reject_rate=0.31)),
    "seen_user_f1": lambda: Candidate(report=scored(seen_user_f1=0.69)),
    "unseen_user_f1": lambda: Candidate(report=scored(unseen_user_f1=0.59)),
    "beats_rule_baseline": lambda: Candidate(rule=WORSE),
    "beats_lookup_baseline": lambda: Candidate(lookup=WORSE),
    "reproducible": lambda: Candidate(reproduction=a_reproduction(same=False)),
    "macro_f1_no_regression": lambda: Candidate(comparison=_rare_label_lost(), config=SHIPPED),
    "min_improvement": lambda: Candidate(config=retrain_config(min_improvement=0.03, auto_promote=True)),
    "not_worse_than_anchor": lambda: Candidate(anchors=(anchor(0.01), anchor(-0.05, MID))),
    "no_user_clearly_worse": lambda: Candidate(comparison=_user_lost(), config=SHIPPED),
    "no_class_clearly_worse": lambda: Candidate(comparison=_label_lost(), config=SHIPPED),
    "negative_flips": lambda: Candidate(comparison=_others_wrong(), config=SHIPPED),
    "not_rolled_back": lambda: Candidate(rolled_back_as=OLD),
}


def test_a_perfect_candidate_passes_every_gate_and_is_promoted() -> None:
    candidate = Candidate()
    assert candidate.statuses == dict.fromkeys(REQUIRED_GATES, "PASS")
    assert decide(candidate.gates, feasible(), auto_promote=True) == ("PROMOTE", "All 19 gates that apply passed.")


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
ON_WINDOWS = ("macro_f1_no_regression", "min_improvement", "no_user_clearly_worse", "no_class_clearly_worse", "negative_flips")
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
    # a verdict of these gates is a yes or no without a figure, or a share of whole numbers; without anchors there is nothing to judge
    "INCONCLUSIVE": {"loads_and_predicts", "reject_rate_bounds", "reproducible", "not_worse_than_anchor", "not_rolled_back"},
    "NaN": {"loads_and_predicts", "reproducible", "negative_flips", "not_rolled_back"},
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
    assert (verdict, reason) == ("HOLD", f"Not decided: {name} was not judged.")


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


# --- Where the bundle goes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gates", "auto_promote", "dry_run", "folder", "moves"),
    [
        (all_gates(), True, False, "models", True),
        (all_gates(), True, True, "artifacts/rejected_models", False),
        (all_gates(), False, False, "artifacts/pending_models", False),
        (all_gates(), False, True, "artifacts/rejected_models", False),
        (all_gates(macro_f1="FAIL"), True, False, "artifacts/rejected_models", False),
        (all_gates(macro_f1="FAIL"), True, True, "artifacts/rejected_models", False),
        (all_gates(macro_f1="ERROR"), True, False, "artifacts/pending_models", False),
        (all_gates(macro_f1="ERROR"), True, True, "artifacts/rejected_models", False),
    ],
    ids=[f"{verdict}{dry}" for verdict in ("PROMOTE", "AWAITING", "REJECT", "HOLD") for dry in ("", "-dry-run")],
)
def test_each_verdict_has_its_place_for_the_bundle(
    home: Home, gates: list[RegressionGate], auto_promote: bool, dry_run: bool, folder: str, moves: bool
) -> None:
    decision = a_decision(home, gates=gates, auto_promote=auto_promote, dry_run=dry_run)
    assert decision.destination(home) == home.root / folder / NEW
    assert decision.moves_pointer is moves


# --- The seal ---------------------------------------------------------------------------------------------------------------------

FILES = ({"model.txt": "1" * 64}, {"model.txt": "2" * 64})
"""Hashes of challenger and champion."""


def receipt(home: Home, candidate: Candidate | None = None, **changes: object) -> PromotionDecision:
    """The decision about a candidate compared with a champion, with every optional field filled and every number where it comes from."""
    made = candidate or Candidate()
    content = with_changes(
        a_decision(home),
        challenger=model_ref(NEW, FILES[0]),
        champion_model=model_ref(MID, FILES[1], report_hash="3" * 64, macro_f1=0.7018, weighted_f1=None),
        champion_source="pointer",
        champion_state=made.state,
        champion_reason="named by the pointer",
        champion_model_dir=f"models/{MID}",
        champion_warnings=["a warning"],
        comparison=made.comparison,
        anchors=list(made.anchors),
        rolled_back_as=made.rolled_back_as,
        bootstrap=made.bootstrap,
        prediction_diff=PredictionDiff(
            windows=10,
            relabelled=0,
            unscored=0,
            by_label=[],
            by_user={},
            largest_blocks=[],
            days=7,
            start=AS_OF - 7 * DAY,
            end=AS_OF,
            summary="nothing changes",
        ),
        protections=["evidence policy point"],
        gates=made.gates,
        sequence=3,
        pointer_hash="4" * 64,
        policy_hash="5" * 64,
        previous_policy={"model_dir": f"models/{MID}", "reject_threshold": 0.6, "per_user_reject_thresholds": {"ä": 0.7}},
        policy=made.config.policy,
    )
    return following(with_changes(content, **changes))


def following(content: DecisionContent, *, policy_of_seed: dict[str, object] | None = None) -> PromotionDecision:
    """Seals a decision whose seed, comparison, verdict and reason follow from what else is in it."""
    comparison, settings = content.comparison, content.settings
    if comparison is not None:
        seed = derive_seed(content.dataset.digest, FILES[::-1], policy_of_seed or settings.policy)
        comparison = computed(comparison, settings, seed=seed)
    verdict, reason = decide(content.gates, content.dataset.feasibility, auto_promote=settings.promotion.auto_promote)
    return seal(with_changes(content, comparison=comparison, verdict=verdict, reason=reason))


def computed(comparison: Comparison, config: RetrainConfig, *, seed: int | None = None) -> Comparison:
    """The comparison that follows from the counts, as someone who knows the code would make it."""
    return complete_comparison(
        challenger_id=comparison.challenger_id,
        champion_id=comparison.champion_id,
        left_out=comparison.left_out,
        exclusion=comparison.exclusion,
        sums=comparison.sums,
        flips=comparison.flips,
        seed=comparison.seed if seed is None else seed,
        settings=config.comparison,
        min_class_windows=config.evaluation.min_class_windows,
    )


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> PromotionDecision:
    return receipt(make_home(tmp_path_factory.mktemp("decision")))


def test_a_sealed_decision_verifies(honest: PromotionDecision) -> None:
    assert verify_decision(honest) == []
    assert (honest.verdict, len(honest.gates)) == ("PROMOTE", 19)
    assert len(honest.decision_hash) == 64
    assert honest.decision_id == f"2026-02-04_000000_{honest.decision_hash[:8]}"


@pytest.mark.parametrize("name", REQUIRED_GATES)
def test_a_decision_that_rejects_or_holds_verifies_too(home: Home, name: str) -> None:
    candidate = ONLY[name]()
    assert verify_decision(receipt(home, candidate)) == []


@pytest.mark.parametrize("bootstrap", [True, False])
@pytest.mark.parametrize("state", ["ok", "unreadable", "incompatible"])
def test_a_decision_without_a_comparison_verifies(home: Home, state: ChampionState, bootstrap: bool) -> None:
    decision = receipt(home, Candidate(comparison=None, state=state, bootstrap=bootstrap), champion_model=None)
    assert verify_decision(decision) == []
    assert decision.verdict == ("PROMOTE" if bootstrap else "HOLD")


def test_equal_decisions_have_equal_ids_and_others_do_not(home: Home) -> None:
    assert receipt(home) == receipt(home)
    assert a_decision(home).decision_id != a_decision(home, forced=True).decision_id


def test_a_decision_read_back_from_json_verifies(home: Home) -> None:
    decision = receipt(home)
    by_text = PromotionDecision.model_validate_json(decision.model_dump_json())
    by_value = PromotionDecision.model_validate(json.loads(json.dumps(decision.model_dump(mode="json"), indent=2)))
    for found in (by_text, by_value):
        assert found == decision
        assert verify_decision(found) == []


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))])
def test_a_decision_of_any_time_zone_verifies_after_reading(home: Home, zone: timezone) -> None:
    decision = a_decision(home, as_of=datetime(2026, 2, 4, 6, 30, 0, 123456, zone))
    assert verify_decision(PromotionDecision.model_validate_json(decision.model_dump_json())) == []


CHANGES: dict[str, object] = {
    # a field, or part and field: another value
    "decision_id": "2026-02-04_000000_00000000",
    "decision_hash": "0" * 64,
    "receipt_version": 3,
    "verdict": "AWAITING_APPROVAL",
    "reason": "because",
    "as_of": AS_OF + timedelta(microseconds=1),
    "home": "/another/home",
    "demo": True,
    "code_version": "dirty",
    "options.dry_run": True,
    "options.forced": True,
    "options.bootstrap": True,
    "dataset.dataset_hash": "0" * 16,
    "dataset.digest": "0" * 64,
    "dataset.path": "artifacts/snapshots/other",
    "dataset.split": {"train": 700, "validation": 150, "test": 151},
    "dataset.label_watermark": "1" * 16,
    "dataset.labels_until": AS_OF,
    "dataset.feasibility": infeasible(),
    "challenger.model_id": "evil",
    "challenger.files": {},
    "challenger.report_hash": "9" * 64,
    "challenger.macro_f1": 0.95,
    "challenger.weighted_f1": None,
    "champion.state": "none",
    "champion.source": "none",
    "champion.reason": "another",
    "champion.model": None,
    "champion.model_dir": None,
    "champion.warnings": [],
    "registry.sequence": 4,
    "registry.pointer_hash": None,
    "registry.policy_hash": None,
    "registry.previous_policy": None,
    "comparison": None,
    "anchors": [],
    "rolled_back_as": OLD,
    "gates": all_gates(),
    "required_gates": list(CANDIDATE_GATES),
    "policy": retrain_config(auto_promote=True, min_improvement=0.02).policy,
    "prediction_diff": None,
    "protections": [],
}
PARTS = {"options": RunOptions, "dataset": DatasetRef, "challenger": ModelRef, "champion": ChampionRef, "registry": RegistryRef}


def test_every_field_of_a_decision_and_of_its_parts_has_a_change_below() -> None:
    nested = {f"{part}.{name}" for part, record in PARTS.items() for name in record.model_fields}
    assert set(CHANGES) == (set(PromotionDecision.model_fields) - set(PARTS)) | nested


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_field_is_found(honest: PromotionDecision, name: str) -> None:
    part, _, field = name.partition(".")
    old, new = getattr(honest, part), CHANGES[name]
    if field:
        assert getattr(old, field) != new
        new = old.model_copy(update={field: new})
    assert old != new
    assert verify_decision(honest.model_copy(update={part: new})) != []


def reseal(decision: PromotionDecision, **changes: object) -> PromotionDecision:
    """The decision with some fields changed and its hash made to fit again, as someone who knows the code could do."""
    return seal(with_changes(decision, **changes))


Document = dict[str, dict[str, object]]


def _gate_of(document: Document, name: str) -> dict[str, object]:
    return next(each for each in document["gates"] if each["name"] == name)  # type: ignore[index,misc]


def _set(path: str, value: object) -> Callable[[Document], object]:
    """Sets what lies at a path such as `comparison.seed`; a function is given the old value."""

    def change(document: Document) -> None:
        place: object = document
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            place = place[part]  # type: ignore[index]
        place[last] = value(place[last]) if callable(value) else value  # type: ignore[index]

    return change


def _one_more(number: int) -> int:
    return number + 1


def _a_last_digit(number: float) -> float:
    return float(np.nextafter(number, np.inf))


FORGERIES: dict[str, Callable[[Document], object]] = {
    "a true window of a block": _set("comparison.sums.cells.0.2", _one_more),
    "a window that the challenger has right": _set("comparison.sums.cells.0.3", lambda n: n - 1),
    "a window that the challenger named": _set("comparison.sums.cells.0.4", _one_more),
    "a window that the champion has right": _set("comparison.sums.cells.0.5", lambda n: n - 1),
    "a window that the champion named": _set("comparison.sums.cells.0.6", _one_more),
    "the day of a block": _set("comparison.sums.blocks.1.1", lambda n: n - 12),
    "the name of a user": _set("comparison.sums.users.0", "eve"),
    "a window that became wrong": _set("comparison.flips.negative.Meet", _one_more),
    "a window that became right": _set("comparison.flips.positive.Meet", _one_more),
    "the windows of the flips": _set("comparison.flips.windows", _one_more),
    "the seed": _set("comparison.seed", _one_more),
    "the windows compared": _set("comparison.windows", _one_more),
    "a judged label": _set("comparison.judged_labels", lambda labels: labels[1:]),
    "the challenger's score": _set("comparison.challenger_macro_f1", _a_last_digit),
    "the champion's score": _set("comparison.champion_macro_f1", _a_last_digit),
    "the difference": _set("comparison.macro_f1_delta", _a_last_digit),
    "the difference of a label": _set("comparison.f1_delta_by_label.Meet", _a_last_digit),
    "the difference of the evidence": _set("comparison.evidence.difference", _a_last_digit),
    "the standard error": _set("comparison.evidence.standard_error", _a_last_digit),
    "the confidence": _set("comparison.evidence.confidence", 0.9),
    "the lower end of the interval": _set("comparison.evidence.interval.0", _a_last_digit),
    "the upper end of the interval": _set("comparison.evidence.interval.1", _a_last_digit),
    "the p-value": _set("comparison.evidence.p_value", 0.04),
    "the detectable difference": _set("comparison.evidence.detectable_difference", _a_last_digit),
    "the user-days needed": _set("comparison.evidence.user_days_needed", _one_more),
    "the user-days": _set("comparison.evidence.user_days", _one_more),
    "the p-value of a user": _set("comparison.evidence.by_user.0.adjusted_p", 0.5),
    "the p-value of a label": _set("comparison.evidence.by_label.0.p_value", 0.5),
    "an anchor's difference": _set("anchors.0.difference", lambda x: x + 0.005),
    "the challenger of the comparison": _set("comparison.challenger_id", "2026-02-04_000000_run-9999"),
    "the champion of the comparison": _set("comparison.champion_id", OLD),
    "a rollback": _set("rolled_back_as", OLD),
    "an override that nobody gave": lambda document: _gate_of(document, "negative_flips").update(overridden=True),
    **{f"a champion that is {state}": _set("champion.state", state) for state in ("none", "unreadable", "incompatible")},
    **{
        f"the figure of {name}": lambda document, name=name: _gate_of(document, name).update(observed=0.123456)  # type: ignore[misc]
        for name in COMPARATIVE_GATES
    },
    **{
        f"the threshold of {name}": lambda document, name=name: _gate_of(document, name).update(threshold=0.0123)  # type: ignore[misc]
        for name in REQUIRED_GATES
        if not name.startswith("beats_")
    },
    **{
        f"a figure of {name} that does not pass": lambda document, name=name: _gate_of(document, name).update(observed=0.0)  # type: ignore[misc]
        for name in CANDIDATE_GATES
    },
    **{
        f"the setting {key}": _set(f"policy.{key}", value)
        for key, value in {
            "evidence_policy": "hold",
            "significance": 0.04,
            "min_user_days": 11,
            "min_windows": 401,
            "min_class_windows": 51,
            "clearly_worse_margin": 0.06,
            "regression_tolerance": 0.03,
            "anchor_tolerance": 0.03,
            "min_improvement": 0.015,
            "max_negative_flips": 0.045,
            "gates.min_macro_f1": 0.5,
            "auto_promote": False,
        }.items()
    },
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_changed_number_is_found_whether_or_not_the_hash_was_made_to_fit(honest: PromotionDecision, name: str) -> None:
    document = honest.model_dump(mode="json")
    FORGERIES[name](document)
    changed = PromotionDecision.model_validate(document)
    assert changed.decision_hash == honest.decision_hash != reseal(changed).decision_hash  # as it is, the hash tells
    resealed = verify_decision(reseal(changed))
    assert resealed != []
    assert not any("decision_hash" in finding for finding in resealed)


@pytest.mark.parametrize(
    "key",
    ["max_leaked_share", "keep_versions", "keep_rejected", "data_lookback_days", "weak_labels", "prove_reproducible", "max_flip_excess"],
)
def test_any_other_setting_that_is_changed_is_found_by_the_seed_that_no_longer_follows(home: Home, key: str) -> None:
    other = {"weak_labels": "exclude", "prove_reproducible": False, "max_leaked_share": 1.0, "max_flip_excess": 0.9}.get(key, 20)
    honest = receipt(home)
    forged = reseal(honest, policy=honest.settings.with_changes(**{key: other}).policy)
    assert forged.policy != honest.policy
    assert verify_decision(forged) != []


def test_a_policy_of_whole_numbers_and_of_keys_unknown_now_gives_the_same_seed_after_reading(home: Home) -> None:
    config = retrain_config(auto_promote=True, min_improvement=0, max_leaked_share=1, max_negative_flips=1, gates={"min_macro_f1": 0})
    honest = receipt(home, Candidate(config=config))
    assert '"max_leaked_share":1,' in save_decision(home, honest).read_text(encoding="utf-8")
    assert verify_stored(home, honest.decision_id) == (honest, [])
    earlier = {key: value for key, value in honest.policy.items() if key != "weak_labels"} | {"key_of_old": 0.25}
    assert verify_decision(following(with_changes(honest, policy=earlier), policy_of_seed=earlier)) == []


def test_words_that_are_changed_are_found_by_the_hash(home: Home) -> None:
    document = receipt(home).model_dump(mode="json")
    _set("comparison.evidence.summary", "All is well.")(document)
    assert any("decision_hash does not match" in finding for finding in verify_decision(PromotionDecision.model_validate(document)))


@pytest.mark.parametrize(("key", "value"), [("regression_tolerance", 5.0), ("min_windows", "many"), ("gates", None)])
def test_a_policy_that_no_file_could_have_said_is_found_and_not_an_error(honest: PromotionDecision, key: str, value: object) -> None:
    forged = reseal(honest, policy={**honest.policy, key: value})
    assert verify_decision(forged) != []


@pytest.mark.parametrize(
    "change",
    [
        _set("comparison.sums.cells.0.1", 8),
        _set("comparison.sums.cells.0.0", 99),
        _set("comparison.sums.cells.0.2", 2**63),
        _set("comparison.sums.blocks.0.0", 7),
        _set("comparison.flips.negative", {}),
        _set("comparison.exclusion.leakage", []),
        _set("comparison.evidence.p_value", NAN),
        _set("registry.previous_policy", {"threshold": NAN}),
    ],
    ids=["unknown label", "unknown block", "too large", "unknown user", "no flips", "no reports", "NaN", "NaN in the policy"],
)
def test_numbers_that_nothing_can_be_computed_from_are_found_and_not_an_error(
    honest: PromotionDecision, change: Callable[[Document], object]
) -> None:
    document = honest.model_dump(mode="json")
    change(document)
    assert verify_decision(PromotionDecision.model_validate(document)) != []


@pytest.mark.parametrize("given", [True, False])
def test_a_bootstrap_that_was_or_was_not_given_is_found_where_it_decides(home: Home, given: bool) -> None:
    honest = receipt(home, Candidate(comparison=None, state="unreadable", bootstrap=given), champion_model=None)
    forged = reseal(honest, bootstrap=not given)
    assert verify_decision(honest) == []
    assert any("macro_f1_no_regression does not follow" in finding for finding in verify_decision(forged))


# --- Forgeries that follow --------------------------------------------------------------------------------------------------------


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
    """Six per cent became wrong, which the flips do not say, although champion and challenger right differ by it in the counts."""
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
    assert "the verdict is PROMOTE" in finding


def test_an_approval_that_the_settings_do_not_give_is_found_even_when_the_hash_fits(home: Home) -> None:
    honest = a_decision(home, auto_promote=False)
    forged = reseal(honest, verdict="PROMOTE", reason=honest.reason.split(";")[0] + ".")
    (finding,) = verify_decision(forged)
    assert "AWAITING_APPROVAL follows from the gates" in finding


def test_an_infeasible_promotion_is_found_even_when_the_hash_fits(home: Home) -> None:
    (finding,) = verify_decision(reseal(a_decision(home), feasibility=infeasible()))
    assert "HOLD follows from the gates" in finding


def test_a_gate_that_appears_twice_is_found(home: Home) -> None:
    decision = a_decision(home, gates=[*all_gates(), gate("macro_f1")])
    assert verify_decision(decision) == ["gate macro_f1 appears 2 times"]


def test_a_decision_with_a_key_too_many_is_not_read(home: Home) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        PromotionDecision.model_validate({**receipt(home).model_dump(mode="json"), "approved_by": "me"})


@pytest.mark.parametrize(
    ("name", "forged", "words"),
    [
        ("macro_f1", {"observed": 0.1}, "does not follow from 0.1 and 0.65"),
        ("macro_f1", {"threshold": 0.05}, "was judged against 0.05, the settings say 0.65"),
        ("breakidle_recall", {"observed": None}, "without a figure and a threshold"),
        ("reject_rate_bounds", {"observed": 0.31}, "does not follow from 0.31"),
        ("beats_lookup_baseline", {"observed": 0.5, "threshold": 0.5}, "does not follow from 0.5 and 0.5"),
        ("reproducible", {"observed": 0.0}, "does not follow from 0.0 and 1.0"),
        ("macro_f1_no_regression", {"observed": -0.03}, "gate macro_f1_no_regression does not follow from the comparison"),
    ],
)
def test_a_gate_whose_verdict_does_not_follow_from_its_numbers_is_found_in_a_sealed_decision(
    home: Home, name: str, forged: dict[str, object], words: str
) -> None:
    honest = receipt(home)
    gates = [each.model_copy(update=forged) if each.name == name else each for each in honest.gates]
    (finding,) = verify_decision(reseal(honest, gates=gates))
    assert words in finding


def test_gates_that_follow_from_their_numbers_contradict_nothing(tmp_path: Path) -> None:
    for status in ("PASS", "FAIL"):
        assert verify_decision(a_decision(Home(tmp_path), gates=all_gates(macro_f1=status, reject_rate_bounds=status))) == []


# --- Files ------------------------------------------------------------------------------------------------------------------------


def test_a_kept_decision_is_read_back_and_verifies(home: Home) -> None:
    decision = receipt(home)
    path = save_decision(home, decision)
    assert path == home.root / "artifacts" / "decisions" / f"{decision.decision_id}.json"
    assert list_decisions(home) == ([decision], [])
    assert verify_decision(list_decisions(home)[0][0]) == []


@pytest.mark.parametrize("name", [None, *REQUIRED_GATES])
def test_a_kept_decision_is_byte_for_byte_the_one_that_was_made(home: Home, name: str | None) -> None:
    decision = receipt(home, None if name is None else ONLY[name]())
    save_decision(home, decision)
    again = read_decision(home, decision.decision_id)
    assert again is not None
    assert canonical_json(again.model_dump(mode="json")) == canonical_json(decision.model_dump(mode="json"))


def test_a_kept_decision_verifies_from_its_file_and_one_that_was_written_otherwise_does_not(home: Home) -> None:
    decision = receipt(home)
    path = save_decision(home, decision)
    assert verify_stored(home, decision.decision_id) == (decision, [])
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2), encoding="utf-8")
    (finding,) = verify_stored(home, decision.decision_id)[1]
    assert f"{path.name} is not the canonical JSON of its contents" in finding


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{"), lambda path: path.write_bytes(b"[]")])
def test_a_kept_decision_that_is_gone_or_damaged_is_none(home: Home, damage: Callable[[Path], object]) -> None:
    decision = receipt(home)
    damage(save_decision(home, decision))
    assert read_decision(home, decision.decision_id) is None
    with pytest.raises(DecisionNotFoundError):
        verify_stored(home, decision.decision_id)


@pytest.mark.parametrize("version", [None, 1, 3, "2"])
def test_a_receipt_of_another_version_is_reported_as_such_and_decides_nothing(home: Home, version: object) -> None:
    decision = a_decision(home, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)
    path = save_decision(home, decision)
    document = {**json.loads(path.read_text(encoding="utf-8")), "receipt_version": version}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}), encoding="utf-8")
    assert read_decision(home, decision.decision_id) is None
    with pytest.raises(ReceiptVersionError, match=r"before 0\.2\.0" if version is None else f"receipt_version {version!r}"):
        verify_stored(home, decision.decision_id)
    decisions, unreadable = list_decisions(home)
    assert (decisions, [(receipt.path, receipt.kind) for receipt in unreadable]) == ([], [(path, "other_version")])
    assert find_later_decision(home, a_decision(home)) is None


@pytest.mark.parametrize("name", ["../decision", "/etc/passwd", "a/b", "..", ""])
def test_a_decision_is_looked_for_in_its_own_folder_only(home: Home, name: str) -> None:
    path = save_decision(home, receipt(home))
    path.rename(home.decisions.parent / "decision.json")
    assert read_decision(home, name) is None


def test_decisions_are_listed_newest_first_and_damaged_files_apart(home: Home) -> None:
    dates = [AS_OF + timedelta(days=day) for day in (1, 3, 2)]
    for as_of in dates:
        save_decision(home, a_decision(home, as_of=as_of))
    for name, text in [("2026-02-09_000000_aaaaaaaa.json", "{"), ("2026-02-09_000000_bbbbbbbb.json", json.dumps(pointer_to("x")))]:
        (home.decisions / name).write_text(text, encoding="utf-8")
    (home.decisions / "last_decided.json").write_text("{}", encoding="utf-8")
    decisions, unreadable = list_decisions(home)
    assert [decision.as_of for decision in decisions] == sorted(dates, reverse=True)
    assert sorted((receipt.path.name, receipt.kind) for receipt in unreadable) == [
        ("2026-02-09_000000_aaaaaaaa.json", "damaged"),
        ("2026-02-09_000000_bbbbbbbb.json", "damaged"),
    ]


def test_a_receipt_that_was_read_is_read_again_only_after_its_file_changed(home: Home) -> None:
    decision = a_decision(home)
    path, receipts = save_decision(home, decision), ReceiptCache()
    first = receipts.load(home, decision.decision_id)
    assert first == decision
    assert list_decisions(home, receipts)[0][0] is first
    save_decision(home, decision)
    again = receipts.load(home, decision.decision_id)
    assert again == decision
    assert again is not first
    path.write_text("{}", encoding="utf-8")
    assert [receipt.kind for receipt in list_decisions(home, receipts)[1]] == ["damaged"]
    path.unlink()
    with pytest.raises(DecisionNotFoundError):
        receipts.load(home, decision.decision_id)


def test_a_home_without_decisions_lists_none(home: Home) -> None:
    assert list_decisions(home) == ([], [])


# --- Later decisions ----------------------------------------------------------------------------------------------------------------

OTHER_LABELS = "a" * 16


@pytest.mark.parametrize(
    ("later", "stale"),
    [
        ({"as_of": AS_OF + DAY, "label_watermark": OTHER_LABELS}, True),
        ({"as_of": AS_OF + timedelta(microseconds=1), "label_watermark": OTHER_LABELS}, True),
        ({"as_of": AS_OF + DAY}, False),  # the same labels once more
        ({"as_of": AS_OF + DAY, "label_watermark": OTHER_LABELS, "dry_run": True}, False),
        ({"as_of": AS_OF, "label_watermark": OTHER_LABELS}, False),
        ({"as_of": AS_OF - DAY, "label_watermark": OTHER_LABELS}, False),
    ],
    ids=["later", "a moment later", "same labels", "dry run", "same time", "earlier"],
)
def test_a_decision_is_stale_once_later_and_other_labels_were_decided_on(home: Home, later: dict[str, object], stale: bool) -> None:
    decision, other = a_decision(home), a_decision(home, **later)
    for each in (decision, other):
        save_decision(home, each)
    assert find_later_decision(home, decision) == (other if stale else None)


@pytest.mark.parametrize("gates", [all_gates(macro_f1="FAIL"), all_gates(macro_f1="ERROR")], ids=["REJECT", "HOLD"])
def test_a_later_decision_makes_stale_whatever_its_verdict(home: Home, gates: list[RegressionGate]) -> None:
    other = a_decision(home, gates=gates, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)
    save_decision(home, other)
    assert find_later_decision(home, a_decision(home)) == other


def test_a_dry_run_in_between_does_not_hide_a_later_decision(home: Home) -> None:
    for day, changes in enumerate([{}, {"dry_run": True}, {"label_watermark": "0" * 16}], start=1):
        save_decision(home, a_decision(home, **{"as_of": AS_OF + day * DAY, "label_watermark": OTHER_LABELS, **changes}))
    found = find_later_decision(home, a_decision(home))
    assert found is not None
    assert found.as_of == AS_OF + DAY


def test_a_decision_on_the_labels_as_they_are_now_is_not_stale_though_more_were_decided_on_before_some_were_deleted(home: Home) -> None:
    write_labels(home, [span(AS_OF - DAY, AS_OF - DAY + timedelta(minutes=5), "Build")])
    before = a_decision(home, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)
    now = a_decision(home, label_watermark=present_watermark(home))
    for each in (before, now):
        save_decision(home, each)
    assert find_later_decision(home, now) is None
    assert find_later_decision(home, before) == now


@pytest.mark.parametrize("damage", [lambda home: home.labels.write_bytes(b"torn"), lambda home: home.labels.unlink()])
def test_where_the_store_is_neither_the_newer_labels_make_stale(home: Home, damage: Callable[[Home], object]) -> None:
    write_labels(home, [span(AS_OF - DAY, AS_OF - DAY + timedelta(minutes=5), "Build")])
    decision = a_decision(home, label_watermark=present_watermark(home))
    other = a_decision(home, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)
    for each in (decision, other):
        save_decision(home, each)
    damage(home)
    assert find_later_decision(home, decision) == other


def test_a_damaged_decision_makes_nothing_stale(home: Home) -> None:
    save_decision(home, a_decision(home, as_of=AS_OF + DAY, label_watermark=OTHER_LABELS)).write_bytes(b"{")
    assert find_later_decision(home, a_decision(home)) is None
