"""Reading feature partitions: what a frame holds, which rows and files it comes from, and every way in which a file can be wrong."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.windows import WindowReading, choose_schema_version, read_windows
from taskclf_dagster.errors import NoWindowsError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import (
    DAY,
    MINUTE,
    MONDAY,
    at,
    day_file,
    flip_bytes,
    make_home,
    windows_frame,
    windows_table,
    write_day,
    write_windows,
)

TUESDAY = MONDAY + DAY
MONDAY_FILE = "data/processed/features_v1/date=2026-01-05/features.parquet"


def read(
    home: Home, start: datetime | None = None, end: datetime | None = None, *, version: str = "v1", skip_unreadable_days: bool = False
) -> WindowReading:
    return read_windows(
        home,
        start=start or at("00:00"),
        end=end or at("00:00", day=30),
        schema_version=version,
        skip_unreadable_days=skip_unreadable_days,
    )


def clock_times(reading: WindowReading) -> list[str]:
    return reading.frame["bucket_start_ts"].dt.strftime("%d %H:%M").tolist()


# --- What the frame holds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_a_clean_day_gives_keys_and_model_inputs_and_no_violations(tmp_path: Path, version: SchemaVersion) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=5, version=version), version=version)
    reading = read(home, version=version)
    inputs = [name for name in SCHEMAS[version].model_inputs if name != "user_id"]
    assert reading.violations == []
    assert reading.schema == SCHEMAS[version]
    assert list(reading.frame.columns) == ["user_id", "session_id", "bucket_start_ts", *inputs]
    assert len(reading.frame) == 5
    assert set(reading.frame["user_id"]) == {DEFAULT_USER if version == "v2" else "alice"}
    assert reading.days == ["2026-01-05"]
    assert reading.files == [f"data/processed/features_{version}/date=2026-01-05/features.parquet"]


def test_the_frame_has_one_storage_type_for_each_kind_of_column(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=3, app_id=["b", None, "a"], keys_per_min=[1.0, np.nan, 3.0], hour_of_day=7))
    frame = read(home).frame
    assert frame["bucket_start_ts"].dtype == pd.DatetimeTZDtype("us", "UTC")
    assert list(frame["app_id"].cat.categories) == ["a", "b"]
    assert frame["app_id"].cat.codes.tolist() == [1, -1, 0]
    assert frame["keys_per_min"].dtype == frame["hour_of_day"].dtype == np.float64
    assert frame["keys_per_min"].isna().tolist() == [False, True, False]
    assert frame["hour_of_day"].tolist() == [7.0, 7.0, 7.0]
    assert frame["is_terminal"].dtype == bool


def test_rows_are_sorted_by_user_and_time_over_all_days(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, TUESDAY, windows_frame(user="alice", start=at("08:00", day=1), n=1))
    write_day(home, MONDAY, pd.concat([windows_frame(user="bob", n=1), windows_frame(user="alice", start=at("10:00"), n=1)]))
    frame = read(home).frame
    assert frame["user_id"].tolist() == ["alice", "alice", "bob"]
    assert frame["bucket_start_ts"].tolist() == [at("10:00"), at("08:00", day=1), at("09:00")]
    assert frame.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("unit", "tz"), [("ns", "UTC"), ("us", None), ("ms", "Europe/Vienna"), ("ns", None)])
def test_timestamps_mean_the_same_in_every_unit_with_and_without_a_zone(tmp_path: Path, unit: str, tz: str | None) -> None:
    home = make_home(tmp_path)
    rows = windows_frame(n=4)
    write_day(home, MONDAY, rows, unit=unit, tz=tz)
    frame = read(home).frame
    assert frame["bucket_start_ts"].dtype == pd.DatetimeTZDtype("us", "UTC")
    assert frame["bucket_start_ts"].tolist() == [at("09:00"), at("09:01"), at("09:02"), at("09:03")]


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_text_is_the_same_whichever_string_type_it_was_stored_in(tmp_path: Path, text: pa.DataType) -> None:
    plain, other = make_home(tmp_path / "plain"), make_home(tmp_path / "other")
    rows = windows_frame(n=3, app_id=["b", "a", None])
    write_day(plain, MONDAY, rows)
    write_day(other, MONDAY, rows, text=text)
    assert frame_digest(read(other).frame) == frame_digest(read(plain).frame)
    assert read(other).frame["app_id"].cat.codes.tolist() == [1, 0, -1]


def test_columns_that_hold_only_null_may_have_the_null_type(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    rows = windows_frame(n=2, domain_category=None, backspace_ratio=None)
    table = windows_table(rows, types={"domain_category": pa.null(), "backspace_ratio": pa.null()})
    assert {table.schema.field(name).type for name in ("device_id", "domain_category", "backspace_ratio")} == {pa.null()}
    write_day(home, MONDAY, table)
    reading = read(home)
    assert reading.violations == []
    assert reading.frame["domain_category"].isna().all()
    assert reading.frame["backspace_ratio"].isna().all()


def test_a_device_id_that_is_known_changes_nothing(tmp_path: Path) -> None:
    home, other = make_home(tmp_path / "a"), make_home(tmp_path / "b")
    write_day(home, MONDAY, windows_frame())
    write_day(other, MONDAY, windows_frame(device_id="laptop"))
    assert frame_digest(read(home).frame) == frame_digest(read(other).frame)


def test_the_order_of_rows_and_columns_in_a_file_does_not_change_the_frame(tmp_path: Path) -> None:
    home, other = make_home(tmp_path / "a"), make_home(tmp_path / "b")
    rows = pd.concat([windows_frame(user="alice", app_id=list("edcba")), windows_frame(user="bob")], ignore_index=True)
    write_day(home, MONDAY, rows)
    write_day(other, MONDAY, rows.iloc[[7, 2, 9, 0, 4, 1, 8, 3, 6, 5], ::-1])
    pd.testing.assert_frame_equal(read(other).frame, read(home).frame)


def test_integers_stored_as_floats_are_accepted(tmp_path: Path) -> None:
    home, other = make_home(tmp_path / "a"), make_home(tmp_path / "b")
    write_day(home, MONDAY, windows_frame())
    write_day(other, MONDAY, windows_frame(), types={"hour_of_day": pa.float64(), "keys_per_min": pa.float32()})
    pd.testing.assert_frame_equal(read(other).frame, read(home).frame)


# --- Look-back range --------------------------------------------------------------------------------------------------------------


def test_exactly_the_hours_of_the_look_back_are_read(tmp_path: Path) -> None:
    # 2 days before Wednesday 06:30 are Monday 06:30: in are the windows from 06:30 on that end by 06:30, which is 2 * 1440.
    home = make_home(tmp_path)
    write_windows(home, windows_frame(start=at("00:00"), n=3 * 1440))
    reading = read(home, at("06:30"), at("06:30", day=2))
    assert len(reading.frame) == 2 * 1440
    assert clock_times(reading)[0] == "05 06:30"
    assert clock_times(reading)[-1] == "07 06:29"


@pytest.mark.parametrize(
    ("start", "kept"),
    [
        (at("06:29"), False),  # starts before the range
        (at("06:30"), True),  # starts with the range
        (at("07:29"), True),  # ends with the range
        (at("07:30"), False),  # ends after the range
    ],
)
def test_a_window_at_an_end_of_the_range_is_in_only_if_it_lies_within(tmp_path: Path, start: datetime, *, kept: bool) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, pd.concat([windows_frame(start=start, n=1), windows_frame(start=at("07:00"), n=1)]))
    reading = read(home, at("06:30"), at("07:30"))
    assert (start in set(reading.frame["bucket_start_ts"])) is kept
    assert len(reading.frame) == 1 + kept


def test_a_window_that_starts_within_a_second_before_the_range_is_out(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(start=at("06:30"), n=3))
    start = at("06:30") + timedelta(milliseconds=400)
    assert clock_times(read(home, start, start + DAY)) == ["05 06:31", "05 06:32"]


def test_days_outside_the_range_are_not_even_opened(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame())
    for day in (MONDAY - DAY, TUESDAY):
        day_file(home, day).parent.mkdir(parents=True)
        day_file(home, day).write_bytes(b"not parquet")
    assert read(home, at("00:00"), at("00:00", day=1)).days == ["2026-01-05"]


def test_the_range_is_in_utc_whatever_zone_it_is_given_in(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(home, windows_frame(start=at("22:00"), n=240))
    zone = datetime.fromisoformat("2026-01-05T00:00:00+01:00").tzinfo
    start = at("23:30").astimezone(zone)
    reading = read(home, start, start + timedelta(hours=1))
    assert (clock_times(reading)[0], clock_times(reading)[-1]) == ("05 23:30", "06 00:29")
    assert reading.days == ["2026-01-05", "2026-01-06"]


def test_a_folder_that_is_no_day_is_passed_over(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame())
    stray = home.features("v1") / "date=2026-01-xx" / "features.parquet"
    stray.parent.mkdir()
    stray.write_bytes(b"not parquet")
    assert read(home).days == ["2026-01-05"]


def test_no_partition_in_range_is_an_error_that_names_folder_and_days(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame())
    with pytest.raises(NoWindowsError) as caught:
        read(home, at("00:00", day=5), at("00:00", day=12))
    for part in (str(home.features("v1")), "2026-01-10", "2026-01-17", "data_lookback_days", "--as-of"):
        assert part in str(caught.value)


def test_a_home_without_any_features_is_an_error_that_names_where_they_should_be(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with pytest.raises(NoWindowsError, match="data/processed"):
        read(home, version="auto")


def test_a_day_without_windows_is_read_as_no_windows(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=0))
    reading = read(home)
    assert (reading.violations, len(reading.frame), reading.days) == ([], 0, ["2026-01-05"])


# --- Privacy and duplicates -------------------------------------------------------------------------------------------------------


def test_raw_columns_are_counted_by_file_and_never_in_the_frame(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(raw_window_title="Salary talk", raw_url="https://bank.example"))
    write_day(home, TUESDAY, windows_frame(start=at("09:00", day=1), raw_window_title="Salary talk"))
    write_day(home, TUESDAY + DAY, windows_frame(start=at("09:00", day=2)))
    reading = read(home)
    assert reading.raw_columns_dropped == {"raw_window_title": 2, "raw_url": 1}
    assert not [name for name in reading.frame.columns if name.startswith("raw_")]
    assert not reading.frame.astype("str").isin(["Salary talk", "https://bank.example"]).to_numpy().any()
    assert reading.violations == []


def test_columns_that_no_schema_knows_are_not_in_the_frame(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(mood="good"))
    reading = read(home)
    assert "mood" not in reading.frame
    assert reading.raw_columns_dropped == {}


def test_of_duplicates_in_one_file_the_last_is_kept_and_the_others_counted(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    first, second, third = (windows_frame(n=2, keys_per_min=value) for value in (1.0, 2.0, 3.0))
    write_day(home, MONDAY, pd.concat([first, windows_frame(start=at("08:00"), n=1), second, third.head(1)]))
    reading = read(home)
    assert clock_times(reading) == ["05 08:00", "05 09:00", "05 09:01"]
    assert reading.frame["keys_per_min"].tolist() == [0.5, 3.0, 2.0]
    assert reading.duplicates_dropped == 3


@pytest.mark.parametrize("other", [MONDAY - DAY, TUESDAY], ids=["an earlier day", "a later day"])
def test_a_row_in_the_folder_of_another_day_is_a_violation_and_never_wins_over_one_of_the_right_day(tmp_path: Path, other: date) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=3, keys_per_min=1.0))
    write_day(home, other, windows_frame(start=at("09:01"), n=4, keys_per_min=2.0))
    reading = read(home, at("00:00", day=-5))
    assert reading.frame["keys_per_min"].tolist() == [1.0, 1.0, 1.0, 2.0, 2.0]
    assert reading.duplicates_dropped == 2
    (violation,) = reading.violations
    assert (violation.check, violation.column, violation.row) == ("windows_are_of_their_day", "bucket_start_ts", 0)
    assert str(other) in violation.file
    for part in ("2026-01-05T09:01:00+00:00", f"{other} (UTC)", "4 rows"):
        assert part in violation.message


@pytest.mark.parametrize(("moved", "days"), [(timedelta(0), 0), (timedelta(minutes=1), 1)], ids=["the last minute", "midnight"])
def test_a_day_ends_at_midnight_utc_whatever_the_zone_of_its_times(tmp_path: Path, moved: timedelta, days: int) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(start=at("23:59") + moved, n=1), tz="America/New_York")
    assert [violation.check for violation in read(home).violations] == ["windows_are_of_their_day"] * days


def test_rows_of_another_day_are_found_though_they_are_out_of_range(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, pd.concat([windows_frame(n=3), windows_frame(start=at("09:00", day=-400), n=2)]))
    (violation,) = read(home).violations
    assert (violation.check, violation.row) == ("windows_are_of_their_day", 3)


def test_the_same_minute_of_two_users_is_no_duplicate(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, pd.concat([windows_frame(user="alice"), windows_frame(user="bob")]))
    reading = read(home)
    assert (len(reading.frame), reading.duplicates_dropped) == (10, 0)


# --- Choice of the schema version -------------------------------------------------------------------------------------------------


def days(n: int) -> set[str]:
    return {(MONDAY + i * DAY).isoformat() for i in range(n)}


@pytest.mark.parametrize(
    ("v1", "v2", "v3", "chosen"),
    [
        (10, 0, 9, "v3"),  # 9 of 10 days are exactly 90 %
        (9, 0, 8, "v1"),  # 8 of 9 days are 88.9 %
        (20, 0, 17, "v1"),  # 85 %
        (20, 0, 18, "v3"),
        (100, 0, 90, "v3"),
        (100, 0, 89, "v1"),
        (30, 27, 0, "v2"),
        (30, 27, 26, "v2"),
        (5, 5, 5, "v3"),
        (5, 0, 0, "v1"),
        (0, 0, 3, "v3"),
    ],
)
def test_auto_takes_the_newest_version_that_covers_ninety_percent_of_the_days(v1: int, v2: int, v3: int, chosen: str) -> None:
    assert choose_schema_version({"v1": days(v1), "v2": days(v2), "v3": days(v3)}) == chosen


def test_auto_without_a_version_of_ninety_percent_takes_the_one_with_most_days() -> None:
    early, late = {f"2026-01-{i:02d}" for i in range(1, 7)}, {f"2026-01-{i:02d}" for i in range(7, 11)}
    assert choose_schema_version({"v1": early, "v2": set(), "v3": late}) == "v1"
    assert choose_schema_version({"v1": late, "v2": set(), "v3": early}) == "v3"


def test_auto_takes_the_newest_of_versions_with_equally_many_days() -> None:
    assert choose_schema_version({"v1": {"2026-01-01"}, "v2": {"2026-01-02"}, "v3": {"2026-01-03"}}) == "v3"


def test_auto_without_any_day_chooses_nothing() -> None:
    assert choose_schema_version({"v1": set(), "v2": set(), "v3": set()}) is None


def _home_with_versions(tmp_path: Path, *, v1: int, v3: int) -> Home:
    home = make_home(tmp_path)
    for i in range(v1):
        write_day(home, MONDAY + i * DAY, windows_frame(start=at("09:00", day=i), n=1))
    for i in range(v3):
        write_day(home, MONDAY + i * DAY, windows_frame(start=at("09:00", day=i), n=1, version="v3"), version="v3")
    return home


def test_auto_reads_one_version_and_counts_the_days_that_only_another_has(tmp_path: Path) -> None:
    reading = read(_home_with_versions(tmp_path, v1=10, v3=9), version="auto")
    assert reading.schema.version == "v3"
    assert len(reading.days) == 9
    assert reading.days_of_other_versions == ["2026-01-14"]
    assert len(reading.frame) == 9


def test_auto_falls_back_to_the_older_version_just_below_ninety_percent(tmp_path: Path) -> None:
    reading = read(_home_with_versions(tmp_path, v1=10, v3=8), version="auto")
    assert reading.schema.version == "v1"
    assert (len(reading.days), reading.days_of_other_versions) == (10, [])


def test_auto_looks_only_at_the_days_in_range(tmp_path: Path) -> None:
    home = _home_with_versions(tmp_path, v1=10, v3=5)
    assert read(home, at("00:00"), at("00:00", day=5), version="auto").schema.version == "v3"


def test_an_explicit_version_is_read_however_few_days_it_has(tmp_path: Path) -> None:
    reading = read(_home_with_versions(tmp_path, v1=10, v3=2), version="v3")
    assert reading.schema.version == "v3"
    assert reading.days == ["2026-01-05", "2026-01-06"]
    assert len(reading.days_of_other_versions) == 8


def test_an_explicit_version_that_is_not_there_is_an_error_that_names_its_folder(tmp_path: Path) -> None:
    home = _home_with_versions(tmp_path, v1=1, v3=0)
    with pytest.raises(NoWindowsError, match="features_v2"):
        read(home, version="v2")


# --- Findings ---------------------------------------------------------------------------------------------------------------------

Change = Callable[[pd.DataFrame], pd.DataFrame | pa.Table]


def put(column: str, value: object, *, row: int = 2) -> Change:
    """Replaces one value of one row."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        values = rows[column].tolist()
        values[row] = value
        return rows.assign(**{column: pd.Series(values, index=rows.index, dtype=rows[column].dtype if value is not None else object)})

    return change


