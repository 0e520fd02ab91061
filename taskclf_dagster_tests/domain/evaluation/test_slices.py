"""Counts by slice, against counts by hand, and what they say: a slice that is really worse is found, equal models are not flagged."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.config.settings import ComparisonSettings
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.evaluation.block_counts import sum_blocks
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.slice_significance import SliceSignificance, assess_slices, find_clearly_worse
from taskclf_dagster.domain.evaluation.slices import (
    DIMENSIONS,
    LARGEST_CATEGORIES,
    OTHER_CATEGORIES,
    Slice,
    SliceCell,
    SliceSums,
    describe_windows,
    find_slice_inconsistencies,
    sum_slices,
)
from taskclf_dagster.domain.models.encoding import are_categories_known
from taskclf_dagster_tests.domain.evaluation.test_significance_simulation import World, simulated
from taskclf_dagster_tests.models import duel_rows, rows_of, sliced, tiny_model
from taskclf_dagster_tests.scenario import retrain_config

SETTINGS = retrain_config().comparison


def counted(
    rows: pd.DataFrame, ours: np.ndarray, theirs: np.ndarray, *, we_know: np.ndarray | None = None, they_know: np.ndarray | None = None
) -> SliceSums:
    """Counts of two models that are right where a mask says so; both know every category unless told otherwise."""
    true = label_codes(rows).astype(np.int64)
    everything = np.ones(len(rows), dtype=bool)
    knows = [everything if known is None else known for known in (we_know, they_know)]
    found = sum_slices(rows, true, np.where(ours, true, REJECTED), np.where(theirs, true, REJECTED), knows)
    assert found is not None
    return found


def by_name(sums: SliceSums) -> dict[str, list[list[int]]]:
    return {each.name: counts.tolist() for each, counts in sums.by_slice()}


# --- Counting ---------------------------------------------------------------------------------------------------------------------


def test_windows_are_counted_by_slice_and_user_day_and_a_rejected_one_is_wrong() -> None:
    rows = sliced(duel_rows({"ann": 1, "bob": 1}, days=1), category=["editor"] * 10 + ["browser"] * 6, after_idle=[True] + [False] * 15)
    ours, theirs = np.arange(16) < 12, np.arange(16) >= 4
    known = np.arange(16) > 0
    found = by_name(counted(rows, ours, theirs, we_know=known, they_know=known & (np.arange(16) != 15)))
    assert found == {
        # windows, right by the challenger, by the champion; ann has the first eight windows, bob the others
        "app category: browser": [[6, 2, 6]],
        "app category: editor": [[8, 8, 4], [2, 2, 2]],
        "hour of day: 09": [[8, 8, 4], [8, 4, 8]],
        "schema version: v1": [[8, 8, 4], [8, 4, 8]],
        "categories: known to both": [[7, 7, 4], [7, 4, 7]],
        "categories: unknown to both": [[1, 1, 0]],
        "categories: unknown to the champion": [[1, 0, 1]],
        "after idle: no": [[7, 7, 4], [8, 4, 8]],
        "after idle: yes": [[1, 1, 0]],
    }


def test_the_order_of_rows_does_not_matter_and_the_user_days_are_those_of_the_blocks() -> None:
    rows = sliced(duel_rows({"bob": 3, "ann": 2}, days=3), category=np.where(np.arange(120) % 3, "a", "b"))
    true, right = label_codes(rows).astype(np.int64), np.random.default_rng(1).random((2, len(rows))) < 0.7
    sums = counted(rows, *right)
    order = np.random.default_rng(2).permutation(len(rows))
    assert counted(rows.iloc[order].reset_index(drop=True), right[0][order], right[1][order]) == sums
    blocks = sum_blocks(rows["user_id"], rows["bucket_start_ts"], true, *(np.where(each, true, REJECTED) for each in right))
    assert find_slice_inconsistencies(sums, blocks) == []
    assert {each.dimension for each in sums.slices} == set(DIMENSIONS)
    assert len({cell.user_day for cell in sums.cells}) == 6


def test_only_the_largest_app_categories_are_slices_of_their_own() -> None:
    names = [f"app-{i:02}" for i in range(LARGEST_CATEGORIES + 5)]
    rows = duel_rows({"ann": 10}, days=5)
    rows = sliced(rows, category=[names[i % len(names)] if i >= 5 else names[-1] for i in range(len(rows))])
    values = [each.value for each in counted(rows, *np.ones((2, len(rows)), dtype=bool)).slices if each.dimension == "app category"]
    assert len(values) == LARGEST_CATEGORIES + 1
    assert OTHER_CATEGORIES in values
    assert names[-1] in values


def test_without_windows_there_are_no_slices_and_without_what_they_are_like_nothing_is_counted() -> None:
    rows = sliced(duel_rows())
    nothing = counted(rows.head(0), np.array([], dtype=bool), np.array([], dtype=bool))
    assert (nothing.slices, nothing.cells) == ([], [])
    true, known = label_codes(rows).astype(np.int64), np.ones(len(rows), dtype=bool)
    assert sum_slices(rows, true, true, true, [known, None]) is None
    assert sum_slices(rows.drop(columns="app_category"), true, true, true, [known, known]) is None


def test_the_rows_of_a_snapshot_have_what_windows_are_sliced_by_and_a_missing_category_is_one() -> None:
    rows = rows_of("test")
    described = describe_windows(rows, "v1")
    assert set(described["schema_version"]) == {"v1"}
    missing = described.assign(app_category=described["app_category"].where(described.index > 2), label=rows["label"])
    found = by_name(counted(missing, *np.ones((2, len(rows)), dtype=bool)))
    assert sum(day[0] for day in found["app category: none"]) == 3
    assert sum(day[0] for name, days in found.items() if name.startswith("app category") for day in days) == len(rows)


def test_a_window_is_known_if_app_and_both_categories_are_and_whoever_the_user_is() -> None:
    rows, model = rows_of("test"), tiny_model()
    assert are_categories_known(rows, model.schema, model.encoders).all()
    for column in ("app_id", "app_category", "domain_category"):
        value = str(rows[column].iloc[0])
        without = {**model.encoders, column: [name for name in model.encoders[column] if name != value]}
        assert are_categories_known(rows, model.schema, without).tolist() == (rows[column] != value).tolist()
    assert are_categories_known(rows, model.schema, {**model.encoders, "user_id": []}).all()
    new = rows.assign(app_id=rows["app_id"].cat.rename_categories(lambda name: "__unknown__" if name == rows["app_id"].iloc[0] else name))
    assert not are_categories_known(new, model.schema, model.encoders)[0]


# --- Counts that contradict themselves ------------------------------------------------------------------------------------------------


def test_counts_that_contradict_each_other_or_those_by_block_are_found() -> None:
    rows = sliced(duel_rows(), category=np.where(np.arange(400) % 2, "a", "b"))
    true = label_codes(rows).astype(np.int64)
    blocks = sum_blocks(rows["user_id"], rows["bucket_start_ts"], true, true, true)
    sums = counted(rows, *np.ones((2, len(rows)), dtype=bool))
    first, *others = sums.cells
    wrong = {
        "a window more": [first._replace(windows=first.windows + 1), *others],
        "one right less": [first._replace(challenger_correct=first.challenger_correct - 1), *others],
        "more right than there are": [first._replace(champion_correct=first.windows + 1), *others],
        "a cell twice": [first, first, *others],
        "a cell less": others,
        "another order": [*others, first],
        "a user-day too many": [*others, first._replace(position=len(sums.slices) - 1, user_day=99)],
        "a negative slice": [first._replace(position=-1), *others],
    }
    assert find_slice_inconsistencies(sums, blocks) == []
    unseen = [name for name, cells in wrong.items() if not find_slice_inconsistencies(SliceSums(slices=sums.slices, cells=cells), blocks)]
    assert unseen == []
    assert find_slice_inconsistencies(SliceSums(slices=[], cells=[]), blocks) != []
    twice = [sums.slices[0], sums.slices[0], *sums.slices[2:]]
    assert find_slice_inconsistencies(SliceSums(slices=twice, cells=sums.cells), blocks) != []


# --- What they say ----------------------------------------------------------------------------------------------------------------


def by_day(*days: tuple[int, int, int]) -> SliceSums:
    """One slice with these windows, and right ones of both models, by user-day."""
    return SliceSums(slices=[Slice("after idle", "yes")], cells=[SliceCell(0, i, *day) for i, day in enumerate(days)])


BY_HAND = by_day((4, 3, 4), (4, 2, 3), (2, 1, 1))
"""Six of ten right, and eight: the days' influences on -0.2 are -0.02, -0.02 and 0.04, so that the standard error is sqrt(3/2 * 0.0024)."""


