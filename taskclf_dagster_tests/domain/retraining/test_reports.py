"""Challenger and champion on the same unseen windows: each from disk, with its own schema version, vocabularies and threshold."""

import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.domain.data.feature_schema import SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, save_snapshot
from taskclf_dagster.domain.data.snapshot_rows import label_codes, read_snapshot_rows
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES
from taskclf_dagster.domain.evaluation.baselines import fit_lookup, predict_baseline
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.scored_windows import load_scored_windows
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import bundle_hashes
from taskclf_dagster.domain.models.challenger import ChallengerModel, build_challenger
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster.domain.retraining.reports import ChampionReport, report_challenger, report_champion
from taskclf_dagster.home import Home
from taskclf_dagster_tests.damaged_bundles import Damage
from taskclf_dagster_tests.models import (
    MID,
    NEW,
    OLD,
    contents,
    edit_json,
    home_with_champion,
    point_at,
    write_policy,
    write_tiny_bundle,
    write_tuned_policy,
)
from taskclf_dagster_tests.registry_scenario import judged as decided
from taskclf_dagster_tests.registry_scenario import promote
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    add_learnable_days,
    day_file,
    learnable_home,
    make_home,
    retrain_config,
    windows_frame,
    write_windows,
)

DAYS = 4
CONFIG = retrain_config(train_params={"num_boost_round": 3, "num_leaves": 4}, min_class_windows=10)


@dataclass(frozen=True)
class Judged:
    """A home with a snapshot, and a challenger built on it."""

    home: Home
    snapshot: DatasetSnapshot
    challenger: ChallengerModel

    @property
    def bundle(self) -> Path:
        return self.home.root / self.challenger.path

    def test_rows(self) -> pd.DataFrame:
        return read_snapshot_rows(self.home.root / self.snapshot.path, splits=("test",))

    def champion(self) -> ChampionReport:
        return report_champion(self.home, self.snapshot, config=CONFIG, num_threads=1)

    def copy(self, target: Path) -> "Judged":
        shutil.copytree(self.home.root, target)
        return Judged(Home(target), self.snapshot, self.challenger)


def _judge(home: Home, *, holdout: float = 0.0) -> Judged:
    labeled, frame, *_ = label_windows(home, as_of=AS_OF, settings=CONFIG.dataset)
    assert frame is not None
    snapshot, rows = build_snapshot(home, labeled, frame, config=CONFIG, holdout_fraction=holdout)
    snapshot = save_snapshot(home, snapshot, rows)
    challenger = build_challenger(
        home,
        snapshot,
        config=CONFIG,
        earlier=None,
        cores=1,
        code_version="0123456",
        library_versions={},
        stopwatch=lambda: 0.0,
        on_progress=lambda _: None,
    )
    return Judged(home, snapshot, challenger)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Two users, four days, no champion; not to be written into."""
    return _judge(learnable_home(tmp_path_factory.mktemp("reports"), days=DAYS))


@pytest.fixture
def judged(original: Judged, tmp_path: Path) -> Judged:
    return original.copy(tmp_path / "home")


def _infinite_leaf(folder: Path) -> None:
    """One leaf becomes infinite without changing the size of its tree, so that no check of the file's form sees it."""
    path = folder / "model.txt"
    text = path.read_text(encoding="utf-8")
    begin = text.index("leaf_value=") + len("leaf_value=")
    end = text.index(" ", begin)
    path.write_text(text[:begin] + "1e" + "9" * (end - begin - 2) + text[end:], encoding="utf-8")
    edit_json(folder / "metadata.json", {}, without="artifact_hash")  # as in bundles of the original, which name no hash


def _as_built(judged: Judged) -> ChallengerModel:
    """The record of a challenger whose bundle had been built as it is now."""
    return judged.challenger.model_copy(update={"files": bundle_hashes(judged.bundle)})


# --- The challenger ---------------------------------------------------------------------------------------------------------------


