"""An instance that serves many homes records its homes file, and for each name the home that has it."""

from pathlib import Path

import pytest

from taskclf_dagster.domain.storage.home_id import ensure_home_id
from taskclf_dagster.domain.storage.instance_homes import HOMES_FOLDER, RECORD_NAME, claim_for_homes, find_directory, find_partition
from taskclf_dagster.domain.storage.instance_owner import check_owner, claim_instance, find_former_paths, read_owner
from taskclf_dagster.errors import InstanceError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.team_scenario import make_team, write_homes_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dagster"
    made.mkdir()
    return made


def test_a_home_of_the_file_may_use_the_instance_under_its_name_and_another_may_not(tmp_path: Path, folder: Path) -> None:
    directory = make_team(tmp_path)
    claim_for_homes(folder, directory)
    assert find_directory(folder) == directory
    assert find_partition(folder, directory.open("ben")) == "ben"
    claim_instance(folder, directory.open("ben"))
    owner = read_owner(folder / HOMES_FOLDER / "ben")
    assert owner is not None
    assert owner.home == str(directory.open("ben").root)
    stranger = Home(tmp_path / "stranger")
    with pytest.raises(
        InstanceError, match=r"it serves the homes of .*homes\.yaml, and .*stranger is none of them\. Add it there, or give"
    ):
        check_owner(folder, stranger)


def test_a_home_that_was_moved_keeps_its_name_and_its_former_path(tmp_path: Path, folder: Path) -> None:
    directory = make_team(tmp_path)
    claim_for_homes(folder, directory)
    anna = directory.open("anna")
    ensure_home_id(anna)
    claim_instance(folder, anna)
    anna.root.rename(tmp_path / "moved")
    write_homes_file(tmp_path, {"anna": Home(tmp_path / "moved")})
    claim_instance(folder, Home(tmp_path / "moved"))
    assert find_former_paths(folder, Home(tmp_path / "moved")) == {str(anna.root), str(tmp_path / "moved")}


def test_a_name_that_stands_for_another_home_is_refused_with_both(tmp_path: Path, folder: Path) -> None:
    directory = make_team(tmp_path)
    claim_for_homes(folder, directory)
    claim_instance(folder, directory.open("anna"))
    write_homes_file(tmp_path, {"anna": directory.open("ben")})
    with pytest.raises(InstanceError, match=r"the name anna is that of the home .*/anna, whose history it has, and this is .*/ben"):
        claim_instance(folder, Home(tmp_path / "team" / "ben"))


def test_an_instance_serves_the_homes_of_one_file_or_one_home(tmp_path: Path, folder: Path) -> None:
    directory, other = make_team(tmp_path), make_team(tmp_path / "other")
    claim_for_homes(folder, directory)
    with pytest.raises(InstanceError, match=f"it serves the homes of {directory.path}, and this is {other.path}"):
        claim_for_homes(folder, other)
    one = tmp_path / "one"
    one.mkdir()
    claim_instance(one, directory.open("anna"))
    with pytest.raises(InstanceError, match="it belongs to one home, and an instance of one home serves no others"):
        claim_for_homes(one, directory)


def test_a_damaged_record_is_no_reason_to_serve_other_homes(tmp_path: Path, folder: Path) -> None:
    directory = make_team(tmp_path)
    (folder / RECORD_NAME).write_text("{}")
    with pytest.raises(UnreadableFileError, match="it does not name the homes file of the instance"):
        claim_for_homes(folder, directory)
    with pytest.raises(UnreadableFileError):
        claim_instance(folder, directory.open("anna"))
