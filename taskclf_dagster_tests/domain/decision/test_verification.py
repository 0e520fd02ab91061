"""Verification: no change to a sealed decision goes unnoticed."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import (
    save_decision,
    verify_stored,
)
from taskclf_dagster.domain.decision.references import (
    AppliedCalibration,
    AppliedThreshold,
    ChampionRef,
    ChampionState,
    DatasetRef,
    ModelRef,
    RegistryRef,
    RunOptions,
)
from taskclf_dagster.domain.decision.trial import TrialEvidence
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.evaluation.sequential import SequentialBounds, TrialReference
from taskclf_dagster.domain.execution.training_recipe import local_recipe
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import NAN, ONLY, Candidate, following, receipt, reseal
from taskclf_dagster_tests.models import (
    OLD,
    all_gates,
    infeasible,
    with_changes,
)
from taskclf_dagster_tests.retrain_scenario import a_challenger
from taskclf_dagster_tests.scenario import AS_OF, retrain_config


def test_a_sealed_decision_verifies(honest: PromotionDecision) -> None:
    assert verify_decision(honest) == []
    assert (honest.verdict, len(honest.gates)) == ("PROMOTE", 20)
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


CHANGES: dict[str, object] = {
    "home_id": "0" * 32,
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
    "dataset.holdout_users": ("bob",),
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
    "champion.threshold": AppliedThreshold(value=0.42, origin="policy"),
    "champion.calibration": AppliedCalibration(path="artifacts/calibrators/x", method="isotonic", sha256="0" * 64),
    "registry.sequence": 4,
    "registry.pointer_hash": None,
    "registry.policy_hash": None,
    "registry.previous_policy": {"reject_threshold": 0.5},
    "registry.history_damaged": True,
    "comparison": None,
    "anchors": [],
    "rolled_back_as": OLD,
    "gates": all_gates(),
    "required_gates": list(CANDIDATE_GATES),
    "policy": retrain_config(auto_promote=True, min_improvement=0.02).policy,
    "prediction_diff": None,
    "protections": [],
    "training": a_challenger().settings.model_copy(update={"reason": "another"}),
    "replaces": ("2026-02-04_000000_00000000",),
    "recipe": local_recipe(),
    "trial": TrialEvidence(
        held_by="2026-02-04_000000_00000000",
        held_hash="0" * 64,
        held_windows=1000,
        started_at=AS_OF,
        windows_from=AS_OF,
        expected_user_days=14,
        significance=0.05,
        reference=TrialReference(labels=(), user_days=0, counts=((0, 0, 0, 0, 0),) * len(LABELS), spread=0.1),
        order=(),
        bounds=SequentialBounds(user_days=0, windows=0, difference=None, lower=-1, upper=1, wealth=1, wealth_against=1, significance=0.05),
    ),
}

PARTS = {"options": RunOptions, "dataset": DatasetRef, "challenger": ModelRef, "champion": ChampionRef, "registry": RegistryRef}


def test_every_field_of_a_decision_and_of_its_parts_has_a_change_below() -> None:
    nested = {f"{part}.{name}" for part, record in PARTS.items() for name in record.model_fields}
    unsealed = {"signature"}  # it is made of the hash
    assert set(CHANGES) == (set(PromotionDecision.model_fields) - set(PARTS) - unsealed) | nested


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_field_is_found(honest: PromotionDecision, name: str) -> None:
    part, _, field = name.partition(".")
    old, new = getattr(honest, part), CHANGES[name]
    if field:
        assert getattr(old, field) != new
        new = old.model_copy(update={field: new})
    assert old != new
    assert verify_decision(honest.model_copy(update={part: new})) != []


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
    "a window of a slice": _set("comparison.slices.cells.0.2", _one_more),
    "a window of a slice that the challenger has right": _set("comparison.slices.cells.0.3", lambda n: n - 1),
    "a window of a slice that the champion has right": _set("comparison.slices.cells.0.4", lambda n: n - 1),
    "the user-day of a slice": _set("comparison.slices.cells.0.1", _one_more),
    "the slice of a count": _set("comparison.slices.cells.0.0", _one_more),
    "the name of a slice": _set("comparison.slices.slices.0.1", "editor"),
    "the dimension of a slice": _set("comparison.slices.slices.0.0", "hour of day"),
    "no slices": _set("comparison.slices", None),
    "no slice": _set("comparison.slices", {"slices": [], "cells": []}),
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
            "slice_gate": False,
            "min_slice_windows": 201,
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
    assert "hash_differs" not in {finding.kind for finding in resealed}


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
    assert [finding.kind for finding in verify_decision(PromotionDecision.model_validate(document))] == ["hash_differs"]


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
        _set("comparison.slices.cells.0.1", 99),
        _set("comparison.slices.cells.0.0", 99),
        _set("comparison.slices.cells.0.0", -1),
        _set("comparison.flips.negative", {}),
        _set("comparison.exclusion.leakage", []),
        _set("comparison.evidence.p_value", NAN),
        _set("registry.previous_policy", {"threshold": NAN}),
    ],
    ids=[
        *("unknown label", "unknown block", "too large", "unknown user"),
        *("unknown user-day of a slice", "unknown slice", "negative slice"),
        *("no flips", "no reports", "NaN", "NaN in the policy"),
    ],
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
    assert ("gate_does_not_follow", True) in {(found.kind, "macro_f1_no_regression" in found.detail) for found in verify_decision(forged)}