def store(column: str, kind: pa.DataType, values: list[object]) -> Change:
    """Stores a column with another arrow type."""
    return lambda rows: windows_table(rows.assign(**{column: values}), types={column: kind})


def shift(column: str, by: timedelta) -> Change:
    return lambda rows: put(column, rows[column][2] + by)(rows)


BAD_DAYS: dict[str, tuple[Change, str, str, int | None, tuple[str, ...]]] = {
    "a missing key column": (
        lambda rows: rows.drop(columns="session_id"),
        "columns_are_complete_and_typed", "session_id", None, ("is missing", "v1", "str", "build the day again"),
    ),
    "a missing model input": (
        lambda rows: rows.drop(columns="keys_per_min"),
        "columns_are_complete_and_typed", "keys_per_min", None, ("is missing", "v1", "float", "build the day again"),
    ),
    "a number stored as text": (
        store("clicks_per_min", pa.string(), ["1"] * 5),
        "columns_are_complete_and_typed", "clicks_per_min", None, ("has type string", "float", "build the day again"),
    ),
    "text stored as a number": (
        store("app_id", pa.int64(), [1] * 5),
        "columns_are_complete_and_typed", "app_id", None, ("has type int64", "str"),
    ),
    "a flag stored as a number": (
        store("is_editor", pa.int64(), [1] * 5),
        "columns_are_complete_and_typed", "is_editor", None, ("has type int64", "bool"),
    ),
    "a time stored as text": (
        store("bucket_start_ts", pa.string(), ["2026-01-05T09:00:00Z"] * 5),
        "columns_are_complete_and_typed", "bucket_start_ts", None, ("has type string", "datetime"),
    ),
    "an unknown schema hash": (
        lambda rows: rows.assign(schema_hash="deadbeef0000"),
        "schema_hash_is_known", "schema_hash", 0, ("has 'deadbeef0000' (5 rows)", "'4077fe0dba70'", "one schema version"),
    ),
    "the hash of another version": (
        lambda rows: rows.assign(schema_hash="7f29b4b8795e"),
        "schema_hash_is_known", "schema_hash", 0, ("'7f29b4b8795e' (5 rows)", "'4077fe0dba70'"),
    ),
    "two schema versions in one file": (
        put("schema_version", "v3", row=3),
        "schema_hash_is_known", "schema_version", 3, ("mixes 'v1' (4 rows), 'v3' (1 row)", "every row must have 'v1'"),
    ),
    "a row without a schema hash": (
        put("schema_hash", None),
        "schema_hash_is_known", "schema_hash", 2, ("mixes", "'None' (1 row)", "'4077fe0dba70'"),
    ),
    "a negative count": (
        put("app_change_count", -1),
        "values_are_in_bounds", "app_change_count", 2, ("is -1", "whole number in [0, inf]", "(1 row)"),
    ),
    "a negative rate": (
        put("keys_per_min", -0.25),
        "values_are_in_bounds", "keys_per_min", 2, ("is -0.25", "finite number in [0, inf]", "build the day again"),
    ),
    "a ratio above one": (
        put("app_foreground_time_ratio", 1.01),
        "values_are_in_bounds", "app_foreground_time_ratio", 2, ("is 1.01", "[0, 1]"),
    ),
    "a negative ratio": (
        put("backspace_ratio", -0.5),
        "values_are_in_bounds", "backspace_ratio", 2, ("is -0.5", "[0, 1]"),
    ),
    "a concentration above one": (
        put("top2_app_concentration_15m", 1.5),
        "values_are_in_bounds", "top2_app_concentration_15m", 2, ("is 1.5", "[0, 1]"),
    ),
    "an hour of 24": (put("hour_of_day", 24), "values_are_in_bounds", "hour_of_day", 2, ("is 24", "[0, 23]")),
    "an hour before midnight": (put("hour_of_day", -1), "values_are_in_bounds", "hour_of_day", 2, ("is -1", "[0, 23]")),
    "an eighth day of the week": (put("day_of_week", 7), "values_are_in_bounds", "day_of_week", 2, ("is 7", "[0, 6]")),
    "a title bucket of 256": (put("window_title_bucket", 256), "values_are_in_bounds", "window_title_bucket", 2, ("is 256", "[0, 255]")),
    "an infinite rate": (put("mouse_distance", np.inf), "values_are_in_bounds", "mouse_distance", 2, ("is inf", "finite")),
    "an infinite delta": (put("keys_per_min_delta", -np.inf), "values_are_in_bounds", "keys_per_min_delta", 2, ("is -inf", "finite")),
    "half an hour of the day": (
        store("hour_of_day", pa.float64(), [9.0, 9.0, 9.5, 9.0, 9.0]),
        "values_are_in_bounds", "hour_of_day", 2, ("is 9.5", "whole number"),
    ),
    "a null integer": (
        put("day_of_week", None),
        "values_are_in_bounds", "day_of_week", 2, ("is null in 1 row", "must not be"),
    ),
    "one NaN in an integer column": (
        lambda rows: _replace(rows, "title_repeat_count_session", pa.array(np.array([1, 1, np.nan, 1, 1]))),
        "values_are_in_bounds", "title_repeat_count_session", 2, ("nan", "whole number", "(1 row)"),
    ),
    "a null flag": (put("is_browser", None), "values_are_in_bounds", "is_browser", 2, ("is null in 1 row",)),
    "a window of nobody": (put("user_id", None), "values_are_in_bounds", "user_id", 2, ("is null in 1 row",)),
    "a window of no session": (put("session_id", None), "values_are_in_bounds", "session_id", 2, ("is null in 1 row",)),
    "a window that is not on the minute": (
        lambda rows: shift("bucket_end_ts", timedelta(seconds=20))(shift("bucket_start_ts", timedelta(seconds=20))(rows)),
        "windows_are_whole_minutes", "bucket_start_ts", 2, ("2026-01-05T09:02:20+00:00", "whole minute (UTC)", "(1 row)"),
    ),
    "a window of two minutes": (
        shift("bucket_end_ts", MINUTE),
        "windows_are_whole_minutes", "bucket_end_ts", 2, ("2026-01-05T09:04:00+00:00", "60 s after bucket_start_ts"),
    ),
    "a window that ends before it starts": (
        shift("bucket_end_ts", -2 * MINUTE),
        "windows_are_whole_minutes", "bucket_end_ts", 2, ("2026-01-05T09:01:00+00:00", "60 s after"),
    ),
}  # fmt: skip


