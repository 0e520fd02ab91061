"""What taskclf runs, found without writing: the pointer, where bundles lie, and who the champion is."""

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest

from taskclf_dagster.domain.models.bundle import find_bundle_problem, parse_bundle
from taskclf_dagster.domain.models.bundle_files import ENCODERS, MANIFEST, METADATA, METRICS, MODEL
from taskclf_dagster.domain.models.bundle_paths import find_bundle, require_bundle, resolve_model_dir
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.applied_decisions import is_applied
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.commit import write_active_atomic
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.health import (
    find_history_disagreement,
    find_last_known_good,
    find_pointer_problem,
    find_policy_problem,
    find_usable_pointer,
    is_cut_off,
)
from taskclf_dagster.domain.registry.history import append_active_history, read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.index_cache import read_index_cache
from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD, read_policy
from taskclf_dagster.domain.registry.pointer import (
    MAX_POINTER_BYTES,
    ActivePointer,
    make_pointer,
    read_active,
)
from taskclf_dagster.domain.registry.ranking import list_bundles
from taskclf_dagster.domain.registry.retention import plan_prune
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import Digests, read_digests, read_registry_state
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.errors import INCOMPATIBLE_CODES, BundleError, BundleErrorCode, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.damaged_bundles import INVALID, ONE_EACH
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    a_decision,
    change_a_leaf,
    contents,
    copy_real_home,
    edit_json,
    home_with_champion,
    point_at,
    write_history,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import BROKEN_POINTERS, LEAVING, NEXT, Recording, promoted, read, set_traps, stamps
from taskclf_dagster_tests.scenario import make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def champion_home(home: Home) -> Home:
    """MID runs, OLD ran before, as taskclf leaves it."""
    return home_with_champion(home)


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
    with pytest.raises(UnreadableFileError, match=r"active\.json"):
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
    assert resolve_active_model(read_registry_state(Home(tmp_path / "alias"))).state == "ok"


@pytest.mark.parametrize("name", [name for name in LEAVING if name != "a circle of links"])
def test_a_model_dir_that_leaves_the_home_is_refused(home: Home, tmp_path: Path, name: str) -> None:
    set_traps(home, tmp_path / "outside")
    with pytest.raises(BundleError) as caught:
        resolve_model_dir(home, LEAVING[name].format(outside=tmp_path / "outside"))
    assert caught.value.code == "location"


@pytest.mark.parametrize("model_dir", ["models/detour/../{model}", "models/../models/{model}", "{root}/models/{model}"])
def test_a_model_dir_that_takes_a_detour_or_is_absolute_is_refused_even_where_it_ends_within(champion_home: Home, model_dir: str) -> None:
    with pytest.raises(BundleError) as caught:
        resolve_model_dir(champion_home, model_dir.format(root=champion_home.root, model=MID))
    assert caught.value.code == "location"


@pytest.mark.parametrize("by", ["pointer", "policy"])
@pytest.mark.parametrize("model_dir", LEAVING.values(), ids=LEAVING.keys())
def test_a_champion_outside_the_home_is_unreadable_whoever_names_it(home: Home, tmp_path: Path, model_dir: str, by: str) -> None:
    set_traps(home, tmp_path / "outside")
    path = model_dir.format(outside=tmp_path / "outside")
    if by == "pointer":
        point_at(home, MID, model_dir=path)
    else:
        write_policy(home, MID, model_dir=path)
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.source, found.model) == ("unreadable", by, None)


def test_a_history_that_leaves_the_home_is_passed_over(champion_home: Home, tmp_path: Path) -> None:
    set_traps(champion_home, tmp_path / "outside")
    (champion_home.models / MID / MODEL).unlink()
    outwards = ActivePointer(model_dir="models/link", selected_at=AT, policy_version=1)
    append_active_history(champion_home, ActiveHistoryEntry(at=AT, old=None, new=outwards))
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.source, found.model_dir) == ("last_known_good", f"models/{OLD}")


def test_the_best_by_rank_is_never_one_outside_the_home(home: Home, tmp_path: Path) -> None:
    set_traps(home, tmp_path / "outside")
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.model) == ("none", None)


