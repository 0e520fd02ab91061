"""The registry: what taskclf runs changes only by a decision that holds, whole and on record."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.decision_store import read_decision, save_decision
from taskclf_dagster.domain.decision.references import ModelRef
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.models.bundle_files import ENCODERS, MANIFEST, METADATA, METRICS, MODEL, bundle_hashes, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.encoding import encode_inputs
from taskclf_dagster.domain.models.fitting import predict
from taskclf_dagster.domain.models.manifest import build_manifest
from taskclf_dagster.domain.registry.applied_decisions import is_applied, put_aside
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.health import find_history_disagreement, find_pointer_problem
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import ActivePointer, read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import hash_file, write_json
from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.errors import DecisionFindingKind, DecisionNotVerifiedError, RegistryRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.masking import masked
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    a_decision,
    all_gates,
    change_a_leaf,
    contents,
    copy_real_home,
    edit_json,
    infeasible,
    point_at,
    rows_of,
    tiny_model,
    with_changes,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import (
    NEXT,
    Recording,
    actions,
    damage,
    findings,
    history_lines,
    judged,
    promote,
    promoted,
    read,
    refused,
    set_active,
    settled,
    untouched,
    write_variant,
)
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def champion_home(home: Home) -> Home:
    """MID runs, OLD ran before; taskclf put them there, and the registry has taken note."""
    return settled(home)


@pytest.fixture
def challenger_home(champion_home: Home) -> Home:
    """The same, and NEW has been built and judged."""
    write_tiny_bundle(champion_home.challengers / NEW)
    return champion_home


# --- What a promotion writes --------------------------------------------------------------------------------------------------------


def test_the_first_promotion_writes_these_files_and_no_others(home: Home) -> None:
    built = write_tiny_bundle(home.challengers / NEW)
    bundle = {f"models/{NEW}/{path.name}": path.read_bytes() for path in built.iterdir()}
    decision = a_decision(home)
    promotion = promote(home, decision, at=AT)
    pointer, before = promotion.pointer, promotion.previous
    assert (pointer.model_dir, before) == (f"models/{NEW}", None)
    written = contents(home.root)
    (event,) = (name for name in written if name.startswith("artifacts/outbox/0"))
    assert set(written) == {
        *bundle,
        f"models/{NEW}/MANIFEST.json",
        f"models/{NEW}/MODEL_CARD.md",
        "models/active.json",
        "models/active_history.jsonl",
        "models/inference_policy.json",
        "models/index.json",
        f"artifacts/decisions/{decision.decision_id}.json",
        event,
        "artifacts/outbox/written_through.json",
        *("data", "data/processed", "models", f"models/{NEW}"),
        *("artifacts", "artifacts/challengers", "artifacts/decisions", "artifacts/outbox"),
    }
    assert {name: written[name] for name in bundle} == bundle
    assert findings(home) == []


def test_nothing_hidden_but_the_lock_is_left_in_models(challenger_home: Home) -> None:
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert [path.name for path in challenger_home.models.rglob(".*")] == [".lock"]


def test_the_challenger_lies_in_models_alone_after_its_promotion(challenger_home: Home) -> None:
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert not (challenger_home.challengers / NEW).exists()
    assert find_bundle(challenger_home, NEW) == challenger_home.models / NEW


def test_the_manifest_names_size_and_hash_of_every_file_and_the_receipt(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    promote(challenger_home, decision, at=AT)
    folder = challenger_home.models / NEW
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "MANIFEST.json"}
    assert read(folder / MANIFEST) == {
        "version": 1,
        "model_id": NEW,
        "decision_id": decision.decision_id,
        "files": {name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)} for name, content in files.items()},
    }
    assert {MODEL, METADATA, METRICS, ENCODERS} <= set(files)


def test_the_pointer_has_the_keys_of_the_contract_and_the_number_of_its_record(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    promotion = promote(challenger_home, decision, at=AT)
    pointer, before = promotion.pointer, promotion.previous
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
        "sequence": 2,
    }
    assert read_active(challenger_home) == pointer
    assert before.model_dir == f"models/{MID}"


def read_as_taskclf_does(home: Home) -> tuple[Path, datetime]:
    """The model folder and time of active.json and inference_policy.json by the rules of the contract, with none of our code."""
    pointer = json.loads(home.active_pointer.read_bytes().decode("utf-8"))
    assert type(pointer["policy_version"]) is int
    assert pointer["policy_version"] == 1
    assert set(pointer["reason"]) >= {"metric", "macro_f1", "weighted_f1", "note"}
    selected = datetime.fromisoformat(pointer["selected_at"])
    assert selected.utcoffset() is not None
    folder = home.root / pointer["model_dir"]
    assert folder.name == pointer["model_id"]
    policy = json.loads(home.inference_policy.read_bytes().decode("utf-8"))
    assert policy["policy_version"] == "v1"
    assert home.root / policy["model_dir"] == folder
    for line in home.active_history.read_text(encoding="utf-8").splitlines():
        assert {"at", "old", "new"} <= set(json.loads(line))
    assert all((folder / name).is_file() for name in ("model.txt", "metadata.json", "metrics.json", "confusion_matrix.csv"))
    return folder, selected


def test_taskclf_understands_what_a_promotion_wrote(challenger_home: Home) -> None:
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert read_as_taskclf_does(challenger_home) == (challenger_home.models / NEW, AT)


def test_the_history_line_links_old_and_new_names_the_receipt_and_says_why(challenger_home: Home) -> None:
    set_active(challenger_home, MID, colour="blue")
    earlier = challenger_home.active_history.read_bytes()
    old, decision = read_active(challenger_home), a_decision(challenger_home)
    promote(challenger_home, decision, at=AT, run_id="run-7")
    assert challenger_home.active_history.read_bytes().startswith(earlier)
    line = history_lines(challenger_home)[-1]
    assert set(line) == {
        *("at", "old", "new", "sequence", "action", "decision_id", "run_id", "reason", "policy", "previous_hash", "checksum")
    }
    assert datetime.fromisoformat(line["at"]) == AT
    assert line["new"] == read(challenger_home.active_pointer)
    assert line["policy"] == read(challenger_home.inference_policy)
    assert ActivePointer.model_validate(line["old"]) == old
    assert line["old"]["colour"] == "blue"
    assert (line["action"], line["decision_id"], line["run_id"]) == ("promote", decision.decision_id, "run-7")
    assert line["reason"] == decision.reason


def test_records_are_numbered_from_1_and_each_hashes_every_byte_before_it_and_itself(home: Home) -> None:
    write_tiny_bundle(home.models / MID)
    set_active(home, MID)
    for i, model_id in enumerate((NEW, NEXT)):
        promote(home, judged(home, model_id), at=AT + i * DAY)
        set_active(home, MID, at=AT + i * DAY)  # a foreign line between ours
    promote(home, judged(home, OLD), at=AT + 3 * DAY)
    content, seen = home.active_history.read_bytes(), []
    for line in content.splitlines(keepends=True):
        document = json.loads(line)
        if "sequence" in document:
            seen.append(document["sequence"])
            assert document["previous_hash"] == hashlib.sha256(content[: content.index(line)]).hexdigest()
            checksum = document.pop("checksum")
            canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert checksum == hashlib.sha256(canonical.encode()).hexdigest()
    assert seen == list(range(1, len(seen) + 1))
    assert [action for _, action, _ in actions(home) if action] == ["adopt", "promote", "adopt", "promote", "adopt", "promote"]
    assert damage(home) == []


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
    challenger_home.index.unlink(missing_ok=True)
    challenger_home.index.mkdir()  # so that it cannot be written
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert resolve_active_model(read_registry_state(challenger_home)).model_dir == f"models/{NEW}"


def test_the_receipt_is_stored_if_it_was_not_or_says_something_else(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    challenger_home.decisions.mkdir()
    (challenger_home.decisions / f"{decision.decision_id}.json").write_text("{", encoding="utf-8")
    promote(challenger_home, decision, at=AT)
    assert read_decision(challenger_home, decision.decision_id) == decision


def test_each_step_is_durable_before_the_next_begins(challenger_home: Home) -> None:
    # Bundle before manifest before its place in models/, then the record, then the policy, which taskclf reads first, then the pointer,
    # then the event, and index.json at last; all of it under the lock.
    decision, recording = a_decision(challenger_home), Recording()
    with use_file_system(recording):
        promote(challenger_home, decision, at=AT)
    steps = [
        ("lock", ".lock"),
        ("replace", f"{decision.decision_id}.json"),
        ("sync_folder", "decisions"),
        ("sync_file", MODEL),
        ("create", MANIFEST),
        ("sync_file", MANIFEST),
        ("sync_folder", NEW),
        ("rename", NEW),
        ("sync_folder", "models"),
        ("append", "active_history.jsonl"),
        ("sync_file", "active_history.jsonl"),
        ("replace", "inference_policy.json"),
        ("sync_folder", "models"),
        ("replace", "active.json"),
        ("sync_folder", "models"),
        ("replace", "written_through.json"),
        ("sync_folder", "outbox"),
        ("replace", "index.json"),
        ("unlock", ".lock"),
    ]
    position = -1
    for step in steps:
        position = recording.calls.index(step, position + 1)  # raises where a step is missing or comes too early


# --- What follows from it -----------------------------------------------------------------------------------------------------------


def test_the_promoted_model_is_what_taskclf_runs_from_then_on(challenger_home: Home) -> None:
    write_policy(challenger_home, OLD)
    promote(challenger_home, a_decision(challenger_home), at=AT)
    found = resolve_active_model(read_registry_state(challenger_home))
    assert (found.state, found.source, found.model_dir, found.warnings) == ("ok", "policy", f"models/{NEW}", [])
    rows, trained = rows_of("test"), tiny_model()
    expected = predict(trained.booster, encode_inputs(rows, SCHEMAS["v1"], trained.encoders), num_threads=1)
    assert np.array_equal(found.model.predict_rows(rows, num_threads=1), expected)
    assert find_pointer_problem(read_registry_state(challenger_home)) is None
    assert find_history_disagreement(read_registry_state(challenger_home)) is None


def test_the_challenger_becomes_active_even_if_others_have_higher_stored_scores(champion_home: Home) -> None:
    for name, macro_f1 in [(OLD, 0.99), (MID, 0.97)]:
        edit_json(champion_home.models / name / METRICS, {"macro_f1": macro_f1})
    edit_json(write_tiny_bundle(champion_home.challengers / NEW) / METRICS, {"macro_f1": 0.73})
    promote(champion_home, a_decision(champion_home), at=AT)
    assert read_active(champion_home).model_id == NEW
    assert read_active(champion_home).reason["macro_f1"] == 0.73
    assert resolve_active_model(read_registry_state(champion_home)).model_dir == f"models/{NEW}"


def test_a_pointer_set_back_by_hand_is_what_the_next_promotion_replaces(challenger_home: Home) -> None:
    edit_json(challenger_home.models / MID / METRICS, {"macro_f1": 0.99})
    point_at(challenger_home, OLD)
    before = promote(challenger_home, a_decision(challenger_home), at=AT).previous
    assert before.model_id == OLD
    assert [(action, name) for _, action, name in actions(challenger_home)][-2:] == [("adopt", OLD), ("promote", NEW)]


def test_a_waiting_bundle_is_promoted_from_where_it_waits(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.pending_models / NEW)
    promote(champion_home, a_decision(champion_home), at=AT)
    assert find_bundle(champion_home, NEW) == champion_home.models / NEW
    assert not (champion_home.pending_models / NEW).exists()


def test_a_decision_read_from_its_file_promotes(challenger_home: Home) -> None:
    decision = PromotionDecision.model_validate_json(a_decision(challenger_home).model_dump_json())
    assert promote(challenger_home, decision, at=AT).pointer.model_id == NEW


def test_a_bundle_of_a_challenger_that_lies_in_models_already_is_promoted_there_and_gets_its_manifest(champion_home: Home) -> None:
    write_tiny_bundle(champion_home.models / NEW)  # as an earlier version of this program, or a person, left it
    decision = a_decision(champion_home)
    promote(champion_home, decision, at=AT)
    assert read_active(champion_home).model_id == NEW
    assert bundle_hashes(champion_home.models / NEW) == decision.challenger.files
    assert read(champion_home.models / NEW / MANIFEST)["decision_id"] == decision.decision_id


def test_a_promotion_over_a_pointer_that_cannot_be_read_and_no_history_has_no_old_one(home: Home) -> None:
    home.models.mkdir()
    home.active_pointer.write_text("{", encoding="utf-8")
    before = promote(home, judged(home), at=AT).previous
    assert before is None
    assert history_lines(home)[-1]["old"] is None
    assert read_active(home).model_id == NEW


def test_a_damaged_pointer_is_put_back_before_a_decision_that_was_made_against_the_last_known_good(challenger_home: Home) -> None:
    challenger_home.active_pointer.write_text("{", encoding="utf-8")
    before = promote(challenger_home, a_decision(challenger_home, champion_model_dir=f"models/{MID}"), at=AT).previous
    assert before.model_id == MID
    assert actions(challenger_home)[2:] == [(1, "adopt", MID), (2, "repair", MID), (3, "promote", NEW)]
    assert damage(challenger_home) == []


@pytest.mark.parametrize("champion_dir", [None, f"models/{OLD}"])
def test_a_damaged_pointer_is_put_back_and_a_decision_that_was_made_against_something_else_is_refused(
    challenger_home: Home, champion_dir: str | None
) -> None:
    challenger_home.active_pointer.write_text("{", encoding="utf-8")
    with refused("registry_moved_on"):
        promote(challenger_home, a_decision(challenger_home, champion_model_dir=champion_dir), at=AT)
    assert read_active(challenger_home).model_id == MID
    assert find_bundle(challenger_home, NEW) == challenger_home.challengers / NEW


def test_a_promotion_behind_a_torn_history_is_on_record(challenger_home: Home) -> None:
    with challenger_home.active_history.open("ab") as file:
        file.write(b'{"at":"2026-02-04T00:00:00+00:00","old":nu')
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert actions(challenger_home) == [(None, None, OLD), (None, None, MID), (1, "adopt", MID), (2, "promote", NEW)]
    assert damage(challenger_home) == []


def test_a_pointer_never_moves_without_a_record_of_it(home: Home) -> None:
    decision = judged(promoted(home, OLD), NEW)
    before = contents(home.root)
    home.active_history.chmod(0o400)
    with use_file_system(NoAppend()), pytest.raises(OSError, match="read-only"):
        promote(home, decision, at=AT)
    home.active_history.chmod(0o644)
    assert contents(home.root) == before
    promote(home, decision, at=AT)
    assert [action for _, action, _ in actions(home)] == ["promote", "promote"]


class NoAppend(Recording):
    """A file system on which the history cannot grow."""

    def append(self, path: Path, content: bytes) -> None:
        raise OSError(30, "read-only", str(path))


# --- What an earlier crash left -----------------------------------------------------------------------------------------------------


def leave_behind(home: Home) -> None:
    """What a promotion of NEXT leaves that was cut off after its bundle was moved into models/, and another in the middle of a write."""
    decision = judged(home, NEXT)
    folder = write_variant(home.models / NEXT)
    write_json(folder / MANIFEST, build_manifest(read_bundle_files(folder), decision_id=decision.decision_id).model_dump(mode="json"))
    write_tiny_bundle(home.staging / "half")
    (home.staging / "half" / MODEL).write_text("tree", encoding="utf-8")
    for name in (".active.json.0123.tmp", ".inference_policy.json.0123.tmp"):
        (home.models / name).write_text("{", encoding="utf-8")


def test_what_a_crash_left_is_swept_by_the_next_promotion_and_the_challenger_of_the_crash_stays(challenger_home: Home) -> None:
    leave_behind(challenger_home)
    challenger = contents(challenger_home.challengers / NEXT)
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert {path.name for path in challenger_home.models.iterdir()} == {
        *(OLD, MID, NEW, ".lock", "active.json", "active_history.jsonl", "index.json", "inference_policy.json")
    }
    assert contents(challenger_home.challengers / NEXT) == challenger
    assert findings(challenger_home) == []


def test_the_promotion_that_a_crash_cut_off_can_be_done_again(challenger_home: Home) -> None:
    leave_behind(challenger_home)
    promote(challenger_home, a_decision(challenger_home, NEXT), at=AT)
    assert read_active(challenger_home).model_id == NEXT
    assert not (challenger_home.challengers / NEXT).exists()


def test_what_another_program_put_into_models_is_not_swept(challenger_home: Home) -> None:
    write_tiny_bundle(challenger_home.models / "foreign")  # no manifest
    with_manifest = write_tiny_bundle(challenger_home.models / "restored")  # no challenger either: from a backup
    write_json(with_manifest / MANIFEST, build_manifest(read_bundle_files(with_manifest), decision_id="x").model_dump(mode="json"))
    (challenger_home.models / "notes.txt").write_text("mine", encoding="utf-8")
    promote(challenger_home, a_decision(challenger_home), at=AT)
    assert {"foreign", "restored", "notes.txt"} <= {path.name for path in challenger_home.models.iterdir()}


def test_the_model_that_runs_is_not_swept_though_history_and_policy_lost_its_name_and_a_copy_is_left(home: Home) -> None:
    promoted(home, OLD, NEW)
    write_variant(home.challengers / NEW)  # the promotion was cut off before it removed the challenger
    home.active_history.unlink()
    home.inference_policy.unlink()
    repair(home, at=AT + 2 * DAY)
    assert find_pointer_problem(read_registry_state(home)) is None
    assert read_active(home).model_id == NEW


# --- Refused: what the decision says --------------------------------------------------------------------------------------------------


def _without_dry_run(decision: PromotionDecision) -> PromotionDecision:
    return decision.model_copy(update={"options": decision.options.model_copy(update={"dry_run": False})})


def _forged(decision: PromotionDecision, **changes: object) -> PromotionDecision:
    return seal(with_changes(decision, **changes))


REFUSED: dict[str, tuple[Callable[[Home], PromotionDecision], DecisionFindingKind, str]] = {
    "REJECT": (lambda home: a_decision(home, gates=all_gates(macro_f1="FAIL")), "moves_nothing", "REJECT"),
    "HOLD": (lambda home: a_decision(home, gates=all_gates(macro_f1="ERROR")), "moves_nothing", "HOLD"),
    "infeasible": (lambda home: a_decision(home, feasibility=infeasible()), "moves_nothing", "HOLD"),
    "AWAITING_APPROVAL": (lambda home: a_decision(home, auto_promote=False), "moves_nothing", "AWAITING_APPROVAL"),
    "dry run": (lambda home: a_decision(home, dry_run=True), "moves_nothing", "PROMOTE (dry run)"),
    "edited": (lambda home: a_decision(home).model_copy(update={"reason": "because"}), "hash_differs", ""),
    "dry run undone": (lambda home: _without_dry_run(a_decision(home, dry_run=True)), "hash_differs", ""),
    "forged verdict": (
        lambda home: _forged(a_decision(home), gates=all_gates(macro_f1="FAIL")),
        "verdict_does_not_follow",
        "REJECT",
    ),
    "forged approval": (
        lambda home: _forged(a_decision(home, auto_promote=False), verdict="PROMOTE"),
        "verdict_does_not_follow",
        "AWAITING_APPROVAL",
    ),
    "no gates": (lambda home: _forged(a_decision(home), gates=[]), "verdict_does_not_follow", "HOLD"),
    "without hashes of the bundle": (
        lambda home: _forged(
            a_decision(home),
            challenger=a_decision(home).challenger.model_copy(update={"files": {}}),
        ),
        "bundle_differs",
        NEW,
    ),
    "another bundle": (lambda home: a_decision(home, "2026-02-04_000000_run-9999"), "bundle_missing", "2026-02-04_000000_run-9999"),
    "of another record": (
        lambda home: a_decision(home, sequence=7),
        "sequence_differs",
        "7",
    ),
}


@pytest.mark.parametrize(("make", "kind", "name"), REFUSED.values(), ids=REFUSED.keys())
def test_a_decision_that_does_not_promote_changes_nothing(
    challenger_home: Home, make: Callable[[Home], PromotionDecision], kind: DecisionFindingKind, name: str
) -> None:
    decision = make(challenger_home)
    before = contents(challenger_home.root)
    with refused(kind, name):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.root) == before


def test_a_decision_whose_as_of_time_is_ahead_of_the_present_and_of_its_labels_is_refused(home: Home) -> None:
    ahead = judged(home, as_of=AT + 70 * DAY, labels_until=AT - DAY)  # with it, anchors of the last weeks would no longer count
    with refused("as_of_ahead", "later than the present"):
        promote(home, ahead, at=AT)
    assert read_active(home) is None


@pytest.mark.parametrize(("as_of", "labels_until"), [(AT + 70 * DAY, AT + 70 * DAY), (AT + DAY, AT - 30 * DAY), (AT - 70 * DAY, None)])
def test_an_as_of_time_before_the_present_or_at_the_end_of_the_labels_is_not_ahead(
    home: Home, as_of: datetime, labels_until: datetime | None
) -> None:
    promote(home, judged(home, as_of=as_of, labels_until=labels_until), at=AT)
    assert read_active(home) is not None


def test_a_decision_that_required_fewer_gates_than_today_is_refused(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    fewer = seal(decision.model_copy(update={"required_gates": decision.required_gates[:-1]}))
    assert verify_decision(fewer) == []
    before = contents(challenger_home.root)
    with pytest.raises(DecisionNotVerifiedError):
        promote(challenger_home, fewer, at=AT)
    assert contents(challenger_home.root) == before


@pytest.mark.parametrize("model_id", ["", ".", "..", f"../artifacts/challengers/{NEW}"])
def test_a_forged_model_id_that_is_a_path_finds_no_bundle(challenger_home: Home, model_id: str) -> None:
    decision = a_decision(challenger_home)
    forged = _forged(decision, challenger=decision.challenger.model_copy(update={"model_id": model_id}))
    before = contents(challenger_home.root)
    with refused("bundle_missing", model_id):
        promote(challenger_home, forged, at=AT)
    assert contents(challenger_home.root) == before


def test_an_approval_does_not_make_another_verdict_of_it(challenger_home: Home) -> None:
    with refused("awaits_no_approval", "PROMOTE"):
        promote(challenger_home, a_decision(challenger_home), at=AT, approved=True)


def test_a_bundle_that_was_broken_when_it_was_judged_is_not_promoted(challenger_home: Home) -> None:
    edit_json(challenger_home.challengers / NEW / ENCODERS, {}, without="app_id")
    decision = a_decision(challenger_home)
    assert verify_decision(decision) == []
    before = contents(challenger_home.root)
    with refused("bundle_unusable", "app_id"):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.root) == before


def test_a_refusal_in_a_home_that_never_had_models_leaves_none(home: Home) -> None:
    write_tiny_bundle(home.challengers / NEW)
    with pytest.raises(DecisionNotVerifiedError):
        promote(home, a_decision(home, dry_run=True), at=AT)
    assert contents(home.models) == {}
    assert find_bundle(home, NEW) == home.challengers / NEW


def test_a_models_folder_that_is_a_link_out_of_the_home_is_not_written_to(challenger_home: Home, tmp_path: Path) -> None:
    decision, outside = a_decision(challenger_home), tmp_path / "outside"
    challenger_home.models.rename(outside)
    challenger_home.models.symlink_to(outside, target_is_directory=True)
    before = contents(outside)
    with pytest.raises(RegistryRefusedError) as caught:
        promote(challenger_home, decision, at=AT)
    assert caught.value.kind == "folder_leaves_home"
    assert contents(outside) == before


def test_a_refusal_tells_everything_that_does_not_hold_at_once(challenger_home: Home, snapshot: SnapshotAssertion) -> None:
    decision = a_decision(challenger_home, dry_run=True, sequence=7).model_copy(update={"reason": "because"})
    save_decision(challenger_home, a_decision(challenger_home, NEXT, as_of=AS_OF + DAY, label_watermark="1" * 16))
    shutil.rmtree(challenger_home.challengers / NEW)
    point_at(challenger_home, OLD)
    with pytest.raises(DecisionNotVerifiedError, match=decision.decision_id) as caught:
        promote(challenger_home, decision, at=AT)
    assert [finding.kind for finding in caught.value.findings] == [
        *("hash_differs", "moves_nothing", "pointer_changed", "sequence_differs", "later_labels", "bundle_missing")
    ]
    assert masked(caught.value, also={r"2026-02-0\d_000000_[0-9a-f]{8}": "DECISION"}) == snapshot


# --- Refused: what changed since ------------------------------------------------------------------------------------------------------

MEANWHILE: dict[str, tuple[Callable[[Home], object], DecisionFindingKind, str]] = {
    "model.txt changed": (lambda home: change_a_leaf(home.challengers / NEW), "bundle_differs", MODEL),
    "metrics.json changed": (lambda home: edit_json(home.challengers / NEW / METRICS, {"macro_f1": 0.99}), "bundle_differs", METRICS),
    "metadata.json changed": (
        lambda home: edit_json(home.challengers / NEW / METADATA, {"reject_threshold": 0.0}),
        "bundle_differs",
        METADATA,
    ),
    "a file removed": (lambda home: (home.challengers / NEW / "training_rows.npy").unlink(), "bundle_differs", "training_rows.npy"),
    "the bundle removed": (lambda home: shutil.rmtree(home.challengers / NEW), "bundle_missing", NEW),
    "another bundle of this name in models": (
        lambda home: edit_json(write_tiny_bundle(home.models / NEW) / METRICS, {"macro_f1": 0.11}),
        "bundle_differs",
        METRICS,
    ),
    "the pointer moved": (lambda home: point_at(home, OLD), "pointer_changed", ""),
    "the pointer written again": (
        lambda home: point_at(home, MID, selected_at="2026-02-01T00:00:00+00:00"),
        "pointer_changed",
        "",
    ),
    "one byte more in the pointer": (
        lambda home: home.active_pointer.write_bytes(home.active_pointer.read_bytes() + b" "),
        "pointer_changed",
        "",
    ),
    "the policy written": (lambda home: write_policy(home, OLD), "pointer_changed", ""),
    "the history damaged": (lambda home: home.active_history.write_bytes(b"garbage\n"), "history_damaged", "repair"),
    "the champion's metrics changed": (
        lambda home: edit_json(home.models / MID / METRICS, {"macro_f1": 0.5}),
        "champion_differs",
        MID,
    ),
    "later labels decided": (
        lambda home: save_decision(home, a_decision(home, as_of=AS_OF + DAY, label_watermark="1" * 16)),
        "later_labels",
        "",
    ),
    "later labels rejected": (
        lambda home: save_decision(home, a_decision(home, as_of=AS_OF + DAY, label_watermark="1" * 16, gates=all_gates(macro_f1="FAIL"))),
        "later_labels",
        "",
    ),
}


def beside_champion(home: Home, **changes: object) -> PromotionDecision:
    """A decision that names MID as the champion it was made beside."""
    champion = ModelRef(model_id=MID, files=bundle_hashes(home.models / MID), report_hash="2" * 64, macro_f1=0.8, weighted_f1=0.8)
    return a_decision(home, champion_model=champion, champion_model_dir=f"models/{MID}", **changes)


@pytest.mark.parametrize(("change", "kind", "name"), MEANWHILE.values(), ids=MEANWHILE.keys())
def test_what_changed_since_the_decision_stops_the_promotion(
    challenger_home: Home, change: Callable[[Home], object], kind: DecisionFindingKind, name: str
) -> None:
    decision = beside_champion(challenger_home)
    change(challenger_home)
    before = untouched(challenger_home)
    with refused(kind, name):
        promote(challenger_home, decision, at=AT)
    assert untouched(challenger_home) == before
    assert read_active(challenger_home).sequence is None


def test_a_history_that_lacks_the_record_of_the_pointer_stops_a_promotion_until_it_is_repaired(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD, MID)
    home.active_history.unlink()
    with refused("history_damaged"):
        promote(home, judged(home, NEW), at=AT + DAY)
    repair(home, at=AT + DAY)
    promote(home, judged(home, NEW), at=AT + DAY)
    assert read_active(home).name == NEW


def test_records_whose_events_were_written_and_that_the_history_lacks_stop_a_promotion(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD, MID, NEXT)
    rollback(home, to=None, reason="worse", at=AT + 3 * DAY)
    set_active(home, OLD, at=AT + 4 * DAY)
    repair(home, at=AT + 4 * DAY)
    lines = home.active_history.read_bytes().splitlines(keepends=True)
    home.active_history.write_bytes(b"".join(lines[:3]))  # the rollback is no longer known, and the pointer is that of taskclf
    with refused("history_damaged"):
        promote(home, judged(home, NEW), at=AT + 5 * DAY)
    repair(home, at=AT + 5 * DAY)
    promote(home, judged(home, NEW), at=AT + 5 * DAY)
    assert read_active(home).name == NEW


def test_a_decision_that_names_another_policy_than_the_one_in_force_is_refused(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD)
    honest = judged(home, NEW)
    policy = {**(honest.registry.previous_policy or {}), "reject_threshold": 0.01}
    edited = seal(honest.model_copy(update={"registry": honest.registry.model_copy(update={"previous_policy": policy})}))
    with refused("policy_differs"):
        promote(home, edited, at=AT + DAY)
    assert promote(home, honest, at=AT + DAY).pointer.name == NEW


JUST_NOW: dict[str, tuple[Callable[[Home], object], DecisionFindingKind, str]] = {
    "the pointer moved": (lambda home: set_active(home, OLD), "pointer_changed_just_now", ""),
    "the policy written": (lambda home: write_policy(home, OLD), "pointer_changed_just_now", ""),
    "model.txt changed in models": (lambda home: change_a_leaf(home.models / NEW), "manifest_differs", MODEL),
    "the manifest changed in models": (lambda home: edit_json(home.models / NEW / MANIFEST, {"model_id": OLD}), "manifest_differs", OLD),
}


class OnceInModels(Recording):
    """A file system on which another program acts just after the bundle was moved into models/."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if target.name == NEW:
            self.act()