def _replace(rows: pd.DataFrame, column: str, values: pa.Array) -> pa.Table:
    table = windows_table(rows)
    return table.set_column(table.column_names.index(column), column, values)


@pytest.mark.parametrize(("change", "check", "column", "row", "parts"), BAD_DAYS.values(), ids=BAD_DAYS)
def test_a_bad_day_is_a_violation_that_names_file_column_row_value_bound_and_fix(
    tmp_path: Path, change: Change, check: str, column: str, row: int | None, parts: tuple[str, ...]
) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, change(windows_frame(n=5)))
    write_day(home, TUESDAY, windows_frame(start=at("09:00", day=1)))
    [violation] = read(home).violations
    assert (violation.check, violation.file, violation.column, violation.row) == (check, MONDAY_FILE, column, row)
    for part in (MONDAY_FILE, column, *parts, *([] if row is None else [f"row {row}"])):
        assert part in str(violation)


def test_every_way_to_be_wrong_is_a_violation_of_a_known_check() -> None:
    checks = {check for _, check, *_ in BAD_DAYS.values()}
    assert checks == {"columns_are_complete_and_typed", "schema_hash_is_known", "values_are_in_bounds", "windows_are_whole_minutes"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("hour_of_day", 0), ("hour_of_day", 23), ("day_of_week", 6), ("window_title_bucket", 255), ("backspace_ratio", 0.0),
        ("backspace_ratio", 1.0), ("app_change_count", 0), ("keys_per_min", 0.0), ("keys_per_min", 1e9), ("keys_per_min_delta", -500.0),
        ("keys_per_min", None), ("app_id", None),
    ],
)  # fmt: skip
def test_a_value_at_its_bound_is_no_violation(tmp_path: Path, column: str, value: object) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(**{column: value}))
    reading = read(home)
    assert reading.violations == []
    assert reading.frame is not None


