"""Paths that a person gives: absolute where they enter, or refused with the reason."""

from pathlib import Path

import pytest

from taskclf_dagster.entry_paths import PATH_VARIABLES, make_absolute, make_environment_absolute, require_absolute
from taskclf_dagster.errors import PathError


def test_relative_paths_of_the_environment_start_at_the_callers_folder_and_stay_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "office").mkdir()
    (tmp_path / "elsewhere").mkdir()
    environ = {"TASKCLF_HOME": "mine/home", "TASKCLF_DAGSTER_CONFIG": "../own.yaml", "DAGSTER_HOME": "."}
    environ |= {"TASKCLF_DAGSTER_HOMES": "team/homes.yaml", "OTHER": "relative"}
    monkeypatch.chdir(tmp_path / "office")
    make_environment_absolute(environ)
    monkeypatch.chdir(tmp_path / "elsewhere")
    make_environment_absolute(environ)
    found = {name: Path(environ[name]).resolve() for name in PATH_VARIABLES}
    assert all(Path(environ[name]).is_absolute() for name in PATH_VARIABLES)
    assert found == {
        "TASKCLF_HOME": tmp_path / "office" / "mine" / "home",
        "TASKCLF_DAGSTER_CONFIG": tmp_path / "own.yaml",
        "DAGSTER_HOME": tmp_path / "office",
        "TASKCLF_DAGSTER_HOMES": tmp_path / "office" / "team" / "homes.yaml",
    }
    assert environ["OTHER"] == "relative"


def test_variables_that_are_not_set_or_empty_stay_so() -> None:
    environ = {"TASKCLF_HOME": ""}
    make_environment_absolute(environ)
    assert environ == {"TASKCLF_HOME": ""}


def test_a_tilde_is_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_absolute("~/taskclf", "--home") == require_absolute("~/taskclf", "config_path") == tmp_path / "taskclf"


@pytest.mark.parametrize("enter", [make_absolute, require_absolute])
def test_the_folder_of_an_unknown_user_is_refused(enter: object) -> None:
    assert callable(enter)
    with pytest.raises(PathError) as caught:
        enter("~nobody-of-this-name/taskclf", "--home")
    assert caught.value.kind == "unknown_user"


def test_a_relative_path_in_a_folder_that_was_deleted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(PathError) as caught:
        make_absolute("home", "TASKCLF_HOME")
    monkeypatch.chdir(tmp_path)
    assert caught.value.kind == "no_working_directory"