@pytest.mark.parametrize(("change", "kind", "name"), JUST_NOW.values(), ids=JUST_NOW.keys())
def test_what_changes_between_verification_and_commit_stops_the_promotion(
    challenger_home: Home, change: Callable[[Home], object], kind: DecisionFindingKind, name: str
) -> None:
    decision, challenger = beside_champion(challenger_home), contents(challenger_home.challengers / NEW)
    with use_file_system(OnceInModels(lambda: change(challenger_home))), refused(kind, name):
        promote(challenger_home, decision, at=AT)
    assert "promote" not in [action for _, action, _ in actions(challenger_home)]
    assert read_active(challenger_home).model_id != NEW
    assert not (challenger_home.models / NEW).exists()
    assert contents(challenger_home.challengers / NEW) == challenger


def test_the_same_decision_is_not_refused_where_nothing_changed(challenger_home: Home) -> None:
    promote(challenger_home, beside_champion(challenger_home), at=AT)
    assert read_active(challenger_home).model_id == NEW


UNIMPORTANT: dict[str, Callable[[Home], object]] = {
    "a later decision on the same labels": lambda home: save_decision(home, a_decision(home, NEXT, as_of=AS_OF + DAY)),
    "a dry run on later labels": lambda home: save_decision(
        home, a_decision(home, as_of=AS_OF + DAY, label_watermark="1" * 16, dry_run=True)
    ),
    "an earlier decision on other labels": lambda home: save_decision(
        home, a_decision(home, NEXT, as_of=AS_OF - DAY, label_watermark="1" * 16)
    ),
    "a decision of the same time on other labels": lambda home: save_decision(home, a_decision(home, NEXT, label_watermark="1" * 16)),
    "a damaged receipt": lambda home: [home.decisions.mkdir(), (home.decisions / "2026-02-09_000000_0.json").write_text("{")],
    "another challenger": lambda home: write_variant(home.challengers / NEXT),
    "an event delivered": lambda home: [path.unlink() for path in home.outbox.glob("0*.json")],
    "a repair that found nothing": lambda home: repair(home, at=AT),
}