def test_an_integer_column_of_nothing_but_nan_is_a_violation(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, _replace(windows_frame(n=5), "title_repeat_count_session", pa.array(np.full(5, np.nan))))
    [violation] = read(home).violations
    assert (violation.check, violation.column, violation.row) == ("values_are_in_bounds", "title_repeat_count_session", 0)
    assert "(5 rows)" in violation.message


@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_a_title_sketch_outside_its_bounds_is_a_violation_in_v3(tmp_path: Path, value: float) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, put("title_char3_sketch_127", value)(windows_frame(version="v3")), version="v3")
    [violation] = read(home, version="v3").violations
    assert (violation.check, violation.column, violation.row) == ("values_are_in_bounds", "title_char3_sketch_127", 2)
    assert f"is {value}" in violation.message


def test_days_of_two_versions_in_one_folder_never_become_one_frame(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame())
    write_day(home, TUESDAY, windows_frame(start=at("09:00", day=1), version="v3"))
    reading = read(home)
    assert reading.frame is None
    assert {(violation.check, violation.column) for violation in reading.violations} == {
        ("schema_hash_is_known", "schema_version"),
        ("schema_hash_is_known", "schema_hash"),
    }
    assert all("date=2026-01-06" in violation.file for violation in reading.violations)


def test_a_day_that_cannot_be_typed_leaves_no_frame_to_go_on_with(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame().drop(columns="keys_per_min"))
    write_day(home, TUESDAY, windows_frame(start=at("09:00", day=1)))
    assert read(home).frame is None


