"""The check of every promise: a healthy home has no findings, and each promise that is broken is told in words with what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.decision.decision import seal
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.last_decided import LastDecided, write_last_decided
from taskclf_dagster.domain.models.bundle_files import MANIFEST, MODEL, MODEL_CARD, bundle_hashes, read_bundle_files
from taskclf_dagster.domain.models.manifest import build_manifest
from taskclf_dagster.domain.registry.applied_decisions import put_aside
from taskclf_dagster.domain.registry.fsck import PROMISES, FindingCode, check_registry
from taskclf_dagster.domain.registry.history import append_active_history, read_history
from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.storage.files import hash_file, write_json
from taskclf_dagster.domain.storage.stored_files import store_file
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
    home_with_champion,
    model_ref,
    point_at,
    with_changes,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import (
    NEXT,
    cut_off,
    history_lines,
    judged,
    promote,
    promoted,
    read,
    rewrite_line,
    set_active,
    settled,
    stamps,
)
from taskclf_dagster_tests.scenario import DAY, make_home

LATER = AT + 9 * DAY


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def three(home: Home) -> Home:
    """OLD, MID and NEW were promoted in this order: records 1 to 3."""
    return promoted(home, OLD, MID, NEW)


# --- Healthy homes ----------------------------------------------------------------------------------------------------------------------


HEALTHY: dict[str, Callable[[Home], object]] = {
    "an empty home": lambda home: None,
    "a folder of models": lambda home: home.models.mkdir(),
    "one promotion": lambda home: promoted(home, OLD),
    "three promotions": lambda home: promoted(home, OLD, MID, NEW),
    "a home that taskclf used before, with a policy": lambda home: [write_policy(settled(home), MID), repair(home, at=LATER)],
    "a rollback": lambda home: rollback(promoted(home, OLD, MID), to=None, reason="worse", at=LATER),
    "bundles that another program put there": lambda home: write_tiny_bundle(promoted(home, OLD).models / "foreign"),
    "bundles that retention removed": lambda home: prune(
        promoted(home, OLD, MID, NEW), keep_versions=0, keep_rejected=0, at=AT + 300 * DAY
    ),
    "one that awaits approval": lambda home: put_aside(home, judged(promoted(home, OLD), NEW, auto_promote=False)),
    "one that was rejected": lambda home: put_aside(home, judged(promoted(home, OLD), NEW, gates=all_gates(macro_f1="FAIL"))),
    "a first challenger": lambda home: judged(home, NEW),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_home_has_no_findings(home: Home, name: str) -> None:
    HEALTHY[name](home)
    assert check_registry(home) == []


def test_a_home_of_taskclf_that_the_registry_never_touched_is_only_not_recorded_yet(home: Home) -> None:
    home_with_champion(home)
    home.active_history.unlink()
    found = [(finding.severity, finding.code) for finding in check_registry(home)]
    assert found == [("warning", "policy_missing"), ("warning", "pointer_not_recorded")]


def test_the_originals_home_has_no_damage(real_homes: Path, tmp_path: Path) -> None:
    home = copy_real_home(real_homes / "original-home", tmp_path / "copy")
    assert [finding for finding in check_registry(home) if finding.severity == "damage"] == []


# --- What is broken -----------------------------------------------------------------------------------------------------------------------


def _forge_receipt(home: Home, **changes: object) -> None:
    """The receipt of record 3 is replaced by one that verifies but says something else."""
    decision_id = str(history_lines(home)[2]["decision_id"])
    other = seal(with_changes(a_decision(home, NEW), **changes))
    write_json(home.decisions / f"{decision_id}.json", other.model_dump(mode="json"))


def _reject_receipt(home: Home) -> None:
    rejected = a_decision(home, NEW, gates=all_gates(macro_f1="FAIL"))
    _forge_receipt(home, gates=rejected.gates, verdict=rejected.verdict, reason=rejected.reason)


def _receipt(home: Home) -> Path:
    return home.decisions / f"{history_lines(home)[2]['decision_id']}.json"


def _other_bundle_with_manifest(home: Home) -> None:
    """NEW is another model than the one judged, with a manifest that fits it."""
    folder = home.models / NEW
    change_a_leaf(folder)
    edit_json(folder / "metadata.json", {"artifact_hash": hash_file(folder / MODEL)})
    write_json(folder / MANIFEST, build_manifest(read_bundle_files(folder), decision_id="x").model_dump(mode="json"))


def _lost_waiting(home: Home) -> None:
    put_aside(home, judged(home, NEXT, auto_promote=False))
    shutil.rmtree(home.pending_models / NEXT)


def _stale_cursor(home: Home) -> None:
    write_json(home.outbox / "written_through.json", {"sequence": 1, "checksum": read_history(home).entries[0].checksum})


def _blocked_runs(home: Home) -> None:
    rollback(home, to=None, reason="worse", at=LATER)
    set_active(home, NEW)
    repair(home, at=LATER)


def _contradict(home: Home) -> None:
    save_decision(
        home, seal(with_changes(a_decision(home, NEW), challenger=model_ref(NEW, bundle_hashes(home.models / NEW), macro_f1=0.7)))
    )


def _decide_without_receipt(home: Home) -> None:
    facts = {"outcome": "REJECT", "decided_at": AT, "as_of": AT, "run_id": "r", "decision_id": "lost", "dataset_hash": "0" * 16}
    write_last_decided(home, LastDecided(**facts, snapshot_path="artifacts/snapshots/0", label_watermark="0" * 16))


def _change_an_event(home: Home) -> None:
    edit_json(min(home.outbox.glob("00000001-*.json")), {"occurredAt": LATER.isoformat()})


def _change_waiting(home: Home) -> None:
    put_aside(home, judged(home, NEXT, auto_promote=False))
    change_a_leaf(home.pending_models / NEXT)


def _change_predictions(home: Home) -> None:
    stored = store_file(home.root, home.predictions / f"{0:016}" / "a.parquet", b"predictions")
    write_json(home.records / "challenger_report" / "latest.json", {"report": {"predictions": stored.model_dump()}})
    (home.predictions / f"{0:016}" / "a.parquet").write_bytes(b"others")


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{")


def _change_calibrators(home: Home) -> None:
    folder = home.calibrators / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "global.json").write_text("{", encoding="utf-8")


BROKEN: dict[str, tuple[Callable[[Home], object], str, str, FindingCode, str]] = {
    "the pointer damaged": (lambda home: home.active_pointer.write_text("{"), "damage", "P1", "pointer_unusable", "active.json"),
    "the pointer gone": (lambda home: home.active_pointer.unlink(), "damage", "P1", "pointer_unusable", "active.json"),
    "the active bundle gone": (lambda home: shutil.rmtree(home.models / NEW), "damage", "P1", "pointer_unusable", MODEL),
    "the active bundle changed": (lambda home: change_a_leaf(home.models / NEW), "damage", "P1", "pointer_unusable", MODEL),
    "the pointer out of the home": (lambda home: point_at(home, NEW, model_dir="../x"), "damage", "P1", "pointer_unusable", "active.json"),
    "the policy damaged": (lambda home: home.inference_policy.write_text("{"), "damage", "P1", "policy_unusable", "inference_policy.json"),
    "the policy of a broken model": (
        lambda home: [write_policy(home, MID), (home.models / MID / MODEL).unlink()],
        "damage",
        "P1",
        "policy_unusable",
        f"models/{MID}",
    ),
    "the policy of another model": (lambda home: write_policy(home, MID), "warning", "P1", "policy_names_another_model", f"models/{MID}"),
    "the policy edited in place": (
        lambda home: edit_json(home.inference_policy, {"reject_threshold": 0.31}),
        "damage",
        "P1",
        "policy_differs",
        "0.31",
    ),
    "the policy removed": (lambda home: home.inference_policy.unlink(), "warning", "P3", "policy_not_recorded", "removed"),
    "no policy": (lambda home: home.inference_policy.unlink(), "warning", "P1", "policy_missing", f"{DEFAULT_REJECT_THRESHOLD:g}"),
    "a history that is a folder": (
        lambda home: [home.active_history.unlink(), home.active_history.mkdir()],
        "damage",
        "P3",
        "history_unreadable",
        "folder",
    ),
    "a lock that is a folder": (lambda home: home.retrain_lock.mkdir(), "damage", "P4", "lock_unusable", ".retrain.lock"),
    "a foreign policy not recorded": (
        lambda home: edit_json(home.inference_policy, {"reject_threshold": 0.31, "created_at": LATER.isoformat()}),
        "warning",
        "P3",
        "policy_not_recorded",
        "inference_policy.json",
    ),
    "an older bundle changed": (lambda home: change_a_leaf(home.models / OLD), "damage", "P2", "bundle_differs_from_manifest", OLD),
    "an older bundle without a file": (
        lambda home: (home.models / OLD / MODEL).unlink(),
        "damage",
        "P2",
        "bundle_differs_from_manifest",
        OLD,
    ),
    "a manifest damaged": (
        lambda home: (home.models / OLD / MANIFEST).write_text("{"),
        "damage",
        "P2",
        "bundle_differs_from_manifest",
        MANIFEST,
    ),
    "a foreign bundle that does not parse": (
        lambda home: (write_tiny_bundle(home.models / "foreign") / MODEL).unlink(),
        "warning",
        "P2",
        "bundle_invalid",
        "foreign",
    ),
    "a model card edited": (
        lambda home: (home.models / NEW / MODEL_CARD).write_text("the best model"),
        "warning",
        "P2",
        "model_card_differs",
        NEW,
    ),
    "staging left": (lambda home: home.staging.mkdir(), "warning", "P2", "staging_not_empty", ".staging"),
    "a temporary file left": (
        lambda home: (home.models / ".active.json.0.tmp").write_text(""),
        "warning",
        "P2",
        "temporary_file",
        ".active.json.0.tmp",
    ),
    "a history line changed": (lambda home: rewrite_line(home, 1, lambda line: b"{}"), "damage", "P3", "history_line_damaged", "line 1:"),
    "a history line torn": (
        lambda home: home.active_history.write_bytes(home.active_history.read_bytes() + b'{"at'),
        "damage",
        "P3",
        "history_line_interrupted",
        " 4 ",
    ),
    "the history cut back": (
        lambda home: home.active_history.write_bytes(home.active_history.read_bytes().split(b"\n")[0] + b"\n"),
        "damage",
        "P3",
        "record_missing",
        "3",
    ),
    "a promotion cut off": (lambda home: cut_off(home, NEXT), "damage", "P3", "change_interrupted", "4"),
    "a foreign pointer not recorded": (lambda home: point_at(home, MID), "warning", "P3", "pointer_not_recorded", MID),
    "a receipt gone": (lambda home: _receipt(home).unlink(), "damage", "P5", "promotion_without_receipt", "3"),
    "a receipt damaged": (lambda home: _receipt(home).write_text("{"), "damage", "P5", "promotion_without_receipt", "3"),
    "a receipt changed": (
        lambda home: edit_json(_receipt(home), {"reason": "because"}),
        "damage",
        "P5",
        "promotion_without_receipt",
        "decision_hash",
    ),
    "a receipt of a dry run": (
        lambda home: _forge_receipt(home, dry_run=True),
        "damage",
        "P5",
        "promotion_without_receipt",
        "PROMOTE (dry run)",
    ),
    "a receipt of a rejected model": (_reject_receipt, "damage", "P5", "promotion_without_receipt", "REJECT"),
    "a receipt about another model": (
        lambda home: _forge_receipt(home, challenger=a_decision(home, MID).challenger),
        "damage",
        "P5",
        "promotion_without_receipt",
        MID,
    ),
    "a bundle that the receipt did not judge": (_other_bundle_with_manifest, "damage", "P5", "promotion_without_receipt", NEW),
    "a decision record damaged": (
        lambda home: (home.decisions / "2026-02-04_000000_00000000.json").write_text("{"),
        "warning",
        "P5",
        "receipt_unreadable",
        "2026-02-04_000000_00000000.json",
    ),
    "the last decided run damaged": (
        lambda home: (home.decisions / "last_decided.json").write_text("{"),
        "warning",
        "P6",
        "file_unreadable",
        "last_decided.json",
    ),
    "no model that can run": (
        lambda home: [(home.models / name / MODEL).unlink() for name in (OLD, MID, NEW)],
        "damage",
        "P6",
        "no_known_good_model",
        "",
    ),
    "one that awaits approval is gone": (_lost_waiting, "damage", "P6", "awaiting_bundle_missing", NEXT),
    "one that ran once is gone": (
        lambda home: shutil.rmtree(home.models / OLD),
        "warning",
        "P6",
        "bundle_missing",
        OLD,
    ),
    "a blocked model runs": (_blocked_runs, "warning", "P7", "blocked_model_active", NEW),
    "receipts that contradict each other": (_contradict, "damage", "P5", "receipts_contradict", "macro_f1"),
    "a bundle changed that awaits approval": (_change_waiting, "damage", "P10", "bundle_differs_from_receipt", MODEL),
    "a last decided run without its receipt": (_decide_without_receipt, "warning", "P10", "last_decided_differs", "lost"),
    "label fingerprints damaged": (
        lambda home: _write(home.decisions / f"labels_{0:016}.npy"),
        "damage",
        "P10",
        "labels_differ",
        "labels_0",
    ),
    "a snapshot damaged": (
        lambda home: [_write(home.snapshots / f"{0:016}" / name) for name in ("windows.parquet", "snapshot.json")],
        "damage",
        "P10",
        "snapshot_differs",
        "0",
    ),
    "labeled windows damaged": (
        lambda home: _write(home.labeled_windows / "0.labeled.arrow"),
        "warning",
        "P10",
        "labeled_windows_differ",
        "0.labeled.arrow",
    ),
    "calibrators changed": (_change_calibrators, "warning", "P10", "calibrators_differ", "0123456789abcdef"),
    "a trial damaged": (lambda home: _write(home.trials / f"{MODEL}.json"), "damage", "P10", "trial_differs", MODEL),
    "what a contender serves damaged": (lambda home: _write(home.serving / f"{MODEL}.json"), "damage", "P10", "trial_differs", MODEL),
    "a probation damaged": (lambda home: _write(home.probations / "00000002.json"), "damage", "P10", "probation_differs", "00000002"),
    "predictions changed": (_change_predictions, "warning", "P10", "predictions_differ", "a.parquet"),
    "the index changed": (lambda home: edit_json(home.index, {"best_model_id": "x"}), "warning", "P10", "index_differs", " x"),
    "an event changed": (_change_an_event, "warning", "P9", "event_differs", "00000001"),
    "events not written": (_stale_cursor, "warning", "P9", "events_missing", "1"),
    "no cursor": (lambda home: shutil.rmtree(home.outbox), "warning", "P9", "events_missing", "0"),
}


@pytest.mark.parametrize(("harm", "severity", "promise", "code", "name"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_reported_by_its_promise_and_code_and_repair_mends_what_it_is_said_to_mend(
    three: Home, harm: Callable[[Home], object], severity: str, promise: str, code: FindingCode, name: str
) -> None:
    harm(three)
    before = (contents(three.root), stamps(three.root))
    found = [finding for finding in check_registry(three) if finding.code == code]
    assert (contents(three.root), stamps(three.root)) == before  # checking changes nothing
    assert (severity, promise) in {(finding.severity, finding.promise) for finding in found if name in finding.detail}
    assert all(finding.fix.endswith(".") and len(finding.fix) > 10 for finding in found)
    promised = [finding for finding in found if "repair" in finding.fix]
    if promised:
        repair(three, at=LATER)
        assert [finding for finding in check_registry(three) if finding in promised] == []


DIFFERING = {
    r"\d{4}-\d\d-\d\d_\d{6}_[0-9a-f]{8}\b": "DECISION",
    r"\d{8}-[0-9a-f]{12}": "EVENT",
    r"recorded is 0\.\d+": "recorded is N",
    r"Parquet file size.*?\)": "REASON",
}
"""Parts of the wording of findings that differ between machines and versions of libraries."""


def test_every_code_of_a_finding_is_found_in_some_home_and_each_has_its_wording(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    found: dict[str, str] = {}

    def look(home: Home) -> None:
        for finding in check_registry(home):
            found.setdefault(finding.code, masked(f"{finding.detail}. {finding.fix}", home.root, also=DIFFERING))

    for number, (harm, *_) in enumerate(BROKEN.values()):
        home = promoted(make_home(tmp_path / str(number)), OLD, MID, NEW)
        harm(home)
        look(home)
    home = promoted(make_home(tmp_path / "repaired"), OLD, MID, NEW)
    rewrite_line(home, 1, lambda line: b"{}")
    repair(home, at=LATER)
    look(home)
    home = promoted(make_home(tmp_path / "earlier"), OLD, MID, NEW)
    home.active_pointer.write_text(json.dumps(read_history(home).moves[0].new.document), encoding="utf-8")
    look(home)
    home = promoted(make_home(tmp_path / "looked_at"), OLD)
    (home.models / OLD / "Thumbs.db").write_bytes(b"")
    shutil.copytree(home.models / OLD, home.models / f"{OLD} - Copy")
    home.models.rename(tmp_path / "disk")
    home.models.symlink_to(tmp_path / "disk")
    look(home)
    elsewhere = {"home_id_differs", "receipt_not_signed", "record_not_signed", "state_not_signed"}  # test_signed_state
    assert set(found) | elsewhere == set(get_args(FindingCode))
    assert found == snapshot


def test_every_promise_that_a_check_can_see_is_checked(three: Home) -> None:
    # P8 is about what readers do, not about what lies on disk.
    assert {promise for _, _, promise, *_ in BROKEN.values()} == set(PROMISES) - {"P8"}


def test_damage_comes_before_warnings(three: Home) -> None:
    write_policy(three, MID)
    (three.models / ".active.json.0.tmp").write_text("", encoding="utf-8")
    rewrite_line(three, 1, lambda line: b"{}")
    (three.decisions / "2026-02-04_000000_00000000.json").write_text("{", encoding="utf-8")
    severities = [finding.severity for finding in check_registry(three)]
    assert severities == sorted(severities)
    assert set(severities) == {"damage", "warning"}


def test_a_receipt_of_an_approved_promotion_is_one(home: Home) -> None:
    promoted(home, OLD)
    decision = judged(home, NEW, auto_promote=False)
    promote(home, decision, at=LATER, approved=True)
    assert check_registry(home) == []


def test_a_promotion_that_was_aborted_needs_no_receipt(home: Home) -> None:
    promoted(home, OLD)
    cut_off(home)
    (home.models / NEW / MODEL).unlink()
    repair(home, at=LATER)
    for path in home.decisions.iterdir():
        if path.stem == history_lines(home)[1]["decision_id"]:
            path.unlink()
    assert "P5" not in {finding.promise for finding in check_registry(home)}


def test_a_record_of_an_unknown_decision_in_a_forged_history_is_damage(three: Home) -> None:
    entry = read_history(three).entries[-1]
    append_active_history(three, entry.model_copy(update={"sequence": 4, "decision_id": "2026-02-04_000000_ffffffff"}))
    found = [(finding.code, "2026-02-04_000000_ffffffff" in finding.detail) for finding in check_registry(three)]
    assert ("promotion_without_receipt", True) in found


def test_a_decision_record_without_a_time_zone_does_not_stop_the_check(three: Home) -> None:
    document = read(_receipt(three))
    write_json(three.decisions / "2026-02-09_000000_00000000.json", {**document, "as_of": "2026-02-09T00:00:00"})
    found = [(finding.code, "2026-02-09_000000_00000000.json" in finding.detail) for finding in check_registry(three)]
    assert found == [("receipt_unreadable", True)]


def test_a_pending_bundle_that_cannot_be_approved_any_more_may_be_gone(three: Home) -> None:
    _lost_waiting(three)
    save_decision(three, a_decision(three, NEW, dry_run=True))
    promote(three, judged(three, "2026-02-05_000000_run-0009"), at=LATER)
    assert "P6" not in {finding.promise for finding in check_registry(three)}
