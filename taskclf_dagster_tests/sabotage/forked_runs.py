"""Runs tests in forked processes on copies of the project, so that libraries are imported once and not for every sabotage."""

import compileall
import gc
import importlib
import json
import os
import py_compile
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from taskclf_dagster_tests.sabotage.sabotages import Sabotage

COPIED = ("configs", "deploy", "taskclf_dagster", "taskclf_dagster_tests")
PLUGINS = ("_hypothesis_pytestplugin", "syrupy", "time_machine")
"""Plugins of pytest that tests need; others only cost time."""

LONGEST_SECONDS = 120.0


class Task(NamedTuple):
    """Tests to run, on the project as it is or with a protection removed."""

    tests: list[str]
    sabotage: Sabotage | None


@dataclass(frozen=True)
class Result:
    """The end of a task.

    Attributes:
        outcomes: passed, failed, skipped or error (outside of the test itself) by node id.
        seconds: from start to end.
        output: of pytest.
        finished: False if it took longer than LONGEST_SECONDS or the process died.
    """

    task: Task
    outcomes: dict[str, str]
    seconds: float
    output: str
    finished: bool


class Outcomes:
    """A pytest plugin that notes the outcome of each test."""

    def __init__(self) -> None:
        self.by_test: dict[str, str] = {}

    def pytest_runtest_logreport(self, report) -> None:  # type: ignore[no-untyped-def]  # pytest is imported later
        if report.when == "call" or not report.passed:
            outcome = report.outcome if report.when == "call" or report.skipped else "error"
            self.by_test.setdefault(report.nodeid, outcome)


def import_libraries(tests: Sequence[str], copy: Path) -> None:
    """Imports the libraries that these tests import, so that forked processes need not; the project itself is not among them.

    Args:
        tests: node ids.
        copy: a copy of the project, in which a process collects the tests and lists what it imported.
    """
    pid = os.fork()
    if pid == 0:
        try:
            _run_in_child(Task(["--collect-only", *tests], None), copy)
            names = [name for name in sys.modules if name.partition(".")[0] not in COPIED and name != "__main__"]
            copy.with_suffix(".modules").write_text("\n".join(names), encoding="utf-8")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    for name in copy.with_suffix(".modules").read_text(encoding="utf-8").split():
        with suppress(Exception):  # a module that only its package can import
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # forked processes share the memory of what is not collected


def make_copies(project: Path, folder: Path, number: int) -> list[Path]:
    """Copies the project, compiled so that a file that is changed later is compiled anew; returns the copies."""
    first, *others = [folder / f"copy{i}" for i in range(number)]
    first.mkdir(parents=True)
    for name in COPIED:
        shutil.copytree(project / name, first / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project / "pyproject.toml", first)
    compileall.compile_dir(first, quiet=2, workers=number, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    for other in others:
        shutil.copytree(first, other)
    return [first, *others]


def run_tasks(tasks: Sequence[Task], copies: Sequence[Path]) -> Iterator[Result]:
    """Runs every task in a process of its own, as many at a time as there are copies; yields results as they come."""
    waiting, free = list(tasks), list(copies)
    running: dict[int, tuple[Task, Path, float]] = {}
    try:
        while waiting or running:
            while waiting and free:
                task, copy = waiting.pop(0), free.pop()
                running[_start(task, copy)] = task, copy, time.monotonic()
            for pid in _find_ended(running):
                task, copy, begin = running.pop(pid)
                free.append(copy)
                yield _collect(task, copy, time.monotonic() - begin)
            time.sleep(0.01)
    finally:
        for pid in running:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _find_ended(running: dict[int, tuple[Task, Path, float]]) -> list[int]:
    """Returns processes that ended, and ends those that take too long."""
    ended = []
    for pid, (_, _, begin) in running.items():
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            ended.append(pid)
        elif time.monotonic() - begin > LONGEST_SECONDS:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            ended.append(pid)
    return ended


def _start(task: Task, copy: Path) -> int:
    """Removes the protection in the copy and forks a process that runs the tests; returns its id."""
    _outcomes_file(copy).unlink(missing_ok=True)
    if task.sabotage is not None:
        file = copy / task.sabotage.file
        changed = task.sabotage.apply_to(file.read_text(encoding="utf-8"))
        if changed is None:
            raise ValueError(task.sabotage.id)
        file.with_suffix(".whole").write_bytes(file.read_bytes())
        file.write_text(changed, encoding="utf-8")
    pid = os.fork()
    if pid == 0:
        try:
            _run_in_child(task, copy)
        finally:
            os._exit(0)
    return pid


def _collect(task: Task, copy: Path, seconds: float) -> Result:
    """Puts the file back and reads what the process left."""
    if task.sabotage is not None:
        file = copy / task.sabotage.file
        file.with_suffix(".whole").replace(file)
    shutil.rmtree(copy.with_suffix(".tmp"), ignore_errors=True)
    outcomes, output = _outcomes_file(copy), copy.with_suffix(".output").read_text(encoding="utf-8", errors="replace")
    finished = outcomes.exists()
    return Result(task, json.loads(outcomes.read_text(encoding="utf-8")) if finished else {}, seconds, output, finished)


def _outcomes_file(copy: Path) -> Path:
    return copy.with_suffix(".json")


def _run_in_child(task: Task, copy: Path) -> None:
    """Runs pytest on a copy; the project of the parent is forgotten, and nothing compiled is written into the copy."""
    os.setsid()
    with copy.with_suffix(".output").open("wb") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    for name in [name for name in sys.modules if name.partition(".")[0] in COPIED]:
        del sys.modules[name]
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(copy))
    os.environ.update(PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", MPLBACKEND="Agg")
    os.chdir(copy)
    options = ["-q", "-p", "no:cacheprovider", "--assert=plain", "--tb=short", f"--basetemp={copy.with_suffix('.tmp')}"]
    options += [word for plugin in PLUGINS for word in ("-p", plugin)] + (["-x"] if task.sabotage is not None else [])
    outcomes = Outcomes()
    importlib.import_module("pytest").main([*options, *task.tests], [outcomes])
    partial = copy.with_suffix(".partial")
    partial.write_text(json.dumps(outcomes.by_test), encoding="utf-8")
    partial.replace(_outcomes_file(copy))
    sys.stdout.flush()
