"""What would change for a person: counts by hand, and two real models on the windows of a real home."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, LABELS, REJECTED_LABEL, SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.prediction_diff import (
    BATCH_ROWS,
    ChangedBlock,
    PredictionDiff,
    RelabelledPair,
    diff_predictions,
    load_recent_predictions,
    predict_recent_windows,
    save_recent_predictions,
    summarize_diff,
)
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_writer import write_bundle
from taskclf_dagster.domain.models.choice import present_choice
from taskclf_dagster.domain.models.learned_rows import Part
from taskclf_dagster.domain.models.training import TrainedModel, train_challenger
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.domain.storage.stored_files import StoredFile
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import GIVEN_METADATA, MID, NEW, contents, rows_of, write_tiny_bundle
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    LEARNABLE_DAY_WINDOWS,
    MINUTE,
    add_learnable_days,
    at,
    day_file,
    learnable_home,
    make_home,
    retrain_config,
    windows_frame,
    write_windows,
)

BREAK, BUILD, COMMUNICATE, DEBUG, MEET, READ, REVIEW, WRITE = range(8)
REJECT = 8
LETTERS = {"b": BUILD, "d": DEBUG, "w": WRITE, "m": MEET, "-": REJECT}

# --- Counting, by hand ------------------------------------------------------------------------------------------------------------


def summary(*stretches: tuple[str, str, str, str], names: list[str] | None = None, unscored: int = 0) -> PredictionDiff:
    """Stretches of consecutive windows: user, start, champion's and challenger's labels by LETTERS, one a minute."""
    users, starts, old, new = [], [], [], []
    for user, clock, champion, challenger in stretches:
        assert len(champion) == len(challenger)
        users += [user] * len(champion)
        starts += [at(clock) + i * MINUTE for i in range(len(champion))]
        old += [LETTERS[letter] for letter in champion]
        new += [LETTERS[letter] for letter in challenger]
    rows = pd.DataFrame({"user_id": pd.Categorical(users, categories=names), "bucket_start_ts": pd.DatetimeIndex(starts, tz=UTC)})
    return summarize_diff(
        rows, np.array(old, dtype=np.int64), np.array(new, dtype=np.int64), unscored=unscored, days=7, end=at("00:00", day=7)
    )


def blocks(preview: PredictionDiff) -> list[str]:
    """The blocks in words, with their own consistency checked."""
    for block in preview.largest_blocks:
        assert block.end - block.start == block.minutes * MINUTE
    return [f"{b.user_id} {b.start:%H:%M} {b.minutes} {b.champion_label}>{b.challenger_label}" for b in preview.largest_blocks]


def test_windows_with_another_label_are_counted_by_pair_and_by_user() -> None:
    found = summary(("alice", "09:00", "bbbbdd", "bbdddd"), ("bob", "09:00", "bbw-", "ddw-"), ("carol", "09:00", "bb", "bb"), unscored=5)
    assert (found.windows, found.relabelled, found.unscored) == (12, 4, 5)
    assert found.by_label == [RelabelledPair(champion_label="Build", challenger_label="Debug", minutes=4)]
    assert found.by_user == {"alice": {"Debug": 2}, "bob": {"Debug": 2}}
    assert (found.days, found.start, found.end) == (7, at("00:00"), at("00:00", day=7))


def test_a_rejected_window_is_called_mixed_unknown_on_either_side() -> None:
    found = summary(("alice", "09:00", "bbb-", "---d"))
    assert REJECTED == REJECT
    assert [(pair.champion_label, pair.challenger_label, pair.minutes) for pair in found.by_label] == [
        ("Build", "Mixed/Unknown", 3),
        ("Mixed/Unknown", "Debug", 1),
    ]
    assert found.by_user == {"alice": {"Debug": 1, "Mixed/Unknown": 3}}
    assert blocks(found) == ["alice 09:00 3 Build>Mixed/Unknown", "alice 09:03 1 Mixed/Unknown>Debug"]


def test_the_most_frequent_pairs_come_first_and_equal_ones_in_the_order_of_the_labels() -> None:
    found = summary(("alice", "09:00", "wbdbdwb", "bddwbbw"))
    # w>b twice, b>d once, d>d no change, b>w twice, d>b once
    assert [(pair.champion_label, pair.challenger_label, pair.minutes) for pair in found.by_label] == [
        ("Build", "Write", 2),
        ("Write", "Build", 2),
        ("Build", "Debug", 1),
        ("Debug", "Build", 1),
    ]


def test_a_block_ends_where_the_pair_of_labels_changes() -> None:
    found = summary(("alice", "09:00", "bbbbdd", "dddwww"))
    assert blocks(found) == ["alice 09:00 3 Build>Debug", "alice 09:04 2 Debug>Write", "alice 09:03 1 Build>Write"]


def test_a_block_ends_where_only_the_old_or_only_the_new_label_changes() -> None:
    assert blocks(summary(("alice", "09:00", "bbbdd", "wwwww"))) == ["alice 09:00 3 Build>Write", "alice 09:03 2 Debug>Write"]
    assert blocks(summary(("alice", "09:00", "bbbbb", "dddww"))) == ["alice 09:00 3 Build>Debug", "alice 09:03 2 Build>Write"]


def test_a_block_ends_at_a_window_that_does_not_change() -> None:
    assert blocks(summary(("alice", "09:00", "bbbb", "ddbd"))) == ["alice 09:00 2 Build>Debug", "alice 09:03 1 Build>Debug"]


def test_a_block_ends_at_a_missing_minute() -> None:
    found = summary(("alice", "09:00", "bbb", "ddd"), ("alice", "09:04", "bb", "dd"))
    assert blocks(found) == ["alice 09:00 3 Build>Debug", "alice 09:04 2 Build>Debug"]


def test_a_block_ends_at_the_next_user() -> None:
    found = summary(("alice", "09:00", "bbb", "ddd"), ("bob", "09:03", "bb", "dd"))
    assert blocks(found) == ["alice 09:00 3 Build>Debug", "bob 09:03 2 Build>Debug"]


def test_a_block_runs_over_midnight() -> None:
    found = summary(("alice", "23:58", "bbbb", "dddd"))
    assert found.largest_blocks == [
        ChangedBlock(
            user_id="alice",
            start=at("23:58"),
            end=at("00:02", day=1),
            minutes=4,
            champion_label="Build",
            challenger_label="Debug",
        )
    ]


def test_blocks_of_equal_length_are_in_the_order_of_time_and_then_of_user_names() -> None:
    stretches = [("carol", "09:00", "bb", "dd"), ("alice", "10:00", "bb", "dd"), ("bob", "09:00", "bb", "dd"), ("bob", "11:00", "b", "d")]
    expected = ["bob 09:00 2 Build>Debug", "carol 09:00 2 Build>Debug", "alice 10:00 2 Build>Debug", "bob 11:00 1 Build>Debug"]
    assert blocks(summary(*stretches)) == expected
    assert blocks(summary(*stretches, names=["carol", "dave", "bob", "alice"])) == expected


def test_the_order_of_rows_does_not_matter() -> None:
    stretches = [("alice", "09:00", "bbbb", "ddbd"), ("bob", "09:00", "bw", "db"), ("alice", "09:04", "bb", "dd")]
    assert summary(*stretches) == summary(*stretches[::-1])
    assert blocks(summary(*stretches[::-1]))[0] == "alice 09:03 3 Build>Debug"


def test_the_ten_longest_blocks_are_named() -> None:
    # twelve blocks of 1 to 12 minutes, an unchanged minute after each
    found = summary(("alice", "09:00", "".join("b" * n + "m" for n in range(1, 13)), "".join("d" * n + "m" for n in range(1, 13))))
    assert [block.minutes for block in found.largest_blocks] == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
    assert (found.windows, found.relabelled) == (78 + 12, 78)


def test_nothing_changes_where_both_say_the_same() -> None:
    found = summary(("alice", "09:00", "bdw-", "bdw-"))
    assert (found.windows, found.relabelled, found.by_label, found.by_user, found.largest_blocks) == (4, 0, [], {}, [])


def test_no_windows_in_common_are_no_windows() -> None:
    found = summary(("alice", "09:00", "", ""), unscored=9)
    assert (found.windows, found.relabelled, found.unscored, found.largest_blocks) == (0, 0, 9, [])


def test_the_wording_of_summaries(snapshot: SnapshotAssertion) -> None:
    given = {
        "relabelled": summary(("alice", "09:00", "bbbbdwwwww", "ddddbwwwww"), unscored=3),
        "unchanged": summary(("alice", "09:00", "bb", "bb")),
        "nothing in common": summary(("alice", "09:00", "", ""), unscored=9),
    }
    assert {name: found.summary for name, found in given.items()} == snapshot


def test_random_labels_are_counted_as_by_a_loop() -> None:
    rng = np.random.default_rng(7)
    letters, windows = list(LETTERS), []
    for user in ("bob", "alice"):
        minute = 0
        for _ in range(60):
            minute += int(rng.integers(1, 3))
            n = int(rng.integers(1, 6))
            old, new = rng.choice(letters, 2)
            windows += [(user, minute + i, old, new) for i in range(n)]
            minute += n - 1
    found = summary(*((user, f"{9 + minute // 60:02d}:{minute % 60:02d}", old, new) for user, minute, old, new in windows))
    pairs = Counter((old, new) for _, _, old, new in windows if old != new)
    name = {letter: (*LABELS, REJECTED_LABEL)[code] for letter, code in LETTERS.items()}
    assert {(p.champion_label, p.challenger_label): p.minutes for p in found.by_label} == {
        (name[old], name[new]): minutes for (old, new), minutes in pairs.items()
    }
    runs: list[list[object]] = []
    for user, minute, old, new in sorted(windows):
        if old == new:
            continue
        if runs and runs[-1][:3] == [user, old, new] and runs[-1][3] + runs[-1][4] == minute:
            runs[-1][4] += 1
        else:
            runs.append([user, old, new, minute, 1])
    runs.sort(key=lambda run: (-run[4], run[3], run[0]))
    expected = [(run[0], at("09:00") + run[3] * MINUTE, run[4], name[run[1]], name[run[2]]) for run in runs[:10]]
    assert [(b.user_id, b.start, b.minutes, b.champion_label, b.challenger_label) for b in found.largest_blocks] == expected
    assert found.relabelled == sum(run[4] for run in runs)


def test_300_000_windows_are_summarized_in_a_second() -> None:
    rng = np.random.default_rng(1)
    users = pd.Categorical.from_codes(np.repeat(np.arange(300), 1000), [f"user-{i:03d}" for i in range(300)])
    starts = pd.DatetimeIndex((at("00:00").timestamp() * 1e6 + np.arange(1000) * 60e6).astype("datetime64[us]"), tz="UTC")
    rows = pd.DataFrame({"user_id": users, "bucket_start_ts": starts.append([starts] * 299)})
    old, new = rng.integers(0, 9, 300_000), rng.integers(0, 9, 300_000)
    begin = time.process_time()
    found = summarize_diff(rows, old, new, unscored=0, days=7, end=at("00:00", day=7))
    assert time.process_time() - begin < 1
    assert (found.windows, found.relabelled) == (300_000, int((old != new).sum()))


# --- Two models on a home ---------------------------------------------------------------------------------------------------------


@cache
def _model_of_shuffled_labels() -> TrainedModel:
    config = retrain_config(train_params={"num_boost_round": 3, "num_leaves": 4}, refit=False)

    def shuffled(part: Part) -> pd.DataFrame:
        rows = rows_of("train" if part == "first_fit" else part)
        return rows.assign(label=rows["label"].array.take(np.random.default_rng(2).permutation(len(rows))))

    return train_challenger(
        shuffled,
        SCHEMAS["v1"],
        settings=config.training,
        choice=present_choice(config.train_params),
        dataset_digest="0123456789abcdef" * 4,
        num_threads=1,
        on_progress=lambda _: None,
    )


def model(tmp_path: Path, model_id: str, *, version: SchemaVersion = "v1", threshold: float = 0.0) -> LoadedModel:
    """A tiny model that has learnt the labels; by default it never rejects."""
    return load_bundle(write_tiny_bundle(tmp_path / "bundles" / model_id, version=version, metadata={"reject_threshold": threshold}))


def bad_model(tmp_path: Path) -> LoadedModel:
    """A model of v1 that was trained on shuffled labels."""
    folder = tmp_path / "bundles" / "bad"
    write_bundle(folder, _model_of_shuffled_labels(), rows_of("train"), metadata=GIVEN_METADATA)
    return load_bundle(folder)


def said_by(model: LoadedModel, home: Home, *, days: int = 7) -> pd.Series:
    """What a model calls each window of its version, by user and time."""
    version = model.schema.version
    rows = read_windows(home, start=AS_OF - days * DAY, end=AS_OF, schema_version=version, skip_unreadable_days=False).frame
    probabilities = model.predict_rows(rows, num_threads=1)
    names = [LABELS[row.argmax()] if row.max() >= model.reject_threshold else "Mixed/Unknown" for row in probabilities]
    return pd.Series(names, index=pd.MultiIndex.from_frame(rows[["user_id", "bucket_start_ts"]].astype({"user_id": str})))


def preview(home: Home, challenger: LoadedModel, champion: LoadedModel, *, as_of: datetime = AS_OF, days: int = 7) -> PredictionDiff | None:
    """Both models' predictions, each written and read back, and compared; None where one of the two has none."""
    read = []
    for role, model in (("challenger", challenger), ("champion", champion)):
        recent = predict_recent_windows(home, model, as_of=as_of, num_threads=1, days=days)
        if recent is None:
            return None
        folder = home.root.parent
        read.append(load_recent_predictions(folder, save_recent_predictions(folder, folder / f"{role}.recent.parquet", recent)))
    return diff_predictions(*read, as_of=as_of, days=days)


