"""Orphaned files are found by the process id in their name and removed; nothing else is."""

import os
from pathlib import Path

import pytest

from taskclf_dagster.domain.storage.files import temporary_path, write_atomic
from taskclf_dagster.domain.storage.process_start import find_mark
from taskclf_dagster.domain.storage.temporary_files import find_temporary_files, remove_orphaned_files
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.scenario import make_home

PLACES = {
    "the home": "../taskclf_dagster.yaml",
    "artifacts": "retrain_under_way.json",
    "labeled windows": "labeled_windows/0123.arrow",
    "a snapshot": "snapshots/0123456789abcdef/windows.parquet",
    "a challenger": "challengers/2026-02-04_000000_run-0001",
    "a file of a challenger": "challengers/2026-02-04_000000_run-0001/metrics.json",
    "predictions": "predictions/0123.parquet",
    "a decision": "decisions/2026-02-04_000000_0123.json",
    "a record": "records/dataset_snapshot/latest.json",
    "an event": "outbox/0123.json",
}
"""What a retrain writes, by where it lies below artifacts/."""

OTHER = (
    "decisions/.some.json.tmp",
    "decisions/some.json.12-0123456789abcdef0123456789abcdef.tmp",
    "decisions/.some.json.twelve-0123456789abcdef0123456789abcdef.tmp",
    "decisions/.some.json.12-0123.tmp",
    "decisions/.some.json.12-0123456789abcdef0123456789abcdef.tmp.txt",
    "somebody/.some.json.12-0123456789abcdef0123456789abcdef.tmp",
    "calibrator_store/.store.json.12-0123456789abcdef0123456789abcdef.tmp",
)
"""Names that are not ours, and places where we write nothing."""


def _leave(home: Home, place: str, *, folder: bool = False) -> Path:
    path = temporary_path(Path(os.path.normpath(home.artifacts / place)))
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        path.mkdir()
        (path / "model.txt").write_bytes(b"half of ")
        (temporary_path(path / "metrics.json")).write_bytes(b"half of ")
    else:
        path.write_bytes(b"half of ")
    return path


def _sweep(home: Home, *, alive: bool) -> list[str]:
    asked: set[int] = set()

    def is_alive(process: int, mark: str) -> bool:
        asked.add(process)
        assert mark == find_mark(process)
        return alive

    removed = remove_orphaned_files(home, is_alive=is_alive)
    assert asked <= {os.getpid()}
    return removed


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_orphaned_files_are_removed_and_those_of_a_running_process_stay(tmp_path: Path, folder: bool) -> None:
    for number, place in enumerate(PLACES.values()):
        home = make_home(tmp_path / str(number))
        path = _leave(home, place, folder=folder)
        before = contents(home.root)
        assert _sweep(home, alive=True) == [], place
        assert contents(home.root) == before, place
        assert _sweep(home, alive=False) == [str(path.relative_to(home.root))], place
        assert not path.exists(), place
        assert _sweep(home, alive=False) == [], place


def _find_while_writing(home: Home, place: str) -> list[int]:
    found: list[int] = []

    def write(path: Path) -> None:
        path.touch()
        found.extend(process for _, process, _ in find_temporary_files(home))

    write_atomic(home.artifacts / place, write)
    return found


def test_what_is_written_has_a_name_by_which_it_is_found(tmp_path: Path) -> None:
    for number, place in enumerate(PLACES.values()):
        home = make_home(tmp_path / str(number))
        assert _find_while_writing(home, place) == [os.getpid()], place
        assert list(find_temporary_files(home)) == [], place


def test_whole_files_and_what_others_write_stay(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    for path in (home.artifacts / name for name in (*PLACES.values(), *OTHER) if "." in name):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"whole")
    before = contents(home.root)
    assert _sweep(home, alive=False) == []
    assert contents(home.root) == before


def test_nothing_is_looked_for_outside_artifacts_nor_behind_a_link(tmp_path: Path) -> None:
    home, elsewhere = make_home(tmp_path / "one"), make_home(tmp_path / "two")
    left = [_leave(elsewhere, "decisions/some.json"), _leave(home, "../models/active.json"), _leave(home, "../data/some.parquet")]
    left.append(_leave(home, "../other.yaml"))
    home.records.mkdir(parents=True)
    (home.artifacts / "decisions").symlink_to(elsewhere.decisions, target_is_directory=True)
    (home.records / "linked").symlink_to(elsewhere.decisions, target_is_directory=True)
    assert _sweep(home, alive=False) == []
    assert all(path.exists() for path in left)


def test_of_a_link_that_a_dead_process_left_only_the_link_goes(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (home.root / "kept").mkdir()
    (home.root / "kept" / "file").touch()
    home.decisions.mkdir(parents=True)
    temporary_path(home.decisions / "some").symlink_to(home.root / "kept", target_is_directory=True)
    assert len(_sweep(home, alive=False)) == 1
    assert list(home.decisions.iterdir()) == []
    assert (home.root / "kept" / "file").exists()


def test_what_disappears_or_appears_meanwhile_does_no_harm(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    first, second = sorted(_leave(home, f"challengers/{i}", folder=True) for i in range(2))

    def is_alive(process: int, mark: str) -> bool:
        if second.exists():
            (second / "model.txt").unlink()
            for path in second.iterdir():
                path.unlink()
            second.rmdir()
        return False

    assert remove_orphaned_files(home, is_alive=is_alive) == [str(first.relative_to(home.root))]
    assert list(home.challengers.iterdir()) == []


def test_where_nothing_was_ever_made_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    assert _sweep(Home(tmp_path / "nowhere"), alive=False) == []
    assert _sweep(make_home(tmp_path), alive=False) == []


def test_what_cannot_be_removed_stays_and_the_rest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path)
    stuck, other = _leave(home, "decisions/a.json"), _leave(home, "decisions/b.json")
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(13, "Permission denied", str(path))
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert _sweep(home, alive=False) == [str(other.relative_to(home.root))]
    assert stuck.exists()
