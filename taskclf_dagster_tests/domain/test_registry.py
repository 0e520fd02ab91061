"""The registry: what taskclf runs, found without writing and changed only by a decision that holds."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from taskclf_dagster.domain import registry
from taskclf_dagster.domain.bundle import ENCODERS, METADATA, METRICS, MODEL, bundle_hashes, load_bundle
from taskclf_dagster.domain.champion import find_history_disagreement, find_pointer_problem, resolve_active_model
from taskclf_dagster.domain.decision import PromotionDecision, seal, verify_decision
from taskclf_dagster.domain.encoding import encode_inputs
from taskclf_dagster.domain.features import SCHEMAS
from taskclf_dagster.domain.files import file_hash
from taskclf_dagster.domain.registry import (
    ActiveHistoryEntry,
    ActivePointer,
    append_active_history,
    find_bundle,
    is_applied,
    pointer_state,
    promote,
    put_aside,
    read_active,
    read_history,
    require_bundle,
    resolve_model_dir,
    write_active_atomic,
)
from taskclf_dagster.domain.training import predict
from taskclf_dagster.errors import BundleError, DecisionNotVerifiedError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    AT,
    INCOMPATIBLE,
    INVALID,
    MID,
    NEW,
    OLD,
    a_decision,
    all_gates,
    change_a_leaf,
    contents,
    copy_real_home,
    edit_json,
    home_with_champion,
    infeasible,
    point_at,
    pointer_to,
    rows_of,
    tiny_model,
    write_history,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.scenario import make_home

BROKEN_POINTERS = {
    "empty": "",
    "truncated": json.dumps(pointer_to(MID))[:40],
    "an array": "[]",
    "null": "null",
    "without model_dir": json.dumps({"selected_at": "2026-01-20T06:00:00+00:00", "policy_version": 1}),
    "of another policy version": json.dumps(pointer_to(MID, policy_version=2)),
    "without a time": json.dumps(pointer_to(MID, selected_at="lately")),
    "nested too deep": "[" * 100_000,
}
LEAVING = {
    "up": "../elsewhere/evil",
    "up from within": "models/../../elsewhere/evil",
    "absolute": "{outside}/evil",
    "a link": "models/link",
    "a link on the way": "linked/evil",
    "a circle of links": "models/circle",
    "no path at all": "models/a\0b",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def champion_home(home: Home) -> Home:
    """MID runs, OLD ran before."""
    return home_with_champion(home)


@pytest.fixture
def challenger_home(champion_home: Home) -> Home:
    """The same, and NEW has been built and judged."""
    write_tiny_bundle(champion_home.challengers / NEW)
    return champion_home


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """When every file and folder was changed last, and which one it is."""
    return {str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in folder.rglob("*")}


def read(path: Path) -> dict[str, object]:
    return json.loads(path.read_text(encoding="utf-8"))


def history_lines(home: Home) -> list[dict[str, object]]:
    return [json.loads(line) for line in home.active_history.read_text(encoding="utf-8").splitlines()]


# --- The pointer ------------------------------------------------------------------------------------------------------------------


def test_a_home_without_a_pointer_has_none(home: Home) -> None:
    assert read_active(home) is None


def test_a_pointer_of_taskclf_is_read_with_keys_that_are_not_known(home: Home) -> None:
    point_at(home, MID, colour="blue")
    found = read_active(home)
    assert (found.model_dir, found.model_id, found.policy_version) == (f"models/{MID}", MID, 1)
    assert found.selected_at == datetime.fromisoformat("2026-01-20T06:00:00+00:00")
    assert found.model_extra == {"colour": "blue"}


def test_a_pointer_of_the_required_keys_alone_is_one(home: Home) -> None:
    home.models.mkdir()
    document = {"model_dir": "models/x", "selected_at": "2026-01-20T06:00:00+00:00", "policy_version": 1}
    home.active_pointer.write_text(json.dumps(document), encoding="utf-8")
    assert (read_active(home).model_dir, read_active(home).model_id) == ("models/x", None)


@pytest.mark.parametrize("text", BROKEN_POINTERS.values(), ids=BROKEN_POINTERS.keys())
def test_a_broken_pointer_is_told_with_its_path(home: Home, text: str) -> None:
    home.models.mkdir()
    home.active_pointer.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"active\.json cannot be read"):
        read_active(home)


def test_a_written_pointer_is_read_back_and_has_no_keys_without_a_value(home: Home) -> None:
    pointer = ActivePointer(model_dir="models/x", selected_at=AT, policy_version=1, note="mine")
    write_active_atomic(home, pointer)
    assert read_active(home) == pointer
    assert set(read(home.active_pointer)) == {"model_dir", "selected_at", "policy_version", "note"}


def test_a_model_dir_within_the_home_is_resolved(champion_home: Home) -> None:
    assert resolve_model_dir(champion_home, f"models/{MID}") == (champion_home.models / MID).resolve()


def test_a_home_that_is_itself_a_link_is_no_way_out(champion_home: Home, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(champion_home.root, target_is_directory=True)
    assert resolve_active_model(Home(tmp_path / "alias")).state == "ok"


def set_traps(home: Home, outside: Path) -> None:
    """Whole bundles outside the home, and links to them from within."""
    write_tiny_bundle(outside / "evil")
    shutil.copytree(outside / "evil", home.root.parent / "elsewhere" / "evil", dirs_exist_ok=True)
    home.models.mkdir(exist_ok=True)
    (home.models / "link").symlink_to(outside / "evil", target_is_directory=True)
    (home.root / "linked").symlink_to(outside, target_is_directory=True)
    (home.models / "circle").symlink_to(home.models / "circle")


@pytest.mark.parametrize("name", [name for name in LEAVING if name != "a circle of links"])
def test_a_model_dir_that_leaves_the_home_is_refused(home: Home, tmp_path: Path, name: str) -> None:
    set_traps(home, tmp_path / "outside")
    with pytest.raises(BundleError, match="invalid: "):
        resolve_model_dir(home, LEAVING[name].format(outside=tmp_path / "outside"))


@pytest.mark.parametrize("model_dir", ["models/detour/../{model}", "models/../models/{model}", "{root}/models/{model}"])
def test_a_model_dir_that_takes_a_detour_or_is_absolute_is_refused_even_where_it_ends_within(champion_home: Home, model_dir: str) -> None:
    with pytest.raises(BundleError, match="must stay within the home"):
        resolve_model_dir(champion_home, model_dir.format(root=champion_home.root, model=MID))


@pytest.mark.parametrize("by", ["pointer", "policy"])
@pytest.mark.parametrize("model_dir", LEAVING.values(), ids=LEAVING.keys())
def test_a_champion_outside_the_home_is_unreadable_whoever_names_it(home: Home, tmp_path: Path, model_dir: str, by: str) -> None:
    set_traps(home, tmp_path / "outside")
    path = model_dir.format(outside=tmp_path / "outside")
    if by == "pointer":
        point_at(home, MID, model_dir=path)
    else:
        write_policy(home, MID, model_dir=path)
    found = resolve_active_model(home)
    assert (found.state, found.source, found.model) == ("unreadable", by, None)


def test_a_history_that_leaves_the_home_is_passed_over(champion_home: Home, tmp_path: Path) -> None:
    set_traps(champion_home, tmp_path / "outside")
    (champion_home.models / MID / MODEL).unlink()
    outwards = ActivePointer(model_dir="models/link", selected_at=AT, policy_version=1)
    append_active_history(champion_home, ActiveHistoryEntry(at=AT, old=None, new=outwards))
    found = resolve_active_model(champion_home)
    assert (found.source, found.model_dir) == ("last_known_good", f"models/{OLD}")


def test_the_best_by_rank_is_never_one_outside_the_home(home: Home, tmp_path: Path) -> None:
    set_traps(home, tmp_path / "outside")
    found = resolve_active_model(home)
    assert (found.state, found.model) == ("none", None)


# --- Who the champion is ----------------------------------------------------------------------------------------------------------


def test_a_fresh_home_has_no_champion(home: Home) -> None:
    found = resolve_active_model(home)
    assert (found.state, found.source, found.model, found.model_dir, found.warnings) == ("none", "none", None, None, [])
    assert contents(home.root) == {}


def test_the_pointer_names_the_champion(champion_home: Home) -> None:
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model_dir, found.warnings) == ("ok", "pointer", f"models/{MID}", [])
    assert found.model.bundle.model_id == MID
    assert found.model.reject_threshold == tiny_model().reject.value


def test_a_pointer_set_back_by_hand_is_followed_whatever_the_stored_scores(champion_home: Home) -> None:
    edit_json(champion_home.models / MID / METRICS, {"macro_f1": 0.99})
    point_at(champion_home, OLD)
    assert resolve_active_model(champion_home).model_dir == f"models/{OLD}"


def test_a_synthetic_bundle_that_the_pointer_names_is_what_taskclf_runs(champion_home: Home) -> None:
    edit_json(champion_home.models / MID / METADATA, {"data_provenance": "synthetic"})
    assert resolve_active_model(champion_home).model_dir == f"models/{MID}"


def test_a_champion_of_another_schema_version_is_loaded_with_its_own(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / "v3", version="v3")
    point_at(champion_home, "v3")
    found = resolve_active_model(champion_home)
    assert (found.state, found.model.schema.version, found.model.booster.num_feature()) == ("ok", "v3", 299)


def test_the_inference_policy_comes_before_the_pointer(champion_home: Home) -> None:
    write_policy(champion_home, OLD)
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model_dir) == ("ok", "policy", f"models/{OLD}")
    assert f"inference_policy.json names models/{OLD}, active.json names models/{MID}: taskclf runs the first" in found.warnings


def test_a_policy_that_agrees_with_the_pointer_warns_of_nothing(champion_home: Home) -> None:
    write_policy(champion_home, MID, calibration_method=None, reject_threshold=None)
    found = resolve_active_model(champion_home)
    assert (found.source, found.model_dir, found.warnings) == ("policy", f"models/{MID}", [])


@pytest.mark.parametrize(("threshold", "used"), [(0.9, 0.9), (0, 0.0), (1.5, None), ("high", None), (None, None)])
def test_the_champion_has_the_policys_reject_threshold_where_it_is_one(champion_home: Home, threshold: object, used: float | None) -> None:
    own = load_bundle(champion_home.models / MID).reject_threshold
    write_policy(champion_home, MID, calibration_method=None, reject_threshold=threshold)
    found = resolve_active_model(champion_home)
    assert found.model is not None
    assert found.model.reject_threshold == (own if used is None else used)
    assert len(found.warnings) == (0 if used is None else 1)


def test_a_history_of_models_that_do_not_load_is_never_taken_for_no_champion(champion_home: Home) -> None:
    champion_home.active_pointer.unlink()
    for folder in champion_home.models.iterdir():
        if folder.is_dir():
            (folder / "model.txt").unlink()
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model) == ("unreadable", "last_known_good", None)


def test_a_promotion_whose_pointer_cannot_be_written_leaves_everything_as_it_was(
    challenger_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(home: Home, pointer: ActivePointer) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(home.active_pointer))

    write_policy(challenger_home, MID)
    decision = a_decision(challenger_home)
    before = contents(challenger_home.root)
    monkeypatch.setattr(registry, "write_active_atomic", disk_full)
    with pytest.raises(OSError, match="No space left"):
        promote(challenger_home, decision, at=datetime(2026, 2, 4, tzinfo=UTC))
    after = contents(challenger_home.root)
    assert {name: content for name, content in after.items() if not name.endswith(".lock")} == before
    monkeypatch.undo()
    promote(challenger_home, decision, at=datetime(2026, 2, 4, tzinfo=UTC))
    assert is_applied(challenger_home, decision)


def test_a_policy_serves_without_any_pointer(champion_home: Home) -> None:
    champion_home.active_pointer.unlink()
    write_policy(champion_home, OLD)
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model_dir) == ("ok", "policy", f"models/{OLD}")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"model_dir": 5}', '{"model_dir": null}', "[" * 100_000])
def test_a_damaged_policy_gives_way_to_the_pointer_with_a_warning(champion_home: Home, text: str) -> None:
    champion_home.inference_policy.write_text(text, encoding="utf-8")
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model_dir) == ("ok", "pointer", f"models/{MID}")
    (warning,) = found.warnings
    assert "inference_policy.json" in warning
    assert "active pointer is used" in warning


def test_a_policy_whose_model_is_broken_falls_back_to_the_history(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / NEW)
    (champion_home.models / NEW / MODEL).unlink()
    write_policy(champion_home, NEW)
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model_dir) == ("ok", "last_known_good", f"models/{MID}")
    assert any("missing model.txt" in warning for warning in found.warnings)


@pytest.mark.parametrize("name", sorted(INVALID))
def test_a_damaged_champion_without_history_is_unreadable_and_no_other_bundle_takes_its_place(home: Home, name: str) -> None:
    damage, reason = INVALID[name]
    damage(write_tiny_bundle(home.models / MID))
    write_tiny_bundle(home.models / OLD, metrics={"macro_f1": 0.99})
    point_at(home, MID)
    found = resolve_active_model(home)
    assert (found.state, found.source, found.model, found.model_dir) == ("unreadable", "pointer", None, f"models/{MID}")
    assert reason in found.reason
    assert any(found.reason in warning for warning in found.warnings)


@pytest.mark.parametrize("name", sorted(INCOMPATIBLE))
def test_an_incompatible_champion_without_history_is_told_apart(home: Home, name: str) -> None:
    damage, reason = INCOMPATIBLE[name]
    damage(write_tiny_bundle(home.models / MID))
    write_tiny_bundle(home.models / OLD, metrics={"macro_f1": 0.99})
    point_at(home, MID)
    found = resolve_active_model(home)
    assert (found.state, found.source, found.model, found.reason) == ("incompatible", "pointer", None, reason)


ONLY_WHEN_LOADED: dict[str, tuple[Callable[[Path], object], str]] = {
    "encoders lack a column": (lambda folder: edit_json(folder / ENCODERS, {}, without="app_id"), "lacks app_id"),
    "another model": (change_a_leaf, MODEL),
}


@pytest.mark.parametrize(("damage", "reason"), ONLY_WHEN_LOADED.values(), ids=ONLY_WHEN_LOADED.keys())
def test_damage_that_only_loading_shows_makes_a_champion_unreadable(home: Home, damage: Callable[[Path], object], reason: str) -> None:
    damage(write_tiny_bundle(home.models / MID))
    point_at(home, MID)
    found = resolve_active_model(home)
    assert (found.state, found.model) == ("unreadable", None)
    assert reason in found.reason


def test_a_v3_model_with_v1_metadata_is_an_incompatible_champion(home: Home) -> None:
    bundle = write_tiny_bundle(home.models / MID, version="v3", metadata={"schema_version": "v1", "schema_hash": "4077fe0dba70"})
    edit_json(bundle / ENCODERS, {"user_id": ["__unknown__"]})
    point_at(home, MID)
    assert resolve_active_model(home).state == "incompatible"


@pytest.mark.parametrize("name", sorted(INVALID | INCOMPATIBLE))
def test_a_broken_champion_gives_way_to_the_last_known_good_of_the_history(champion_home: Home, name: str) -> None:
    damage, reason = (INVALID | INCOMPATIBLE)[name]
    damage(champion_home.models / MID)
    write_tiny_bundle(champion_home.models / NEW, metrics={"macro_f1": 0.99})
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model_dir) == ("ok", "last_known_good", f"models/{OLD}")
    assert found.model.bundle.model_id == OLD
    (warning,) = found.warnings
    assert reason in warning
    assert "last known good" in warning


def test_a_champion_whose_folder_is_gone_gives_way_to_the_history(champion_home: Home) -> None:
    shutil.rmtree(champion_home.models / MID)
    found = resolve_active_model(champion_home)
    assert (found.source, found.model_dir) == ("last_known_good", f"models/{OLD}")


@pytest.mark.parametrize("text", BROKEN_POINTERS.values(), ids=BROKEN_POINTERS.keys())
def test_a_broken_pointer_gives_way_to_the_last_of_the_history(champion_home: Home, text: str) -> None:
    champion_home.active_pointer.write_text(text, encoding="utf-8")
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model_dir) == ("ok", "last_known_good", f"models/{MID}")
    assert any("active.json cannot be read" in warning for warning in found.warnings)


@pytest.mark.parametrize("text", BROKEN_POINTERS.values(), ids=BROKEN_POINTERS.keys())
def test_a_broken_pointer_without_history_is_unreadable_and_never_the_best_by_rank(home: Home, text: str) -> None:
    write_tiny_bundle(home.models / OLD, metrics={"macro_f1": 0.99})
    home.active_pointer.write_text(text, encoding="utf-8")
    found = resolve_active_model(home)
    assert (found.state, found.source, found.model) == ("unreadable", "pointer", None)


def test_the_history_is_searched_from_its_end_for_one_that_loads(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / NEW)
    write_history(champion_home, OLD, MID, NEW, OLD, MID, NEW)
    point_at(champion_home, NEW)
    (champion_home.models / NEW / MODEL).unlink()
    (champion_home.models / MID / METRICS).unlink()
    found = resolve_active_model(champion_home)
    assert found.model_dir == f"models/{OLD}"
    assert any(f"models/{MID} of the history cannot be used" in warning for warning in found.warnings)


def test_a_history_of_which_nothing_loads_leaves_the_champion_unreadable(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / NEW, metrics={"macro_f1": 0.99})
    for name in (OLD, MID):
        (champion_home.models / name / MODEL).unlink()
    found = resolve_active_model(champion_home)
    assert (found.state, found.model) == ("unreadable", None)


def test_without_a_pointer_the_history_tells(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / NEW, metrics={"macro_f1": 0.99})
    champion_home.active_pointer.unlink()
    found = resolve_active_model(champion_home)
    assert (found.state, found.source, found.model_dir) == ("ok", "last_known_good", f"models/{MID}")


def test_without_pointer_and_history_the_best_by_rank_is_taken_with_reasons_for_the_others(home: Home) -> None:
    write_tiny_bundle(home.models / OLD, metrics={"macro_f1": 0.6})
    write_tiny_bundle(home.models / MID, metrics={"macro_f1": 0.7})
    write_tiny_bundle(home.models / "synthetic", metadata={"data_provenance": "synthetic"}, metrics={"macro_f1": 0.99})
    (write_tiny_bundle(home.models / "broken") / MODEL).unlink()
    found = resolve_active_model(home)
    assert (found.state, found.source, found.model_dir) == ("ok", "best_by_rank", f"models/{MID}")
    assert {record.model_id: record.reason for record in found.excluded} == {
        "broken": "invalid: missing model.txt",
        "synthetic": "constraint: trained on synthetic labels",
    }
    assert len(found.warnings) == 2


def test_bundles_of_which_none_is_eligible_are_no_champion(home: Home) -> None:
    write_tiny_bundle(home.models / "synthetic", metadata={"data_provenance": "synthetic"})
    found = resolve_active_model(home)
    assert (found.state, found.source, found.model) == ("none", "none", None)
    assert [record.model_id for record in found.excluded] == ["synthetic"]


def test_rejected_and_waiting_bundles_are_never_the_champion(home: Home) -> None:
    for folder in (home.challengers, home.pending_models, home.rejected_models):
        write_tiny_bundle(folder / NEW)
    assert resolve_active_model(home).state == "none"


def broken_home(home: Home, name: str) -> None:
    """A home in one of many states, each of which would tempt a reader to mend it."""
    home_with_champion(home)
    write_policy(home, OLD)
    if name == "no pointer":
        home.active_pointer.unlink()
    elif name == "no pointer, no policy, no history":
        for path in (home.active_pointer, home.active_history, home.inference_policy):
            path.unlink()
    elif name == "torn history":
        home.active_history.write_bytes(home.active_history.read_bytes()[:-30])
    elif name.startswith("pointer "):
        home.inference_policy.unlink()
        home.active_pointer.write_text(BROKEN_POINTERS[name.removeprefix("pointer ")], encoding="utf-8")
    elif name == "policy damaged":
        home.inference_policy.write_text("{", encoding="utf-8")
    elif name in INVALID:
        home.inference_policy.unlink()
        INVALID[name][0](home.models / MID)
    elif name == "all broken":
        for model_id in (OLD, MID):
            shutil.rmtree(home.models / model_id)


@pytest.mark.parametrize(
    "name",
    [
        "whole",
        "no pointer",
        "no pointer, no policy, no history",
        "torn history",
        "pointer empty",
        "pointer truncated",
        "policy damaged",
        "model.txt missing",
        "metadata.json truncated",
        "all broken",
    ],
)
def test_readers_never_write(home: Home, name: str) -> None:
    broken_home(home, name)
    (home.models / ".staging").mkdir()
    before = (contents(home.root), stamps(home.root))
    resolve_active_model(home)
    read_history(home)
    pointer_state(home)
    find_pointer_problem(home)
    find_history_disagreement(home)
    find_bundle(home, NEW)
    assert (contents(home.root), stamps(home.root)) == before


def test_the_originals_home_is_resolved_without_warnings_and_without_writing(real_homes: Path, tmp_path: Path) -> None:
    home = copy_real_home(real_homes / "original-home", tmp_path / "copy")
    before = contents(home.root)
    found = resolve_active_model(home)
    assert (found.state, found.source, found.model_dir) == ("ok", "policy", "models/2026-11-20_214705_run-9706")
    assert found.warnings == []
    assert (find_pointer_problem(home), find_history_disagreement(home)) == (None, None)
    assert contents(home.root) == before


# --- The history ------------------------------------------------------------------------------------------------------------------


def test_history_entries_are_read_oldest_first(champion_home: Home) -> None:
    entries, warnings = read_history(champion_home)
    assert warnings == []
    assert [entry.new.model_id for entry in entries] == [OLD, MID]
    assert entries[0].old is None
    assert entries[1].old == entries[0].new


def test_a_home_without_a_history_has_no_entries(home: Home) -> None:
    assert read_history(home) == ([], [])


@pytest.mark.parametrize("cut", [1, 2, 30, 200])
def test_a_torn_last_line_is_told_and_costs_only_itself(champion_home: Home, cut: int) -> None:
    champion_home.active_history.write_bytes(champion_home.active_history.read_bytes()[:-cut])
    entries, warnings = read_history(champion_home)
    if cut == 1:  # only the final newline is gone
        assert ([entry.new.model_id for entry in entries], warnings) == ([OLD, MID], [])
    else:
        assert [entry.new.model_id for entry in entries] == [OLD]
        assert warnings == ["line 2 of active_history.jsonl is not a history entry and was passed over"]


@pytest.mark.parametrize("line", ["not json", "{}", "[]", "null", '{"at":"2026-01-01T00:00:00Z","old":null}', "", "\udce9 ümläut"])
def test_foreign_lines_are_told_and_passed_over(champion_home: Home, line: str) -> None:
    first, second = champion_home.active_history.read_bytes().splitlines()
    champion_home.active_history.write_bytes(b"\n".join([first, line.encode("utf-8", "surrogateescape"), second, b""]))
    entries, warnings = read_history(champion_home)
    assert [entry.new.model_id for entry in entries] == [OLD, MID]
    assert len(warnings) == 1
    assert "line 2" in warnings[0]


def test_an_appended_entry_is_read_back_behind_the_others(champion_home: Home) -> None:
    pointer = ActivePointer(model_dir=f"models/{NEW}", selected_at=AT, policy_version=1, reason={"note": "two\nlines"})
    entry = ActiveHistoryEntry(at=AT, old=read_active(champion_home), new=pointer)
    append_active_history(champion_home, entry)
    entries, warnings = read_history(champion_home)
    assert (entries[-1], len(entries), warnings) == (entry, 3, [])


def test_a_line_separator_within_a_note_does_not_tear_its_entry(home: Home) -> None:
    pointer = ActivePointer(model_dir="models/x", selected_at=AT, policy_version=1, reason={"note": "one\u2028two\x85three"})
    append_active_history(home, ActiveHistoryEntry(at=AT, old=None, new=pointer))
    entries, warnings = read_history(home)
    assert ([entry.new for entry in entries], warnings) == ([pointer], [])


# --- Promotion --------------------------------------------------------------------------------------------------------------------


def test_the_first_promotion_writes_every_file_and_nothing_else(home: Home) -> None:
    built = write_tiny_bundle(home.challengers / NEW)
    files = {path.name: path.read_bytes() for path in built.iterdir()}
    pointer, before = promote(home, a_decision(home), at=AT)
    assert before is None
    assert {path: content for path, content in contents(home.models).items() if "/" in path} == {
        f"{NEW}/{name}": content for name, content in files.items()
    }
    written = {"active.json", "active_history.jsonl", "inference_policy.json", "index.json", NEW}
    assert {path.name for path in home.models.iterdir()} - {".lock"} == written
    assert not built.exists()
    assert pointer.model_dir == f"models/{NEW}"


def test_the_pointer_has_the_keys_of_the_contract(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    pointer, before = promote(challenger_home, decision, at=AT)
    metrics = read(challenger_home.models / NEW / METRICS)
    document = read(challenger_home.active_pointer)
    assert datetime.fromisoformat(document.pop("selected_at")) == AT
    assert document == {
        "model_dir": f"models/{NEW}",
        "policy_version": 1,
        "model_id": NEW,
        "reason": {
            "metric": "macro_f1",
            "macro_f1": metrics["macro_f1"],
            "weighted_f1": metrics["weighted_f1"],
            "note": "retrain promotion",
            "decision_id": decision.decision_id,
        },
    }
    assert read_active(challenger_home) == pointer
    assert before.model_dir == f"models/{MID}"


def test_the_history_gets_one_line_that_links_old_and_new(challenger_home: Home) -> None:
    point_at(challenger_home, MID, colour="blue")
    earlier = challenger_home.active_history.read_bytes()
    old, _ = read_active(challenger_home), promote(challenger_home, a_decision(challenger_home), at=AT)
    assert challenger_home.active_history.read_bytes().startswith(earlier)
    assert len(history_lines(challenger_home)) == 3
    line = history_lines(challenger_home)[-1]
    assert set(line) == {"at", "old", "new"}
    assert datetime.fromisoformat(line["at"]) == AT
    assert line["new"] == read(challenger_home.active_pointer)
    assert ActivePointer.model_validate(line["old"]) == old
    assert line["old"]["colour"] == "blue"


def test_the_policy_names_the_new_model_and_threshold_without_the_old_calibrators(challenger_home: Home) -> None:
    write_policy(challenger_home, MID)
    promote(challenger_home, a_decision(challenger_home), at=AT)
    document = read(challenger_home.inference_policy)
    assert datetime.fromisoformat(document.pop("created_at")) == AT
    assert document == {
        "policy_version": "v1",
        "model_dir": f"models/{NEW}",
        "model_schema_hash": "4077fe0dba70",
        "model_label_set": ["BreakIdle", "Build", "Communicate", "Debug", "Meet", "ReadResearch", "Review", "Write"],
        "calibrator_store_dir": None,
        "calibration_method": None,
        "reject_threshold": tiny_model().reject.value,
        "per_user_reject_thresholds": None,
        "source": "retrain",
        "git_commit": "0123456",
    }


def test_the_index_lists_the_promoted_bundle_by_relative_path(challenger_home: Home) -> None:
    promote(challenger_home, a_decision(challenger_home), at=AT)
    document = read(challenger_home.index)
    assert sorted(entry["path"] for entry in document["ranked"]) == [f"models/{name}" for name in (OLD, MID, NEW)]
    assert datetime.fromisoformat(document["generated_at"]) == AT
    assert str(challenger_home.root) not in challenger_home.index.read_text(encoding="utf-8")


def test_a_promotion_stands_without_an_index(challenger_home: Home) -> None:
    challenger_home.index.mkdir()  # so that it cannot be written
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert resolve_active_model(challenger_home).model_dir == f"models/{NEW}"


def test_the_promoted_model_is_what_taskclf_runs_from_then_on(challenger_home: Home) -> None:
    write_policy(challenger_home, OLD)
    promote(challenger_home, a_decision(challenger_home), at=AT)
    found = resolve_active_model(challenger_home)
    assert (found.state, found.source, found.model_dir, found.warnings) == ("ok", "policy", f"models/{NEW}", [])
    rows, trained = rows_of("test"), tiny_model()
    expected = predict(trained.booster, encode_inputs(rows, SCHEMAS["v1"], trained.encoders), num_threads=1)
    assert np.array_equal(found.model.predict_rows(rows, num_threads=1), expected)
    assert find_pointer_problem(challenger_home) is None
    assert find_history_disagreement(challenger_home) is None


def test_the_challenger_becomes_active_even_if_others_have_higher_stored_scores(challenger_home: Home) -> None:
    for name, macro_f1 in [(OLD, 0.99), (MID, 0.97)]:
        edit_json(challenger_home.models / name / METRICS, {"macro_f1": macro_f1})
    edit_json(challenger_home.challengers / NEW / METRICS, {"macro_f1": 0.73})
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert read_active(challenger_home).model_id == NEW
    assert read_active(challenger_home).reason["macro_f1"] == 0.73
    assert resolve_active_model(challenger_home).model_dir == f"models/{NEW}"


def test_a_model_that_was_rolled_back_does_not_come_back_with_the_next_promotion(challenger_home: Home) -> None:
    edit_json(challenger_home.models / MID / METRICS, {"macro_f1": 0.99})
    point_at(challenger_home, OLD)
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert read_active(challenger_home).model_id == NEW
    assert history_lines(challenger_home)[-1]["old"]["model_id"] == OLD


def test_a_waiting_bundle_is_promoted_from_where_it_waits(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.pending_models / NEW)
    promote(champion_home, a_decision(champion_home), at=AT)
    assert find_bundle(champion_home, NEW) == champion_home.models / NEW


def test_a_decision_read_from_its_file_promotes(challenger_home: Home) -> None:
    decision = PromotionDecision.model_validate_json(a_decision(challenger_home).model_dump_json())
    assert promote(challenger_home, decision, at=AT)[0].model_id == NEW


def test_a_promotion_that_was_interrupted_after_the_move_of_the_bundle_is_resumed(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    (challenger_home.challengers / NEW).rename(challenger_home.models / NEW)
    promote(challenger_home, decision, at=AT)
    assert read_active(challenger_home).model_id == NEW
    assert bundle_hashes(challenger_home.models / NEW) == decision.challenger.files


def test_a_promotion_over_a_pointer_that_cannot_be_read_has_no_old_one(challenger_home: Home) -> None:
    challenger_home.active_pointer.write_text("{", encoding="utf-8")
    _, before = promote(challenger_home, a_decision(challenger_home), at=AT)
    assert before is None
    assert history_lines(challenger_home)[-1]["old"] is None
    assert read_active(challenger_home).model_id == NEW


def test_a_promotion_behind_a_torn_history_is_on_record(challenger_home: Home) -> None:
    challenger_home.active_history.write_bytes(challenger_home.active_history.read_bytes()[:-30])
    promote(challenger_home, a_decision(challenger_home), at=AT)
    entries, warnings = read_history(challenger_home)
    assert [entry.new.model_id for entry in entries] == [OLD, NEW]
    assert len(warnings) == 1


def test_a_pointer_never_moves_without_a_record_of_it(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    kept = challenger_home.active_history.read_bytes()
    challenger_home.active_history.unlink()
    challenger_home.active_history.mkdir()  # so that no line can be appended
    with pytest.raises(OSError, match="active_history"):
        promote(challenger_home, decision, at=AT)
    assert read_active(challenger_home).model_id == MID
    assert not challenger_home.inference_policy.exists()
    challenger_home.active_history.rmdir()
    challenger_home.active_history.write_bytes(kept)
    promote(challenger_home, decision, at=AT)
    assert read_active(challenger_home).model_id == NEW
    assert len(history_lines(challenger_home)) == 3


def test_record_policy_pointer_and_index_are_written_in_this_order(challenger_home: Home) -> None:
    # So that whatever taskclf sees is on record, and the policy, which it reads first, never lags behind the pointer.
    home = challenger_home
    promote(home, a_decision(home), at=AT)
    order = [path.stat().st_mtime_ns for path in (home.active_history, home.inference_policy, home.active_pointer, home.index)]
    assert order == sorted(order)
    assert order[0] < order[-1]


def test_a_bundle_that_is_promoted_is_never_laid_over_another(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    write_tiny_bundle(challenger_home.models / NEW, metrics={"macro_f1": 0.11})
    before = contents(challenger_home.models)
    with pytest.raises((OSError, DecisionNotVerifiedError)):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.models) == before


# --- Refused ----------------------------------------------------------------------------------------------------------------------


def _forged(decision: PromotionDecision, **changes: object) -> PromotionDecision:
    return seal({**dict(decision), **changes})


REFUSED: dict[str, tuple[Callable[[Home], PromotionDecision], str]] = {
    "REJECT": (lambda home: a_decision(home, gates=all_gates(macro_f1="FAIL")), "the verdict is REJECT, which moves nothing"),
    "HOLD": (lambda home: a_decision(home, gates=all_gates(macro_f1="ERROR")), "the verdict is HOLD, which moves nothing"),
    "infeasible": (lambda home: a_decision(home, feasibility=infeasible()), "the verdict is HOLD, which moves nothing"),
    "AWAITING_APPROVAL": (lambda home: a_decision(home, auto_promote=False), "the verdict is AWAITING_APPROVAL, which moves nothing"),
    "dry run": (lambda home: a_decision(home, dry_run=True), r"the verdict is PROMOTE \(dry run\), which moves nothing"),
    "edited": (lambda home: a_decision(home).model_copy(update={"reason": "because"}), "decision_hash does not match"),
    "dry run undone": (lambda home: a_decision(home, dry_run=True).model_copy(update={"dry_run": False}), "decision_hash does not match"),
    "forged verdict": (
        lambda home: _forged(a_decision(home), gates=all_gates(macro_f1="FAIL")),
        "the verdict is PROMOTE, but REJECT follows",
    ),
    "forged approval": (
        lambda home: _forged(a_decision(home, auto_promote=False), verdict="PROMOTE"),
        "the verdict is PROMOTE, but AWAITING_APPROVAL follows",
    ),
    "no gates": (lambda home: _forged(a_decision(home), gates=[]), "the verdict is PROMOTE, but HOLD follows"),
    "without hashes of the bundle": (
        lambda home: _forged(
            a_decision(home),
            challenger=a_decision(home).challenger.model_copy(update={"files": {}}),
        ),
        "is not the one that was judged",
    ),
    "another bundle": (lambda home: a_decision(home, "2026-02-04_000000_run-9999"), "bundle 2026-02-04_000000_run-9999 is gone"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_decision_that_does_not_promote_moves_nothing(
    challenger_home: Home, make: Callable[[Home], PromotionDecision], reason: str
) -> None:
    decision = make(challenger_home)
    before = contents(challenger_home.root)
    with pytest.raises(DecisionNotVerifiedError, match=reason):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.root) == before


MEANWHILE: dict[str, tuple[Callable[[Home], object], str]] = {
    "model.txt changed": (lambda home: change_a_leaf(home.challengers / NEW), f"{MODEL} changed"),
    "metrics.json changed": (lambda home: edit_json(home.challengers / NEW / METRICS, {"macro_f1": 0.99}), f"{METRICS} changed"),
    "metadata.json changed": (lambda home: edit_json(home.challengers / NEW / METADATA, {"reject_threshold": 0.0}), f"{METADATA} changed"),
    "a file added": (lambda home: (home.challengers / NEW / "extra.bin").write_bytes(b"x"), "extra.bin changed"),
    "a file removed": (lambda home: (home.challengers / NEW / "training_rows.npy").unlink(), "training_rows.npy changed"),
    "the bundle removed": (lambda home: shutil.rmtree(home.challengers / NEW), f"bundle {NEW} is gone"),
    "the pointer moved": (lambda home: point_at(home, OLD), "made against another champion"),
    "the pointer removed": (lambda home: home.active_pointer.unlink(), "made against another champion"),
    "the policy written": (lambda home: write_policy(home, OLD), "made against another champion"),
}


@pytest.mark.parametrize(("change", "reason"), MEANWHILE.values(), ids=MEANWHILE.keys())
def test_what_changed_since_the_decision_stops_the_promotion(challenger_home: Home, change: Callable[[Home], object], reason: str) -> None:
    decision = a_decision(challenger_home)
    change(challenger_home)
    before = contents(challenger_home.root)
    with pytest.raises(DecisionNotVerifiedError, match=reason):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.root) == before
    assert not (challenger_home.models / NEW).exists()


@pytest.mark.parametrize(
    "change", [lambda home: write_policy(home, MID, reject_threshold=0.9), lambda home: home.inference_policy.unlink()]
)
def test_a_policy_that_changed_since_the_decision_stops_the_promotion(challenger_home: Home, change: Callable[[Home], object]) -> None:
    write_policy(challenger_home, MID)
    decision = a_decision(challenger_home)
    change(challenger_home)
    before = contents(challenger_home.root)
    with pytest.raises(DecisionNotVerifiedError, match="made against another champion"):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.root) == before


def test_a_bundle_that_was_broken_when_it_was_judged_is_not_promoted(challenger_home: Home) -> None:
    edit_json(challenger_home.challengers / NEW / ENCODERS, {}, without="app_id")
    decision = a_decision(challenger_home)
    assert verify_decision(decision) == []
    before = contents(challenger_home.root)
    with pytest.raises(DecisionNotVerifiedError, match="lacks app_id"):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.root) == before


def test_a_refusal_in_a_home_that_never_had_models_leaves_none(home: Home) -> None:
    write_tiny_bundle(home.challengers / NEW)
    with pytest.raises(DecisionNotVerifiedError):
        promote(home, a_decision(home, dry_run=True), at=AT)
    assert contents(home.models) == {}
    assert find_bundle(home, NEW) == home.challengers / NEW


def test_a_refusal_tells_everything_that_does_not_hold_at_once(challenger_home: Home) -> None:
    decision = a_decision(challenger_home, dry_run=True).model_copy(update={"reason": "because"})
    change_a_leaf(challenger_home.challengers / NEW)
    point_at(challenger_home, OLD)
    with pytest.raises(DecisionNotVerifiedError) as caught:
        promote(challenger_home, decision, at=AT)
    for part in (decision.decision_id, "decision_hash", "dry run", "another champion", "model.txt changed", "Run a new retrain"):
        assert part in str(caught.value)


def test_the_same_decision_promotes_only_once(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    promote(challenger_home, decision, at=AT)
    before = contents(challenger_home.root)
    with pytest.raises(DecisionNotVerifiedError, match="another champion"):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.root) == before


def attempt_promotion(home: Home, decision: PromotionDecision) -> str:
    try:
        promote(home, decision, at=AT)
    except DecisionNotVerifiedError:
        return "refused"
    return "promoted"


def test_of_four_threads_with_the_same_decision_one_promotes(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(lambda _: attempt_promotion(challenger_home, decision), range(4)))
    assert outcomes == ["promoted", "refused", "refused", "refused"]
    assert [entry.new.model_id for entry in read_history(challenger_home)[0]] == [OLD, MID, NEW]
    assert find_history_disagreement(challenger_home) is None


def test_of_two_decisions_about_the_same_pointer_one_promotes(challenger_home: Home) -> None:
    other = "2026-02-04_000000_run-0004"
    write_tiny_bundle(challenger_home.challengers / other)
    first, second = a_decision(challenger_home), a_decision(challenger_home, other)
    promote(challenger_home, second, at=AT)
    with pytest.raises(DecisionNotVerifiedError, match="another champion"):
        promote(challenger_home, first, at=AT)
    assert read_active(challenger_home).model_id == other
    assert find_bundle(challenger_home, NEW) == challenger_home.challengers / NEW


PROMOTE_IN_A_PROCESS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from taskclf_dagster.domain.decision import PromotionDecision
from taskclf_dagster.domain.registry import promote
from taskclf_dagster.errors import DecisionNotVerifiedError
from taskclf_dagster.home import Home
root, path = map(Path, sys.argv[1:])
decision = PromotionDecision.model_validate_json(path.read_text(encoding="utf-8"))
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
try:
    promote(Home(root), decision, at=datetime(2026, 2, 5, tzinfo=UTC))
    sys.stdout.write("promoted")
except DecisionNotVerifiedError:
    sys.stdout.write("refused")
"""


