"""Whether the process of a run is still there, told from its name alone."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from taskclf_dagster.defs.runs.worker_processes import describe_worker, has_worker_ended, is_running
from taskclf_dagster.domain.storage.files import temporary_path
from taskclf_dagster.domain.storage.process_start import find_mark, find_start, is_of_this_namespace
from taskclf_dagster.domain.storage.temporary_files import ABANDONED_AFTER, remove_orphaned_files
from taskclf_dagster_tests.scenario import make_home


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


IN_A_CONTAINER = """
import os, sys
from pathlib import Path
from taskclf_dagster.defs.runs.worker_processes import describe_worker
from taskclf_dagster.domain.storage.files import temporary_path
path = temporary_path(Path(sys.argv[1]))
path.write_text("half of ")
print(path, describe_worker(os.getpid()), flush=True)
sys.stdin.read()
"""


@contextmanager
def _container(*arguments: str) -> Iterator[tuple[Path, str]]:
    """A process in a PID namespace of its own, as that of a pod: what it is writing to, and its name."""
    unshare = shutil.which("unshare")
    command = [unshare or "unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace can be made here: Linux and root are needed")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, sys.executable, "-c", IN_A_CONTAINER, *arguments], **pipes) as process:  # type: ignore[call-overload]
        path, worker = process.stdout.readline().split()
        yield Path(path), worker


def test_a_process_of_another_container_on_this_machine_is_never_called_gone(tmp_path: Path) -> None:
    with _container(str(tmp_path / "x")) as (_, worker):
        assert worker.startswith(f"{platform.node()}@"), "the host has the same name"
        assert worker.rsplit(":", 2)[1] == "1"
        assert not has_worker_ended(worker)


def test_what_another_container_writes_stays_until_nothing_was_written_to_it_for_days(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    home.decisions.mkdir(parents=True)
    with _container(str(home.decisions / "some.json")) as (path, _):
        assert path.name.startswith(".some.json.1-")
        assert remove_orphaned_files(home, is_alive=is_running) == []
    assert remove_orphaned_files(home, is_alive=is_running) == []
    long_ago = time.time() - ABANDONED_AFTER.total_seconds() - 1
    os.utime(path, (long_ago, long_ago))
    assert remove_orphaned_files(home, is_alive=is_running) == [str(path.relative_to(home.root))]


def test_a_folder_of_another_container_is_as_old_as_what_was_written_last_in_it(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    folder = home.challengers / temporary_path(home.challengers / "one").name.replace(find_mark(os.getpid()) or "", "0" * 20)
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text("half of ")
    long_ago = time.time() - ABANDONED_AFTER.total_seconds() - 1
    os.utime(folder, (long_ago, long_ago))
    assert remove_orphaned_files(home, is_alive=is_running) == []
    os.utime(folder / "model.txt", (long_ago, long_ago))
    os.utime(folder, (long_ago, long_ago))
    assert remove_orphaned_files(home, is_alive=is_running) == [str(folder.relative_to(home.root))]


def test_a_mark_says_whether_its_process_can_be_looked_up_here() -> None:
    mark = find_mark(os.getpid())
    assert mark is not None
    assert is_of_this_namespace(mark)
    assert not is_of_this_namespace(mark[:-1] + ("1" if mark[-1] == "0" else "0"))
