"""The active model is calibrated on what it has not learned from, and judged with calibrators and threshold from then on."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.evaluation.calibration_metrics import brier_score
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.models.bundle_files import OUT_OF_FOLD
from taskclf_dagster.domain.models.calibrator_store import read_calibrator_store
from taskclf_dagster.domain.models.reject_threshold import tune_reject_threshold
from taskclf_dagster.domain.monitoring.calibration import Calibration, calibrate_active_model
from taskclf_dagster.domain.monitoring.out_of_sample import OutOfSample, predict_out_of_sample
from taskclf_dagster.domain.registry.champion import Champion, resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.recomputation import recompute_decision, recompute_stored
from taskclf_dagster.errors import DecisionNotVerifiedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.registry_scenario import actions, read
from taskclf_dagster_tests.retrain_scenario import LATER, LEARNED, Learned, run_retrain, take_snapshot
from taskclf_dagster_tests.scenario import DAY, MINUTE, copy_of

EAGER = {"calibration": {"min_brier_gain": 0.0}}
"""The models of these tests are small; a calibrator of theirs is kept with any gain."""

AT = LATER + 60 * MINUTE


@pytest.fixture(scope="module")
def calibrated(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Calibration]:
    """Not to be written into."""
    home = copy_of(learned[0], tmp_path_factory.mktemp("calibrated"))
    return home, calibrate(home)


@pytest.fixture
def home(calibrated: tuple[Home, Calibration], tmp_path: Path) -> Home:
    return copy_of(calibrated[0], tmp_path)


def calibrate(home: Home, *, dry_run: bool = False, config: RetrainConfig = LEARNED, **settings: object) -> Calibration:
    return calibrate_active_model(home, config=config.with_changes(**{**EAGER, **settings}), as_of=LATER, at=AT, cores=1, dry_run=dry_run)


def champion_of(home: Home) -> Champion:
    return resolve_active_model(read_registry_state(home))


def sample_of(home: Home) -> OutOfSample:
    model = champion_of(home).model
    assert model is not None
    return predict_out_of_sample(home, model, as_of=LATER, settings=LEARNED.dataset, num_threads=1)


# --- What it is fitted on -----------------------------------------------------------------------------------------------------------


def test_nothing_that_the_model_learned_from_is_fitted_on_but_by_the_models_of_its_folds(learned: Learned) -> None:
    home, found = learned[0], sample_of(learned[0])
    model = champion_of(home).model
    assert model is not None
    learned_keys = np.load(model.files.folder / "training_rows.npy")
    newer = found.predictions.rows.iloc[found.folds :]
    assert found.folds > 0
    assert found.newer == len(newer) > 0
    assert not np.isin(hash_row_keys(newer), learned_keys).any()
    last = found.predictions.rows.iloc[: found.folds].groupby("user_id", observed=True)["bucket_start_ts"].max()
    assert (newer.groupby("user_id", observed=True)["bucket_start_ts"].min() > last + 60 * MINUTE).all()
    assert len(np.unique(hash_row_keys(found.predictions.rows))) == len(found.predictions.rows)


def test_a_bundle_without_predictions_of_its_folds_is_calibrated_on_newer_windows(learned: Learned, tmp_path: Path) -> None:
    home = copy_of(learned[0], tmp_path)
    before = sample_of(home)
    model = champion_of(home).model
    assert model is not None
    (model.files.folder / OUT_OF_FOLD).unlink()
    (model.files.folder / "MANIFEST.json").unlink()
    found = sample_of(home)
    assert (found.folds, found.newer) == (0, before.newer)
    assert "has no predictions of its folds" in found.notes[0]


# --- What comes of it ---------------------------------------------------------------------------------------------------------------


def test_policy_store_and_threshold_are_one_record_and_the_pointer_stays(calibrated: tuple[Home, Calibration], learned: Learned) -> None:
    (home, found), before = calibrated, learned[0]
    assert found.outcome == "calibrated"
    assert "temperature" in [fit.type for fit in found.fits]
    assert home.active_pointer.read_bytes() == before.active_pointer.read_bytes()
    assert actions(home)[:-1] == actions(before)
    assert actions(home)[-1] == (found.sequence, "calibrate", found.model_id) == (2, "calibrate", found.model_id)
    policy, last = read(home.inference_policy), read_history(home).last_move
    assert last is not None
    assert last.policy == policy
    assert (policy["model_dir"], policy["source"]) == (f"models/{found.model_id}", "calibrate")
    assert (policy["calibrator_store_dir"], policy["calibration_method"]) == (found.store, "temperature")
    assert policy["reject_threshold"] == found.reject_threshold
    assert [finding.detail for finding in check_registry(home)] == [finding.detail for finding in check_registry(before)]


def test_the_calibrators_are_bound_to_the_model_and_improve_its_brier_score_on_later_windows(calibrated: tuple[Home, Calibration]) -> None:
    home, found = calibrated
    store = read_calibrator_store(home.root / str(found.store))
    assert (store.model_id, store.created_at) == (found.model_id, AT)
    assert set(store.users) == set(found.users) == {"user-0", "user-1"}
    predictions = sample_of(home).predictions
    raw, users = predictions.probabilities.astype(float), predictions.rows["user_id"]
    assert brier_score(store.calibrate(raw, users), predictions.true) < brier_score(raw, predictions.true)


def test_the_threshold_is_the_one_that_is_tuned_on_calibrated_predictions(calibrated: tuple[Home, Calibration]) -> None:
    home, found = calibrated
    store = read_calibrator_store(home.root / str(found.store))
    raw = sample_of(home).predictions
    scores = store.calibrate(raw.probabilities.astype(float), raw.rows["user_id"]).astype(np.float32)
    expected = tune_reject_threshold(type(raw)(raw.rows, raw.true, scores), LEARNED.training.reject_threshold, basis="calibrated")
    assert found.threshold == expected
    assert found.reject_threshold == expected.value != found.previous_threshold


def test_the_change_is_an_event(calibrated: tuple[Home, Calibration]) -> None:
    home, found = calibrated
    event = read_outbox(home).events[-1]
    assert (event.event_type, event.payload.model_id, event.payload.reason) == ("model.calibrated", found.model_id, found.reason)


def test_where_calibration_does_not_help_enough_threshold_and_probabilities_stay(learned: Learned, tmp_path: Path) -> None:
    home = copy_of(learned[0], tmp_path)
    found = calibrate(home, calibration={"min_brier_gain": 0.9})
    assert [fit.type for fit in found.fits] == ["identity"] * 3
    assert (found.outcome, found.reject_threshold, found.threshold) == ("calibrated", found.previous_threshold, None)
    before, after = champion_of(learned[0]).model, champion_of(home).model
    assert before is not None
    assert after is not None
    rows = windows_of(home)
    assert after.predict_rows(rows, num_threads=1).tolist() == before.predict_rows(rows, num_threads=1).tolist()


def windows_of(home: Home) -> pd.DataFrame:
    frame = read_windows(home, start=LATER - DAY, end=LATER, schema_version="v1", skip_unreadable_days=False).frame
    assert frame is not None
    return frame


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"calibration_method": "off"}, "calibration_method is off"),
        ({"calibration": {"min_windows": 1_000_000}}, "too few labels"),
    ],
    ids=["off", "too few"],
)
def test_if_nothing_is_fitted_no_byte_changes(learned: Learned, tmp_path: Path, settings: dict[str, object], why: str) -> None:
    home = copy_of(learned[0], tmp_path)
    before = contents(home.root)
    found = calibrate(home, **settings)
    assert (found.outcome, why in found.reason) == ("skipped", True)
    assert calibrate(home, dry_run=True).outcome == "skipped"
    assert contents(home.root) == before


def test_a_home_without_a_model_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    assert "no active model" in calibrate(Home(tmp_path)).reason


def test_a_threshold_of_a_user_is_tuned_again_and_one_of_a_user_without_calibrators_is_not_kept(learned: Learned, tmp_path: Path) -> None:
    home = copy_of(learned[0], tmp_path)
    policy = {**read(home.inference_policy), "per_user_reject_thresholds": {"user-0": 0.01, "stranger": 0.5}, "created_at": AT.isoformat()}
    home.inference_policy.write_text(json.dumps(policy), encoding="utf-8")
    found = calibrate(home)
    assert found.user_thresholds is not None
    assert set(found.user_thresholds) == {"user-0"}
    assert found.user_thresholds["user-0"] != 0.01
    assert read(home.inference_policy)["per_user_reject_thresholds"] == found.user_thresholds


# --- The champion -------------------------------------------------------------------------------------------------------------------


def test_the_champion_is_judged_with_calibrated_scores_and_the_threshold_of_the_policy(calibrated: tuple[Home, Calibration]) -> None:
    home, found = calibrated
    champion = champion_of(home)
    assert champion.model is not None
    assert champion.calibration is not None
    assert (champion.calibration.path, champion.model.reject_threshold) == (found.store, found.reject_threshold)
    assert not [words for words in champion.warnings if "calibrat" in words]
    rows, store = windows_of(home), read_calibrator_store(home.root / str(found.store))
    raw = champion.model.predict_uncalibrated(rows, num_threads=1)
    said = champion.model.predict_rows(rows, num_threads=1)
    assert said.tolist() == store.calibrate(raw, rows["user_id"]).tolist() != raw.tolist()


def _lost(home: Home, folder: Path) -> None:
    shutil.rmtree(folder)


def _changed(home: Home, folder: Path) -> None:
    (folder / "global.json").write_text('{"type": "temperature", "temperature": 0.5}', encoding="utf-8")


def _damaged(home: Home, folder: Path) -> None:
    (folder / "global.json").write_text('{"type": "tem', encoding="utf-8")


@pytest.mark.parametrize("harm", [_lost, _damaged], ids=["lost", "damaged"])
def test_calibrators_that_cannot_be_read_are_left_out_with_a_warning(home: Home, harm: Callable[[Home, Path], None]) -> None:
    harm(home, home.root / str(read(home.inference_policy)["calibrator_store_dir"]))
    champion = champion_of(home)
    assert champion.model is not None
    assert (champion.model.calibrators, champion.calibration) == (None, None)
    assert champion.model.reject_threshold == read(home.inference_policy)["reject_threshold"]
    assert [words for words in champion.warnings if "its scores are used as they are" in words]


@pytest.mark.parametrize("harm", [_lost, _damaged, _changed], ids=["lost", "damaged", "changed"])
def test_a_repair_goes_back_to_the_last_policy_whose_calibrators_are_whole(home: Home, harm: Callable[[Home, Path], None]) -> None:
    harm(home, home.root / str(read(home.inference_policy)["calibrator_store_dir"]))
    assert [finding.code for finding in check_registry(home) if finding.severity == "damage"] == ["policy_unusable"]
    repair(home, at=AT + MINUTE)
    policy, first = read(home.inference_policy), read_history(home).entries[0].policy
    assert first is not None
    assert (policy["calibrator_store_dir"], policy["reject_threshold"]) == (None, first["reject_threshold"])
    assert [finding.code for finding in check_registry(home) if finding.severity == "damage"] == []


def test_a_decision_names_the_calibrators_that_the_champion_was_judged_with_and_follows_again_from_them(home: Home) -> None:
    decision = run_retrain(home, take_snapshot(home, LEARNED, as_of=LATER)[0])
    state = read_registry_state(home)
    assert decision.champion.calibration == champion_of(home).calibration
    assert decision.champion.calibration is not None
    assert decision.champion.threshold is not None
    assert decision.champion.threshold.value == read(home.inference_policy)["reject_threshold"]
    assert recompute_decision(state, decision, cores=1) == []
    assert recompute_stored(state, decision, cores=1) == []
    folder = home.root / decision.champion.calibration.path
    _changed(home, folder)
    findings = recompute_stored(read_registry_state(home), decision, cores=1)
    assert [finding.kind for finding in findings] == ["champion_unusable"]


def test_a_decision_that_was_made_before_the_calibration_is_refused(
    calibrated: tuple[Home, Calibration], learned: Learned, home: Home
) -> None:
    with pytest.raises(DecisionNotVerifiedError):
        promote(home, learned[2], recompute=partial(recompute_decision, cores=1), at=AT + MINUTE)


# --- Promotion and rollback -----------------------------------------------------------------------------------------------------------


def test_a_promotion_leaves_the_calibrators_behind_and_a_rollback_brings_them_back_with_the_model(home: Home) -> None:
    with_calibrators = read(home.inference_policy)
    decision = run_retrain(home, take_snapshot(home, LEARNED, as_of=LATER)[0])
    promote(home, decision, recompute=partial(recompute_decision, cores=1), at=AT + MINUTE)
    policy = read(home.inference_policy)
    assert (policy["calibrator_store_dir"], policy["calibration_method"]) == (None, None)
    rollback(home, to=None, reason="it flaps", at=AT + 2 * MINUTE)
    now = read(home.inference_policy)
    kept = ("model_dir", "calibrator_store_dir", "calibration_method", "reject_threshold")
    assert {key: now[key] for key in kept} == {key: with_calibrators[key] for key in kept}
    assert champion_of(home).calibration is not None
