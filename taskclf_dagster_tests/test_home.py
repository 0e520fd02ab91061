"""Which folders are homes, and where the default one is."""

from pathlib import Path

import pytest

from taskclf_dagster.errors import HomeNotFoundError, PathError
from taskclf_dagster.home import Home, default_home


@pytest.mark.parametrize("holds", ["data/processed/", "models/", "DEMO"])
def test_a_folder_with_one_thing_that_a_home_has_is_one(tmp_path: Path, holds: str) -> None:
    path = tmp_path / holds
    path.mkdir(parents=True) if holds.endswith("/") else path.touch()
    Home(tmp_path).require()


@pytest.mark.parametrize("holds", ["data/raw/", "artifacts/decisions/", ".dagster/", "models", "data"])
def test_another_folder_is_none(tmp_path: Path, holds: str) -> None:
    path = tmp_path / holds
    path.mkdir(parents=True) if holds.endswith("/") else path.touch()
    with pytest.raises(HomeNotFoundError) as caught:
        Home(tmp_path).require()
    assert caught.value.kind == "not_a_home"


def test_a_folder_that_does_not_exist_is_none(tmp_path: Path) -> None:
    with pytest.raises(HomeNotFoundError) as caught:
        Home(tmp_path / "nowhere").require()
    assert caught.value.kind == "missing"


@pytest.mark.parametrize("variable", ["TASKCLF_HOME", "XDG_DATA_HOME"])
def test_the_default_home_is_absolute_also_if_the_environment_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_home({variable: "mine"}, "linux").is_relative_to(tmp_path / "mine")
    with pytest.raises(PathError):
        default_home({variable: "~nobody-of-this-name"}, "linux")
