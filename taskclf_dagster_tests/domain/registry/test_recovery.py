"""Recovery: what was cut off is finished or aborted, what another program did is adopted, what is damaged is put back, all on record."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.models.bundle_files import ENCODERS, MANIFEST, MODEL
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.applied_decisions import is_applied
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.health import find_history_disagreement, find_last_known_good
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.repair_target import NOTHING_TO_RESTORE
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.home import Home
from taskclf_dagster_tests.masking import masked
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    change_a_leaf,
    contents,
    edit_json,
    home_with_champion,
    point_at,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import (
    BROKEN_POINTERS,
    LEAVING,
    NEXT,
    actions,
    cut_off,
    damage,
    findings,
    history_lines,
    judged,
    promote,
    promoted,
    read,
    refused,
    set_active,
    set_traps,
    settled,
    write_variant,
)
from taskclf_dagster_tests.scenario import DAY, make_home

LATER = AT + 9 * DAY
BREAKS: dict[str, Callable[[Path], object]] = {
    "without model.txt": lambda folder: (folder / MODEL).unlink(),
    "with another leaf": change_a_leaf,
    "with a damaged manifest": lambda folder: (folder / MANIFEST).write_text("{", encoding="utf-8"),
    "gone": shutil.rmtree,
}
"""Ways to damage a promoted bundle."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def three(home: Home) -> Home:
    """OLD, MID and NEW were promoted in this order: records 1 to 3."""
    return promoted(home, OLD, MID, NEW)


# --- Nothing to do ------------------------------------------------------------------------------------------------------------------


def test_a_healthy_home_is_left_as_it_is(three: Home) -> None:
    before = contents(three.root)
    recovery = repair(three, at=LATER)
    assert (recovery.done, recovery.repaired) == ([], False)
    assert contents(three.root) == before


def test_an_empty_home_gets_no_pointer_and_no_history(home: Home) -> None:
    assert repair(home, at=LATER).done == []
    assert contents(home.models) == {}


def test_bundles_that_nothing_names_are_not_activated(home: Home) -> None:
    write_tiny_bundle(home.models / MID)
    repair(home, at=LATER)
    assert read_active(home) is None


# --- The pointer is damaged -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", BROKEN_POINTERS.values(), ids=BROKEN_POINTERS.keys())
def test_a_damaged_pointer_is_put_back_on_record(three: Home, text: str) -> None:
    three.active_pointer.write_text(text, encoding="utf-8")
    three.inference_policy.unlink()
    found = resolve_active_model(read_registry_state(three))
    assert (found.source, found.model_dir) == ("last_known_good", f"models/{NEW}")
    assert any("active.json" in warning for warning in found.warnings)
    assert {promise for promise, _ in damage(three)} == {"P1"}
    recovery = repair(three, at=LATER)
    assert recovery.repaired
    assert actions(three)[3:] == [(4, "repair", NEW)]
    record = history_lines(three)[-1]
    assert record["new"] == read(three.active_pointer)
    assert record["policy"] == read(three.inference_policy)
    assert record["old"] is None
    assert (read_active(three).name, read_active(three).sequence) == (NEW, 4)
    assert find_history_disagreement(read_registry_state(three)) is None
    assert findings(three) == []


@pytest.mark.parametrize("model_dir", [name for key, name in LEAVING.items() if key != "no path at all"])
def test_a_pointer_that_leaves_the_home_is_put_back(three: Home, tmp_path: Path, model_dir: str) -> None:
    set_traps(three, tmp_path / "outside")
    point_at(three, "evil", model_dir=model_dir.format(outside=tmp_path / "outside"))
    assert "P1" in {promise for promise, _ in damage(three)}
    repair(three, at=LATER)
    assert read_active(three).model_dir == f"models/{NEW}"
    assert history_lines(three)[-1]["action"] == "repair"
    assert damage(three) == []


