"""Windows in an object store: the days, their rows and what is passed over are those of the same files in the home, for one listing."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event

import pandas as pd
import pyarrow as pa
import pytest

from taskclf_dagster.domain.data.day_folders import find_passed_over, list_days
from taskclf_dagster.domain.data.day_objects import forget_listings, list_day_objects
from taskclf_dagster.domain.data.passed_over import describe_passed_over
from taskclf_dagster.domain.data.windows import WindowReading, read_windows
from taskclf_dagster.domain.reporting.people import list_people
from taskclf_dagster.domain.scheduling.data_assessment import assess_data
from taskclf_dagster.errors import DeniedFileError, NoWindowsError, ObjectStoreUnavailableError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.object_stores import BUCKET, Store, point_to, serving
from taskclf_dagster_tests.scenario import AS_OF, MONDAY, at, make_home, retrain_config, windows_frame, windows_table, write_day

TABLE = windows_table(windows_frame(n=5))
CONFIG = retrain_config()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with serving(monkeypatch) as store:
        yield store


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two days of windows in the home."""
    home = make_home(tmp_path)
    for day in (0, 1):
        frame = windows_frame(n=5)
        frame["bucket_start_ts"] += pd.Timedelta(days=day)
        frame["bucket_end_ts"] += pd.Timedelta(days=day)
        table = windows_table(frame)
        write_day(home, MONDAY + timedelta(days=day), table.append_column("raw_title", pa.array(["secret"] * len(table))))
    return home


def read(home: Home, **changes: object) -> WindowReading:
    given = {"start": at("00:00"), "end": at("00:00", day=3), "schema_version": "auto", "skip_unreadable_days": False}
    return read_windows(home, **{**given, **changes})


def move_out(home: Home, store: Store) -> None:
    store.upload(home.processed, "windows")
    shutil.rmtree(home.processed / "features_v1")
    point_to(home, features="windows")


def test_days_rows_and_dropped_columns_are_those_of_the_files_in_the_home(home: Home, store: Store) -> None:
    before = read(home)
    move_out(home, store)
    after = read(home)
    assert before.frame is not None
    pd.testing.assert_frame_equal(after.frame, before.frame)
    assert (after.days, after.raw_columns_dropped) == (before.days, {"raw_title": 2})
    assert after.files == [f"s3://{BUCKET}/windows/features_v1/date={day}/features.parquet" for day in before.days]


def test_the_days_of_all_versions_and_what_is_passed_over_take_one_listing(home: Home, store: Store) -> None:
    move_out(home, store)
    store.requests.clear()
    assert [list(list_days(home, version)) for version in ("v1", "v2", "v3")] == [[MONDAY, MONDAY + timedelta(days=1)], [], []]
    assert find_passed_over(home) == []
    assert not assess_data(home, config=CONFIG, now=at("00:00", day=3)).assessed
    assert len(store.requests) == 1
    assert "prefix=windows" in store.requests[0][1]


def test_a_server_that_is_down_is_asked_once_by_all_readers_of_a_tick(home: Home, store: Store) -> None:
    move_out(home, store)
    store.fault = lambda method, path: 500
    store.requests.clear()
    for version in ("v1", "v2", "v3"):
        with pytest.raises(ObjectStoreUnavailableError):
            list_days(home, version)
    assert "cannot be reached" in (assess_data(home, config=CONFIG, now=at("00:00", day=3)).problem or "")
    assert len(store.requests) == 2  # the client's own second attempt


def test_a_store_that_hangs_holds_up_no_other_home(home: Home, store: Store) -> None:
    move_out(home, store)
    asked, goes_on = Event(), Event()

    def hang(_method: str, path: str) -> None:
        if "prefix=hangs" in path:
            asked.set()
            goes_on.wait(60)

    store.fault = hang
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(list_day_objects, store.location("hangs"), "features_v1")
        assert asked.wait(60)
        try:
            assert len(list_days(home, "v1")) == 2
            assert not waiting.done()
        finally:
            goes_on.set()
        assert waiting.result() == {}


def test_what_may_hold_windows_is_named_and_counted_by_its_name(home: Home, store: Store) -> None:
    names = (
        *("features_v1/date=2026-02-30/features.parquet", "features_v1/backup/old/a.parquet", "features_v1/backup/b.csv"),
        *("features_v1/c.parquet", "features_v9/date=2026-01-01/features.parquet", "features_v1/.hidden/a.parquet"),
        *(f"features_v1/date={MONDAY}/features (copy).parquet", f"features_v1/date={MONDAY}/.features.parquet.1.tmp"),
        *("features_v1/notes.txt", "others/date=2026-01-01/features.parquet"),
    )
    move_out(home, store)
    for name in names:
        store.put(f"windows/{name}", b"x")
    forget_listings()
    url = f"s3://{BUCKET}/windows"
    found = {(entry.path.removeprefix(url), entry.kind, entry.files, entry.rows) for entry in find_passed_over(home)}
    assert found == {
        ("/features_v1/date=2026-02-30", "not_a_day", 1, None),
        ("/features_v1/backup", "not_a_day", 2, None),
        ("/features_v1/c.parquet", "not_a_day", 1, None),
        (f"/features_v1/date={MONDAY}/features (copy).parquet", "another_file", 1, None),
        ("/features_v9", "another_version", 1, None),
    }
    assert "beside the daily files" in describe_passed_over(find_passed_over(home))


def test_a_damaged_day_is_refused_or_left_out_as_in_the_home_but_never_for_a_server_that_is_down_or_denies_access(
    home: Home, store: Store
) -> None:
    move_out(home, store)
    name = f"windows/features_v1/date={MONDAY}/features.parquet"
    store.put(name, store.get(name)[:-9])
    with pytest.raises(UnreadableFileError, match=f"s3://{BUCKET}/{name} cannot be read"):
        read(home)
    assert read(home, skip_unreadable_days=True).unreadable_days == [str(MONDAY)]
    store.fault = lambda method, path: 403 if name in path else None
    with pytest.raises(DeniedFileError, match=r"access is denied .*Give the credentials .*\(docs/object-stores\.md\)\.$"):
        read(home, skip_unreadable_days=True)
    store.fault = lambda method, path: 500 if name in path else None
    with pytest.raises(ObjectStoreUnavailableError):
        read(home, skip_unreadable_days=True)
    store.fault = lambda method, path: None
    list_days(home, "v1")
    store.remove(name)
    assert read(home, skip_unreadable_days=True).unreadable_days == [str(MONDAY)]


def test_a_bucket_that_does_not_exist_or_must_not_be_listed_is_one_sentence(home: Home, store: Store) -> None:
    home.settings_file.write_text("home: {features_url: s3://no-such-place/x}", encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="the bucket does not exist"):
        read(home)
    point_to(home, features="windows")
    store.fault = lambda method, path: 403
    with pytest.raises(UnreadableFileError, match="access is denied"):
        read(home)


def test_an_empty_folder_has_no_windows(home: Home, store: Store) -> None:
    point_to(home, features="nothing-here")
    with pytest.raises(NoWindowsError, match=f"s3://{BUCKET}/nothing-here"):
        read(home)
    assert f"s3://{BUCKET}/nothing-here" in (assess_data(home, config=CONFIG, now=AS_OF).problem or "")


def test_people_of_windows_in_a_store_are_hidden_and_nothing_is_sent_while_they_are_unknown(home: Home, store: Store) -> None:
    people = list_people(home)
    move_out(home, store)
    assert people
    assert list_people(home) == people
    forget_listings()
    store.fault = lambda method, path: 500
    with pytest.raises(ObjectStoreUnavailableError):
        list_people(home)
