"""Label fates: what becomes of each span, and the causes that are named: users that match nobody, and labels that are hours off."""

import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.label_fates import FateCounter, LabelFates
from taskclf_dagster.domain.data.label_projection import project_blocks_to_windows, time_range
from taskclf_dagster.domain.data.label_shift import HOURS
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import (
    DAY,
    MINUTE,
    at,
    make_home,
    retrain_config,
    span,
    spans_frame,
    weak,
    windows_frame,
    write_labels,
    write_windows,
)

HOUR = 60 * MINUTE
START, END = at("00:00", day=-1), at("00:00", day=9)


def fates_of(*spans: dict[str, object], windows: pd.DataFrame | None = None) -> LabelFates:
    """The fates of spans over ten windows of alice and of bob from 09:00 on, or over other windows."""
    rows = pd.concat([windows_frame(user=user, n=10) for user in ("alice", "bob")]) if windows is None else windows
    rows = rows.assign(user_id=rows["user_id"].astype("category")).reset_index(drop=True)
    frame = spans_frame(spans)
    counter = FateCounter(frame, list(rows["user_id"].cat.categories), time_range(rows), start=START, end=END)
    counter.add(counter.find_fates(rows, project_blocks_to_windows(rows, frame)))
    return counter.count({})


def counted(fates: LabelFates) -> dict[str, int]:
    return {fate: n for fate, n in fates.counts.items() if n}


BUILD = span(at("09:00"), at("09:04"), "Build")

