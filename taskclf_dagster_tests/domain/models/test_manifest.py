"""MANIFEST.json and what it shows: a bundle in models/ that is not what was promoted is named, and is never promoted or gone back to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import (
    CONFUSION,
    ENCODERS,
    MANIFEST,
    METADATA,
    METRICS,
    MODEL,
    OUT_OF_FOLD,
    TRAINING_ROWS,
    read_bundle_files,
)
from taskclf_dagster.domain.models.challenger import next_model_id
from taskclf_dagster.domain.models.manifest import build_manifest, find_manifest_problem, read_manifest
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.health import find_model_problem
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.errors import BundleError, BundleErrorCode, DecisionNotVerifiedError, RegistryRefusedError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.damaged_bundles import ONE_EACH
from taskclf_dagster_tests.masking import masked
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    a_decision,
    change_a_leaf,
    contents,
    edit_json,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import damage, promote, promoted, read
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home, retrain_config

FILES = (MODEL, METADATA, METRICS, CONFUSION, ENCODERS, TRAINING_ROWS, OUT_OF_FOLD)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """OLD ran, MID runs; both were promoted."""
    return promoted(make_home(tmp_path), OLD, MID)


@pytest.fixture
def folder(home: Home) -> Path:
    return home.models / MID


# --- The manifest itself ------------------------------------------------------------------------------------------------------------


def test_a_manifest_describes_every_file_but_itself(folder: Path) -> None:
    manifest = build_manifest(read_bundle_files(folder), decision_id="d")
    assert set(manifest.files) == set(FILES)
    assert manifest.files[MODEL].size == (folder / MODEL).stat().st_size
    assert manifest.files[MODEL].sha256 == hash_file(folder / MODEL)
    assert (manifest.model_id, manifest.decision_id) == (MID, "d")


def test_a_promoted_bundle_has_a_manifest_without_problems(home: Home, folder: Path) -> None:
    assert read_manifest(read_bundle_files(folder)).model_id == MID
    assert find_manifest_problem(read_bundle_files(folder)) is None
    assert find_model_problem(read_registry_state(home), f"models/{MID}") is None


def test_a_bundle_without_a_manifest_has_nothing_to_differ_from_and_is_loaded(home: Home, folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert read_manifest(read_bundle_files(folder)) is None
    assert find_model_problem(read_registry_state(home), f"models/{MID}") is None
    change_a_leaf(folder)
    assert find_manifest_problem(read_bundle_files(folder)) is None
    assert find_model_problem(read_registry_state(home), f"models/{MID}").code == "artifact_hash"


DAMAGED_MANIFESTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_text("", encoding="utf-8"), MANIFEST),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-20]), MANIFEST),
    "an array": (lambda path: path.write_text("[]", encoding="utf-8"), MANIFEST),
    "a folder": (lambda path: [path.unlink(), path.mkdir()], MANIFEST),
    "without files": (lambda path: edit_json(path, {}, without="files"), "files"),
    "with a size that is none": (lambda path: edit_json(path, {"files": {MODEL: {"sha256": "0", "size": "big"}}}), "files.model.txt.size"),
    "of another model": (lambda path: edit_json(path, {"model_id": OLD}), OLD),
    "of an unknown version": (lambda path: edit_json(path, {"version": 2}), "version"),
    "of no file": (lambda path: edit_json(path, {"files": {}}), MODEL),
}


@pytest.mark.parametrize(("harm", "name"), DAMAGED_MANIFESTS.values(), ids=DAMAGED_MANIFESTS.keys())
def test_a_damaged_manifest_is_a_problem_of_its_bundle(home: Home, folder: Path, harm: Callable[[Path], object], name: str) -> None:
    harm(folder / MANIFEST)
    problem = find_model_problem(read_registry_state(home), f"models/{MID}")
    assert problem is not None
    assert (problem.code, name in problem.detail) == ("manifest", True)
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_reading_a_damaged_manifest_says_where_it_lies_and_what_to_do(folder: Path, snapshot: SnapshotAssertion) -> None:
    (folder / MANIFEST).write_text("{}", encoding="utf-8")
    with pytest.raises(UnreadableFileError) as caught:
        read_manifest(read_bundle_files(folder))
    assert masked(caught.value, folder) == snapshot


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named(home: Home, folder: Path, name: str) -> None:
    (folder / name).unlink()
    problem = find_model_problem(read_registry_state(home), f"models/{MID}")
    assert (problem.code, name in problem.detail) == ("manifest", True)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_other_bytes_of_the_same_size_is_named(home: Home, folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    problem = find_model_problem(read_registry_state(home), f"models/{MID}")
    assert (problem.code, name in problem.detail) == ("manifest", True)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_size_is_named(home: Home, folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    problem = find_model_problem(read_registry_state(home), f"models/{MID}")
    assert (problem.code, name in problem.detail) == ("manifest", True)


def test_a_file_that_the_manifest_does_not_name_is_no_problem(home: Home, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert find_model_problem(read_registry_state(home), f"models/{MID}") is None


def test_a_bundle_under_another_name_is_a_problem(home: Home) -> None:
    shutil.copytree(home.models / MID, home.models / NEW)
    problem = find_model_problem(read_registry_state(home), f"models/{NEW}")
    assert (problem.code, MID in problem.detail) == ("manifest", True)


def test_a_bundle_that_differs_from_its_manifest_is_damage_and_gives_way_to_the_last_known_good(home: Home, folder: Path) -> None:
    change_a_leaf(folder)
    assert ("P2", "bundle_differs_from_manifest") in damage(home)
    assert resolve_active_model(read_registry_state(home)).model_dir == f"models/{OLD}"


# --- Bundles that nothing may run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ONE_EACH)
def test_a_broken_challenger_is_refused_and_stays_where_it_lies(home: Home, code: BundleErrorCode) -> None:
    ONE_EACH[code](write_tiny_bundle(home.challengers / NEW))
    decision = a_decision(home)
    before = contents(home.root)
    with pytest.raises(DecisionNotVerifiedError):
        promote(home, decision, at=AT + 9 * DAY)
    assert contents(home.root) == before


@pytest.mark.parametrize("code", ONE_EACH)
def test_a_broken_bundle_with_a_manifest_made_for_it_is_named_and_not_gone_back_to(home: Home, code: BundleErrorCode) -> None:
    # As one that an earlier version of this program promoted.
    folder = home.models / OLD
    ONE_EACH[code](folder)
    document = build_manifest(read_bundle_files(folder), decision_id="d").model_dump(mode="json")
    (folder / MANIFEST).write_text(json.dumps(document), encoding="utf-8")
    assert find_model_problem(read_registry_state(home), f"models/{OLD}") is not None
    before = contents(home.root)
    with pytest.raises(RegistryRefusedError):
        rollback(home, to=OLD, reason="worse", at=AT + 9 * DAY)
    assert contents(home.root) == before


# --- Names --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["challengers", "models", "pending_models", "rejected_models"])
def test_two_bundles_made_in_one_second_get_different_ids(tmp_path: Path, where: str) -> None:
    home = make_home(tmp_path)
    config, digest = retrain_config(), "0123456789abcdef" * 4
    first = next_model_id(home, AS_OF, digest, config.policy)
    write_tiny_bundle(getattr(home, where) / first)
    second = next_model_id(home, AS_OF, digest, config.policy)
    write_tiny_bundle(getattr(home, where) / second)
    third = next_model_id(home, AS_OF, digest, config.policy)
    assert len({first, second, third}) == 3
    assert all(model_id.startswith("2026-02-04_000000_run-") for model_id in (first, second, third))
    assert read(getattr(home, where) / second / METADATA)["model_id"] == second


def test_the_number_behind_the_last_is_the_first(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    config = retrain_config()
    digest = next(f"{i:064x}" for i in range(100_000) if next_model_id(home, AS_OF, f"{i:064x}", config.policy).endswith("9999"))
    write_tiny_bundle(home.challengers / next_model_id(home, AS_OF, digest, config.policy))
    assert next_model_id(home, AS_OF, digest, config.policy) == "2026-02-04_000000_run-0000"
