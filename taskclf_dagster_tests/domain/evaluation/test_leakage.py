"""What a model learned from leaves the comparison: windows of its training rows, their neighbours, and nothing else."""

import os
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, SchemaVersion
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.evaluation.leakage import (
    Exclusion,
    LeakageReport,
    _neighborhoods,
    exclude_leaked,
    measure_training_distance,
)
from taskclf_dagster.domain.models.bundle import ModelBundle, parse_bundle
from taskclf_dagster.domain.models.bundle_files import METADATA, TRAINING_ROWS
from taskclf_dagster.errors import BundleError
from taskclf_dagster_tests.models import MID, NEW, OLD, rows_of, write_tiny_bundle
from taskclf_dagster_tests.scenario import DAY, MINUTE, MONDAY, at, flip_bytes

TUESDAY = MONDAY + DAY


def keys(windows: Iterable[tuple[str, datetime]]) -> pd.DataFrame:
    """user_id and bucket_start_ts of these windows, in this order."""
    users, starts = zip(*windows, strict=True)
    return pd.DataFrame({"user_id": pd.Categorical(users), "bucket_start_ts": pd.DatetimeIndex(starts).as_unit("us")})


def minutes(clocks: str, *, user: str = "alice", day: int = 0) -> pd.DataFrame:
    """One user's windows at these times of MONDAY or a later day: `minutes("09:00 09:01")`."""
    return keys((user, at(clock, day=day)) for clock in clocks.split())


def stretch(start: datetime, n: int, *, user: str = "alice") -> pd.DataFrame:
    """Consecutive windows of one user."""
    return keys((user, start + i * MINUTE) for i in range(n))


def no_windows() -> pd.DataFrame:
    return minutes("09:00").head(0)


def trained_on(
    tmp_path: Path,
    rows: pd.DataFrame | None,
    *,
    model_id: str = MID,
    first: date = MONDAY,
    last: date = MONDAY,
    version: SchemaVersion = "v1",
) -> ModelBundle:
    """A bundle trained on these rows between these dates; None: without training_rows.npy."""
    dates = {"train_date_from": first.isoformat(), "train_date_to": last.isoformat()}
    folder = write_tiny_bundle(tmp_path / model_id, version=version, metadata=dates)
    (folder / TRAINING_ROWS).unlink()
    if rows is not None:
        np.save(folder / TRAINING_ROWS, np.sort(hash_row_keys(rows)))
    return parse_bundle(folder)


def find_leaked(rows: pd.DataFrame, bundle: ModelBundle) -> tuple[np.ndarray, LeakageReport]:
    """Which rows a model was trained on or near, and how many."""
    distance = measure_training_distance(rows, bundle)
    return distance.leaked, distance.report()


def leaked_minutes(rows: pd.DataFrame, bundle: ModelBundle) -> tuple[str, LeakageReport]:
    """The clock times of the leaked rows."""
    leaked, report = find_leaked(rows, bundle)
    assert (leaked.dtype, leaked.shape) == (np.bool_, (len(rows),))
    assert report.trained_on + report.neighbors == leaked.sum()
    return " ".join(rows.loc[leaked, "bucket_start_ts"].dt.strftime("%H:%M")), report


# --- By the hashes of training rows -----------------------------------------------------------------------------------------------


def test_a_training_window_and_its_neighbours_up_to_60_minutes_are_leaked_and_the_61st_is_not(tmp_path: Path) -> None:
    bundle = trained_on(tmp_path, minutes("09:00"))
    found, report = leaked_minutes(minutes("07:59 08:00 08:59 09:00 09:01 10:00 10:01"), bundle)
    assert found == "08:00 08:59 09:00 09:01 10:00"
    assert (report.model_id, report.basis) == (MID, "row_hashes")
    assert (report.windows, report.trained_on, report.neighbors) == (7, 1, 4)


def test_the_training_window_need_not_be_among_the_rows(tmp_path: Path) -> None:
    bundle = trained_on(tmp_path, minutes("09:00"))
    found, report = leaked_minutes(minutes("07:59 08:00 10:00 10:01"), bundle)
    assert found == "08:00 10:00"
    assert (report.trained_on, report.neighbors) == (0, 2)


