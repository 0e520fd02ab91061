"""Files that cannot be read are reported by name, and a repair keeps them aside and writes again what follows from other files."""

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.health import find_history_problem
from taskclf_dagster.domain.registry.history import append_active_history, read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.index_cache import read_index_cache
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.ranking import list_bundles
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock
from taskclf_dagster.errors import DecisionNotVerifiedError, LockFileError, RegistryRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.hostile import nested
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, edit_json
from taskclf_dagster_tests.registry_scenario import NEXT, damage, judged, promote, promoted
from taskclf_dagster_tests.scenario import DAY, make_home

LATER = AT + 9 * DAY
DEEP = nested(700)
OURS = {
    "the last decided run": "artifacts/decisions/last_decided.json",
    "the index": "models/index.json",
    "the holder of the run lock": "artifacts/retrain_under_way.json",
    "the state of delivery": "artifacts/outbox/delivery.json",
    "the last reported decision": "artifacts/outbox/reported_decision.json",
    "the latest record of an asset": "artifacts/records/dataset_snapshot/latest.json",
    "an event that nothing follows from": "artifacts/outbox/run-started.json",
}


@pytest.fixture
def three(tmp_path: Path) -> Home:
    """OLD, MID and NEW were promoted in this order."""
    return promoted(make_home(tmp_path), OLD, MID, NEW)


@pytest.mark.parametrize("name", OURS.values(), ids=OURS.keys())
def test_a_file_that_cannot_be_read_is_a_finding_and_a_repair_keeps_it_aside(three: Home, name: str) -> None:
    path = three.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DEEP)
    assert [(finding.code, name in finding.detail) for finding in check_registry(three)] == [("file_unreadable", True)]
    assert ("file_kept", True) in {(step.kind, name in step.detail) for step in repair(three, at=LATER).done}
    assert path.with_suffix(".damaged").read_bytes() == DEEP
    assert check_registry(three) == []
    assert read_last_decided(three) is None


def test_an_index_and_an_event_of_a_change_are_written_again(three: Home) -> None:
    event = read_outbox(three).events[1]
    index = read_index_cache(three)
    for path in (three.index, three.outbox / f"{event.event_id}.json"):
        path.write_bytes(b"\xff")
    repair(three, at=LATER)
    assert event in read_outbox(three).events
    again = read_index_cache(three)
    assert index is not None
    assert again is not None
    assert again.ranked == index.ranked


@pytest.mark.parametrize("name", ["active_pointer", "inference_policy"])
def test_a_pointer_or_policy_that_cannot_be_read_is_kept_aside_when_it_is_restored(three: Home, name: str) -> None:
    path: Path = getattr(three, name)
    path.write_bytes(DEEP)
    done = repair(three, at=LATER).done
    assert ("file_kept", True) in {(step.kind, f"{path.stem}.damaged" in step.detail) for step in done}
    assert path.with_suffix(".damaged").read_bytes() == DEEP
    assert damage(three) == []
    active = read_active(three)
    assert active is not None
    assert active.name == NEW


def test_a_folder_in_the_place_of_the_pointer_is_moved_aside(three: Home) -> None:
    three.active_pointer.unlink()
    three.active_pointer.mkdir()
    repair(three, at=LATER)
    assert three.active_pointer.with_suffix(".damaged").is_dir()
    assert damage(three) == []


def test_a_check_goes_on_after_everything_that_cannot_be_read(three: Home) -> None:
    for folder in three.models.iterdir():
        for path in folder.glob("*.json") if folder.is_dir() else []:
            path.write_bytes(DEEP)
    for path in [*three.decisions.glob("*.json"), three.active_pointer, three.inference_policy, three.index]:
        path.write_bytes(DEEP)
    codes = {finding.code for finding in check_registry(three)}
    assert codes >= {
        "pointer_unusable",
        "policy_unusable",
        "bundle_differs_from_manifest",
        "promotion_without_receipt",
        "receipt_unreadable",
        "no_known_good_model",
        "file_unreadable",
    }


# --- Numbers and paths that a file makes up ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", [2**51, 2**51 + 1, 2**53 - 1, 2**62, -7])
def test_a_number_that_a_pointer_makes_up_leaves_numbers_for_later_records(three: Home, sequence: int) -> None:
    edit_json(three.active_pointer, {"sequence": sequence})
    repair(three, at=LATER)
    promote(three, judged(three, NEXT), at=LATER + DAY)
    assert damage(three) == []
    assert read_history(three).entries[-1].new == read_active(three)


@pytest.mark.parametrize("sequence", [2**52 + 1, 2**53, 10**15 * 5])
def test_a_line_whose_number_is_made_up_is_damage_and_the_numbers_go_on(three: Home, sequence: int) -> None:
    pointer = read_active(three)
    append_active_history(three, ActiveHistoryEntry(at=AT, old=pointer, new=pointer, action="acknowledge", sequence=sequence))
    assert list(read_history(three).problems) == [4]
    repair(three, at=LATER)
    assert [entry.sequence for entry in read_history(three).entries] == [1, 2, 3, 4]
    assert damage(three) == []