# --- Pointers nobody should follow --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [MAX_POINTER_BYTES, MAX_POINTER_BYTES + 1])
def test_a_pointer_of_more_than_a_megabyte_is_not_read(home: Home, size: int) -> None:
    point_at(home, MID, filler="")
    whole = home.active_pointer.read_text(encoding="utf-8")
    point_at(home, MID, filler="x" * (size - len(whole)))
    assert home.active_pointer.stat().st_size == size
    if size > MAX_POINTER_BYTES:
        with pytest.raises(UnreadableFileError, match="1048576"):
            read_active(home)
    else:
        assert read_active(home).model_id == MID


def test_a_policy_of_more_than_eight_megabytes_is_no_policy(home: Home) -> None:
    write_policy(home, MID, filler=["x" * MAX_POINTER_BYTES] * 8)
    assert read_policy(home) is None


def test_a_policy_that_is_too_large_to_be_read_is_not_followed_either(champion_home: Home) -> None:
    write_policy(champion_home, OLD, filler=["x" * MAX_POINTER_BYTES] * 8)
    assert resolve_active_model(read_registry_state(champion_home)).model_dir == f"models/{MID}"


def test_a_model_that_was_rolled_back_is_not_the_last_known_good(home: Home) -> None:
    promoted(home, OLD, MID, NEW)
    rollback(home, to=OLD, reason="worse", at=AT)
    home.inference_policy.unlink()
    (home.models / OLD / MODEL).unlink()
    found = resolve_active_model(read_registry_state(home))
    assert (found.source, found.model_dir) == ("last_known_good", f"models/{MID}")  # NEW ran after MID


def test_a_model_that_was_rolled_back_is_not_the_best_by_rank_either(home: Home) -> None:
    promoted(home, OLD, NEW)
    rollback(home, to=None, reason="worse", at=AT)
    for path in (home.inference_policy, home.active_pointer, home.models / OLD / MODEL):
        path.unlink()
    assert resolve_active_model(read_registry_state(home)).model_dir != f"models/{NEW}"


def test_a_pointer_of_ours_has_the_keys_of_the_contract_and_its_number(home: Home) -> None:
    figures = {"macro_f1": 0.7, "weighted_f1": 0.8}
    write_active_atomic(home, make_pointer(NEW, at=AT, sequence=7, metrics=figures, note="why", decision_id="d"))
    assert read(home.active_pointer) == {
        "model_dir": f"models/{NEW}",
        "selected_at": "2026-02-05T12:30:00+00:00",
        "policy_version": 1,
        "model_id": NEW,
        "reason": {"metric": "macro_f1", "macro_f1": 0.7, "weighted_f1": 0.8, "note": "why", "decision_id": "d"},
        "sequence": 7,
    }


@pytest.mark.parametrize(("change", "number"), [({"sequence": 7}, 7), ({}, 0)], ids=["ours", "of taskclf"])
def test_the_sequence_of_a_pointer_is_that_of_its_record_or_0(home: Home, change: dict[str, object], number: int) -> None:
    assert read_registry_state(home).sequence == 0
    point_at(home, MID, **change)
    assert read_registry_state(home).sequence == number
    home.active_pointer.write_text("{", encoding="utf-8")
    assert read_registry_state(home).sequence == 0


@pytest.mark.parametrize("name", ["", ".", "..", f"../models/{MID}", f"x/{MID}", ".staging", ".lock", f"{MID}/"])
def test_a_bundle_is_never_found_by_a_path_or_a_hidden_name(champion_home: Home, name: str) -> None:
    (champion_home.models / ".staging").mkdir()
    (champion_home.models / "x").mkdir()
    assert find_bundle(champion_home, name) is None
    assert find_bundle(champion_home, MID) == champion_home.models / MID


# --- Who the champion is ----------------------------------------------------------------------------------------------------------


def test_a_fresh_home_has_no_champion(home: Home) -> None:
    before = contents(home.root)
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.source, found.model, found.model_dir, found.warnings) == ("none", "none", None, None, [])
    assert contents(home.root) == before