def test_difference_interval_and_p_value_are_those_worked_out_by_hand() -> None:
    (found,) = assess_slices(BY_HAND, SETTINGS.model_copy(update={"min_user_days": 3, "min_slice_windows": 10}))
    assert (found.name, found.windows, found.user_days, found.judged) == ("after idle: yes", 10, 3, True)
    assert (found.challenger_accuracy, found.champion_accuracy) == (0.6, 0.8)
    assert found.difference == pytest.approx(-0.2)
    assert found.standard_error == pytest.approx(0.06)
    # t with 2 degrees of freedom has the distribution function 1/2 + t / (2 sqrt(2 + t^2)); here t is (-0.2 + 0.05) / 0.06.
    assert found.p_value == found.adjusted_p == pytest.approx(0.5 - 2.5 / (2 * 8.25**0.5))
    assert found.interval == pytest.approx((-0.2 - 4.302653 * 0.06, -0.2 + 4.302653 * 0.06))


@pytest.mark.parametrize(("windows", "user_days", "judged"), [(10, 3, True), (11, 3, False), (10, 4, False)])
def test_a_slice_is_judged_from_the_smallest_numbers_of_windows_and_user_days_on(windows: int, user_days: int, judged: bool) -> None:
    (found,) = assess_slices(BY_HAND, SETTINGS.model_copy(update={"min_user_days": user_days, "min_slice_windows": windows}))
    assert (found.judged, found.p_value is not None, found.adjusted_p is not None) == (judged, judged, judged)
    assert found.interval is not None


