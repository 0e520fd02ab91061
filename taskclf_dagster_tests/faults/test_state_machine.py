"""Everything that can happen to a registry, in any order: decisions, people, damage, other programs and a clock that jumps.

Hypothesis chooses what happens. A model in memory knows which bundles are whole, which models are blocked and which promises must hold;
after every step the home is read, and a copy of it is repaired and checked.
"""

import re
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.snapshot_rows import read_snapshot_rows
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.models.bundle_files import METADATA, MODEL, bundle_hashes
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.registry import applied_decisions, recovery, rollback
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.inference_policy import read_policy
from taskclf_dagster.domain.registry.retention import find_awaiting, list_decisions, prune
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.errors import DecisionNotVerifiedError, RegistryRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.faults.injection import (
    EVERYTHING,
    judge,
    memory_folder,
    place_bundle,
    pointer_of,
    quick_parsing,
    read_tree,
    set_active_as_taskclf,
    write_tree,
)
from taskclf_dagster_tests.models import AT, all_gates, edit_json
from taskclf_dagster_tests.registry_scenario import approve, promote
from taskclf_dagster_tests.scenario import DAY, windows_frame

pytestmark = pytest.mark.faults

EXAMPLES, STEPS = (80, 30) if EVERYTHING else (15, 15)
REFUSALS = (RegistryRefusedError, DecisionNotVerifiedError)
SNAPSHOT = "0a963156a3de73d5"
"""The snapshot that every decision of `models.a_decision` was made on."""

JSON_DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "something else": lambda _: b"[1, 2]",
    "gone": lambda _: None,
}
_T = TypeVar("_T")
_TEMPLATE: list[Path] = []


