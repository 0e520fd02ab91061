"""The seam through which a home is changed, and file systems that cannot keep the registry's promises."""

import errno
import fcntl
import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.registry.applied_decisions import put_aside
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage import filesystem
from taskclf_dagster.domain.storage.filesystem import FileSystem, file_system, use_file_system
from taskclf_dagster.errors import RegistryBusyError, UnsafeFileSystemError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, all_gates, contents
from taskclf_dagster_tests.registry_scenario import Recording, WithoutRename, judged, promote, promoted
from taskclf_dagster_tests.scenario import make_home

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
WRITERS: dict[str, Callable[[Home, PromotionDecision], object]] = {
    "promote": lambda home, decision: promote(home, decision, at=AT),
    "rollback": lambda home, decision: rollback(home, to=None, reason="worse", at=AT),
    "unblock": lambda home, decision: unblock(home, OLD, reason="mended", at=AT),
    "repair": lambda home, decision: repair(home, at=AT),
    "put aside": lambda home, decision: put_aside(home, decision),
    "prune": lambda home, decision: prune(home, keep_versions=1, keep_rejected=1, at=AT),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """OLD ran, MID runs."""
    return promoted(make_home(tmp_path), OLD, MID)


def change_nothing_about_locks(monkeypatch: pytest.MonkeyPatch, number: int | None) -> None:
    """flock as on a file system that has none, or, without an error number, on one where it excludes nobody."""

    def flock(descriptor: int, operation: int) -> None:
        if number is not None:
            raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)


# --- The seam ---------------------------------------------------------------------------------------------------------------------


def test_another_file_system_is_used_within_the_block_alone() -> None:
    usual, other = file_system(), FileSystem()
    with use_file_system(other):
        assert file_system() is other
    assert file_system() is usual
    with pytest.raises(RuntimeError, match="on the way"), use_file_system(other):
        raise RuntimeError("on the way")
    assert file_system() is usual


def test_a_new_file_is_never_made_over_another(tmp_path: Path) -> None:
    file_system().create(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        file_system().create(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be synced there")
def test_syncing_asks_the_operating_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, asked = tmp_path / "a.json", []
    file.write_bytes(b"1")
    asking = "fcntl.fcntl" if sys.platform == "darwin" else "os.fsync"
    monkeypatch.setattr(asking, lambda descriptor, *_: asked.append(os.fstat(descriptor).st_ino))
    FileSystem().sync_file(file)
    FileSystem().sync_folder(tmp_path)
    assert asked == [file.stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize(("failures", "replaced"), [(0, True), (2, True), (3, False)])
def test_on_windows_an_open_file_is_replaced_once_it_is_closed_or_the_error_comes_after_the_last_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, *, replaced: bool
) -> None:
    source, target, attempts = tmp_path / "new.json", tmp_path / "a.json", []
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    replace = Path.replace

    def refuse(path: Path, to: Path) -> Path:
        attempts.append(to)
        if len(attempts) <= failures:
            raise PermissionError(errno.EACCES, "it is open in another program", str(to))
        return replace(path, to)

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(FileSystem, "replace_pauses", (0.0, 0.0))
    with nullcontext() if replaced else pytest.raises(PermissionError):
        FileSystem().replace(source, target)
    assert (len(attempts), target.read_bytes()) == (min(failures, 2) + 1, b"new" if replaced else b"old")


def test_only_windows_tries_again_for_about_a_second() -> None:
    assert FileSystem.replace_pauses == (filesystem.REPLACE_PAUSES if os.name == "nt" else ())
    assert 0.5 < sum(filesystem.REPLACE_PAUSES) < 2


def test_bytes_are_appended_to_a_file_that_is_made_if_need_be(tmp_path: Path) -> None:
    for content in (b"one\n", b"two\n"):
        file_system().append(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == b"one\ntwo\n"


def test_a_file_is_cut_to_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo")
    file_system().truncate(tmp_path / "a", 4)
    assert (tmp_path / "a").read_bytes() == b"one\n"


def test_a_folder_gets_no_name_that_is_taken_even_by_an_empty_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x")
    with pytest.raises(FileExistsError):
        file_system().rename(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "file").exists()


def test_what_is_gone_already_is_removed_without_complaint(tmp_path: Path) -> None:
    file_system().remove_file(tmp_path / "a")
    file_system().remove_folder(tmp_path / "a")
    file_system().make_folder(tmp_path / "a")
    file_system().make_folder(tmp_path / "a")
    file_system().remove_folder(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_folder_that_holds_something_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x")
    with pytest.raises(OSError, match="not empty"):
        file_system().remove_folder(tmp_path / "a")


def test_every_change_of_a_home_goes_through_the_seam(home: Home) -> None:
    recording = Recording()
    decision = judged(home, NEW)
    with use_file_system(recording):
        promote(home, decision, at=AT)
    touched = {name for _, name in recording.calls}
    assert {"active.json", "active_history.jsonl", "inference_policy.json", "index.json", "MANIFEST.json", NEW, ".lock"} <= touched


# --- Renames ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", [None, NEW, "active.json", "inference_policy.json"], ids=str)
@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP], ids=lambda number: errno.errorcode[number])
def test_a_file_system_that_cannot_rename_is_refused_and_nothing_is_changed(home: Home, number: int, only: str | None) -> None:
    decision = judged(home, NEW)
    before = contents(home.root)
    with use_file_system(WithoutRename(number, only=only)), pytest.raises(UnsafeFileSystemError, match="it cannot rename") as caught:
        promote(home, decision, at=AT)
    assert "Move the home to a local file system; nothing was changed" in str(caught.value)
    assert contents(home.root) == before
    promote(home, decision, at=AT)
    assert read_active(home).model_id == NEW


def test_a_full_disk_is_not_taken_for_a_file_system_that_cannot_rename(home: Home) -> None:
    decision = judged(home, NEW)
    before = contents(home.root)
    with use_file_system(WithoutRename(errno.ENOSPC, only="active.json")), pytest.raises(OSError, match="no such thing") as caught:
        promote(home, decision, at=AT)
    assert not isinstance(caught.value, UnsafeFileSystemError)
    assert contents(home.root) == before


@pytest.mark.parametrize("only", ["index.json", "written_through.json"])
@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSPC], ids=lambda number: errno.errorcode[number])
def test_a_promotion_stands_where_only_what_follows_it_cannot_be_renamed(home: Home, only: str, number: int) -> None:
    decision = judged(home, NEW)
    with use_file_system(WithoutRename(number, only=only)):
        pointer = promote(home, decision, at=AT).pointer
    assert read_active(home) == pointer
    assert pointer.model_id == NEW


