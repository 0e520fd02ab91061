"""What a promotion could not write is found before anything is trained: links, permissions, and too little space."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from taskclf_dagster.domain.registry import write_problems
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.write_problems import BUNDLES_NEEDED, SMALLEST_NEED, find_write_problems, require_writable
from taskclf_dagster.domain.storage.files import move_folder
from taskclf_dagster.errors import RegistryRefusedError, UnsafeFileSystemError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import OLD, contents
from taskclf_dagster_tests.registry_scenario import promoted
from taskclf_dagster_tests.scenario import make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return promoted(make_home(tmp_path), OLD)


def kinds(home: Home) -> list[str]:
    return [problem.kind for problem in find_write_problems(home)]


def link_out(folder: Path, target: Path) -> None:
    """Puts a link in place of a folder, which is moved to the target."""
    target.mkdir()
    if folder.is_dir():
        shutil.copytree(folder, target, dirs_exist_ok=True)
        shutil.rmtree(folder)
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(target, target_is_directory=True)


def a_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def move_bundles(home: Home) -> None:
    """Moves a folder on each way that a bundle may take."""
    move_folder(a_folder(home.challengers / "one"), home.rejected_models / "one")
    move_folder(a_folder(home.challengers / "two"), home.pending_models / "two")
    move_folder(a_folder(home.staging / "three"), home.models / "three")


@contextmanager
def other_file_system(home: Home) -> Iterator[Path]:
    """An empty folder on another file system than a home; skips the test where there is none."""
    device = home.root.stat().st_dev
    candidates = (Path(name) for name in (tempfile.gettempdir(), "/dev/shm", "/tmp", "/var/tmp", Path.cwd()))  # noqa: S108  # unique names in it
    place = next((path for path in candidates if path.is_dir() and os.access(path, os.W_OK) and path.stat().st_dev != device), None)
    if place is None:
        pytest.skip("this machine has one file system only")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def test_a_home_that_can_be_written_to_has_none_and_looking_writes_nothing(home: Home, tmp_path: Path) -> None:
    before = contents(home.root)
    assert kinds(home) == []
    assert kinds(make_home(tmp_path / "new")) == []
    assert contents(home.root) == before


def test_models_on_another_disk_are_found_and_the_writer_refuses_them_for_the_same_reason(home: Home, tmp_path: Path) -> None:
    home.models.rename(tmp_path / "disk")
    home.models.symlink_to(tmp_path / "disk")
    assert kinds(home) == ["folder_leaves_home"]
    assert "not_writable" in {finding.code for finding in check_registry(home)}
    for attempt in (lambda: require_writable(home), lambda: write_lock(home).__enter__()):
        with pytest.raises(RegistryRefusedError) as caught:
            attempt()
        assert caught.value.kind == "folder_leaves_home"


@pytest.mark.parametrize("folder", ["artifacts", "artifacts/predictions"])
def test_artifacts_out_of_the_home_are_found_where_a_later_step_would_not_read_them(home: Home, tmp_path: Path, folder: str) -> None:
    link_out(home.root / folder, tmp_path / "disk")
    assert [(problem.kind, problem.path) for problem in find_write_problems(home)] == [("folder_leaves_home", home.root / folder)]


@pytest.mark.parametrize("folder", ["snapshots", "labeled_windows", "decisions", "records", "outbox", "challengers", "rejected_models"])
def test_a_link_that_no_step_minds_is_none(home: Home, tmp_path: Path, folder: str) -> None:
    link_out(home.artifacts / folder, tmp_path / "disk")
    assert kinds(home) == []


@pytest.mark.parametrize("folder", ["artifacts/challengers", "artifacts/rejected_models", "artifacts/pending_models", "models/.staging"])
def test_folders_between_which_a_bundle_is_moved_must_be_on_one_file_system(home: Home, folder: str) -> None:
    with other_file_system(home) as disk:
        link_out(home.root / folder, disk / "moved")
        assert set(kinds(home)) == {"other_file_system"}
        with pytest.raises(UnsafeFileSystemError):
            move_bundles(home)


def test_a_link_to_a_disk_that_is_not_there_is_found(home: Home, tmp_path: Path) -> None:
    shutil.rmtree(home.models)
    home.models.symlink_to(tmp_path / "unplugged")
    assert kinds(home) == ["folder_leaves_home"]
    home.models.unlink()
    home.models.symlink_to(home.root / "unplugged")
    assert kinds(home) == ["not_writable"]


def test_a_link_within_the_home_is_none(home: Home) -> None:
    home.models.rename(home.root / "elsewhere")
    home.models.symlink_to(home.root / "elsewhere")
    assert kinds(home) == []


@pytest.mark.parametrize("folder", ["models", "artifacts", "artifacts/decisions", "artifacts/records"])
def test_a_file_in_place_of_a_folder_is_found(home: Home, folder: str) -> None:
    shutil.rmtree(home.root / folder, ignore_errors=True)
    (home.root / folder).write_text("", encoding="utf-8")
    assert [(problem.kind, problem.path) for problem in find_write_problems(home)] == [("not_writable", home.root / folder)]


def test_a_folder_without_write_permission_is_found_and_so_is_a_home_in_which_it_could_not_be_made(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = make_home(tmp_path / "new")
    locked = {home.models, home.active_history, new.root}  # the superuser may write anywhere, so the answer of the system is replaced
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in locked)
    assert [problem.path for problem in find_write_problems(home)] == [home.models]
    assert [problem.path for problem in find_write_problems(new)] == [new.root]
    locked.remove(home.models)
    assert [problem.path for problem in find_write_problems(home)] == [home.active_history]


@pytest.mark.parametrize("lock", ["models/.lock", "artifacts/.retrain.lock"])
def test_a_lock_that_cannot_be_taken_is_found(home: Home, lock: str) -> None:
    (home.root / lock).unlink(missing_ok=True)
    (home.root / lock).mkdir()
    assert [(problem.kind, problem.path) for problem in find_write_problems(home)] == [("lock_unusable", home.root / lock)]


def test_too_little_space_is_found_at_the_bound_and_not_above_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(bytes_left: int) -> None:
        monkeypatch.setattr(write_problems.shutil, "disk_usage", lambda path: SimpleNamespace(free=bytes_left))

    free(SMALLEST_NEED)
    assert kinds(home) == []
    free(SMALLEST_NEED - 1)
    assert kinds(home) == ["little_space"]
    with (home.models / OLD / "model.txt").open("r+b") as file:
        file.truncate(SMALLEST_NEED)  # a large bundle, though none of its bytes takes space
    largest = sum(path.stat().st_size for path in (home.models / OLD).iterdir())
    free(BUNDLES_NEEDED * largest)
    assert kinds(home) == []
    free(BUNDLES_NEEDED * largest - 1)
    assert kinds(home) == ["little_space"]
