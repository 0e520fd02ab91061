"""Windows and labels of a home joined: what the record tells, what a setting changes, and the frame that later steps read."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.frame_parts import join_parts
from taskclf_dagster.domain.data.label_projection import project_blocks_to_windows
from taskclf_dagster.domain.data.label_store import read_label_spans
from taskclf_dagster.domain.data.labeled_windows import (
    LabeledWindows,
    label_windows,
    load_stored_keys,
    open_labeled_windows,
    store_labeled_windows,
)
from taskclf_dagster.domain.data.stored_frames import KEPT_FRAMES
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.errors import DataContractError, HomeNotFoundError, NoWindowsError, SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import (
    DAY,
    MINUTE,
    MONDAY,
    at,
    day_file,
    make_home,
    retrain_config,
    span,
    weak,
    windows_frame,
    write_day,
    write_labels,
    write_windows,
)

TOMORROW = at("00:00", day=1)


def label(home: Home, as_of: datetime = TOMORROW, **settings: object) -> tuple[LabeledWindows, pd.DataFrame | None]:
    return label_windows(home, as_of=as_of, settings=retrain_config(**settings).dataset)[:2]


def save(home: Home, as_of: datetime = TOMORROW, **settings: object) -> LabeledWindows:
    return store_labeled_windows(home, as_of=as_of, settings=retrain_config(**settings).dataset).record


def two_user_home(tmp_path: Path) -> Home:
    """alice and bob for ten minutes each: four gold and two weak windows of alice, all of bob's by a span of everyone's."""
    home = make_home(tmp_path)
    write_windows(home, windows_frame(user="alice", n=10), windows_frame(user="bob", start=at("12:00"), n=10))
    write_labels(
        home,
        [
            span(at("09:00"), at("09:04"), "Build"),
            weak(at("09:06"), at("09:08:30"), "Write"),
            span(at("12:00"), at("12:10"), "Meet", user=None, provenance="manual:calendar"),
            span(at("09:00"), at("09:04"), "Build", user="zoe"),
        ],
    )
    return home


# --- The record and the frame -----------------------------------------------------------------------------------------------------


def test_the_record_counts_windows_by_label_tier_reason_user_and_provenance(tmp_path: Path) -> None:
    record, _ = label(two_user_home(tmp_path))
    assert (record.windows, record.gold, record.weak) == (20, 14, 2)
    assert {name: n for name, n in record.class_counts["gold"].items() if n} == {"Build": 4, "Meet": 10}
    assert {name: n for name, n in record.class_counts["weak"].items() if n} == {"Write": 2}
    assert tuple(record.class_counts["gold"]) == LABELS
    assert record.unlabeled == {"not_covered": 3, "partly_covered": 1, "several_spans": 0}
    assert record.users == {"alice": 10, "bob": 10}
    assert record.users_without_windows == ["zoe"]
    assert record.spans_by_provenance == {"manual": 2, "manual:calendar": 1, "weak:app_id:com.apple.Notes": 1}
    assert (record.schema_version, record.schema_hash) == ("v1", "4077fe0dba70")
    assert (record.as_of, record.range_start, record.split_from) == (TOMORROW, TOMORROW - 365 * DAY, TOMORROW - 30 * DAY)
    assert (record.violations, record.days, record.path, record.digest) == ([], ["2026-01-05"], None, None)


def test_the_frame_holds_the_labelled_windows_only(tmp_path: Path) -> None:
    _, frame = label(two_user_home(tmp_path))
    assert frame["user_id"].tolist() == ["alice"] * 6 + ["bob"] * 10
    assert frame["label"].tolist() == ["Build"] * 4 + ["Write"] * 2 + ["Meet"] * 10
    assert tuple(frame["label"].cat.categories) == LABELS
    assert frame["gold"].tolist() == [True] * 4 + [False] * 2 + [True] * 10
    assert frame["span"].nunique() == 3
    assert frame.index.tolist() == list(range(16))


def test_what_was_left_out_of_the_windows_is_in_the_record(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, pd.concat([windows_frame(raw_title="x"), windows_frame(n=2, raw_title="y")]))
    write_day(home, MONDAY + DAY, windows_frame(start=at("09:00", day=1), version="v3"), version="v3")
    write_day(home, MONDAY + 2 * DAY, windows_frame(start=at("09:00", day=2))).write_bytes(b"garbage")
    record, _ = label(home, at("00:00", day=5), schema_version="v1", skip_unreadable_days=True)
    assert record.duplicates_dropped == 2
    assert record.raw_columns_dropped == {"raw_title": 1}
    assert record.days_of_other_versions == ["2026-01-06"]
    assert record.unreadable_days == ["2026-01-07"]


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_every_schema_version_can_be_labelled(tmp_path: Path, version: str) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=5, version=version), version=version)
    write_labels(home, [span(at("09:00"), at("09:04"), "Build", user=None)])
    record, frame = label(home)
    assert (record.schema_version, record.gold, len(frame)) == (version, 4, 4)


def test_without_labels_every_window_is_uncovered(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=5))
    record, frame = label(home)
    assert (record.gold, record.weak, record.unlabeled["not_covered"]) == (0, 0, 5)
    assert len(frame) == 0


def test_a_demo_home_is_called_so(tmp_path: Path) -> None:
    home = two_user_home(tmp_path)
    assert (label(home)[0].demo, label(home)[0].home) == (False, str(home.root))
    home.demo_marker.touch()
    assert (label(home)[0].demo, label(home)[0].home) == (True, f"DEMO home {home.root}")


def test_the_same_home_gives_the_same_frame_whatever_the_order_of_its_files(tmp_path: Path) -> None:
    home, other = two_user_home(tmp_path / "a"), two_user_home(tmp_path / "b")
    rows = pd.concat([windows_frame(user="bob", start=at("12:00"), n=10), windows_frame(user="alice", n=10)], ignore_index=True)
    write_day(other, MONDAY, rows.iloc[::-1], unit="ns", tz=None)
    first, frame = label(home)
    second, same = label(other)
    pd.testing.assert_frame_equal(frame, same)
    assert first.model_copy(update={"home": ""}) == second.model_copy(update={"home": ""})


def test_labelling_writes_nothing(tmp_path: Path) -> None:
    home = two_user_home(tmp_path)
    before = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
    label(home)
    assert {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()} == before


# --- Settings that take effect here -----------------------------------------------------------------------------------------------


def test_the_look_back_is_exactly_as_many_days_of_24_hours_as_configured(tmp_path: Path) -> None:
    # A window at every full minute of 4 days; as of Thursday 06:30 one day of look-back is 1440 windows, two are 2880.
    home = make_home(tmp_path)
    write_windows(home, windows_frame(start=at("00:00"), n=4 * 1440))
    for days in (1, 2):
        record, _ = label(home, at("06:30", day=3), data_lookback_days=days, training_lookback_days=1)
        assert record.windows == days * 1440
        assert record.range_start == record.split_from == at("06:30", day=3 - days)


@pytest.mark.parametrize(
    ("as_of", "days", "first", "within"),
    [
        (datetime(2028, 3, 2, 12, tzinfo=UTC), 2, datetime(2028, 2, 29, 12, tzinfo=UTC), ["2028-02-29", "2028-03-01", "2028-03-02"]),
        (datetime(2027, 3, 2, 12, tzinfo=UTC), 2, datetime(2027, 2, 28, 12, tzinfo=UTC), ["2027-02-28", "2027-03-01", "2027-03-02"]),
        (datetime(2027, 1, 1, 12, tzinfo=UTC), 2, datetime(2026, 12, 30, 12, tzinfo=UTC), ["2026-12-30", "2026-12-31", "2027-01-01"]),
        (datetime(2028, 12, 31, tzinfo=UTC), 366, datetime(2027, 12, 31, tzinfo=UTC), ["2027-12-31", "2028-02-29", "2028-12-30"]),
    ],
    ids=["a leap day", "no leap day", "the turn of the year", "a leap year"],
)
def test_a_leap_day_and_the_turn_of_a_year_are_days_of_the_look_back(
    tmp_path: Path, as_of: datetime, days: int, first: datetime, within: list[str]
) -> None:
    home, hour = make_home(tmp_path), 60 * MINUTE
    noons = [datetime.fromisoformat(f"{day}T12:00+00:00") for day in within]
    before = min(noons) - DAY
    # Of each day the hour before noon and the hour from noon on; of the first day only the second lies within if as-of is at noon.
    for noon in [before, *noons]:
        write_day(home, noon.date(), windows_frame(start=noon - hour, n=120))
    write_labels(home, [span(before - hour, as_of, "Build")])
    record, frame = label(home, as_of, data_lookback_days=days, training_lookback_days=days)
    assert record.range_start == first
    assert record.days == within
    assert frame is not None
    kept = 120 * len(within) if as_of.hour == 0 else 120 * len(within) - 60 - 60
    assert (record.gold, len(frame)) == (kept, kept)
    assert (frame["bucket_start_ts"].min(), frame["bucket_start_ts"].max() < as_of) == (max(first, min(noons) - hour), True)


def test_a_look_back_of_another_length_takes_other_windows(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(home, *[windows_frame(start=at("09:00", day=day), n=1) for day in range(10)])
    for days, first in ((7, "2026-01-08"), (8, "2026-01-07")):
        assert label(home, at("00:00", day=10), data_lookback_days=days, training_lookback_days=7)[0].days[0] == first
        assert label(home, at("00:00", day=10), data_lookback_days=7, training_lookback_days=days)[0].days[0] == first


def test_only_days_that_are_judged_choose_the_schema_version_and_older_days_of_another_one_do_not_teach(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    for day in range(9):
        write_day(home, MONDAY + day * DAY, windows_frame(start=at("09:00", day=day), n=1))
    write_day(home, MONDAY + 9 * DAY, windows_frame(start=at("09:00", day=9), n=1, version="v3"), version="v3")
    as_of = at("00:00", day=10)
    assert label(home, as_of)[0].schema_version == "v1"
    record, _ = label(home, as_of, data_lookback_days=1)
    assert (record.schema_version, record.days, len(record.days_of_other_versions)) == ("v3", ["2026-01-14"], 9)
    with pytest.raises(NoWindowsError):
        label(home, as_of, data_lookback_days=1, schema_version="v1")


def test_weak_labels_are_left_out_if_that_is_configured(tmp_path: Path) -> None:
    home = two_user_home(tmp_path)
    record, frame = label(home, weak_labels="exclude")
    assert (record.gold, record.weak) == (14, 0)
    assert record.unlabeled["not_covered"] == 6
    assert frame["gold"].all()
    assert record.spans_by_provenance["weak:app_id:com.apple.Notes"] == 1


def test_the_configured_schema_version_is_read(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    for version in ("v1", "v3"):
        write_day(home, MONDAY, windows_frame(version=version), version=version)
    assert label(home)[0].schema_version == "v3"
    assert label(home, schema_version="v1")[0].schema_version == "v1"
    with pytest.raises(NoWindowsError, match="features_v2"):
        label(home, schema_version="v2")


# --- Sessions ---------------------------------------------------------------------------------------------------------------------


def test_a_session_lasts_from_its_first_to_its_last_window_labelled_or_not(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(
        home,
        windows_frame(start=at("09:00"), n=5, session="long"),  # only one of its windows is labelled
        windows_frame(start=at("10:00"), n=2, session="short"),
        windows_frame(start=at("11:00"), n=1, session="gap"),
        windows_frame(start=at("11:09"), n=1, session="gap"),
    )
    write_labels(home, [span(at("09:02"), at("09:03"), "Build"), span(at("10:00"), at("12:00"), "Debug")])
    _, frame = label(home)
    assert frame["session_seconds"].tolist() == [300.0, 120.0, 120.0, 600.0, 600.0]


def test_sessions_of_two_users_with_one_name_are_two_sessions(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(home, windows_frame(user="alice", n=2, session="s"), windows_frame(user="bob", start=at("12:00"), n=3, session="s"))
    write_labels(home, [span(at("09:00"), at("13:00"), "Build", user=None)])
    assert label(home)[1]["session_seconds"].tolist() == [120.0] * 2 + [180.0] * 3


# --- Findings ---------------------------------------------------------------------------------------------------------------------


def test_violations_of_windows_and_labels_are_listed_together_and_leave_no_frame(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(hour_of_day=24))
    write_labels(home, [span(at("09:00"), at("09:04"), "Coding")])
    record, frame = label(home)
    assert frame is None
    assert {(violation.check, violation.column) for violation in record.violations} == {
        ("values_are_in_bounds", "hour_of_day"),
        ("labels_are_in_the_label_set", "label"),
    }


def test_one_bad_label_leaves_no_frame_but_still_counts_what_was_read(tmp_path: Path) -> None:
    home = two_user_home(tmp_path)
    write_labels(home, [span(at("09:00"), at("09:04"), "Build"), span(at("09:05"), at("09:06"), "Build", confidence=7.0)])
    record, frame = label(home)
    assert frame is None
    assert (record.windows, record.class_counts["gold"]["Build"]) == (20, 5)


def test_a_record_with_violations_cannot_be_loaded_and_says_why(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(hour_of_day=24))
    record, _ = label(home)
    with pytest.raises(DataContractError) as caught:
        open_labeled_windows(home, record)
    assert "labeled_windows" in str(caught.value)
    assert str(record.violations[0]) in str(caught.value)


def test_a_home_that_does_not_exist_is_an_error_that_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(HomeNotFoundError) as caught:
        label(Home(tmp_path / "nowhere"))
    for part in (str(tmp_path / "nowhere"), "TASKCLF_HOME", "taskclf-dagster demo"):
        assert part in str(caught.value)


# --- The file between two assets --------------------------------------------------------------------------------------------------


def test_a_saved_frame_is_read_back_as_it_was(tmp_path: Path) -> None:
    home = two_user_home(tmp_path)
    _, frame = label(home)
    saved = save(home)
    assert saved.path == f"artifacts/labeled_windows/000001-{saved.digest[:16]}.labeled.arrow"
    pd.testing.assert_frame_equal(join_parts(open_labeled_windows(home, saved)), frame, check_categorical=False)
    keys, columns = load_stored_keys(home, saved)
    pd.testing.assert_frame_equal(keys, frame[["user_id", "bucket_start_ts"]], check_categorical=False)
    assert columns == frame.columns.tolist()


def test_equal_frames_have_one_file_and_other_frames_another(tmp_path: Path) -> None:
    home = two_user_home(tmp_path)
    first = save(home)
    again = save(home, as_of=at("00:00", day=3))
    other = save(home, weak_labels="exclude")
    assert first.path == again.path != other.path
    assert len(list(home.labeled_windows.glob("*.labeled.arrow"))) == 2


def test_the_hash_of_the_record_names_the_windows_and_not_the_number_of_their_file(tmp_path: Path) -> None:
    home = two_user_home(tmp_path)
    first = save(home)
    save(home, weak_labels="exclude")
    again = save(home)
    assert first.path != again.path
    assert first.record_hash == again.record_hash


def test_only_the_frames_that_were_written_last_are_kept_whatever_their_times(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=10))
    saved = []
    for minutes in range(1, KEPT_FRAMES + 3):
        write_labels(home, [span(at("09:00"), at("09:00") + minutes * MINUTE, "Build")])
        saved.append(save(home))
        for path in home.labeled_windows.iterdir():
            os.utime(path, (2**33 - minutes, 2**33 - minutes))  # in the future, and going back
    kept = {path.relative_to(home.root).as_posix() for path in home.labeled_windows.iterdir()}
    newest = saved[-KEPT_FRAMES:]
    assert kept == {record.path for record in newest} | {newest[-1].recent.path}
    assert newest[-1].recent.path == saved[0].recent.path  # the windows are the same


def test_frames_of_0_2_count_as_older_than_all_others_and_are_removed_in_the_end(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=10))
    home.labeled_windows.mkdir(parents=True)
    for digit in range(KEPT_FRAMES):
        (home.labeled_windows / f"{digit:016x}.arrow").touch()
    (home.labeled_windows / "mine.arrow").touch()
    for minutes in range(1, KEPT_FRAMES + 1):
        write_labels(home, [span(at("09:00"), at("09:00") + minutes * MINUTE, "Build")])
        save(home)
    names = {path.name for path in home.labeled_windows.iterdir()}
    assert "mine.arrow" in names
    assert len(names) == 1 + KEPT_FRAMES + 1  # the last of each kind, and none of 0.2


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"garbage")], ids=["gone", "garbage"])
def test_a_frame_that_cannot_be_read_is_an_error_that_names_the_file(tmp_path: Path, damage: object) -> None:
    home = two_user_home(tmp_path)
    saved = save(home)
    damage(home.root / saved.path)
    with pytest.raises(SnapshotError, match=saved.digest[:16]):
        open_labeled_windows(home, saved)


def test_a_frame_that_is_not_the_one_of_its_record_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    home = two_user_home(tmp_path)
    saved, other = save(home), save(home, weak_labels="exclude")
    shutil.copy(home.root / other.path, home.root / saved.path)
    with pytest.raises(SnapshotError, match=saved.digest[:16]):
        open_labeled_windows(home, saved)


# --- Real homes -------------------------------------------------------------------------------------------------------------------


def _copy_of(real_homes: Path, name: str, tmp_path: Path) -> Home:
    shutil.copytree(real_homes / name / "data", tmp_path / name / "data")
    return Home(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "as_of", "version", "windows", "spans", "days"),
    [
        ("academic-v1", datetime.fromisoformat("2023-04-03T00:00+00:00"), "v1", 5_260, 599, 20),
        ("academic-v3", datetime.fromisoformat("2023-04-03T00:00+00:00"), "v3", 5_260, 599, 20),
        ("original-home", datetime.fromisoformat("2026-02-04T00:00+00:00"), "v1", 14_400, 450, 30),
    ],
)
def test_a_real_home_is_read_whole_and_without_violations(
    real_homes: Path, tmp_path: Path, name: str, as_of: datetime, version: str, windows: int, spans: int, days: int
) -> None:
    record, frame = label(_copy_of(real_homes, name, tmp_path), as_of)
    assert record.violations == []
    assert record.schema_version == version
    assert (record.windows, sum(record.spans_by_provenance.values()), len(record.days)) == (windows, spans, days)
    assert len(frame) == record.gold + record.weak == windows - sum(record.unlabeled.values())
    assert record.gold > windows / 2


def test_on_a_real_home_every_window_that_one_span_touches_is_labelled_as_that_span_says(real_homes: Path) -> None:
    home = Home(real_homes / "academic-v1")
    start, end = (datetime.fromisoformat(f"2023-0{month}-04T00:00+00:00") for month in (3, 4))
    frame = read_windows(home, start=start, end=end, schema_version="v1", skip_unreadable_days=False).frame
    spans = read_label_spans(home, start=start, end=end).spans
    found = project_blocks_to_windows(frame, spans)
    begin = frame["bucket_start_ts"].astype("int64").to_numpy()[:, None]
    touches = (spans["start_us"].to_numpy() < begin + 60_000_000) & (spans["end_us"].to_numpy() > begin)
    holds = (spans["start_us"].to_numpy() <= begin) & (spans["end_us"].to_numpy() >= begin + 60_000_000)
    alone = touches.sum(axis=1) == 1
    expected = np.where(holds.any(axis=1), spans["label"].to_numpy()[holds.argmax(axis=1)], -1)
    assert alone.sum() > 2_000
    assert found.label[alone].tolist() == expected[alone].tolist()
    assert (found.label[touches.sum(axis=1) == 0] == -1).all()


def test_a_day_that_vanishes_takes_only_its_own_windows_with_it(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(home, *[windows_frame(start=at("09:00", day=day)) for day in range(3)])
    day_file(home, MONDAY + DAY).unlink()
    assert label(home, at("00:00", day=3))[0].days == ["2026-01-05", "2026-01-07"]


def test_a_record_that_names_another_schema_version_than_its_hash_is_refused(tmp_path: Path) -> None:
    document = label(two_user_home(tmp_path))[0].model_dump(mode="json")
    assert LabeledWindows.model_validate(document).schema_version == "v1"
    with pytest.raises(ValidationError, match="that of v2"):
        LabeledWindows.model_validate({**document, "schema_version": "v2"})
