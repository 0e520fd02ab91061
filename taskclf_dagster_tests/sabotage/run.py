"""Removes each protection of the list, one after the other, and fails unless the named test notices: `make test-sabotage`.

Every named test must pass on the project as it is, and fail in its own body once the protection is removed. Tools that mutate every line
find what nobody tests; this list is about promises, so its entries are written by hand and stay few.
"""

import argparse
import os
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

from taskclf_dagster_tests.sabotage.forked_runs import Result, Task, import_libraries, make_copies, run_tasks
from taskclf_dagster_tests.sabotage.sabotages import PROJECT, Sabotage, find_unusable, read_sabotages

MEMORY = Path("/dev/shm")  # noqa: S108  # only ever the parent of folders with unique names


def main(arguments: list[str] | None = None) -> int:
    """Runs the list, or the sabotages that are named, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Remove each protection and run the test that must notice.")
    parser.add_argument("ids", nargs="*", help="sabotages to try; all if none is named")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time (default: one a core)")
    options = parser.parse_args(arguments)
    sabotages = [sabotage for sabotage in read_sabotages() if not options.ids or sabotage.id in options.ids]
    unusable = find_unusable(sabotages)
    problems = [f"{name} does not apply: {reason}" for name, reason in unusable.items()]
    usable = [sabotage for sabotage in sabotages if sabotage.id not in unusable]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sabotage", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        copies = make_copies(PROJECT, Path(folder), max(1, options.jobs))
        import_libraries([sabotage.test for sabotage in usable], copies[0])
        for result in run_tasks([*_undisturbed(usable), *(Task([each.test], each) for each in usable)], copies):
            found = find_problem(result)
            if result.task.sabotage is not None or found is not None:
                _print(f"{'ok ' if found is None else 'NOT'} {result.seconds:5.1f} s  {_name(result.task)}")
            if found is not None:
                problems.append(f"{_name(result.task)}: {found}")
                _print(result.output)
    caught = len(sabotages) - len({problem.partition(":")[0].partition(" does ")[0] for problem in problems} & {s.id for s in sabotages})
    _print(f"{caught} of {len(sabotages)} sabotages were caught in {time.monotonic() - begin:.0f} s")
    for problem in problems:
        _print(problem)
    return 1 if problems or not sabotages else 0


def find_problem(result: Result) -> str | None:
    """Returns why a result is not the one wanted; None if it is: failed with the protection removed, passed without."""
    outcomes = set(result.outcomes.values())
    if not result.finished:
        return "no verdict: the process ended early or took too long"
    if not outcomes or outcomes & {"skipped", "error"}:
        return f"no verdict: {', '.join(sorted(outcomes)) or 'no test'}"
    if result.task.sabotage is None:
        return "fails with every protection in place" if "failed" in outcomes else None
    return None if "failed" in outcomes else f"survived {result.task.sabotage.test}"


def _undisturbed(sabotages: list[Sabotage]) -> list[Task]:
    """Returns one task for each test file: the named tests without any sabotage."""
    tests = sorted({sabotage.test for sabotage in sabotages})
    return [Task(list(group), None) for _, group in groupby(tests, key=lambda test: test.partition("::")[0])]


def _name(task: Task) -> str:
    return task.tests[0].partition("::")[0] if task.sabotage is None else task.sabotage.id


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
