"""Rolling-origin folds, worked out by hand on small users, and what holds for every fold of any rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from taskclf_dagster.domain.data.split import SPLITS
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.models.folds import Fold, make_folds
from taskclf_dagster_tests.scenario import MINUTE, at

FAR = 20
"""Minutes between rows that no embargo reaches across."""


@dataclass(frozen=True)
class Row:
    minute: int
    split: str = "train"
    user: str = "alice"
    label: str = "Build"
    session: str = "s0"
    gold: bool = True


def frame(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": pd.Categorical([row.user for row in rows]),
            "session_id": pd.Categorical([row.session for row in rows]),
            "label": pd.Categorical([row.label for row in rows]),
            "split": pd.Categorical([row.split for row in rows], categories=SPLITS),
            "bucket_start_ts": pd.DatetimeIndex([at("00:00") + row.minute * MINUTE for row in rows]).as_unit("us"),
            "gold": [row.gold for row in rows],
        }
    )


def positions(folds: list[Fold]) -> list[tuple[list[int], list[int]]]:
    return [(np.flatnonzero(fold.learned).tolist(), np.flatnonzero(fold.judged).tolist()) for fold in folds]


def steady(n: int, **changes: str) -> list[Row]:
    """Rows that are close enough to be one stretch, and too far apart for an embargo: 15 minutes before a cut is still learned from."""
    return [Row(16 * i, **changes) for i in range(n)]


def test_twenty_rows_are_cut_at_eight_eleven_fourteen_and_seventeen() -> None:
    assert positions(make_folds(frame(steady(20)))) == [
        (list(range(8)), [8, 9, 10]),
        (list(range(11)), [11, 12, 13]),
        (list(range(14)), [14, 15, 16]),
        (list(range(17)), [17, 18, 19]),
    ]


def test_the_fifteen_minutes_before_a_cut_are_not_learned_from() -> None:
    rows = [Row(5 * i) for i in range(20)]  # 0, 5, 10 ...; the first cut is at row 8, minute 40: minute 25 is within, minute 20 is not
    learned, judged = positions(make_folds(frame(rows)))[0]
    assert (learned, judged) == ([0, 1, 2, 3, 4], [8, 9, 10])


def test_a_cut_goes_to_where_a_label_ends_and_first_to_where_a_session_ends_too() -> None:
    # 40 rows are cut at 16, 22, 28 and 34, each moved by at most 2; minutes 1 apart, so that no gap is a boundary
    labels = ["Build"] * 15 + ["Write"] * 6 + ["Build"] * 3 + ["Write"] * 16  # labels end before rows 15, 21 and 24
    sessions = ["s0"] * 24 + ["s1"] * 16  # a session and a label end before row 24
    rows = [Row(i, label=label, session=session) for i, (label, session) in enumerate(zip(labels, sessions, strict=True))]
    assert [judged[0] for _, judged in positions(make_folds(frame([Row(-600, gold=False), *rows])))] == [16, 25, 29, 35]


def test_a_session_that_ends_within_a_label_is_no_boundary() -> None:
    rows = [Row(i, session="s0" if i < 15 else "s1") for i in range(40)]
    assert [judged[0] for _, judged in positions(make_folds(frame([Row(-600, gold=False), *rows])))] == [17, 23, 29, 35]


def test_older_rows_and_weak_rows_teach_and_are_never_judged() -> None:
    older = [Row(-1000, "older"), Row(-900, "older", gold=False)]
    rows = [row for i in range(20) for row in (Row(40 * i), Row(40 * i + 20, gold=False))]
    folds = positions(make_folds(frame([*older, *rows])))
    assert folds[0] == (list(range(18)), [18, 20, 22])  # the first eight gold rows, and the weak ones between and after them
    assert all(position % 2 == 0 for _, judged in folds for position in judged)


def test_test_rows_and_rows_that_were_kept_out_are_in_no_fold() -> None:
    kept_out = [Row(1000 + i, split) for i, split in enumerate(("embargo", "weak_after_cut", "test", "test"))]
    held_out = [*steady(5, user="bob", split="test"), *steady(5, user="carol", split="weak_after_cut")]
    folds = positions(make_folds(frame([*steady(20), *kept_out, *held_out])))
    assert max(position for learned, judged in folds for position in learned + judged) == 19


def test_every_user_is_cut_by_their_own_rows_and_one_without_rows_to_judge_teaches_in_every_fold() -> None:
    carol = [Row(0, "older", user="carol"), Row(5000, "train", user="carol", gold=False)]
    folds = positions(make_folds(frame([*steady(20), *steady(10, user="bob"), *carol])))
    assert [judged for _, judged in folds] == [[8, 9, 10, 24], [11, 12, 13, 25, 26], [14, 15, 16, 27], [17, 18, 19, 28, 29]]
    assert folds[0][0] == [*range(8), *range(20, 24), 30, 31]


def test_a_fold_that_only_older_rows_teach_is_left_out_because_a_choice_may_leave_them_out() -> None:
    older = [Row(FAR * i, split="older") for i in range(5)]
    crowded = [Row(1_000 + i) for i in range(12)]  # within 15 minutes, so that an embargo before any cut covers all before it
    assert make_folds(frame([*older, *crowded])) == []


def test_a_fold_without_rows_to_learn_from_or_to_judge_is_left_out() -> None:
    assert make_folds(frame(steady(1))) == []
    assert positions(make_folds(frame(steady(2)))) == [([0], [1])]
    assert make_folds(frame([Row(0, "older"), Row(20, "test")])) == []


ROWS = st.lists(
    st.builds(
        Row,
        minute=st.integers(0, 400),
        split=st.sampled_from(SPLITS),
        user=st.sampled_from(["alice", "bob"]),
        label=st.sampled_from(["Build", "Write"]),
        session=st.sampled_from(["s0", "s1"]),
        gold=st.booleans(),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda row: (row.user, row.minute),
)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_what_a_fold_judges_is_gold_of_train_or_validation_and_later_than_all_it_learned_by_the_embargo(rows: list[Row]) -> None:
    table = frame(sorted(rows, key=lambda row: (row.user, row.minute)))
    starts, users, gold = epoch_us(table["bucket_start_ts"]), table["user_id"].to_numpy(), table["gold"].to_numpy()
    folds = make_folds(table)
    for fold in folds:
        assert set(table["split"][fold.learned]) <= {"older", "train", "validation"}
        assert set(table["split"][fold.judged]) <= {"train", "validation"}
        assert gold[fold.judged].all()
        for user in set(users[fold.judged]):
            learned, judged = (starts[mask & (users == user)] for mask in (fold.learned, fold.judged))
            assert len(learned) == 0 or judged.min() - learned.max() > 15 * 60 * 1_000_000
    assert (np.sum([fold.judged for fold in folds], axis=0) <= 1).all()  # each row is judged once