@pytest.mark.parametrize("name", BREAKS)
def test_a_pointer_to_a_broken_bundle_is_put_back_to_the_model_before(three: Home, name: str) -> None:
    BREAKS[name](three.models / NEW)
    assert resolve_active_model(read_registry_state(three)).model_dir == f"models/{MID}"
    assert "P1" in {promise for promise, _ in damage(three)}
    recovery = repair(three, at=LATER)
    assert recovery.repaired
    assert actions(three)[3:] == [(4, "repair", MID)]
    assert history_lines(three)[-1]["old"]["model_id"] == NEW
    assert read(three.inference_policy)["model_dir"] == f"models/{MID}"
    assert "P1" not in {promise for promise, _ in damage(three)}
    assert find_history_disagreement(read_registry_state(three)) is None


def test_a_missing_pointer_is_put_back(three: Home) -> None:
    three.active_pointer.unlink()
    assert ("P1", "pointer_unusable") in damage(three)
    repair(three, at=LATER)
    assert read_active(three).name == NEW
    assert findings(three) == []


def test_the_model_before_is_passed_over_where_it_is_broken_too(three: Home) -> None:
    for name in (NEW, MID):
        (three.models / name / MODEL).unlink()
    repair(three, at=LATER)
    assert read_active(three).name == OLD


def test_a_repair_never_goes_to_a_model_that_was_rolled_back(three: Home) -> None:
    rollback(three, to=OLD, reason="worse", at=AT + 5 * DAY)  # NEW is blocked
    (three.models / OLD / MODEL).unlink()
    repair(three, at=LATER)
    assert read_active(three).name == MID


def test_a_repair_never_goes_to_a_blocked_model_that_a_policy_names(three: Home) -> None:
    rollback(three, to=OLD, reason="worse", at=AT + 5 * DAY)  # NEW is blocked
    write_policy(three, NEW)
    three.active_pointer.write_text("{", encoding="utf-8")
    assert resolve_active_model(read_registry_state(three)).model_dir == f"models/{NEW}"  # which another program made so
    repair(three, at=LATER)
    assert (read_active(three).name, read(three.inference_policy)["model_dir"]) == (OLD, f"models/{OLD}")


def test_a_repair_never_goes_out_of_the_home(home: Home, tmp_path: Path) -> None:
    home_with_champion(home)
    set_traps(home, tmp_path / "outside")
    set_active(home, "evil", model_dir="models/link")
    home.active_pointer.write_text("{", encoding="utf-8")
    repair(home, at=LATER)
    assert read_active(home).name == MID


@pytest.mark.parametrize("name", ["model.txt missing", "blocked", "outside"])
def test_where_no_model_of_the_history_may_run_the_pointer_is_left_and_stays_damage(home: Home, tmp_path: Path, name: str) -> None:
    promoted(home, OLD, NEW)
    rollback(home, to=None, reason="worse", at=AT + 3 * DAY)  # NEW is blocked
    shutil.rmtree(home.models / OLD)
    if name == "outside":
        outside = write_variant(tmp_path / "outside" / OLD)
        (home.models / OLD).symlink_to(outside, target_is_directory=True)
    if name == "model.txt missing":
        (write_variant(home.models / OLD) / MODEL).unlink()
    before = home.active_pointer.read_bytes()
    repair(home, at=LATER)
    assert home.active_pointer.read_bytes() == before
    assert {"P1", "P6"} <= {promise for promise, _ in damage(home)}


def test_a_repair_from_a_pointer_that_was_put_back_keeps_naming_the_receipt(three: Home) -> None:
    decision_id = read_active(three).reason["decision_id"]
    three.active_pointer.write_text("", encoding="utf-8")
    repair(three, at=LATER)
    assert read_active(three).reason["decision_id"] == decision_id
    assert read_active(three).reason["note"] == "repair"


