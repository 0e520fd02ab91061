"""Counts of two models by user, block and label, and their views."""

import numpy as np
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION, Block, BlockSums, Cell, Flips, count_flips, sum_blocks
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster_tests.domain.evaluation.paired_windows import BREAK, BUILD, DAY, MEET, READ, START, WRITE, Windows, noisy


def test_counts_are_kept_by_user_and_two_hour_block() -> None:
    windows = Windows.of(
        ("bob", 119, BREAK, BREAK, REJECTED),
        ("ann", 120, BUILD, BREAK, BUILD),
        ("bob", 0, BREAK, BREAK, BREAK),
        ("bob", -1, BREAK, BUILD, BUILD),
    )
    first = int(START.timestamp()) // 7200
    assert windows.sums == BlockSums(
        users=["ann", "bob"],
        blocks=[Block(0, first + 1), Block(1, first - 1), Block(1, first)],
        cells=[
            Cell(0, BREAK, support=0, challenger_correct=0, challenger_predicted=1, champion_correct=0, champion_predicted=0),
            Cell(0, BUILD, support=1, challenger_correct=0, challenger_predicted=0, champion_correct=1, champion_predicted=1),
            Cell(1, BREAK, support=1, challenger_correct=0, challenger_predicted=0, champion_correct=0, champion_predicted=0),
            Cell(1, BUILD, support=0, challenger_correct=0, challenger_predicted=1, champion_correct=0, champion_predicted=1),
            Cell(2, BREAK, support=2, challenger_correct=2, challenger_predicted=2, champion_correct=1, champion_predicted=1),
        ],
    )


def test_counts_are_read_back_from_their_json_which_is_lists_of_numbers() -> None:
    sums = noisy(50).sums
    document = sums.model_dump(mode="json")
    assert isinstance(document["cells"][0], list)
    assert BlockSums.model_validate(document) == sums
    assert BlockSums.model_validate_json(sums.model_dump_json()).cells[0].support == sums.cells[0].support


def test_the_views_are_the_counts_of_the_windows() -> None:
    windows = noisy(300)
    total = windows.sums.by_block().total
    for label in range(8):
        mine = windows.true == label
        assert total.support[label] == mine.sum()
        for model, predicted in ((CHALLENGER, windows.challenger), (CHAMPION, windows.champion)):
            assert total.predicted[label, model] == (predicted == label).sum()
            assert total.correct[label, model] == (mine & (predicted == label)).sum()
    days = windows.sums.by_user_day()
    assert np.array_equal(days.counts.total.table, total.table)
    assert days.user.tolist() == sorted(days.user.tolist())
    assert np.array_equal(total.swapped.table, windows.swapped.sums.by_block().total.table)


def test_blocks_do_not_depend_on_the_unit_of_time_or_on_categories_that_do_not_occur() -> None:
    windows = noisy(300)
    user = pd.Series(windows.user).astype(pd.CategoricalDtype(["nobody", "user-2", "user-1", "user-0"]))
    for unit in ("s", "us", "ns"):
        start = pd.Series(START + pd.to_timedelta(windows.minute, unit="min")).dt.as_unit(unit)
        assert sum_blocks(user, start, windows.true, windows.challenger, windows.champion) == windows.sums


def test_days_end_at_midnight_utc_also_before_1970() -> None:
    long_ago = -60 * 365 * DAY
    minutes = (0, DAY - 1, DAY, 2 * DAY - 1, long_ago, long_ago + DAY - 1, long_ago - 1)
    sums = Windows.of(*(("ann", minute, BREAK, BREAK, BREAK) for minute in minutes)).sums
    assert (len(sums.by_user_day().counts), len(sums.by_block())) == (4, 7)
    epoch = int(START.timestamp()) // 60
    assert sums.blocks == [(0, (epoch + minute) // 120) for minute in sorted(minutes)]
    assert sums.blocks[0].period < 0


def test_flips_are_counted_by_true_label() -> None:
    true = np.array([BREAK, BREAK, BREAK, BUILD, BUILD, WRITE])
    ours, theirs = np.array([BREAK, BUILD, REJECTED, BUILD, WRITE, READ]), np.array([REJECTED, BREAK, BREAK, BREAK, WRITE, MEET])
    none = dict.fromkeys(LABELS, 0)
    found = count_flips(true, ours, theirs)
    assert found == Flips(windows=6, negative=none | {"BreakIdle": 2}, positive=none | {"BreakIdle": 1, "Build": 1})
    assert (found.negative_share, found.positive_share) == (2 / 6, 2 / 6)


def test_no_windows_have_no_flips() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    found = count_flips(nothing, nothing, nothing)
    assert (found.windows, found.negative_share, found.positive_share) == (0, 0.0, 0.0)
