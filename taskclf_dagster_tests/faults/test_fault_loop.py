"""Every call that changes a home fails once, in every way: whatever an operation was doing, readers and the next writer are well."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.faults.injection import (
    EVERYTHING,
    FAULTS,
    OPERATIONS,
    FailingFileSystem,
    Fault,
    Killed,
    Problems,
    Start,
    find_reader_problems,
    find_recovery_problems,
    find_repeat_problems,
    kill_before,
    make_naive_start,
    make_start,
    memory_folder,
    quick_parsing,
    write_tree,
)

PLACES = 1
"""Without EVERYTHING, at how many calls of an operation each fault is tried; those of all faults are spread over the operation."""

AT_EVERY_CALL, EVERY_THIRD = ("killed", "EIO", "ENOSPC", "EACCES"), 3
"""With EVERYTHING, these faults are tried at every call, the others at every third."""

CALLS = {
    "promote": 50,
    "promote on first start": 60,
    "promote on an empty home": 50,
    "rollback": 20,
    "approve": 50,
    "calibrate": 30,
    "put aside": 5,
    "prune": 30,
    "prune models": 20,
    "prune data": 10,
    "unblock": 10,
    "repair a broken pointer": 20,
    "repair a broken model": 20,
    "repair a promotion cut off": 20,
    "repair a calibration cut off": 15,
    "repair lost calibrators": 15,
    "repair after another program": 15,
    "repair an edited policy": 20,
    "adopt a foreign policy": 10,
    "adopt a removed policy": 10,
}
"""The least number of calls of each operation: with fewer, the loop would not reach what it is for."""


@dataclass
class Loop:
    """What came of letting every call fail."""

    calls: int = 0
    tried: int = 0
    problems: Problems = field(default_factory=list)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with memory_folder() as folder, quick_parsing():
        yield folder / "home"


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_that_fails_at_any_call_leaves_a_home_that_keeps_its_promises(place: Path, name: str) -> None:
    start = make_start(name, Home(place))
    loop = Loop(calls=_count_calls(Home(place), start))
    for position, (words, fault) in enumerate(FAULTS.items()):
        everywhere = 1 if words in AT_EVERY_CALL else EVERY_THIRD
        stride = everywhere if EVERYTHING else max(1, loop.calls // PLACES)
        _fail_everywhere(loop, Home(place), start, words, fault, offset=position * stride // len(FAULTS), stride=stride)
    print(f"{name}: {loop.calls} calls, {loop.tried} faults")  # noqa: T201
    assert loop.calls >= CALLS[name]
    assert loop.tried >= (3 * loop.calls if EVERYTHING else 5 * PLACES)
    assert loop.problems == []


def test_the_loop_sees_what_is_wrong_with_a_naive_promotion(place: Path) -> None:
    start = make_naive_start(Home(place))
    loop = Loop(calls=_count_calls(Home(place), start))
    for words in ("killed", "killed halfway", "EIO"):
        _fail_everywhere(loop, Home(place), start, words, FAULTS[words])
    print(f"naive: {loop.calls} calls, {loop.tried} faults, {len(loop.problems)} problems")  # noqa: T201
    assert {promise for promise in ("P1", "P3") if any(promise in problem for problem in loop.problems)} == {"P1", "P3"}


def test_a_bundle_that_was_promoted_in_vain_is_never_found_half_removed(place: Path) -> None:
    """The process is killed when the bundle is in models/ and no record names it, and the next one while it takes it out again."""
    home = Home(place)
    start = make_start("promote", home)
    kill_before("append", "active_history", home, start.call)
    kill_before("remove_file", "model.txt", home, start.call)
    assert find_recovery_problems(home, start) == []
    assert find_repeat_problems(home, start) == []


def _count_calls(home: Home, start: Start) -> int:
    write_tree(home.root, start.tree)
    fs = FailingFileSystem(0, FAULTS["EIO"])
    assert _run(home, start, fs)
    return len(fs.calls)


def _fail_everywhere(loop: Loop, home: Home, start: Start, words: str, fault: Fault, *, offset: int = 0, stride: int = 1) -> None:
    """Lets the calls fail one after the other: all, or each of so many."""
    for n in range(1, loop.calls + 1):
        if (n + offset) % stride:
            continue
        write_tree(home.root, start.tree)
        fs = FailingFileSystem(n, fault)
        returned = _run(home, start, fs)
        assert len(fs.calls) >= n  # until then it does what it does undisturbed
        if not fs.reached:
            continue
        loop.tried += 1
        name, path = fs.calls[n - 1]
        where = f"{start.name}, {words} at call {n} ({name} {path.relative_to(home.root)})"
        loop.problems += [f"{where}: {problem}" for problem in _judge(home, start, returned=returned)]


def _run(home: Home, start: Start, fs: FailingFileSystem) -> bool:
    """Whether the operation returned; else it was killed, or raised an error of whatever kind: it did not say that it was done."""
    try:
        with use_file_system(fs):
            start.call(home)
    except (Killed, Exception):
        return False
    return True


def _judge(home: Home, start: Start, *, returned: bool) -> Problems:
    problems = find_reader_problems(home, start, returned=returned)
    return [*problems, *find_recovery_problems(home, start), *find_repeat_problems(home, start)]