def test_the_challenger_is_scored_on_every_test_window_and_no_other(judged: Judged) -> None:
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    assert record.report is not None
    predictions = load_scored_windows(judged.home.root, record.report.predictions).scored.predictions
    rows = judged.test_rows()
    assert record.report.windows == len(rows) == judged.snapshot.rows["test"]
    assert np.array_equal(np.sort(predictions.key), np.sort(hash_row_keys(rows)))
    assert record.report.model_id == record.model_id == judged.challenger.model_id


def test_its_predictions_are_those_of_the_bundle_with_its_own_threshold(judged: Judged) -> None:
    edit_json(judged.bundle / "metadata.json", {"reject_threshold": 0.3})
    record = report_challenger(judged.home, judged.snapshot, _as_built(judged), config=CONFIG, num_threads=1)
    rows = judged.test_rows()
    probabilities = load_bundle(judged.bundle).predict_rows(rows, num_threads=1)
    expected = np.where(probabilities.max(axis=1) < 0.3, REJECTED, probabilities.argmax(axis=1))
    assert record.report is not None
    assert np.array_equal(load_scored_windows(judged.home.root, record.report.predictions).scored.predictions.predicted, expected)
    assert record.report.reject_threshold == 0.3
    assert record.report.reject_rate == np.mean(expected == REJECTED)


def test_each_window_is_predicted_once_by_each_model(judged: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.with_changes(prove_reproducible=False)
    rows = judged.test_rows()
    frame = read_windows(judged.home, start=AS_OF - 7 * DAY, end=AS_OF, schema_version="v1", skip_unreadable_days=False).frame
    assert frame is not None
    predicted: list[int] = []
    real = lightgbm.Booster.predict

    def count(booster: lightgbm.Booster, data: np.ndarray, **options: object) -> object:
        predicted.append(len(data))
        return real(booster, data, **options)

    monkeypatch.setattr(lightgbm.Booster, "predict", count)
    report = report_challenger(judged.home, judged.snapshot, judged.challenger, config=config, num_threads=1)
    probed = min(256, judged.snapshot.rows["validation"])
    assert report.recent_predictions is not None
    assert len(rows) > 100
    assert sum(predicted) == len(frame) + probed  # the test windows are among those of the last days


def test_every_candidate_gate_is_judged_once_in_the_known_order(judged: Judged) -> None:
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    assert tuple(gate.name for gate in record.gates.gates) == CANDIDATE_GATES


@pytest.mark.parametrize(("setting", "proven"), [(True, True), ("auto", True), (False, False)])
def test_the_challenger_is_trained_a_second_time_where_a_proof_is_wanted(judged: Judged, setting: object, proven: bool) -> None:
    config = CONFIG.with_changes(prove_reproducible=setting)
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=config, num_threads=1)
    gate = next(gate for gate in record.gates.gates if gate.name == "reproducible")
    assert gate.status == ("PASS" if proven else "NOT_APPLICABLE")
    assert (None if record.reproduction is None else record.reproduction.same) == (True if proven else None)


def test_both_baselines_are_scored_on_the_same_windows_as_the_challenger(judged: Judged) -> None:
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    rows = judged.test_rows()
    true = label_codes(rows)
    table = fit_lookup(read_snapshot_rows(judged.home.root / judged.snapshot.path, splits=("train",))).predict(rows)
    committed = predict_baseline(rows) != REJECTED
    f1 = [2 * np.sum((true == c) & (table == c)) / (np.sum(true == c) + np.sum(table == c)) for c in range(8)]
    assert record.lookup_baseline is not None
    assert record.rule_baseline is not None
    assert record.lookup_baseline.windows == len(rows)
    assert record.lookup_baseline.baseline == pytest.approx(np.mean(f1))
    assert record.rule_baseline.windows == committed.sum() > 0


def test_the_test_figures_are_added_to_the_bundle_and_its_hashes_are_taken_after_that(judged: Judged) -> None:
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    metrics = json.loads((judged.bundle / "metrics.json").read_text(encoding="utf-8"))
    assert record.report is not None
    assert metrics["test"]["macro_f1"] == record.report.macro_f1
    assert metrics["test"]["dataset_hash"] == judged.snapshot.dataset_hash
    assert metrics["macro_f1"] == judged.challenger.macro_f1  # the contract's own keys keep their meaning: validation
    assert record.files == bundle_hashes(judged.bundle)


