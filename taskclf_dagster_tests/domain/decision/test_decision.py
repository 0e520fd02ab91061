"""A decision record: where its bundle goes, which id it has, and that it is the same after reading."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import receipt
from taskclf_dagster_tests.models import (
    NEW,
    a_decision,
    all_gates,
)


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
