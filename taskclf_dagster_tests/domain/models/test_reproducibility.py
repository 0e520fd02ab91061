"""Training again: the same model from the same snapshot, and clear words about everything that is not."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, open_snapshot, save_snapshot
from taskclf_dagster.domain.decision.candidate_gates import check_candidate_gates
from taskclf_dagster.domain.execution.training_recipe import local_recipe
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import METADATA, MODEL, OUT_OF_FOLD, TRAINING_ROWS, bundle_hashes, read_bundle_files
from taskclf_dagster.domain.models.bundle_writer import write_bundle
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.models.choice import present_choice
from taskclf_dagster.domain.models.learned_rows import load_part
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.out_of_fold import read_out_of_fold
from taskclf_dagster.domain.models.reproducibility import PROVE_BELOW_WINDOWS, Reproduction, is_proof_wanted, reproduce
from taskclf_dagster.domain.models.training import train_challenger
from taskclf_dagster.domain.retraining.reports import report_challenger
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.errors import BundleError, SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import report_lines
from taskclf_dagster_tests.models import change_a_leaf, edit_json, write_tiny_bundle
from taskclf_dagster_tests.retrain_scenario import train_challenger as build
from taskclf_dagster_tests.scenario import AS_OF, learnable_home, retrain_config

FAST = {"num_boost_round": 3, "num_leaves": 4}
CONFIG = retrain_config(train_params=FAST, min_class_windows=10)

Made = tuple[Home, DatasetSnapshot, ChallengerModel]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Not to be written into."""
    home = learnable_home(tmp_path_factory.mktemp("reproduction"), days=4)
    labeled, frame, *_ = label_windows(home, as_of=AS_OF, settings=CONFIG.dataset)
    assert frame is not None
    snapshot, rows = build_snapshot(home, labeled, frame, config=CONFIG)
    snapshot = save_snapshot(home, snapshot, rows)
    return home, snapshot, build(home, snapshot)


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    """A home with a snapshot and a challenger of it."""
    shutil.copytree(original[0].root, tmp_path / "home")
    return Home(tmp_path / "home"), *original[1:]


def folder_of(made: Made) -> Path:
    return made[0].root / made[2].path


def name_the_trees(folder: Path) -> None:
    """Makes the hashes of the metadata those of model.txt, so that the bundle loads."""
    text = (folder / MODEL).read_text(encoding="utf-8")
    edit_json(folder / METADATA, {"artifact_hash": hash_file(folder / MODEL), "tree_hash": tree_hash(text)})


def gate_on(reproduction: Reproduction | None) -> tuple[str, float | None]:
    given = {"failure": None, "rule": None, "lookup": None, "reproduction": reproduction}
    gates = check_candidate_gates(None, **given, settings=retrain_config().evaluation).gates  # type: ignore[arg-type]
    return next((gate.status, gate.observed) for gate in gates if gate.name == "reproducible")


# --- The same again -----------------------------------------------------------------------------------------------------------------


def test_a_bundle_trained_again_from_its_snapshot_is_the_same_in_trees_predictions_and_threshold(made: Made) -> None:
    home, snapshot, challenger = made
    found = reproduce(home, folder_of(made))
    assert found.same
    assert (found.model_id, found.dataset_hash) == (challenger.model_id, snapshot.dataset_hash)
    assert found.tree_hash == found.reproduced_tree_hash == challenger.tree_hash
    assert found.probe_digest == found.reproduced_probe_digest == challenger.probe_digest
    assert found.summary == f"trained again from snapshot {snapshot.dataset_hash}: the same trees, predictions and threshold"
    assert gate_on(found) == ("PASS", 1.0)


def test_a_bundle_trained_with_two_threads_is_the_same_again(made: Made) -> None:
    home, snapshot, _ = made
    config = CONFIG.with_changes(search="off")
    one = build(home, snapshot, config)
    two = build(home, snapshot, config.with_changes(train_params={**FAST, "num_threads": 2}))
    assert (one.params["num_threads"], two.params["num_threads"]) == (1, 2)
    found = reproduce(home, home.root / two.path)
    assert found.same
    assert found.tree_hash == one.tree_hash


def test_two_proofs_of_one_model_are_the_same_record(made: Made) -> None:
    home = made[0]
    assert reproduce(home, folder_of(made)) == reproduce(home, folder_of(made))