# --- Locks ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("number", NO_LOCKS, ids=lambda number: errno.errorcode[number])
def test_no_writer_works_on_a_file_system_without_locks(home: Home, monkeypatch: pytest.MonkeyPatch, writer: str, number: int) -> None:
    decision = judged(home, NEW, **({"gates": all_gates(macro_f1="FAIL")} if writer == "put aside" else {}))
    before = contents(home.root)
    change_nothing_about_locks(monkeypatch, number)
    with pytest.raises(UnsafeFileSystemError, match="it has no file locks"):
        WRITERS[writer](home, decision)
    assert contents(home.root) == before


@pytest.mark.parametrize("writer", WRITERS)
def test_no_writer_works_on_a_file_system_whose_locks_exclude_nobody(home: Home, monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    decision = judged(home, NEW, **({"gates": all_gates(macro_f1="FAIL")} if writer == "put aside" else {}))
    before = contents(home.root)
    change_nothing_about_locks(monkeypatch, None)
    with pytest.raises(UnsafeFileSystemError, match="its file locks exclude nobody"):
        WRITERS[writer](home, decision)
    assert contents(home.root) == before


def test_locks_are_tried_for_each_lock_file_although_those_of_another_excluded_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileSystem().lock(tmp_path / "one.lock"):
        pass
    change_nothing_about_locks(monkeypatch, None)
    with pytest.raises(UnsafeFileSystemError, match="its file locks exclude nobody"), FileSystem().lock(tmp_path / "other.lock"):
        pass


def test_a_lock_that_was_refused_is_not_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    decision = judged(home, NEW)
    with monkeypatch.context() as patch:
        change_nothing_about_locks(patch, None)
        with pytest.raises(UnsafeFileSystemError):
            promote(home, decision, at=AT)
    monkeypatch.setattr(filesystem, "LOCK_TIMEOUT_SECONDS", 0.2)
    promote(home, decision, at=AT)
    assert read_active(home).model_id == NEW


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_that_waits_too_long_gives_up_and_changes_nothing(home: Home, monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    decision = judged(home, NEW, **({"gates": all_gates(macro_f1="FAIL")} if writer == "put aside" else {}))
    before = contents(home.root)
    monkeypatch.setattr(filesystem, "LOCK_TIMEOUT_SECONDS", 0.05)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with write_lock(home):
            held.set()
            done.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(RegistryBusyError, match=r"has held .*\.lock for 0\.05 s.*nothing was changed"):
            WRITERS[writer](home, decision)
        assert contents(home.root) == before
    finally:
        done.set()
        other.join()


def test_readers_wait_for_nobody(home: Home) -> None:
    with write_lock(home):
        assert resolve_active_model(read_registry_state(home)).model_dir == f"models/{MID}"
        assert read_history(home).sequence == 2
        assert check_registry(home) == []


def test_the_lock_is_free_again_after_a_writer_that_failed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "LOCK_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(RuntimeError, match="on the way"), write_lock(home):
        raise RuntimeError("on the way")
    repair(home, at=AT)
