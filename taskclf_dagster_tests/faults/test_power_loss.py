"""After a power loss at any moment, whatever part of the unsynced changes reached the disk, the registry keeps its promises.

`crash_model` says which states there can be. Each is built, read, repaired and checked; and because the power may fail again during the
repair, the states that the repair's own recording allows are tried in the same way, and so on until no new ones come.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from taskclf_dagster.domain.registry import recovery
from taskclf_dagster.domain.storage.files import TEMPORARY
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.faults import crash_model
from taskclf_dagster_tests.faults.crash_model import Change, RecordingFileSystem, TooManyStatesError, crash_states, end_states
from taskclf_dagster_tests.faults.injection import (
    EVERYTHING,
    FAULTS,
    LATER,
    OPERATIONS,
    FailingFileSystem,
    Killed,
    Problems,
    Start,
    Tree,
    find_reader_problems,
    find_recovery_problems,
    kill_before,
    make_naive_start,
    make_start,
    memory_folder,
    quick_parsing,
    write_tree,
)

STRIDE = 1 if EVERYTHING else 60
"""Of so many states one is tried."""

KILLS = 20 if EVERYTHING else 3
"""How many calls, spread over the operation, are where the process is killed before the next one takes over and the power fails."""

NAMES = [name for name in OPERATIONS if name != "prune"]
"""Retention of all kinds at once leaves more independent removals unsynced than can be tried; its two halves are tried apart."""

STATES = {
    "promote": 300,
    "promote on first start": 300,
    "promote on an empty home": 300,
    "rollback": 20,
    "approve": 300,
    "calibrate": 20,
    "put aside": 4,
    "prune models": 80,
    "prune data": 100,
    "unblock": 10,
    "repair a broken pointer": 20,
    "repair a broken model": 20,
    "repair a promotion cut off": 20,
    "repair a calibration cut off": 10,
    "repair lost calibrators": 10,
    "repair after another program": 10,
    "repair an edited policy": 10,
    "adopt a foreign policy": 5,
    "adopt a removed policy": 5,
}
"""The least number of states that one power loss may leave: with fewer, the recording would not hold what it is for."""

Key = frozenset[tuple[str, bytes | None]]
"""What makes two states the same."""


@dataclass
class Exploration:
    """States that were found and tried, and what was wrong with them."""

    states: int = 0
    tried: int = 0
    problems: Problems = field(default_factory=list)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with memory_folder() as folder, quick_parsing():
        yield folder / "home"


@pytest.mark.parametrize("name", NAMES)
def test_no_power_loss_during_an_operation_or_its_recovery_breaks_a_promise(place: Path, name: str) -> None:
    home = Home(place)
    start = make_start(name, home)
    changes = _record(home, start)
    states = list(crash_states(start.tree, changes))
    found = _explore(home, start, states)
    found.problems += _find_lost(home, start, end_states(start.tree, changes)[::STRIDE])
    print(f"{name}: {len(changes)} changes, {len(states)} states, {found.states} with recovery, {found.tried} tried")  # noqa: T201
    assert len(states) >= STATES[name]
    assert found.problems == []


@pytest.mark.parametrize("name", NAMES)
def test_what_a_killed_process_did_not_sync_is_safe_once_another_has_carried_on(place: Path, name: str) -> None:
    """The process is killed, the same operation is called again, and then the power fails: nothing that was read in between may be lost."""
    home = Home(place)
    start = make_start(name, home)
    known = {_essence(state) for _, state in crash_states(start.tree, _record(home, start))}  # tried in the test above
    kept = set[Key]()
    found = Exploration()
    calls = _count_calls(home, start)
    for n in range(1, calls + 1, max(1, calls // KILLS)):
        recording = _record_killed(home, start, n)
        begin = len(recording.changes)
        returned = _runs(home, start, recording)
        where = f"killed at call {n}, {begin} changes made"
        for made, state in _fresh(known, crash_states(start.tree, recording.changes, begin=begin), _essence):
            found.states += 1
            if found.states % STRIDE == 1 % STRIDE:
                found.tried += 1
                found.problems += [f"{where}, then {made - begin} more changes: {problem}" for problem in _try(home, start, state)]
        ends = enumerate(end_states(start.tree, recording.changes) if returned else [])
        lost = [state for _, state in _fresh(kept, ends, _essence)][::STRIDE]
        found.problems += [f"{where}: {problem}" for problem in _find_lost(home, start, lost)]
    print(f"{name}: {calls} calls, {found.states} further states after a kill, {found.tried} tried")  # noqa: T201
    assert kept or not start.final
    assert found.problems == []


@pytest.mark.parametrize(
    ("name", "call", "file"),
    [
        ("promote", "sync_file", "active_history"),
        ("rollback", "sync_file", "active_history"),
        ("promote", "sync_folder", "decisions"),
        ("promote on an empty home", "sync_folder", "home"),
    ],
    ids=["the record of a promotion", "the record of a rollback", "the receipt", "the models folder"],
)
def test_what_the_next_process_acts_on_is_made_safe_first(place: Path, name: str, call: str, file: str) -> None:
    """The process is killed between writing something and its sync; the next one finds it and carries on; then the power fails."""
    home = Home(place)
    start = make_start(name, home)
    recording = RecordingFileSystem(home.root)
    kill_before(call, file, home, start.call, recording)
    with use_file_system(recording):
        recovery.repair(home, at=LATER)
        if start.final:
            start.call(home)
    assert _find_lost(home, start, end_states(start.tree, recording.changes)[:: 1 if EVERYTHING else 4]) == []


def test_a_naive_promotion_is_seen_to_break_promises(place: Path) -> None:
    home = Home(place)
    start = make_naive_start(home)
    states = list(crash_states(start.tree, _record(home, start)))
    bad = 0
    promises = set[str]()
    for _, state in states:
        problems = _try(home, start, state)
        bad += bool(problems)
        promises |= {promise for promise in ("P1", "P3") if any(promise in problem for problem in problems)}
    print(f"naive: {len(states)} states, {bad} bad")  # noqa: T201
    assert promises == {"P1", "P3"}


def _record(home: Home, start: Start) -> list[Change]:
    write_tree(home.root, start.tree)
    recording = RecordingFileSystem(home.root)
    with use_file_system(recording):
        start.call(home)
    return recording.changes


def _count_calls(home: Home, start: Start) -> int:
    write_tree(home.root, start.tree)
    fs = FailingFileSystem(0, FAULTS["killed"])
    with use_file_system(fs):
        start.call(home)
    return len(fs.calls)


def _record_killed(home: Home, start: Start, n: int) -> RecordingFileSystem:
    """The recording of an operation whose process is killed at the n-th call."""
    write_tree(home.root, start.tree)
    recording = RecordingFileSystem(home.root)
    with use_file_system(FailingFileSystem(n, FAULTS["killed"], recording)), pytest.raises(Killed):
        start.call(home)
    return recording


def _fresh(known: set[Key], states: Iterable[tuple[int, Tree]], key_of: Callable[[Tree], Key]) -> Iterator[tuple[int, Tree]]:
    """The states that are not known yet; they are from then on."""
    for made, state in states:
        key = key_of(state)
        if key not in known:
            known.add(key)
            yield made, state


def _try(home: Home, start: Start, state: Tree) -> Problems:
    write_tree(home.root, state)
    return [*find_reader_problems(home, start), *find_recovery_problems(home, start)]


def _runs(home: Home, start: Start, fs: FileSystem) -> bool:
    try:
        with use_file_system(fs):
            start.call(home)
    except Exception:  # a refusal: it was done the first time, or cannot be done any more
        return False
    return True


def _explore(home: Home, start: Start, states: list[tuple[int, Tree]]) -> Exploration:
    """Tries states, and those that a power loss during their repair leaves, until no new ones come (without EVERYTHING: once)."""
    found = Exploration(states=len(states))
    known = {_essence(state) for _, state in states}
    waiting = deque((f"after {made} changes", state) for made, state in states[::STRIDE])
    while waiting:
        where, state = waiting.popleft()
        found.tried += 1
        write_tree(home.root, state)
        recording = RecordingFileSystem(home.root)
        problems = find_reader_problems(home, start)
        with use_file_system(recording):
            problems += find_recovery_problems(home, start)
        found.problems += [f"{where}: {problem}" for problem in problems]
        further = list(_fresh(known, crash_states(state, recording.changes), _essence))
        found.states += len(further)
        if EVERYTHING or " then " not in where:
            waiting.extend((f"{where}, then {made} of the repair", state) for made, state in further[::STRIDE])
    return found


def _essence(state: Tree) -> Key:
    """A state but for what nobody ever reads: which files are left in models/.staging, and how many temporary files there are."""
    essence = dict[str, bytes | None]()
    for path, content in state.items():
        if path.startswith("models/.staging/"):
            essence["models/.staging/something"] = None
        elif path.endswith(TEMPORARY):
            essence[f"{Path(path).parent}/temporary"] = None
        else:
            essence[path] = content
    return frozenset(essence.items())


def _find_lost(home: Home, start: Start, states: list[Tree]) -> Problems:
    """P2: once an operation returned, what it did is there after a power loss, before any repair."""
    problems = []
    for state in states:
        write_tree(home.root, state)
        found = [*find_reader_problems(home, start, returned=True), *find_recovery_problems(home, start)]
        problems += [f"P2, after it returned: {problem}" for problem in found]
    return problems


# --- The model itself -----------------------------------------------------------------------------------------------------------------


BEFORE: Tree = {"models": None, "models/a": b"old", "other": None}


def _leaves(*changes: Change, before: Tree = BEFORE) -> list[Tree]:
    return [{name: content for name, content in state.items() if content is not None} for state in end_states(before, changes)]


def test_bytes_that_were_not_synced_may_be_there_in_part_or_not_at_all() -> None:
    write = Change("write", "models/a", content=b"new!")
    assert [state["models/a"] for state in _leaves(write)] == [b"old", b"oldne", b"old\0\0\0\0", b"oldnew!"]
    assert [state["models/a"] for state in _leaves(write, Change("sync_file", "models/a"))] == [b"oldnew!"]


def test_a_new_name_is_safe_with_its_folder_and_not_with_its_file() -> None:
    made = [Change("create", "models/b"), Change("write", "models/b", content=b"x"), Change("sync_file", "models/b")]
    assert _leaves(*made) == [{"models/a": b"old"}, {"models/a": b"old", "models/b": b"x"}]
    assert _leaves(*made, Change("sync_folder", "models")) == [{"models/a": b"old", "models/b": b"x"}]


def test_a_rename_of_a_file_that_was_not_synced_may_leave_an_empty_one() -> None:
    changes = [Change("create", "models/b"), Change("write", "models/b", content=b"new!"), Change("rename", "models/b", "models/a")]
    states = _leaves(*changes, Change("sync_folder", "models"))
    assert [state["models/a"] for state in states] == [b"", b"ne", b"\0\0\0\0", b"new!"]


def test_a_rename_to_another_folder_may_leave_both_names_but_never_none() -> None:
    changes = [Change("link", "models/a", "other/a"), Change("remove", "models/a")]
    assert sorted(map(sorted, _leaves(*changes))) == [["models/a"], ["models/a", "other/a"], ["other/a"]]
    assert sorted(map(sorted, _leaves(*changes, Change("sync_folder", "other")))) == [["models/a", "other/a"], ["other/a"]]


def test_changes_that_were_not_synced_reach_the_disk_in_any_order() -> None:
    changes = [Change("write", "models/a", content=b"1"), Change("truncate", "models/a", size=0), Change("write", "models/a", content=b"2")]
    found = {state["models/a"] for state in _leaves(*changes)}
    assert {b"old", b"old1", b"", b"2", b"2ld", b"2ld1"} <= found


def test_too_many_states_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_model, "MAX_COMBINATIONS", 100)
    with pytest.raises(TooManyStatesError):
        list(crash_states(BEFORE, [Change("create", f"models/{number}") for number in range(8)]))