def test_a_bundle_is_proven_wherever_it_lies_and_nothing_of_it_changes(made: Made) -> None:
    home, _, challenger = made
    home.models.mkdir()
    moved = folder_of(made).rename(home.models / challenger.model_id)
    before = {path.name: path.read_bytes() for path in moved.iterdir()}
    assert reproduce(home, moved).same
    assert {path.name: path.read_bytes() for path in moved.iterdir()} == before


def test_the_settings_of_the_bundle_count_and_not_those_of_today(made: Made) -> None:
    home, snapshot, _ = made
    other = build(home, snapshot, retrain_config(train_params={"num_boost_round": 2, "num_leaves": 5, "class_weight": "none"}))
    assert reproduce(home, home.root / other.path).same


def test_progress_is_told(made: Made) -> None:
    heard: list[str] = []
    reproduce(made[0], folder_of(made), on_progress=report_lines(heard.append))
    assert heard == ["first fit: 3 of 3 rounds", "refit: 3 of 3 rounds"]


# --- The recipe ---------------------------------------------------------------------------------------------------------------------


def test_a_bundle_has_the_recipe_of_its_trees(made: Made) -> None:
    assert load_bundle(folder_of(made)).bundle.require().recipe == made[2].recipe == local_recipe()


def test_a_bundle_without_a_recipe_was_trained_by_this_process_alone(made: Made) -> None:
    edit_json(folder_of(made) / METADATA, {"recipe": None})
    assert reproduce(made[0], folder_of(made)).same


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trainer": "dask", "workers": 2, "shard_ranks": [0, 1], "bin_samples": ["0" * 64]}, "trained by dask with 2 workers"),
        ({"lightgbm_version": "4.0.0"}, "trained by local, LightGBM 4.0.0"),
        ({"shard_ranks": [0]}, "divided in another way"),
    ],
)
def test_equal_trees_by_another_recipe_are_no_proof(made: Made, change: dict[str, object], words: str) -> None:
    edit_json(folder_of(made) / METADATA, {"recipe": local_recipe().model_copy(update=change).model_dump()})
    found = reproduce(made[0], folder_of(made))
    assert (found.same, found.reproduced_tree_hash, words in (found.obstacle or "")) == (False, "", True)
    assert gate_on(found) == ("NOT_APPLICABLE", None)


def test_other_rows_for_the_bins_are_a_difference_and_no_excuse(made: Made) -> None:
    edit_json(folder_of(made) / METADATA, {"recipe": local_recipe().model_copy(update={"bin_samples": ["0" * 64]}).model_dump()})
    found = reproduce(made[0], folder_of(made))
    assert (found.same, found.obstacle, found.summary.partition(": ")[2]) == (False, None, "rows that bins are chosen from differ")
    assert gate_on(found) == ("FAIL", 0.0)


# --- Not the same -------------------------------------------------------------------------------------------------------------------


def test_a_changed_leaf_is_seen_in_the_trees_and_in_the_predictions(made: Made, snapshot: SnapshotAssertion) -> None:
    home, _, challenger = made
    change_a_leaf(folder_of(made))
    name_the_trees(folder_of(made))
    load_bundle(folder_of(made))  # whole, by its own word
    found = reproduce(home, folder_of(made))
    assert not found.same
    assert found.summary.partition(": ")[2] == snapshot
    assert found.tree_hash != found.reproduced_tree_hash == challenger.tree_hash
    assert found.probe_digest != found.reproduced_probe_digest == challenger.probe_digest
    assert gate_on(found) == ("FAIL", 0.0)


def test_a_changed_threshold_is_seen(made: Made, snapshot: SnapshotAssertion) -> None:
    edit_json(folder_of(made) / METADATA, {"reject_threshold": float(np.nextafter(made[2].reject.value, 1))})
    found = reproduce(made[0], folder_of(made))
    assert not found.same
    assert (found.tree_hash, found.probe_digest) == (found.reproduced_tree_hash, found.reproduced_probe_digest)
    assert found.summary.partition(": ")[2] == snapshot


