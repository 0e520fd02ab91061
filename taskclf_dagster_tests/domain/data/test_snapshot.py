"""Dataset snapshots: which windows enter, when there is nothing to learn from, and a folder that is named after its contents."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.labeled_windows import label_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, find_blockers, open_snapshot, save_snapshot
from taskclf_dagster.domain.data.snapshot_rows import compute_dataset_hash, holds_every_label_of, label_codes, read_snapshot_rows
from taskclf_dagster.domain.data.split import SPLITS
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    LEARNABLE_DAY_WINDOWS,
    MINUTE,
    MONDAY,
    at,
    flip_bytes,
    learnable_home,
    make_home,
    retrain_config,
    span,
    weak,
    windows_frame,
    write_day,
    write_labels,
    write_windows,
)

TUESDAY = at("00:00", day=1)
SESSIONS = 20
Built = tuple[DatasetSnapshot, pd.DataFrame]


def built(home: Home, *, as_of: datetime | None = None, holdout_fraction: float = 0.0, **settings: object) -> Built:
    """The snapshot of a home, by the same steps as in a run."""
    config = retrain_config(**settings)
    labeled = label_windows(home, as_of=as_of or TUESDAY, settings=config.dataset)
    record = store_labeled_windows(home, as_of=as_of or TUESDAY, settings=config.dataset).record
    return build_snapshot(home, record, labeled.frame, config=config, holdout_fraction=holdout_fraction)


def session_start(number: int) -> datetime:
    """The first session begins on Monday at 09:00, each further one half an hour later; the last at 18:30."""
    return at("09:00") + number * timedelta(minutes=30)


def session_windows(**overrides: object) -> pd.DataFrame:
    """Twenty sessions of three windows, so far apart that no embargo reaches from one to the next."""
    starts = pd.DatetimeIndex([session_start(k) + i * MINUTE for k in range(SESSIONS) for i in range(3)]).as_unit("us")
    names = [f"s{k}" for k in range(SESSIONS) for _ in range(3)]
    times = {"bucket_start_ts": starts, "bucket_end_ts": starts + MINUTE, "session_id": names}
    return windows_frame(n=3 * SESSIONS, **{**times, **overrides})


def session_spans(*labels: str, n: int = SESSIONS, last: str | None = None) -> list[dict[str, object]]:
    """One span a session, the labels in turn; `last` is the label of the last one."""
    turn = labels or ("Build", "Debug")
    names = [*(turn[k % len(turn)] for k in range(n - 1)), last or turn[(n - 1) % len(turn)]]
    return [span(session_start(k), session_start(k) + 3 * MINUTE, name) for k, name in enumerate(names)]


def spaced_home(tmp_path: Path, *labels: str) -> Home:
    home = make_home(tmp_path)
    write_windows(home, session_windows())
    write_labels(home, session_spans(*labels))
    return home


# --- What enters ------------------------------------------------------------------------------------------------------------------


def test_the_rows_of_a_snapshot_are_keys_inputs_label_tier_and_split(tmp_path: Path) -> None:
    record, rows = built(spaced_home(tmp_path))
    inputs = [name for name in SCHEMAS["v1"].model_inputs if name != "user_id"]
    assert rows.columns.tolist() == ["user_id", "session_id", "bucket_start_ts", *inputs, "label", "gold", "split"]
    # 60 rows: 42 and 51; sessions end every three rows, and both targets are multiples of three.
    assert record.rows == {"train": 42, "validation": 9, "test": 9, "embargo": 0, "weak_after_cut": 0, "older": 0}
    assert rows["split"].value_counts(sort=False).to_dict() == record.rows
    assert tuple(rows["split"].cat.categories) == SPLITS
    assert [cut.boundary for cut in record.cuts] == ["session", "session"]


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_a_snapshot_can_be_made_of_every_schema_version(tmp_path: Path, version: SchemaVersion) -> None:
    home = learnable_home(tmp_path, users=1, days=2, version=version)
    record, rows = built(home, as_of=AS_OF)
    save_snapshot(home, record, rows)
    assert (record.schema_version, record.schema_hash) == (version, SCHEMAS[version].schema_hash)
    assert sum(record.rows.values()) == len(rows) == 2 * LEARNABLE_DAY_WINDOWS
    assert len(read_snapshot_rows(home.root / record.path)) == len(rows)


def test_the_record_describes_the_dataset(tmp_path: Path) -> None:
    home = spaced_home(tmp_path)
    write_day(home, MONDAY + DAY, windows_frame(user="bob", start=at("09:00", day=1), n=3))  # after the range
    record, rows = built(home)
    assert record.time_range == (session_start(0), session_start(19) + 2 * MINUTE)
    assert record.users == {"alice": 60}
    assert (record.holdout_users, record.skip_reason, record.demo) == ([], None, False)
    assert record.dataset_hash == record.dataset_digest[:16] == compute_dataset_hash(rows)
    assert record.path == f"artifacts/snapshots/{record.dataset_hash}"
    assert (record.label_schema_version, record.as_of) == ("v1", TUESDAY)
    assert len(record.labeled_windows_digest) == 64


def test_the_class_distribution_counts_gold_and_weak_rows_by_split_and_label(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(home, session_windows(), windows_frame(user="bob", n=5))
    write_labels(home, [*session_spans(), weak(at("09:00"), at("09:05"), "Write", user="bob")])
    record, _ = built(home)
    # Sessions 0 to 13 train (7 of each label), 14 to 16 validate (Build in 14 and 16), 17 to 19 test (Debug in 17 and 19).
    assert {name: n for name, n in record.class_distribution["train"].items() if n} == {"Build": 21, "Debug": 21, "Write": 5}
    assert {name: n for name, n in record.class_distribution["validation"].items() if n} == {"Build": 6, "Debug": 3}
    assert {name: n for name, n in record.class_distribution["test"].items() if n} == {"Build": 3, "Debug": 6}
    assert set(record.class_distribution) == {"older", "train", "validation", "test"}
    assert tuple(record.class_distribution["train"]) == LABELS


@pytest.mark.parametrize(("provenance", "expected"), [("manual", False), ("weak:app_id:x", False), ("synthetic", True)])
def test_synthetic_spans_are_told(tmp_path: Path, provenance: str, *, expected: bool) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=5))
    write_labels(home, [span(at("09:00"), at("09:05"), "Build", provenance=provenance)])
    assert built(home)[0].has_synthetic_spans is expected


# --- Exclusions -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "excluded"), [(179.0, 3), (180.0, 0), (0.0, 3)])
def test_windows_of_a_session_shorter_than_180_seconds_are_left_out(tmp_path: Path, seconds: float, excluded: int) -> None:
    home = spaced_home(tmp_path)
    config = retrain_config()
    record, frame, *_ = label_windows(home, as_of=TUESDAY, settings=config.dataset)
    frame.loc[frame["session_id"] == "s4", "session_seconds"] = seconds
    built, rows = build_snapshot(home, record, frame, config=config)
    assert built.exclusions["short_session"] == excluded
    assert len(rows) == 60 - excluded
    assert ("s4" in set(rows["session_id"])) is (excluded == 0)


def test_sessions_are_measured_on_all_windows_also_unlabelled_ones(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_windows(
        home,
        windows_frame(start=at("09:00"), n=3, session="three minutes, one labelled"),
        windows_frame(start=at("10:00"), n=2, session="two minutes, both labelled"),
    )
    write_labels(home, [span(at("09:01"), at("09:02"), "Build"), span(at("10:00"), at("10:02"), "Build")])
    record, rows = built(home)
    assert record.exclusions["short_session"] == 2
    assert rows["session_id"].tolist() == ["three minutes, one labelled"]


def test_windows_without_any_measurement_are_left_out(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    nothing = dict.fromkeys(SCHEMAS["v1"].numeric_inputs, np.nan)
    one_left = {**nothing, "event_density": 0.0}
    write_windows(
        home,
        windows_frame(start=at("09:00"), n=4),
        windows_frame(start=at("09:04"), n=2, **nothing),
        windows_frame(start=at("09:06"), n=1, **one_left),
    )
    write_labels(home, [span(at("09:00"), at("09:07"), "Build")])
    record, rows = built(home)
    assert record.exclusions["no_measurement"] == 2
    assert rows["bucket_start_ts"].tolist() == [at("09:00") + i * MINUTE for i in (0, 1, 2, 3, 6)]


def test_an_excluded_window_has_one_reason(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=2, **dict.fromkeys(SCHEMAS["v1"].numeric_inputs, np.nan)))
    write_labels(home, [span(at("09:00"), at("09:02"), "Build")])
    record, rows = built(home)
    assert (record.exclusions["short_session"], record.exclusions["no_measurement"], len(rows)) == (2, 0, 0)
    assert record.time_range is None


def test_duplicates_embargo_weak_and_unlabelled_windows_are_counted(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, pd.concat([windows_frame(n=210), windows_frame(n=4)]))
    write_labels(
        home, [span(at("09:00"), at("12:20"), "Build"), weak(at("12:20"), at("12:25"), "Write"), weak(at("12:28:30"), at("12:29"), "Write")]
    )
    record, _ = built(home)
    # 200 gold windows in a row: cuts at 140 and 170, so 15 minutes under embargo before each; all five weak windows come later.
    assert record.exclusions == {
        "short_session": 0,
        "no_measurement": 0,
        "duplicate_window": 4,
        "embargo": 30,
        "weak_after_cut": 5,
        "unlabeled_not_covered": 4,
        "unlabeled_partly_covered": 1,
        "unlabeled_several_spans": 0,
    }


def test_a_clean_home_has_nothing_excluded(tmp_path: Path) -> None:
    assert set(built(spaced_home(tmp_path))[0].exclusions.values()) == {0}


# --- Blockers ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("min_labels", "blocked"), [(60, False), (61, True)])
def test_fewer_gold_windows_than_min_labels_block(tmp_path: Path, min_labels: int, *, blocked: bool) -> None:
    record, _ = built(spaced_home(tmp_path), min_labels=min_labels)
    assert [blocker.kind for blocker in record.blockers] == ["too_few_labels"] * blocked


def test_weak_windows_do_not_count_towards_min_labels(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=400))
    write_labels(home, [span(at("09:00"), at("09:10"), "Build"), weak(at("09:10"), at("15:40"), "Write")])
    record, _ = built(home, min_labels=11)
    assert (record.gold_windows, record.blockers[0].kind) == (10, "too_few_labels")


@pytest.mark.parametrize("empty", ["train", "validation", "test"])
def test_an_empty_split_blocks(empty: str) -> None:
    [blocker] = find_blockers(200, {"train": 5, "validation": 5, "test": 5, empty: 0}, 200)
    assert blocker.kind == "empty_split"
    assert empty in blocker.message


def test_blockers_say_what_to_label(snapshot: SnapshotAssertion) -> None:
    both = find_blockers(60, {"train": 0, "validation": 0, "test": 5}, 61)
    held_out = find_blockers(61, {"train": 0, "validation": 5, "test": 5}, 61, held_out=True)
    assert [blocker.message for blocker in (*both, *held_out)] == snapshot


@pytest.mark.parametrize(("lost", "named"), [("alice ", True), ("alice", False)])
def test_a_block_and_the_feasibility_name_the_label_spans_that_label_nothing(tmp_path: Path, lost: str, *, named: bool) -> None:
    home = spaced_home(tmp_path)
    write_labels(home, [*session_spans(n=10), *({**each, "user_id": lost} for each in session_spans()[10:])])
    record, _ = built(home)
    fates = label_windows(home, as_of=TUESDAY, settings=record.config.dataset).record.label_fates
    assert fates is not None
    assert fates.lost == (10 if named else 0)
    texts = (record.blockers[0].message, record.feasibility.summary)
    assert [("'alice ' (10 spans)" in text, "10 of users without windows" in text) for text in texts] == [(named, named)] * 2


def test_enough_labels_in_every_split_do_not_block() -> None:
    assert find_blockers(200, {"train": 140, "validation": 30, "test": 30}, 200) == []


def test_a_home_of_one_hour_has_no_validation_part_and_says_so(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_day(home, MONDAY, windows_frame(n=100))
    write_labels(home, [span(at("09:00"), at("10:40"), "Build")])
    record, _ = built(home, min_labels=100)
    # Cuts at minutes 70 and 85: all 15 minutes of validation are within 15 minutes before the second cut.
    assert record.blockers == find_blockers(100, {"train": 55, "validation": 0, "test": 15}, 100)
    assert [blocker.kind for blocker in record.blockers] == ["empty_split"]


def test_the_pre_flight_judges_the_test_part(tmp_path: Path) -> None:
    # Sessions 17 to 19 are the test part: Build, BreakIdle, Build. Of twenty sessions ten are BreakIdle.
    home = spaced_home(tmp_path, "BreakIdle", "Build")
    assert built(home, min_class_windows=3)[0].feasibility.promotable
    found = built(home, min_class_windows=4)[0].feasibility
    assert (found.promotable, found.judged_classes) == (False, ["Build"])
    (reason,) = found.reasons
    assert all(part in reason for part in ("BreakIdle", "3", "30", "4"))


# --- The name of the contents -----------------------------------------------------------------------------------------------------


def test_the_same_rows_have_the_same_name_at_another_as_of_time_and_config(tmp_path: Path) -> None:
    home = spaced_home(tmp_path)
    first, rows = built(home)
    second, again = built(home, as_of=at("00:00", day=5), min_labels=7, train_params={"num_boost_round": 3})
    assert first.dataset_digest == second.dataset_digest
    pd.testing.assert_frame_equal(rows, again)


@pytest.mark.parametrize(
    "change",
    [
        lambda home: write_windows(home, session_windows(keys_per_min=[0.5] * 59 + [0.50001])),
        lambda home: write_labels(home, session_spans(last="Write")),
        lambda home: write_labels(home, session_spans(n=19)),
    ],
    ids=["one value", "one label", "one session unlabelled"],
)
def test_another_value_label_or_row_has_another_name(tmp_path: Path, change: Callable[[Home], object]) -> None:
    home = spaced_home(tmp_path)
    before, _ = built(home)
    change(home)
    assert built(home)[0].dataset_hash != before.dataset_hash


def test_another_split_has_another_name(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=2, days=2)
    plain, rows = built(home, as_of=AS_OF)
    held_out, other = built(home, as_of=AS_OF, holdout_fraction=0.5)
    assert held_out.holdout_users == ["user-0"]
    assert plain.dataset_hash != held_out.dataset_hash
    assert compute_dataset_hash(rows.drop(columns="split")) == compute_dataset_hash(other.drop(columns="split"))


def test_the_stored_rows_have_the_hash_of_their_folder(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=2, days=2)
    record, rows = built(home, as_of=AS_OF)
    save_snapshot(home, record, rows)
    stored = read_snapshot_rows(home.root / record.path)
    assert compute_dataset_hash(stored) == (home.root / record.path).name == record.dataset_hash
    pd.testing.assert_frame_equal(stored, rows, check_categorical=False)


def test_a_stored_snapshot_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    home = spaced_home(tmp_path)
    record, rows = built(home)
    record = save_snapshot(home, record, rows)
    document = json.loads((home.root / record.path / "snapshot.json").read_text(encoding="utf-8"))
    assert document.pop("record_hash") == json_hash(document)
    assert DatasetSnapshot.model_validate(document) == record
    assert document["config"]["train_params"]["num_boost_round"] == 100


def test_the_same_rows_are_not_written_again(tmp_path: Path) -> None:
    home = spaced_home(tmp_path)
    first, rows = built(home)
    save_snapshot(home, first, rows)
    folder = home.root / first.path
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in before} == {"part-000.parquet", "snapshot.json"}
    save_snapshot(home, *built(home, as_of=at("00:00", day=4)))
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in home.snapshots.iterdir()] == [first.dataset_hash]


# --- Reading --------------------------------------------------------------------------------------------------------------------


def _saved(tmp_path: Path) -> tuple[Home, DatasetSnapshot, pd.DataFrame]:
    home = spaced_home(tmp_path)
    record, rows = built(home)
    save_snapshot(home, record, rows)
    return home, record, rows


def test_rows_that_were_changed_after_they_were_written_are_not_read(tmp_path: Path) -> None:
    home = spaced_home(tmp_path)
    record = save_snapshot(home, *built(home))
    assert len(open_snapshot(home, record).load()) == sum(record.rows.values())
    path = home.root / record.path / "windows" / "part-000.parquet"
    pq.write_table(pq.read_table(path), path)  # the same rows in other bytes: only the hash tells
    with pytest.raises(SnapshotError):
        open_snapshot(home, record)


def test_one_split_and_some_columns_can_be_read_alone(tmp_path: Path) -> None:
    home, record, rows = _saved(tmp_path)
    test = read_snapshot_rows(home.root / record.path, columns=["label", "split"], splits=("test",))
    assert test.columns.tolist() == ["label", "split"]
    assert test["label"].tolist() == rows[rows["split"] == "test"]["label"].tolist()
    both = read_snapshot_rows(home.root / record.path, splits=("train", "validation"))
    assert len(both) == record.rows["train"] + record.rows["validation"]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _overwrite(path: Path) -> None:
    path.write_bytes(b"not parquet at all")


DAMAGES = pytest.mark.parametrize("damage", [_truncate, _overwrite, Path.unlink], ids=["truncated", "garbage", "gone"])


@DAMAGES
def test_a_damaged_snapshot_is_an_error_that_names_the_file_and_the_fix(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    home, record, _ = _saved(tmp_path)
    path = home.root / record.path / "windows" / "part-000.parquet"
    damage(path)
    with pytest.raises(SnapshotError) as caught:
        read_snapshot_rows(home.root / record.path)
    assert str(path) in str(caught.value)
    assert "dataset_snapshot" in str(caught.value)


def test_a_flipped_byte_is_no_error_or_one_of_ours(tmp_path: Path) -> None:
    home, record, rows = _saved(tmp_path)
    refused = 0
    for _ in flip_bytes(home.root / record.path / "windows" / "part-000.parquet"):
        try:
            read_snapshot_rows(home.root / record.path, splits=("train",))
        except SnapshotError:
            refused += 1
    assert refused > 20
    assert holds_every_label_of(home.root / record.path, record.dataset_hash, rows)


def test_a_flipped_byte_among_the_values_is_never_read_as_another_value(tmp_path: Path) -> None:
    home, record, _ = _saved(tmp_path)
    path = home.root / record.path / "windows" / "part-000.parquet"
    values_end = path.stat().st_size - 8 - int.from_bytes(path.read_bytes()[-8:-4], "little")
    other_values = []
    for position in flip_bytes(path):
        with suppress(SnapshotError):
            rows = read_snapshot_rows(home.root / record.path)
            if position < values_end and compute_dataset_hash(rows) != record.dataset_hash:
                other_values.append(position)
    assert other_values == []


@DAMAGES
def test_saving_again_mends_a_damaged_snapshot_as_the_error_promises(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    home, record, rows = _saved(tmp_path)
    damage(home.root / record.path / "windows" / "part-000.parquet")
    save_snapshot(home, record, rows)
    assert compute_dataset_hash(read_snapshot_rows(home.root / record.path)) == record.dataset_hash


def test_a_folder_without_its_record_is_written_again(tmp_path: Path) -> None:
    home, record, rows = _saved(tmp_path)
    (home.root / record.path / "snapshot.json").unlink()
    save_snapshot(home, record, rows)
    assert (home.root / record.path / "snapshot.json").exists()


def test_label_codes_are_class_indices_whatever_the_categories_are() -> None:
    rows = pd.DataFrame({"label": pd.Categorical(["Write", "BreakIdle", "Debug"])})
    assert label_codes(rows).tolist() == [7, 0, 3]


# --- Has the last decided snapshot seen all this? -----------------------------------------------------------------------------------


def test_a_snapshot_holds_its_own_labels(tmp_path: Path) -> None:
    home, record, rows = _saved(tmp_path)
    assert holds_every_label_of(home.root / record.path, record.dataset_hash, rows)


def test_windows_that_only_left_the_look_back_and_a_moved_split_are_nothing_new(tmp_path: Path) -> None:
    home, record, rows = _saved(tmp_path)
    # without the five sessions before Monday 11:30
    _, later = built(home, as_of=at("11:30", day=1), data_lookback_days=1, training_lookback_days=1)
    assert len(later) == len(rows) - 15
    assert later["split"].tolist() != rows["split"].tolist()[15:]
    assert holds_every_label_of(home.root / record.path, record.dataset_hash, later)


def test_a_window_with_another_label_is_something_new(tmp_path: Path) -> None:
    home, record, _ = _saved(tmp_path)
    write_labels(home, session_spans(last="Write"))
    assert not holds_every_label_of(home.root / record.path, record.dataset_hash, built(home)[1])


def test_a_window_more_is_something_new(tmp_path: Path) -> None:
    home, record, rows = _saved(tmp_path)
    write_windows(home, session_windows(), windows_frame(user="bob", n=4))
    write_labels(home, [*session_spans(), span(at("09:03"), at("09:04"), "Build", user="bob")])
    _, more = built(home)
    assert len(more) == len(rows) + 1
    assert not holds_every_label_of(home.root / record.path, record.dataset_hash, more)


def test_fewer_labels_are_nothing_new(tmp_path: Path) -> None:
    home, record, _ = _saved(tmp_path)
    write_labels(home, session_spans(n=15))
    assert holds_every_label_of(home.root / record.path, record.dataset_hash, built(home)[1])


def test_a_row_in_another_split_is_nothing_new(tmp_path: Path) -> None:
    home, record, _ = _saved(tmp_path)
    _, moved = built(home, holdout_fraction=0.5)
    assert set(moved["split"]) == {"test"}
    assert holds_every_label_of(home.root / record.path, record.dataset_hash, moved)


def test_changed_features_alone_are_nothing_new(tmp_path: Path) -> None:
    home, record, _ = _saved(tmp_path)
    write_windows(home, session_windows(keys_per_min=99.0))
    assert holds_every_label_of(home.root / record.path, record.dataset_hash, built(home)[1])


@DAMAGES
def test_a_snapshot_that_cannot_be_read_holds_nothing(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    home, record, rows = _saved(tmp_path)
    damage(home.root / record.path / "windows" / "part-000.parquet")
    assert not holds_every_label_of(home.root / record.path, record.dataset_hash, rows)


def test_a_snapshot_that_never_was_holds_nothing(tmp_path: Path) -> None:
    home, _, rows = _saved(tmp_path)
    assert not holds_every_label_of(home.snapshots / "0123456789abcdef", "0123456789abcdef", rows)