def test_a_repair_that_was_cut_off_is_finished(three: Home) -> None:
    three.active_pointer.write_text("{", encoding="utf-8")
    repair(three, at=LATER)
    repaired = read_active(three)
    three.active_pointer.write_text("{", encoding="utf-8")  # the record is there, the pointer did not move, no event was written
    (three.outbox / "written_through.json").unlink()
    repair(three, at=LATER + DAY)
    assert read_active(three) == repaired
    assert [action for _, action, _ in actions(three)][3:] == ["repair"]


def test_a_pointer_that_is_damaged_a_second_time_gets_a_second_record(three: Home) -> None:
    for i, text in enumerate(("{", "[")):
        three.active_pointer.write_text(text, encoding="utf-8")
        repair(three, at=LATER + i * DAY)
    assert actions(three)[3:] == [(4, "repair", NEW), (5, "repair", NEW)]
    assert findings(three) == []


# --- Where nothing of ours ever ran ---------------------------------------------------------------------------------------------------


DANGLING: dict[str, tuple[Callable[[Home], object], str, str]] = {
    "pointer": (lambda home: point_at(home, NEW), OLD, "best_by_rank"),
    "pointer damaged": (lambda home: home.active_pointer.write_text("{", encoding="utf-8"), OLD, "best_by_rank"),
    "policy and pointer": (lambda home: [point_at(home, NEW), write_policy(home, NEXT)], OLD, "best_by_rank"),
    "policy without a pointer": (lambda home: write_policy(home, NEW), OLD, "best_by_rank"),
    "policy beside a pointer": (lambda home: [point_at(home, MID), write_policy(home, NEW)], MID, "pointer"),
    "pointer beside a policy": (lambda home: [point_at(home, NEW), write_policy(home, MID, calibrator_store_dir=None)], MID, "policy"),
}
"""What names no model, the model that taskclf runs then, and where it is found."""


@pytest.mark.parametrize("name", DANGLING)
def test_a_repair_writes_what_taskclf_runs_with_the_threshold_that_it_applies(home: Home, name: str) -> None:
    write_tiny_bundle(home.models / OLD, metrics={"macro_f1": 0.9})
    write_tiny_bundle(home.models / MID, metrics={"macro_f1": 0.7})
    harm, model_id, source = DANGLING[name]
    harm(home)
    before = resolve_active_model(read_registry_state(home))
    assert (before.source, before.model_dir, damage(home) != []) == (source, f"models/{model_id}", True)
    recovery = repair(home, at=LATER)
    assert [(step.kind, model_id in step.detail) for step in recovery.done][-1] == ("record_written", True)
    after = resolve_active_model(read_registry_state(home))
    assert (after.source, after.model_dir, after.model.reject_threshold) == ("policy", before.model_dir, before.model.reject_threshold)
    assert (read_active(home).name, actions(home)[-1][1:]) == (model_id, ("repair", model_id))
    assert (damage(home), find_history_disagreement(read_registry_state(home)), repair(home, at=LATER).done) == ([], None, [])


HISTORIES_LOST: dict[str, Callable[[Home], object]] = {
    "deleted": lambda home: home.active_history.unlink(),
    "a folder": lambda home: [home.active_history.unlink(), home.active_history.mkdir()],
    "garbage": lambda home: home.active_history.write_bytes(b"garbage\n"),
}


@pytest.mark.parametrize("name", HISTORIES_LOST)
def test_a_home_that_lost_its_history_and_its_model_is_repaired_by_rank_and_goes_on(home: Home, name: str) -> None:
    promoted(home, OLD, MID)
    shutil.rmtree(home.models / MID)
    home.inference_policy.unlink()
    HISTORIES_LOST[name](home)
    decision = judged(home, NEW, champion_model_dir=f"models/{OLD}")
    with refused("history_damaged"):
        promote(home, decision, at=LATER)
    repair(home, at=LATER)
    assert (read_active(home).name, damage(home), repair(home, at=LATER).done) == (OLD, [], [])
    assert read_active(home).sequence == read_history(home).sequence > 2
    promote(home, judged(home, NEXT, champion_model_dir=f"models/{OLD}"), at=LATER + DAY)
    assert read_active(home).name == NEXT