def test_a_bundle_that_a_decision_has_moved_is_scored_but_not_touched(judged: Judged) -> None:
    judged.home.models.mkdir()
    moved = judged.home.models / judged.challenger.model_id
    judged.bundle.rename(moved)
    before = contents(moved)
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    assert record.report is not None
    assert contents(moved) == before


@pytest.mark.parametrize("name", ["model.txt", "categorical_encoders.json", "training_rows.npy"])
def test_a_bundle_that_was_changed_after_it_was_built_is_not_scored(judged: Judged, name: str) -> None:
    path = judged.bundle / name
    path.write_bytes(path.read_bytes() + b" ")
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    assert record.report is None
    assert name in (record.failure or "")
    assert record.gates.gates[0].status == "FAIL"


@pytest.mark.parametrize("reported_before", [False, True])
def test_a_bundle_whose_validation_metrics_were_edited_is_not_scored(judged: Judged, reported_before: bool) -> None:
    if reported_before:
        assert report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1).failure is None
        again = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
        assert again.failure is None  # the test metrics of the first time are no edit
    edit_json(judged.bundle / "metrics.json", {"macro_f1": 0.99})
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    assert record.report is None
    assert "metrics.json" in (record.failure or "")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.txt").unlink(), "missing model.txt"),
        (lambda folder: shutil.rmtree(folder), "there is no such bundle"),
        (_infinite_leaf, "test windows get no valid probabilities"),
    ],
    ids=["model.txt missing", "bundle gone", "a leaf infinite"],
)
def test_a_challenger_that_cannot_be_scored_fails_its_first_gate_and_passes_none(judged: Judged, damage: Damage, words: str) -> None:
    damage(judged.bundle)
    record = report_challenger(judged.home, judged.snapshot, _as_built(judged), config=CONFIG, num_threads=1)
    first, *others = record.gates.gates
    assert (first.name, first.status) == ("loads_and_predicts", "FAIL")
    assert words in first.detail
    assert words in (record.failure or "")
    assert {gate.status for gate in others} <= {"INCONCLUSIVE", "NOT_APPLICABLE"}
    assert record.report is None


def test_held_out_users_are_judged_as_unseen(tmp_path: Path) -> None:
    judged = _judge(learnable_home(tmp_path, days=DAYS), holdout=0.5)
    record = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    assert record.report is not None
    unseen = {user for user, score in record.report.per_user.items() if score.unseen}
    assert unseen == set(judged.snapshot.holdout_users)
    assert len(unseen) == 1
    statuses = {gate.name: gate.status for gate in record.gates.gates}
    assert {statuses["seen_user_f1"], statuses["unseen_user_f1"]} <= {"PASS", "FAIL"}


# --- The champion -----------------------------------------------------------------------------------------------------------------


def test_a_home_without_models_has_no_champion(judged: Judged) -> None:
    record = judged.champion()
    assert (record.state, record.source, record.model_id, record.report) == ("none", "none", None, None)
    assert record.trained_on_evidence == "none"


def test_the_champion_is_scored_on_the_challengers_windows_and_nothing_in_models_changes(judged: Judged) -> None:
    home_with_champion(judged.home)
    before = contents(judged.home.models)
    record = judged.champion()
    challenger = report_challenger(judged.home, judged.snapshot, judged.challenger, config=CONFIG, num_threads=1)
    assert record.report is not None
    assert challenger.report is not None
    assert (record.state, record.source, record.model_id) == ("ok", "pointer", MID)
    assert record.report.rows_digest == challenger.report.rows_digest
    assert record.files == bundle_hashes(judged.home.models / MID)
    assert contents(judged.home.models) == before


def test_the_champion_keeps_its_own_threshold(judged: Judged) -> None:
    home_with_champion(judged.home)
    edit_json(judged.home.models / MID / "metadata.json", {"reject_threshold": 1.0})
    record = judged.champion()
    assert record.report is not None
    assert record.report.reject_rate == 1.0
    assert record.report.macro_f1 == 0.0


def test_a_champion_that_predicts_no_probabilities_is_unreadable(judged: Judged) -> None:
    home_with_champion(judged.home, older=None)
    _infinite_leaf(judged.home.models / MID)
    record = judged.champion()
    assert (record.state, record.report) == ("unreadable", None)


