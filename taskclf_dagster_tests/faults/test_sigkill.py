"""Two writers and two readers share one home while writers are killed at random moments: no reader ever sees half a change.

The processes are forked by a small program (this module, run as one) that has imported everything and has no threads, so that a killed
writer is replaced within milliseconds.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

import lightgbm  # noqa: F401  # bundles are loaded by it: it must be there before the first fork
import pytest

from taskclf_dagster.domain.models.bundle_files import METADATA
from taskclf_dagster.domain.registry import recovery, rollback
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.health import find_model_problem
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import ActivePointer, read_active
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.errors import DecisionNotVerifiedError, RegistryRefusedError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.faults.injection import (
    EVERYTHING,
    ONE,
    find_chain_problems,
    judge,
    memory_folder,
    place_bundle,
    quick_parsing,
    run_models,
)
from taskclf_dagster_tests.models import AT, edit_json
from taskclf_dagster_tests.registry_scenario import promote

pytestmark = pytest.mark.faults

ROUNDS, KILLS = (10, 100) if EVERYTHING else (1, 40)
"""Homes, and kills in each: with every home its history starts again, which keeps promotions quick."""

MEAN_SECONDS = 0.1
"""Between two kills: a writer lives for about twice that, long enough for a few changes, and dies in the middle of one."""

ROOT = Path(__file__).parents[2]
WRITERS, READERS = 2, 2


@dataclass
class Round:
    """What came of one home.

    Attributes:
        torn: what a reader should never have seen.
        errors: what a writer failed with, other than a refusal.
        lost: models whose promotion returned, and that the history does not have.
        problems: what does not hold in the end.
    """

    kills: int = 0
    promotions: int = 0
    rollbacks: int = 0
    reads: int = 0
    torn: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@pytest.mark.skipif(os.name != "posix", reason="nothing can be killed like this elsewhere")
def test_writers_that_are_killed_at_any_moment_never_show_a_reader_half_a_change() -> None:
    with memory_folder() as folder:
        place_bundle(folder / "template")
        rounds = [_run_round(folder, number) for number in range(ROUNDS)]
    total = {name: sum(getattr(each, name) for each in rounds) for name in ("kills", "promotions", "rollbacks", "reads")}
    print(total)  # noqa: T201
    for name in ("torn", "errors", "lost", "problems"):
        assert [words for each in rounds for words in getattr(each, name)] == [], name
    assert total["kills"] == ROUNDS * KILLS
    assert total["promotions"] >= total["kills"] // 40
    assert total["rollbacks"] > 0
    assert total["reads"] > total["kills"]


def _run_round(folder: Path, number: int) -> Round:
    """Runs this module as a program, which prints what came of it."""
    home = Home(folder / f"home-{number}")
    home.root.mkdir()
    run_models(home, ONE)
    command = [sys.executable, "-m", "taskclf_dagster_tests.faults.test_sigkill", str(home.root), str(folder / "template"), str(KILLS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, str(number)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(home.root)
    return Round(**json.loads(done.stdout))


# --- The program ----------------------------------------------------------------------------------------------------------------------


def _supervise(home: Home, template: Path, kills: int, seed: int) -> Round:
    """Keeps the writers running and kills them, one at a time; then stops all and looks at what is left."""
    notes = home.root.with_name(f"{home.root.name}-notes")
    notes.mkdir()
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    writers = [_fork(_write, home, template, notes) for _ in range(WRITERS)]
    readers = [_fork(_read, home, template, notes) for _ in range(READERS)]
    result = Round()
    while result.kills < kills:
        time.sleep(chance.uniform(0, 2 * MEAN_SECONDS))
        victim = chance.randrange(WRITERS)
        result.kills += _kill(writers[victim])
        writers[victim] = _fork(_write, home, template, notes)
    for writer in writers:
        _kill(writer)
    (notes / "stop").touch()
    for reader in readers:
        os.waitpid(reader, 0)
    _judge(home, notes, result)
    return result


def _judge(home: Home, notes: Path, result: Round) -> None:
    result.problems += find_chain_problems(recovery.repair(home, at=AT).history)
    result.problems += [f"{found.promise}: {found.detail}" for found in check_registry(home) if found.severity == "damage"]
    history = read_history(home)
    result.promotions = sum(entry.action == "promote" for entry in history.moves) - 1  # the first one was there to begin with
    result.rollbacks = sum(entry.action == "rollback" for entry in history.moves)
    moved_to = {entry.new.name for entry in history.moves if entry.new is not None}
    for path in sorted(notes.iterdir()):
        words = path.read_text(encoding="utf-8")
        if path.suffix == ".promoted":
            result.lost += sorted(set(words.split()) - moved_to)
        elif path.suffix == ".error":
            result.errors.append(words)
        elif path.suffix == ".reads":
            reads, torn = json.loads(words)
            result.reads += reads
            result.torn += torn


def _fork(work: Callable[[Home, Path, Path], None], home: Home, template: Path, notes: Path) -> int:
    process = os.fork()
    if process:
        return process
    try:
        work(home, template, notes)
    except BaseException:  # the parent is told
        (notes / f"{os.getpid()}.error").write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(0)


def _kill(process: int) -> bool:
    """Whether the process was still running."""
    os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def _write(home: Home, template: Path, notes: Path) -> None:
    """Promotes, rolls back, repairs and prunes until it is killed; that the other writer was first is no error."""
    chance = random.Random(os.getpid())  # noqa: S311
    for number in count():
        action = chance.choices((_promote, _roll_back, _repair, _prune), weights=(12, 4, 3, 1))[0]
        try:
            name = action(home, template, f"2026-02-08_000000_{os.getpid()}-{number}")
        except (RegistryRefusedError, DecisionNotVerifiedError):
            continue
        if name is not None:
            with (notes / f"{os.getpid()}.promoted").open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")


def _promote(home: Home, template: Path, name: str) -> str:
    folder = home.challengers / name
    shutil.copytree(template, folder)
    edit_json(folder / METADATA, {"model_id": name, "tree_hash": hashlib.sha256(name.encode()).hexdigest()})
    promote(home, judge(home, name, number=1), at=AT)
    return name


def _roll_back(home: Home, template: Path, name: str) -> None:
    rollback.rollback(home, to=None, reason="chance", at=AT)


def _repair(home: Home, template: Path, name: str) -> None:
    recovery.repair(home, at=AT)


def _prune(home: Home, template: Path, name: str) -> None:
    prune(home, keep_versions=5, keep_rejected=2, at=AT)


def _read(home: Home, template: Path, notes: Path) -> None:
    """Reads as taskclf does, over and over, and notes what should never be seen."""
    reads, torn = 0, list[str]()
    while not (notes / "stop").exists():
        reads += 1
        torn += _find_torn(home)
        time.sleep(0.003)
    (notes / f"{os.getpid()}.reads").write_text(json.dumps((reads, torn)), encoding="utf-8")


def _find_torn(home: Home) -> list[str]:
    try:
        pointer = read_active(home)
        problem = "there is no pointer" if pointer is None else find_model_problem(read_registry_state(home), pointer.model_dir)
    except UnreadableFileError as error:
        return [str(error)]
    if problem is not None and _read_again(home) == pointer:  # else it was replaced, and may have been removed, since it was read
        return [f"{pointer}: {problem}"]
    return [f"history line {number}: {words}" for number, words in read_history(home).problems.items()]


def _read_again(home: Home) -> ActivePointer | None:
    return read_active(home)


def _main() -> None:
    home, template, kills, seed = sys.argv[1:]
    with quick_parsing():
        result = _supervise(Home(Path(home)), Path(template), int(kills), int(seed))
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    _main()