def test_the_pointer_names_the_champion(champion_home: Home) -> None:
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir, found.warnings) == ("ok", "pointer", f"models/{MID}", [])
    assert found.model.bundle.model_id == MID
    assert found.model.reject_threshold == DEFAULT_REJECT_THRESHOLD


def test_a_pointer_set_back_by_hand_is_followed_whatever_the_stored_scores(champion_home: Home) -> None:
    edit_json(champion_home.models / MID / METRICS, {"macro_f1": 0.99})
    point_at(champion_home, OLD)
    assert resolve_active_model(read_registry_state(champion_home)).model_dir == f"models/{OLD}"


def test_a_synthetic_bundle_that_the_pointer_names_is_what_taskclf_runs(champion_home: Home) -> None:
    edit_json(champion_home.models / MID / METADATA, {"data_provenance": "synthetic"})
    assert resolve_active_model(read_registry_state(champion_home)).model_dir == f"models/{MID}"


def test_a_champion_of_another_schema_version_is_loaded_with_its_own(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / "v3", version="v3")
    point_at(champion_home, "v3")
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.model.schema.version, found.model.booster.num_feature()) == ("ok", "v3", 299)


def test_the_inference_policy_comes_before_the_pointer(champion_home: Home) -> None:
    write_policy(champion_home, OLD)
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir) == ("ok", "policy", f"models/{OLD}")
    names = ("inference_policy.json", f"models/{OLD}", "active.json", f"models/{MID}")
    assert any(all(name in warning for name in names) for warning in found.warnings)


def test_a_policy_that_agrees_with_the_pointer_warns_of_nothing(champion_home: Home) -> None:
    write_policy(champion_home, MID, calibration_method=None, reject_threshold=DEFAULT_REJECT_THRESHOLD)
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.source, found.model_dir, found.warnings) == ("policy", f"models/{MID}", [])


@pytest.mark.parametrize(("threshold", "used"), [(0.9, 0.9), (0, 0.0)])
def test_the_champion_has_the_policys_reject_threshold(champion_home: Home, threshold: float, used: float) -> None:
    write_policy(champion_home, MID, calibration_method=None, reject_threshold=threshold)
    found = resolve_active_model(read_registry_state(champion_home))
    assert found.model is not None
    assert (found.source, found.model.reject_threshold, len(found.warnings)) == ("policy", used, 1)


def test_a_history_of_models_that_do_not_load_is_never_taken_for_no_champion(champion_home: Home) -> None:
    champion_home.active_pointer.unlink()
    for folder in champion_home.models.iterdir():
        if folder.is_dir():
            (folder / "model.txt").unlink()
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model) == ("unreadable", "last_known_good", None)


def test_a_policy_serves_without_any_pointer(champion_home: Home) -> None:
    champion_home.active_pointer.unlink()
    write_policy(champion_home, OLD)
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir) == ("ok", "policy", f"models/{OLD}")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"model_dir": 5}', '{"model_dir": null}', "[" * 100_000])
def test_a_damaged_policy_gives_way_to_the_pointer_with_a_warning(champion_home: Home, text: str) -> None:
    champion_home.inference_policy.write_text(text, encoding="utf-8")
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir) == ("ok", "pointer", f"models/{MID}")
    (warning,) = found.warnings
    assert "inference_policy.json" in warning


@pytest.mark.parametrize("broken", [True, False], ids=["a broken bundle", "no bundle"])
def test_a_policy_whose_model_cannot_run_gives_way_to_the_pointer_with_the_threshold_that_taskclf_applies_then(
    champion_home: Home, *, broken: bool
) -> None:
    if broken:
        (write_tiny_bundle(champion_home.models / NEW) / MODEL).unlink()
    write_policy(champion_home, NEW, reject_threshold=0.31)
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir) == ("ok", "pointer", f"models/{MID}")
    assert found.model.reject_threshold == DEFAULT_REJECT_THRESHOLD
    assert found.threshold.origin == "default"
    assert any("what the policy names" in warning for warning in found.warnings)