def test_a_champion_that_does_not_load_is_replaced_by_the_last_known_good_with_a_warning(judged: Judged) -> None:
    home_with_champion(judged.home)
    (judged.home.models / MID / "model.txt").unlink()
    record = judged.champion()
    assert (record.state, record.source, record.model_id) == ("ok", "last_known_good", OLD)
    assert any("model.txt" in warning for warning in record.warnings)


def test_what_the_policy_names_is_the_champion_and_a_pointer_that_differs_is_a_warning(judged: Judged) -> None:
    home_with_champion(judged.home)
    write_policy(judged.home, OLD)
    record = judged.champion()
    assert (record.source, record.model_id) == ("policy", OLD)
    warning = next(warning for warning in record.warnings if "taskclf runs the first" in warning)
    assert OLD in warning
    assert MID in warning


def test_the_training_dates_of_the_champion_are_in_the_report(judged: Judged) -> None:
    home_with_champion(judged.home)
    edit_json(judged.home.models / MID / "metadata.json", {"train_date_from": "2025-12-01", "train_date_to": "2025-12-24"})
    record = judged.champion()
    assert (str(record.train_date_from), str(record.train_date_to)) == ("2025-12-01", "2025-12-24")


# --- What the champion has seen -----------------------------------------------------------------------------------------------------


def test_windows_that_the_champion_learned_from_are_counted_by_the_hashes_in_its_bundle(judged: Judged) -> None:
    home_with_champion(judged.home)
    keys = hash_row_keys(judged.test_rows())
    np.save(judged.home.models / MID / "training_rows.npy", np.sort(keys[:17]))
    record = judged.champion()
    assert (record.windows_trained_on, record.trained_on_evidence) == (17, "row_hashes")


def test_without_hashes_every_window_within_its_training_dates_counts(judged: Judged) -> None:
    home_with_champion(judged.home)
    bundle = judged.home.models / MID
    (bundle / "training_rows.npy").unlink()
    days = judged.test_rows()["bucket_start_ts"].dt.date
    last = days.max()
    edit_json(bundle / "metadata.json", {"train_date_from": str(last), "train_date_to": str(last)})
    record = judged.champion()
    assert (record.windows_trained_on, record.trained_on_evidence) == (int((days == last).sum()), "training_dates")
    edit_json(bundle / "metadata.json", {"train_date_from": "2025-01-01", "train_date_to": "2025-02-01"})
    assert judged.champion().windows_trained_on == 0


def test_hashes_that_cannot_be_read_are_not_taken_for_no_training_at_all(judged: Judged) -> None:
    home_with_champion(judged.home)
    (judged.home.models / MID / "training_rows.npy").write_bytes(b"torn")
    days = judged.test_rows()["bucket_start_ts"].dt.date
    edit_json(judged.home.models / MID / "metadata.json", {"train_date_from": str(days.min()), "train_date_to": str(days.max())})
    record = judged.champion()
    assert (record.windows_trained_on, record.trained_on_evidence) == (len(days), "training_dates")


# --- Anchors, rollbacks, and where the pointer stood ----------------------------------------------------------------------------------


def _ran(home: Home, *model_ids: str) -> None:
    """Promoted by the registry, one a day up to the day before AS_OF."""
    for i, model_id in enumerate(model_ids):
        at = AS_OF - timedelta(days=len(model_ids) - i)
        promote(home, decided(home, model_id, as_of=at), at=at)


def test_a_home_without_a_history_has_no_anchors_nothing_blocked_and_no_record_behind_the_pointer(judged: Judged) -> None:
    record = judged.champion()
    assert (record.anchors, record.blocked, record.registry.sequence) == ([], {}, 0)
    home_with_champion(judged.home)  # by taskclf itself, which numbers nothing
    assert judged.champion().registry.sequence == 0


def test_the_number_of_the_record_that_set_the_pointer_is_in_the_report(judged: Judged) -> None:
    _ran(judged.home, OLD, MID)
    assert judged.champion().registry.sequence == 2


