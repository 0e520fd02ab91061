"""A home whose windows and snapshots are in an object store: the same figures as in the home itself, and nothing that stays on the disk."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.labeled_windows import open_labeled_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot_parts, open_snapshot, save_snapshot
from taskclf_dagster.domain.data.snapshot_places import list_snapshots, snapshot_folder
from taskclf_dagster.domain.data.snapshot_rows import open_snapshot_rows, read_snapshot_rows
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.models.reproducibility import reproduce
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.fsck_findings import RegistryFinding
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.reporting.report_evidence import collect_evidence
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.retraining.steps import find_skip_reason, remember_decision
from taskclf_dagster.errors import ObjectStoreError, ObjectStoreUnavailableError, SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.object_stores import BUCKET, Store, point_to, serving
from taskclf_dagster_tests.retrain_scenario import FAST, decide_about, judge_challenger, train_challenger
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, retrain_config

CONFIG = retrain_config(
    train_params=FAST,
    min_class_windows=10,
    data_lookback_days=8,
    training_lookback_days=20,
    auto_promote=True,
    search="off",
    prove_reproducible=False,
)

PART_WINDOWS = {1: 1_000_000, 3: 1000}
"""Windows of a part by number of parts."""


class Made(NamedTuple):
    """Everything that a retrain makes of a home."""

    snapshot: DatasetSnapshot
    decision: PromotionDecision
    model: bytes
    bundle: str


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = learnable_home(tmp_path_factory.mktemp("local"), users=3, days=5)
    add_learnable_days(made, first=AS_OF - 12 * DAY, users=1, days=5, version="v1", confusion=0.15, seed=2)
    for path in made.features("v1").glob("date=*/features.parquet"):
        rows = pq.read_table(path, partitioning=None)
        pq.write_table(rows.append_column("raw_title", [["secret"] * len(rows)]), path)
    return made


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with serving(monkeypatch) as store:
        yield store


def move_out(home: Home, store: Store, folder: Path) -> Home:
    """A copy of a home whose windows were moved into the store."""
    copy = Home(Path(shutil.copytree(home.root, folder / "home", ignore=shutil.ignore_patterns("artifacts"))))
    store.upload(copy.processed, "windows")
    for features in copy.processed.glob("features_v*"):
        shutil.rmtree(features)
    point_to(copy, features="windows", snapshots="snapshots")
    return copy


def make_snapshot(home: Home, parts: int, config: RetrainConfig = CONFIG) -> DatasetSnapshot:
    labeled = store_labeled_windows(home, as_of=AS_OF, settings=config.dataset, part_windows=PART_WINDOWS[parts]).record
    assert labeled.violations == []
    assert set(labeled.raw_columns_dropped) == {"raw_title"}
    snapshot, rows = build_snapshot_parts(home, labeled, open_labeled_windows(home, labeled), config=config)
    return save_snapshot(home, snapshot, rows)


def make(home: Home, parts: int) -> Made:
    """A whole retrain."""
    snapshot = make_snapshot(home, parts)
    assert len(snapshot.parts) == parts
    challenger = train_challenger(home, snapshot, CONFIG)
    model = (home.root / challenger.path / "model.txt").read_bytes()
    decision = decide_about(home, snapshot, challenger, judge_challenger(home, snapshot, challenger, CONFIG), CONFIG)
    return Made(snapshot, decision, model, challenger.path)


def copy_in(home: Home, folder: Path) -> Home:
    return Home(Path(shutil.copytree(home.root, folder / "in", ignore=shutil.ignore_patterns("artifacts"))))


def test_the_figures_are_those_of_files_in_the_home_and_every_later_step_finds_the_snapshot(
    home: Home, store: Store, tmp_path: Path
) -> None:
    parts = 3
    ours, theirs = make(moved := move_out(home, store, tmp_path), parts), make(copy_in(home, tmp_path), parts)
    assert ours.snapshot.model_dump(exclude={"home"}) == theirs.snapshot.model_dump(exclude={"home"})
    assert ours.model == theirs.model
    assert ours.decision.verdict == theirs.decision.verdict == "PROMOTE"
    assert ours.decision.gates == theirs.decision.gates
    name = ours.snapshot.dataset_hash
    files = [f"snapshots/{name}/snapshot.json", *(f"snapshots/{name}/windows/part-{number:03d}.parquet" for number in range(parts))]
    assert (store.names("snapshots"), ours.snapshot.path) == ([*files, "snapshots/owner.json"], f"artifacts/snapshots/{name}")
    assert not moved.snapshots.exists()
    assert reproduce(moved, moved.root / ours.bundle).same
    assert recompute_decision(read_registry_state(moved), ours.decision, cores=1) == []
    assert check_registry(moved) == []
    evidence = collect_evidence(moved, ours.decision)
    assert evidence.snapshot is not None
    remember_decision(moved, ours.decision, run_id="run-1", at=AS_OF)
    assert "no new labels" in (find_skip_reason(moved, read_snapshot_rows(snapshot_folder(moved, ours.snapshot.path)), CONFIG) or "")
    assert not moved.snapshots.exists()


def test_an_intact_snapshot_is_neither_written_nor_replaced(home: Home, store: Store, tmp_path: Path) -> None:
    moved = move_out(home, store, tmp_path)
    first = make_snapshot(moved, 1)
    store.requests.clear()
    assert make_snapshot(moved, 1).parts == first.parts
    assert store.asked_for("PUT") == []


def test_an_interrupted_write_is_completed_by_the_next_one(home: Home, store: Store, tmp_path: Path) -> None:
    moved = move_out(home, store, tmp_path)
    parts: list[str] = []

    def fail_third(method: str, path: str) -> int | None:
        parts.extend([path] if method == "PUT" else [])
        return 500 if len(parts) > 3 else None  # owner.json comes first

    store.fault = fail_third
    with pytest.raises(ObjectStoreUnavailableError):
        make_snapshot(moved, 3)
    assert len(store.names("snapshots")) == 3
    assert [snapshot.is_complete for snapshot in list_all(store, moved)] == [False]
    store.fault = lambda _method, _path: None
    store.requests.clear()
    snapshot = make_snapshot(moved, 3)
    assert len(store.asked_for("PUT")) == 2  # the third part and snapshot.json
    assert open_snapshot(moved, snapshot).digest() == snapshot.dataset_digest


def list_all(store: Store, home: Home) -> list[object]:
    store.fault = lambda _method, _path: None
    return list(list_snapshots(home))


DAMAGES: dict[str, tuple[int, Callable[[Store, str], None]]] = {
    "changed": (1, lambda store, name: store.put(name, store.get(name)[:-1] + b"?")),
    "gone": (3, lambda store, name: store.remove(name)),
}
"""Number of parts, and what happens to the last one."""


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_object_is_refused_reported_and_written_again(home: Home, store: Store, tmp_path: Path, case: str) -> None:
    parts, damage = DAMAGES[case]
    moved = move_out(home, store, tmp_path)
    snapshot = make_snapshot(moved, parts)
    damage(store, f"snapshots/{snapshot.dataset_hash}/{snapshot.parts[-1].file}")
    with pytest.raises(SnapshotError):
        open_snapshot(moved, snapshot).load()
    assert [finding.code for finding in check_registry(moved)] == ["snapshot_differs"]
    assert make_snapshot(moved, parts).parts == snapshot.parts
    assert open_snapshot(moved, snapshot).digest() == snapshot.dataset_digest
    assert check_registry(moved) == []


def test_rows_that_were_changed_together_with_the_record_are_not_those_of_the_name(home: Home, store: Store, tmp_path: Path) -> None:
    moved = move_out(home, store, tmp_path)
    snapshot, other = make_snapshot(moved, 1), "0123456789abcdef"
    for name in store.names(f"snapshots/{snapshot.dataset_hash}"):
        store.put(name.replace(snapshot.dataset_hash, other), store.get(name))
    (finding,) = check_registry(moved)
    assert (finding.code, other in finding.detail) == ("snapshot_differs", True)


def test_a_store_that_does_not_answer_is_no_damage_and_no_missing_snapshot(home: Home, store: Store, tmp_path: Path) -> None:
    moved = move_out(home, store, tmp_path)
    made = make(moved, 1)
    remember_decision(moved, made.decision, run_id="run-1", at=AS_OF)
    rows = read_snapshot_rows(snapshot_folder(moved, made.snapshot.path))
    store.stop()
    with pytest.raises(ObjectStoreUnavailableError):
        find_skip_reason(moved, rows, CONFIG)
    with pytest.raises(ObjectStoreUnavailableError):
        recompute_decision(read_registry_state(moved), made.decision, cores=1)
    findings: list[RegistryFinding] = list(check_registry(moved))
    assert [(finding.code, finding.severity) for finding in findings] == [("file_unreadable", "warning")]
    assert "the snapshots cannot be checked" in findings[0].detail


def test_rows_of_several_parts_are_fetched_once_for_their_digest_and_leave_nothing_on_the_disk(
    home: Home, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, scratch = move_out(home, store, tmp_path), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    snapshot = make_snapshot(moved, 3)
    stored = open_snapshot_rows(snapshot_folder(moved, snapshot.path), parts=snapshot.parts)
    store.requests.clear()
    assert stored.digest() == snapshot.dataset_digest
    fetched = store.asked_for("GET", "part-")
    assert sorted(fetched) == sorted(set(fetched))
    assert (len(fetched), list(scratch.iterdir())) == (3, [])
    assert frame_digest(stored.load()) == snapshot.dataset_digest


def test_retention_removes_the_snapshots_that_nothing_needs(home: Home, store: Store, tmp_path: Path) -> None:
    moved = move_out(home, store, tmp_path)
    made = make(moved, 1)
    remember_decision(moved, made.decision, run_id="run-1", at=AS_OF)
    for name in store.names(f"snapshots/{made.snapshot.dataset_hash}"):
        store.put(name.replace(made.snapshot.dataset_hash, "0123456789abcdef"), store.get(name))
    kept = [name for name in store.names("snapshots") if made.snapshot.dataset_hash in name]
    (changed,) = {round(each.changed) for each in list_snapshots(moved) if each.name == "0123456789abcdef"}
    later = AS_OF.fromtimestamp(changed, tz=AS_OF.tzinfo) + timedelta(hours=2)
    plan = prune(moved, keep_versions=5, keep_rejected=5, at=later)
    assert [(item.kind, item.path) for item in plan.remove] == [("snapshot", f"s3://{BUCKET}/snapshots/0123456789abcdef")]
    assert plan.bytes > 1000
    assert store.names("snapshots") == [*kept, "snapshots/owner.json"]


def test_a_place_that_another_home_uses_is_refused_before_either_removes_what_the_other_needs(
    home: Home, store: Store, tmp_path: Path
) -> None:
    first, second = move_out(home, store, tmp_path), copy_in(home, tmp_path)
    made = make_snapshot(first, 1)
    point_to(second, snapshots="snapshots")
    later = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(ObjectStoreError, match=r"another home.*Name a place of its own as home\.snapshots_url"):
        make_snapshot(second, 1)
    with pytest.raises(ObjectStoreError, match="another home"):
        prune(second, keep_versions=1, keep_rejected=1, at=later)
    assert [finding.severity for finding in check_registry(second)] == ["warning"]
    assert open_snapshot(first, made).digest() == made.dataset_digest
    store.put("snapshots/owner.json", b"{}")
    with pytest.raises(ObjectStoreError, match="does not say which home it belongs to"):
        make_snapshot(first, 1)
    store.remove("snapshots/owner.json")
    assert make_snapshot(first, 1).parts == made.parts


def test_a_snapshot_that_was_written_into_the_home_before_is_still_found_there(home: Home, store: Store, tmp_path: Path) -> None:
    moved = copy_in(home, tmp_path)
    made = make(moved, 1)
    point_to(moved, snapshots="snapshots")
    assert reproduce(moved, moved.root / made.bundle).same
    assert store.requests == []


def test_snapshots_may_be_in_another_folder_of_this_machine(home: Home, tmp_path: Path) -> None:
    moved, elsewhere = copy_in(home, tmp_path), tmp_path / "elsewhere"
    shutil.move(moved.processed / "features_v1", elsewhere / "features_v1")
    moved.settings_file.write_text(f"home: {{features_url: 'file://{elsewhere}', snapshots_url: 'file://{elsewhere}/s'}}", encoding="utf-8")
    made = make(moved, 1)
    assert (elsewhere / "s" / made.snapshot.dataset_hash / "snapshot.json").exists()
    assert not moved.snapshots.exists()
    assert reproduce(moved, moved.root / made.bundle).same
    assert check_registry(moved) == []
