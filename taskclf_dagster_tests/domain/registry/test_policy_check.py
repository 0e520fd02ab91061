"""The inference policy is checked like the pointer: against its format, against what it names, and against the history."""

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from taskclf_dagster.domain.models.bundle_files import METADATA, MODEL
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.health import find_history_disagreement, find_policy_problem
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD, read_policy
from taskclf_dagster.domain.registry.policy_check import find_document_problem
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    contents,
    copy_real_home,
    edit_json,
    home_with_champion,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import (
    NEXT,
    actions,
    findings,
    history_lines,
    judged,
    promote,
    promoted,
    read,
    refused,
    set_active,
    settled,
)
from taskclf_dagster_tests.scenario import DAY, make_home

LATER = AT + 9 * DAY


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def three(home: Home) -> Home:
    """OLD, MID and NEW were promoted in this order: records 1 to 3, each with its policy."""
    return promoted(home, OLD, MID, NEW)


def codes(home: Home) -> set[str]:
    return {finding.code for finding in check_registry(home)}


def kind_of_problem(home: Home) -> str | None:
    problem = find_policy_problem(read_registry_state(home))
    return None if problem is None else problem.code


def used_threshold(home: Home) -> float:
    model = resolve_active_model(read_registry_state(home)).model
    assert model is not None
    return model.reject_threshold


# --- Damage ------------------------------------------------------------------------------------------------------------------------------


def test_every_changed_digit_of_the_threshold_is_found_and_the_recorded_threshold_is_used(three: Home) -> None:
    text = three.inference_policy.read_text(encoding="utf-8")
    threshold = json.loads(text)["reject_threshold"]
    begin = text.index(str(threshold))
    unseen, tried = [], 0
    for position in range(begin, begin + len(str(threshold))):
        if text[position] == ".":
            continue
        for step in (1, 4, 7):
            changed = text[:position] + str((int(text[position]) + step) % 10) + text[position + 1 :]
            three.inference_policy.write_text(changed, encoding="utf-8")
            same_number = _loads(changed) == json.loads(text)  # beyond the precision of a double
            tried += not same_number
            if not same_number and (kind_of_problem(three) is None or used_threshold(three) != threshold):
                unseen.append(changed[begin : begin + 24])
    assert unseen == []
    assert tried > 30


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_a_flipped_bit_in_any_byte_of_the_policy_is_found_and_never_used(three: Home) -> None:
    whole = three.inference_policy.read_bytes()
    threshold, unseen, used = used_threshold(three), [], []
    for position in range(0, len(whole), 5):
        content = bytearray(whole)
        content[position] ^= 1 << (position % 8)
        three.inference_policy.write_bytes(content)
        if _loads(content.decode("utf-8", "replace")) == json.loads(whole):
            continue
        state = read_registry_state(three)
        if find_policy_problem(state) is None and state.policy.status != "foreign":
            unseen.append(position)
        if used_threshold(three) != (DEFAULT_REJECT_THRESHOLD if state.policy.names_no_model else threshold):
            used.append(position)
    assert (unseen, used) == ([], [])


FIELDS: dict[str, tuple[dict[str, object], str]] = {
    "version": ({"policy_version": "v2"}, "policy_version"),
    "version as a number": ({"policy_version": 1}, "policy_version"),
    "no model": ({"model_dir": None}, "model_dir"),
    "a model outside": ({"model_dir": "/etc"}, "model_dir"),
    "a model above": ({"model_dir": "models/../../x"}, "model_dir"),
    "a model that does not exist": ({"model_dir": "models/2026-01-10_060000_run-9999"}, "model"),
    "another schema": ({"model_schema_hash": "7f29b4b8795e"}, "model_schema_hash"),
    "fewer labels": ({"model_label_set": ["Build", "Debug"]}, "model_label_set"),
    "a label twice": ({"model_label_set": ["Build"] * 8}, "model_label_set"),
    "labels as a text": ({"model_label_set": "Build"}, "model_label_set"),
    "a store outside": ({"calibrator_store_dir": "/var"}, "calibrator_store_dir"),
    "a store above": ({"calibrator_store_dir": "../calibrators"}, "calibrator_store_dir"),
    "a store that does not exist": ({"calibrator_store_dir": "artifacts/nothing"}, "calibrator_store_dir"),
    "an unknown method": ({"calibration_method": "platt"}, "calibration_method"),
    "a threshold above 1": ({"reject_threshold": 1.0000001}, "reject_threshold"),
    "a threshold below 0": ({"reject_threshold": -0.1}, "reject_threshold"),
    "a threshold that is no number": ({"reject_threshold": "0.6"}, "reject_threshold"),
    "a threshold that is a truth value": ({"reject_threshold": True}, "reject_threshold"),
    "an infinite threshold": ({"reject_threshold": float("inf")}, "reject_threshold"),
    "no threshold": ({"reject_threshold": None}, "reject_threshold"),
    "a user's threshold above 1": ({"per_user_reject_thresholds": {"ann": 0.4, "bob": 7}}, "per_user_reject_thresholds"),
    "users' thresholds as a list": ({"per_user_reject_thresholds": [0.4]}, "per_user_reject_thresholds"),
    "no time": ({"created_at": "lately"}, "created_at"),
    "a source that is no text": ({"source": 5}, "source"),
    "a commit that is no text": ({"git_commit": []}, "git_commit"),
}