@pytest.mark.parametrize("code", ONE_EACH)
def test_a_broken_champion_that_no_other_bundle_can_replace_is_told_apart(home: Home, code: BundleErrorCode) -> None:
    ONE_EACH[code](write_tiny_bundle(home.models / MID))
    point_at(home, MID)
    found = resolve_active_model(read_registry_state(home))
    problem = find_bundle_problem(parse_bundle(home.models / MID))
    state = "incompatible" if code in INCOMPATIBLE_CODES else "unreadable"
    assert (found.state, found.source, found.model, found.model_dir) == (state, "pointer", None, f"models/{MID}")
    assert (problem.code, problem.reason) == (code, found.reason)
    assert any(found.reason in warning for warning in found.warnings)


ONLY_WHEN_LOADED: dict[str, tuple[Callable[[Path], object], str]] = {
    "encoders lack a column": (lambda folder: edit_json(folder / ENCODERS, {}, without="app_id"), "lacks app_id"),
    "another model": (change_a_leaf, MODEL),
}


@pytest.mark.parametrize(("damage", "reason"), ONLY_WHEN_LOADED.values(), ids=ONLY_WHEN_LOADED.keys())
def test_damage_that_only_loading_shows_makes_a_champion_unreadable(home: Home, damage: Callable[[Path], object], reason: str) -> None:
    damage(write_tiny_bundle(home.models / MID))
    point_at(home, MID)
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.model) == ("unreadable", None)
    assert reason in found.reason


def test_a_v3_model_with_v1_metadata_is_an_incompatible_champion(home: Home) -> None:
    bundle = write_tiny_bundle(home.models / MID, version="v3", metadata={"schema_version": "v1", "schema_hash": "4077fe0dba70"})
    edit_json(bundle / ENCODERS, {"user_id": ["__unknown__"]})
    point_at(home, MID)
    assert resolve_active_model(read_registry_state(home)).state == "incompatible"


@pytest.mark.parametrize("code", ONE_EACH)
def test_a_broken_champion_gives_way_to_the_last_known_good_of_the_history(champion_home: Home, code: BundleErrorCode) -> None:
    ONE_EACH[code](champion_home.models / MID)
    write_tiny_bundle(champion_home.models / NEW, metrics={"macro_f1": 0.99})
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir) == ("ok", "last_known_good", f"models/{OLD}")
    assert found.model.bundle.model_id == OLD
    (warning,) = found.warnings
    assert find_bundle_problem(parse_bundle(champion_home.models / MID)).reason in warning


def test_a_champion_whose_folder_is_gone_gives_way_to_the_history(champion_home: Home) -> None:
    shutil.rmtree(champion_home.models / MID)
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.source, found.model_dir) == ("last_known_good", f"models/{OLD}")


@pytest.mark.parametrize("text", BROKEN_POINTERS.values(), ids=BROKEN_POINTERS.keys())
def test_a_broken_pointer_gives_way_to_the_last_of_the_history(champion_home: Home, text: str) -> None:
    champion_home.active_pointer.write_text(text, encoding="utf-8")
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir) == ("ok", "last_known_good", f"models/{MID}")
    assert any("active.json" in warning for warning in found.warnings)


NAMES_NOTHING: dict[str, Callable[[Home], object]] = {
    **{
        f"pointer {name}": lambda home, text=text: home.active_pointer.write_text(text, encoding="utf-8")
        for name, text in BROKEN_POINTERS.items()
    },
    "pointer dangling": lambda home: point_at(home, NEW),
    "policy dangling": lambda home: write_policy(home, NEW),
    "both dangling": lambda home: [point_at(home, NEW), write_policy(home, NEXT)],
    "pointer leaves the home": lambda home: point_at(home, NEW, model_dir="../elsewhere"),
}
"""Ways in which neither policy nor pointer name a model that can run."""