def test_neighbours_of_neighbours_are_not_leaked(tmp_path: Path) -> None:
    # every minute from 07:30 to 11:29; only the one at 09:00 was learned from
    found, report = leaked_minutes(stretch(at("07:30"), 240), trained_on(tmp_path, minutes("09:00")))
    assert (found.split()[0], found.split()[-1]) == ("08:00", "10:00")
    assert (report.trained_on, report.neighbors) == (1, 120)


def test_a_neighbourhood_reaches_over_midnight(tmp_path: Path) -> None:
    rows = pd.concat([minutes("23:29 23:30"), minutes("00:30 01:30 01:31", day=1)], ignore_index=True)
    found, _ = leaked_minutes(rows, trained_on(tmp_path, minutes("00:30", day=1)))
    assert found == "23:30 00:30 01:30"


def test_a_neighbourhood_is_60_minutes_on_the_night_the_clocks_change(tmp_path: Path) -> None:
    night = datetime(2026, 3, 29, tzinfo=UTC)  # in Berlin 02:00 becomes 03:00 at 01:00 UTC
    rows = keys(("alice", night + timedelta(minutes=minute)) for minute in (-31, -30, 30, 90, 91))
    found, _ = leaked_minutes(rows, trained_on(tmp_path, rows.iloc[[2]]))
    assert found == "23:30 00:30 01:30"


def test_other_users_are_not_affected(tmp_path: Path) -> None:
    rows = keys([("alice", at("09:00")), ("alice", at("09:30")), ("bob", at("09:00")), ("carol", at("08:01"))])
    leaked, report = find_leaked(rows, trained_on(tmp_path, minutes("09:00", user="bob")))
    assert leaked.tolist() == [False, False, True, False]
    assert (report.trained_on, report.neighbors) == (1, 0)


def test_the_last_window_of_one_user_is_no_neighbour_of_the_first_of_the_next(tmp_path: Path) -> None:
    rows = keys([("alice", at("09:00")), ("alice", at("12:00")), ("bob", at("09:00")), ("bob", at("12:00"))])
    for position in range(4):
        bundle = trained_on(tmp_path / str(position), rows.iloc[[position]])
        assert np.flatnonzero(find_leaked(rows, bundle)[0]).tolist() == [position]


def test_the_order_of_rows_and_of_user_names_does_not_matter(tmp_path: Path) -> None:
    rows = pd.concat([stretch(at("09:00"), 50), stretch(at("09:20"), 50, user="bob")], ignore_index=True)
    rows["user_id"] = pd.Categorical(rows["user_id"], categories=["nobody", "bob", "alice"])
    order = np.random.default_rng(3).permutation(len(rows))
    bundle = trained_on(tmp_path, keys([("alice", at("08:20")), ("bob", at("10:00"))]))
    leaked, report = find_leaked(rows.iloc[order], bundle)
    # alice up to 09:20; bob from 09:20, all within an hour of 10:00
    expected = np.r_[np.arange(50) <= 20, np.ones(50, dtype=bool)]
    assert leaked.tolist() == expected[order].tolist()
    assert (report.trained_on, report.neighbors) == (1, 70)


def test_windows_far_from_all_training_are_not_leaked(tmp_path: Path) -> None:
    found, report = leaked_minutes(minutes("09:00 09:30", day=1), trained_on(tmp_path, stretch(at("09:00"), 30)))
    assert found == ""
    assert (report.windows, report.trained_on, report.neighbors) == (2, 0, 0)


def test_a_real_bundle_was_trained_on_its_training_rows_and_learned_nothing_of_its_test_rows(tmp_path: Path) -> None:
    bundle = parse_bundle(write_tiny_bundle(tmp_path / NEW))
    train, test = rows_of("train"), rows_of("test")
    leaked, report = find_leaked(train, bundle)
    assert leaked.all()
    assert (report.basis, report.trained_on, report.neighbors) == ("row_hashes", len(train), 0)
    assert report.trained_until.date() == train["bucket_start_ts"].max().date() + DAY
    report = find_leaked(test, bundle)[1]
    assert (report.windows, report.trained_on, report.neighbors) == (len(test), 0, 0)


