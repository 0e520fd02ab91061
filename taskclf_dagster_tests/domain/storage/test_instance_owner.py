"""The home of a Dagster instance: the first one that uses it, also when it was moved, and no other."""

import json
import shutil
from pathlib import Path

import pytest

from taskclf_dagster.domain.storage.home_id import ensure_home_id
from taskclf_dagster.domain.storage.instance_owner import RECORD_NAME, check_owner, claim_instance, find_former_paths, read_owner
from taskclf_dagster.errors import InstanceError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.scenario import make_home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an instance that no home has used."""
    (tmp_path / "instance").mkdir()
    return tmp_path / "instance"


def _refused(folder: Path, home: Home) -> str:
    before = contents(folder)
    for use in (check_owner, claim_instance):
        with pytest.raises(InstanceError) as caught:
            use(folder, home)
        assert caught.value.kind == "other_home"
    assert contents(folder) == before
    return str(caught.value)


def test_an_instance_belongs_to_the_first_home_that_uses_it(tmp_path: Path, folder: Path) -> None:
    first, second = make_home(tmp_path / "a"), make_home(tmp_path / "b")
    assert check_owner(folder, second) is None
    claim_instance(folder, first)
    claim_instance(folder, first)
    message = _refused(folder, second)
    assert [name for name in (str(first.root), str(second.root), str(folder), "init") if name not in message] == []


def test_another_name_of_the_same_folder_is_the_same_home(tmp_path: Path, folder: Path) -> None:
    home = make_home(tmp_path / "a")
    (tmp_path / "link").symlink_to(home.root)
    claim_instance(folder, Home(tmp_path / "link"))
    claim_instance(folder, home)
    claim_instance(folder, Home(tmp_path / "a" / ".." / "a" / "home"))
    assert find_former_paths(folder, home) == {str(home.root.resolve())}


def test_a_home_that_was_moved_keeps_its_instance_and_the_runs_of_its_former_path(tmp_path: Path, folder: Path) -> None:
    home = make_home(tmp_path / "a")
    claim_instance(folder, home)
    ensure_home_id(home)
    claim_instance(folder, home)
    moved = Home(tmp_path / "moved")
    shutil.move(home.root, moved.root)
    assert str(home.root) in find_former_paths(folder, moved)
    claim_instance(folder, moved)
    owner = read_owner(folder)
    assert owner is not None
    assert (owner.home, owner.former) == (str(moved.root), (str(home.root),))
    _refused(folder, make_home(tmp_path / "a"))


def test_a_copy_is_another_home_although_it_has_the_same_id(tmp_path: Path, folder: Path) -> None:
    home = make_home(tmp_path / "a")
    ensure_home_id(home)
    claim_instance(folder, home)
    shutil.copytree(home.root, tmp_path / "copy")
    assert str(folder / RECORD_NAME) in _refused(folder, Home(tmp_path / "copy"))


def test_a_home_without_an_id_that_was_moved_is_refused_until_the_record_is_deleted(tmp_path: Path, folder: Path) -> None:
    home = make_home(tmp_path / "a")
    claim_instance(folder, home)
    moved = Home(tmp_path / "moved")
    shutil.move(home.root, moved.root)
    assert str(folder / RECORD_NAME) in _refused(folder, moved)
    (folder / RECORD_NAME).unlink()
    claim_instance(folder, moved)


def test_a_home_that_was_made_anew_at_its_path_keeps_the_instance(tmp_path: Path, folder: Path) -> None:
    home = make_home(tmp_path / "a")
    ensure_home_id(home)
    claim_instance(folder, home)
    shutil.rmtree(home.root)
    fresh = make_home(tmp_path / "a")
    new = ensure_home_id(fresh)
    claim_instance(folder, fresh)
    owner = read_owner(folder)
    assert owner is not None
    assert owner.home_id == new


def test_the_instance_within_a_home_is_copied_with_it_and_is_the_copys_own(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a")
    ensure_home_id(home)
    home.instance.mkdir()
    claim_instance(home.instance, home)
    copy = Home(tmp_path / "copy")
    shutil.copytree(home.root, copy.root)
    claim_instance(copy.instance, copy)
    _refused(copy.instance, home)
    claim_instance(home.instance, home)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"home": 1}', '{"home": "/a", "extra": 1}', '{"home": "/a", "home": "/b"}', "[" * 100])
def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path, folder: Path, text: str) -> None:
    (folder / RECORD_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableFileError) as caught:
        claim_instance(folder, make_home(tmp_path))
    assert str(folder / RECORD_NAME) in str(caught.value)
    assert find_former_paths(folder, make_home(tmp_path)) == frozenset()


def test_a_record_beyond_its_limit_is_not_read(tmp_path: Path, folder: Path) -> None:
    (folder / RECORD_NAME).write_text(json.dumps({"home": "/" + "a" * 100_000}), encoding="utf-8")
    with pytest.raises(UnreadableFileError):
        check_owner(folder, make_home(tmp_path))