def pairs_of(champion: pd.Series, challenger: pd.Series) -> dict[tuple[str, str], int]:
    """Relabelled windows by pair, among those that both have."""
    both = pd.concat([champion, challenger], axis=1, join="inner", keys=["old", "new"])
    return dict(Counter((old, new) for old, new in zip(both["old"], both["new"], strict=True) if old != new))


def found_pairs(found: PredictionDiff) -> dict[tuple[str, str], int]:
    return {(pair.champion_label, pair.challenger_label): pair.minutes for pair in found.by_label}


def test_what_a_model_said_about_some_windows_already_is_taken_over(tmp_path: Path) -> None:
    home, scored = learnable_home(tmp_path, users=2, days=3), model(tmp_path, MID, threshold=0.3)
    every = predict_recent_windows(home, scored, as_of=AS_OF, num_threads=1)
    assert every is not None
    some = every.rows.assign(key=hash_row_keys(every.rows))[["key", "predicted", "best", "confidence"]].sample(frac=0.4, random_state=1)
    elsewhere = some.head(5).assign(key=np.arange(5, dtype=np.uint64))
    again = predict_recent_windows(home, scored, as_of=AS_OF, num_threads=1, known=pd.concat([some, elsewhere]))
    assert again is not None
    pd.testing.assert_frame_equal(again.rows, every.rows, check_exact=True)
    doubted = predict_recent_windows(home, scored, as_of=AS_OF, num_threads=1, known=some.assign(confidence=np.float32(0)))
    assert doubted is not None
    assert (doubted.rows["confidence"] == 0).sum() == len(some)


