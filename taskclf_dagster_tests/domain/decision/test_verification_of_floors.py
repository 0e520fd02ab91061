"""Receipts in which a floor was judged beside the champion: true ones verify, and no forged one does."""

from collections.abc import Callable

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import save_decision, verify_stored
from taskclf_dagster.domain.decision.gate import BesideChampion
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.evaluation.comparison import Comparison
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import Candidate, following, receipt, scored
from taskclf_dagster_tests.models import beside_champion, duel_rows, named, some, with_changes
from taskclf_dagster_tests.scenario import retrain_config

IMPROVE = retrain_config(auto_promote=True, floor_policy="improve", max_flip_excess=1.0)
ROWS = duel_rows()


def weak(challenger: float, champion: float) -> Candidate:
    """A challenger below the floor of macro-F1, beside a champion with so many windows wrong."""
    both = (named(ROWS, wrong=some(ROWS, share)) for share in (challenger, champion))
    comparison: Comparison = beside_champion(ROWS, *both)
    return Candidate(report=scored(macro_f1=0.6), comparison=comparison, config=IMPROVE)


def _gate(decision: PromotionDecision, **changes: object) -> PromotionDecision:
    """The decision with other values in the gate of macro-F1, with verdict and hash that follow."""
    gates = [each.model_copy(update=changes) if each.name == "macro_f1" else each for each in decision.gates]
    return following(with_changes(decision, gates=gates))


@pytest.mark.parametrize(("challenger", "champion", "verdict"), [(0.4, 0.4, "PROMOTE"), (0.4, 0.42, "PROMOTE"), (0.42, 0.4, "REJECT")])
def test_a_receipt_of_a_floor_beside_the_champion_verifies_also_from_its_file(
    home: Home, challenger: float, champion: float, verdict: str
) -> None:
    decision = receipt(home, weak(challenger, champion))
    save_decision(home, decision)
    assert decision.verdict == verdict
    assert verify_stored(home, decision.decision_id) == (decision, [])


FORGERIES: dict[str, Callable[[Home], PromotionDecision]] = {
    "the policy was strict": lambda home: following(
        with_changes(receipt(home, weak(0.4, 0.5)), policy=IMPROVE.with_changes(floor_policy="strict").policy)
    ),
    "the challenger was below the champion": lambda home: _gate(receipt(home, weak(0.42, 0.4)), status="PASS"),
    "the champion reaches the floor": lambda home: _gate(
        receipt(home, weak(0.2, 0.3)), status="PASS", beside=BesideChampion(windows=400, challenger=0.6, champion=0.5)
    ),
    "another figure of the champion": lambda home: _gate(
        receipt(home, weak(0.42, 0.4)), status="PASS", beside=BesideChampion(windows=400, challenger=0.6, champion=0.59)
    ),
    "other windows": lambda home: _gate(receipt(home, weak(0.4, 0.4)), beside=BesideChampion(windows=399, challenger=0.6, champion=0.6)),
    "a pass without the champion": lambda home: _gate(receipt(home, weak(0.4, 0.4)), beside=None),
    "no champion": lambda home: _gate(
        receipt(home, Candidate(report=scored(macro_f1=0.6), comparison=None, state="none", config=IMPROVE)),
        status="PASS",
        beside=BesideChampion(windows=400, challenger=0.6, champion=0.5),
    ),
    "another gate": lambda home: following(
        with_changes(
            receipt(home, Candidate(report=scored(reject_rate=0.4), config=IMPROVE)),
            gates=[
                each.model_copy(update={"status": "PASS", "beside": BesideChampion(windows=400, challenger=0.4, champion=0.5)})
                if each.name == "reject_rate_bounds"
                else each
                for each in receipt(home, Candidate(report=scored(reject_rate=0.4), config=IMPROVE)).gates
            ],
        )
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_receipt_that_lets_a_missed_floor_pass_without_ground_is_found(home: Home, name: str) -> None:
    forged = FORGERIES[name](home)
    assert forged.verdict == "PROMOTE"
    assert {finding.kind for finding in verify_decision(forged)} & {"gate_does_not_follow"}