@pytest.mark.parametrize(("setting", "value"), [("num_boost_round", 4), ("min_data_in_leaf", 5), ("learning_rate", 0.11)])
def test_a_setting_that_is_not_the_one_it_was_trained_with_is_seen(made: Made, setting: str, value: object) -> None:
    config = read_json_object(folder_of(made) / METADATA)["config"]
    assert isinstance(config, dict)
    config["train_params"][setting] = value
    edit_json(folder_of(made) / METADATA, {"config": config})
    found = reproduce(made[0], folder_of(made))
    assert not found.same
    assert found.tree_hash != found.reproduced_tree_hash


def test_a_first_fit_that_was_another_one_is_seen(made: Made) -> None:
    edit_json(folder_of(made) / METADATA, {"first_tree_hash": "0" * 64})
    found = reproduce(made[0], folder_of(made))
    assert not found.same
    assert "trees of the first fit differ" in found.summary


def test_a_choice_that_is_not_the_one_it_was_trained_with_is_seen(made: Made) -> None:
    chosen = made[2].settings.model_dump(mode="json")
    edit_json(folder_of(made) / METADATA, {"chosen_settings": {**chosen, "choice": {**chosen["choice"], "num_leaves": 5}}})
    found = reproduce(made[0], folder_of(made))
    assert not found.same
    assert found.tree_hash != found.reproduced_tree_hash


def test_a_model_that_was_trained_with_another_seed_is_seen(made: Made) -> None:
    home, snapshot, challenger = made
    config = retrain_config(train_params=FAST)

    stored = open_snapshot(home, snapshot)
    model = train_challenger(
        lambda part: load_part(stored, part),
        SCHEMAS["v1"],
        settings=config.training,
        choice=present_choice(config.train_params),
        dataset_digest="0" * 64,
        num_threads=1,
        on_progress=lambda _: None,
    )
    metadata = read_json_object(folder_of(made) / METADATA)
    folder = home.challengers / "2026-02-04_000000_run-seed"
    write_bundle(folder, model, load_part(stored, "refit"), metadata=metadata)
    assert model.params["seed"] != challenger.params["seed"]
    found = reproduce(home, folder)
    assert not found.same
    assert found.tree_hash != found.reproduced_tree_hash


@pytest.mark.parametrize("search", ["auto", "off"])
def test_predictions_on_the_folds_are_made_again_and_others_are_seen(made: Made, search: str) -> None:
    home, snapshot, _ = made
    folder = home.root / build(home, snapshot, CONFIG.with_changes(search=search)).path
    assert reproduce(home, folder).same
    predictions = read_out_of_fold(read_bundle_files(folder))
    probabilities = predictions.probabilities.copy()
    probabilities[0] = np.roll(probabilities[0], 1)
    (folder / OUT_OF_FOLD).write_bytes(replace(predictions, probabilities=probabilities).to_bytes())
    found = reproduce(home, folder)
    assert not found.same
    assert "out-of-fold predictions differ" in found.summary


def test_the_threshold_follows_from_the_predictions_that_the_bundle_keeps(made: Made) -> None:
    home, snapshot, _ = made
    folder = home.root / build(home, snapshot, CONFIG.with_changes(search="auto")).path
    kept = read_out_of_fold(read_bundle_files(folder))
    assert reproduce(home, folder, folds=False).same
    (folder / OUT_OF_FOLD).write_bytes(replace(kept, probabilities=kept.probabilities / 2).to_bytes())
    found = reproduce(home, folder, folds=False)  # the folds are not fitted again
    assert "threshold differ" in found.summary
    assert "out-of-fold" not in found.summary


# --- What cannot be proven --------------------------------------------------------------------------------------------------------


def test_a_snapshot_that_is_gone_is_an_error_that_says_so(made: Made) -> None:
    home, snapshot, _ = made
    shutil.rmtree(home.root / snapshot.path)
    with pytest.raises(SnapshotError, match=snapshot.dataset_hash):
        reproduce(home, folder_of(made))


def test_a_snapshot_with_one_other_value_is_an_error_that_says_so(made: Made) -> None:
    home, snapshot, _ = made
    path = home.root / snapshot.path / "windows" / "part-000.parquet"
    table = pq.read_table(path)
    position = table.schema.get_field_index("keys_per_min")
    values = table["keys_per_min"].to_pylist()
    values[7] = (values[7] or 0.0) + 1.0
    pq.write_table(table.set_column(position, "keys_per_min", pa.array(values, type=table.schema.field(position).type)), path)
    with pytest.raises(SnapshotError, match=snapshot.dataset_hash):
        reproduce(home, folder_of(made))