def test_two_models_are_compared_on_every_window_of_the_last_days(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=2, days=3)
    champion, challenger = model(tmp_path, MID), bad_model(tmp_path)
    found = preview(home, challenger, champion)
    expected = pairs_of(said_by(champion, home), said_by(challenger, home))
    assert found_pairs(found) == expected
    assert found.windows == 2 * 3 * LEARNABLE_DAY_WINDOWS
    assert found.windows / 4 < found.relabelled == sum(expected.values())
    assert found.unscored == 0
    assert sum(minutes for labels in found.by_user.values() for minutes in labels.values()) == found.relabelled
    assert list(found.by_user) == ["user-0", "user-1"]
    assert len(found.largest_blocks) == 10
    assert (found.days, found.start, found.end) == (7, AS_OF - 7 * DAY, AS_OF)


def test_more_windows_than_one_batch_are_scored_in_their_order(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(4), 1440
    frames = []
    for user in range(BATCH_ROWS // n + 1):
        apps = rng.choice(["com.microsoft.VSCode", "com.google.Chrome", "us.zoom.xos", "com.apple.loginwindow"], n)
        values = {"keys_per_min": rng.uniform(0, 200, n), "scroll_events_per_min": rng.uniform(0, 30, n)}
        frames.append(windows_frame(user=f"user-{user:02d}", start=AS_OF - DAY, n=n, app_id=apps, **values))
    home = make_home(tmp_path)
    write_windows(home, *frames)
    windows = read_windows(home, start=AS_OF - DAY, end=AS_OF, schema_version="v1", skip_unreadable_days=False).frame
    confidence = model(tmp_path / "never rejects", NEW).predict_rows(windows, num_threads=1).max(axis=1)
    champion, challenger = model(tmp_path, MID), model(tmp_path, NEW, threshold=float(np.median(confidence)))
    found = preview(home, challenger, champion)
    assert found.windows == n * len(frames) > BATCH_ROWS
    rejected = said_by(challenger, home)
    counts = rejected[rejected == "Mixed/Unknown"].groupby(level=0).size()
    assert counts.nunique() > 10
    assert found.by_user == {user: {"Mixed/Unknown": minutes} for user, minutes in counts.items()}


def test_turned_round_champion_and_challenger_change_sides(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    one, other = model(tmp_path, MID), bad_model(tmp_path)
    there, back = found_pairs(preview(home, one, other)), found_pairs(preview(home, other, one))
    assert there == {(new, old): minutes for (old, new), minutes in back.items()}
    assert there != back


def test_a_model_that_rejects_more_turns_labels_into_mixed_unknown(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    champion, challenger = model(tmp_path, MID), model(tmp_path, NEW, threshold=0.4)
    found = preview(home, challenger, champion)
    expected = pairs_of(said_by(champion, home), said_by(challenger, home))
    assert found_pairs(found) == expected
    assert {pair.challenger_label for pair in found.by_label} == {"Mixed/Unknown"}
    assert 0 < found.relabelled < found.windows
    everything = preview(home, model(tmp_path, "strict", threshold=1.0), champion)
    assert (everything.windows, everything.relabelled) == (LEARNABLE_DAY_WINDOWS, LEARNABLE_DAY_WINDOWS)
    assert everything.by_user == {"user-0": {"Mixed/Unknown": LEARNABLE_DAY_WINDOWS}}


def test_an_identical_model_changes_nothing(tmp_path: Path) -> None:
    found = preview(learnable_home(tmp_path, users=2, days=1), model(tmp_path, NEW), model(tmp_path, MID))
    assert (found.windows, found.relabelled, found.by_label, found.largest_blocks) == (2 * LEARNABLE_DAY_WINDOWS, 0, [], [])


def test_windows_without_labels_count_as_well(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    home.labels.unlink()
    found = preview(home, bad_model(tmp_path), model(tmp_path, MID))
    assert found.windows == LEARNABLE_DAY_WINDOWS
    assert found.relabelled > 0


def test_only_windows_of_the_last_days_count(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    start = AS_OF - 2 * DAY
    write_windows(home, windows_frame(start=start - 2 * MINUTE, n=5), windows_frame(user="bob", start=AS_OF - 4 * MINUTE, n=6))
    champion, challenger = model(tmp_path, MID), model(tmp_path, NEW, threshold=1.0)
    found = preview(home, challenger, champion, days=2)
    # alice from the first minute in range, bob up to the last before as_of
    assert blocks(found) == [f"bob 23:56 4 {said(found)}>Mixed/Unknown", f"alice 00:00 3 {said(found)}>Mixed/Unknown"]
    assert (found.windows, found.days, found.start, found.end) == (7, 2, start, AS_OF)
    assert preview(home, challenger, champion, days=3).windows == 9
    assert preview(home, challenger, champion, days=2, as_of=AS_OF - MINUTE).windows == 7
    assert preview(home, challenger, champion, days=2, as_of=AS_OF + timedelta(seconds=90)).windows == 1 + 5


def said(preview: PredictionDiff) -> str:
    """The one label of the champion."""
    (label,) = {pair.champion_label for pair in preview.by_label}
    return label


def test_a_week_has_168_hours_whatever_the_time_zone_of_the_as_of_time(tmp_path: Path) -> None:
    as_of = datetime(2026, 4, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))  # summer time began on 2026-03-29
    start = datetime(2026, 3, 25, 10, tzinfo=UTC)
    home = make_home(tmp_path)
    write_windows(home, windows_frame(start=start - 2 * MINUTE, n=7))
    found = preview(home, model(tmp_path, NEW), model(tmp_path, MID), as_of=as_of)
    assert (found.windows, found.start, found.end) == (5, start, start + timedelta(hours=168))


def test_each_model_reads_its_own_schema_version_and_windows_are_matched(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=2, days=3, confusion=0.4)
    add_learnable_days(home, first=AS_OF - 2 * DAY, users=2, days=2, version="v3", confusion=0.4, seed=5)
    write_windows(home, windows_frame(user="carol", start=AS_OF - 3 * DAY, n=9, version="v3"), version="v3")
    champion, challenger = model(tmp_path, MID, version="v3"), model(tmp_path, NEW)
    found = preview(home, challenger, champion)
    # the first day is in v1 only, carol in v3 only
    assert (found.windows, found.unscored) == (2 * 2 * LEARNABLE_DAY_WINDOWS, 2 * LEARNABLE_DAY_WINDOWS + 9)
    expected = pairs_of(said_by(champion, home), said_by(challenger, home))
    assert found_pairs(found) == expected
    assert found.relabelled == sum(expected.values()) > 0
    assert set(found.by_user) == {"user-0", "user-1"}
    back = preview(home, champion, challenger)
    assert found_pairs(back) == {(new, old): minutes for (old, new), minutes in expected.items()}
    assert (back.windows, back.unscored) == (found.windows, found.unscored)


@pytest.mark.parametrize("champion_version", ["v1", "v2"])
def test_the_implicit_user_of_v2_is_the_only_user_of_the_other_version(tmp_path: Path, champion_version: SchemaVersion) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    add_learnable_days(home, first=AS_OF - DAY, users=1, version="v2", confusion=0.5, seed=5)
    first, second = model(tmp_path, MID, version="v1"), model(tmp_path, NEW, version="v2")
    champion, challenger = (first, second) if champion_version == "v1" else (second, first)
    found = preview(home, challenger, champion)
    old, new = (said_by(each, home).rename({DEFAULT_USER: "user-0"}, level=0) for each in (champion, challenger))
    assert (found.windows, found.unscored) == (LEARNABLE_DAY_WINDOWS, 0)
    assert found_pairs(found) == pairs_of(old, new)
    assert found.relabelled > 0
    assert list(found.by_user) == ["user-0"]


def test_v2_windows_belong_to_nobody_where_the_other_version_has_two_users(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=2, days=1)
    add_learnable_days(home, first=AS_OF - DAY, users=1, version="v2")
    found = preview(home, model(tmp_path, NEW, version="v2"), model(tmp_path, MID))
    assert (found.windows, found.unscored) == (0, 3 * LEARNABLE_DAY_WINDOWS)


def test_two_models_of_v2_are_compared_on_its_implicit_user(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1, version="v2")
    found = preview(home, model(tmp_path, NEW, version="v2", threshold=1.0), model(tmp_path, MID, version="v2"))
    assert found.by_user == {DEFAULT_USER: {"Mixed/Unknown": LEARNABLE_DAY_WINDOWS}}


# --- Nothing to show --------------------------------------------------------------------------------------------------------------


def test_without_windows_in_the_last_days_there_is_no_preview(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    models = model(tmp_path, NEW), model(tmp_path, MID)
    assert preview(home, *models) is not None
    assert preview(home, *models, as_of=AS_OF - 2 * DAY) is None
    assert preview(home, *models, as_of=AS_OF + 8 * DAY) is None
    # the file of the last day is in range, its windows are not: they begin at 09:00
    assert preview(home, *models, as_of=AS_OF - DAY + timedelta(hours=8), days=1) is None


def test_without_windows_of_one_schema_version_there_is_no_preview(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    one, other = model(tmp_path, NEW), model(tmp_path, MID, version="v3")
    assert preview(home, one, other) is None
    assert preview(home, other, one) is None


def test_an_unreadable_day_is_left_out_and_without_a_readable_one_there_is_no_preview(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    models = bad_model(tmp_path), model(tmp_path, MID)
    days = [(AS_OF - n * DAY).date() for n in (1, 2)]
    day_file(home, days[0]).write_bytes(b"no parquet")
    assert preview(home, *models).windows == LEARNABLE_DAY_WINDOWS
    day_file(home, days[1]).write_bytes(b"no parquet")
    assert preview(home, *models) is None


@pytest.mark.parametrize("wrong", [{"keys_per_min": -1.0}, {"hour_of_day": 24}, {"schema_hash": "0" * 12}])
def test_windows_that_break_the_data_contract_give_no_preview(tmp_path: Path, wrong: dict[str, object]) -> None:
    home = make_home(tmp_path)
    models = model(tmp_path, NEW), model(tmp_path, MID)
    write_windows(home, windows_frame(), windows_frame(start=at("09:00", day=1)))
    assert preview(home, *models, as_of=at("00:00", day=3)).windows == 10
    write_windows(home, windows_frame(start=at("09:00", day=1), **wrong))
    assert preview(home, *models, as_of=at("00:00", day=3)) is None


def test_a_preview_reads_and_does_not_write(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    before = contents(home.root)
    assert preview(home, bad_model(tmp_path), model(tmp_path, MID)).relabelled > 0
    assert contents(home.root) == before


def test_a_preview_is_read_back_from_json_as_it_was(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    found = preview(home, bad_model(tmp_path), model(tmp_path, MID))
    assert PredictionDiff.model_validate_json(found.model_dump_json()) == found
    assert (
        preview(home, load_bundle(tmp_path / "bundles" / "bad"), load_bundle(tmp_path / "bundles" / MID)).record_hash == found.record_hash
    )


@pytest.mark.parametrize("content", [b"PAR1 torn", "no version"], ids=["torn", "without its version"])
def test_predictions_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "model.recent.parquet"
    if isinstance(content, str):
        windows_frame(n=1).to_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(SnapshotError, match=path.name):
        load_recent_predictions(tmp_path, StoredFile(path=path.name, sha256=hash_file(path)))