def test_every_field_with_a_value_that_it_must_not_have_is_found_by_its_kind_and_the_recorded_policy_is_used(three: Home) -> None:
    recorded, threshold, wrong = three.inference_policy.read_bytes(), used_threshold(three), {}
    for name, (changes, kind) in FIELDS.items():
        edit_json(three.inference_policy, {"created_at": LATER.isoformat(), **changes})  # as another program would write it
        champion = resolve_active_model(read_registry_state(three))
        found = kind_of_problem(three), champion.source, champion.model_dir, used_threshold(three), bool(champion.warnings)
        expected = ("pointer", DEFAULT_REJECT_THRESHOLD) if kind in ("model", "model_dir") else ("policy", threshold)
        if found != (kind, expected[0], f"models/{NEW}", expected[1], True) or "policy_unusable" not in codes(three):
            wrong[name] = found
        three.inference_policy.write_bytes(recorded)
    assert wrong == {}
    assert {kind for _, kind in FIELDS.values()} - {"model"} == set(json.loads(recorded))


def test_every_field_that_is_left_out_or_edited_in_place_is_found(three: Home) -> None:
    recorded, unseen = three.inference_policy.read_bytes(), []
    for key, value in json.loads(recorded).items():
        for changes in ({}, {key: "x" if isinstance(value, str) else 0.111}):
            edit_json(three.inference_policy, changes, without=None if changes else key)
            if not codes(three) & {"policy_unusable", "policy_differs"}:
                unseen.append((key, changes))
            three.inference_policy.write_bytes(recorded)
    edit_json(three.inference_policy, {"another key": 1})
    assert unseen == []
    assert kind_of_problem(three) == "edited_in_place"


CALIBRATORS: dict[str, Callable[[Home], object]] = {
    "of another schema": lambda home: edit_json(home.calibrator_store, {"model_schema_hash": "a15f4751a947"}),
    "of another model": lambda home: edit_json(home.calibrator_store, {"model_bundle_id": OLD}),
    "damaged": lambda home: home.calibrator_store.write_text("{", encoding="utf-8"),
    "deleted": lambda home: shutil.rmtree(home.calibrator_store.parent),
    "a link out of the home": lambda home: [
        shutil.move(home.calibrator_store.parent, home.root.parent / "elsewhere"),
        home.calibrator_store.parent.symlink_to(home.root.parent / "elsewhere", target_is_directory=True),
    ],
}


def test_a_policy_with_calibrators_that_taskclf_would_not_use_is_replaced_by_one_that_it_would(tmp_path: Path) -> None:
    wrong = {}
    for name, harm in CALIBRATORS.items():
        home = promoted(make_home(tmp_path / name), OLD, NEW)
        write_policy(home, NEW)
        repair(home, at=LATER)  # adopted
        harm(home)
        found = kind_of_problem(home)
        repair(home, at=LATER + DAY)
        left = read(home.inference_policy)["calibrator_store_dir"], kind_of_problem(home)
        if (found, left) != ("calibrator_store_dir", (None, None)):
            wrong[name] = found, left
    assert wrong == {}


def test_a_policy_of_a_bundle_whose_metadata_names_other_labels_is_not_followed(three: Home) -> None:
    write_tiny_bundle(three.models / "foreign")
    edit_json(three.inference_policy, {"model_dir": "models/foreign", "created_at": LATER.isoformat()})
    assert kind_of_problem(three) is None
    labels = read(three.models / "foreign" / METADATA)["label_set"]
    edit_json(three.models / "foreign" / METADATA, {"label_set": [*labels[:-1], "Watch"]})
    assert kind_of_problem(three) == "model"