@pytest.mark.parametrize("name", UNIMPORTANT)
def test_what_does_not_matter_to_the_decision_does_not_stop_it(challenger_home: Home, name: str) -> None:
    decision = beside_champion(challenger_home)
    UNIMPORTANT[name](challenger_home)
    promote(challenger_home, decision, at=AT)
    assert read_active(challenger_home).model_id == NEW


@pytest.mark.parametrize(
    "change", [lambda home: write_policy(home, MID, reject_threshold=0.9), lambda home: home.inference_policy.unlink()]
)
def test_a_policy_that_changed_since_the_decision_stops_the_promotion(challenger_home: Home, change: Callable[[Home], object]) -> None:
    write_policy(challenger_home, MID)
    decision = a_decision(challenger_home)
    change(challenger_home)
    before = contents(challenger_home.root)
    with refused("pointer_changed"):
        promote(challenger_home, decision, at=AT)
    assert contents(challenger_home.root) == before


def test_a_pointer_removed_since_the_decision_stops_the_promotion(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    challenger_home.active_pointer.unlink()
    before = untouched(challenger_home)
    with refused("pointer_changed"):
        promote(challenger_home, decision, at=AT)
    assert {name: content for name, content in untouched(challenger_home).items() if name != "models/active.json"} == before


def test_a_champion_that_is_gone_stops_the_promotion(challenger_home: Home) -> None:
    files = bundle_hashes(challenger_home.models / OLD)
    champion = ModelRef(model_id=OLD, files=files, report_hash="2" * 64, macro_f1=None, weighted_f1=None)
    decision = a_decision(challenger_home, champion_model=champion, champion_model_dir=f"models/{OLD}")
    shutil.rmtree(challenger_home.models / OLD)
    with refused("champion_differs", OLD):
        promote(challenger_home, decision, at=AT)


def test_a_decision_record_without_a_time_zone_is_damaged_and_stops_nobody(challenger_home: Home) -> None:
    decision = judged(challenger_home)
    document = read(challenger_home.decisions / f"{decision.decision_id}.json")
    write_json(challenger_home.decisions / "2026-02-09_000000_00000000.json", {**document, "as_of": "2026-02-09T00:00:00"})
    promote(challenger_home, decision, at=AT)
    assert read_active(challenger_home).model_id == NEW


# --- Once, and by one writer at a time ------------------------------------------------------------------------------------------------


def test_the_same_decision_twice_is_the_same_promotion(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    first = promote(challenger_home, decision, at=AT)
    before = contents(challenger_home.root)
    assert promote(challenger_home, decision, at=AT + DAY) == first
    assert contents(challenger_home.root) == before


def test_a_decision_that_something_else_followed_is_not_applied_again(home: Home) -> None:
    promoted(home, OLD)
    decision = judged(home, NEW)
    promote(home, decision, at=AT)
    promote(home, judged(home, NEXT), at=AT + DAY)
    before = contents(home.root)
    with refused("pointer_changed"):
        promote(home, decision, at=AT + 2 * DAY)
    assert contents(home.root) == before
    assert is_applied(read_registry_state(home), decision)


@pytest.mark.parametrize("unblocked", [False, True])
def test_a_decision_whose_model_was_rolled_back_is_not_applied_again(home: Home, *, unblocked: bool) -> None:
    promoted(home, OLD)
    decision = judged(home, NEW)
    promote(home, decision, at=AT)
    rollback(home, to=None, reason="worse", at=AT + DAY)
    if unblocked:
        unblock(home, NEW, reason="it was the labels", at=AT + DAY)
    before = contents(home.root)
    with pytest.raises(DecisionNotVerifiedError):
        promote(home, decision, at=AT + 2 * DAY)
    assert contents(home.root) == before


def test_a_decision_is_applied_as_long_as_its_pointer_stands_or_something_followed_it(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    assert not is_applied(read_registry_state(challenger_home), decision)
    promote(challenger_home, decision, at=AT)
    assert is_applied(read_registry_state(challenger_home), decision)
    assert not is_applied(read_registry_state(challenger_home), a_decision(challenger_home, forced=True))
    whole = challenger_home.active_pointer.read_bytes()
    for damaged in (b"{", b""):
        challenger_home.active_pointer.write_bytes(damaged)
        assert is_applied(read_registry_state(challenger_home), decision)  # it took effect; what came after is for recovery
    challenger_home.active_pointer.write_bytes(whole)
    assert is_applied(read_registry_state(challenger_home), decision)


@pytest.mark.parametrize("options", [{"gates": all_gates(macro_f1="FAIL")}, {"dry_run": True}], ids=["REJECT", "dry run"])
def test_a_decision_that_moves_nothing_is_applied_once_its_bundle_is_put_aside(challenger_home: Home, options: dict[str, object]) -> None:
    decision = a_decision(challenger_home, **options)
    assert not is_applied(read_registry_state(challenger_home), decision)
    put_aside(challenger_home, decision)
    assert is_applied(read_registry_state(challenger_home), decision)


def test_a_decision_made_again_moves_the_bundle_to_where_it_belongs_and_a_dry_run_leaves_it(challenger_home: Home) -> None:
    home = challenger_home
    rejected = judged(home, NEW, gates=all_gates(macro_f1="FAIL"))
    put_aside(home, rejected)
    held, waits = judged(home, NEW, gates=all_gates(macro_f1="ERROR")), judged(home, NEW, auto_promote=False)
    assert not is_applied(read_registry_state(home), held)
    assert put_aside(home, held) == home.pending_models / NEW
    assert is_applied(read_registry_state(home), waits)  # it lies there already
    dry = judged(home, NEW, gates=all_gates(macro_f1="FAIL"), dry_run=True)
    assert is_applied(read_registry_state(home), dry)
    assert put_aside(home, dry) == home.pending_models / NEW
    assert put_aside(home, rejected) == home.rejected_models / NEW


def attempt_promotion(home: Home, decision: PromotionDecision) -> str:
    try:
        promote(home, decision, at=AT)
    except DecisionNotVerifiedError:
        return "refused"
    return "promoted"


def test_four_threads_with_the_same_decision_make_one_record(challenger_home: Home) -> None:
    decision = a_decision(challenger_home)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: attempt_promotion(challenger_home, decision), range(4))) == ["promoted"] * 4
    assert [action for _, action, _ in actions(challenger_home)] == [None, None, "adopt", "promote"]
    assert findings(challenger_home) == []


def test_of_two_decisions_about_the_same_pointer_the_second_is_refused(challenger_home: Home) -> None:
    first, second = judged(challenger_home, NEW), judged(challenger_home, NEXT)
    promote(challenger_home, second, at=AT)
    with refused("pointer_changed"):
        promote(challenger_home, first, at=AT)
    assert read_active(challenger_home).model_id == NEXT
    assert find_bundle(challenger_home, NEW) == challenger_home.challengers / NEW


PROMOTE_IN_A_PROCESS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster_tests.registry_scenario import promote
from taskclf_dagster.errors import DecisionFindingKind, DecisionNotVerifiedError, RegistryRefusedError
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


@pytest.mark.parametrize("same", [True, False], ids=["the same decision", "a decision each"])
def test_of_two_processes_that_promote_at_once_one_makes_the_record(home: Home, tmp_path: Path, *, same: bool) -> None:
    promoted(home, OLD)
    ours, theirs = judged(home, NEW), judged(home, NEXT)
    path = tmp_path / "decision.json"
    path.write_text((ours if same else theirs).model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-c", PROMOTE_IN_A_PROCESS, str(home.root), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        outcomes = sorted([attempt_promotion(home, ours), process.communicate(timeout=60)[0]])
    assert outcomes == (["promoted", "promoted"] if same else ["promoted", "refused"])
    assert [action for _, action, _ in actions(home)] == ["promote", "promote"]
    assert read_active(home) == read_history(home).last_move.new
    assert findings(home) == []


def test_a_promotion_into_the_originals_home_keeps_its_history_and_drops_its_calibrators(real_homes: Path, tmp_path: Path) -> None:
    home = copy_real_home(real_homes / "original-home", tmp_path / "copy")
    earlier, running = home.active_history.read_bytes(), read_active(home)
    calibrators = contents(home.calibrator_store.parent)
    write_tiny_bundle(home.challengers / NEW)
    before = promote(home, a_decision(home), at=AT).previous
    assert before == running
    assert home.active_history.read_bytes().startswith(earlier)
    assert history_lines(home)[-1]["old"]["model_id"] == running.model_id
    assert resolve_active_model(read_registry_state(home)).model_dir == f"models/{NEW}"
    assert read(home.inference_policy)["calibrator_store_dir"] is None
    assert contents(home.calibrator_store.parent) == calibrators
    assert find_bundle(home, running.model_id) is not None
    assert damage(home) == []


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


def test_putting_aside_in_a_home_without_models_makes_nothing_but_the_lock(home: Home) -> None:
    write_tiny_bundle(home.challengers / NEW)
    put_aside(home, a_decision(home, gates=all_gates(macro_f1="FAIL")))
    assert contents(home.models) == {}


def test_a_decision_that_does_not_hold_puts_nothing_aside(challenger_home: Home) -> None:
    decision = a_decision(challenger_home, gates=all_gates(macro_f1="FAIL")).model_copy(update={"reason": "because"})
    before = contents(challenger_home.root)
    with refused("hash_differs"):
        put_aside(challenger_home, decision)
    assert contents(challenger_home.root) == before


def test_a_bundle_that_was_promoted_since_is_not_put_aside(challenger_home: Home) -> None:
    waiting = a_decision(challenger_home, auto_promote=False)
    put_aside(challenger_home, waiting)
    promote(challenger_home, a_decision(challenger_home), at=AT)
    before = contents(challenger_home.root)
    assert put_aside(challenger_home, waiting) == challenger_home.models / NEW
    assert contents(challenger_home.root) == before


def test_what_is_put_aside_takes_no_note_of_a_damaged_registry(challenger_home: Home) -> None:
    challenger_home.active_pointer.write_text("{", encoding="utf-8")
    models = contents(challenger_home.models)
    put_aside(challenger_home, a_decision(challenger_home, gates=all_gates(macro_f1="FAIL")))
    assert contents(challenger_home.models) == models
    assert hash_file(challenger_home.active_pointer) == hashlib.sha256(b"{").hexdigest()