def test_every_model_that_ran_lately_is_scored_on_the_same_windows_the_newest_first(judged: Judged) -> None:
    _ran(judged.home, OLD, MID, NEW)
    record = judged.champion()
    assert record.report is not None
    assert [anchor.model_id for anchor in record.anchors] == [NEW, MID, OLD]
    assert [anchor.path for anchor in record.anchors] == [f"models/{name}" for name in (NEW, MID, OLD)]
    assert [anchor.ran_at for anchor in record.anchors] == [AS_OF - timedelta(days=day) for day in (1, 2, 3)]
    assert [anchor.problem for anchor in record.anchors] == [None, None, None]
    keys = np.sort(hash_row_keys(judged.test_rows()))
    for anchor in record.anchors:
        predictions = load_scored_windows(judged.home.root, anchor.predictions).scored.predictions
        assert np.array_equal(np.sort(predictions.key), keys)
    own = [load_bundle(judged.home.models / name).predict_rows(judged.test_rows(), num_threads=1).argmax(axis=1) for name in (MID, OLD)]
    for anchor, expected in zip(record.anchors[1:], own, strict=True):
        predicted = load_scored_windows(judged.home.root, anchor.predictions).scored.predictions.predicted
        assert np.array_equal(predicted[predicted != REJECTED], expected[predicted != REJECTED])


def test_the_champion_is_its_own_anchor_without_being_scored_twice(judged: Judged) -> None:
    _ran(judged.home, MID)
    record = judged.champion()
    assert record.report is not None
    assert [(anchor.model_id, anchor.predictions) for anchor in record.anchors] == [(MID, record.report.predictions)]


def test_models_of_long_ago_are_no_anchors(judged: Judged) -> None:
    for model_id, days in ((OLD, 61), (MID, 60)):
        at = AS_OF - timedelta(days=days)
        promote(judged.home, decided(judged.home, model_id, as_of=at), at=at)
    assert [anchor.model_id for anchor in judged.champion().anchors] == [MID]


@pytest.mark.parametrize(
    ("damage", "words"),
    [(lambda folder: (folder / "model.txt").unlink(), "missing model.txt"), (shutil.rmtree, "missing"), (_infinite_leaf, "")],
    ids=["model.txt missing", "bundle gone", "a leaf infinite"],
)
def test_an_anchor_that_cannot_be_scored_says_why_and_stops_nobody(judged: Judged, damage: Damage, words: str) -> None:
    _ran(judged.home, OLD, MID)
    damage(judged.home.models / OLD)
    champion, anchor = judged.champion().anchors
    assert (champion.model_id, champion.problem) == (MID, None)
    assert (anchor.model_id, anchor.predictions) == (OLD, None)
    assert words in (anchor.problem or "")
    assert anchor.problem


def test_anchors_are_scored_even_where_the_champion_cannot_be(judged: Judged) -> None:
    home_with_champion(judged.home)
    _infinite_leaf(judged.home.models / MID)
    record = judged.champion()
    assert record.state == "unreadable"
    assert {anchor.model_id: anchor.problem is None for anchor in record.anchors} == {MID: False, OLD: True}


def test_what_a_rollback_left_is_blocked_by_its_trees_until_it_is_unblocked(judged: Judged) -> None:
    _ran(judged.home, OLD, MID)
    trees = tree_hash((judged.home.models / MID / "model.txt").read_text(encoding="utf-8"))
    rollback(judged.home, to=None, reason="worse", at=AS_OF)
    record = judged.champion()
    assert record.blocked == {MID: trees}
    assert record.model_id == OLD
    assert [anchor.model_id for anchor in record.anchors] == [OLD]
    unblock(judged.home, MID, reason="it was not", at=AS_OF)
    assert judged.champion().blocked == {}


# --- A champion of another schema version -------------------------------------------------------------------------------------------


def _both_versions(home: Home, *, users: int, champion: SchemaVersion) -> Judged:
    """The same days in v3 and in the champion's version; the champion is of that version."""
    add_learnable_days(home, first=AS_OF - timedelta(days=DAYS), days=DAYS, users=users, version="v3")
    add_learnable_days(home, first=AS_OF - timedelta(days=DAYS), days=DAYS, users=users, version=champion)
    judged = _judge(home)
    assert judged.snapshot.schema_version == "v3"
    write_tiny_bundle(home.models / MID, version=champion)
    point_at(home, MID)
    write_tuned_policy(home, MID, model_schema_hash=SCHEMAS[champion].schema_hash)
    return judged


