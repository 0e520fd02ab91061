"""Functions that the tests have computed on workers: they wait, fail or end their process in a way that the test can see from outside."""

import errno
import os
import time
from pathlib import Path

from taskclf_dagster.errors import SnapshotError


def describe(number: int, *, folder: Path) -> tuple[int, int]:
    """The number, and the process that computed it; leaves a file for each call."""
    (folder / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    return number, os.getpid()


def stall_first(number: int, *, folder: Path) -> tuple[int, int]:
    """As `describe`; but whoever is first to compute number 1 leaves its process id, and never returns."""
    if number == 1:
        try:
            with (folder / "stalled").open("x", encoding="utf-8") as file:
                file.write(f"{os.getpid()}\n")
        except FileExistsError:
            return number, os.getpid()
        while True:
            time.sleep(0.1)
    return number, os.getpid()


def stall(number: int, *, folder: Path) -> int:
    """Never returns."""
    (folder / f"stalled-{number}").touch()
    while True:
        time.sleep(0.1)


def take_memory(number: int) -> int:
    """Takes more and more memory, as much as there is."""
    held = []
    while True:
        held.append(bytearray(os.urandom(1024)) * 16 * 1024)
        time.sleep(0.01)
        if len(held) > 10_000:  # 160 GiB: nobody limits it
            return number


def fail(number: int) -> int:
    """Raises an error of this package that a failing device caused, from number 2 on."""
    if number < 2:
        return number
    raise SnapshotError(Path("/x/part-001.parquet"), "it cannot be read") from OSError(errno.EIO, "Input/output error")
