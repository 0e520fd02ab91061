"""What the fault tests share: homes to start from, operations on them, a file system that fails, and the promises to check afterwards.

A check gives a list of what does not hold, in words, so that a test can also count what a naive registry breaks.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest

from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.snapshot_rows import read_snapshot_rows
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.models import bundle as bundle_module
from taskclf_dagster.domain.models.bundle_files import OUT_OF_FOLD, TRAINING_ROWS, bundle_hashes
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.calibrator_store import CalibratorStore
from taskclf_dagster.domain.models.calibrators import IdentityCalibrator, TemperatureCalibrator
from taskclf_dagster.domain.registry import applied_decisions, fsck, recovery, rollback
from taskclf_dagster.domain.registry.calibration_change import NewCalibration, apply_calibration
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.health import find_model_problem, find_policy_problem, find_usable_pointer
from taskclf_dagster.domain.registry.history import History, read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.inference_policy import read_policy
from taskclf_dagster.domain.registry.pointer import ActivePointer, make_pointer, read_active
from taskclf_dagster.domain.registry.retention import find_reachable, list_decisions, prune, read_last_run
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import move_folder
from taskclf_dagster.domain.storage.filesystem import FileSystem, file_system, use_file_system
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import DecisionNotVerifiedError, RegistryRefusedError, UnreadableFileError, UnsafeFileSystemError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, a_decision, edit_json, home_with_champion, write_policy, write_tiny_bundle
from taskclf_dagster_tests.registry_scenario import approve, promote
from taskclf_dagster_tests.scenario import AS_OF, DAY, windows_frame

EVERYTHING = os.environ.get("TASKCLF_DAGSTER_ALL_FAULTS") == "1"
"""Whether all faults are tried; without it a subset runs that takes seconds."""

ONE, TWO, THREE = "2026-02-05_000000_run-000a", "2026-02-06_000000_run-000b", "2026-02-07_000000_run-000c"
LATER = AT + 10 * DAY
"""When the operation under test happens."""

LONG_AFTER = AT + 100 * DAY
"""When no model is an anchor any more."""

Tree = dict[str, bytes | None]
"""A folder in memory: every file with its bytes, every folder with None, by path relative to it."""

Call = Callable[[Home], object]

Problems = list[str]


# --- Homes --------------------------------------------------------------------------------------------------------------------------


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder that is kept in memory where the machine can, because these tests write it many thousand times."""
    memory = Path("/dev/shm")  # noqa: S108  # the folder itself gets a unique name
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@contextmanager
def quick_parsing() -> Iterator[None]:
    """Within the block, pure functions that take most of the time remember what they found out about the same content."""
    check_text, schema_hash = bundle_module.check_model_text, FeatureSchema.schema_hash
    texts: dict[str, Exception | None] = {}
    hashes: dict[int, str] = {}

    def remembered_text(text: str) -> None:
        if text not in texts:
            texts[text] = _error_of(lambda: check_text(text))
        _raise(texts[text])

    def remembered_hash(schema: FeatureSchema) -> str:
        if id(schema) not in hashes:
            hashes[id(schema)] = schema_hash.__get__(schema)
        return hashes[id(schema)]

    with (
        mock.patch.object(bundle_module, "check_model_text", remembered_text),
        mock.patch.object(FeatureSchema, "schema_hash", property(remembered_hash)),
    ):
        yield