def test_a_removed_policy_is_a_foreign_change_the_champion_is_judged_as_taskclf_runs_it_and_the_history_keeps_what_it_was(
    three: Home,
) -> None:
    document = read(three.inference_policy)
    three.inference_policy.unlink()  # as `taskclf policy remove`
    champion = resolve_active_model(read_registry_state(three))
    assert (champion.source, champion.model_dir, used_threshold(three)) == ("pointer", f"models/{NEW}", DEFAULT_REJECT_THRESHOLD)
    assert (kind_of_problem(three), codes(three)) == (None, {"policy_not_recorded", "policy_missing"})
    repair(three, at=LATER)
    assert not three.inference_policy.exists()
    record = history_lines(three)[-1]
    assert (record["action"], record["new"]["model_id"], record["policy_removed"], "policy" in record) == ("adopt", NEW, True, False)
    assert f"{document['reject_threshold']:.4g}" in record["reason"]
    assert read_registry_state(three).history.policies[0] == document
    assert (codes(three), used_threshold(three), repair(three, at=LATER).done) == ({"policy_missing"}, DEFAULT_REJECT_THRESHOLD, [])


def test_a_removed_policy_that_comes_back_is_adopted_again_and_a_damaged_one_is_not_replaced_by_it(three: Home) -> None:
    document = read(three.inference_policy)
    three.inference_policy.unlink()
    repair(three, at=LATER)
    three.inference_policy.write_text("{", encoding="utf-8")
    assert used_threshold(three) == DEFAULT_REJECT_THRESHOLD
    repair(three, at=LATER)
    assert read(three.inference_policy)["reject_threshold"] == DEFAULT_REJECT_THRESHOLD
    write_json(three.inference_policy, document)
    assert codes(three) == {"policy_not_recorded"}
    repair(three, at=LATER)
    assert (used_threshold(three), codes(three)) == (document["reject_threshold"], set())


def test_a_policy_that_is_deleted_with_the_pointer_is_restored_with_it(three: Home) -> None:
    document = read(three.inference_policy)
    three.inference_policy.unlink()
    three.active_pointer.unlink()
    assert used_threshold(three) == document["reject_threshold"]
    repair(three, at=LATER)
    assert (read(three.inference_policy), codes(three)) == (document, set())


def test_a_promotion_over_a_removed_policy_records_the_removal_first_and_writes_a_policy(three: Home) -> None:
    three.inference_policy.unlink()
    promote(three, judged(three, NEXT, champion_model_dir=f"models/{NEW}"), at=LATER)
    assert [action for _, action, _ in actions(three)[3:]] == ["adopt", "promote"]
    assert (read(three.inference_policy)["model_dir"], findings(three)) == (f"models/{NEXT}", [])


@pytest.mark.parametrize("model_dir", ["models/<run_id>", "models/<model_id>"])
def test_the_starter_template_of_taskclf_is_no_policy_and_no_damage(home: Home, model_dir: str) -> None:
    settled(home)
    template = {"model_schema_hash": "<schema_hash>", "model_label_set": ["<label>"], "source": "starter-template", "_help": {"notes": []}}
    write_policy(home, MID, model_dir=model_dir, calibrator_store_dir=None, **template)
    content = home.inference_policy.read_bytes()
    champion = resolve_active_model(read_registry_state(home))
    assert (champion.source, champion.model_dir, used_threshold(home)) == ("pointer", f"models/{MID}", DEFAULT_REJECT_THRESHOLD)
    assert (codes(home), kind_of_problem(home)) == ({"policy_missing"}, None)
    assert find_history_disagreement(read_registry_state(home)) is None
    assert (repair(home, at=LATER).done, home.inference_policy.read_bytes()) == ([], content)


def test_without_policy_and_record_the_champion_has_the_default_threshold_of_taskclf(home: Home) -> None:
    home_with_champion(home)
    edit_json(home.models / MID / METADATA, {"reject_threshold": 0.31})
    champion = resolve_active_model(read_registry_state(home))
    assert (champion.source, used_threshold(home), len(champion.warnings)) == ("pointer", DEFAULT_REJECT_THRESHOLD, 1)


# --- Repair ------------------------------------------------------------------------------------------------------------------------------


