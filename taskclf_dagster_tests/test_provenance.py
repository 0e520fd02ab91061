"""Which code and libraries are running: the commit of the package's own checkout, whatever the current folder is."""

import importlib.util
import platform
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import lightgbm
import pytest

from taskclf_dagster import provenance

AUTHOR = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name, value in AUTHOR.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "checkout"
    folder.mkdir()
    _run(folder, "init", "--quiet")
    return folder


def _run(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]  # the tests make repositories of their own only
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _install(folder: Path) -> ModuleType:
    """A copy of the package's module in another place, imported from there."""
    package = folder / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    path = Path(shutil.copy(provenance.__file__, package))
    spec = importlib.util.spec_from_file_location("provenance_elsewhere", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _commit(folder: Path) -> str:
    _run(folder, "add", ".")
    _run(folder, "commit", "--quiet", "--message", "all")
    return _run(folder, "rev-parse", "HEAD")


def test_a_clean_checkout_is_named_by_its_commit(git: Path) -> None:
    module = _install(git)
    commit = _commit(git)
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert module.code_version() == commit


def test_a_changed_file_of_the_package_shows(git: Path) -> None:
    module = _install(git)
    commit = _commit(git)
    (git / "package" / "__init__.py").write_text("changed = True\n", encoding="utf-8")
    assert module.code_version() == f"{commit}+changes"


def test_a_changed_file_outside_the_package_and_an_untracked_one_do_not(git: Path) -> None:
    (git / "README.md").write_text("one\n", encoding="utf-8")
    module = _install(git)
    commit = _commit(git)
    (git / "README.md").write_text("two\n", encoding="utf-8")
    (git / "package" / "notes.txt").write_text("untracked\n", encoding="utf-8")
    assert module.code_version() == commit


def test_the_repository_of_the_current_folder_is_not_asked(git: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (git / "README.md").write_text("another project\n", encoding="utf-8")
    _commit(git)
    module = _install(tmp_path / "installed")
    monkeypatch.chdir(git)
    assert module.code_version() == "unknown"


def test_a_package_that_lies_in_a_repository_without_being_part_of_it_is_unknown(git: Path) -> None:
    (git / "README.md").write_text("a project with a virtual environment in it\n", encoding="utf-8")
    _commit(git)
    assert _install(git / ".venv").code_version() == "unknown"


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.code_version.__wrapped__() == "unknown"


def test_git_is_asked_once_a_process(git: Path) -> None:
    module = _install(git)
    commit = _commit(git)
    assert module.code_version() == commit
    (git / "package" / "__init__.py").write_text("changed = True\n", encoding="utf-8")
    assert module.code_version() == commit


def test_the_versions_of_everything_that_shapes_a_model_are_named() -> None:
    versions = provenance.library_versions()
    assert set(versions) == {"python", "taskclf-dagster", "dagster", "lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn"}
    assert versions["python"] == platform.python_version()
    assert versions["lightgbm"] == lightgbm.__version__


@pytest.mark.parametrize(("limit", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("6500000 100000", 64)])
def test_a_container_may_use_as_many_processors_as_its_limit_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(provenance, "CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(provenance.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert provenance.cores() == expected
