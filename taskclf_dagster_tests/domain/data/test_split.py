"""The split by time: where the cuts are, worked out by hand on small users, and what is kept out on both sides of them."""

import hashlib
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.split import SPLITS, Split, choose_holdout_users, find_split_overlaps, split_by_time
from taskclf_dagster_tests.scenario import MINUTE, at

FAR = 20
"""Minutes between rows that no embargo reaches across."""


def user_rows(
    n: int,
    *,
    user: str = "alice",
    every: int = FAR,
    minutes: list[int] | None = None,
    sessions: dict[int, str] | None = None,
    spans: list[int] | None = None,
    gold: list[bool] | None = None,
) -> pd.DataFrame:
    """n rows of one user: by default one session, one span, all gold.

    Args:
        n: number of rows.
        user: user_id.
        every: minutes from one row to the next.
        minutes: or the minute of each row.
        sessions: the row at which each further session begins.
        spans: the span number of each row.
        gold: whether a person labelled each row.
    """
    names = pd.Series(None, index=range(n), dtype="str")
    for row, name in {0: "s0", **(sessions or {})}.items():
        names.iloc[row:] = name
    offsets = minutes or [i * every for i in range(n)]
    return pd.DataFrame(
        {
            "user_id": user,
            "session_id": names,
            "bucket_start_ts": pd.DatetimeIndex([at("00:00") + m * MINUTE for m in offsets]).as_unit("us"),
            "gold": gold or [True] * n,
            "span": np.array(spans or [0] * n, dtype=np.int32),
        }
    )


def split(*users: pd.DataFrame, split_from: datetime | None = None, holdout_fraction: float = 0.0) -> Split:
    rows = pd.concat(users, ignore_index=True).astype({"user_id": "category", "session_id": "category"})
    return split_by_time(rows, split_from=split_from, holdout_fraction=holdout_fraction)


def parts(result: Split) -> list[str]:
    return [SPLITS[code] for code in result.codes]


def runs(result: Split) -> list[tuple[str, int]]:
    """The splits in row order, as (name, number of rows)."""
    found: list[tuple[str, int]] = []
    for name in parts(result):
        found = [*found[:-1], (name, found[-1][1] + 1)] if found and found[-1][0] == name else [*found, (name, 1)]
    return found


def spans_of_lengths(*lengths: int) -> list[int]:
    return [number for number, length in enumerate(lengths) for _ in range(length)]


# --- Where the cuts are -----------------------------------------------------------------------------------------------------------


def test_twenty_rows_are_cut_after_fourteen_and_seventeen() -> None:
    result = split(user_rows(20))
    assert runs(result) == [("train", 14), ("validation", 3), ("test", 3)]
    assert [(cut.part, cut.target_row, cut.row, cut.boundary) for cut in result.cuts] == [
        ("validation", 14, 14, "row"),
        ("test", 17, 17, "row"),
    ]


def test_a_hundred_rows_are_cut_after_seventy_and_eighty_five() -> None:
    assert runs(split(user_rows(100))) == [("train", 70), ("validation", 15), ("test", 15)]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [("test", 1)]),  # 0.70 * 1 and 0.85 * 1 are both below 1
        (2, [("train", 1), ("test", 1)]),  # 1.4 and 1.7
        (3, [("train", 2), ("test", 1)]),  # 2.1 and 2.55
        (7, [("train", 4), ("validation", 1), ("test", 2)]),  # 4.9 and 5.95
        (10, [("train", 7), ("validation", 1), ("test", 2)]),  # 7 and 8.5
        (90, [("train", 63), ("validation", 13), ("test", 14)]),  # 63 and 76.5; in floats 0.7 * 90 is 62.99999999999999
    ],
)
def test_shares_are_rounded_down_exactly(n: int, expected: list[tuple[str, int]]) -> None:
    assert runs(split(user_rows(n))) == expected


def test_a_cut_names_the_time_of_the_first_row_of_the_later_part() -> None:
    first, second = split(user_rows(20)).cuts
    assert (first.at, second.at) == (at("04:40"), at("05:40"))  # rows 14 and 17, 20 minutes each
    assert (first.user_id, second.user_id) == ("alice", "alice")


def test_every_user_is_cut_by_their_own_rows() -> None:
    result = split(user_rows(20, user="alice"), user_rows(10, user="bob", every=30))
    assert runs(result) == [("train", 14), ("validation", 3), ("test", 3), ("train", 7), ("validation", 1), ("test", 2)]
    assert [cut.user_id for cut in result.cuts] == ["alice", "alice", "bob", "bob"]