def read_tree(folder: Path) -> Tree:
    """A folder as it is; the lock file says nothing and is left out."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


def write_tree(folder: Path, tree: Tree) -> None:
    """Makes a folder what a tree says, from nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in sorted(tree.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


def place_bundle(folder: Path) -> Path:
    """A whole bundle whose trees are, by what its metadata says, those of no other."""
    write_tiny_bundle(folder, metadata={"tree_hash": hashlib.sha256(folder.name.encode()).hexdigest()})
    (folder / TRAINING_ROWS).unlink()
    (folder / OUT_OF_FOLD).unlink()
    return folder


def judge(home: Home, model_id: str, *, number: int, **changes: object) -> PromotionDecision:
    """A decision to promote a bundle of this home, made on labels that are later the higher the number."""
    return a_decision(home, model_id, as_of=AS_OF + number * DAY, label_watermark=f"{number:016x}", **changes)


def run_models(home: Home, *model_ids: str) -> None:
    """Promotes models one after the other, a day apart."""
    for number, model_id in enumerate(model_ids):
        place_bundle(home.challengers / model_id)
        promote(home, judge(home, model_id, number=number), at=AT + number * DAY)


@dataclass(frozen=True)
class Start:
    """A home, and one operation that is about to happen to it.

    Attributes:
        tree: the home before.
        call: the operation; given the same home it always does the same.
        before: the model that runs before, None without one.
        after: the model that runs once the operation is done.
        bundles: the files (by hash) of every bundle that must be somewhere afterwards, whatever happens.
        broken: whether the pointer cannot be used to begin with, so that readers take the last known good model.
        tolerated: what is wrong with the home even if nothing disturbs the operation.
        final: whether the operation, done again after it was cut off, must succeed; else it may also be refused.
    """

    name: str
    tree: Tree
    call: Call
    before: str | None
    after: str | None
    bundles: dict[str, dict[str, str]]
    broken: bool
    final: bool
    tolerated: frozenset[str] = frozenset()


def make_start(name: str, home: Home) -> Start:
    """Builds the home of an operation, does the operation once undisturbed to see what it leads to, and puts the home back."""
    write_tree(home.root, {})
    call = OPERATIONS[name](home)
    tree, before, bundles = read_tree(home.root), _running(home), _bundles(home)
    state = read_registry_state(home)
    broken = find_usable_pointer(state).problem is not None or find_policy_problem(state) is not None
    call(home)
    after = _running(home)
    stay = {model_id: files for model_id, files in bundles.items() if find_bundle(home, model_id) is not None}
    tolerated = frozenset(finding.detail for finding in fsck.check_registry(home))
    write_tree(home.root, tree)
    return Start(name, tree, call, before, after, stay, broken, name not in ("rollback", "unblock"), tolerated)


def _promote(home: Home) -> Call:
    run_models(home, ONE)
    place_bundle(home.challengers / TWO)
    decision = judge(home, TWO, number=1)
    return lambda home: promote(home, decision, at=LATER)


def _promote_on_first_start(home: Home) -> Call:
    """Only taskclf has been here: its pointer, its history, its policy with calibrators."""
    home_with_champion(home)
    write_policy(home, MID)
    place_bundle(home.challengers / ONE)
    decision = judge(home, ONE, number=1)
    return lambda home: promote(home, decision, at=LATER)


def _promote_on_an_empty_home(home: Home) -> Call:
    place_bundle(home.challengers / ONE)
    decision = judge(home, ONE, number=1)
    return lambda home: promote(home, decision, at=LATER)


def _rollback(home: Home) -> Call:
    run_models(home, ONE, TWO)
    return lambda home: rollback.rollback(home, to=None, reason="it flaps", at=LATER)


def _approve(home: Home) -> Call:
    run_models(home, ONE)
    snapshot = home.snapshots / "0a963156a3de73d5"
    snapshot.mkdir(parents=True)
    windows_frame(n=3)[["user_id", "bucket_start_ts", "keys_per_min"]].to_parquet(snapshot / "windows.parquet")
    place_bundle(home.pending_models / TWO)
    decision = judge(home, TWO, number=1, auto_promote=False, digest=frame_digest(read_snapshot_rows(snapshot)))
    save_decision(home, decision)
    return lambda home: approve(home, decision.decision_id, at=LATER)


def _calibrate(home: Home) -> Call:
    """The active model gets calibrators, and a threshold that belongs to them."""
    run_models(home, ONE)
    return calibrate_again


def calibrate_again(home: Home, *, temperature: float = 2.0, at: datetime = LATER) -> None:
    """Gives the active model calibrators that were fitted elsewhere."""
    state = read_registry_state(home)
    model = resolve_active_model(state).model
    assert model is not None
    store = CalibratorStore(
        method="temperature",
        everyone=TemperatureCalibrator(temperature=temperature),
        users={"user-0": IdentityCalibrator()},
        model_id=model.bundle.model_id,
        schema_hash=model.schema.schema_hash,
        created_at=at,
    )
    apply_calibration(state, model, NewCalibration(store, 0.4, None, "they help"), at=at)


def _repair_a_calibration_cut_off(home: Home) -> Call:
    """The history line is there; the policy is the one before."""
    run_models(home, ONE)
    kill_before("create", "inference_policy", home, calibrate_again)
    return lambda home: recovery.repair(home, at=LATER + DAY)


def _repair_lost_calibrators(home: Home) -> Call:
    """The policy names calibrators whose folder is gone: the one before is restored."""
    run_models(home, ONE)
    calibrate_again(home)
    shutil.rmtree(home.calibrators)
    return lambda home: recovery.repair(home, at=LATER + DAY)


def _put_aside(home: Home) -> Call:
    run_models(home, ONE)
    place_bundle(home.challengers / TWO)
    decision = judge(home, TWO, number=1, auto_promote=False)
    save_decision(home, decision)
    return lambda home: applied_decisions.put_aside(home, decision)


def _prune(home: Home) -> Call:
    """Something of each kind goes: a promoted and a rejected bundle, a snapshot, predictions, a receipt, records."""
    run_models(home, ONE, TWO, THREE)
    _add_old_data(home)
    return lambda home: prune(home, keep_versions=1, keep_rejected=1, at=LONG_AFTER)


def _prune_models(home: Home) -> Call:
    run_models(home, ONE, TWO, THREE)
    return lambda home: prune(home, keep_versions=1, keep_rejected=1, at=LONG_AFTER)


def _prune_data(home: Home) -> Call:
    """Everything but promoted bundles goes."""
    run_models(home, ONE, TWO)
    _add_old_data(home)
    return lambda home: prune(home, keep_versions=1, keep_rejected=1, at=LONG_AFTER)


def _add_old_data(home: Home) -> None:
    for number in (8, 9):
        rejected = place_bundle(home.rejected_models / f"2026-02-0{number}_000000_run-000r")
        for name in (bundle_module.MODEL, bundle_module.CONFUSION, bundle_module.ENCODERS) if number == 8 else ():
            (rejected / name).unlink()  # it goes in any case, and fewer files have fewer states
        save_decision(home, judge(home, rejected.name, number=-number))
    for path in (home.snapshots / "1111111111111111" / "windows.parquet", home.predictions / "2222222222222222" / "a.npy"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"rows")
    (home.records / "promotion").mkdir(parents=True)
    for number in range(4):
        (home.records / "promotion" / f"00000{number}-run.json").write_text(canonical_json({"run": number}))


def _unblock(home: Home) -> Call:
    run_models(home, ONE, TWO)
    rollback.rollback(home, to=None, reason="it flaps", at=AT + 3 * DAY)
    return lambda home: rollback.unblock(home, TWO, reason="it was the labels", at=LATER)


def _repair_a_broken_pointer(home: Home) -> Call:
    run_models(home, ONE, TWO)
    home.active_pointer.write_bytes(home.active_pointer.read_bytes()[:40])
    return lambda home: recovery.repair(home, at=LATER)


def _repair_a_broken_model(home: Home) -> Call:
    run_models(home, ONE, TWO)
    (home.models / TWO / bundle_module.MODEL).write_bytes(b"tree\n")
    return lambda home: recovery.repair(home, at=LATER)


def _repair_a_promotion_cut_off(home: Home) -> Call:
    """The history line is there; policy and pointer are not."""
    promote = _promote(home)
    kill_before("create", "inference_policy", home, promote)
    return lambda home: recovery.repair(home, at=LATER + DAY)


def _repair_after_another_program(home: Home) -> Call:
    """taskclf set the pointer back to a model that ran before, and told its part of the history; it has no policy."""
    run_models(home, ONE, TWO)
    home.inference_policy.unlink()
    set_active_as_taskclf(home, ONE, at=AT + 5 * DAY)
    return lambda home: recovery.repair(home, at=LATER)


def _repair_an_edited_policy(home: Home) -> Call:
    run_models(home, ONE, TWO)
    edit_json(home.inference_policy, {"reject_threshold": 0.999})
    return lambda home: recovery.repair(home, at=LATER)


def _adopt_a_foreign_policy(home: Home) -> Call:
    run_models(home, ONE, TWO)
    write_policy(home, TWO, reject_threshold=0.123)
    return lambda home: recovery.repair(home, at=LATER)


def _adopt_a_removed_policy(home: Home) -> Call:
    run_models(home, ONE, TWO)
    home.inference_policy.unlink()
    return lambda home: recovery.repair(home, at=LATER)


OPERATIONS: dict[str, Callable[[Home], Call]] = {
    "promote": _promote,
    "promote on first start": _promote_on_first_start,
    "promote on an empty home": _promote_on_an_empty_home,
    "rollback": _rollback,
    "approve": _approve,
    "calibrate": _calibrate,
    "put aside": _put_aside,
    "prune": _prune,
    "prune models": _prune_models,
    "prune data": _prune_data,
    "unblock": _unblock,
    "repair a broken pointer": _repair_a_broken_pointer,
    "repair a broken model": _repair_a_broken_model,
    "repair a promotion cut off": _repair_a_promotion_cut_off,
    "repair a calibration cut off": _repair_a_calibration_cut_off,
    "repair lost calibrators": _repair_lost_calibrators,
    "repair after another program": _repair_after_another_program,
    "repair an edited policy": _repair_an_edited_policy,
    "adopt a foreign policy": _adopt_a_foreign_policy,
    "adopt a removed policy": _adopt_a_removed_policy,
}
"""Operations by name; each builds its home and gives the call to make."""


def set_active_as_taskclf(home: Home, model_id: str, *, at: datetime) -> None:
    """What `taskclf model set-active` does: no lock, no number, no checksum; pointer first, then a line of history."""
    old = read_active(home) if find_usable_pointer(read_registry_state(home)).problem is None else None
    new = make_pointer(model_id, at=at, sequence=0, metrics={}, note="set by hand", decision_id=None).model_copy(update={"sequence": None})
    home.active_pointer.write_text(canonical_json(new.document), encoding="utf-8")
    line = {"at": at.isoformat(), "old": None if old is None else old.document, "new": new.document}
    with home.active_history.open("a", encoding="utf-8") as file:
        file.write(canonical_json(line) + "\n")


def promote_naively(home: Home, decision: PromotionDecision, *, at: datetime) -> None:
    """How a promotion is easily written and should not be: the pointer in place, the history after it, and nothing of both synced."""
    fs, target = file_system(), home.models / decision.challenger.model_id
    move_folder(home.challengers / target.name, target)
    old = read_active(home)
    new = make_pointer(target.name, at=at, sequence=read_history(home).sequence + 1, metrics={}, note="naive", decision_id=None)
    fs.truncate(home.active_pointer, 0)
    fs.append(home.active_pointer, canonical_json(new.document).encode())
    line = ActiveHistoryEntry(at=at, old=old, new=new)
    fs.append(home.active_history, canonical_json(line.document).encode() + b"\n")


def make_naive_start(home: Home) -> Start:
    """As the start of `promote`, for the promotion that is written naively."""
    start = make_start("promote", home)
    decision = judge(home, TWO, number=1)
    return Start("naive", start.tree, lambda home: promote_naively(home, decision, at=LATER), ONE, TWO, start.bundles, False, False)


# --- Faults -------------------------------------------------------------------------------------------------------------------------


class Killed(BaseException):  # it is what happens to a process, not an error
    """The process is dead: nothing it still tries has any effect."""


@dataclass(frozen=True)
class Fault:
    """How a call goes wrong.

    Attributes:
        number: of the OSError; None kills the process.
        halfway: whether half of the bytes are written first.
        done: whether all is done first, and only the answer is wrong.
        lasts: whether every later call to which it applies goes wrong, too.
        only: the calls to which it applies.
    """

    number: int | None
    halfway: bool = False
    done: bool = False
    lasts: bool = False
    only: frozenset[str] | None = None


WRITES = frozenset({"create", "append"})
FAULTS = {
    "killed": Fault(None),
    "killed halfway": Fault(None, halfway=True, only=WRITES),
    "EIO": Fault(errno.EIO),
    "ENOSPC": Fault(errno.ENOSPC, halfway=True, only=WRITES | {"make_folder"}),
    "EACCES": Fault(errno.EACCES),
    "EIO though done": Fault(errno.EIO, done=True),
    "disk full from here on": Fault(errno.ENOSPC, halfway=True, lasts=True, only=WRITES | {"make_folder"}),
    "disk gone from here on": Fault(errno.EIO, lasts=True),
    "no renames": Fault(errno.EXDEV, lasts=True, only=frozenset({"rename", "replace"})),
}


class FailingFileSystem(FileSystem):
    """Passes every call on to another file system, but lets the n-th (counted from 1) go wrong; 0 lets none.

    Attributes:
        calls: name and path of each call that was made.
    """

    def __init__(self, fail_at: int, fault: Fault, inner: FileSystem | None = None) -> None:
        self.calls: list[tuple[str, Path]] = []
        self._fail_at, self._fault, self._inner, self._dead = fail_at, fault, inner or FileSystem(), False

    @property
    def reached(self) -> bool:
        """Whether there was an n-th call, and the fault applies to it."""
        return 0 < self._fail_at <= len(self.calls) and self._applies(self.calls[self._fail_at - 1][0])

    def make_folder(self, path: Path) -> None:
        self._do("make_folder", path, lambda: self._inner.make_folder(path))

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        assert isinstance(content, bytes)
        self._do("create", path, lambda: self._inner.create(path, content), lambda: self._inner.create(path, _half(content)))

    def append(self, path: Path, content: bytes) -> None:
        self._do("append", path, lambda: self._inner.append(path, content), lambda: self._inner.append(path, _half(content)))

    def truncate(self, path: Path, size: int) -> None:
        self._do("truncate", path, lambda: self._inner.truncate(path, size))

    def sync_file(self, path: Path) -> None:
        self._do("sync_file", path, lambda: self._inner.sync_file(path))

    def sync_folder(self, path: Path) -> None:
        self._do("sync_folder", path, lambda: self._inner.sync_folder(path))

    def replace(self, source: Path, target: Path) -> None:
        self._do("replace", target, lambda: self._inner.replace(source, target))

    def rename(self, source: Path, target: Path) -> None:
        self._do("rename", target, lambda: self._inner.rename(source, target))

    def remove_file(self, path: Path) -> None:
        self._do("remove_file", path, lambda: self._inner.remove_file(path))

    def remove_folder(self, path: Path) -> None:
        self._do("remove_folder", path, lambda: self._inner.remove_folder(path))

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        try:
            self._do("lock", path, lambda: None)
        except OSError as error:
            raise UnsafeFileSystemError(path, str(error)) from error
        with self._inner.lock(path):
            yield

    def _applies(self, name: str) -> bool:
        return self._fault.only is None or name in self._fault.only

    def _do(self, name: str, path: Path, call: Callable[[], object], half: Callable[[], object] | None = None) -> None:
        if self._dead:
            raise Killed
        self.calls.append((name, path))
        n = len(self.calls)
        if not self._applies(name) or not (n == self._fail_at or (self._fault.lasts and 0 < self._fail_at < n)):
            call()
            return
        if self._fault.done:
            call()
        elif self._fault.halfway and half is not None:
            half()
        if self._fault.number is None:
            self._dead = True
            raise Killed
        raise OSError(self._fault.number, os.strerror(self._fault.number), str(path))


class _KillBefore(FailingFileSystem):
    """Kills the process when it is about to make the first call of some name on a path that contains some words.

    A sync counts only once the process itself has changed something there: before, it syncs what others left.
    """

    def __init__(self, name: str, words: str, inner: FileSystem | None) -> None:
        super().__init__(0, FAULTS["killed"], inner)
        self._name, self._words, self._changed = name, words, False

    def _do(self, name: str, path: Path, call: Callable[[], object], half: Callable[[], object] | None = None) -> None:
        there = self._words in str(path)
        if self._fail_at == 0 and name == self._name and there and (self._changed or not name.startswith("sync")):
            self._fail_at = len(self.calls) + 1
        self._changed |= there and not name.startswith(("sync", "lock"))
        super()._do(name, path, call, half)


def kill_before(name: str, words: str, home: Home, call: Call, inner: FileSystem | None = None) -> None:
    """Makes a call in a process that is killed just before it would have changed a certain file in a certain way."""
    with use_file_system(_KillBefore(name, words, inner)), pytest.raises(Killed):
        call(home)


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


# --- Promises -----------------------------------------------------------------------------------------------------------------------


def find_reader_problems(home: Home, start: Start, *, returned: bool = False) -> Problems:
    """P1 to P3 as a reader sees them at any moment: a whole model, the old or the new one; the new one once the operation returned."""
    names = {start.after} if returned else {start.before, start.after}
    problems = []
    usable = find_usable_pointer(read_registry_state(home))
    pointer, problem = usable.pointer, usable.problem
    if not start.broken or returned:
        if problem is not None or (pointer is None and None not in names):
            problems.append(f"P1: the pointer cannot be used: {problem or 'it is gone'}")
        if pointer is not None and pointer.name not in names:
            problems.append(f"P1: the pointer names {pointer.name}, not one of {names}")
    if find_policy_problem(read_registry_state(home)) is not None and not start.broken:
        problems.append(f"P1: the policy cannot be used: {find_policy_problem(read_registry_state(home))}")
    try:
        champion = resolve_active_model(read_registry_state(home))
    except Exception as error:  # a reader must never raise
        return [*problems, f"P1: a reader raises {error!r}"]
    found = None if champion.model is None else champion.model.bundle.model_id
    if champion.state not in ("ok", "none") or found not in names:
        problems.append(f"P1: a reader finds {found}, {champion.state} by {champion.source}, not one of {names}")
    if pointer is not None and pointer.sequence is not None and all(entry.new != pointer for entry in read_history(home).entries):
        problems.append(f"P3: the pointer of record {pointer.sequence} has no record")
    return problems


def find_home_problems(home: Home, start: Start) -> Problems:
    """Every promise that can be checked on a home that was repaired."""
    history = read_history(home)
    pointer = read_active(home)
    found = [finding for finding in fsck.check_registry(home) if finding.detail not in start.tolerated]
    problems = [
        f"{finding.promise}: {finding.detail}" for finding in found if finding.severity == "damage" or finding.promise in ("P2", "P9")
    ]
    last = None if history.last_move is None else history.last_move.new
    if pointer != last:
        problems.append(f"P3: the pointer is {pointer}, the last move went to {last}")
    policy = read_policy(home)
    if policy is not None and pointer is not None and policy.get("model_dir") != pointer.model_dir:
        problems.append(f"P3: the policy names {policy.get('model_dir')}, the pointer {pointer.model_dir}")
    problems += find_chain_problems(history)
    for model_id, files in start.bundles.items():
        folder = find_bundle(home, model_id)
        if folder is None or bundle_hashes(folder) != files:
            problems.append(f"P6: {model_id} is gone or damaged")
    for model_id, reason in find_reachable(read_registry_state(home), list_decisions(home)[0], read_last_run(home), at=LONG_AFTER).items():
        if find_bundle(home, model_id) is None:
            problems.append(f"P6: {model_id} is gone, though reachable ({reason})")
    return problems


def find_chain_problems(history: History) -> Problems:
    """P3: numbers without a gap, every checksum and hash right, and each move begins where the one before ended."""
    problems = [f"P3: line {number}: {words}" for number, words in history.problems.items()]
    numbers = [entry.sequence for entry in history.entries if entry.sequence is not None]
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"P3: the records are numbered {numbers}")
    for before, entry in pairwise(history.moves):
        noted = entry.action == "adopt" and (entry.old, entry.new) == (before.old, before.new)
        unreadable = entry.action == "repair" and entry.old is None
        if not entry.foreign and entry.old != before.new and not noted and not unreadable:
            problems.append(f"P3: record {entry.sequence} begins at another pointer than record {before.sequence} ended at")
    return problems


