"""The homes file and the homes that it lists: names, limits, homes that come and go, and homes that cannot be used."""

import os
from pathlib import Path

import pytest

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.homes_file import find_homes_file, read_homes_file, require_homes_file
from taskclf_dagster.errors import BrokenHomeError, HomesFileError, HomesNotNamedError, UnknownHomeError
from taskclf_dagster.home import Home


def _home(root: Path) -> Path:
    Home(root).processed.mkdir(parents=True)
    return root


def _directory(tmp_path: Path, text: str) -> HomeDirectory:
    path = tmp_path / "homes.yaml"
    path.write_text(text, encoding="utf-8")
    return HomeDirectory(path)


@pytest.fixture
def team(tmp_path: Path) -> HomeDirectory:
    for name in ("anna", "ben", "cleo"):
        _home(tmp_path / "team" / name)
    return _directory(tmp_path, f"folder: {tmp_path / 'team'}\n")


def _problems(directory: HomeDirectory) -> dict[str, str | None]:
    return {listed.name: listed.problem for listed in directory.list_homes()}


# --- The file -------------------------------------------------------------------------------------------------------------------


def test_limits_have_defaults_and_are_what_the_file_says(tmp_path: Path) -> None:
    path = _directory(tmp_path, "folder: /srv/taskclf\n").path
    found = read_homes_file(path)
    assert (found.max_concurrent_runs, found.tick_seconds) == (2, 20.0)
    path.write_text("folder: /srv/taskclf\nmax_concurrent_runs: 8\ntick_seconds: 5\n", encoding="utf-8")
    found = read_homes_file(path)
    assert (found.max_concurrent_runs, found.tick_seconds) == (8, 5.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"homes\.yaml .*\n  - it must have one of the keys folder and homes"),
        ("folder: /srv\nhomes: {anna: /srv/anna}\n", "one of the keys folder and homes"),
        ("folder: srv/taskclf\n", r"folder: 'srv/taskclf' is relative; write the absolute path"),
        ("homes: {anna: /srv/anna, ben: ben}\n", r"homes\.ben: 'ben' is relative"),
        ("homes: {}\n", "homes: must have 1 entries or more"),
        ("folder: /srv\nmax_concurrent_runs: 0\n", r"max_concurrent_runs: must be at least 1 \(value 0\)"),
        ("folder: /srv\nmax_concurrent_runs: 257\n", r"max_concurrent_runs: must be at most 256 \(value 257\)"),
        ("folder: /srv\ntick_seconds: 46\n", r"tick_seconds: must be at most 45 \(value 46\)"),
        ("folder: /srv\nmax_runs: 3\n", "max_runs: is not known"),
        ("folder: [", "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_with_key_value_and_bound(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(HomesFileError, match=message):
        _directory(tmp_path, text).list_homes()


def test_a_missing_file_and_a_missing_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(HomesFileError, match=r"none\.yaml .*\n  - it does not exist"):
        HomeDirectory(tmp_path / "none.yaml").list_homes()
    with pytest.raises(HomesFileError, match=r"folder: the folder .*gone cannot be listed: No such file"):
        _directory(tmp_path, f"folder: {tmp_path / 'gone'}\n").list_homes()


def test_the_environment_names_the_file_and_an_option_goes_before_it(tmp_path: Path) -> None:
    environ = {"TASKCLF_DAGSTER_HOMES": str(tmp_path / "homes.yaml")}
    assert find_homes_file(environ=environ) == tmp_path / "homes.yaml"
    assert require_homes_file(str(tmp_path / "other.yaml"), environ) == tmp_path / "other.yaml"
    assert find_homes_file(environ={}) is None
    with pytest.raises(HomesNotNamedError, match="Set TASKCLF_DAGSTER_HOMES to its absolute path"):
        require_homes_file(environ={})


# --- Homes ----------------------------------------------------------------------------------------------------------------------


def test_each_home_of_the_folder_has_the_name_of_its_folder_and_other_folders_are_nobodys(tmp_path: Path, team: HomeDirectory) -> None:
    for name in ("notes", ".cache"):
        (tmp_path / "team" / name).mkdir()
    (tmp_path / "team" / "README").write_text("about")
    assert team.list_usable() == {name: Home(tmp_path / "team" / name) for name in ("anna", "ben", "cleo")}
    assert team.open("ben") == Home(tmp_path / "team" / "ben")


def test_homes_come_and_go_without_a_restart(tmp_path: Path, team: HomeDirectory) -> None:
    assert list(team.list_usable()) == ["anna", "ben", "cleo"]
    _home(tmp_path / "team" / "dora")
    (tmp_path / "team" / "anna").rename(tmp_path / "anna")
    assert list(team.list_usable()) == ["ben", "cleo", "dora"]
    team.path.write_text(f"homes: {{anna: {tmp_path / 'anna'}}}\n", encoding="utf-8")
    assert list(team.list_usable()) == ["anna"]


def test_a_broken_home_is_listed_with_its_problem_and_disturbs_no_other(tmp_path: Path) -> None:
    _home(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    homes = {"good": "a", "twice": "a", "gone": "b", "empty": "empty", "loop": "loop", "not a name": "a"}
    directory = _directory(tmp_path, "homes:\n" + "".join(f"  {name}: {tmp_path / root}\n" for name, root in homes.items()))
    problems = _problems(directory)
    assert list(directory.list_usable()) == ["good"]
    assert problems["good"] is None
    assert problems["gone"] == f"there is no folder {tmp_path / 'b'}"
    assert problems["empty"] == f"{tmp_path / 'empty'} has neither data/processed nor models"
    assert "each home has a folder of its own" in str(problems["twice"])
    assert str(problems["not a name"]).startswith("'not a name' cannot be its name: a name has 1 to 63")
    assert problems["loop"] is not None


def test_a_home_within_another_is_refused(tmp_path: Path) -> None:
    _home(tmp_path / "a")
    _home(tmp_path / "a" / "data" / "inner")
    directory = _directory(tmp_path, f"homes: {{outer: {tmp_path / 'a'}, inner: {tmp_path / 'a' / 'data' / 'inner'}}}\n")
    assert list(directory.list_usable()) == ["outer"]
    assert "that of the home outer as well, or in it" in str(_problems(directory)["inner"])


def test_a_home_of_the_folder_that_lost_its_data_is_reported_not_forgotten(tmp_path: Path, team: HomeDirectory) -> None:
    Home(tmp_path / "team" / "ben").artifacts.mkdir()
    (tmp_path / "team" / "ben" / "data" / "processed").rmdir()
    assert _problems(team)["ben"] == f"{tmp_path / 'team' / 'ben'} has neither data/processed nor models"


@pytest.mark.parametrize("name", ["with space", "-dash", "a..b", "ä", "x" * 64, "a/b"])
def test_a_name_that_is_no_partition_key_is_refused(tmp_path: Path, name: str) -> None:
    root = _home(tmp_path / "home")
    assert "cannot be its name" in str(_problems(_directory(tmp_path, f"homes: {{'{name}': {root}}}\n"))[name])


@pytest.mark.parametrize("name", ["a", "Anna.Meier-2", "0", "x" * 63])
def test_a_name_may_be_that_of_an_account(tmp_path: Path, name: str) -> None:
    root = _home(tmp_path / "home")
    assert _directory(tmp_path, f"homes: {{'{name}': {root}}}\n").open(name) == Home(root)


def test_an_unknown_or_broken_home_is_refused_with_a_sentence(tmp_path: Path, team: HomeDirectory) -> None:
    with pytest.raises(UnknownHomeError, match=r"There is no home named 'ana' in .*homes\.yaml\. Did you mean anna\?"):
        team.open("ana")
    (tmp_path / "team" / "ben" / "data" / "processed").rmdir()
    Home(tmp_path / "team" / "ben").artifacts.mkdir()
    with pytest.raises(BrokenHomeError, match=r"The home ben cannot be used: .* has neither"):
        team.open("ben")


def test_a_home_is_found_by_its_folder_also_through_a_link(tmp_path: Path, team: HomeDirectory) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "team" / "anna")
    assert team.find_name(Home(tmp_path / "link")) == "anna"
    assert team.find_name(Home(tmp_path / "team" / "cleo")) == "cleo"
    assert team.find_name(Home(_home(tmp_path / "stranger"))) is None
    listed = _directory(tmp_path, f"homes: {{a: {tmp_path / 'team' / 'anna'}}}\n")
    assert listed.find_name(Home(tmp_path / "link")) == "a"
    assert listed.find_name(Home(tmp_path / "team" / "ben")) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_home_that_this_account_may_not_read_is_reported(tmp_path: Path, team: HomeDirectory) -> None:
    (tmp_path / "team" / "ben").chmod(0)
    try:
        assert "ben" not in team.list_usable()
        assert _problems(team)["ben"] is not None
    finally:
        (tmp_path / "team" / "ben").chmod(0o755)
