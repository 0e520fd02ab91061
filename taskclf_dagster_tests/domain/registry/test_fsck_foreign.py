"""Files that file managers and other programs leave in our folders: they count for nothing, and fsck mentions them once."""

import shutil
from pathlib import Path

import pytest

from taskclf_dagster.domain.data.stored_frames import list_frames
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import METADATA, TRAINING_ROWS, read_bundle_files
from taskclf_dagster.domain.registry.applied_decisions import put_aside
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.ranking import find_best_model
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import plan_prune, prune
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, point_at, write_tiny_bundle
from taskclf_dagster_tests.registry_scenario import NEXT, approve, judged, promoted
from taskclf_dagster_tests.scenario import DAY, make_home

LEFT = ("Thumbs.db", "desktop.ini", ".DS_Store", "._metadata.json", "metrics (1).json", "model.txt~", "metadata.json.sync-conflict")


COPIES = ("._{}.json", "Copy of {}.json", "{} (1).json", "{} - Copy.json", "{} (2).txt")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with three promoted models and one that awaits approval, all of which a file manager has looked at."""
    home = promoted(make_home(tmp_path), OLD, MID, NEW)
    decision = judged(home, NEXT, auto_promote=False)
    put_aside(home, decision)
    receipt = (home.decisions / f"{decision.decision_id}.json").read_bytes()
    for folder in (home.models, home.decisions, *home.models.glob("2026-*"), home.pending_models / NEXT):
        for name in LEFT:
            (folder / name).write_bytes(b"")
    for name in COPIES:
        (home.decisions / name.format(decision.decision_id)).write_bytes(receipt)
    (home.models / "@eaDir").mkdir()
    (home.models / "@eaDir" / "model.txt@SynoEAStream").write_bytes(b"x")
    return home


def waiting(home: Home) -> PromotionDecision:
    return next(decision for decision in list_decisions(home)[0] if decision.verdict == "AWAITING_APPROVAL")


def test_they_are_one_finding_that_is_no_damage(home: Home) -> None:
    found = check_registry(home)
    assert [(finding.code, finding.severity) for finding in found] == [("foreign_files", "warning")]
    assert "artifacts/decisions/" in found[0].detail


def test_they_are_counted_and_the_first_are_named(home: Home) -> None:
    (finding,) = check_registry(home)
    bundles_and_folders = 3 + 1 + 2
    assert f"and {len(LEFT) * bundles_and_folders + len(COPIES) + 1 - 5} more" in finding.detail


def test_a_model_beside_them_loads_runs_is_rolled_back_to_and_is_promoted(home: Home) -> None:
    load_bundle(home.models / MID)
    assert repair(home, at=AT + 8 * DAY).done == []
    assert list_decisions(home)[1] == []
    approve(home, waiting(home).decision_id, at=AT + 9 * DAY)
    assert read_active(home).name == NEXT
    rollback(home, to=MID, reason="worse", at=AT + 10 * DAY)
    assert read_active(home).name == MID
    assert {finding.code for finding in check_registry(home)} == {"foreign_files"}


def test_what_is_promoted_leaves_them_behind(home: Home) -> None:
    approve(home, waiting(home).decision_id, at=AT + 9 * DAY)
    assert not {path.name for path in (home.models / NEXT).iterdir()}.intersection(LEFT)


@pytest.mark.parametrize("name", ["{} - Copy", "Copy of {}", "{} (1)"])
def test_a_copy_of_a_bundle_is_one_finding_that_names_the_bundle_and_is_no_damage(tmp_path: Path, name: str) -> None:
    home = promoted(make_home(tmp_path), OLD, MID)
    write_tiny_bundle(home.models / "foreign")
    for original in (OLD, "foreign"):
        shutil.copytree(home.models / original, home.models / name.format(original))
    (home.models / name.format(OLD) / METADATA).write_text("{", encoding="utf-8")
    found = {finding.detail.split(" is a copy of ")[0]: finding for finding in check_registry(home)}
    assert {finding.code for finding in found.values()} == {"bundle_copied"}
    assert found.keys() == {name.format(OLD), name.format("foreign")}
    assert f"copy of {OLD}" in found[name.format(OLD)].detail


def test_a_copy_that_runs_is_checked_as_a_bundle(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD)
    shutil.copytree(home.models / OLD, home.models / f"{OLD} - Copy")
    point_at(home, f"{OLD} - Copy")
    assert "bundle_copied" not in {finding.code for finding in check_registry(home)}


def test_a_folder_of_a_person_among_the_models_is_no_model_and_mentioned_once(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD)
    (home.models / "New folder").mkdir()
    (home.models / "New folder" / "notes.txt").write_text("mine", encoding="utf-8")
    assert [(finding.code, "New folder" in finding.detail) for finding in check_registry(home)] == [("foreign_files", True)]
    (excluded,) = find_best_model(home.models).excluded
    assert excluded.model_id == "New folder"
    assert "no model" in excluded.reason


PLACES = {
    "outbox": "artifacts/outbox",
    "labeled windows": "artifacts/labeled_windows",
    "snapshots": "artifacts/snapshots",
    "a snapshot": "artifacts/snapshots/1a963156a3de73d5",
    "predictions": "artifacts/predictions",
    "predictions of a snapshot": "artifacts/predictions/0a963156a3de73d5",
    "records": "artifacts/records",
    "records of an asset": "artifacts/records/challenger_model",
    "challengers": "artifacts/challengers",
    "pending": "artifacts/pending_models",
    "rejected": "artifacts/rejected_models",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_what_file_managers_leave_beside_data_of_ours_is_mentioned_and_disturbs_no_reader(tmp_path: Path, place: str) -> None:
    home = promoted(make_home(tmp_path), OLD)
    folder = home.root / place
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Thumbs.db", ".DS_Store", "._0a963156a3de73d5.json", "._0a963156a3de73d5.arrow"):
        (folder / name).write_bytes(b"x")
    (finding,) = check_registry(home)
    assert finding.code == "foreign_files"
    assert finding.detail.count(place) == 4
    assert (read_outbox(home).damaged, list_frames(home.labeled_windows)) == ({}, [])
    plan = plan_prune(home, keep_versions=9, keep_rejected=0, at=AT + 300 * DAY)
    assert not any(Path(item.path).name.startswith((".", "Thumbs")) for item in plan.remove)


@pytest.mark.parametrize("place", ["snapshots", "predictions", "rejected_models", "pending_models", "challengers"])
def test_retention_keeps_a_folder_of_a_person(home: Home, place: str) -> None:
    mine = home.artifacts / place / "New folder"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine", encoding="utf-8")
    prune(home, keep_versions=0, keep_rejected=0, at=AT + 300 * DAY)
    assert (mine / "notes.txt").exists()


def test_retention_removes_none_of_them_but_those_within_a_bundle_that_goes(home: Home) -> None:
    for folder in (home.snapshots, home.predictions, home.rejected_models):
        (folder / ".hidden").mkdir(parents=True)
        (folder / "Thumbs.db").write_bytes(b"")
    prune(home, keep_versions=0, keep_rejected=0, at=AT + 300 * DAY)
    assert not (home.models / OLD).exists()
    assert (home.models / "@eaDir").exists()
    assert all((home.models / name).exists() and (home.decisions / name).exists() for name in LEFT)
    assert all((folder / ".hidden").exists() and (folder / "Thumbs.db").exists() for folder in (home.snapshots, home.predictions))


def test_a_file_that_counts_in_every_bundle_is_a_change_where_no_receipt_names_it(home: Home) -> None:
    files = read_bundle_files(home.models / OLD)
    expected = {name: digest for name, digest in files.hashes().items() if name != TRAINING_ROWS}
    (home.models / OLD / TRAINING_ROWS).write_bytes(b"other rows")
    assert read_bundle_files(home.models / OLD).find_changed(expected) == [TRAINING_ROWS]
    assert read_bundle_files(home.models / OLD).find_changed({**expected, "Thumbs.db": "0" * 64}) == ["Thumbs.db", TRAINING_ROWS]
