"""Every file of a home: a change of it is found, or it is listed as having no digest; and no file keeps the others from being checked."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from taskclf_dagster.domain.data.label_fingerprints import keep_fingerprints
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot, save_snapshot
from taskclf_dagster.domain.data.stored_frames import store_parts
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.decision_events import build_decision_events
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided, write_last_decided
from taskclf_dagster.domain.events.event import Event, EventPayload
from taskclf_dagster.domain.events.outbox import write_event
from taskclf_dagster.domain.registry.applied_decisions import put_aside
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.fsck_files import UNCHECKED, find_unchecked
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.stored_files import store_file
from taskclf_dagster.home import Home
from taskclf_dagster_tests.file_edits import edits_of
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, all_gates, edit_json, model_ref, with_changes, write_tiny_bundle
from taskclf_dagster_tests.registry_scenario import MODELS, NEXT, history_lines, judged, promoted, write_variant
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home, make_home, retrain_config

LATER = AT + 9 * DAY
REJECTED, WAITING, UNDECIDED = MODELS[0], NEXT, MODELS[1]


def codes(home: Home) -> set[str]:
    return {finding.code for finding in check_registry(home)}


def remember(home: Home, decision: PromotionDecision, *, mark: str | None = None) -> None:
    """Records a decision as the last decided run, and writes its events."""
    dataset = decision.dataset
    last = LastDecided(
        outcome=decision.verdict,
        decided_at=LATER,
        as_of=decision.as_of,
        run_id="run-9",
        decision_id=decision.decision_id,
        dataset_hash=dataset.dataset_hash,
        snapshot_path=dataset.path,
        label_watermark=mark or dataset.label_watermark,
        trained_at=LATER,
    )
    write_last_decided(home, last)
    for event in build_decision_events(decision, run_id="run-9", at=LATER):
        write_event(home, event)
    (home.outbox / "reported_decision.json").write_text(json.dumps({"decision_id": decision.decision_id}), encoding="utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a file of every kind; not to be written into."""
    home, config = learnable_home(tmp_path_factory.mktemp("full"), users=1, days=4), retrain_config()
    promoted(home, OLD, NEW)
    result = label_windows(home, as_of=AS_OF, settings=config.dataset)
    labeled, frame, fingerprints = result[:3]
    record, rows = build_snapshot(home, labeled, frame, config=config)
    save_snapshot(home, record, rows)
    store_parts(home.labeled_windows, [frame], kind="labeled")
    mark = keep_fingerprints(home.decisions, fingerprints)
    rejected = judged(home, REJECTED, gates=all_gates(macro_f1="FAIL"), label_watermark=mark)
    put_aside(home, rejected)
    put_aside(home, judged(home, WAITING, auto_promote=False))
    write_variant(home.challengers / UNDECIDED)
    write_tiny_bundle(home.models / "foreign")
    remember(home, rejected)
    payload = EventPayload(metrics={"macro_f1": None, "weighted_f1": None})
    write_event(home, Event(event_id="run-9-started", event_type="model.retrain.started", occurred_at=AT, payload=payload))
    for name in (
        "artifacts/predictions/0a963156a3de73d5/x.parquet",
        "artifacts/records/champion_report/latest.json",
        "artifacts/suggestions/2026-02-04_000000_0a963156.json",
        "artifacts/reports/2026-02-04_000000_0a963156.html",
        "artifacts/scores/date=2026-02-03/scores.parquet",
        f"artifacts/performance_drops/{NEW}.json",
        "artifacts/outbox/delivery.json",
        "artifacts/events/events.jsonl",
        "artifacts/calibrator_store/store.json",
        "artifacts/drift_report.json",
        "artifacts/drift/one.json",
        "artifacts/retrain_under_way.json",
        "artifacts/.retrain.lock",
        "artifacts/config_changes.jsonl",
        "taskclf_dagster.yaml",
        ".taskclf_dagster.lock",
        "models/.lock",
        "DEMO",
    ):
        (home.root / name).parent.mkdir(parents=True, exist_ok=True)
        (home.root / name).write_text('{"sinks": {}}', encoding="utf-8")
    stored = store_file(home.root, home.predictions / "0a963156a3de73d5" / "a.parquet", b"predictions")
    write_json(home.records / "challenger_report" / "latest.json", {"report": {"predictions": stored.model_dump()}, "anchors": []})
    return home


