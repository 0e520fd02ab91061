"""Building a challenger: a bundle that taskclf can load, with everything needed to know and to repeat how it was made."""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.data.hashing import hash_row_keys, probabilities_digest
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, open_snapshot, save_snapshot
from taskclf_dagster.domain.data.snapshot_rows import open_snapshot_rows, read_snapshot_rows
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import bundle_hashes
from taskclf_dagster.domain.models.challenger import ChallengerModel, build_challenger, next_model_id, probe
from taskclf_dagster.domain.models.learned_rows import load_part
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.errors import DataContractError, SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import report_lines
from taskclf_dagster_tests.models import CONTRACT_METADATA, change_a_leaf, edit_json
from taskclf_dagster_tests.scenario import AS_OF, add_learnable_days, learnable_home, retrain_config, weak, write_labels

FAST = {"num_boost_round": 3, "num_leaves": 4}
CONFIG = retrain_config(train_params=FAST)
LIBRARIES = {"lightgbm": "4.7.0"}


def _snapshot(home: Home, config: RetrainConfig = CONFIG, *, as_of: datetime = AS_OF, holdout: float = 0.0) -> DatasetSnapshot:
    labeled, frame, *_ = label_windows(home, as_of=as_of, settings=config.dataset)
    assert frame is not None
    snapshot, rows = build_snapshot(home, labeled, frame, config=config, holdout_fraction=holdout)
    return save_snapshot(home, snapshot, rows)


def _build(
    home: Home, snapshot: DatasetSnapshot, config: RetrainConfig = CONFIG, *, cores: int = 1, heard: list[str] | None = None
) -> ChallengerModel:
    ticks: Iterator[int] = count()
    return build_challenger(
        home,
        snapshot,
        config=config,
        earlier=None,
        cores=cores,
        code_version="0123456+changes",
        library_versions=LIBRARIES,
        stopwatch=lambda: float(next(ticks)),
        on_progress=report_lines((heard if heard is not None else []).append),
    )