@pytest.fixture(scope="module")
def v1_and_v3(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Two users in v1 and v3, a snapshot of v3, a champion of v1; not to be written into."""
    return _both_versions(make_home(tmp_path_factory.mktemp("versions")), users=2, champion="v1")


@pytest.fixture
def upgraded(v1_and_v3: Judged, tmp_path: Path) -> Judged:
    return v1_and_v3.copy(tmp_path / "home")


def test_a_v1_champion_is_scored_with_its_own_features_on_a_v3_snapshot(upgraded: Judged) -> None:
    record = upgraded.champion()
    challenger = report_challenger(upgraded.home, upgraded.snapshot, upgraded.challenger, config=CONFIG, num_threads=1)
    assert record.report is not None
    assert challenger.report is not None
    assert record.report.schema_version == "v1"
    assert record.windows_without_features == 0
    assert record.report.rows_digest == challenger.report.rows_digest
    assert record.report.macro_f1 > 0.5  # its own features, not zeros


def test_what_the_champion_sees_comes_from_the_partitions_of_its_own_version(upgraded: Judged) -> None:
    before = upgraded.champion().report
    for path in upgraded.home.features("v1").rglob("*.parquet"):
        table = pq.read_table(path)
        flat = {name: pa.array(np.zeros(len(table))) for name in ("keys_per_min", "mouse_distance", "scroll_events_per_min")}
        for name, values in flat.items():
            table = table.set_column(table.column_names.index(name), name, values)
        pq.write_table(table, path)
    after = upgraded.champion().report
    assert before is not None
    assert after is not None
    assert after.rows_digest == before.rows_digest
    assert after.accuracy < before.accuracy


def test_windows_that_the_champions_version_lacks_are_left_out_and_counted(upgraded: Judged) -> None:
    days = upgraded.test_rows()["bucket_start_ts"].dt.date
    day_file(upgraded.home, days.max(), version="v1").unlink()
    record = upgraded.champion()
    missing = int((days == days.max()).sum())
    assert record.windows_without_features == missing > 0
    assert record.report is not None
    assert record.report.windows == len(days) - missing


def test_a_champion_none_of_whose_features_exist_is_scored_on_nothing(upgraded: Judged) -> None:
    shutil.rmtree(upgraded.home.features("v1"))
    record = upgraded.champion()
    assert record.state == "ok"
    assert record.windows_without_features == upgraded.snapshot.rows["test"]
    assert record.report is not None
    assert (record.report.windows, record.report.macro_f1) == (0, None)


def test_a_torn_day_of_the_champions_version_is_left_out_like_a_missing_one(upgraded: Judged) -> None:
    days = upgraded.test_rows()["bucket_start_ts"].dt.date
    day_file(upgraded.home, days.max(), version="v1").write_bytes(b"PAR1 torn")
    assert upgraded.champion().windows_without_features == int((days == days.max()).sum())


def test_a_v2_champion_cannot_be_matched_where_the_snapshot_has_two_users(upgraded: Judged) -> None:
    rows = upgraded.test_rows()
    write_windows(upgraded.home, windows_frame(start=rows["bucket_start_ts"].min(), n=60, version="v2"), version="v2")
    write_tiny_bundle(upgraded.home.models / OLD, version="v2")
    point_at(upgraded.home, OLD)
    upgraded.home.inference_policy.unlink()
    record = upgraded.champion()
    assert record.model_id == OLD
    assert record.windows_without_features == len(rows)


def test_a_v2_champion_has_one_implicit_user_and_is_matched_by_time_alone(tmp_path: Path) -> None:
    judged = _both_versions(make_home(tmp_path), users=1, champion="v2")
    record = judged.champion()
    assert record.report is not None
    assert record.report.schema_version == "v2"
    assert record.windows_without_features == 0
    assert record.report.windows == judged.snapshot.rows["test"]