def test_of_two_processes_with_the_same_decision_one_promotes(challenger_home: Home, tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    decision = a_decision(challenger_home)
    path.write_text(decision.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-c", PROMOTE_IN_A_PROCESS, str(challenger_home.root), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        ours = attempt_promotion(challenger_home, decision)
        outcomes = sorted([ours, process.communicate(timeout=60)[0]])
    assert outcomes == ["promoted", "refused"]
    assert [entry.new.model_id for entry in read_history(challenger_home)[0]] == [OLD, MID, NEW]
    assert read_active(challenger_home).model_id == NEW


def test_a_promotion_into_the_originals_home_keeps_its_history_and_drops_its_calibrators(real_homes: Path, tmp_path: Path) -> None:
    home = copy_real_home(real_homes / "original-home", tmp_path / "copy")
    earlier, running = home.active_history.read_bytes(), read_active(home)
    calibrators = contents(home.calibrator_store.parent)
    write_tiny_bundle(home.challengers / NEW)
    _, before = promote(home, a_decision(home), at=AT)
    assert before == running
    assert home.active_history.read_bytes().startswith(earlier)
    assert history_lines(home)[-1]["old"]["model_id"] == running.model_id
    assert resolve_active_model(home).model_dir == f"models/{NEW}"
    assert read(home.inference_policy)["calibrator_store_dir"] is None
    assert contents(home.calibrator_store.parent) == calibrators
    assert find_bundle(home, running.model_id) is not None


# --- Put aside --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({"gates": all_gates(macro_f1="FAIL")}, "artifacts/rejected_models"),
        ({"gates": all_gates(macro_f1="ERROR")}, "artifacts/pending_models"),
        ({"feasibility": infeasible()}, "artifacts/pending_models"),
        ({"auto_promote": False}, "artifacts/pending_models"),
        ({"dry_run": True}, "artifacts/rejected_models"),
        ({"auto_promote": False, "dry_run": True}, "artifacts/rejected_models"),
    ],
    ids=["REJECT", "HOLD", "infeasible", "AWAITING_APPROVAL", "dry run", "dry run without auto_promote"],
)
def test_a_bundle_that_is_not_promoted_is_put_aside_whole(challenger_home: Home, options: dict[str, object], folder: str) -> None:
    decision = a_decision(challenger_home, **options)
    models, bundle = contents(challenger_home.models), contents(challenger_home.challengers / NEW)
    assert put_aside(challenger_home, decision) == challenger_home.root / folder / NEW
    assert contents(challenger_home.root / folder / NEW) == bundle
    assert not (challenger_home.challengers / NEW).exists()
    assert contents(challenger_home.models) == models
    # a second time nothing happens
    assert put_aside(challenger_home, decision) == challenger_home.root / folder / NEW