def test_a_repair_that_finds_no_model_that_can_run_does_nothing_and_the_advice_is_another_one(home: Home) -> None:
    point_at(home, NEW)
    before = contents(home.models)
    assert repair(home, at=LATER).done == []
    assert {name: content for name, content in contents(home.models).items() if name in before} == before
    (finding,) = [finding for finding in check_registry(home) if finding.code == "pointer_unusable"]
    assert finding.fix == f"{NOTHING_TO_RESTORE}."


def test_a_decision_against_the_best_by_rank_is_promoted_over_the_repair(home: Home) -> None:
    write_tiny_bundle(home.models / OLD)
    point_at(home, MID)
    decision = judged(home, NEW, champion_model_dir=f"models/{OLD}")
    promote(home, decision, at=LATER)
    assert actions(home) == [(1, "repair", OLD), (2, "promote", NEW)]


# --- A change was cut off -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_policy", [False, True])
def test_a_promotion_cut_off_behind_its_record_is_finished_exactly_as_recorded(home: Home, *, with_policy: bool) -> None:
    promoted(home, OLD)
    entry = cut_off(home, with_policy=with_policy)
    assert ("P3", "change_interrupted") in damage(home)
    recovery = repair(home, at=LATER)
    assert [step.kind for step in recovery.done] == ["change_finished"]
    assert read_active(home) == entry.new
    assert read(home.inference_policy) == entry.policy
    assert read(home.inference_policy)["git_commit"] == "cut off"
    assert actions(home) == [(1, "promote", OLD), (2, "promote", NEW)]
    assert findings(home) == []


@pytest.mark.parametrize("with_policy", [False, True])
def test_the_first_promotion_cut_off_is_finished(home: Home, *, with_policy: bool) -> None:
    entry = cut_off(home, with_policy=with_policy)
    repair(home, at=LATER)
    assert read_active(home) == entry.new
    assert read(home.inference_policy) == entry.policy
    assert findings(home) == []


def test_the_wording_of_what_a_recovery_does(home: Home, snapshot: SnapshotAssertion) -> None:
    promoted(home, OLD)
    cut_off(home)
    said = [repair(home, at=LATER).done]
    set_active(home, OLD, at=LATER)
    said += [repair(home, at=LATER).done]
    home.active_pointer.write_text("{", encoding="utf-8")
    (home.models / ".active.json.0.tmp").write_text("{", encoding="utf-8")
    said += [repair(home, at=LATER).done]
    assert [masked(step.detail, home.root) for steps in said for step in steps] == snapshot


def test_a_promotion_cut_off_over_a_pointer_of_taskclf_is_finished(home: Home) -> None:
    settled(home)
    entry = cut_off(home)
    repair(home, at=LATER)
    assert read_active(home) == entry.new


def test_a_promotion_that_was_cut_off_counts_as_done_for_its_decision(home: Home) -> None:
    promoted(home, OLD)
    decision = judged(home, NEW)
    entry = cut_off(home)
    assert entry.decision_id == decision.decision_id
    assert not is_applied(read_registry_state(home), decision)
    promotion = promote(home, decision, at=LATER)
    pointer, before = promotion.pointer, promotion.previous
    assert (pointer, before.name) == (entry.new, OLD)
    assert is_applied(read_registry_state(home), decision)
    assert actions(home) == [(1, "promote", OLD), (2, "promote", NEW)]


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("with_policy", [False, True])
def test_a_promotion_cut_off_whose_model_is_broken_is_aborted_and_the_pointer_stays(home: Home, name: str, *, with_policy: bool) -> None:
    promoted(home, OLD)
    shutil.rmtree(home.challengers, ignore_errors=True)
    pointer = home.active_pointer.read_bytes()
    cut_off(home, with_policy=with_policy)
    BREAKS[name](home.models / NEW)
    repair(home, at=LATER)
    assert (3, "abort", OLD) in actions(home)
    assert history_lines(home)[2]["subject"] == ["2"]
    assert NEW in history_lines(home)[2]["reason"]
    assert read_active(home).name == OLD
    assert read(home.inference_policy)["model_dir"] == f"models/{OLD}"
    assert resolve_active_model(read_registry_state(home)).model_dir == f"models/{OLD}"
    if not with_policy:
        assert home.active_pointer.read_bytes() == pointer
    assert "P1" not in {promise for promise, _ in damage(home)}
    assert "P3" not in {promise for promise, _ in damage(home)}