def test_the_one_implicit_user_of_schema_v2_is_found(tmp_path: Path) -> None:
    bundle = parse_bundle(write_tiny_bundle(tmp_path / NEW, version="v2"))
    train = rows_of("train", "v2")
    assert train["user_id"].unique().tolist() == [DEFAULT_USER]
    assert find_leaked(train, bundle)[1].trained_on == len(train)


def test_a_model_of_schema_v2_knows_the_one_user_of_other_windows_as_its_implicit_user(tmp_path: Path) -> None:
    known = trained_on(tmp_path / "v2", minutes("09:00", user=DEFAULT_USER), version="v2")
    found, report = leaked_minutes(minutes("09:00 10:00 10:01"), known)
    assert found == "09:00 10:00"
    assert (report.trained_on, report.neighbors) == (1, 1)
    two = keys([("alice", at("09:00")), ("bob", at("09:00"))])
    assert not find_leaked(two, known)[0].any()
    other = trained_on(tmp_path / "v1", minutes("09:00", user=DEFAULT_USER), version="v1")
    assert leaked_minutes(minutes("09:00 10:00 10:01"), other)[0] == ""


def test_random_windows_are_found_as_by_comparing_each_with_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    for case in range(6):
        drawn = {(f"user-{rng.integers(4)}", int(rng.integers(1500))) for _ in range(300)}
        learned = {(f"user-{rng.integers(5)}", int(rng.integers(-100, 1600))) for _ in range(4 + case)} | set(list(drawn)[:case])
        rows = keys((user, at("22:00") + minute * MINUTE) for user, minute in drawn)
        bundle = trained_on(tmp_path / str(case), keys((user, at("22:00") + minute * MINUTE) for user, minute in learned))
        distance = [min((abs(minute - other) for name, other in learned if name == user), default=10**6) for user, minute in drawn]
        leaked, report = find_leaked(rows, bundle)
        assert leaked.tolist() == [d <= 60 for d in distance]
        assert 0 < leaked.sum() < len(rows)
        assert report.trained_on == sum(d == 0 for d in distance)
        assert report.neighbors == sum(0 < d <= 60 for d in distance)


@pytest.mark.parametrize("gap", [1, 59, 60, 61, 119, 120, 121, 122, 200])
def test_every_minute_of_overlapping_neighborhoods_is_looked_at_once(gap: int) -> None:
    centres = [1000, 1000 + gap, 1000 + 2 * gap]
    expected = sorted({centre + minute for centre in centres for minute in range(-60, 61)})
    assert _neighborhoods(np.array(centres)).tolist() == expected


def test_150_000_windows_of_300_users_take_about_a_second(tmp_path: Path) -> None:
    day = np.concatenate([np.arange(540, 665), np.arange(840, 965)])
    minute = np.concatenate([day, day + 1440])
    starts = pd.DatetimeIndex((at("00:00").timestamp() * 1e6 + minute * 60e6).astype("datetime64[us]"), tz="UTC")
    users = pd.Categorical.from_codes(np.repeat(np.arange(300), 500), [f"user-{i:03d}" for i in range(300)])
    rows = pd.DataFrame({"user_id": users, "bucket_start_ts": starts.append([starts] * 299)})
    bundle = trained_on(tmp_path, rows.iloc[::2])
    begin = time.process_time()
    leaked, report = find_leaked(rows, bundle)
    assert time.process_time() - begin < 2
    assert leaked.all()
    assert (report.windows, report.trained_on, report.neighbors) == (150_000, 75_000, 75_000)


# --- By the training dates --------------------------------------------------------------------------------------------------------

DAY_BORDERS = ["22:59", "23:00", "23:59"], ["00:00", "12:00", "23:59"], ["00:00", "00:59", "01:00"]