@pytest.mark.parametrize("at", [datetime(2026, 1, 1), datetime(1, 1, 1, tzinfo=UTC)], ids=["without a zone", "of the year 1"])  # noqa: DTZ001
def test_a_time_that_a_record_makes_up_stops_no_event(three: Home, at: datetime) -> None:
    pointer = read_active(three)
    append_active_history(three, ActiveHistoryEntry(at=at, old=pointer, new=pointer, action="adopt"))
    repair(three, at=LATER)
    assert len(read_outbox(three).events) == 4


PATHS = {"long": "models/" + "m" * 5_000, "many parts": "m/" * 2_500, "half a character": "models/\ud800x", "a null byte": "models/\0"}


@pytest.mark.parametrize("model_dir", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("name", ["active_pointer", "inference_policy"])
def test_a_model_dir_that_is_no_path_is_damage_that_a_repair_restores(three: Home, name: str, model_dir: str) -> None:
    edit_json(getattr(three, name), {"model_dir": model_dir})
    assert len(damage(three)) == 1
    repair(three, at=LATER)
    assert damage(three) == []
    state = read_registry_state(three)
    assert state.active_model_dir == f"models/{NEW}"


@pytest.mark.parametrize("model_dir", PATHS.values(), ids=PATHS.keys())
def test_a_history_line_whose_model_dir_is_no_path_stops_neither_check_nor_retention(three: Home, model_dir: str) -> None:
    pointer = read_active(three)
    assert pointer is not None
    line = ActiveHistoryEntry(
        at=AT, old=None, new=pointer.model_copy(update={"model_dir": model_dir.replace("\ud800", "?")}), action="adopt"
    )
    append_active_history(three, line)
    assert "bundle_missing" in {finding.code for finding in check_registry(three)}
    prune(three, keep_versions=1, keep_rejected=1, at=LATER)


FORGED: dict[str, Callable[[str], dict[str, object]]] = {
    "an id that is a path": lambda _: {"decision_id": "../../victim"},
    "an id of another decision": lambda other: {"decision_id": other},
    "a dataset outside": lambda _: {"dataset": {"path": "../../victim"}},
}


@pytest.mark.parametrize("name", FORGED)
def test_a_receipt_that_names_what_is_not_its_own_is_listed_as_damaged_and_retention_removes_nothing_else(three: Home, name: str) -> None:
    victim = three.root / "victim.json"
    victim.write_text("{}", encoding="utf-8")
    decisions, _ = list_decisions(three)
    path = three.decisions / f"{decisions[0].decision_id}.json"
    forged = FORGED[name](decisions[1].decision_id)
    if "dataset" in forged:
        forged = {"dataset": {**decisions[0].dataset.model_dump(mode="json"), "path": "../../victim"}}
    edit_json(path, forged)
    assert [receipt.path for receipt in list_decisions(three)[1]] == [path]
    before = {receipt.name for receipt in three.decisions.iterdir()}
    prune(three, keep_versions=1, keep_rejected=1, at=LATER)
    assert victim.exists()
    assert {receipt.name for receipt in three.decisions.iterdir()} == before


def test_a_history_that_is_a_folder_is_a_finding_stops_every_writer_but_a_repair_and_is_kept_aside_by_it(three: Home) -> None:
    decision = judged(three, NEXT)
    three.active_history.unlink()
    (three.active_history / "in it").mkdir(parents=True)
    assert ("P3", "history_unreadable") in damage(three)
    assert find_history_problem(read_registry_state(three)) is not None
    pointer = three.active_pointer.read_bytes()
    with pytest.raises(DecisionNotVerifiedError):
        promote(three, decision, at=LATER)
    with pytest.raises(RegistryRefusedError) as refused:
        rollback(three, to=OLD, reason="worse", at=LATER)
    assert (refused.value.kind, three.active_pointer.read_bytes()) == ("history_unreadable", pointer)
    done = repair(three, at=LATER).done
    assert [step.kind for step in done][:1] == ["file_kept"]
    assert (three.models / "active_history.damaged" / "in it").is_dir()
    assert three.active_history.is_file()
    assert damage(three) == []
    assert {bundle.model_id for bundle in list_bundles(three.models)} == {OLD, MID, NEW}
    active = read_active(three)
    assert active is not None
    assert active.name == NEW


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a folder with files": lambda path: (path / "x").mkdir(parents=True),
    "a link": lambda path: path.symlink_to(path.with_name("elsewhere")),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_a_lock_that_is_no_file_is_a_finding_and_an_error_that_names_it(three: Home, kind: str) -> None:
    for lock, take in {three.registry_lock: write_lock, three.retrain_lock: _run_lock}.items():
        lock.unlink(missing_ok=True)
        NO_FILES[kind](lock)
        with pytest.raises(LockFileError, match=re.escape(str(lock))), take(three):
            pytest.fail("no lock can be held")
        assert ("P4", "lock_unusable") in damage(three)
        lock.unlink() if lock.is_symlink() else shutil.rmtree(lock)
        with take(three):
            assert lock.is_file()


def _run_lock(home: Home) -> AbstractContextManager[None]:
    return hold_run_lock(home, RunLockHolder(run_id="a run", worker="a host", since=LATER), patience_seconds=0)