def find_recovery_problems(home: Home, start: Start, *, at: datetime = LATER + timedelta(hours=1)) -> Problems:
    """Repairs a home, then checks every promise and what readers see."""
    try:
        recovery.repair(home, at=at)
    except Exception as error:  # recovery must never fail on a state that a fault left
        return [f"repair raises {error!r}"]
    return [f"after repair: {problem}" for problem in [*find_home_problems(home, start), *find_reader_problems(home, start)]]


def find_repeat_problems(home: Home, start: Start) -> Problems:
    """Does the operation again after a repair: it succeeds, or it is refused and nothing is changed."""
    tree = read_tree(home.root)
    try:
        start.call(home)
    except (RegistryRefusedError, DecisionNotVerifiedError) as error:
        changed = sorted(name for name, _ in read_tree(home.root).items() ^ tree.items())
        problems = [f"a refusal changed {changed}"] if changed else []
        if start.final:
            problems.append(f"doing it again is refused: {error}")
    except Exception as error:
        problems = [f"doing it again raises {error!r}"]
    else:
        problems = find_reader_problems(home, start, returned=start.final)
    return [f"again: {problem}" for problem in [*problems, *find_home_problems(home, start)]]


def running(home: Home) -> str | None:
    """The model that the pointer names, or the last known good one where it cannot be read."""
    return _running(home)


def _running(home: Home) -> str | None:
    model = resolve_active_model(read_registry_state(home)).model
    return None if model is None else model.bundle.model_id


def _bundles(home: Home) -> dict[str, dict[str, str]]:
    """Every bundle of a home that is whole, wherever it lies, with its files."""
    folders = (home.models, home.challengers, home.pending_models, home.rejected_models)
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()]
    whole = (path for path in found if find_model_problem(read_registry_state(home), str(path.relative_to(home.root))) is None)
    return {path.name: bundle_hashes(path) for path in whole}


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error


def _error_of(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def pointer_of(home: Home) -> ActivePointer | None:
    """The pointer, or None where there is none that can be read."""
    try:
        return read_active(home)
    except UnreadableFileError:
        return None