def test_putting_aside_in_a_home_without_models_makes_none(home: Home) -> None:
    write_tiny_bundle(home.challengers / NEW)
    put_aside(home, a_decision(home, gates=all_gates(macro_f1="FAIL")))
    assert not home.models.exists()


def test_a_bundle_that_was_promoted_since_is_not_put_aside(challenger_home: Home) -> None:
    waiting = a_decision(challenger_home, auto_promote=False)
    put_aside(challenger_home, waiting)
    promote(challenger_home, a_decision(challenger_home), at=AT)
    before = contents(challenger_home.root)
    assert put_aside(challenger_home, waiting) == challenger_home.models / NEW
    assert contents(challenger_home.root) == before


# --- Small questions --------------------------------------------------------------------------------------------------------------


def test_a_decision_is_applied_when_the_pointer_was_written_by_it(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    assert not is_applied(challenger_home, decision)
    promote(challenger_home, decision, at=AT)
    assert is_applied(challenger_home, decision)
    assert not is_applied(challenger_home, a_decision(challenger_home, forced=True))
    point_at(challenger_home, NEW)
    assert not is_applied(challenger_home, decision)
    challenger_home.active_pointer.write_text("{", encoding="utf-8")
    assert not is_applied(challenger_home, decision)


def test_the_pointer_state_is_the_hash_of_both_files(champion_home: Home) -> None:
    assert pointer_state(champion_home) == (file_hash(champion_home.active_pointer), None)
    write_policy(champion_home, MID)
    assert pointer_state(champion_home) == (file_hash(champion_home.active_pointer), file_hash(champion_home.inference_policy))
    champion_home.active_pointer.unlink()
    assert pointer_state(champion_home)[0] is None


def test_a_bundle_is_found_wherever_a_retrain_put_it(home: Home) -> None:
    assert find_bundle(home, NEW) is None
    with pytest.raises(BundleError, match="is gone"):
        require_bundle(home, NEW)
    for folder in (home.models, home.rejected_models, home.pending_models, home.challengers):
        (folder / NEW).mkdir(parents=True)
        assert require_bundle(home, NEW) == find_bundle(home, NEW) == folder / NEW


def test_a_pointer_to_a_bundle_that_loads_has_no_problem(champion_home: Home) -> None:
    assert find_pointer_problem(champion_home) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda home: home.active_pointer.unlink(), "does not exist"),
        (lambda home: home.active_pointer.write_text("{", encoding="utf-8"), "cannot be read"),
        (lambda home: (home.models / MID / MODEL).unlink(), "missing model.txt"),
        (lambda home: point_at(home, MID, model_dir="../evil"), "must stay within the home"),
    ],
)
def test_a_pointer_to_nothing_that_loads_is_a_problem(champion_home: Home, change: Callable[[Home], object], problem: str) -> None:
    change(champion_home)
    assert problem in find_pointer_problem(champion_home)


def test_pointer_policy_and_history_that_agree_have_no_disagreement(champion_home: Home) -> None:
    assert find_history_disagreement(champion_home) is None
    write_policy(champion_home, MID)
    assert find_history_disagreement(champion_home) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda home: point_at(home, OLD), f"active.json names models/{OLD}, the last line of the history models/{MID}"),
        (lambda home: write_policy(home, OLD), f"active.json names models/{MID}, inference_policy.json models/{OLD}"),
        (lambda home: home.active_history.unlink(), "the last line of the history None"),
        (lambda home: home.active_pointer.write_text("{", encoding="utf-8"), "cannot be read"),
    ],
)
def test_pointer_policy_and_history_that_disagree_are_told(champion_home: Home, change: Callable[[Home], object], words: str) -> None:
    change(champion_home)
    assert words in find_history_disagreement(champion_home)
