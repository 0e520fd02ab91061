"""Decisions about models that were trained for them."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot, save_snapshot
from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import LATER, LEARNED, Learned, run_retrain, take_snapshot


def test_a_real_first_run_is_promoted_and_a_second_one_is_compared_with_it(learned: Learned) -> None:
    home, first, second = learned
    assert (first.verdict, first.comparison, first.champion.model) == ("PROMOTE", None, None)
    assert second.champion.model is not None
    assert second.champion.model.model_id == first.challenger.model_id
    assert second.comparison is not None
    assert second.comparison.windows == second.dataset.split["test"] - second.comparison.exclusion.excluded > 300
    assert second.comparison.exclusion.leakage[1].basis == "row_hashes"
    assert [anchor.model_id for anchor in second.anchors] == [first.challenger.model_id]
    assert second.anchors[0].difference == pytest.approx(second.comparison.macro_f1_delta)
    assert second.registry.sequence == 1
    assert second.prediction_diff is not None
    statuses = {gate.name: gate.status for gate in second.gates}
    assert statuses["reproducible"] == "PASS"
    assert set(statuses.values()) <= {"PASS", "FAIL", "NOT_APPLICABLE"}
    assert home.active_pointer.exists()


def test_the_receipts_of_real_runs_verify_and_are_read_back_byte_for_byte(learned: Learned) -> None:
    home, *decisions = learned
    for decision in decisions:
        assert verify_decision(decision) == []
        again = read_decision(home, decision.decision_id)
        assert again is not None
        assert canonical_json(again.model_dump(mode="json")) == canonical_json(decision.model_dump(mode="json"))
        assert verify_decision(again) == []


def test_the_same_run_again_gives_the_same_verdict_comparison_and_gates(learned: Learned, tmp_path: Path) -> None:
    shutil.copytree(learned[0].root, tmp_path / "home")
    home, second = Home(tmp_path / "home"), learned[2]
    again = run_retrain(home, take_snapshot(home, LEARNED, as_of=LATER)[0])
    assert again.challenger.model_id != second.challenger.model_id  # the name was taken
    assert again.challenger.files["model.txt"] == second.challenger.files["model.txt"]
    assert again.comparison is not None
    assert again.comparison.model_copy(update={"challenger_id": second.challenger.model_id, "exclusion": None}) == (
        second.comparison and second.comparison.model_copy(update={"exclusion": None})
    )
    assert (again.verdict, again.gates) == (second.verdict, second.gates)


def test_a_challenger_that_learned_from_shuffled_labels_is_rejected(learned: Learned, tmp_path: Path) -> None:
    shutil.copytree(learned[0].root, tmp_path / "home")
    home = Home(tmp_path / "home")
    labeled, frame, *_ = label_windows(home, as_of=LATER, settings=LEARNED.dataset)
    assert frame is not None
    snapshot, rows = build_snapshot(home, labeled, frame, config=LEARNED)
    train = (rows["split"] == "train").to_numpy()
    shuffled = rows["label"].to_numpy().copy()
    shuffled[train] = np.random.default_rng(1).permutation(shuffled[train])
    rows = rows.assign(label=pd.Categorical(shuffled, categories=rows["label"].cat.categories))
    digest = frame_digest(rows)
    names = {"dataset_digest": digest, "dataset_hash": digest[:16], "path": f"artifacts/snapshots/{digest[:16]}"}
    snapshot = snapshot.model_copy(update=names)
    decision = run_retrain(home, save_snapshot(home, snapshot, rows))
    assert decision.dataset.feasibility.promotable
    assert decision.verdict == "REJECT"
    failed = {gate.name for gate in decision.gates if gate.status == "FAIL"}
    assert {"macro_f1", "weighted_f1", "macro_f1_no_regression", "not_worse_than_anchor", "negative_flips"} <= failed
    assert verify_decision(decision) == []