def test_repair_restores_the_recorded_policy_and_the_history_keeps_what_was_there(three: Home) -> None:
    document = read(three.inference_policy)
    edit_json(three.inference_policy, {"reject_threshold": 0.4321})
    assert codes(three) == {"policy_differs"}
    recovery = repair(three, at=LATER)
    assert (recovery.repaired, recovery.policy_mended) == (False, True)
    assert read(three.inference_policy) == document
    record = history_lines(three)[-1]
    assert (record["action"], record["policy"]) == ("repair", document)
    assert "0.4321" in record["reason"]
    assert findings(three) == []
    before = contents(three.root)
    assert repair(three, at=LATER + DAY).done == []
    assert contents(three.root) == before


def test_a_damaged_policy_of_a_model_that_another_program_activated_is_replaced_by_the_policy_that_this_model_had(three: Home) -> None:
    had = next(record["policy"] for record in history_lines(three) if record["new"]["model_id"] == OLD)
    set_active(three, OLD, at=LATER)
    three.inference_policy.write_bytes(b"\xff\xfe")
    assert resolve_active_model(read_registry_state(three)).model_dir == f"models/{OLD}"
    repair(three, at=LATER)
    assert read(three.inference_policy) == had


def test_a_policy_that_was_deleted_with_a_change_of_the_pointer_is_not_restored_for_the_model_before(three: Home) -> None:
    set_active(three, OLD, at=LATER)
    three.inference_policy.unlink()
    repair(three, at=LATER)
    assert not three.inference_policy.exists()
    assert resolve_active_model(read_registry_state(three)).model_dir == f"models/{OLD}"
    assert (actions(three)[4:], history_lines(three)[-1]["policy_removed"]) == ([(4, "adopt", OLD)], True)
    assert codes(three) == {"policy_missing"}


def test_a_promotion_over_a_damaged_policy_restores_it_first_and_holds(three: Home) -> None:
    edit_json(three.inference_policy, {"reject_threshold": 0.99})
    decision = judged(three, NEXT, champion_model_dir=f"models/{NEW}")
    promote(three, decision, at=LATER)
    assert [action for _, action, _ in actions(three)[3:]] == ["repair", "promote"]
    assert (read(three.inference_policy)["model_dir"], findings(three)) == (f"models/{NEXT}", [])


# --- Foreign changes ---------------------------------------------------------------------------------------------------------------------


def test_a_valid_policy_of_another_program_is_adopted_and_later_checks_compare_with_it(three: Home) -> None:
    tuned = write_policy(three, NEW, reject_threshold=0.37, source="calibrate")
    assert (codes(three), kind_of_problem(three), used_threshold(three)) == ({"policy_not_recorded"}, None, 0.37)
    content, pointer = three.inference_policy.read_bytes(), three.active_pointer.read_bytes()
    repair(three, at=LATER)
    assert (three.inference_policy.read_bytes(), three.active_pointer.read_bytes()) == (content, pointer)
    record = history_lines(three)[-1]
    assert (record["action"], record["policy"], record["old"], record["new"]) == ("adopt", tuned, *[json.loads(pointer)] * 2)
    assert findings(three) == []
    edit_json(three.inference_policy, {"reject_threshold": 0.38})
    assert (codes(three), used_threshold(three)) == ({"policy_differs"}, 0.37)
    repair(three, at=LATER)
    assert read(three.inference_policy) == tuned


def test_a_policy_of_a_home_that_taskclf_used_before_is_adopted_once(home: Home) -> None:
    settled(home)
    policy = write_policy(home, MID)
    repair(home, at=LATER)
    assert (read_history(home).policies, findings(home)) == ([policy], [])
    assert repair(home, at=LATER).done == []


def test_pointer_and_policy_of_another_program_are_adopted_in_one_record(three: Home) -> None:
    set_active(three, MID, at=LATER)
    policy = write_policy(three, MID)
    repair(three, at=LATER)
    assert actions(three)[4:] == [(4, "adopt", MID)]
    assert (history_lines(three)[-1]["policy"], findings(three)) == (policy, [])


def test_a_rollback_restores_the_policy_that_the_model_ran_with_last(home: Home) -> None:
    promoted(home, OLD)
    tuned = write_policy(home, OLD, reject_threshold=0.37)
    promote(home, judged(home, NEW), at=AT + DAY)
    rollback(home, to=None, reason="worse", at=LATER)
    document = read(home.inference_policy)
    assert document == {**tuned, "created_at": LATER.isoformat(), "source": "rollback"}
    assert findings(home) == []