def test_row_labels_of_the_frame_do_not_matter() -> None:
    rows = pd.concat([user_rows(20), user_rows(10, user="bob")]).astype({"user_id": "category", "session_id": "category"})
    plain = split_by_time(rows.reset_index(drop=True))
    shifted = split_by_time(rows.set_index(np.arange(1000, 1030)))
    assert shifted.codes.tolist() == plain.codes.tolist()
    assert len(shifted.codes) == 30
    assert shifted.cuts == plain.cuts


def test_users_that_do_not_occur_have_no_cuts() -> None:
    rows = user_rows(20).astype({"session_id": "category"})
    rows["user_id"] = pd.Categorical(rows["user_id"], categories=["aaron", "alice", "zoe"])
    assert {cut.user_id for cut in split_by_time(rows).cuts} == {"alice"}


def test_no_rows_have_no_split() -> None:
    rows = user_rows(1).head(0).astype({"user_id": "category", "session_id": "category"})
    result = split_by_time(rows, holdout_fraction=0.5)
    assert (len(result.codes), result.cuts, result.holdout_users) == (0, [], [])


# --- Boundaries -------------------------------------------------------------------------------------------------------------------


def first_cut(sessions: dict[int, str] | None = None, spans: list[int] | None = None, n: int = 100) -> tuple[int, str]:
    """(row, boundary) of the first of the cuts of a user with 100 rows, whose target is row 70."""
    cut = split(user_rows(n, sessions=sessions, spans=spans)).cuts[0]
    return cut.row, cut.boundary


@pytest.mark.parametrize(
    ("session_begins", "expected"),
    [
        (70, (70, "session")),
        (67, (67, "session")),
        (65, (65, "session")),  # 5 % of 100 rows before the target
        (75, (75, "session")),  # 5 % after it
        (64, (70, "row")),  # 6 %
        (76, (70, "row")),
    ],
)
def test_a_cut_moves_to_a_session_boundary_within_five_percent(session_begins: int, expected: tuple[int, str]) -> None:
    spans = spans_of_lengths(session_begins, 100 - session_begins)
    assert first_cut({session_begins: "s1"}, spans) == expected


@pytest.mark.parametrize(
    ("begins", "expected"),
    [
        ((66, 73), 73),  # 4 before, 3 after
        ((67, 74), 67),  # 3 before, 4 after
        ((68, 72), 68),  # equally far: the earlier
        ((66, 69, 71, 75), 69),
    ],
)
def test_of_several_session_boundaries_the_nearest_wins_and_of_equals_the_earlier(begins: tuple[int, ...], expected: int) -> None:
    spans = spans_of_lengths(*np.diff([0, *begins, 100]).tolist())
    assert first_cut({row: f"s{row}" for row in begins}, spans) == (expected, "session")


def test_a_session_boundary_is_preferred_to_a_nearer_span_boundary() -> None:
    spans = spans_of_lengths(66, 4, 30)  # spans end before rows 66 and 70
    assert first_cut({66: "s1"}, spans) == (66, "session")


def test_without_a_session_boundary_the_nearest_span_boundary_is_taken() -> None:
    assert first_cut(spans=spans_of_lengths(66, 6, 28)) == (72, "span")  # 66 is 4 away, 72 is 2 away
    assert first_cut(spans=spans_of_lengths(68, 4, 28)) == (68, "span")  # equally far
    assert first_cut(spans=spans_of_lengths(64, 36)) == (70, "row")


def test_a_session_boundary_inside_a_span_is_passed_over() -> None:
    # A session begins at row 69, but the span of rows 60 to 72 has rows on both sides; no span crosses row 73.
    assert first_cut({69: "s1"}, spans_of_lengths(60, 13, 27)) == (73, "span")


def test_a_span_with_a_single_row_behind_the_boundary_forbids_it() -> None:
    spans = spans_of_lengths(69, 6, 25)
    assert first_cut(spans=spans) == (69, "span")
    spans[74] = 0  # now span 0 reaches row 74, behind every boundary but that of row 75
    assert first_cut(spans=spans) == (75, "span")
    spans[75] = 0
    assert first_cut(spans=spans) == (70, "row")


