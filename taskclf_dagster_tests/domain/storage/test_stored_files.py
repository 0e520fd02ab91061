"""Files that a record names: what is read is what was written, or an error that names the file."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.domain.storage.stored_files import StoredFile, read_stored_file, store_file
from taskclf_dagster.errors import UnreadableFileError


def test_a_stored_file_is_read_back_and_named_relative_to_the_home(tmp_path: Path) -> None:
    stored = store_file(tmp_path, tmp_path / "folder" / "rows.bin", b"rows")
    assert stored == StoredFile(path="folder/rows.bin", sha256=hash_file(tmp_path / "folder" / "rows.bin"))
    assert read_stored_file(tmp_path, stored) == b"rows"


@pytest.mark.parametrize("content", [b"Rows", b"rows ", b"", None], ids=["a bit", "longer", "empty", "gone"])
def test_a_file_that_is_not_the_one_that_was_written_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rows.bin"
    stored = store_file(tmp_path, path, b"rows")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"rows\.bin"):
        read_stored_file(tmp_path, stored)


def test_a_file_outside_of_the_home_is_never_read(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside.bin"
    home.mkdir()
    (home / "link").symlink_to(tmp_path)
    outside.write_bytes(b"rows")
    with pytest.raises(UnreadableFileError):
        read_stored_file(home, StoredFile(path="link/outside.bin", sha256=hash_file(outside)))
    (home / "circle").symlink_to(home / "circle")
    with pytest.raises(UnreadableFileError):
        read_stored_file(home, StoredFile(path="circle", sha256=hash_file(outside)))
    with pytest.raises(ValidationError):
        StoredFile(path="../outside.bin", sha256=hash_file(outside))
