"""Floors beside a champion in a retrain: which windows count, what a promotion computes again, and a policy that became strict."""

from functools import partial

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.gate import BesideChampion, RegressionGate
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.present_policy import require_present_policy
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.errors import DecisionNotVerifiedError, RegistryRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, named, some, with_changes, write_tiny_bundle
from taskclf_dagster_tests.retrain_scenario import LATER, LEARNED, ROWS, Decide, run_retrain, take_snapshot
from taskclf_dagster_tests.scenario import AS_OF, add_learnable_days, learnable_home, retrain_config

IMPROVE = retrain_config(auto_promote=True, floor_policy="improve", max_leaked_share=1.0, min_windows=100)
UNREACHED = LEARNED.with_changes(floor_policy="improve", gates={"min_macro_f1": 1.0, "min_weighted_f1": 1.0})
NO_GATE = {"min_macro_f1": 0.0, "min_weighted_f1": 0.0, "min_breakidle_precision": 0.0, "min_breakidle_recall": 0.0}
WEAK = LEARNED.with_changes(
    reject_threshold={"min_reject_rate": 0.5, "max_reject_rate": 0.6},
    gates={**NO_GATE, "min_class_precision": 0.0, "min_reject_rate": 0.0, "max_reject_rate": 1.0},
    require_baseline_improvement=False,
)


def macro_f1(decision: PromotionDecision) -> RegressionGate:
    return next(each for each in decision.gates if each.name == "macro_f1")


def test_windows_that_the_champion_learned_count_for_neither(home: Home) -> None:
    """The champion learned the first of five days and is right there, the challenger wrong; on the others both are as bad."""
    write_tiny_bundle(home.models / MID, metadata={"train_date_from": "2026-01-05", "train_date_to": "2026-01-05"})
    (home.models / MID / "training_rows.npy").unlink()
    first = ROWS["bucket_start_ts"].dt.day == 5
    half = some(ROWS, 0.5, among=~first)
    ours, theirs = named(ROWS, wrong=half | first.to_numpy()), named(ROWS, wrong=half)
    decision = Decide(home, state="ok", config=IMPROVE, challenger=ours, champion=theirs, figures={"macro_f1": 0.5}).make()
    found = macro_f1(decision)
    assert found.beside is not None
    assert (found.status, found.beside.windows, decision.verdict) == ("PASS", 320, "PROMOTE")
    assert found.beside.challenger == pytest.approx(found.beside.champion)
    assert "below the floor, not below the champion: 0.5000 < 0.65; on the same 320 windows" in found.detail
    assert verify_decision(decision) == []


def test_without_a_champion_the_floors_hold(home: Home) -> None:
    decision = Decide(home, config=IMPROVE, figures={"macro_f1": 0.5}).make()
    assert (decision.verdict, "no champion" in decision.reason) == ("REJECT", True)


@pytest.fixture(scope="module")
def below_the_floors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, PromotionDecision]:
    """A real challenger that misses two floors of 1, and is better than its champion, which rejects half of the windows."""
    home = learnable_home(tmp_path_factory.mktemp("weak"), days=10)
    first = run_retrain(home, take_snapshot(home, WEAK)[0], WEAK)
    promote(home, first, recompute=partial(recompute_decision, cores=1), at=AS_OF)
    add_learnable_days(home, days=4)
    return home, run_retrain(home, take_snapshot(home, UNREACHED, as_of=LATER)[0], UNREACHED)


def test_a_policy_that_became_strict_refuses_what_passed_beside_the_champion(below_the_floors: tuple[Home, PromotionDecision]) -> None:
    _, decision = below_the_floors
    require_present_policy(decision, UNREACHED)
    with pytest.raises(RegistryRefusedError, match="floor_policy"):
        require_present_policy(decision, UNREACHED.with_changes(floor_policy="strict"))


def test_a_promotion_computes_the_floors_again_from_the_bundles(below_the_floors: tuple[Home, PromotionDecision]) -> None:
    home, decision = below_the_floors
    gate = macro_f1(decision)
    assert (gate.status, decision.verdict, verify_decision(decision)) == ("PASS", "PROMOTE", [])
    assert gate.beside is not None
    differences = partial(recompute_decision, read_registry_state(home), cores=1)
    assert differences(decision) == []
    for beside in (None, BesideChampion(windows=gate.beside.windows, challenger=0.9, champion=0.8)):
        gates = [each.model_copy(update={"beside": beside}) if each.name == "macro_f1" else each for each in decision.gates]
        forged = seal(with_changes(decision, gates=gates))
        assert [found for found in differences(forged) if "gate macro_f1" in found.detail] != []
        with pytest.raises(DecisionNotVerifiedError):
            promote(home, forged, recompute=partial(recompute_decision, cores=1), at=LATER)
    assert promote(home, decision, recompute=partial(recompute_decision, cores=1), at=LATER).pointer.name == decision.challenger.model_id