def test_each_cut_has_its_own_boundary() -> None:
    spans = spans_of_lengths(72, 11, 17)  # spans end before rows 72 and 83
    cuts = split(user_rows(100, sessions={83: "s1"}, spans=spans)).cuts
    assert [(cut.row, cut.boundary) for cut in cuts] == [(72, "span"), (83, "session")]


def test_the_rows_follow_the_moved_cuts() -> None:
    spans = spans_of_lengths(72, 11, 17)
    assert runs(split(user_rows(100, spans=spans))) == [("train", 72), ("validation", 11), ("test", 17)]


def test_a_boundary_is_looked_for_among_rows_of_the_same_user_only() -> None:
    # bob's session begins where alice's rows end; his own 100 rows have no boundary near row 70.
    result = split(user_rows(100, user="alice"), user_rows(100, user="bob", sessions={40: "s1"}, spans=spans_of_lengths(40, 60)))
    assert [(cut.row, cut.boundary) for cut in result.cuts[2:]] == [(70, "row"), (85, "row")]


def test_twenty_rows_may_move_by_one_row_only() -> None:
    assert first_cut({13: "s1"}, spans_of_lengths(13, 7), n=20) == (13, "session")
    assert first_cut({12: "s1"}, spans_of_lengths(12, 8), n=20) == (14, "row")


# --- Embargo ----------------------------------------------------------------------------------------------------------------------


def test_the_fifteen_minutes_before_each_cut_are_kept_out() -> None:
    # A row a minute; cuts at minutes 140 and 170: minutes 125 to 139 and 155 to 169 are within 15 minutes before a cut.
    expected = [("train", 125), ("embargo", 15), ("validation", 15), ("embargo", 15), ("test", 30)]
    assert runs(split(user_rows(200, every=1))) == expected


def test_a_row_exactly_fifteen_minutes_before_the_cut_is_kept_out_and_one_earlier_is_not() -> None:
    # 20 rows: the cut is row 14 at minute 1000; before it rows at 984, 985 and 986.
    minutes = [*range(0, 220, 20), 984, 985, 986, *range(1000, 1120, 20)]
    assert parts(split(user_rows(20, minutes=minutes)))[10:15] == ["train", "train", "embargo", "embargo", "validation"]


def test_a_pause_before_the_cut_leaves_nothing_to_keep_out() -> None:
    minutes = [*range(14), *range(60, 63), *range(100, 103)]
    assert runs(split(user_rows(20, minutes=minutes))) == [("train", 14), ("validation", 3), ("test", 3)]


def test_a_pause_of_ten_minutes_keeps_out_only_what_the_look_back_reaches() -> None:
    # Rows at minutes 0 to 13, the cut at minute 24: minutes 9 to 13 lie within 15 minutes before it.
    minutes = [*range(14), *range(24, 27), *range(100, 103)]
    assert runs(split(user_rows(20, minutes=minutes))) == [("train", 9), ("embargo", 5), ("validation", 3), ("test", 3)]


def test_a_validation_part_of_fifteen_minutes_is_kept_out_whole() -> None:
    result = split(user_rows(100, every=1))  # cuts at minutes 70 and 85
    assert runs(result) == [("train", 55), ("embargo", 30), ("test", 15)]


def test_the_embargo_of_one_user_does_not_touch_another() -> None:
    result = split(user_rows(200, user="alice", every=1), user_rows(20, user="bob"))
    assert parts(result)[200:] == ["train"] * 14 + ["validation"] * 3 + ["test"] * 3


# --- Weak rows --------------------------------------------------------------------------------------------------------------------


def test_shares_are_counted_on_gold_rows_only() -> None:
    # 40 weak rows first, then 20 gold ones: the cuts are where the 15th and the 18th gold row begin.
    result = split(user_rows(60, gold=[False] * 40 + [True] * 20))
    assert runs(result) == [("train", 54), ("validation", 3), ("test", 3)]
    assert result.cuts[0].at == at("00:00") + timedelta(minutes=54 * FAR)


def test_weak_rows_after_the_first_cut_are_kept_out() -> None:
    gold = [True] * 20
    for row in (2, 15, 18):
        gold.insert(row, False)  # weak rows 2, 15 and 18 of 23; gold rows 14 and 17 are rows 16 and 20
    result = parts(split(user_rows(23, gold=gold)))
    assert [result[row] for row in (2, 15, 18)] == ["train", "train", "weak_after_cut"]
    assert result[16:18] == ["validation", "validation"]
    assert [name for row, name in enumerate(result) if gold[row]] == ["train"] * 14 + ["validation"] * 3 + ["test"] * 3


