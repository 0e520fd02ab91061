"""Small named registries for the tests: models that came to run one after another, changes that were cut off, file systems that misbehave.

Everything is done by the registry itself on real files, except what a test damages. Bundles are those of `models`, each variant with trees
of its own, because a rollback blocks trees.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_files import MANIFEST, METADATA, MODEL, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.manifest import build_manifest
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.registry import promotion
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import append_active_history, read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.inference_policy import build_policy
from taskclf_dagster.domain.registry.pointer import make_pointer, metrics_of, read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.files import hash_file, write_json
from taskclf_dagster.domain.storage.filesystem import FileSystem
from taskclf_dagster.errors import DecisionFinding, DecisionFindingKind, DecisionNotVerifiedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    a_decision,
    change_a_leaf,
    contents,
    edit_json,
    home_with_champion,
    point_at,
    pointer_to,
    write_tiny_bundle,
)
from taskclf_dagster_tests.scenario import DAY, make_home

NEXT = "2026-02-04_000000_run-0004"
"""A challenger beside NEW."""

BROKEN_POINTERS = {
    "empty": "",
    "truncated": json.dumps(pointer_to(MID))[:40],
    "with a byte order mark": "\ufeff" + json.dumps(pointer_to(MID)),
    "with a key twice": json.dumps(pointer_to(MID))[:-1] + f', "model_dir": "models/{OLD}"}}',
    "of more than a megabyte": json.dumps(pointer_to(MID, filler="x" * 1024 * 1024)),
    "an array": "[]",
    "null": "null",
    "zeros": "\0" * 200,
    "without model_dir": json.dumps({"selected_at": "2026-01-20T06:00:00+00:00", "policy_version": 1}),
    "with a model_dir of numbers": json.dumps(pointer_to(MID, model_dir=[1])),
    "of another policy version": json.dumps(pointer_to(MID, policy_version=2)),
    "without a time": json.dumps(pointer_to(MID, selected_at="lately")),
    "nested too deep": "[" * 100_000,
}
"""Contents of active.json that name nothing."""

LEAVING = {
    "up": "../elsewhere/evil",
    "up from within": "models/../../elsewhere/evil",
    "absolute": "{outside}/evil",
    "a link": "models/link",
    "a link on the way": "linked/evil",
    "a circle of links": "models/circle",
    "no path at all": "models/a\0b",
}
"""Values of model_dir that name a whole bundle outside the home, or nothing; the traps are set by `set_traps`."""

MODELS = [f"2026-01-{10 + i}_060000_run-01{i:02d}" for i in range(8)]
"""Model ids, the oldest first."""

VARIANTS = {OLD: 0, MID: 1, NEW: 2, NEXT: 3, **{model_id: 4 + i for i, model_id in enumerate(MODELS)}}
PROVENANCE = ("models/active_history.jsonl", "models/index.json", "artifacts/outbox")
"""What a writer may add to although it refuses: it adopts and repairs before it looks at what it was asked for."""


# --- Promotions -------------------------------------------------------------------------------------------------------------------


def find_no_difference(state: RegistryState, decision: PromotionDecision) -> list[DecisionFinding]:
    """In place of `recompute_decision`, which has tests of its own: the figures of these decisions come from no model."""
    return []


promote = partial(promotion.promote, recompute=find_no_difference)
approve = partial(promotion.approve, recompute=find_no_difference)


@contextmanager
def refused(kind: DecisionFindingKind, name: str = "") -> Iterator[None]:
    """Expects that a decision is refused with a finding of some kind that names something."""
    with pytest.raises(DecisionNotVerifiedError) as caught:
        yield
    found = [(finding.kind, name in finding.detail) for finding in caught.value.findings]
    assert (kind, True) in found, caught.value.findings


# --- Homes ------------------------------------------------------------------------------------------------------------------------


def write_variant(folder: Path, variant: int | None = None) -> Path:
    """A whole bundle with the trees of its variant, by default that of its model id."""
    write_tiny_bundle(folder)
    for _ in range(VARIANTS.get(folder.name, 0) if variant is None else variant):
        change_a_leaf(folder)
    text = (folder / MODEL).read_text(encoding="utf-8")
    edit_json(folder / METADATA, {"artifact_hash": hash_file(folder / MODEL), "tree_hash": tree_hash(text)})
    return folder


def judged(home: Home, model_id: str = NEW, **options: object) -> PromotionDecision:
    """A challenger that was built and decided about, PROMOTE unless options say otherwise; the receipt is stored."""
    if find_bundle(home, model_id) is None:
        write_variant(home.challengers / model_id)
    decision = a_decision(home, model_id, **options)
    save_decision(home, decision)
    return decision


def promoted(home: Home, *model_ids: str) -> Home:
    """A home where these models were promoted, one a day from AT on; the last of them runs."""
    for name, content in _promoted_files(model_ids).items():
        (home.root / name).parent.mkdir(parents=True, exist_ok=True)
        (home.root / name).write_bytes(content)
    return home


@cache
def _promoted_files(model_ids: tuple[str, ...]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder))
        for i, model_id in enumerate(model_ids):
            promote(home, judged(home, model_id), at=AT + i * DAY)
        return {name: content for name, content in contents(home.root).items() if content != b"<folder>"}


def settled(home: Home) -> Home:
    """A home that taskclf used before: MID runs, OLD ran before, and the registry has taken note of it."""
    home_with_champion(home)
    repair(home, at=AT - DAY)
    return home


def set_active(home: Home, model_id: str, *, at: datetime = AT, **changes: object) -> None:
    """What `taskclf model set-active` does: a pointer and a history line without sequence, no lock, no policy."""
    old = json.loads(home.active_pointer.read_text(encoding="utf-8")) if home.active_pointer.exists() else None
    point_at(home, model_id, selected_at=at.isoformat(), **changes)
    new = json.loads(home.active_pointer.read_text(encoding="utf-8"))
    with home.active_history.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": at.isoformat(), "old": old, "new": new}) + "\n")


def cut_off(home: Home, model_id: str = NEW, *, with_policy: bool = False) -> ActiveHistoryEntry:
    """A promotion that stopped behind its history line: bundle and receipt are there, the pointer is as it was, the policy maybe not."""
    decision = judged(home, model_id)
    home.models.mkdir(exist_ok=True)
    folder = write_variant(home.models / model_id)
    write_json(folder / MANIFEST, build_manifest(read_bundle_files(folder), decision_id=decision.decision_id).model_dump(mode="json"))
    model, number = load_bundle(folder), read_history(home).sequence + 1
    history = append_active_history(
        home,
        ActiveHistoryEntry(
            at=AT,
            old=read_active(home),
            new=make_pointer(model_id, at=AT, sequence=number, metrics=metrics_of(model), note="cut off", decision_id=decision.decision_id),
            action="promote",
            decision_id=decision.decision_id,
            reason=decision.reason,
            policy=build_policy(model, at=AT, source="retrain", code_version="cut off"),
        ),
    )
    entry = history.entries[-1]
    if with_policy:
        write_json(home.inference_policy, entry.policy)
    return entry


def set_traps(home: Home, outside: Path) -> None:
    """Whole bundles outside the home, and links to them from within."""
    write_tiny_bundle(outside / "evil")
    shutil.copytree(outside / "evil", home.root.parent / "elsewhere" / "evil", dirs_exist_ok=True)
    home.models.mkdir(exist_ok=True)
    (home.models / "link").symlink_to(outside / "evil", target_is_directory=True)
    (home.root / "linked").symlink_to(outside, target_is_directory=True)
    (home.models / "circle").symlink_to(home.models / "circle")


# --- What a home says -------------------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, object]:
    return json.loads(path.read_text(encoding="utf-8"))


def history_lines(home: Home) -> list[dict[str, object]]:
    return [json.loads(line) for line in home.active_history.read_bytes().splitlines()]


def rewrite_line(home: Home, number: int, change: Callable[[bytes], bytes]) -> None:
    """Changes one line of the history, counted from 1, without its newline."""
    lines = home.active_history.read_bytes().split(b"\n")
    lines[number - 1] = change(lines[number - 1])
    home.active_history.write_bytes(b"\n".join(lines))


def actions(home: Home) -> list[tuple[int | None, str | None, str | None]]:
    """Number, action and model of every history entry, oldest first."""
    return [(entry.sequence, entry.action, entry.new and entry.new.name) for entry in read_history(home).entries]


def damage(home: Home) -> list[tuple[str, str]]:
    """Promise and code of every damage that the check finds."""
    return [(finding.promise, finding.code) for finding in check_registry(home) if finding.severity == "damage"]


def findings(home: Home) -> list[tuple[str, str, str]]:
    """Severity, promise and code of everything that the check finds."""
    return [(finding.severity, finding.promise, finding.code) for finding in check_registry(home)]


def untouched(home: Home) -> dict[str, bytes]:
    """Every file of a home but those that recovery may add to."""
    return {name: content for name, content in contents(home.root).items() if not name.startswith(PROVENANCE)}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """When every file and folder was changed last, and which one it is."""
    return {str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in folder.rglob("*")}


# --- File systems -----------------------------------------------------------------------------------------------------------------


class Recording(FileSystem):
    """Does everything, and keeps the order of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def make_folder(self, path: Path) -> None:
        self.calls.append(("make_folder", path.name))
        super().make_folder(path)

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        self.calls.append(("create", path.name))
        super().create(path, content)

    def append(self, path: Path, content: bytes) -> None:
        self.calls.append(("append", path.name))
        super().append(path, content)

    def sync_file(self, path: Path) -> None:
        self.calls.append(("sync_file", path.name))
        super().sync_file(path)

    def sync_folder(self, path: Path) -> None:
        self.calls.append(("sync_folder", path.name))
        super().sync_folder(path)

    def replace(self, source: Path, target: Path) -> None:
        self.calls.append(("replace", target.name))
        super().replace(source, target)

    def rename(self, source: Path, target: Path) -> None:
        self.calls.append(("rename", target.name))
        super().rename(source, target)

    def remove_file(self, path: Path) -> None:
        self.calls.append(("remove_file", path.name))
        super().remove_file(path)

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        self.calls.append(("lock", path.name))
        with super().lock(path):
            yield
        self.calls.append(("unlock", path.name))


class WithoutRename(FileSystem):
    """Fails where something gets another name: all of it, or what has this name."""

    def __init__(self, number: int, *, only: str | None = None) -> None:
        self.number, self.only = number, only

    def replace(self, source: Path, target: Path) -> None:
        self._fail(target)
        super().replace(source, target)

    def rename(self, source: Path, target: Path) -> None:
        self._fail(target)
        super().rename(source, target)

    def _fail(self, target: Path) -> None:
        if self.only in (None, target.name):
            raise OSError(self.number, "no such thing here", str(target))
