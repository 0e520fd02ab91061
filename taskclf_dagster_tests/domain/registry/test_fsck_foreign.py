"""Files that file managers and other programs leave in our folders: they count for nothing, and fsck mentions them once."""

from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import TRAINING_ROWS, read_bundle_files
from taskclf_dagster.domain.registry.applied_decisions import put_aside
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD
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
