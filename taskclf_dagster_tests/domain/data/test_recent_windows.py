"""The recent windows: which they are, and what is read if their file is gone."""

from datetime import timedelta
from pathlib import Path

import pandas as pd

from taskclf_dagster.domain.data.frame_parts import join_parts
from taskclf_dagster.domain.data.labeled_windows import store_labeled_windows
from taskclf_dagster.domain.data.recent_windows import RECENT_DAYS, open_recent_windows
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home, make_home, retrain_config, windows_frame, write_windows


def saved(home: Home) -> tuple[Home, pd.DataFrame]:
    """A home and the recent windows that a run of it stored."""
    record = store_labeled_windows(home, as_of=AS_OF, settings=retrain_config().dataset).record
    assert record.recent is not None
    windows = open_recent_windows(home, record.recent)
    assert windows is not None
    return home, join_parts(windows)


def test_they_are_the_windows_of_the_last_days_labeled_or_not_as_the_partitions_have_them(tmp_path: Path) -> None:
    home, frame = saved(learnable_home(tmp_path, users=2, days=RECENT_DAYS + 2))
    start = AS_OF - RECENT_DAYS * DAY
    expected = read_windows(home, start=start, end=AS_OF, schema_version="v1", skip_unreadable_days=False).frame
    pd.testing.assert_frame_equal(frame, expected, check_categorical=False)


def test_the_window_that_begins_seven_days_before_is_the_first(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    first = AS_OF - RECENT_DAYS * DAY
    write_windows(home, windows_frame(start=first - timedelta(minutes=3), n=5), windows_frame(user="bob", start=first - DAY, n=2))
    _, frame = saved(home)
    assert frame["bucket_start_ts"].tolist() == [first, first + timedelta(minutes=1)]
    assert frame["user_id"].cat.categories.tolist() == frame["user_id"].unique().tolist()


def test_a_file_that_is_gone_or_has_other_values_is_not_used(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    record = store_labeled_windows(home, as_of=AS_OF, settings=retrain_config().dataset).record
    assert record.recent is not None
    assert open_recent_windows(home, record.recent.model_copy(update={"digest": "f" * 64})) is None
    (home.root / record.recent.path).unlink()
    assert open_recent_windows(home, record.recent) is None