@pytest.fixture
def home(full: Home, tmp_path: Path) -> Home:
    shutil.copytree(full.root, tmp_path / "home")
    return Home(tmp_path / "home")


def flip(path: Path, share: float = 0.5, bit: int = 0) -> None:
    """Flips one bit of a file, at a share of its length."""
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)


def edit(**changes: object) -> Callable[[Path], None]:
    return lambda path: edit_json(path, changes)


def change_an_entry(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    document["ranked"][-1]["macro_f1"] = 0.123
    path.write_text(json.dumps(document), encoding="utf-8")


def change_a_label(path: Path) -> None:
    """Other labels in some rows, written by the same library, with page checksums that fit."""
    edit = next(edit for edit in edits_of(path.name, path.read_bytes()) if edit.what.endswith("rows of label"))
    path.write_bytes(edit.content)


SPREAD = tuple((lambda path, share=share: flip(path, share)) for share in (0.02, 0.31, 0.77))
EVENT_OF_RECORD, EVENT_OF_DECISION = "artifacts/outbox/0*.json", "artifacts/outbox/*-re[tj]*ed.json"
KINDS: dict[str, tuple[str, tuple[Callable[[Path], object], ...], str]] = {
    "pointer": ("models/active.json", (*SPREAD, edit(selected_at="2026-02-07T12:30:00+00:00")), "found"),
    "policy": ("models/inference_policy.json", (*SPREAD, edit(git_commit="fedcba9")), "found"),
    "history": ("models/active_history.jsonl", SPREAD, "found"),
    "index": ("models/index.json", (change_an_entry, edit(best_model_id=MID), lambda path: path.write_text("{")), "found"),
    "promoted bundle": (f"models/{OLD}/*", SPREAD, "found"),
    "manifest": (f"models/{NEW}/MANIFEST.json", (edit(decision_id="2026-02-04_000000_00000000"), edit(model_id=MID)), "found"),
    "rejected bundle": (f"artifacts/rejected_models/{REJECTED}/*", SPREAD, "found"),
    "bundle that awaits approval": (f"artifacts/pending_models/{WAITING}/*", SPREAD, "found"),
    "receipt": ("artifacts/decisions/2026*.json", SPREAD, "found"),
    "last decided run": (
        "artifacts/decisions/last_decided.json",
        (*SPREAD, edit(decided_at="2126-02-07T12:30:00Z"), edit(label_watermark="f" * 16)),
        "found",
    ),
    "label fingerprints": ("artifacts/decisions/labels_*.npy", (lambda path: flip(path, 0.9), lambda path: flip(path, 0.01)), "found"),
    "rows of a snapshot": (
        "artifacts/snapshots/*/windows/part-000.parquet",
        (change_a_label, lambda path: flip(path, 0.3), lambda path: path.write_bytes(path.read_bytes()[:-9])),
        "found",
    ),
    "record of a snapshot": ("artifacts/snapshots/*/snapshot.json", (*SPREAD, edit(gold_windows=7)), "found"),
    "labeled windows": ("artifacts/labeled_windows/*.arrow", (lambda path: flip(path, 0.5),), "found"),
    "event of a pointer change": (EVENT_OF_RECORD, (edit(occurredAt="2026-02-05T12:30:01+00:00"), SPREAD[1]), "found"),
    "event of a decision": (EVENT_OF_DECISION, (edit(occurredAt="2026-02-05T12:30:01+00:00"), edit(runId="run-8")), "found"),
    "cursor of events": ("artifacts/outbox/written_through.json", (edit(sequence=1), edit(checksum="0" * 64)), "found"),
    "reported decision": ("artifacts/outbox/reported_decision.json", (edit(decision_id="2026-02-04_000000_00000000"),), "found"),
    "data": ("data/processed/**/*.parquet", (flip,), "data of taskclf"),
    "predictions": ("artifacts/predictions/*/a.parquet", (flip, lambda path: path.write_bytes(b"")), "found"),
    "predictions without a record": ("artifacts/predictions/*/x.parquet", (flip,), "predictions without a record"),
    "step record": ("artifacts/records/*/*.json", (edit(value=2),), "step records"),
    "what to label next": ("artifacts/suggestions/*.json", (edit(days=2),), "what to label next"),
    "drop of performance": ("artifacts/performance_drops/*.json", (edit(windows=2),), "drops of performance"),
    "challenger before its decision": (f"artifacts/challengers/{UNDECIDED}/metadata.json", (flip,), "bundles without a receipt"),
    "bundle of another program": ("models/foreign/metadata.json", (edit(git_commit="fedcba9"),), "bundles without a receipt"),
    "event of a run": ("artifacts/outbox/run-9-started.json", (edit(runId="run-8"),), "events without a record"),
    "state of delivery": ("artifacts/outbox/delivery.json", (edit(sinks={"x": {"delivered": ["a"]}}),), "state of delivery"),
    "delivered events": ("artifacts/events/events.jsonl", (edit(value=2),), "delivered events"),
    "calibrators": ("artifacts/calibrator_store/store.json", (edit(value=2),), "calibrators and reports"),
    "drift reports": ("artifacts/drift*/*.json", (edit(value=2),), "calibrators and reports"),
    "settings of the home": ("taskclf_dagster.yaml", (edit(enabled=False),), "settings of the home"),
    "changes of settings": ("artifacts/config_changes.jsonl", (edit(value=2),), "settings of the home"),
    "locks": ("artifacts/.retrain.lock", (edit(value=2),), "locks and notes"),
}
"""Kinds of files: where they are, changes of them, and whether a change is found or the kind by which the file is listed."""


def test_a_change_of_any_kind_of_file_is_found_or_the_file_is_listed_as_having_no_digest(full: Home) -> None:
    assert check_registry(full) == []
    listed = {path: kind for kind, paths in find_unchecked(full).items() for path in paths}
    wrong = []
    for kind, (pattern, harms, expected) in KINDS.items():
        paths = [path for path in sorted(full.root.glob(pattern)) if path.is_file()]
        if not paths:
            wrong.append(f"{kind}: there is no such file")
        for path in [paths[0], paths[-1]] if len(paths) > 1 else paths:
            for number, harm in enumerate(harms):
                whole = path.read_bytes()
                harm(path)
                found = "found" if check_registry(full) else listed.get(path)
                path.write_bytes(whole)
                if found != expected:
                    wrong.append(f"{kind}: {path.name}, change {number}: {found} instead of {expected}")
    assert wrong == []


def test_every_file_of_a_home_is_checked_or_listed(full: Home) -> None:
    known = {path for pattern, _, expected in KINDS.values() if expected == "found" for path in full.root.glob(pattern)}
    known |= {path for paths in find_unchecked(full).values() for path in paths}
    assert {path for path in full.root.rglob("*") if path.is_file()} - known - set((full.models / NEW).iterdir()) == set()
    assert set(find_unchecked(full)) == {each.kind for each in UNCHECKED}


def test_the_page_about_the_registry_lists_every_file_without_a_digest() -> None:
    page = (Path(__file__).parents[3] / "docs" / "registry.md").read_text(encoding="utf-8")
    assert [each.kind for each in UNCHECKED if f"| {each.kind} |" not in page or each.reason not in page] == []


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_being_checked(home: Home) -> None:
    receipt = home.decisions / f"{history_lines(home)[0]['decision_id']}.json"
    for path in (receipt, home.decisions / "last_decided.json", home.index, home.outbox / "reported_decision.json"):
        path.unlink()
        path.mkdir()
    for path in (home.inference_policy, home.models / OLD / "MANIFEST.json", *home.snapshots.glob("*/snapshot.json")):
        path.write_bytes(b"[" * 5000 + b"\xff")
    flip(home.pending_models / WAITING / "model.txt")
    expected = {"policy_unusable", "bundle_differs_from_manifest", "snapshot_differs", "file_unreadable", "receipt_unreadable"}
    assert expected | {"bundle_differs_from_receipt", "promotion_without_receipt"} <= codes(home)


def test_a_snapshot_without_its_record_is_compared_with_the_receipt_that_names_it(home: Home) -> None:
    (folder,) = home.snapshots.iterdir()
    digest = json.loads((folder / "snapshot.json").read_text(encoding="utf-8"))["dataset_digest"]
    (folder / "snapshot.json").unlink()
    assert codes(home) == set()
    judged(home, MODELS[2], path=f"artifacts/snapshots/{folder.name}", digest=digest)
    assert codes(home) == set()
    change_a_label(folder / "windows" / "part-000.parquet")
    assert codes(home) == {"snapshot_differs"}


def test_each_snapshot_is_read_once(full: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: [opened.append(path.name), read(path)][1])
    check_registry(full)
    assert opened.count("part-000.parquet") == len(list(full.snapshots.iterdir())) == 1


# --- Receipts that contradict each other ------------------------------------------------------------------------------------------------


def contradictions(home: Home) -> int:
    return sum(finding.code == "receipts_contradict" for finding in check_registry(home))


def test_receipts_of_one_challenger_on_one_dataset_that_differ_are_found(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD)
    decision = judged(home, NEW)
    ref, files = decision.challenger, decision.challenger.files
    other = {
        "another figure": {"challenger": model_ref(NEW, files, macro_f1=0.91)},
        "another gate": {"gates": all_gates(weighted_f1="FAIL"), "verdict": "REJECT"},
        "another verdict": {"verdict": "REJECT"},
    }
    wrong = []
    for name, changes in other.items():
        path = save_decision(home, seal(with_changes(decision, **changes)))
        if contradictions(home) != 1:
            wrong.append(name)
        path.unlink()
    agreeing = {
        "another time": {"as_of": decision.as_of + timedelta(hours=1)},
        "another dataset": {"digest": "f" * 64, "challenger": model_ref(NEW, files, macro_f1=0.91)},
        "another policy": {"policy": retrain_config(min_improvement=0.2).policy, "verdict": "REJECT"},
        "other trees": {"challenger": model_ref(NEW, {**files, "model.txt": "0" * 64}, macro_f1=0.5)},
        "rolled back since": {"rolled_back_as": OLD, "verdict": "REJECT"},
        "a dry run": {"dry_run": True},
    }
    for name, changes in agreeing.items():
        path = save_decision(home, seal(with_changes(decision, **changes)))
        if contradictions(home):
            wrong.append(name)
        path.unlink()
    assert (wrong, ref.model_id) == ([], NEW)


# --- The last decided run ---------------------------------------------------------------------------------------------------------------


def test_a_last_decided_run_whose_values_were_changed_is_not_believed(home: Home) -> None:
    path = home.decisions / "last_decided.json"
    assert read_last_decided(home) is not None
    edit_json(path, {"decided_at": "2126-01-01T00:00:00Z"})  # no retrain would ever be due
    assert read_last_decided(home) is None
    edit_json(path, {"decided_at": LATER.isoformat()}, without="record_hash")  # as an earlier version wrote it
    assert read_last_decided(home) is not None


def test_a_last_decided_run_with_a_hash_of_its_own_that_its_receipt_contradicts_is_found(home: Home) -> None:
    last = read_last_decided(home)
    assert last is not None
    write_last_decided(home, last.model_copy(update={"outcome": "PROMOTE"}))
    assert codes(home) == {"last_decided_differs"}
