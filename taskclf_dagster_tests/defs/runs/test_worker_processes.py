"""Whether the process of a run is still there, told from its name alone."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from taskclf_dagster.defs.runs.worker_processes import describe_worker, has_worker_ended, is_running
from taskclf_dagster.domain.storage.process_start import find_mark, find_start


@contextmanager
def _process() -> Iterator[subprocess.Popen]:
    """Another process, which ends when its input does."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process


def test_a_process_is_there_until_it_ends_and_gone_although_nobody_has_buried_it() -> None:
    with _process() as process:
        worker, mark = describe_worker(process.pid), find_mark(process.pid)
        assert mark is not None
        assert not has_worker_ended(worker)
        assert is_running(process.pid, mark)
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert has_worker_ended(worker)
        assert not is_running(process.pid, mark)
    assert has_worker_ended(worker)
    assert not is_running(process.pid, mark)


def test_a_process_with_the_number_of_one_that_is_gone_is_another() -> None:
    with _process() as process:
        others, mark = describe_worker(process.pid).rpartition(":")[2], find_mark(process.pid)
        assert mark is not None
    mine = describe_worker(os.getpid())
    assert has_worker_ended(f"{mine.rpartition(':')[0]}:{others}")
    assert not has_worker_ended(mine)
    assert not is_running(os.getpid(), mark)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system stores the start of a process and no clock moves it")
def test_the_start_of_a_process_does_not_come_from_the_clock() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    with Path("/proc/uptime").open(encoding="utf-8") as file:
        uptime = float(file.read().split()[0])
    with _process() as process:
        start = find_start(process.pid)
        assert start is not None
        assert -1 < int(start) / ticks - uptime < 60  # counted from the start of the machine


def test_where_there_is_no_list_of_ticks_the_start_is_what_the_system_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with _process() as process:
        assert find_start(process.pid) == f"{psutil.Process(process.pid).create_time():.2f}"
        assert find_start(process.pid) != find_start(os.getpid())
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert find_start(process.pid) is None
    assert find_start(process.pid) is None


@pytest.mark.parametrize("host", ["elsewhere", "a:host:with:colons", ""])
def test_a_process_of_another_machine_is_never_called_gone(host: str) -> None:
    assert not has_worker_ended(f"{host}:999999999:1.00")