@pytest.mark.parametrize("with_policy", [False, True])
def test_the_first_promotion_cut_off_whose_model_is_broken_leaves_nothing_that_taskclf_would_follow(
    home: Home, *, with_policy: bool
) -> None:
    cut_off(home, with_policy=with_policy)
    (home.models / NEW / MODEL).unlink()
    repair(home, at=LATER)
    assert read_active(home) is None
    assert not home.inference_policy.exists() or read(home.inference_policy)["model_dir"] != f"models/{NEW}"
    assert "P1" not in {promise for promise, _ in damage(home)}


def test_an_aborted_promotion_stays_aborted_when_its_bundle_is_restored(home: Home) -> None:
    promoted(home, OLD)
    cut_off(home)
    content = (home.models / NEW / MODEL).read_bytes()
    (home.models / NEW / MODEL).unlink()
    repair(home, at=LATER)
    (home.models / NEW / MODEL).write_bytes(content)
    repair(home, at=LATER + DAY)
    assert read_active(home).name == OLD


def test_a_promotion_cut_off_that_another_program_overtook_is_not_finished(home: Home) -> None:
    promoted(home, OLD, MID)
    cut_off(home)
    point_at(home, OLD)  # without a line in the history
    repair(home, at=LATER)
    assert read_active(home).name == OLD
    assert actions(home)[2:] == [(3, "promote", NEW), (4, "adopt", OLD)]
    assert damage(home) == []


def test_a_rollback_cut_off_behind_its_record_is_finished(home: Home) -> None:
    promoted(home, OLD, NEW)
    before = {path: path.read_bytes() for path in (home.active_pointer, home.inference_policy)}
    pointer = rollback(home, to=None, reason="worse", at=AT + 3 * DAY)
    policy = read(home.inference_policy)
    for path, content in before.items():
        path.write_bytes(content)
    (home.outbox / "written_through.json").unlink()
    repair(home, at=LATER)
    assert read_active(home) == pointer
    assert read(home.inference_policy) == policy
    assert set(read_history(home).blocked) == {NEW}
    assert [action for _, action, _ in actions(home)] == ["promote", "promote", "rollback"]


# --- The policy -----------------------------------------------------------------------------------------------------------------------

POLICY_DAMAGE: dict[str, Callable[[Home], object]] = {
    "empty": lambda home: home.inference_policy.write_text("", encoding="utf-8"),
    "truncated": lambda home: home.inference_policy.write_bytes(home.inference_policy.read_bytes()[:50]),
    "an array": lambda home: home.inference_policy.write_text("[]", encoding="utf-8"),
    "without model_dir": lambda home: edit_json(home.inference_policy, {}, without="model_dir"),
    "with a model_dir of numbers": lambda home: edit_json(home.inference_policy, {"model_dir": [1]}),
    "naming a model that is not there": lambda home: edit_json(home.inference_policy, {"model_dir": "models/nothing"}),
    "naming a model outside": lambda home: edit_json(home.inference_policy, {"model_dir": "../evil"}),
    "naming a broken model": lambda home: [
        edit_json(home.inference_policy, {"model_dir": f"models/{OLD}"}),
        (home.models / OLD / MODEL).unlink(),
    ],
    "too large": lambda home: edit_json(home.inference_policy, {"filler": ["x" * 1024 * 1024] * 9}),
}


