"""Whether the process of a run is still there, told from its name alone."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from taskclf_dagster.defs.runs.worker_processes import describe_worker, has_worker_ended, was_running

HOUR = 3600.0


@contextmanager
def _process() -> Iterator[subprocess.Popen]:
    """Another process, which ends when its input does."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process


def _moved(worker: str, seconds: float) -> str:
    name, _, started = worker.rpartition(":")
    return f"{name}:{float(started) + seconds:.2f}"


def test_a_process_is_there_until_it_ends_and_gone_although_nobody_has_buried_it() -> None:
    with _process() as process:
        worker = describe_worker(psutil.Process(process.pid))
        assert not has_worker_ended(worker)
        assert was_running(process.pid, time.time())
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert has_worker_ended(worker)
        assert not was_running(process.pid, time.time())
    assert has_worker_ended(worker)
    assert not was_running(process.pid, time.time())


def test_a_process_with_the_number_of_one_that_is_gone_is_another() -> None:
    worker = describe_worker(psutil.Process())
    assert has_worker_ended(_moved(worker, -HOUR))
    assert has_worker_ended(_moved(worker, HOUR))
    started = psutil.Process().create_time()
    assert was_running(os.getpid(), started + HOUR)
    assert not was_running(os.getpid(), started - HOUR)


@pytest.mark.parametrize("seconds", [-20.0, 0.01, 20.0])
def test_a_clock_that_is_set_while_a_process_runs_does_not_make_it_another(seconds: float) -> None:
    assert not has_worker_ended(_moved(describe_worker(psutil.Process()), seconds))
    assert was_running(os.getpid(), psutil.Process().create_time() + seconds)


@pytest.mark.parametrize("host", ["elsewhere", "a:host:with:colons", ""])
def test_a_process_of_another_machine_is_never_called_gone(host: str) -> None:
    assert not has_worker_ended(f"{host}:999999999:1.00")
