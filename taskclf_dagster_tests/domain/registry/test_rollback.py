"""Going back to an earlier model without training, blocking what was left, and approving what waits."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.snapshot_rows import read_snapshot_rows
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.references import ModelRef
from taskclf_dagster.domain.models.bundle_files import MANIFEST, METADATA, MODEL, bundle_hashes
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.applied_decisions import put_aside
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.health import find_history_disagreement
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import require_only_awaiting
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.errors import (
    DecisionFindingKind,
    DecisionNotFoundError,
    DecisionNotVerifiedError,
    RefusalKind,
    RegistryRefusedError,
    TaskclfDagsterError,
)
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
    edit_json,
    point_at,
    rows_of,
    with_changes,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import (
    NEXT,
    actions,
    approve,
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

LATER = AT + 9 * DAY


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def three(home: Home) -> Home:
    """OLD, MID and NEW were promoted in this order: records 1 to 3."""
    return promoted(home, OLD, MID, NEW)


def back(home: Home, to: str | None = None, *, days: int = 0) -> str:
    return rollback(home, to=to, reason="worse than before", at=LATER + days * DAY).name


# --- Where it goes --------------------------------------------------------------------------------------------------------------------


def test_it_goes_back_to_the_model_before(three: Home) -> None:
    pointer = rollback(three, to=None, reason="worse than before", at=LATER, run_id="run-9")
    assert read_active(three) == pointer
    assert (pointer.name, pointer.sequence, pointer.selected_at) == (MID, 4, LATER)
    found = resolve_active_model(read_registry_state(three))
    assert (found.model_dir, found.source, found.warnings) == (f"models/{MID}", "policy", [])
    assert find_history_disagreement(read_registry_state(three)) is None
    assert findings(three) == []


def test_it_is_one_record_that_says_why_and_what_is_blocked(three: Home) -> None:
    before = three.active_history.read_bytes()
    rollback(three, to=None, reason="worse than before", at=LATER, run_id="run-9")
    assert three.active_history.read_bytes().startswith(before)
    (record,) = history_lines(three)[3:]
    assert (record["sequence"], record["action"], record["reason"], record["run_id"]) == (4, "rollback", "worse than before", "run-9")
    assert (record["old"]["model_id"], record["new"]) == (NEW, read(three.active_pointer))
    assert record["policy"] == read(three.inference_policy)
    assert record["blocks"] == {"model_id": NEW, "tree_hash": read(three.models / NEW / METADATA)["tree_hash"]}
    assert "decision_id" not in record


def test_it_trains_nothing_and_moves_no_bundle(three: Home) -> None:
    bundles = {name: contents(three.models / name) for name in (OLD, MID, NEW)}
    back(three)
    assert {name: contents(three.models / name) for name in (OLD, MID, NEW)} == bundles
    assert not list(three.artifacts.glob("*/*/model.txt"))


def test_the_pointer_has_the_keys_of_the_contract(three: Home) -> None:
    back(three)
    document = read(three.active_pointer)
    assert set(document) == {"model_dir", "selected_at", "policy_version", "model_id", "reason", "sequence"}
    assert set(document["reason"]) == {"metric", "macro_f1", "weighted_f1", "note"}
    assert document["reason"]["note"] == "rollback"


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / MODEL).unlink(),
        change_a_leaf,
        shutil.rmtree,
        lambda folder: (folder / MANIFEST).write_text("{", encoding="utf-8"),
    ],
    ids=["without model.txt", "another leaf", "gone", "manifest damaged"],
)
def test_it_passes_over_the_model_before_where_that_is_broken(three: Home, harm: Callable[[Path], object]) -> None:
    harm(three.models / MID)
    assert back(three) == OLD


def test_it_goes_to_the_model_that_is_named(three: Home) -> None:
    assert back(three, OLD) == OLD
    assert set(read_history(three).blocked) == {NEW}


def test_a_second_one_goes_further_back(three: Home) -> None:
    assert [back(three), back(three, days=1)] == [MID, OLD]
    assert set(read_history(three).blocked) == {NEW, MID}


def test_it_goes_to_a_bundle_that_the_history_does_not_know_if_it_is_named(three: Home) -> None:
    write_tiny_bundle(three.models / "foreign")
    assert back(three, "foreign") == "foreign"


def test_it_leaves_what_another_program_activated(three: Home) -> None:
    set_active(three, OLD)
    assert back(three) == OLD  # the policy named NEW, so that is what ran
    assert set(read_history(three).blocked) == {NEW}
    assert read(three.inference_policy)["model_dir"] == f"models/{OLD}"


def test_it_goes_back_from_a_model_of_taskclf_whose_metadata_has_no_hash_of_the_trees(home: Home) -> None:
    settled(home)
    edit_json(home.models / MID / METADATA, {}, without="tree_hash")
    assert back(home) == OLD
    assert read_history(home).problems == {}
    assert set(read_history(home).blocked) == {MID}
    assert findings(home) == []


# --- What is blocked ------------------------------------------------------------------------------------------------------------------


def test_a_decision_about_the_model_that_was_left_is_refused(three: Home) -> None:
    back(three)
    decision = judged(three, NEW)
    before = contents(three.root)
    with refused("model_blocked", NEW):
        promote(three, decision, at=LATER)
    assert contents(three.root) == before


def test_another_bundle_under_the_id_of_the_model_that_was_left_is_refused_whatever_its_trees(three: Home) -> None:
    back(three)
    shutil.rmtree(three.models / NEW)
    write_variant(three.challengers / NEW, variant=3)
    decision = judged(three, NEW)
    before = contents(three.root)
    with refused("model_blocked", NEW):
        promote(three, decision, at=LATER)
    assert contents(three.root) == before


def test_a_new_bundle_with_the_same_trees_is_refused(three: Home) -> None:
    back(three)
    write_variant(three.challengers / NEXT, variant=2)  # the trees of NEW
    decision = judged(three, NEXT)
    before = contents(three.root)
    with refused("model_blocked", NEW):
        promote(three, decision, at=LATER)
    assert contents(three.root) == before


@pytest.mark.parametrize("whose", ["of the model that was left", "of the new bundle"])
def test_the_same_trees_are_known_by_model_txt_where_metadata_has_no_hash_of_them(home: Home, whose: str) -> None:
    settled(home)
    if whose == "of the model that was left":
        edit_json(home.models / MID / METADATA, {}, without="tree_hash")
    back(home)
    folder = write_tiny_bundle(home.challengers / NEXT)  # the trees of MID
    if whose == "of the new bundle":
        edit_json(folder / METADATA, {}, without="tree_hash")
    with refused("model_blocked", MID):
        promote(home, judged(home, NEXT), at=LATER)


def test_other_trees_are_promoted(three: Home) -> None:
    back(three)
    promote(three, judged(three, NEXT), at=LATER)
    assert read_active(three).name == NEXT
    assert findings(three) == []


def test_unblocking_allows_the_model_again(three: Home) -> None:
    back(three)
    unblock(three, NEW, reason="it was the labels", at=LATER)
    record = history_lines(three)[-1]
    assert (record["action"], record["subject"], record["reason"]) == ("unblock", [NEW], "it was the labels")
    assert read_active(three).name == MID
    promote(three, judged(three, NEW), at=LATER + DAY)
    assert read_active(three).name == NEW
    assert findings(three) == []


def test_unblocking_allows_the_same_trees_under_another_name(three: Home) -> None:
    back(three)
    unblock(three, NEW, reason="it was the labels", at=LATER)
    write_variant(three.challengers / NEXT, variant=2)
    promote(three, judged(three, NEXT), at=LATER)
    assert read_active(three).name == NEXT


def test_unblocking_one_of_two_leaves_the_other_blocked(three: Home) -> None:
    back(three)
    back(three, days=1)
    unblock(three, NEW, reason="it was the labels", at=LATER)
    assert set(read_history(three).blocked) == {MID}


def test_a_model_that_is_not_blocked_cannot_be_unblocked(three: Home) -> None:
    before = contents(three.root)
    with pytest.raises(RegistryRefusedError, match=NEW) as caught:
        unblock(three, NEW, reason="x", at=LATER)
    assert caught.value.kind == "model_not_blocked"
    assert contents(three.root) == before
    back(three)
    with pytest.raises(RegistryRefusedError, match=NEW):  # which is blocked
        unblock(three, OLD, reason="x", at=LATER)


def test_what_taskclf_runs_though_it_is_blocked_is_told(three: Home) -> None:
    back(three)
    set_active(three, NEW)
    assert ("warning", "P7", "blocked_model_active") in findings(three)


# --- Refused --------------------------------------------------------------------------------------------------------------------------


def _back_and(home: Home) -> None:
    rollback(home, to=OLD, reason="worse", at=LATER)


REFUSALS: dict[str, tuple[Callable[[Home], object], str, RefusalKind]] = {
    "the current model": (lambda home: None, NEW, "model_active"),
    "a model that is not there": (lambda home: None, NEXT, "no_such_model"),
    "a blocked model": (_back_and, NEW, "model_blocked"),
    "a model without model.txt": (lambda home: (home.models / OLD / MODEL).unlink(), OLD, "bundle_unusable"),
    "a model with another leaf": (lambda home: change_a_leaf(home.models / OLD), OLD, "bundle_unusable"),
    "a path out of models": (
        lambda home: write_tiny_bundle(home.rejected_models / NEXT),
        f"../artifacts/rejected_models/{NEXT}",
        "no_model_id",
    ),
    "an absolute path": (lambda home: None, "/etc", "no_model_id"),
    "a link out of the home": (
        lambda home: (home.models / "link").symlink_to(write_tiny_bundle(home.root.parent / "outside" / "evil"), target_is_directory=True),
        "link",
        "bundle_unusable",
    ),
    "no name": (lambda home: None, "", "no_model_id"),
    "the folder of models": (lambda home: None, ".", "no_model_id"),
    "a null byte": (lambda home: None, "a\0b", "no_model_id"),
}


@pytest.mark.parametrize(("prepare", "to", "kind"), REFUSALS.values(), ids=REFUSALS.keys())
def test_it_is_refused_and_nothing_is_changed(three: Home, prepare: Callable[[Home], object], to: str, kind: RefusalKind) -> None:
    prepare(three)
    before = contents(three.root)
    with pytest.raises(RegistryRefusedError) as caught:
        rollback(three, to=to, reason="worse", at=LATER + DAY)
    assert (caught.value.kind, to in str(caught.value)) == (kind, True)
    assert contents(three.root) == before


def test_the_wording_of_refusals(three: Home, snapshot: SnapshotAssertion) -> None:
    attempts: dict[str, Callable[[], object]] = {
        name: lambda to=to: rollback(three, to=to, reason="worse", at=LATER + DAY)  # type: ignore[misc]
        for name, (_, to, _) in REFUSALS.items()
        if name in ("the current model", "a model that is not there", "no name")
    }
    attempts["one that is not blocked, of none"] = lambda: unblock(three, NEW, reason="x", at=LATER)
    attempts["no other model"] = lambda: [back(three), back(three, days=1), back(three, days=2)]
    attempts["a blocked model"] = lambda: rollback(three, to=NEW, reason="worse", at=LATER + 4 * DAY)
    attempts["a decision about it"] = lambda: promote(three, judged(three, NEW), at=LATER + 4 * DAY)
    attempts["one that is not blocked, of two"] = lambda: unblock(three, OLD, reason="x", at=LATER)
    said = {}
    for name, attempt in attempts.items():
        with pytest.raises(TaskclfDagsterError) as caught:
            attempt()
        said[name] = masked(caught.value, three.root, also={r"2026-02-04_000000_[0-9a-f]{8}": "DECISION"})
    assert said == snapshot


@pytest.mark.parametrize("spelling", ["./{}", "{}/", "{}/.", "/{}", "x/../{}"])
@pytest.mark.parametrize("model_id", [NEW, OLD], ids=["blocked", "current"])
def test_another_spelling_of_a_name_does_not_get_round_a_refusal(three: Home, spelling: str, model_id: str) -> None:
    _back_and(three)
    before = contents(three.root)
    with pytest.raises(RegistryRefusedError):
        rollback(three, to=spelling.format(model_id), reason="worse", at=LATER + DAY)
    assert contents(three.root) == before


def test_without_an_earlier_model_it_is_refused(home: Home) -> None:
    promoted(home, NEW)
    before = contents(home.root)
    with pytest.raises(RegistryRefusedError) as caught:
        back(home)
    assert caught.value.kind == "no_other_model"
    assert contents(home.root) == before


def test_in_an_empty_home_it_is_refused(home: Home) -> None:
    with pytest.raises(RegistryRefusedError) as caught:
        back(home)
    assert caught.value.kind == "no_other_model"
    assert contents(home.models) == {}


def test_it_does_not_go_back_and_forth_between_two(three: Home) -> None:
    back(three)
    back(three, days=1)
    with pytest.raises(RegistryRefusedError) as caught:
        back(three, days=2)
    assert caught.value.kind == "no_other_model"


# --- What runs is damaged ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [None, MID])
def test_a_damaged_model_is_left_by_the_repair_and_the_rollback_blocks_it(three: Home, to: str | None) -> None:
    (three.models / NEW / MODEL).unlink()
    assert back(three, to) == MID
    assert [action for _, action, _ in actions(three)][3:] == ["repair", "rollback"]
    assert set(read_history(three).blocked) == {NEW}


def test_a_damaged_model_with_another_goal_is_repaired_and_then_left_behind(three: Home) -> None:
    (three.models / NEW / MODEL).unlink()
    assert back(three, OLD) == OLD
    assert actions(three)[3:] == [(4, "repair", MID), (5, "rollback", OLD)]


def test_a_damaged_pointer_file_is_repaired_to_the_model_that_ran(three: Home) -> None:
    three.active_pointer.write_text("{", encoding="utf-8")
    assert back(three) == NEW
    assert back(three, days=1) == MID


def test_a_pointer_of_taskclf_is_adopted_before_it_is_left(three: Home) -> None:
    point_at(three, OLD)
    assert back(three, MID) == MID
    assert actions(three)[3:] == [(4, "adopt", OLD), (5, "rollback", MID)]


# --- The policy -----------------------------------------------------------------------------------------------------------------------


def with_calibrators(home: Home, *, fitted_for: str) -> dict[str, object]:
    """OLD runs with calibrators, then MID is promoted; the store says for which model its calibrators were fitted."""
    promoted(home, OLD)
    policy = write_policy(home, OLD)
    promote(home, judged(home, MID, previous_policy=policy), at=AT + DAY)
    write_json(home.calibrator_store, {"method": "temperature", "model_bundle_id": fitted_for})
    return policy


def test_the_policy_of_the_model_gone_back_to_has_its_calibrators_again_if_they_are_still_its_own(home: Home) -> None:
    policy = with_calibrators(home, fitted_for=OLD)
    assert read(home.inference_policy)["calibrator_store_dir"] is None
    back(home)
    document = read(home.inference_policy)
    assert document.pop("created_at") == LATER.isoformat()
    assert document.pop("source") == "rollback"
    assert document == {key: value for key, value in policy.items() if key not in ("created_at", "source")}
    assert findings(home) == []


@pytest.mark.parametrize("harm", ["of another model", "damaged", "gone"])
def test_calibrators_that_are_not_its_own_any_more_are_not_restored(home: Home, harm: str) -> None:
    with_calibrators(home, fitted_for=MID if harm == "of another model" else OLD)
    if harm == "damaged":
        home.calibrator_store.write_text("{", encoding="utf-8")
    if harm == "gone":
        shutil.rmtree(home.calibrator_store.parent)
    back(home)
    document = read(home.inference_policy)
    assert (document["model_dir"], document["calibrator_store_dir"], document["calibration_method"]) == (f"models/{OLD}", None, None)
    assert document["per_user_reject_thresholds"] is None
    assert document["reject_threshold"] == read(home.models / OLD / METADATA)["reject_threshold"]


def test_a_threshold_that_was_tuned_without_calibrators_is_restored(home: Home) -> None:
    promoted(home, OLD)
    policy = write_policy(home, OLD, calibrator_store_dir=None, calibration_method=None, reject_threshold=0.33)
    promote(home, judged(home, MID, previous_policy=policy), at=AT + DAY)
    back(home)
    assert read(home.inference_policy)["reject_threshold"] == 0.33


def test_a_previous_policy_of_another_model_is_not_taken(home: Home) -> None:
    promoted(home, OLD)
    policy = write_policy(home, MID, reject_threshold=0.33, calibrator_store_dir=None)
    write_variant(home.models / MID)
    promote(home, judged(home, NEW, previous_policy=policy), at=AT + DAY)
    back(home)
    document = read(home.inference_policy)
    assert (document["model_dir"], document["reject_threshold"]) == (
        f"models/{OLD}",
        read(home.models / OLD / METADATA)["reject_threshold"],
    )


# --- Approval -------------------------------------------------------------------------------------------------------------------------


def waiting(home: Home, **changes: object) -> PromotionDecision:
    """A decision about NEW that awaits approval beside MID, with a stored snapshot; its bundle lies where it waits."""
    folder = home.snapshots / "0a963156a3de73d5"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(rows_of("test").head(40), preserve_index=False), folder / "windows.parquet")
    champion = ModelRef(model_id=MID, files=bundle_hashes(home.models / MID), report_hash="2" * 64, macro_f1=0.8, weighted_f1=0.8)
    beside = {"champion_model": champion, "champion_model_dir": f"models/{MID}", "digest": frame_digest(read_snapshot_rows(folder))}
    decision = judged(home, NEW, **{"auto_promote": False, **beside, **changes})
    if not decision.moves_pointer:
        put_aside(home, decision)
    return decision


@pytest.fixture
def two(home: Home) -> Home:
    """OLD ran, MID runs."""
    return promoted(home, OLD, MID)


def test_what_awaits_approval_is_promoted_once_a_person_approves(two: Home) -> None:
    decision = waiting(two)
    pointer = approve(two, decision.decision_id, at=LATER, run_id="run-3")
    assert read_active(two) == pointer
    assert pointer.name == NEW
    assert not (two.pending_models / NEW).exists()
    record = history_lines(two)[-1]
    assert (record["action"], record["decision_id"], record["run_id"]) == ("promote", decision.decision_id, "run-3")
    assert record["reason"].startswith("approved by a person.")
    assert findings(two) == []


def test_approving_twice_is_one_promotion(two: Home) -> None:
    decision = waiting(two)
    first = approve(two, decision.decision_id, at=LATER)
    before = contents(two.root)
    assert approve(two, decision.decision_id, at=LATER + DAY) == first
    assert contents(two.root) == before


@pytest.mark.parametrize("decision_id", ["2026-02-04_000000_00000000", "", "../../x", "last_decided", "a\0b"])
def test_a_decision_that_is_not_there_cannot_be_approved(two: Home, decision_id: str) -> None:
    waiting(two)
    before = contents(two.root)
    with pytest.raises(DecisionNotFoundError):
        approve(two, decision_id, at=LATER)
    assert contents(two.root) == before


NOT_WAITING: dict[str, tuple[dict[str, object], str]] = {
    "REJECT": ({"gates": all_gates(macro_f1="FAIL")}, "REJECT"),
    "HOLD": ({"gates": all_gates(macro_f1="ERROR")}, "HOLD"),
    "PROMOTE": ({"auto_promote": True}, "PROMOTE"),
    "dry run": ({"dry_run": True}, "AWAITING_APPROVAL (dry run)"),
}


@pytest.mark.parametrize(("changes", "outcome"), NOT_WAITING.values(), ids=NOT_WAITING.keys())
def test_only_what_awaits_approval_can_be_approved(two: Home, changes: dict[str, object], outcome: str) -> None:
    decision = waiting(two, **changes)
    before = contents(two.root)
    with refused("awaits_no_approval", outcome):
        approve(two, decision.decision_id, at=LATER)
    assert contents(two.root) == before


def _tamper(home: Home, decision: PromotionDecision) -> None:
    edit_json(home.decisions / f"{decision.decision_id}.json", {"reason": "because"})


def _rewrite_snapshot(home: Home, decision: PromotionDecision) -> None:
    rows = rows_of("test").head(40)
    rows.loc[3, "label"] = rows["label"].iloc[-1] if rows["label"].iloc[3] != rows["label"].iloc[-1] else rows["label"].iloc[0]
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), home.root / decision.dataset.path / "windows.parquet")


def _forge(home: Home, decision: PromotionDecision) -> None:
    """A verdict made by hand, sealed anew under the id that a person would approve."""
    rejected = a_decision(home, gates=all_gates(macro_f1="FAIL"), auto_promote=False)
    forged = seal(with_changes(rejected, verdict="AWAITING_APPROVAL")).model_copy(update={"dataset": decision.dataset})
    write_json(home.decisions / f"{decision.decision_id}.json", forged.model_dump(mode="json"))


SINCE: dict[str, tuple[Callable[[Home, PromotionDecision], object], DecisionFindingKind, str]] = {
    "the record tampered with": (_tamper, "hash_differs", ""),
    "the record forged": (_forge, "verdict_does_not_follow", "REJECT"),
    "the pointer moved": (lambda home, decision: point_at(home, OLD), "pointer_changed", ""),
    "another model promoted": (lambda home, decision: promote(home, judged(home, NEXT), at=AT + 5 * DAY), "sequence_differs", "3"),
    "rolled back": (lambda home, decision: rollback(home, to=None, reason="x", at=AT + 5 * DAY), "pointer_changed", ""),
    "the policy changed": (lambda home, decision: write_policy(home, MID), "pointer_changed", ""),
    "the champion changed": (lambda home, decision: change_a_leaf(home.models / MID), "champion_differs", MID),
    "the challenger changed": (lambda home, decision: change_a_leaf(home.pending_models / NEW), "bundle_differs", MODEL),
    "the challenger gone": (lambda home, decision: shutil.rmtree(home.pending_models / NEW), "bundle_missing", NEW),
    "later labels decided": (
        lambda home, decision: save_decision(home, a_decision(home, as_of=AS_OF + DAY, label_watermark="1" * 16)),
        "later_labels",
        "",
    ),
}


@pytest.mark.parametrize(("change", "kind", "name"), SINCE.values(), ids=SINCE.keys())
def test_what_changed_since_it_began_to_wait_stops_the_approval(
    two: Home, change: Callable[[Home, PromotionDecision], object], kind: DecisionFindingKind, name: str
) -> None:
    decision = waiting(two)
    change(two, decision)
    before = untouched(two)
    with refused(kind, name):
        approve(two, decision.decision_id, at=LATER)
    assert untouched(two) == before
    assert read_active(two).name != NEW


def test_a_later_decision_on_the_same_labels_does_not_stop_an_approval(two: Home) -> None:
    decision = waiting(two)
    save_decision(two, a_decision(two, NEXT, as_of=AS_OF + DAY, auto_promote=False))
    assert approve(two, decision.decision_id, at=LATER).name == NEW


JUDGED_AGAIN: dict[str, tuple[dict[str, object], str]] = {
    "REJECT": ({"gates": all_gates(macro_f1="FAIL")}, "taskclf-dagster decide"),
    "HOLD": ({"gates": all_gates(macro_f1="ERROR")}, "taskclf-dagster decide"),
    "PROMOTE": ({"auto_promote": True}, "needs no approval"),
    "AWAITING_APPROVAL": ({"code_version": "7654321"}, "approve 2026-02-04"),
}


@pytest.mark.parametrize("verdict", JUDGED_AGAIN)
def test_a_decision_cannot_be_approved_once_its_challenger_was_judged_again(two: Home, verdict: str) -> None:
    changes, way_out = JUDGED_AGAIN[verdict]
    decision = waiting(two)
    later = waiting(two, **changes)
    before = untouched(two)
    with pytest.raises(DecisionNotVerifiedError) as caught:
        approve(two, decision.decision_id, at=LATER)
    (finding,) = caught.value.findings
    assert finding.kind == "judged_again"
    assert all(name in finding.detail for name in (decision.decision_id, later.decision_id, verdict, way_out))
    assert untouched(two) == before


def test_the_last_of_several_judgements_of_a_challenger_can_be_approved(two: Home) -> None:
    waiting(two)
    last = waiting(two, code_version="7654321")
    assert require_only_awaiting(two) == last.decision_id
    assert approve(two, last.decision_id, at=LATER).name == NEW


def test_a_challenger_that_waits_is_blocked_if_its_trees_were_rolled_back_meanwhile(two: Home) -> None:
    write_variant(two.challengers / NEXT, variant=2)
    promote(two, judged(two, NEXT), at=AT + 5 * DAY)
    rollback(two, to=MID, reason="worse", at=AT + 6 * DAY)
    decision = waiting(two)
    with refused("model_blocked", NEXT):
        approve(two, decision.decision_id, at=LATER)
    assert find_bundle(two, NEW) == two.pending_models / NEW


def test_a_waiting_bundle_survives_a_repair(two: Home) -> None:
    decision = waiting(two)
    repair(two, at=LATER)
    assert approve(two, decision.decision_id, at=LATER).name == NEW
    assert damage(two) == []
    assert json.loads((two.models / NEW / MANIFEST).read_text(encoding="utf-8"))["decision_id"] == decision.decision_id
