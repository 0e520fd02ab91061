"""The rows that each fit learns from, worked out by hand on one user with an hour before the first test row."""

from pathlib import Path

import pandas as pd
import pytest

from taskclf_dagster.domain.data.snapshot import open_snapshot
from taskclf_dagster.domain.data.snapshot_rows import read_snapshot_rows
from taskclf_dagster.domain.data.split import SPLITS
from taskclf_dagster.domain.models.learned_rows import Part, is_in_part, load_part
from taskclf_dagster_tests.retrain_scenario import take_snapshot
from taskclf_dagster_tests.scenario import MINUTE, at, learnable_home


def rows(*parts: tuple[str, str, int]) -> pd.DataFrame:
    """Rows by user, split and minute."""
    return pd.DataFrame(
        {
            "user_id": pd.Categorical([user for user, _, _ in parts]),
            "split": pd.Categorical([split for _, split, _ in parts], categories=SPLITS),
            "bucket_start_ts": pd.DatetimeIndex([at("00:00") + minute * MINUTE for _, _, minute in parts]).as_unit("us"),
        }
    )


ALICE = rows(
    ("alice", "older", 0),
    ("alice", "train", 100),
    ("alice", "embargo", 190),
    ("alice", "validation", 200),
    ("alice", "validation", 339),
    ("alice", "validation", 340),
    ("alice", "weak_after_cut", 345),
    ("alice", "test", 400),
    ("alice", "test", 460),
)


@pytest.mark.parametrize(
    ("part", "minutes"),
    [("first_fit", [0, 100]), ("validation", [200, 339, 340]), ("refit", [0, 100, 200, 339])],
)
def test_a_refit_learns_from_validation_rows_more_than_an_hour_before_a_short_test_part(part: Part, minutes: list[int]) -> None:
    chosen = ALICE[is_in_part(ALICE, part)]  # one of two test rows lies within an hour of the last validation row
    assert ((chosen["bucket_start_ts"] - at("00:00")) / MINUTE).tolist() == minutes


@pytest.mark.parametrize(("near", "far", "kept"), [(1, 9, True), (2, 17, False), (2, 18, True), (0, 1, True), (1, 0, False)])
def test_validation_rows_near_the_test_part_teach_if_at_most_a_tenth_of_it_is_near_them(near: int, far: int, kept: bool) -> None:
    near_rows, far_rows = ([("alice", "test", start + i) for i in range(n)] for start, n in ((55, near), (61, far)))
    assert is_in_part(rows(("alice", "validation", 0), *near_rows, *far_rows), "refit").tolist()[0] is kept


def test_each_user_has_his_own_hour_and_one_without_test_rows_loses_none() -> None:
    bob = [("bob", "test", 111 + i) for i in range(2)]
    two = rows(("alice", "validation", 0), ("alice", "test", 60), ("bob", "validation", 50), *bob, ("carol", "validation", 55))
    assert is_in_part(two, "refit").tolist() == [False, False, True, False, False, True]


@pytest.mark.parametrize("part", ["first_fit", "validation", "refit"])
def test_a_stored_snapshot_gives_the_rows_of_a_part_with_the_columns_that_are_wanted(tmp_path: Path, part: Part) -> None:
    home = learnable_home(tmp_path, users=2, days=4)
    snapshot, _ = take_snapshot(home)
    everything = read_snapshot_rows(home.root / snapshot.path)
    found = load_part(open_snapshot(home, snapshot), part)
    pd.testing.assert_frame_equal(found, everything[is_in_part(everything, part)].reset_index(drop=True))
    narrow = load_part(open_snapshot(home, snapshot), part, columns=["label", "user_id"])
    assert narrow.columns.tolist() == ["label", "user_id", "split"]
    assert narrow["label"].tolist() == found["label"].tolist()
