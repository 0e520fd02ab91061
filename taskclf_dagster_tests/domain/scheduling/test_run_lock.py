"""The place of the one retrain: others wait and are told for whom, and it is free as soon as the process that has it is no more."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock, read_holder
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.errors import RetrainBusyError, TaskclfDagsterError, UnsafeFileSystemError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.scenario import make_home

SINCE = datetime(2026, 2, 4, 6, 0, tzinfo=UTC)
FIRST = RunLockHolder(run_id="run-1", worker="a machine:11:100.00", since=SINCE)
SECOND = RunLockHolder(run_id="run-2", worker="a machine:12:200.00", since=SINCE)
FIRST_HAS_IT = "another retrain is under way: run run-1 since 2026-02-04 06:00:00 UTC"
PATIENCE = 60.0
HOLD = """
import sys
from pathlib import Path
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock
from taskclf_dagster.home import Home
with hold_run_lock(Home(Path(sys.argv[1])), RunLockHolder.model_validate_json(sys.argv[2]), patience_seconds=0):
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _holding(home: Home, holder: RunLockHolder = FIRST) -> Iterator[subprocess.Popen]:
    """Another process that has the place, until its input ends."""
    command = [sys.executable, "-c", HOLD, str(home.root), holder.model_dump_json()]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=DEFAULT_CONFIG_PATH.parent.parent) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def _take(home: Home, holder: RunLockHolder = SECOND, *, patience_seconds: float = 0) -> list[str]:
    """Takes the place and gives it back; what was told meanwhile."""
    told: list[str] = []
    with hold_run_lock(home, holder, patience_seconds=patience_seconds, on_wait=told.append):
        assert read_holder(home) == holder
    return told


def test_the_first_taker_does_not_wait_says_who_it_is_and_leaves_nothing_behind_but_the_lock(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    assert _take(home, FIRST) == []
    assert _take(home, SECOND) == []
    assert read_holder(home) is None
    assert set(contents(home.root)) - {"artifacts", "data", "data/processed"} <= {"artifacts/.retrain.lock"}


def test_a_second_taker_waits_and_is_told_once_who_has_it_and_since_when(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with _holding(home) as process:
        assert read_holder(home) == FIRST
        told, taken = [], threading.Event()

        def take() -> None:
            told.extend(_take(home, patience_seconds=PATIENCE))
            taken.set()

        thread = threading.Thread(target=take)
        thread.start()
        assert not taken.wait(2.5)  # it looks every second
        assert process.stdin is not None
        process.stdin.close()
        assert taken.wait(PATIENCE)
        thread.join()
    assert told == [f"{FIRST_HAS_IT}; waiting for it to end"]


def test_the_place_is_free_at_once_when_the_process_that_has_it_is_killed(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with _holding(home) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert read_holder(home) == FIRST  # it could not take that back
        begin = time.monotonic()
        assert _take(home) == []
        assert time.monotonic() - begin < 1.0
    assert read_holder(home) is None


def test_a_taker_loses_patience_with_words_and_changes_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with _holding(home):
        before = contents(home.root)
        with pytest.raises(RetrainBusyError, match=f"^{FIRST_HAS_IT}, and it did not end within 0 minutes. Look at that run, or stop it"):
            _take(home, patience_seconds=1.5)
        assert contents(home.root) == before
        assert read_holder(home) == FIRST


def test_the_place_is_given_back_when_a_retrain_fails(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with pytest.raises(ZeroDivisionError), hold_run_lock(home, FIRST, patience_seconds=0):
        _ = 1 / 0
    assert _take(home) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\0" * 64, b'{"run_id": "run-1"}', b"\xff"], ids=repr)
def test_a_damaged_note_of_who_has_it_neither_frees_the_place_nor_blocks_it(tmp_path: Path, content: bytes) -> None:
    home = make_home(tmp_path)
    with _holding(home) as process:
        home.run_lock_holder.write_bytes(content)
        with pytest.raises(RetrainBusyError, match="another retrain is under way, and it did not end"):
            _take(home)
        process.kill()
        process.wait()
        assert _take(home) == []


def test_a_note_that_cannot_be_written_does_not_keep_a_retrain_from_running(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (home.run_lock_holder / "in the way").mkdir(parents=True)
    with hold_run_lock(home, FIRST, patience_seconds=0), pytest.raises(RetrainBusyError, match="another retrain is under way"):
        _take(home)


def test_each_home_has_a_place_of_its_own(tmp_path: Path) -> None:
    with _holding(make_home(tmp_path / "one")):
        assert _take(make_home(tmp_path / "two")) == []


def test_where_there_is_no_home_nothing_is_held_and_nothing_made(tmp_path: Path) -> None:
    home = Home(tmp_path / "nowhere")
    with hold_run_lock(home, FIRST, patience_seconds=0), hold_run_lock(home, SECOND, patience_seconds=0):
        assert not home.root.exists()
    assert list(tmp_path.iterdir()) == []


class _WithoutLocks(FileSystem):
    """As a file system that has no locks answers."""

    @contextmanager
    def lock(self, path: Path, *, timeout: float = 0) -> Iterator[None]:
        raise UnsafeFileSystemError(path, "it has no file locks")
        yield


def test_a_file_system_without_locks_is_refused(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with use_file_system(_WithoutLocks()), pytest.raises(TaskclfDagsterError, match="it has no file locks"):
        _take(home)
    assert not home.run_lock_holder.exists()


def test_locks_that_exclude_nobody_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    with pytest.raises(UnsafeFileSystemError, match="its file locks exclude nobody"):
        _take(make_home(tmp_path))