def around_monday() -> pd.DataFrame:
    """Windows before, on and after MONDAY, of two users in turn."""
    clocks = [(clock, day) for day, clocks in zip((-1, 0, 1), DAY_BORDERS, strict=True) for clock in clocks]
    return keys((("alice", "bob")[i % 2], at(clock, day=day)) for i, (clock, day) in enumerate(clocks))


def test_without_hashes_every_window_from_the_first_to_the_last_training_day_counts(tmp_path: Path) -> None:
    rows = around_monday()
    leaked, report = find_leaked(rows, trained_on(tmp_path, None))
    # before: 22:59 is 61 minutes from midnight, 23:00 is 60; after: 00:59 is 60 minutes from 23:59, 01:00 is 61
    assert leaked.tolist() == [False, True, True, True, True, True, True, True, False]
    assert (report.basis, report.windows, report.trained_on, report.neighbors) == ("training_dates", 9, 3, 4)


def test_with_hashes_the_training_dates_do_not_count(tmp_path: Path) -> None:
    leaked, report = find_leaked(around_monday(), trained_on(tmp_path, minutes("12:00", user="bob")))
    assert np.flatnonzero(leaked).tolist() == []
    assert report.basis == "row_hashes"
    leaked, report = find_leaked(around_monday(), trained_on(tmp_path / "alice", minutes("12:00")))
    assert np.flatnonzero(leaked).tolist() == [4]


def test_training_ends_at_midnight_after_the_last_training_day(tmp_path: Path) -> None:
    for name, rows in (("hashes", minutes("09:00")), ("dates", None)):
        bundle = trained_on(tmp_path / name, rows, last=date(2026, 1, 31))
        assert find_leaked(minutes("09:00"), bundle)[1].trained_until == datetime(2026, 2, 1, tzinfo=UTC)


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def _save_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, keys=GOOD)


GOOD = np.sort(hash_row_keys(stretch(at("09:00"), 40)))

DAMAGED: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "no bytes": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hashes"),
    "the header only": lambda path: path.write_bytes(path.read_bytes()[:128]),
    "one byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a header that is no Python": lambda path: path.write_bytes(path.read_bytes().replace(b"(40,)", b"((((,")),
    "an impossible number of rows": lambda path: path.write_bytes(path.read_bytes().replace(b"(40,), }          ", b"(4000000000000,), }")),
    "an archive": _save_archive,
    "signed": lambda path: np.save(path, np.sort(GOOD.view(np.int64))),
    "32 bits": lambda path: np.save(path, np.sort(GOOD.astype(np.uint32))),
    "floating point": lambda path: np.save(path, GOOD.astype(np.float64)),
    "in reverse": lambda path: np.save(path, GOOD[::-1]),
    "two out of order": lambda path: np.save(path, np.r_[GOOD[:20], GOOD[21], GOOD[20], GOOD[22:]]),
    "two dimensions": lambda path: np.save(path, GOOD.reshape(1, -1)),
    "one number": lambda path: np.save(path, GOOD[0]),
    "no rows at all": lambda path: np.save(path, GOOD[:0]),
    "objects": lambda path: np.save(path, np.array([_Trap(path.parent / "unpickled")], dtype=object), allow_pickle=True),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_hashes_that_cannot_be_used_are_replaced_by_the_training_dates(tmp_path: Path, damage: str) -> None:
    bundle = trained_on(tmp_path, stretch(at("09:00"), 40))
    rows = minutes("09:00 09:39 10:40 23:59")
    whole = find_leaked(rows, bundle)[1]
    assert (whole.basis, whole.trained_on, whole.neighbors) == ("row_hashes", 2, 0)
    DAMAGED[damage](bundle.path / TRAINING_ROWS)
    leaked, report = find_leaked(rows, bundle)
    assert leaked.all()
    assert (report.basis, report.trained_on, report.neighbors) == ("training_dates", 4, 0)
    assert not (bundle.path / "unpickled").exists()