def test_one_user_day_has_no_interval() -> None:
    (found,) = assess_slices(by_day((200, 100, 200)), SETTINGS)
    assert (found.difference, found.interval, found.judged) == (-0.5, None, False)


def test_slices_are_sorted_by_their_loss_and_the_p_values_are_adjusted_for_all_that_are_judged() -> None:
    days = [(40, 30 + i % 3, 40) for i in range(6)], [(40, 36 + i % 4, 40) for i in range(6)], [(2, 0, 2)]
    slices = [Slice("app category", name) for name in ("c", "b", "small")]
    sums = SliceSums(slices=slices, cells=[SliceCell(s, i, *day) for s, of_slice in enumerate(days) for i, day in enumerate(of_slice)])
    found = assess_slices(sums, SETTINGS)
    assert [each.name.rpartition(" ")[2] for each in found] == ["small", "c", "b"]
    small, worse, other = found
    assert small.adjusted_p is None
    assert worse.p_value is not None
    assert worse.adjusted_p == pytest.approx(2 * worse.p_value)
    assert other.adjusted_p == other.p_value
    assert find_clearly_worse(found, 0.05) == [worse]


# --- How often, in worlds whose truth is known -------------------------------------------------------------------------------------------

CATEGORIES = np.array(["browser", "chat", "editor", "mail", "terminal", "other"])


def slices_of(world: World, rng: np.random.Generator, settings: ComparisonSettings) -> list[SliceSignificance]:
    """Assesses a world whose app category follows the activity for the most part, and where one window of twenty comes after idle."""
    user = pd.Series(pd.Categorical.from_codes(world.user, [f"user-{i}" for i in range(8)]))
    start = pd.Series(((world.day * 1440 + 8 * 60 + world.minute) * 60).astype("datetime64[s]")).dt.tz_localize("UTC")
    rows = pd.DataFrame({"user_id": user, "bucket_start_ts": start, "label": pd.Categorical.from_codes(world.true, list(LABELS))})
    kind = np.where(world.minute // 10 % 3 == 0, world.true, (world.minute // 30 + world.user + world.day) % 6)
    rows = sliced(rows, category=CATEGORIES[kind], after_idle=rng.random(len(rows)) < 0.05)
    known = [rng.random(len(rows)) > 0.03 for _ in range(2)]
    sums = sum_slices(rows, world.true, world.challenger, world.champion, known)
    assert sums is not None
    return assess_slices(sums, settings)


def test_equal_models_are_flagged_in_no_slice_more_often_than_the_significance_says() -> None:
    rng, runs = np.random.default_rng(20261130), 150
    strict, shipped = SETTINGS.model_copy(update={"clearly_worse_margin": 0.0}), SETTINGS
    flagged = worst = 0
    for _ in range(runs):
        world = simulated(rng, users=6, days=4)
        found = slices_of(world, rng, strict)
        assert sum(each.judged for each in found) >= 15
        # A margin of 0 is the border of the hypothesis, where false alarms of the family are at the nominal rate, or below for dependence.
        flagged += bool(find_clearly_worse(found, 0.05))
        worst += bool(find_clearly_worse(slices_of(world, rng, shipped), 0.05))
    assert flagged / runs <= 0.08
    assert worst / runs <= 0.02


def test_a_slice_that_is_really_worse_is_found_and_only_slices_with_its_windows_are() -> None:
    rng, found = np.random.default_rng(12), 0
    for _ in range(30):
        world = simulated(rng, users=6, days=4)
        terminal = (world.minute // 10 % 3 != 0) & ((world.minute // 30 + world.user + world.day) % 6 == 4)
        lost = terminal & (rng.random(len(world.true)) < 0.8)
        worse = replace(world, challenger=np.where(lost, REJECTED, world.challenger))
        flagged = find_clearly_worse(slices_of(worse, rng, SETTINGS), 0.05)
        found += "app category: terminal" in [each.name for each in flagged]
        assert {each.name for each in flagged if each.name.startswith("app category")} <= {"app category: terminal"}
    assert found >= 27
