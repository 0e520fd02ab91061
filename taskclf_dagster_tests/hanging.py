"""The project with a training that does not go as it should, for processes of their own that a test starts and that are to be ended.

A code location (`-m taskclf_dagster_tests.hanging`) and a program: `job`, or `cli` and its arguments, in this very process. What the
training does is read from the file that PLAN names when it begins; it notes its process beside that. Home, settings and instance come
from the environment.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from taskclf_dagster.cli import retrain_commands
from taskclf_dagster.cli.main import main
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.assets import models
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.models.challenger import build_challenger
from taskclf_dagster.domain.storage.files import temporary_path, write_atomic
from taskclf_dagster.home import Home

PLAN = "TASKCLF_TEST_PLAN"
TIMEOUT = "TASKCLF_TEST_TIMEOUT_SECONDS"
GRACE_SECONDS = 1.0
SLOW_SECONDS = 4.0


def _sleep(_: object) -> None:
    """Hangs, and heeds an interrupt."""
    while True:
        time.sleep(60)


def _swallow(_: object) -> None:
    """Hangs, and heeds nothing."""
    while True:
        try:
            time.sleep(60)
        except BaseException:  # noqa: S112  # that is the point
            continue


def _write_half(home: Home) -> None:
    """Hangs in the middle of two writes, one of them in a bundle that is being built."""

    def write(path: Path) -> None:
        path.write_bytes(b"half of ")
        write_atomic(temporary_path(home.challengers / "2026-02-04_000000_run-0001") / "model.txt", inner)

    def inner(path: Path) -> None:
        path.write_bytes(b"half of ")
        _note_process()
        _swallow(home)

    write_atomic(home.predictions / "some.parquet", write)


WAYS: dict[str, Callable[[Home], None]] = {
    "sleeps": _sleep,
    "swallows interrupts": _swallow,
    "hangs while it writes": _write_half,
    "takes its time": lambda _: time.sleep(SLOW_SECONDS),
    "goes well": lambda _: None,
}


def _train(home: Home, *arguments: Any, **options: Any) -> object:
    way = Path(os.environ[PLAN]).read_text(encoding="utf-8")
    if way != "hangs while it writes":
        _note_process()
    WAYS[way](home)
    return build_challenger(home, *arguments, **options)


def _note_process() -> None:
    write_atomic(Path(f"{os.environ[PLAN]}.process"), str(os.getpid()).encode())


def _definitions(home: HomeResource | None = None, **options: Any) -> dg.Definitions:
    """The project's, with that training, and the supervisor's own time limit where one is given."""
    models.build_challenger = _train
    seconds = os.environ.get(TIMEOUT)
    return build_definitions(home=home, timeout_seconds=None if seconds is None else float(seconds), grace_seconds=GRACE_SECONDS, **options)


@dg.definitions
def defs() -> dg.Definitions:
    return _definitions()


def _main(route: str, *arguments: str) -> None:
    if route == "cli":
        retrain_commands.build_definitions = _definitions
        main(arguments)
    with dg.DagsterInstance.get() as instance:
        result = _definitions().resolve_job_def("retrain").execute_in_process(instance=instance, raise_on_error=False)
    raise SystemExit(0 if result.success else 1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
