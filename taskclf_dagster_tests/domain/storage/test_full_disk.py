"""An error of a disk names the path, whichever call it comes from: those of an open file do not say it themselves."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.domain.storage.filesystem import FileSystem

FULL = Path("/dev/full")
"""A device that answers every write as a full disk does."""

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")


def test_a_full_disk_names_the_file_that_was_appended_to() -> None:
    with pytest.raises(OSError, match="/dev/full") as caught:
        FileSystem().append(FULL, b"x" * 100_000)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(FULL))


def _fail_without_a_number(path: Path) -> None:
    msg = "100 requested and 0 written"
    raise OSError(msg)


def _write_to_a_full_disk(path: Path) -> None:
    with FULL.open("wb") as file:
        np.save(file, np.zeros(1_000))


@pytest.mark.parametrize("write", [_fail_without_a_number, _write_to_a_full_disk], ids=["without a number", "of numpy"])
def test_an_error_while_a_file_is_written_by_a_library_names_the_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(OSError, match=r"windows\.parquet"):
        write_atomic(tmp_path / "windows.parquet", write)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_a_file_is_made_durable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    (tmp_path / "a.json").write_bytes(b"{}")
    for sync in (lambda: FileSystem().sync_file(tmp_path / "a.json"), lambda: FileSystem().sync_folder(tmp_path)):
        with pytest.raises(OSError, match=str(tmp_path)) as caught:
            sync()
        assert caught.value.errno == errno.EIO