@pytest.mark.parametrize("name", POLICY_DAMAGE)
def test_a_policy_that_cannot_be_followed_is_restored_from_the_history(three: Home, name: str) -> None:
    recorded = three.inference_policy.read_bytes()
    POLICY_DAMAGE[name](three)
    assert "P1" in {promise for promise, _ in damage(three)}
    recovery = repair(three, at=LATER)
    assert not recovery.repaired  # what the pointer names did not change
    assert actions(three)[3:] == [(4, "repair", NEW)]
    document = read(three.inference_policy)
    assert document == json.loads(recorded)
    assert history_lines(three)[-1]["policy"] == document
    assert {promise for promise, _ in damage(three)} <= {"P2"}  # the broken model is still there


def test_a_policy_that_fits_is_kept_when_only_the_pointer_is_damaged(three: Home) -> None:
    tuned = {"reject_threshold": 0.77, "per_user_reject_thresholds": {"alice": 0.5}, "created_at": LATER.isoformat()}
    edit_json(three.inference_policy, tuned)
    policy = read(three.inference_policy)
    three.active_pointer.write_text("{", encoding="utf-8")
    repair(three, at=LATER)
    assert read(three.inference_policy) == history_lines(three)[-1]["policy"] == policy


def test_a_home_without_a_policy_needs_none(home: Home) -> None:
    settled(home)
    assert repair(home, at=LATER).done == []
    assert not home.inference_policy.exists()


def test_a_damaged_policy_is_mended_as_the_check_says_even_where_no_model_ever_ran(home: Home) -> None:
    home.models.mkdir()
    home.inference_policy.write_text("{", encoding="utf-8")
    repair(home, at=LATER)
    assert "P1" not in {promise for promise, _ in damage(home)}


# --- Other programs -------------------------------------------------------------------------------------------------------------------


def test_what_taskclf_activates_is_adopted_and_recorded(three: Home) -> None:
    set_active(three, MID, at=LATER)
    pointer = three.active_pointer.read_bytes()
    assert damage(three) == []
    repair(three, at=LATER + DAY)
    assert three.active_pointer.read_bytes() == pointer
    assert actions(three)[3:] == [(None, None, MID), (4, "adopt", MID)]
    record = history_lines(three)[-1]
    assert (record["old"]["model_id"], record["new"]) == (NEW, read(three.active_pointer))
    assert damage(three) == []


def test_a_pointer_that_was_only_written_is_adopted_too(three: Home) -> None:
    point_at(three, MID)
    assert ("warning", "P3", "pointer_not_recorded") in findings(three)
    repair(three, at=LATER)
    assert actions(three)[3:] == [(4, "adopt", MID)]
    assert history_lines(three)[-1]["old"]["model_id"] == NEW


def test_what_was_adopted_once_is_not_adopted_again(three: Home) -> None:
    set_active(three, MID)
    repair(three, at=LATER)
    before = contents(three.root)
    assert repair(three, at=LATER + DAY).done == []
    assert contents(three.root) == before


def test_a_foreign_pointer_to_a_foreign_bundle_is_adopted_once_it_loads(three: Home) -> None:
    write_tiny_bundle(three.models / "foreign")
    set_active(three, "foreign")
    repair(three, at=LATER)
    assert actions(three)[-1] == (4, "adopt", "foreign")
    assert not (three.models / "foreign" / MANIFEST).exists()


FOREIGN_DAMAGE: dict[str, Callable[[Path], object]] = {
    "without model.txt": lambda folder: (folder / MODEL).unlink(),
    "with encoders that lack a column": lambda folder: edit_json(folder / ENCODERS, {}, without="app_id"),
    "with another leaf than its metadata says": change_a_leaf,
}