def test_every_file_with_a_bad_value_has_its_own_violation_with_its_own_row(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, put("hour_of_day", 99, row=4)(windows_frame()))
    write_day(home, TUESDAY, windows_frame(start=at("09:00", day=1)))
    write_day(home, TUESDAY + DAY, windows_frame(start=at("09:00", day=2), hour_of_day=[9, 24, 25, 9, 26]))
    first, second = read(home).violations
    assert ("date=2026-01-05" in first.file, first.row) == (True, 4)
    assert ("date=2026-01-07" in second.file, second.row) == (True, 1)
    assert "is 24" in second.message
    assert "(3 rows)" in second.message


def test_values_at_the_bound_beside_a_bad_one_are_not_counted_with_it(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=5, hour_of_day=[23, 0, 24, 23, 0], backspace_ratio=[0.0, 1.0, 0.0, 1.5, 1.0]))
    assert {(violation.column, violation.row, "(1 row)" in violation.message) for violation in read(home).violations} == {
        ("hour_of_day", 2, True),
        ("backspace_ratio", 3, True),
    }


def test_all_violations_of_a_day_are_listed_at_once(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(hour_of_day=24, keys_per_min=-1.0, bucket_end_ts=at("09:09")))
    assert {violation.column for violation in read(home).violations} == {"hour_of_day", "keys_per_min", "bucket_end_ts"}