def test_a_snapshot_that_is_damaged_is_an_error(made: Made) -> None:
    home, snapshot, _ = made
    (home.root / snapshot.path / "windows" / "part-000.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(SnapshotError):
        reproduce(home, folder_of(made))


def test_a_bundle_of_another_program_is_an_error_that_says_it_is_not_ours(made: Made) -> None:
    folder = write_tiny_bundle(made[0].models / "foreign")
    with pytest.raises(BundleError) as caught:
        reproduce(made[0], folder)
    assert caught.value.code == "recipe"


@pytest.mark.parametrize("key", ["config", "params", "snapshot_path", "dataset_digest"])
@pytest.mark.parametrize("value", ["missing", 5])
def test_metadata_without_what_training_again_needs_is_an_error(made: Made, key: str, value: object) -> None:
    changes = {} if value == "missing" else {key: value}
    edit_json(folder_of(made) / METADATA, changes, without=key if value == "missing" else None)
    with pytest.raises(BundleError) as caught:
        reproduce(made[0], folder_of(made))
    assert caught.value.code == "recipe"


@pytest.mark.parametrize(
    "changes",
    [{"config": {}}, {"params": {}}, {"params": {"num_threads": "many"}}, {"config": {"train_params": {}, "reject_threshold": {}}}],
    ids=["no settings", "no params", "threads in words", "empty sections"],
)
def test_metadata_with_half_of_what_training_again_needs_is_an_error(made: Made, changes: dict[str, object]) -> None:
    edit_json(folder_of(made) / METADATA, changes)
    with pytest.raises(BundleError) as caught:
        reproduce(made[0], folder_of(made))
    assert caught.value.code == "recipe"


@pytest.mark.parametrize("name", [MODEL, METADATA])
def test_a_bundle_that_does_not_load_is_an_error(made: Made, name: str) -> None:
    (folder_of(made) / name).unlink()
    with pytest.raises(BundleError, match=name):
        reproduce(made[0], folder_of(made))


def test_hashes_of_training_rows_are_not_needed_to_train_again(made: Made) -> None:
    (folder_of(made) / TRAINING_ROWS).unlink()
    assert reproduce(made[0], folder_of(made)).same


# --- When -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "windows", "wanted"),
    [
        ("auto", 1, True),
        ("auto", 199_999, True),
        ("auto", 200_000, False),
        ("auto", 10_000_000, False),
        (True, 199_999, True),
        (True, 200_000, True),
        (True, 10_000_000, True),
        (False, 1, False),
        (False, 200_000, False),
    ],
)
def test_a_proof_is_wanted_below_200_000_windows_or_as_the_setting_says(setting: object, windows: int, wanted: bool) -> None:
    assert PROVE_BELOW_WINDOWS == 200_000
    assert is_proof_wanted(setting, windows=windows) is wanted


@pytest.mark.parametrize(("setting", "status"), [(True, "PASS"), ("auto", "PASS"), (False, "NOT_APPLICABLE")])
def test_the_report_of_a_challenger_has_the_proof_where_it_is_wanted(made: Made, setting: object, status: str) -> None:
    home, snapshot, challenger = made
    config = retrain_config(train_params=FAST, min_class_windows=10, prove_reproducible=setting)
    report = report_challenger(home, snapshot, challenger, config=config, num_threads=1)
    assert (report.reproduction is not None) == (status == "PASS")
    assert gate_on(report.reproduction)[0] == status
    assert next(gate.status for gate in report.gates.gates if gate.name == "reproducible") == status


def test_the_report_of_a_challenger_that_does_not_come_out_the_same_fails_its_gate(made: Made) -> None:
    home, snapshot, challenger = made
    change_a_leaf(folder_of(made))
    name_the_trees(folder_of(made))
    challenger = challenger.model_copy(update={"files": bundle_hashes(folder_of(made))})
    report = report_challenger(home, snapshot, challenger, config=CONFIG, num_threads=1)
    gate = next(gate for gate in report.gates.gates if gate.name == "reproducible")
    assert (gate.status, gate.observed, gate.threshold) == ("FAIL", 0.0, 1.0)
    assert "trees and predictions differ" in gate.detail
    assert report.report is not None  # scored all the same