@pytest.mark.parametrize("damage", [{"reject_threshold": 2.2238}, {"reject_threshold": 0.9}, {"calibrator_store_dir": "/etc"}])
def test_a_decision_that_names_a_damaged_policy_as_the_one_in_force_is_refused(home: Home, damage: dict[str, object]) -> None:
    promoted(home, OLD)
    decision = judged(home, NEW, previous_policy={**read(home.inference_policy), **damage})
    with refused("policy_differs"):
        promote(home, decision, at=AT + DAY)


def test_the_policy_of_the_original_is_valid(real_homes: Path, tmp_path: Path) -> None:
    home = copy_real_home(real_homes / "original-home", tmp_path / "copy")
    assert find_document_problem(read(home.inference_policy)) is None
    state = read_registry_state(home)
    assert (state.policy.status, state.policy.problem) == ("foreign", None)


# --- Interrupted -------------------------------------------------------------------------------------------------------------------------


class _Killed(BaseException):
    """The process ended."""


class _DiesAt(FileSystem):
    """The process ends at the n-th change of a file; nothing later has an effect."""

    def __init__(self, number: int) -> None:
        self.left = number

    def _count(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise _Killed

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        self._count()
        super().create(path, content)

    def append(self, path: Path, content: bytes) -> None:
        self._count()
        super().append(path, content)

    def replace(self, source: Path, target: Path) -> None:
        self._count()
        super().replace(source, target)

    def truncate(self, path: Path, size: int) -> None:
        self._count()
        super().truncate(path, size)

    def remove_file(self, path: Path) -> None:
        self._count()
        super().remove_file(path)


HARM: dict[str, Callable[[Home], object]] = {
    "edited": lambda home: edit_json(home.inference_policy, {"reject_threshold": 0.4321}),
    "removed": lambda home: home.inference_policy.unlink(),
    "foreign": lambda home: write_policy(home, NEW),
}


def test_a_repair_or_an_adoption_that_is_killed_at_any_change_is_finished_by_the_next(tmp_path: Path) -> None:
    wrong, killed = [], 0
    for name, harm in HARM.items():
        for number in count(1):
            home = promoted(make_home(tmp_path / f"{name} {number}"), OLD, NEW)
            recorded = read(home.inference_policy)
            harm(home)
            wanted = {"edited": recorded, "removed": None, "foreign": read_policy(home)}[name]
            try:
                with use_file_system(_DiesAt(number)):
                    repair(home, at=LATER)
                break
            except _Killed:
                killed += 1
            allowed = {None, "edited_in_place"} if name == "edited" else {None}
            threshold = DEFAULT_REJECT_THRESHOLD if wanted is None else wanted["reject_threshold"]
            if kind_of_problem(home) not in allowed or used_threshold(home) != threshold:
                wrong.append((name, number, "in between"))
            repair(home, at=LATER + DAY)
            if read_policy(home) != wanted or codes(home) - {"policy_missing"}:
                wrong.append((name, number, "afterwards"))
    assert wrong == []
    assert killed > 10


def test_a_promotion_interrupted_between_its_record_and_its_policy_is_not_damage_of_the_policy(three: Home) -> None:
    promote_number = next(number for number in count(1) if _stops_before_policy(three, number))
    assert promote_number > 1
    assert kind_of_problem(three) is None
    assert "change_interrupted" in codes(three)
    repair(three, at=LATER)
    assert (read(three.inference_policy)["model_dir"], findings(three)) == (f"models/{NEXT}", [])


def _stops_before_policy(home: Home, number: int) -> bool:
    """Promotes NEXT and is killed at a change; True if that left a record without its policy, else the home is as before."""
    before = contents(home.root)
    decision = judged(home, NEXT)
    try:
        with use_file_system(_DiesAt(number)):
            promote(home, decision, at=LATER)
    except _Killed:
        last = read_history(home).last_move
        if last is not None and last.new is not None and last.new.name == NEXT and read(home.inference_policy) != last.policy:
            return True
    shutil.rmtree(home.root)
    for name, content in before.items():
        path = home.root / name
        path.mkdir(parents=True, exist_ok=True) if content == b"<folder>" else path.parent.mkdir(parents=True, exist_ok=True)
        if content != b"<folder>":
            path.write_bytes(content)
    return False


def test_a_bundle_that_breaks_under_its_recorded_policy_is_the_bundles_problem(three: Home) -> None:
    (three.models / NEW / MODEL).unlink()
    assert kind_of_problem(three) == "model"
    assert resolve_active_model(read_registry_state(three)).model_dir == f"models/{MID}"
    repair(three, at=LATER)
    assert read(three.inference_policy)["model_dir"] == f"models/{MID}"
