"""The decision: what follows from every combination of gates, where the bundle goes, and that no change goes unnoticed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.comparison import Comparison
from taskclf_dagster.domain.decision import (
    REQUIRED_GATES,
    JudgedModel,
    PromotionDecision,
    Verdict,
    decide,
    list_decisions,
    save_decision,
    seal,
    verify_decision,
)
from taskclf_dagster.domain.comparative_gates import COMPARATIVE_GATES
from taskclf_dagster.domain.gates import CANDIDATE_GATES, RegressionGate, Status
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import NEW, a_decision, all_gates, feasible, gate, infeasible, pointer_to
from taskclf_dagster_tests.scenario import AS_OF, make_home, retrain_config

STATUSES: tuple[Status, ...] = ("PASS", "FAIL", "INCONCLUSIVE", "ERROR", "NOT_APPLICABLE")
EXCUSABLE = {"seen_user_f1", "unseen_user_f1", "beats_rule_baseline", "beats_lookup_baseline", "macro_f1_no_regression", "min_improvement"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def verdict_of(gates: list[RegressionGate], *, auto_promote: bool = True) -> Verdict:
    return decide(gates, feasible(), auto_promote=auto_promote)[0]


# --- What follows from the gates --------------------------------------------------------------------------------------------------


def test_every_gate_is_required() -> None:
    assert (*CANDIDATE_GATES, *COMPARATIVE_GATES) == REQUIRED_GATES
    assert len(set(REQUIRED_GATES)) == 13


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
    assert reason == "All 12 gates that apply passed; auto_promote is off, so a person has to approve."
    assert decide(all_gates(), feasible(), auto_promote=True) == ("PROMOTE", "All 13 gates that apply passed.")


@pytest.mark.parametrize("auto_promote", [True, False])
@pytest.mark.parametrize(("status", "expected"), [("FAIL", "REJECT"), ("ERROR", "HOLD")])
def test_auto_promote_changes_nothing_unless_every_gate_passes(auto_promote: bool, status: Status, expected: Verdict) -> None:
    assert verdict_of(all_gates(macro_f1=status), auto_promote=auto_promote) == expected


@pytest.mark.parametrize("gates", [all_gates(), all_gates(macro_f1="FAIL"), []])
def test_data_on_which_nothing_could_be_promoted_holds_in_the_words_of_the_pre_flight(gates: list[RegressionGate]) -> None:
    ground = infeasible()
    assert decide(gates, ground, auto_promote=True) == ("HOLD", ground.words)
    assert "BreakIdle has 4 test windows" in ground.words
    assert "Label 26 more minutes of it." in ground.words


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


def full_decision(home: Home) -> PromotionDecision:
    """A decision with every optional field filled."""
    return a_decision(
        home,
        gates=all_gates(seen_user_f1="NOT_APPLICABLE", unseen_user_f1="NOT_APPLICABLE"),
        champion=JudgedModel(model_id="old", files={"model.txt": "2" * 64}, report_hash="3" * 64, macro_f1=0.7018, weighted_f1=None),
        champion_source="pointer",
        champion_state="ok",
        champion_warnings=["a warning"],
        comparison=Comparison(
            windows=800,
            left_out=0,
            judged_labels=["Build"],
            challenger_macro_f1=0.1 + 0.2,
            champion_macro_f1=0.29,
            macro_f1_delta=0.1 + 0.2 - 0.29,
            f1_delta_by_label={"Build": 0.1 + 0.2 - 0.29},
        ),
        pointer_hash="4" * 64,
        policy_hash="5" * 64,
        previous_policy={"model_dir": "models/old", "reject_threshold": 0.6, "per_user_reject_thresholds": {"ä": 0.7}},
    )


def test_a_sealed_decision_verifies(home: Home) -> None:
    decision = full_decision(home)
    assert verify_decision(decision) == []
    assert len(decision.decision_hash) == 64
    assert decision.decision_id == f"2026-02-04_000000_{decision.decision_hash[:8]}"


def test_equal_decisions_have_equal_ids_and_others_do_not(home: Home) -> None:
    assert full_decision(home) == full_decision(home)
    assert a_decision(home).decision_id != a_decision(home, forced=True).decision_id


def test_a_decision_read_back_from_json_verifies(home: Home) -> None:
    decision = full_decision(home)
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
    "decision_id": "2026-02-04_000000_00000000",
    "decision_hash": "0" * 64,
    "verdict": "AWAITING_APPROVAL",
    "reason": "because",
    "as_of": AS_OF + timedelta(microseconds=1),
    "home": "/another/home",
    "demo": True,
    "dry_run": True,
    "forced": True,
    "bootstrap": True,
    "dataset_hash": "0" * 16,
    "dataset_digest": "0" * 64,
    "snapshot_path": "artifacts/snapshots/other",
    "label_watermark": "1" * 16,
    "feasibility": infeasible(),
    "challenger": JudgedModel(model_id="evil", files={}, report_hash="1" * 64, macro_f1=0.9, weighted_f1=0.9),
    "champion": None,
    "champion_source": "none",
    "champion_state": "none",
    "champion_warnings": [],
    "comparison": None,
    "gates": all_gates(),
    "pointer_hash": None,
    "policy_hash": None,
    "previous_policy": None,
    "config": retrain_config(auto_promote=True, min_improvement=0.5),
    "code_version": "dirty",
}


def test_every_field_of_a_decision_has_a_change_below() -> None:
    assert set(CHANGES) == set(PromotionDecision.model_fields)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_field_is_found(home: Home, name: str) -> None:
    decision = full_decision(home)
    assert getattr(decision, name) != CHANGES[name]
    assert verify_decision(decision.model_copy(update={name: CHANGES[name]})) != []


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["gates"][1].update(observed=0.91),
        lambda document: document["gates"][1].update(threshold=0.0),
        lambda document: document["gates"].pop(),
        lambda document: document["gates"].reverse(),
        lambda document: document["challenger"]["files"].update({"model.txt": "0" * 64}),
        lambda document: document["config"]["gates"].update(min_macro_f1=0.0),
        lambda document: document["comparison"].update(macro_f1_delta=document["comparison"]["macro_f1_delta"] + 1e-16),
        lambda document: document["previous_policy"].update(reject_threshold=0.61),
        lambda document: document["feasibility"]["judged_classes"].pop(),
    ],
    ids=["observed", "threshold", "gate removed", "gates in another order", "file hash", "setting", "last digit", "policy", "classes"],
)
def test_a_change_deep_within_the_file_is_found(home: Home, change: Callable[[dict[str, object]], object]) -> None:
    document = full_decision(home).model_dump(mode="json")
    change(document)
    findings = verify_decision(PromotionDecision.model_validate(document))
    assert any("decision_hash does not match" in finding for finding in findings)


def reseal(decision: PromotionDecision, **changes: object) -> PromotionDecision:
    """The decision with some fields changed and its hash made to fit again, as someone who knows the code could do."""
    return seal({**dict(decision), **changes})


@pytest.mark.parametrize(
    "gates", [all_gates(macro_f1="FAIL"), all_gates(macro_f1="ERROR"), all_gates()[:-1], []], ids=["failed", "error", "incomplete", "none"]
)
def test_a_verdict_that_does_not_follow_is_found_even_when_the_hash_fits(home: Home, gates: list[RegressionGate]) -> None:
    forged = reseal(a_decision(home), gates=gates)
    assert forged.verdict == "PROMOTE"
    (finding,) = verify_decision(forged)
    assert "the verdict is PROMOTE" in finding


def test_an_approval_that_the_settings_do_not_give_is_found_even_when_the_hash_fits(home: Home) -> None:
    forged = reseal(a_decision(home, auto_promote=False), verdict="PROMOTE", reason="All 13 gates that apply passed.")
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
        PromotionDecision.model_validate({**full_decision(home).model_dump(mode="json"), "approved_by": "me"})


# --- Files ------------------------------------------------------------------------------------------------------------------------


def test_a_kept_decision_is_read_back_and_verifies(home: Home) -> None:
    decision = full_decision(home)
    path = save_decision(home, decision)
    assert path == home.root / "artifacts" / "decisions" / f"{decision.decision_id}.json"
    assert list_decisions(home) == ([decision], [])
    assert verify_decision(list_decisions(home)[0][0]) == []


def test_decisions_are_listed_newest_first_and_damaged_files_apart(home: Home) -> None:
    dates = [AS_OF + timedelta(days=day) for day in (1, 3, 2)]
    for as_of in dates:
        save_decision(home, a_decision(home, as_of=as_of))
    for name, text in [("2026-02-09_000000_aaaaaaaa.json", "{"), ("2026-02-09_000000_bbbbbbbb.json", json.dumps(pointer_to("x")))]:
        (home.decisions / name).write_text(text, encoding="utf-8")
    (home.decisions / "last_decided.json").write_text("{}", encoding="utf-8")
    decisions, damaged = list_decisions(home)
    assert [decision.as_of for decision in decisions] == sorted(dates, reverse=True)
    assert sorted(path.name for path in damaged) == ["2026-02-09_000000_aaaaaaaa.json", "2026-02-09_000000_bbbbbbbb.json"]


def test_a_home_without_decisions_lists_none(home: Home) -> None:
    assert list_decisions(home) == ([], [])


@pytest.mark.parametrize(
    ("name", "forged", "words"),
    [
        ("macro_f1", {"observed": 0.1}, "does not follow from 0.1 and 0.65"),
        ("macro_f1", {"threshold": 0.05}, "was judged against 0.05, the settings say 0.65"),
        ("breakidle_recall", {"observed": None}, "without a figure and a threshold"),
        ("reject_rate_bounds", {"observed": 0.31}, "does not follow from 0.31"),
        ("beats_lookup_baseline", {"observed": 0.5, "threshold": 0.5}, "does not follow from 0.5 and 0.5"),
        ("macro_f1_no_regression", {"observed": -0.03}, "does not follow from -0.03"),
    ],
)
def test_a_gate_whose_verdict_does_not_follow_from_its_numbers_is_found_in_a_sealed_decision(
    tmp_path: Path, name: str, forged: dict[str, object], words: str
) -> None:
    gates = [gate.model_copy(update=forged) if gate.name == name else gate for gate in all_gates()]
    findings = verify_decision(a_decision(Home(tmp_path), gates=gates))
    assert len(findings) == 1
    assert words in findings[0]


def test_gates_that_follow_from_their_numbers_contradict_nothing(tmp_path: Path) -> None:
    for status in ("PASS", "FAIL"):
        assert verify_decision(a_decision(Home(tmp_path), gates=all_gates(macro_f1=status, reject_rate_bounds=status))) == []