def test_a_weak_row_at_the_time_of_the_cut_is_after_it() -> None:
    gold = [True] * 20 + [False]
    minutes = [i * FAR for i in range(20)]
    rows = user_rows(21, minutes=[*minutes, 0], gold=gold)
    rows.loc[20, "bucket_start_ts"] = rows.loc[14, "bucket_start_ts"]
    rows = rows.sort_values("bucket_start_ts", kind="stable", ignore_index=True)
    assert parts(split(rows))[14:16] == ["validation", "weak_after_cut"]


def test_weak_rows_just_before_the_first_cut_are_under_embargo_like_gold_ones() -> None:
    minutes = [*(i * FAR for i in range(14)), 275, *(280 + i * FAR for i in range(6))]
    gold = [True] * 14 + [False] + [True] * 6  # the weak row is 5 minutes before the cut at minute 280
    assert parts(split(user_rows(21, minutes=minutes, gold=gold)))[14] == "embargo"


def test_a_user_with_weak_rows_only_is_all_training_and_has_no_cut() -> None:
    result = split(user_rows(20, user="alice"), user_rows(5, user="bob", gold=[False] * 5))
    assert parts(result)[20:] == ["train"] * 5
    assert {cut.user_id for cut in result.cuts} == {"alice"}


# --- Held-out users ---------------------------------------------------------------------------------------------------------------

USERS = ["alice", "bob", "carol", "dave", "erin", "frank", "grace"]


def by_hash(users: list[str]) -> list[str]:
    return [user for _, user in sorted((hashlib.sha256(b"taskclf-holdout:" + user.encode()).hexdigest(), user) for user in users)]


@pytest.mark.parametrize(
    ("fraction", "number"),
    [
        (0.0, 0),
        (0.01, 1),  # at least one
        (0.2, 1),  # int(1.4)
        (0.3, 2),  # int(2.1)
        (0.5, 3),  # int(3.5)
        (1.0, 7),
    ],
)
def test_held_out_users_are_the_first_by_hash(fraction: float, number: int) -> None:
    assert choose_holdout_users(USERS, fraction) == sorted(by_hash(USERS)[:number])


def test_the_hash_rule_is_the_one_of_taskclf() -> None:
    # printf 'taskclf-holdout:%s' erin | sha256sum begins with 2c9b1f, alice with 72f4bb, dave with a0daf7, the others with a6 and more.
    assert choose_holdout_users(USERS, 0.2) == ["erin"]
    assert choose_holdout_users(USERS, 0.3) == ["alice", "erin"]
    assert choose_holdout_users(USERS, 0.5) == ["alice", "dave", "erin"]


def test_who_is_held_out_does_not_depend_on_the_order_of_users() -> None:
    assert choose_holdout_users(USERS[::-1], 0.5) == choose_holdout_users(USERS, 0.5)


def test_nobody_is_held_out_of_nobody() -> None:
    assert choose_holdout_users([], 0.5) == []


def test_gold_rows_of_a_held_out_user_are_all_test_and_weak_rows_are_kept_out() -> None:
    users = [user_rows(20, user=user, gold=[i % 4 > 0 for i in range(20)]) for user in sorted(USERS)]
    result = split(*users, holdout_fraction=0.2)
    [held_out] = by_hash(USERS)[:1]
    assert result.holdout_users == [held_out]
    position = sorted(USERS).index(held_out) * 20
    mine = parts(result)[position : position + 20]
    assert mine == ["test" if i % 4 > 0 else "weak_after_cut" for i in range(20)]
    assert held_out not in {cut.user_id for cut in result.cuts}
    assert len(result.cuts) == 2 * 6


# --- No overlap -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_parts_never_overlap_in_time_within_a_user_and_every_gold_row_is_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users = []
    for user in ("alice", "bob", "carol"):
        n = int(rng.integers(1, 300))
        minutes = np.cumsum(rng.choice([1, 1, 1, 1, 30], n)).tolist()
        lengths = rng.integers(1, 25, n)
        spans = np.repeat(np.arange(n), lengths)[:n].tolist()
        sessions = {int(row): f"s{row}" for row in np.flatnonzero(np.diff(minutes) > 1) + 1}
        users.append(user_rows(n, user=user, minutes=minutes, spans=spans, sessions=sessions, gold=(rng.random(n) < 0.8).tolist()))
    rows = pd.concat(users, ignore_index=True).assign(split=parts(split(*users)))
    for _, mine in rows.groupby("user_id"):
        kept = {name: mine[mine["split"] == name]["bucket_start_ts"] for name in ("train", "validation", "test")}
        for earlier, later in (("train", "validation"), ("validation", "test"), ("train", "test")):
            if len(kept[earlier]) and len(kept[later]):
                assert kept[later].min() - kept[earlier].max() > 15 * MINUTE
    assert set(rows[~rows["gold"]]["split"]) <= {"train", "embargo", "weak_after_cut"}
    assert set(rows[rows["gold"]]["split"]) <= {"train", "validation", "test", "embargo"}