def test_any_damaged_byte_of_the_hashes_either_shows_or_costs_no_more_than_one_window(tmp_path: Path) -> None:
    bundle = trained_on(tmp_path, stretch(at("09:00"), 40))
    rows = stretch(at("09:00"), 40)
    shown = 0
    for _ in flip_bytes(bundle.path / TRAINING_ROWS):
        report = find_leaked(rows, bundle)[1]
        shown += report.basis == "training_dates"
        assert report.trained_on >= 39
        assert report.trained_on + report.neighbors == 40
    assert shown > 20


def test_an_invalid_bundle_is_refused_with_its_reason(tmp_path: Path) -> None:
    folder = trained_on(tmp_path, minutes("09:00")).path
    (folder / METADATA).unlink()
    with pytest.raises(BundleError, match=r"metadata\.json"):
        find_leaked(minutes("09:00"), parse_bundle(folder))


# --- What leaves the comparison ---------------------------------------------------------------------------------------------------


def compared(rows: pd.DataFrame, *bundles: ModelBundle, max_share: float = 0.3) -> tuple[list[int], Exclusion]:
    """The positions that remain."""
    distances = [measure_training_distance(rows, bundle) for bundle in bundles]
    keep, exclusion = exclude_leaked(rows["bucket_start_ts"], distances, max_share=max_share)
    assert (keep.dtype, keep.shape) == (np.bool_, (len(rows),))
    assert (exclusion.windows, exclusion.remaining) == (len(rows), int(keep.sum()))
    assert exclusion.excluded == exclusion.windows - exclusion.remaining
    return np.flatnonzero(keep).tolist(), exclusion


def test_what_either_model_learned_from_leaves_the_comparison_for_both(tmp_path: Path) -> None:
    rows = minutes("00:00 03:00 06:00 09:00 12:00 15:00 18:00 21:00")
    challenger = trained_on(tmp_path, minutes("03:00"), model_id=NEW)
    champion = trained_on(tmp_path, minutes("15:30"), model_id=OLD)
    found, exclusion = compared(rows, challenger, champion)
    assert found == [0, 2, 3, 4, 6, 7]
    assert [(c.model_id, c.trained_on, c.neighbors) for c in exclusion.leakage] == [(NEW, 1, 0), (OLD, 0, 1)]
    assert (exclusion.excluded, exclusion.only_newer, exclusion.newer_than) == (2, False, None)


def test_a_window_that_both_learned_from_is_counted_once(tmp_path: Path) -> None:
    both = (trained_on(tmp_path, minutes("03:00"), model_id=name) for name in (NEW, OLD))
    found, exclusion = compared(minutes("00:00 03:00 06:00 09:00"), *both)
    assert (found, exclusion.excluded) == ([0, 2, 3], 1)


def test_nothing_leaves_where_no_model_learned_from_any(tmp_path: Path) -> None:
    models = [trained_on(tmp_path, minutes("09:00"), model_id=name) for name in (NEW, OLD)]
    found, exclusion = compared(minutes("09:00 09:01", day=1), *models)
    assert found == [0, 1]
    assert (exclusion.excluded, exclusion.only_newer, exclusion.newer_than) == (0, False, None)


def test_a_loss_of_exactly_the_allowed_share_is_borne_and_one_window_more_is_not(tmp_path: Path) -> None:
    # ten windows two hours apart, on MONDAY and TUESDAY; the model was trained on some of MONDAY
    rows = pd.concat([minutes("10:00 12:00 14:00 16:00 18:00"), minutes("10:00 12:00 14:00 16:00 18:00", day=1)], ignore_index=True)
    three, four = (trained_on(tmp_path / str(n), rows.head(n)) for n in (3, 4))
    found, exclusion = compared(rows, three)
    assert (found, exclusion.excluded, exclusion.only_newer, exclusion.newer_than) == ([3, 4, 5, 6, 7, 8, 9], 3, False, None)
    found, exclusion = compared(rows, four)
    assert (found, exclusion.excluded, exclusion.only_newer) == ([5, 6, 7, 8, 9], 5, True)
    assert exclusion.newer_than == at("00:00", day=1)
    found, exclusion = compared(rows, four, max_share=0.4)
    assert (found, exclusion.only_newer) == ([4, 5, 6, 7, 8, 9], False)


