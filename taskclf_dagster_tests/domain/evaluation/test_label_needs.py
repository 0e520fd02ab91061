"""The number of labelled minutes that a comparison lacks: as the split gives it, with leakage and held-out users."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.label_needs import ComparableLabels, find_minutes_needed
from taskclf_dagster_tests.scenario import AS_OF, DAY


def some_days(days: int, *, users: int = 1, minutes: int = 120) -> pd.DataFrame:
    """Days that end at AS_OF, each with one session for each user, where every label has its stretch."""
    frames = [
        pd.DataFrame(
            {
                "user_id": f"user-{user}",
                "session_id": f"{user}-{day}",
                "bucket_start_ts": pd.date_range(AS_OF - (days - day) * DAY, periods=minutes, freq="min").as_unit("us"),
                "label": np.repeat(LABELS, minutes // len(LABELS)),
            }
        )
        for user in range(users)
        for day in range(days)
    ]
    rows = pd.concat(frames, ignore_index=True)
    return rows.astype({"user_id": "category", "session_id": "category", "label": pd.CategoricalDtype(list(LABELS))})


def labels(
    rows: pd.DataFrame, *, learned: object = False, held_out: tuple[str, ...] = (), max_share: float = 0.3, look_back: timedelta = 365 * DAY
) -> ComparableLabels:
    mask = np.broadcast_to(np.asarray(learned, dtype=bool), len(rows)).copy()
    return ComparableLabels(rows, mask, held_out, AS_OF, max_share, look_back)


def test_windows_compared_are_the_test_split_without_what_the_champion_learned() -> None:
    rows = some_days(10)
    assert labels(rows).count() == pytest.approx(0.15 * len(rows), rel=0.35)  # a cut moves by 5 % of the rows at most
    assert labels(rows, learned=np.arange(len(rows)) >= len(rows) - 5).count() == labels(rows).count() - 5
    assert labels(rows, learned=True).count() == 0
    assert labels(some_days(10, users=2), held_out=("user-1",)).count() == labels(rows).count() + len(rows)


@pytest.mark.parametrize("days", [4, 10])
@pytest.mark.parametrize("users", [1, 3])
def test_as_many_more_minutes_give_the_windows_that_are_wanted_and_far_more_than_lack(days: int, users: int) -> None:
    present = labels(some_days(days, users=users))
    wanted = present.count() + 150
    minutes = find_minutes_needed(present, wanted=wanted)
    assert minutes is not None
    assert minutes > 3 * 150
    later = some_days(days + 40, users=users)  # further days of the same kind, one after the other
    later["bucket_start_ts"] += timedelta(days=40)
    newer = later[later["bucket_start_ts"] >= AS_OF].sort_values("bucket_start_ts")
    assert present.with_more(newer, minutes).count() == pytest.approx(wanted, rel=0.1)


def test_where_the_champion_learned_all_there_is_new_minutes_count_from_the_first_on() -> None:
    rows = some_days(20)
    minutes = find_minutes_needed(labels(rows, learned=True), wanted=300)
    assert minutes is not None
    assert 300 <= minutes <= 420  # the new ones are the newest, so that all of them are test windows at first
    assert (
        labels(rows, learned=True, max_share=1.0).with_more(rows.assign(bucket_start_ts=rows["bucket_start_ts"] + 30 * DAY), 300).count()
        > 0
    )


def test_labels_that_leave_the_look_back_no_longer_count_so_there_may_be_no_number() -> None:
    rows = some_days(20)
    present = labels(rows, look_back=20 * DAY)
    assert find_minutes_needed(labels(rows), wanted=present.count() + 150) is not None
    assert find_minutes_needed(present, wanted=present.count() + 150) is None  # as many leave as come
    week = rows[rows["bucket_start_ts"] >= AS_OF - 7 * DAY]
    later = week.assign(bucket_start_ts=week["bucket_start_ts"] + 7 * DAY)
    assert len(present.with_more(later, len(later)).rows) == len(rows)


def test_without_labels_there_is_no_number() -> None:
    assert find_minutes_needed(labels(some_days(3).iloc[:0]), wanted=300) is None