def _metadata(home: Home, challenger: ChallengerModel) -> dict[str, object]:
    return json.loads((home.root / challenger.path / "metadata.json").read_text(encoding="utf-8"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return learnable_home(tmp_path, days=4)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, DatasetSnapshot, ChallengerModel]:
    """Read only."""
    home = learnable_home(tmp_path_factory.mktemp("challenger"), days=4)
    snapshot = _snapshot(home)
    return home, snapshot, _build(home, snapshot)


Shared = tuple[Home, DatasetSnapshot, ChallengerModel]


# --- The bundle -------------------------------------------------------------------------------------------------------------------


def test_the_bundle_is_built_beside_models_and_loads(shared: Shared) -> None:
    home, _, challenger = shared
    assert challenger.path == f"artifacts/challengers/{challenger.model_id}"
    assert load_bundle(home.root / challenger.path).bundle.model_id == challenger.model_id
    assert not home.models.exists()


def test_nothing_of_the_staging_remains(shared: Shared) -> None:
    home, _, challenger = shared
    assert [path.name for path in home.challengers.iterdir()] == [challenger.model_id]


def test_the_metadata_has_every_key_of_the_contract(shared: Shared) -> None:
    home, snapshot, challenger = shared
    metadata = _metadata(home, challenger)
    assert set(metadata) >= CONTRACT_METADATA
    assert metadata["schema_hash"] == SCHEMAS["v1"].schema_hash
    assert metadata["label_set"] == list(LABELS)
    assert metadata["dataset_hash"] == snapshot.dataset_hash
    assert metadata["created_at"] == "2026-02-04T00:00:00+00:00"
    assert metadata["git_commit"] == "0123456+changes"
    assert metadata["data_provenance"] == "real"


def test_the_metadata_tells_what_is_needed_to_repeat_the_training(shared: Shared) -> None:
    home, snapshot, challenger = shared
    metadata = _metadata(home, challenger)
    assert metadata["config"] == CONFIG.policy
    assert metadata["params"]["num_boost_round"] == 3
    assert metadata["params"]["seed"] == int(snapshot.dataset_digest[:7], 16)
    assert metadata["snapshot_path"] == snapshot.path
    assert metadata["dataset_digest"] == snapshot.dataset_digest
    assert metadata["label_schema_version"] == "v1"
    assert metadata["user_count"] == 2
    assert metadata["class_distribution"] == snapshot.class_distribution
    assert metadata["library_versions"] == LIBRARIES


def test_the_hashes_are_those_of_the_files(shared: Shared) -> None:
    home, _, challenger = shared
    text = (home.root / challenger.path / "model.txt").read_text(encoding="utf-8")
    assert _metadata(home, challenger)["artifact_hash"] == challenger.artifact_hash == hashlib.sha256(text.encode()).hexdigest()
    assert _metadata(home, challenger)["tree_hash"] == challenger.tree_hash == tree_hash(text)


def test_the_training_dates_are_those_of_the_rows_that_the_refit_learned_from(shared: Shared) -> None:
    home, snapshot, challenger = shared
    days = load_part(open_snapshot(home, snapshot), "refit")["bucket_start_ts"].dt.date
    metadata = _metadata(home, challenger)
    assert (metadata["train_date_from"], metadata["train_date_to"]) == (str(days.min()), str(days.max()))


@pytest.mark.parametrize(("refit", "splits"), [(True, ["train", "validation"]), (False, ["train"])])
def test_the_bundle_carries_the_hashes_of_the_rows_that_it_learned_from_and_of_no_other(home: Home, refit: bool, splits: list[str]) -> None:
    snapshot = _snapshot(home)
    challenger = _build(home, snapshot, CONFIG.with_changes(refit=refit))
    stored = np.load(home.root / challenger.path / "training_rows.npy")
    rows = read_snapshot_rows(home.root / snapshot.path)
    learned = rows["split"].isin(splits)
    assert challenger.training_windows == learned.sum() == len(stored)
    assert set(stored.tolist()) == set(hash_row_keys(rows[learned].reset_index(drop=True)).tolist())
    assert not np.isin(hash_row_keys(rows[~learned].reset_index(drop=True)), stored).any()


def test_the_figures_of_the_record_are_those_of_metrics_json(shared: Shared) -> None:
    home, _, challenger = shared
    metrics = json.loads((home.root / challenger.path / "metrics.json").read_text(encoding="utf-8"))
    assert (challenger.macro_f1, challenger.weighted_f1) == (metrics["macro_f1"], metrics["weighted_f1"])
    assert 0.3 < challenger.macro_f1 <= 1


def test_the_importance_of_the_inputs_is_a_share_of_all_gain_largest_first(shared: Shared) -> None:
    importance = list(shared[2].feature_importance.values())
    assert importance == sorted(importance, reverse=True)
    assert sum(importance) == pytest.approx(1.0)
    assert set(shared[2].feature_importance) == set(SCHEMAS["v1"].model_inputs)


def test_held_out_users_are_named_in_the_bundle_and_did_not_teach(home: Home) -> None:
    snapshot = _snapshot(home, holdout=0.5)
    metadata = _metadata(home, _build(home, snapshot))
    assert len(snapshot.holdout_users) == 1
    assert metadata["holdout_users"] == snapshot.holdout_users


def test_a_line_is_heard_every_ten_rounds_and_at_the_end(home: Home) -> None:
    heard: list[str] = []
    _build(home, _snapshot(home), retrain_config(train_params={"num_boost_round": 12, "num_leaves": 4}), heard=heard)
    lines = ["10 of 12 rounds", "12 of 12 rounds"]
    assert heard == [f"{fit}: {line}" for fit in ("first fit", "refit") for line in lines]


def test_synthetic_spans_that_may_teach_make_the_bundle_mixed_and_left_out_ones_do_not(home: Home) -> None:
    begin = AS_OF - timedelta(days=4) + timedelta(hours=9)
    learnable = learnable_home(home.root / "with-weak", days=4)
    spans = [span for span in pq.read_table(learnable.labels).to_pylist() if span["start_ts"] >= begin + timedelta(minutes=20)]
    synthetic = {**weak(begin, begin + timedelta(minutes=20), "Build", user="user-0"), "provenance": "synthetic"}
    write_labels(learnable, [*spans, synthetic])
    assert _metadata(learnable, _build(learnable, _snapshot(learnable)))["data_provenance"] == "mixed"
    without = retrain_config(train_params=FAST, weak_labels="exclude")
    assert _metadata(learnable, _build(learnable, _snapshot(learnable, without), without))["data_provenance"] == "real"


# --- The same again ---------------------------------------------------------------------------------------------------------------


def test_the_same_home_time_and_settings_give_the_same_trees_and_bundle_but_for_the_timings(tmp_path: Path) -> None:
    first, second = (learnable_home(tmp_path / name, days=4) for name in ("a", "b"))
    one, two = _build(first, _snapshot(first)), _build(second, _snapshot(second))
    assert one.tree_hash == two.tree_hash
    assert one.model_id == two.model_id
    assert one == two
    assert bundle_hashes(first.root / one.path) == bundle_hashes(second.root / two.path)


def test_the_number_of_threads_is_recorded_and_does_not_change_the_trees(home: Home) -> None:
    snapshot = _snapshot(home)
    one, two = (_build(home, snapshot, retrain_config(train_params={**FAST, "num_threads": n})) for n in (1, 2))
    assert (one.params["num_threads"], two.params["num_threads"]) == (1, 2)
    assert one.tree_hash == two.tree_hash


def test_another_seed_comes_with_other_data(home: Home) -> None:
    before = _build(home, _snapshot(home))
    add_learnable_days(home)
    after = _build(home, _snapshot(home, as_of=AS_OF + timedelta(days=1)))
    assert before.params["seed"] != after.params["seed"]
    assert before.tree_hash != after.tree_hash


# --- Names ------------------------------------------------------------------------------------------------------------------------


def test_a_model_id_is_the_as_of_time_in_utc_and_a_number(tmp_path: Path) -> None:
    vienna = datetime(2026, 2, 4, 1, 30, 5, tzinfo=timezone(timedelta(hours=1)))
    assert re.fullmatch(r"2026-02-04_003005_run-\d{4}", next_model_id(Home(tmp_path), vienna, "0" * 64, CONFIG.policy))


def test_other_data_or_settings_give_another_number(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ids = {
        next_model_id(home, AS_OF, "0" * 64, CONFIG.policy),
        next_model_id(home, AS_OF, "1" * 64, CONFIG.policy),
        next_model_id(home, AS_OF, "0" * 64, retrain_config(auto_promote=True).policy),
        next_model_id(home, AS_OF, "0" * 64, retrain_config(evidence_policy="hold").policy),
    }
    assert len(ids) == 4
    assert next_model_id(home, AS_OF, "0" * 64, CONFIG.policy) in ids


@pytest.mark.parametrize("place", ["models", "artifacts/rejected_models", "artifacts/pending_models", "artifacts/challengers"])
def test_a_name_that_is_taken_anywhere_is_never_given_again(tmp_path: Path, place: str) -> None:
    home = Home(tmp_path)
    first = next_model_id(home, AS_OF, "0" * 64, CONFIG.policy)
    (home.root / place / first).mkdir(parents=True)
    second = next_model_id(home, AS_OF, "0" * 64, CONFIG.policy)
    assert int(second[-4:]) == (int(first[-4:]) + 1) % 10_000


# --- What must not be ---------------------------------------------------------------------------------------------------------------


def test_nothing_is_trained_on_a_snapshot_with_blockers_and_the_error_names_them(home: Home) -> None:
    snapshot = _snapshot(home, retrain_config(min_labels=100_000))
    with pytest.raises(DataContractError, match=r"min_labels.*100000"):
        _build(home, snapshot)
    assert not home.challengers.exists()


def test_nothing_is_trained_on_a_snapshot_that_is_gone(home: Home) -> None:
    snapshot = _snapshot(home)
    (home.root / snapshot.path / "windows" / "part-000.parquet").unlink()
    with pytest.raises(SnapshotError, match="dataset_snapshot"):
        _build(home, snapshot)


# --- The probe --------------------------------------------------------------------------------------------------------------------


def _probe(home: Home, snapshot: DatasetSnapshot, folder: Path) -> str:
    return probe(load_bundle(folder), open_snapshot_rows(home.root / snapshot.path))


def test_the_bundle_on_disk_predicts_what_the_model_in_memory_did(shared: Shared) -> None:
    home, snapshot, challenger = shared
    assert _probe(home, snapshot, home.root / challenger.path) == challenger.probe_digest


def test_a_changed_leaf_is_seen_by_the_probe(home: Home) -> None:
    snapshot = _snapshot(home)
    challenger = _build(home, snapshot)
    change_a_leaf(home.root / challenger.path)
    edit_json(home.root / challenger.path / "metadata.json", {}, without="artifact_hash")
    assert _probe(home, snapshot, home.root / challenger.path) != challenger.probe_digest


def test_the_digest_of_probabilities_sees_the_last_bit() -> None:
    probabilities = np.full((4, 8), 0.125)
    moved = probabilities.copy()
    moved[3, 7] = np.nextafter(0.125, 1)
    assert probabilities_digest(probabilities) == probabilities_digest(np.asfortranarray(probabilities))
    assert probabilities_digest(probabilities) != probabilities_digest(moved)
