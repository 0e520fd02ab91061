"""A lock file that is deleted or replaced while its lock is held lets no second writer in, of models/ and of the run lock alike."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock
from taskclf_dagster.domain.storage.filesystem import FileSystem
from taskclf_dagster.domain.storage.folder_lock import lock_folder
from taskclf_dagster.errors import RegistryBusyError, RetrainBusyError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT
from taskclf_dagster_tests.scenario import make_home

HOLDING = """
import sys
from pathlib import Path

from taskclf_dagster.domain.storage.filesystem import FileSystem

with FileSystem().lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""

FORKING = """
import os, sys, time
from pathlib import Path

from taskclf_dagster.domain.storage.folder_lock import lock_folder

with lock_folder(Path(sys.argv[1]), timeout=0):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("held", flush=True)
    os._exit(1)  # as a process that is killed: nothing is released
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be deleted there")


@contextmanager
def held_by_another_process(path: Path) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.stdin.close()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.touch()
    other.replace(path)


HARM: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "replaced": replace,
    "renamed": lambda path: path.rename(path.with_name("elsewhere")),
    "deleted and made again": lambda path: (path.unlink(), path.touch()),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = make_home(tmp_path)
    home.models.mkdir()
    home.artifacts.mkdir(exist_ok=True)
    return home


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_no_second_writer_gets_in_while_the_first_lives_and_one_does_afterwards(
    home: Home, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], object]
) -> None:
    monkeypatch.setattr("taskclf_dagster.domain.storage.filesystem.LOCK_TIMEOUT_SECONDS", 0.2)
    with held_by_another_process(home.registry_lock):
        harm(home.registry_lock)
        with pytest.raises(RegistryBusyError), write_lock(home):
            pass
    with write_lock(home):
        pass


def test_no_second_retrain_gets_in_after_the_file_of_the_run_lock_was_deleted(home: Home) -> None:
    holder = RunLockHolder(run_id="r", worker="w", since=AT)
    with held_by_another_process(home.retrain_lock):
        home.retrain_lock.unlink()
        with pytest.raises(RetrainBusyError), hold_run_lock(home, holder, patience_seconds=0):
            pass
    with hold_run_lock(home, holder, patience_seconds=0):
        pass


def test_registry_and_run_lock_do_not_exclude_each_other(home: Home) -> None:
    with held_by_another_process(home.retrain_lock), write_lock(home):
        pass


def test_a_writer_waits_for_the_folder_and_gets_it_when_it_is_free(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path / ".lock"), pytest.raises(TimeoutError), lock_folder(tmp_path, timeout=0.1):
        pass
    with lock_folder(tmp_path, timeout=10):
        pass


def test_a_forked_process_does_not_keep_the_lock_of_a_parent_that_died(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            deadline = time.monotonic() + 30  # the child closes what it inherited as soon as it runs
            with lock_folder(tmp_path, timeout=max(0.0, deadline - time.monotonic())):
                pass
        finally:
            os.killpg(process.pid, 9)


def test_locking_leaves_no_descriptor_open(tmp_path: Path) -> None:
    for _ in range(3):
        with FileSystem().lock(tmp_path / ".lock"):
            pass
    before = len(list(Path("/dev/fd").iterdir()))
    with FileSystem().lock(tmp_path / ".lock"):
        pass
    assert len(list(Path("/dev/fd").iterdir())) == before