class Registry(RuleBasedStateMachine):
    """A home and what must be true of it.

    Attributes:
        made: every bundle that was made, with the name of its trees.
        whole: bundles that nobody damaged or removed.
        blocked: models that a rollback left, and that nobody unblocked since.
        ran: models that ran, as far as the history can still know, the last one last.
        forgetful: whether a line of the history was damaged since the registry wrote last, so that it may know less than this model.
        clean: whether nothing but the registry itself changed the home since it last wrote.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir=_TEMPLATE[0].parent)))
        self.home, self.copy = Home(folder / "home"), Home(folder / "copy")
        self.home.root.mkdir()
        self.now, self.number = AT, 0
        self.made: dict[str, str] = {}
        self.whole: set[str] = set()
        self.blocked: set[str] = set()
        self.ran: list[str] = []
        self.decisions: list[PromotionDecision] = []
        self.forgetful, self.clean = False, True
        self.must_exist: set[str] = set()

    def teardown(self) -> None:
        self.stack.close()

    # --- What happens ---------------------------------------------------------------------------------------------------------------

    @initialize(models=st.integers(0, 3))
    def begin(self, models: int) -> None:
        snapshot = self.home.snapshots / SNAPSHOT
        snapshot.mkdir(parents=True)
        windows_frame(n=3)[["user_id", "bucket_start_ts", "keys_per_min"]].to_parquet(snapshot / "windows.parquet")
        self.digest = frame_digest(read_snapshot_rows(snapshot))
        for _ in range(models):
            self.promote_a_new_model(same_trees=False)

    @rule(same_trees=st.booleans())
    def promote_a_new_model(self, same_trees: bool) -> None:
        """The ordinary case; `same_trees` retrains what was rolled back, if anything was."""
        trees = self.made[min(self.blocked)] if same_trees and self.blocked else None
        self._promote(self._decide(self._build(trees)), must=self.clean and trees is None)

    @rule(same_trees=st.booleans())
    def decide_and_wait(self, same_trees: bool) -> None:
        """A decision that is carried out later, if ever."""
        trees = self.made[min(self.blocked)] if same_trees and self.blocked else None
        self.decisions.append(self._decide(self._build(trees)))

    @precondition(lambda self: self.decisions)
    @rule(data=st.data())
    def promote_late_or_again(self, data: st.DataObject) -> None:
        self._promote(data.draw(st.sampled_from(self.decisions)), must=False)

    @rule(waits=st.booleans())
    def put_aside(self, waits: bool) -> None:
        changes = {"auto_promote": False} if waits else {"gates": all_gates(macro_f1="FAIL")}
        decision = self._decide(self._build(None), **changes)
        save_decision(self.home, decision)
        folder = applied_decisions.put_aside(self.home, decision)
        assert folder.parent == (self.home.pending_models if waits else self.home.rejected_models)

    @precondition(lambda self: self._awaiting())
    @rule(data=st.data())
    def approve(self, data: st.DataObject) -> None:
        decision = data.draw(st.sampled_from(self._awaiting()))
        name = decision.challenger.model_id
        pointer = self._ask(lambda: approve(self.home, decision.decision_id, at=self.now), must=self.clean and not self._is_blocked(name))
        if pointer is not None:
            self._runs_now(pointer.name)

    @rule(data=st.data(), known=st.booleans())
    def rollback(self, data: st.DataObject, known: bool) -> None:
        to = data.draw(st.sampled_from(sorted(self.made))) if known and self.made else None
        clean, left, records = self.clean, pointer_of(self.home), len(read_history(self.home).entries)
        possible = to is None and any(name != self._active() for name in self._usable())
        pointer = self._ask(
            lambda: rollback.rollback(self.home, to=to, reason="chance", at=self.now), must=clean and possible and not self.forgetful
        )
        if pointer is None:
            return
        assert to in (None, pointer.name)
        assert not self._is_banned(pointer.name)
        if clean:
            assert left is not None
            assert pointer.name != left.name
            assert len(read_history(self.home).entries) == records + 1
            self.blocked.add(left.name)
        self.blocked |= set(read_history(self.home).blocked)
        self._runs_now(pointer.name)

    @rule(data=st.data(), chance=st.booleans())
    def unblock(self, data: st.DataObject, chance: bool) -> None:
        names = sorted(self.made if chance else self.blocked)
        if not names:
            return
        name = data.draw(st.sampled_from(names))
        self._ask(
            lambda: rollback.unblock(self.home, name, reason="chance", at=self.now) or name,
            must=name in self.blocked and not self.forgetful,
        )
        self.blocked.discard(name)
        assert name not in read_history(self.home).blocked

    @rule(keep=st.integers(1, 2), promoted=st.booleans())
    def prune(self, keep: int, promoted: bool) -> None:
        needed = {decision.challenger.model_id for decision in self._awaiting()}
        plan = prune(self.home, keep_versions=keep, keep_rejected=keep, at=self.now, promoted=promoted)
        gone = {item.name for item in plan.remove if item.kind in ("promoted", "rejected")}
        assert not gone & {self._active(), (read_policy(self.home) or {}).get("model_dir", "").removeprefix("models/")}
        assert not {name for name in needed if find_bundle(self.home, name) is None} or not self.clean
        self.whole = {name for name in self.whole if find_bundle(self.home, name) is not None}
        if promoted:
            self._settle()

    @rule()
    def repair(self) -> None:
        recovery.repair(self.home, at=self.now)
        self._settle()

    @rule(days=st.integers(-40, 40))
    def jump_in_time(self, days: int) -> None:
        self.now += days * DAY

    # --- What others do -------------------------------------------------------------------------------------------------------------

    @rule(how=st.sampled_from(sorted(JSON_DAMAGE)))
    def damage_the_pointer(self, how: str) -> None:
        self._damage(self.home.active_pointer, JSON_DAMAGE[how])

    @rule(how=st.sampled_from(sorted(JSON_DAMAGE)))
    def damage_the_policy(self, how: str) -> None:
        self._damage(self.home.inference_policy, JSON_DAMAGE[how])

    @rule(how=st.sampled_from(["empty", "cut", "gone"]))
    def damage_the_active_model(self, how: str) -> None:
        name = self._active()
        if name is not None and (self.home.models / name).is_dir():
            self._damage(self.home.models / name / MODEL, JSON_DAMAGE[how])
            self.whole.discard(name)

    @rule(data=st.data(), bit=st.integers(0, 7))
    def damage_the_history(self, data: st.DataObject, bit: int) -> None:
        content = self.home.active_history.read_bytes() if self.home.active_history.exists() else b""
        if content:
            position = data.draw(st.integers(0, len(content) - 1))
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            self._damage(self.home.active_history, lambda _: bytes(damaged))
            self.forgetful = True

    @rule(data=st.data())
    def cut_the_history(self, data: st.DataObject) -> None:
        content = self.home.active_history.read_bytes() if self.home.active_history.exists() else b""
        if content:
            size = data.draw(st.integers(0, len(content)))
            self._damage(self.home.active_history, lambda whole: whole[:size])
            self.forgetful = True

    @rule(data=st.data())
    def set_active_by_taskclf(self, data: st.DataObject) -> None:
        """A person chooses any whole model, a blocked one too; the policy of the model before stays."""
        names = sorted(name for name in self.whole if (self.home.models / name).is_dir())
        if names:
            name = data.draw(st.sampled_from(names))
            set_active_as_taskclf(self.home, name, at=self.now)
            self.ran.append(name)
            self.clean = False

    # --- What must be true ----------------------------------------------------------------------------------------------------------

    @invariant()
    def a_reader_gets_a_whole_model(self) -> None:
        champion = resolve_active_model(read_registry_state(self.home))
        if champion.model is not None:
            assert champion.model.bundle.model_id in self.whole
        elif not self.forgetful:
            assert not self._usable(), f"{self._usable()} could run, but a reader finds none: {champion.reason}"

    @invariant()
    def numbers_grow(self) -> None:
        numbers = [entry.sequence for entry in read_history(self.home).entries if entry.sequence is not None]
        assert numbers == sorted(set(numbers)) or not self.clean

    @invariant()
    def a_repair_leaves_no_damage(self) -> None:
        write_tree(self.copy.root, read_tree(self.home.root))
        recovery.repair(self.copy, at=self.now)
        usable = [name for name in self._usable() if not self.forgetful] or list(read_history(self.copy).moves)
        for finding in check_registry(self.copy):
            broken = any(name in finding.detail for name in set(self.made) - self.whole) and finding.promise in ("P1", "P2")
            hopeless = self._nothing_can_run(self.copy)
            assert finding.severity == "warning" or broken or hopeless, f"{finding.promise}: {finding.detail}"
        history, pointer = read_history(self.copy), pointer_of(self.copy)
        if not self._nothing_can_run(self.copy) and usable:
            assert pointer == (None if history.last_move is None else history.last_move.new)
        assert recovery.repair(self.copy, at=self.now).done == []

    # --- Helpers --------------------------------------------------------------------------------------------------------------------

    def _build(self, trees: str | None) -> str:
        self.number += 1
        name = f"2026-02-05_000000_run-{self.number:04d}"
        folder = self.home.challengers / name
        write_tree_of_template(folder)
        trees = trees or str(self.number)
        whole = (folder / MODEL).read_text(encoding="utf-8")  # its header states the sizes of trees: the last digits of one leaf change
        text, changed = re.subn(r"(?m)^(leaf_value=-?\d\.\d+?)\d{4}(?=\s)", rf"\g<1>{int(trees):04d}", whole, count=1)
        assert changed == 1
        (folder / MODEL).write_text(text, encoding="utf-8")
        edit_json(folder / METADATA, {"model_id": name, "tree_hash": tree_hash(text), "artifact_hash": hash_file(folder / MODEL)})
        self.made[name] = trees
        self.whole.add(name)
        return name

    def _decide(self, name: str, **changes: object) -> PromotionDecision:
        return judge(self.home, name, number=1, digest=self.digest, **changes)

    def _promote(self, decision: PromotionDecision, *, must: bool) -> None:
        name = decision.challenger.model_id
        before, banned = pointer_of(self.home), self._is_blocked(name)
        result = self._ask(lambda: promote(self.home, decision, at=self.now), must=must)
        if result is None:
            return
        assert result.pointer.name == name
        assert pointer_of(self.home) == result.pointer
        assert bundle_hashes(self.home.models / name) == decision.challenger.files
        assert before == result.pointer or not banned or self.forgetful, f"{name} is blocked, and was promoted"
        self._runs_now(name)

    def _ask(self, call: Callable[[], _T], *, must: bool) -> _T | None:
        """What the registry answers, or None where it refuses; it may not refuse what must be possible."""
        before = pointer_of(self.home)
        try:
            answer = call()
        except REFUSALS:
            assert not must
            after = pointer_of(self.home)
            assert after == before or (after is not None and not self._is_blocked(after.name)) or self.forgetful
            return None
        self._settle()
        return answer

    def _settle(self) -> None:
        """The registry wrote: all is on record, but for what was in lines that were damaged, which nobody can know any more."""
        if self.forgetful:
            history = read_history(self.home)
            self.ran, self.blocked = [entry.new.name for entry in history.moves if entry.new is not None], set(history.blocked)
        self.clean, self.forgetful = True, False

    def _runs_now(self, name: str) -> None:
        self.ran.append(name)

    def _is_banned(self, name: str) -> bool:
        """Whether the registry knows for sure that it may not make this model active."""
        return name in self.blocked and not self.forgetful

    def _is_blocked(self, name: str) -> bool:
        return name in self.blocked or self.made.get(name) in {self.made[other] for other in self.blocked}

    def _active(self) -> str | None:
        pointer = pointer_of(self.home)
        return None if pointer is None else pointer.name

    def _usable(self) -> list[str]:
        """Models that ran and could run again."""
        found = {name for name in self.ran if name in self.whole and name not in self.blocked and (self.home.models / name).is_dir()}
        return sorted(found)

    def _nothing_can_run(self, home: Home) -> bool:
        history = read_history(home)
        names = {entry.new.name for entry in history.moves if entry.new is not None} - set(history.blocked)
        return not any(name in self.whole and (home.models / name).is_dir() for name in names)

    def _awaiting(self) -> list[PromotionDecision]:
        return find_awaiting(read_registry_state(self.home), list_decisions(self.home)[0])

    def _damage(self, path: Path, how: Callable[[bytes], bytes | None]) -> None:
        if not path.exists():
            return
        damaged = how(path.read_bytes())
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        self.clean = False


def write_tree_of_template(folder: Path) -> None:
    """A copy of the bundle that is made once."""
    folder.mkdir(parents=True)
    for path in _TEMPLATE[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())


def test_whatever_happens_in_whatever_order_the_registry_keeps_its_promises() -> None:
    with memory_folder() as folder, quick_parsing():
        _TEMPLATE[:] = [place_bundle(folder / "template")]
        run_state_machine_as_test(
            Registry,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=not EVERYTHING,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
