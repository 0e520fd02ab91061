"""The days of a home: which folder is a day, which file holds its windows, and what is passed over, counted and named."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.day_folders import find_passed_over, list_days
from taskclf_dagster.domain.data.passed_over import PassedOver, describe_passed_over
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.errors import NoWindowsError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import DAY, MONDAY, at, day_file, make_home, windows_frame, windows_table, write_day

TABLE = windows_table(windows_frame(n=5))
FOLDER = "data/processed/features_v1"


def _write(home: Home, name: str, content: pa.Table | bytes = TABLE) -> Path:
    path = home.features("v1") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content) if isinstance(content, bytes) else pq.write_table(content, path)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = make_home(tmp_path)
    write_day(home, MONDAY, TABLE)
    return home


@pytest.mark.parametrize(
    "folder",
    [
        "date=2026-W02-2",
        "date=20260106",
        "date=2026-006",
        "date=2026-1-6",
        "date=2026-01-06T00",
        "date=2026-01-06 00%3A00%3A00",
        "date=2026-01-06 ",
        "date=2026-02-29",
        "date=0000-01-06",
        "date=\N{FULLWIDTH DIGIT TWO}026-01-06",
        "DATE=2026-01-06",
        "2026-01-06",
        "day=2026-01-06",
        "__HIVE_DEFAULT_PARTITION__",
    ],
)
def test_only_a_real_date_in_the_one_form_is_a_day_and_every_other_folder_is_named(home: Home, folder: str) -> None:
    _write(home, f"{folder}/features.parquet")
    assert list_days(home, "v1") == {MONDAY: day_file(home, MONDAY)}
    assert find_passed_over(home) == [PassedOver(path=f"{FOLDER}/{folder}", kind="not_a_day", files=1, rows=5)]


DAY_FOLDER = "date=2026-01-05"

PASSED_OVER: dict[str, tuple[str, pa.Table | bytes, str, str, int | None]] = {
    "a part of a dataset": (f"{DAY_FOLDER}/part-0.parquet", TABLE, f"{DAY_FOLDER}/part-0.parquet", "another_file", 5),
    "a copy in other letters": (f"{DAY_FOLDER}/Features.PARQUET", TABLE, f"{DAY_FOLDER}/Features.PARQUET", "another_file", 5),
    "a copy of an editor": (f"{DAY_FOLDER}/features~", TABLE, f"{DAY_FOLDER}/features~", "another_file", 5),
    "a copy that is cut": (f"{DAY_FOLDER}/features.parquet.bak", b"PAR1", f"{DAY_FOLDER}/features.parquet.bak", "another_file", None),
    "a table of text": (f"{DAY_FOLDER}/features.csv.gz", b"?", f"{DAY_FOLDER}/features.csv.gz", "another_file", None),
    "a folder within a day": (f"{DAY_FOLDER}/user_id=a/0.parquet", TABLE, f"{DAY_FOLDER}/user_id=a", "another_file", 5),
    "a file beside the days": ("features.parquet", TABLE, "features.parquet", "not_a_day", 5),
}


@pytest.mark.parametrize(("name", "content", "path", "kind", "rows"), PASSED_OVER.values(), ids=PASSED_OVER)
def test_what_may_hold_windows_is_counted_and_named(
    home: Home, name: str, content: pa.Table | bytes, path: str, kind: str, rows: int | None
) -> None:
    _write(home, name, content)
    assert find_passed_over(home) == [PassedOver(path=f"{FOLDER}/{path}", kind=kind, files=1, rows=rows)]
    assert list(list_days(home, "v1")) == [MONDAY]


@pytest.mark.parametrize("name", ["Features_v1", "FEATURES_V2", "features_V3"])
def test_a_folder_of_windows_in_other_letters_is_named(home: Home, name: str) -> None:
    home.features("v1").rename(home.processed / name)
    (entry,) = find_passed_over(home)
    assert (entry.path, entry.kind, entry.rows) == (f"data/processed/{name}", "another_version", 5)
    with pytest.raises(NoWindowsError, match=name):
        read_windows(home, start=at("00:00"), end=at("00:00") + DAY, schema_version="auto", skip_unreadable_days=False)


def test_a_name_in_other_letters_of_what_is_read_is_not_named(home: Home) -> None:
    (home.processed / "Features_v1").symlink_to(home.features("v1"))  # as a disk that does not distinguish letters lists it
    day_file(home, MONDAY).with_name("Features.parquet").hardlink_to(day_file(home, MONDAY))
    assert find_passed_over(home) == []


def test_days_below_a_folder_of_a_user_are_one_entry_with_all_of_their_rows(home: Home) -> None:
    for day in (5, 6, 7):
        _write(home, f"user_id=a/date=2026-01-0{day}/features.parquet")
    assert find_passed_over(home) == [PassedOver(path=f"{FOLDER}/user_id=a", kind="not_a_day", files=3, rows=15)]


@pytest.mark.parametrize(
    "name",
    [
        "date=2026-01-05/tmpx1y2z3.parquet.tmp",
        "date=2026-01-05/.features.parquet.swp",
        "date=2026-01-05/README.txt",
        "date=2026-01-05/Thumbs.db",
        ".cache/features.parquet",
        "date=2026-01-06/notes.txt",
        "_SUCCESS",
    ],
)
def test_hidden_and_temporary_files_and_those_without_windows_are_not_named(home: Home, name: str) -> None:
    _write(home, name, TABLE if "parquet" in name else b"PA")
    assert find_passed_over(home) == []


def test_a_folder_of_an_unknown_version_is_named(home: Home) -> None:
    shutil.copytree(home.features("v1"), home.features("v4"))
    (found,) = find_passed_over(home)
    assert (found.path, found.kind, found.rows) == ("data/processed/features_v4", "another_version", 5)


def test_a_day_whose_file_was_renamed_is_not_a_day_and_the_error_names_the_file(home: Home) -> None:
    day_file(home, MONDAY).rename(day_file(home, MONDAY).with_name("part-0.parquet"))
    assert list_days(home, "v1") == {}
    with pytest.raises(NoWindowsError, match=r"date=2026-01-05/part-0\.parquet \(5 rows\)"):
        read_windows(home, start=at("00:00"), end=at("00:00", day=9), schema_version="auto", skip_unreadable_days=False)


@pytest.mark.parametrize(("make", "damage"), [(Path.mkdir, "a folder"), (lambda path: path.symlink_to("nowhere"), "a broken link")])
def test_a_day_without_a_readable_file_is_an_error_not_a_day_less(home: Home, make: Callable[[Path], object], damage: str) -> None:
    make(_write(home, "date=2026-01-06/x").with_name("features.parquet"))
    assert list(list_days(home, "v1")) == [MONDAY, MONDAY + DAY], damage
    with pytest.raises(UnreadableFileError, match="date=2026-01-06"):
        read_windows(home, start=at("00:00"), end=at("00:00", day=9), schema_version="v1", skip_unreadable_days=False)


def test_days_are_listed_in_order_and_a_linked_day_is_one(home: Home, tmp_path: Path) -> None:
    other = tmp_path / "disk"
    other.mkdir()
    pq.write_table(TABLE, other / "features.parquet")
    (home.features("v1") / "date=2025-12-31").symlink_to(other)
    assert list(list_days(home, "v1")) == [date(2025, 12, 31), MONDAY]
    assert list_days(home, "v2") == {}


def test_a_twin_of_a_day_replaces_none_of_its_windows(home: Home) -> None:
    rows = pd.concat([windows_frame(start=at("09:02"), n=2, keys_per_min=9.0)])
    _write(home, "date=2026-W02-1/features.parquet", windows_table(rows))
    reading = read_windows(home, start=at("00:00"), end=at("00:00", day=9), schema_version="v1", skip_unreadable_days=False)
    assert reading.frame["keys_per_min"].tolist() == [0.5] * 5


def test_a_message_names_ten_and_counts_the_rest(home: Home, snapshot: SnapshotAssertion) -> None:
    for number in range(12):
        _write(home, f"date=2026-01-05/part-{number}.parquet", TABLE if number else b"PAR1")
    assert describe_passed_over(find_passed_over(home)) == snapshot
    assert describe_passed_over([]) == ""