@pytest.mark.parametrize("name", NAMES_NOTHING)
def test_where_nothing_of_ours_ever_ran_the_best_by_rank_takes_the_place_of_what_cannot_run_as_in_taskclf(home: Home, name: str) -> None:
    write_tiny_bundle(home.models / OLD, metrics={"macro_f1": 0.9})
    write_tiny_bundle(home.models / MID, metrics={"macro_f1": 0.7})
    NAMES_NOTHING[name](home)
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.source, found.model_dir) == ("ok", "best_by_rank", f"models/{OLD}")
    assert found.model.reject_threshold == DEFAULT_REJECT_THRESHOLD
    assert any("best bundle by rank is used instead" in warning for warning in found.warnings)


@pytest.mark.parametrize("name", NAMES_NOTHING)
def test_where_models_of_ours_ran_another_bundle_never_takes_their_place(home: Home, name: str) -> None:
    promoted(home, OLD)
    (home.models / OLD / MODEL).unlink()
    write_tiny_bundle(home.models / MID, metrics={"macro_f1": 0.9})
    NAMES_NOTHING[name](home)
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.model) == ("unreadable", None)


def test_the_history_is_searched_from_its_end_for_one_that_loads(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / NEW)
    write_history(champion_home, OLD, MID, NEW, OLD, MID, NEW)
    point_at(champion_home, NEW)
    (champion_home.models / NEW / MODEL).unlink()
    (champion_home.models / MID / METRICS).unlink()
    found = resolve_active_model(read_registry_state(champion_home))
    assert found.model_dir == f"models/{OLD}"
    assert any(f"models/{MID}" in warning for warning in found.warnings)


def test_a_history_of_taskclf_of_which_nothing_loads_gives_way_to_the_best_by_rank(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / NEW, metrics={"macro_f1": 0.99})
    for name in (OLD, MID):
        (champion_home.models / name / MODEL).unlink()
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir) == ("ok", "best_by_rank", f"models/{NEW}")


def test_without_a_pointer_the_history_tells(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / NEW, metrics={"macro_f1": 0.99})
    champion_home.active_pointer.unlink()
    found = resolve_active_model(read_registry_state(champion_home))
    assert (found.state, found.source, found.model_dir) == ("ok", "last_known_good", f"models/{MID}")


def test_without_pointer_and_history_the_best_by_rank_is_taken_with_reasons_for_the_others(home: Home) -> None:
    write_tiny_bundle(home.models / OLD, metrics={"macro_f1": 0.6})
    write_tiny_bundle(home.models / MID, metrics={"macro_f1": 0.7})
    write_tiny_bundle(home.models / "synthetic", metadata={"data_provenance": "synthetic"}, metrics={"macro_f1": 0.99})
    (write_tiny_bundle(home.models / "broken") / MODEL).unlink()
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.source, found.model_dir) == ("ok", "best_by_rank", f"models/{MID}")
    assert {record.model_id for record in found.excluded} == {"broken", "synthetic"}
    active = find_active_model(read_registry_state(home))
    assert [warning.kind for warning in active.warnings] == ["bundle_left_out", "bundle_left_out", "threshold_differs"]


def test_bundles_of_which_none_is_eligible_are_no_champion(home: Home) -> None:
    write_tiny_bundle(home.models / "synthetic", metadata={"data_provenance": "synthetic"})
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.source, found.model) == ("none", "none", None)
    assert [record.model_id for record in found.excluded] == ["synthetic"]


def test_rejected_and_waiting_bundles_are_never_the_champion(home: Home) -> None:
    for folder in (home.challengers, home.pending_models, home.rejected_models):
        write_tiny_bundle(folder / NEW)
    assert resolve_active_model(read_registry_state(home)).state == "none"