def test_values_outside_the_look_back_are_not_judged_and_rows_still_count_from_the_file(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=5, hour_of_day=[99, 9, 9, 24, 9]))
    [violation] = read(home, at("09:02"), at("00:00", day=1)).violations
    assert violation.row == 3
    assert "is 24" in violation.message


# --- Files that cannot be read ----------------------------------------------------------------------------------------------------


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is not parquet, " * 50)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = pytest.mark.parametrize("damage", [_garbage, _truncated, _empty], ids=["garbage", "truncated", "empty"])


def _home_with_a_damaged_day(tmp_path: Path, damage: Callable[[Path], None]) -> tuple[Home, Path]:
    home = make_home(tmp_path)
    for i in range(3):
        write_day(home, MONDAY + i * DAY, windows_frame(start=at("09:00", day=i)))
    path = day_file(home, TUESDAY)
    damage(path)
    return home, path


@DAMAGES
def test_an_unreadable_day_is_an_error_that_names_the_file_and_both_ways_out(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    home, path = _home_with_a_damaged_day(tmp_path, damage)
    with pytest.raises(UnreadableFileError) as caught:
        read(home)
    for part in (str(path), "Let taskclf write the day again", "skip_unreadable_days"):
        assert part in str(caught.value)


@DAMAGES
def test_an_unreadable_day_is_named_and_left_out_if_that_is_asked_for(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    home, _ = _home_with_a_damaged_day(tmp_path, damage)
    reading = read(home, skip_unreadable_days=True)
    assert reading.unreadable_days == ["2026-01-06"]
    assert reading.days == ["2026-01-05", "2026-01-07"]
    assert len(reading.frame) == 10


def test_a_flipped_byte_is_no_error_or_one_of_ours(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    path = day_file(home, MONDAY)
    path.parent.mkdir(parents=True)
    windows_frame(n=30).to_parquet(path, engine="pyarrow", index=False)  # with the metadata that taskclf's pandas writes
    refused = 0
    for _ in flip_bytes(path):
        try:
            read(home)
        except UnreadableFileError:
            refused += 1
    assert refused > 20
    assert read(home).violations == []


def test_clean_days_name_no_unreadable_day(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame())
    assert read(home, skip_unreadable_days=True).unreadable_days == []


def test_nothing_but_unreadable_days_is_an_error_even_if_they_may_be_skipped(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    for day in (MONDAY, TUESDAY):
        _garbage(write_day(home, day, windows_frame()))
    with pytest.raises(UnreadableFileError, match="date=2026-01-06"):
        read(home, skip_unreadable_days=True)


def test_a_range_given_in_one_day_reads_that_day_only(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(home, windows_frame(start=datetime(2026, 1, 5, 23, 58, tzinfo=UTC), n=4))
    reading = read(home, at("23:00"), at("00:00", day=1))
    assert clock_times(reading) == ["05 23:58", "05 23:59"]
    assert reading.days == [date(2026, 1, 5).isoformat()]