# --- Rows before the range that is split ----------------------------------------------------------------------------------------------


def test_older_rows_move_no_cut_and_only_teach() -> None:
    # 30 rows every 20 minutes, of which ten lie before the range: the other twenty are cut at 14 and 17, one row as slack.
    spans = [*range(30)]
    alone, both = split(user_rows(20, spans=spans[:20])), split(user_rows(30, spans=spans), split_from=at("00:00") + 10 * FAR * MINUTE)
    assert runs(alone) == [("train", 14), ("validation", 3), ("test", 3)]
    assert runs(both) == [("older", 10), *runs(alone)]
    assert [(cut.row, cut.target_row) for cut in both.cuts] == [(cut.row, cut.target_row) for cut in alone.cuts]


def test_a_row_at_the_start_of_the_range_is_in_it() -> None:
    start = at("00:00") + 10 * FAR * MINUTE
    assert parts(split(user_rows(30), split_from=start))[10] == "train"
    assert parts(split(user_rows(30), split_from=start + timedelta(microseconds=1)))[10] == "older"


def test_older_weak_rows_teach_and_older_rows_on_which_a_judged_one_looks_back_do_not() -> None:
    gold = [False, True, True, True]
    result = split(user_rows(4, minutes=[0, 100, 190, 200], gold=gold), split_from=at("00:00") + 200 * MINUTE)
    # the only row of the range is the first of the validation part, whose cut is at row 0 of 1
    assert parts(result) == ["older", "older", "embargo", "test"]


def test_a_user_with_older_rows_only_teaches() -> None:
    result = split(user_rows(5), user_rows(40, user="bob", every=300), split_from=at("00:00") + 100 * MINUTE)
    assert parts(result)[:5] == ["older"] * 5
    assert {cut.user_id for cut in result.cuts} == {"bob"}


def test_older_rows_of_a_held_out_user_neither_teach_nor_judge() -> None:
    result = split(user_rows(4), split_from=at("00:00") + 2 * FAR * MINUTE, holdout_fraction=0.5)
    assert parts(result) == ["weak_after_cut", "weak_after_cut", "test", "test"]


def test_a_user_with_older_rows_only_is_not_held_out_because_nothing_of_theirs_could_judge() -> None:
    users = [user_rows(5, user=name) for name in ("alice", "bob", "carol")]
    users += [user_rows(20, user=name, every=300) for name in ("dora", "emil")]
    result = split(*users, split_from=at("00:00") + 101 * MINUTE, holdout_fraction=0.99)
    assert result.holdout_users in (["dora"], ["emil"])


def test_older_rows_that_reach_into_another_split_are_found() -> None:
    rows = pd.DataFrame(
        {
            "user_id": pd.Categorical(["alice"] * 2),
            "split": pd.Categorical(["older", "test"], categories=SPLITS),
            "bucket_start_ts": pd.DatetimeIndex([at("09:00"), at("09:15")]).as_unit("us"),
        }
    )
    assert find_split_overlaps(rows) == ["user alice: older reaches within 15 minutes of test"]
    rows["bucket_start_ts"] += pd.to_timedelta([0, 1], unit="min")
    assert find_split_overlaps(rows) == []


def test_older_rows_may_end_where_the_training_part_begins_but_not_within_it() -> None:
    rows = pd.DataFrame(
        {
            "user_id": pd.Categorical(["alice"] * 2),
            "split": pd.Categorical(["older", "train"], categories=SPLITS),
            "bucket_start_ts": pd.DatetimeIndex([at("09:00"), at("09:01")]).as_unit("us"),
        }
    )
    assert find_split_overlaps(rows) == []
    rows["bucket_start_ts"] -= pd.to_timedelta([0, 1], unit="min")
    assert find_split_overlaps(rows) == ["user alice: older reaches within 0 minutes of train"]