DAMAGED_HOMES: dict[str, Callable[[Home], object]] = {
    "whole": lambda home: None,
    "no pointer": lambda home: home.active_pointer.unlink(),
    "no policy": lambda home: home.inference_policy.unlink(),
    "no history": lambda home: home.active_history.unlink(),
    "no pointer, no policy, no history": lambda home: [
        path.unlink() for path in (home.active_pointer, home.active_history, home.inference_policy)
    ],
    "nothing but the folder": lambda home: [shutil.rmtree(home.models), home.models.mkdir()],
    "torn history": lambda home: home.active_history.write_bytes(home.active_history.read_bytes()[:-30]),
    "history without its last newline": lambda home: home.active_history.write_bytes(home.active_history.read_bytes()[:-1]),
    "history of garbage": lambda home: home.active_history.write_bytes(b"\x00\xff\n{}\n"),
    "history cut back": lambda home: home.active_history.write_bytes(home.active_history.read_bytes().splitlines(keepends=True)[0]),
    **{
        f"pointer {name}": lambda home, text=text: home.active_pointer.write_text(text, encoding="utf-8")
        for name, text in BROKEN_POINTERS.items()
    },
    "pointer of taskclf": lambda home: point_at(home, OLD),
    "policy damaged": lambda home: home.inference_policy.write_text("{", encoding="utf-8"),
    "policy of another model": lambda home: write_policy(home, OLD),
    "model.txt missing": lambda home: (home.models / NEW / MODEL).unlink(),
    "metadata.json truncated": lambda home: INVALID["metadata.json truncated"][0](home.models / NEW),
    "a leaf changed": lambda home: change_a_leaf(home.models / NEW),
    "manifest damaged": lambda home: (home.models / NEW / MANIFEST).write_text("{", encoding="utf-8"),
    "all bundles gone": lambda home: [shutil.rmtree(home.models / name) for name in (OLD, MID, NEW)],
    "receipts damaged": lambda home: [path.write_text("{", encoding="utf-8") for path in home.decisions.iterdir()],
    "receipts gone": lambda home: shutil.rmtree(home.decisions),
    "cursor of the events damaged": lambda home: (home.outbox / "written_through.json").write_text("{", encoding="utf-8"),
    "events gone": lambda home: shutil.rmtree(home.outbox),
    "staging left": lambda home: write_tiny_bundle(home.models / ".staging" / NEXT),
    "temporary file left": lambda home: (home.models / ".active.json.0.tmp").write_text("{", encoding="utf-8"),
}
READERS: dict[str, Callable[[Home], object]] = {
    "resolve_active_model": lambda home: resolve_active_model(read_registry_state(home)),
    "read_active": read_active,
    "read_policy": read_policy,
    "read_history": read_history,
    "read_index_cache": read_index_cache,
    "check_registry": check_registry,
    "list_bundles": lambda home: list_bundles(home.models),
    "plan_prune": lambda home: plan_prune(home, keep_versions=0, keep_rejected=0, at=AT),
    "read_digests": read_digests,
    "find_pointer_problem": lambda home: find_pointer_problem(read_registry_state(home)),
    "find_usable_pointer": lambda home: find_usable_pointer(read_registry_state(home)),
    "find_policy_problem": lambda home: find_policy_problem(read_registry_state(home)),
    "find_last_known_good": lambda home: find_last_known_good(read_registry_state(home)),
    "is_cut_off": lambda home: is_cut_off(read_registry_state(home)),
    "find_history_disagreement": lambda home: find_history_disagreement(read_registry_state(home)),
    "find_bundle": lambda home: find_bundle(home, NEW),
    "is_applied": lambda home: is_applied(read_registry_state(home), a_decision(home)),
}


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Takes the right to write away from everything in a folder; root keeps it, so that tests compare the bytes, too."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path in reversed(paths):
        path.chmod(modes[path] & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(modes[path])


@pytest.mark.parametrize("name", DAMAGED_HOMES)
def test_readers_never_write_whatever_tempts_them_to_mend_it(home: Home, name: str) -> None:
    promoted(home, OLD, MID, NEW)
    DAMAGED_HOMES[name](home)
    before, recording = (contents(home.root), stamps(home.root)), Recording()
    with read_only(home.root), use_file_system(recording):
        for reader in READERS.values():
            with suppress(UnreadableFileError):  # which read_active raises, and nothing else does
                reader(home)
    assert recording.calls == []
    assert (contents(home.root), stamps(home.root)) == before


@pytest.mark.parametrize("reader", [name for name in READERS if name != "read_active"])
@pytest.mark.parametrize("name", ["no pointer", "history of garbage", "pointer empty", "receipts damaged", "all bundles gone"])
def test_a_reader_answers_whatever_is_damaged(home: Home, reader: str, name: str) -> None:
    promoted(home, OLD, MID, NEW)
    DAMAGED_HOMES[name](home)
    READERS[reader](home)


def test_reading_a_home_without_models_makes_no_folder_and_no_lock(home: Home) -> None:
    before = contents(home.root)
    for reader in READERS.values():
        reader(home)
    assert contents(home.root) == before


def test_the_originals_home_is_resolved_without_warnings_and_without_writing(real_homes: Path, tmp_path: Path) -> None:
    home = copy_real_home(real_homes / "original-home", tmp_path / "copy")
    before = contents(home.root)
    found = resolve_active_model(read_registry_state(home))
    assert (found.state, found.source, found.model_dir) == ("ok", "policy", "models/2026-11-20_214705_run-9706")
    assert found.warnings == []
    assert (find_pointer_problem(read_registry_state(home)), find_history_disagreement(read_registry_state(home))) == (None, None)
    assert contents(home.root) == before


# --- Small questions --------------------------------------------------------------------------------------------------------------


def test_the_pointer_state_is_the_hash_of_both_files(champion_home: Home) -> None:
    assert read_digests(champion_home) == Digests(hash_file(champion_home.active_pointer), None)
    write_policy(champion_home, MID)
    both = Digests(hash_file(champion_home.active_pointer), hash_file(champion_home.inference_policy))
    assert read_digests(champion_home) == read_registry_state(champion_home).digests == both
    champion_home.active_pointer.unlink()
    assert read_digests(champion_home).pointer is None


def test_a_bundle_is_found_wherever_a_retrain_put_it_and_first_where_it_was_promoted_to(home: Home) -> None:
    assert find_bundle(home, NEW) is None
    with pytest.raises(BundleError, match=NEW) as caught:
        require_bundle(home, NEW)
    assert caught.value.code == "not_found"
    for folder in (home.rejected_models, home.pending_models, home.challengers, home.models):
        (folder / NEW).mkdir(parents=True)
        assert require_bundle(home, NEW) == find_bundle(home, NEW) == folder / NEW


def test_a_pointer_to_a_bundle_that_loads_has_no_problem(champion_home: Home) -> None:
    assert find_pointer_problem(read_registry_state(champion_home)) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda home: home.active_pointer.unlink(), "missing"),
        (lambda home: home.active_pointer.write_text("{", encoding="utf-8"), "unreadable"),
        (lambda home: (home.models / MID / MODEL).unlink(), "missing_file"),
        (lambda home: point_at(home, MID, model_dir="../evil"), "location"),
    ],
)
def test_a_pointer_to_nothing_that_loads_is_a_problem(champion_home: Home, change: Callable[[Home], object], code: str) -> None:
    change(champion_home)
    assert find_pointer_problem(read_registry_state(champion_home)).code == code


def test_pointer_policy_and_history_that_agree_have_no_disagreement(champion_home: Home) -> None:
    assert find_history_disagreement(read_registry_state(champion_home)) is None
    write_policy(champion_home, MID)
    assert find_history_disagreement(read_registry_state(champion_home)) is None


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda home: point_at(home, OLD), ("active.json", f"models/{OLD}", f"models/{MID}")),
        (lambda home: write_policy(home, OLD), ("active.json", f"models/{MID}", "inference_policy.json", f"models/{OLD}")),
        (lambda home: home.active_history.unlink(), ("active.json", f"models/{MID}", "None")),
        (lambda home: home.active_pointer.write_text("{", encoding="utf-8"), ("active.json",)),
    ],
)
def test_pointer_policy_and_history_that_disagree_are_reported(
    champion_home: Home, change: Callable[[Home], object], names: tuple[str, ...]
) -> None:
    change(champion_home)
    problem = find_history_disagreement(read_registry_state(champion_home))
    assert problem is not None
    assert all(name in problem for name in names)