FATES = {
    "it holds windows": ([BUILD], {"labels_windows": 1}),
    "it holds one window and half of another": ([span(at("09:00"), at("09:01:30"), "Build")], {"labels_windows": 1}),
    "it is of everybody": ([span(at("09:00"), at("09:04"), "Build", user=None)], {"labels_windows": 1}),
    "it is within another of its label": ([BUILD, span(at("09:01"), at("09:02"), "Build")], {"labels_windows": 2}),
    "two halves make one window": (
        [span(at("09:00"), at("09:00:30"), "Build"), span(at("09:00:30"), at("09:01"), "Build")], {"labels_windows": 2},
    ),
    "it is shorter than a window": ([span(at("09:00:10"), at("09:00:50"), "Build")], {"no_whole_window": 1}),
    "it is before the first window": ([span(at("08:00"), at("09:00"), "Build")], {"no_window_at_that_time": 1}),
    "it is after the last window": ([span(at("09:10"), at("10:00"), "Build")], {"no_window_at_that_time": 1}),
    "its user has no window": ([span(at("09:00"), at("09:04"), "Build", user="carol")], {"no_window_of_user": 1}),
    "its user is the text None": ([span(at("09:00"), at("09:04"), "Build", user="None")], {"no_window_of_user": 1}),
    "it ended before the look-back": ([span(at("09:00", day=-2), START, "Build")], {"outside_look_back": 1}),
    "nobody and long ago": ([span(at("09:00", day=-2), START, "Build", user="carol")], {"outside_look_back": 1}),
    "another label is on all of it": ([BUILD, span(at("09:00"), at("09:04"), "Debug")], {"overlaps_another_span": 2}),
    "another label is on a part of it": (
        [BUILD, span(at("09:02"), at("09:04"), "Debug")], {"labels_windows": 1, "overlaps_another_span": 1},
    ),
    "a weak one under a gold one": ([BUILD, weak(at("09:01"), at("09:02"), "Debug")], {"labels_windows": 1, "overlaps_another_span": 1}),
    "everybody's, in conflict with alice's": (
        [BUILD, span(at("09:00"), at("09:04"), "Debug", user=None)], {"labels_windows": 1, "overlaps_another_span": 1},
    ),
    "it extends forward over windows": (
        [span(at("08:00"), at("08:00"), "Build", extend_forward=True), span(at("09:05"), at("09:06"), "Debug")], {"labels_windows": 2},
    ),
    "it extends forward into the look-back": (
        [span(at("08:00", day=-2), at("08:00", day=-2), "Build", extend_forward=True), span(at("09:05"), at("09:06"), "Debug")],
        {"labels_windows": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spans", "expected"), FATES.values(), ids=FATES)
def test_a_span_has_the_fate_of_what_it_labels(spans: list[dict[str, object]], expected: dict[str, int]) -> None:
    fates = fates_of(*spans)
    assert counted(fates) == expected
    assert fates.spans == len(spans)


def test_the_fates_of_a_home_sum_to_all_spans_of_its_store(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(home, windows_frame(n=10))
    bad = {**BUILD, "label": "Coding"}
    later = span(at("09:00", day=2), at("10:00", day=2), "Build")
    write_labels(home, [BUILD, bad, later, weak(at("09:05"), at("09:07"), "Write"), span(at("09:00"), at("10:00"), "Meet", user="x")])
    record = label_windows(home, as_of=at("00:00", day=1), settings=retrain_config(weak_labels="exclude").dataset).record
    assert record.label_fates is not None
    expected = {"labels_windows": 1, "not_valid": 1, "outside_look_back": 1, "weak_left_out": 1, "no_window_of_user": 1}
    assert counted(record.label_fates) == expected
    assert (record.label_fates.spans, sum(record.label_fates.counts.values()), record.label_fates.lost) == (5, 5, 1)


# --- Causes -----------------------------------------------------------------------------------------------------------------------


def test_users_that_match_nobody_are_named_with_the_users_of_the_windows(snapshot: SnapshotAssertion) -> None:
    spans = [span(at("09:00") + i * MINUTE, at("09:01") + i * MINUTE, "Build", user="None" if i < 6 else "nan") for i in range(8)]
    fates = fates_of(span(at("09:00"), at("09:01"), "Build", user="alice"), *spans)
    assert fates.unmatched_users == {"None": 6, "nan": 2}
    assert fates.window_users == ("bob", "alice")
    assert fates.advice == snapshot


def test_the_users_with_most_spans_are_named_and_of_the_windows_those_without_spans() -> None:
    spans = [span(at("09:00"), at("09:01"), "Build", user=f"u{user}") for user in range(9) for _ in range(user + 1)]
    assert fates_of(*spans).unmatched_users == {"u8": 9, "u7": 8, "u6": 7, "u5": 6, "u4": 5}


def test_where_every_span_labels_windows_there_is_nothing_to_advise() -> None:
    assert (fates_of(BUILD).causes, fates_of(BUILD).advice) == ([], "")


def office(*, users: int = 1, days: int = 5) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """Windows from 09:00 to 17:00 with a break at noon, and a label for every half hour of them."""
    windows, spans = [], []
    for user in (f"user-{number}" for number in range(users)):
        for day in range(days):
            for start, minutes in ((at("09:00", day=day), 180), (at("13:00", day=day), 240)):
                windows.append(windows_frame(user=user, start=start, n=minutes))
                for half in range(minutes // 30):
                    begin = start + half * 30 * MINUTE
                    spans.append(span(begin, begin + 30 * MINUTE, ("Build", "Debug")[half % 2], user=user))
    return pd.concat(windows, ignore_index=True), spans


def moved(spans: list[dict[str, object]], by: timedelta, users: tuple[str, ...] | None = None) -> list[dict[str, object]]:
    return [
        {**each, "start_ts": each["start_ts"] + by, "end_ts": each["end_ts"] + by} if users is None or each["user_id"] in users else each
        for each in spans
    ]


@pytest.mark.parametrize("hours", [hours for hours in HOURS if hours])
def test_labels_that_are_the_offset_of_a_time_zone_off_are_found_with_their_shift(hours: int) -> None:
    windows, spans = office()
    (shift,) = fates_of(*moved(spans, hours * HOUR), windows=windows).shifts
    assert (shift.hours, shift.users, shift.shifted_share) == (-hours, ("user-0",), 1.0)
    assert shift.share < 0.8


@pytest.mark.parametrize(("hours", "text"), [(5.5, "+5:30 hours"), (-5.75, "-5:45 hours"), (3, "+3 hours"), (-1, "-1 hour,")])
def test_a_shift_is_described_in_hours_and_minutes(hours: float, text: str) -> None:
    windows, spans = office()
    (shift,) = fates_of(*moved(spans, -hours * HOUR), windows=windows).shifts
    assert f"moved by {text}" in shift.description


def test_whole_hours_are_preferred_to_a_part_that_covers_the_same() -> None:
    windows, _ = office()
    spans = [span(at("20:00", day=day), at("20:45", day=day), "Build", user="user-0") for day in range(5)]  # 4, 6 or 6.5 hours late
    (shift,) = fates_of(*spans, windows=windows).shifts
    assert shift.hours == -4


def test_the_shares_of_a_shift_are_those_of_the_labeled_time() -> None:
    # Moved by two hours, 7 labeled hours lie at 11-14 and 15-19; windows are at 9-12 and 13-17: 11-12, 13-14 and 15-17 are covered.
    windows, spans = office(days=2)
    (shift,) = fates_of(*moved(spans, 2 * HOUR), windows=windows).shifts
    assert (shift.share, shift.shifted_share) == (round(4 / 7, 4), 1.0)


def test_one_user_in_another_zone_is_found_alone() -> None:
    windows, spans = office(users=3)
    fates = fates_of(*moved(spans, -5 * HOUR, ("user-1",)), windows=windows)
    assert [(shift.hours, shift.users) for shift in fates.shifts] == [(5, ("user-1",))]


def test_labels_in_place_have_no_shift_even_if_some_were_made_away_from_the_computer() -> None:
    windows, spans = office()
    lunch = [span(at("12:00", day=day), at("13:00", day=day), "Meet", user="user-0") for day in range(5)]
    evening = [span(at("17:00", day=day), at("19:00", day=day), "Meet", user="user-0") for day in range(5)]
    for away in ([], lunch, evening, lunch + evening):
        assert fates_of(*spans, *away, windows=windows).shifts == ()
    # Three hours of each morning and four away: four hours earlier the latter are in the afternoon, and an hour more has windows.
    mornings = [each for each in spans if each["start_ts"].hour < 12]
    night = [span(at("17:00", day=day), at("21:00", day=day), "Meet", user="user-0") for day in range(5)]
    assert fates_of(*mornings, *night, windows=windows).shifts == ()


def test_a_shift_that_would_cover_only_a_little_more_is_none() -> None:
    windows, spans = office()
    few = moved(spans[:1], DAY)  # one half hour that is on the next day, where there are windows, too
    assert fates_of(*few, windows=windows).shifts == ()
    assert fates_of(*moved(spans, 10 * MINUTE), windows=windows).shifts == ()


def test_a_hundred_thousand_windows_and_five_thousand_spans_are_counted_in_well_under_a_second() -> None:
    rng = np.random.default_rng(1)
    starts = pd.date_range(at("00:00"), periods=20_000, freq="min").as_unit("us")
    windows = pd.DataFrame({"user_id": np.repeat([f"u{i}" for i in range(5)], 20_000), "bucket_start_ts": np.tile(starts, 5)})
    windows["bucket_start_ts"] = pd.to_datetime(windows["bucket_start_ts"], utc=True).astype("datetime64[us, UTC]")
    spans = []
    for begin in rng.integers(0, 20_000, 5_000):
        start = at("00:00") + int(begin) * MINUTE
        spans.append(span(start, start + 20 * MINUTE, "Build", user=(None, "u1", "nobody")[begin % 3]))
    windows = windows.assign(user_id=windows["user_id"].astype("category"))
    frame = spans_frame(spans)
    projection = project_blocks_to_windows(windows, frame)
    began = time.process_time()
    counter = FateCounter(frame, list(windows["user_id"].cat.categories), time_range(windows), start=START, end=at("00:00", day=30))
    counter.add(counter.find_fates(windows, projection))
    fates = counter.count({})
    assert time.process_time() - began < 1
    assert fates.spans == 5_000


# --- Shown --------------------------------------------------------------------------------------------------------------------------


def test_without_windows_the_record_has_no_fates(tmp_path: Path) -> None:
    home: Home = make_home(tmp_path)
    write_windows(home, windows_frame().drop(columns="keys_per_min"))
    write_labels(home, [BUILD])
    record = label_windows(home, as_of=at("00:00", day=1), settings=retrain_config().dataset).record
    assert (record.label_fates, len(record.violations)) == (None, 1)