@pytest.mark.parametrize("name", FOREIGN_DAMAGE)
def test_a_foreign_pointer_to_a_bundle_that_does_not_load_is_not_adopted_but_put_back(three: Home, name: str) -> None:
    FOREIGN_DAMAGE[name](write_tiny_bundle(three.models / "foreign"))
    set_active(three, "foreign")
    repair(three, at=LATER)
    assert read_active(three).name == NEW
    assert [action for _, action, _ in actions(three)][3:] == [None, "repair"]


def test_a_foreign_policy_that_names_another_model_that_can_run_is_adopted_and_left_alone(three: Home) -> None:
    write_policy(three, MID)
    policy = three.inference_policy.read_bytes()
    repair(three, at=LATER)
    assert actions(three)[3:] == [(4, "adopt", NEW)]
    assert three.inference_policy.read_bytes() == policy
    assert findings(three) == [("warning", "P1", "policy_names_another_model")]


def test_a_key_that_another_program_added_to_the_pointer_is_adopted_with_it(three: Home) -> None:
    edit_json(three.active_pointer, {"colour": "blue"})
    repair(three, at=LATER)
    assert history_lines(three)[-1]["new"]["colour"] == "blue"
    assert damage(three) == []


ODD_POINTERS: dict[str, dict[str, object]] = {
    "a figure that is not a number": {"reason": {"macro_f1": float("nan")}},
    "an infinite figure": {"reason": {"macro_f1": float("inf")}},
    "half a character": {"note": "\ud800"},
    "a time without a zone": {"selected_at": "2026-02-20T00:00:00"},
    "a time of another zone": {"selected_at": "2026-02-20T00:00:00.123456-07:30"},
    "no model_id": {"model_id": None},
    "a huge number": {"reason": {"n": 10**300}},
    "a deep note": {"reason": {"a": [[[[[[{"b": [None, True]}]]]]]]}},
}


@pytest.mark.parametrize("changes", ODD_POINTERS.values(), ids=ODD_POINTERS.keys())
def test_an_odd_pointer_to_a_model_that_runs_stops_no_writer(three: Home, changes: dict[str, object]) -> None:
    point_at(three, MID)
    edit_json(three.active_pointer, changes)
    repair(three, at=LATER)
    assert read_active(three).name == MID
    assert repair(three, at=LATER + DAY).done == []
    promote(three, judged(three, NEXT), at=LATER + 2 * DAY)
    assert read_active(three).name == NEXT
    assert damage(three) == []


# --- Leftovers ------------------------------------------------------------------------------------------------------------------------


def test_leftovers_are_swept_and_said(three: Home) -> None:
    write_tiny_bundle(three.staging / "half")
    (three.models / ".active.json.0.tmp").write_text("{", encoding="utf-8")
    assert {code for _, promise, code in findings(three) if promise == "P2"} == {"staging_not_empty", "temporary_file"}
    recovery = repair(three, at=LATER)
    assert [(step.kind, ".active.json.0.tmp" in step.detail) for step in recovery.done] == [("remains_removed", True)]
    assert not three.staging.exists()
    assert findings(three) == []


def test_the_only_copy_of_a_bundle_is_never_swept(three: Home) -> None:
    lost = shutil.copytree(three.models / NEW, three.models / "other")
    document = json.loads((lost / MANIFEST).read_text(encoding="utf-8"))
    (lost / MANIFEST).write_text(json.dumps({**document, "model_id": "other"}), encoding="utf-8")
    repair(three, at=LATER)
    assert find_bundle(three, "other") == lost


# --- The last known good --------------------------------------------------------------------------------------------------------------


def test_the_last_known_good_is_the_last_that_ran_and_can_run(three: Home) -> None:
    def good(but: str | None = None) -> str | None:
        found = find_last_known_good(read_registry_state(three), but=but)
        return None if found is None else found.name

    assert good() == NEW
    assert good(f"models/{NEW}") == MID
    (three.models / NEW / MODEL).unlink()
    assert good() == MID
    change_a_leaf(three.models / MID)
    assert good() == OLD
    shutil.rmtree(three.models / OLD)
    assert good() is None