@pytest.mark.parametrize("tens", [1, 7, 11, 19, 47, 103])
def test_three_tenths_are_not_more_than_30_percent_whatever_the_number_of_windows(tmp_path: Path, tens: int) -> None:
    rows = keys(("alice", at("00:00") + timedelta(hours=2 * i)) for i in range(10 * tens))
    assert not compared(rows, trained_on(tmp_path / "a", rows.head(3 * tens)))[1].only_newer
    assert compared(rows, trained_on(tmp_path / "b", rows.head(3 * tens + 1)))[1].only_newer


def test_only_windows_newer_than_the_training_of_both_remain_when_too_many_are_lost(tmp_path: Path) -> None:
    rows = pd.concat([stretch(at("09:00"), 10), minutes("23:59", day=1), minutes("00:00 09:00", day=2)], ignore_index=True)
    learned, early, late = stretch(at("09:00"), 10), MONDAY, TUESDAY
    for name, (ours, theirs) in {"challenger later": (late, early), "champion later": (early, late)}.items():
        challenger = trained_on(tmp_path / name, learned, model_id=NEW, last=ours)
        champion = trained_on(tmp_path / name, learned, model_id=OLD, last=theirs)
        found, exclusion = compared(rows, challenger, champion)
        assert (found, exclusion.newer_than) == ([11, 12], at("00:00", day=2))
        assert [c.model_id for c in exclusion.leakage] == [NEW, OLD]


def test_a_newer_window_next_to_a_training_window_stays_out(tmp_path: Path) -> None:
    rows = pd.concat([stretch(at("23:40"), 20), minutes("00:50 00:51 01:00", day=1)], ignore_index=True)
    found, exclusion = compared(rows, trained_on(tmp_path, stretch(at("23:30"), 21)))
    # training ends with the window of 23:50, so 00:50 is 60 minutes from it
    assert exclusion.newer_than == at("00:00", day=1)
    assert found == [21, 22]


def test_nothing_remains_when_no_window_is_newer(tmp_path: Path) -> None:
    found, exclusion = compared(stretch(at("09:00"), 10), trained_on(tmp_path, None))
    assert found == []
    assert (exclusion.excluded, exclusion.remaining, exclusion.only_newer) == (10, 0, True)


def test_no_windows_leave_nothing_to_exclude(tmp_path: Path) -> None:
    models = [trained_on(tmp_path / "a", minutes("09:00")), trained_on(tmp_path / "b", None)]
    found, exclusion = compared(no_windows(), *models)
    assert found == []
    assert (exclusion.excluded, exclusion.only_newer, exclusion.newer_than) == (0, False, None)
    assert [(c.basis, c.windows, c.trained_on, c.neighbors) for c in exclusion.leakage] == [
        ("row_hashes", 0, 0, 0),
        ("training_dates", 0, 0, 0),
    ]


def test_the_wording_of_summaries(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    rows = pd.concat([minutes("09:00 09:30 12:00"), minutes("12:00", day=1)], ignore_index=True)
    hashes = trained_on(tmp_path, minutes("09:00"), model_id=NEW)
    dates = trained_on(tmp_path, None, model_id=OLD)
    exclusion = compared(rows, hashes, dates, max_share=0.8)[1]
    none = compared(minutes("09:00 09:01", day=1), hashes)[1]
    newer = compared(rows, hashes, dates)[1]
    assert [report.summary for report in exclusion.leakage] == snapshot(name="leakage")
    assert [found.summary for found in (none, exclusion, newer)] == snapshot(name="exclusion")


def test_records_are_read_back_from_json_as_they_were(tmp_path: Path) -> None:
    exclusion = compared(stretch(at("09:00"), 10), trained_on(tmp_path, None), trained_on(tmp_path, minutes("09:00"), model_id=OLD))[1]
    assert Exclusion.model_validate_json(exclusion.model_dump_json()) == exclusion
