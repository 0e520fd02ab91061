"""Counts of two models on the same windows by slice: by what a window is like, such as its app category or its hour, and user-day.

The windows that are right are counted, so that a slice of few labels can be judged: in the windows of a terminal hardly any label but two
occurs, and a macro-F1 there would be the mean over labels with a handful of windows. What the counts say is in `slice_significance`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import SchemaVersion
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION, BlockSums
from taskclf_dagster.domain.storage.records import Record

DIMENSIONS = ("app category", "hour of day", "schema version", "categories", "after idle")
"""Each of them divides all windows into slices."""


LARGEST_CATEGORIES = 30
"""App categories that are slices of their own; the windows of all smaller ones are one slice, so that a receipt stays small."""


OTHER_CATEGORIES = "all smaller ones"


KNOWN_TO = ("known to both", "unknown to the challenger", "unknown to the champion", "unknown to both")
"""The slices by known categories: whether app, app category and domain category are in the vocabularies of a model."""


_COLUMNS = ("app_category", "hour_of_day", "schema_version", "idle_return_indicator")


_DAY_US = 86_400_000_000


_Int = npt.NDArray[np.int64]


Known = npt.NDArray[np.bool_]


class Slice(NamedTuple):
    """Windows that are alike: a dimension, one of DIMENSIONS, and a value of it."""

    dimension: str
    value: str

    @property
    def name(self) -> str:
        return f"{self.dimension}: {self.value}"


class SliceCell(NamedTuple):
    """Windows of one slice and user-day, and how many of them each model has right; a rejected window is wrong.

    The user-day is a position in `BlockSums.by_user_day` of the same comparison.
    """

    position: int
    user_day: int
    windows: int
    challenger_correct: int
    champion_correct: int


class SliceSums(Record):
    """Counts of both models by slice and user-day (UTC).

    Attributes:
        slices: in the order of DIMENSIONS, then by value; only those with windows.
        cells: sorted by the position of the slice and the user-day; only those with windows.
    """

    slices: list[Slice]
    cells: list[SliceCell]

    def by_slice(self) -> Iterator[tuple[Slice, _Int]]:
        """Yields each slice with its counts of shape (user-days, 3): windows, right by the challenger, right by the champion."""
        cells = self.table
        for position, each in enumerate(self.slices):
            yield each, cells[cells[:, 0] == position, 2:]

    @property
    def table(self) -> _Int:
        """The cells, shape (n, 5)."""
        return np.array(self.cells, dtype=np.int64).reshape(-1, 5)


def describe_windows(rows: pd.DataFrame, schema_version: SchemaVersion) -> pd.DataFrame:
    """Returns user_id and bucket_start_ts of each window with what it is sliced by, in the order of the rows.

    Args:
        rows: rows of a snapshot.
        schema_version: of the snapshot, which has one.
    """
    version = pd.Categorical.from_codes(np.zeros(len(rows), dtype=np.int8), [schema_version])
    return rows[["user_id", "bucket_start_ts", *slice_columns(rows.columns)]].assign(schema_version=version)


def slice_columns(names: Iterable[object]) -> list[str]:
    """Returns those of the columns by which windows are sliced."""
    present = set(names)
    return [column for column in _COLUMNS if column in present]


def sum_slices(rows: pd.DataFrame, true: _Int, challenger: _Int, champion: _Int, knows: Sequence[Known | None]) -> SliceSums | None:
    """Counts both models by slice and user-day; the order of rows does not matter.

    Args:
        rows: from `describe_windows`, shape (n, ...).
        true: class index of the label, shape (n,).
        challenger: class index of its prediction, REJECTED for none, shape (n,).
        champion: likewise.
        knows: of challenger and champion, True for each window whose categories the model knows, shape (n,); None if that is not known.

    Returns:
        The counts; None if it is not known what the windows are like, as in predictions that an earlier version stored.
    """
    ours, theirs = knows
    if ours is None or theirs is None or slice_columns(rows.columns) != list(_COLUMNS):
        return None
    day, days = _number_user_days(rows)
    right = challenger == true, champion == true
    groupings = {
        "app category": _group_categories(rows["app_category"]),
        "hour of day": _group_hours(rows["hour_of_day"]),
        "schema version": _group(list(rows["schema_version"].cat.categories), rows["schema_version"].cat.codes.to_numpy()),
        "categories": _group(list(KNOWN_TO), (~ours).astype(np.int64) + 2 * (~theirs).astype(np.int64)),
        "after idle": _group(["no", "yes"], rows["idle_return_indicator"].to_numpy().astype(np.int64)),
    }
    slices: list[Slice] = []
    cells: list[SliceCell] = []
    for dimension in DIMENSIONS:
        values, codes = groupings[dimension]
        keys = codes * days + day
        chosen = keys, keys[right[CHALLENGER]], keys[right[CHAMPION]]
        counts = np.stack([np.bincount(each, minlength=len(values) * days) for each in chosen], axis=-1).reshape(len(values), days, 3)
        for value, table in zip(values, counts, strict=True):
            filled = np.flatnonzero(table[:, 0])
            if len(filled):
                cells += [SliceCell(len(slices), int(i), *table[i].tolist()) for i in filled]
                slices.append(Slice(dimension, value))
    return SliceSums(slices=slices, cells=cells)


def find_slice_inconsistencies(slices: SliceSums, sums: BlockSums) -> list[str]:
    """Finds counts by slice that contradict each other or those by block: the slices of a dimension share out all windows of a user-day."""
    cells, counts = slices.table, sums.by_user_day().counts
    whole = np.stack([counts.support, *np.moveaxis(counts.correct, -1, 0)], axis=-1).sum(axis=1)
    position, user_day, windows = cells[:, 0], cells[:, 1], cells[:, 2]
    order = position * max(1, len(whole)) + user_day
    possible = bool((cells >= 0).all() and (position < len(slices.slices)).all() and (user_day < len(whole)).all())
    if not possible or not (np.diff(order) > 0).all() or len(set(slices.slices)) < len(slices.slices):
        return ["the counts by slice are not one for each slice and user-day"]
    if (cells[:, 3:].max(axis=1, initial=0) > windows).any():
        return ["more windows of a slice are right than there are"]
    dimensions = np.array([each.dimension for each in slices.slices], dtype=object)
    wrong = [] if slices.slices or not len(whole) else ["there are windows, but no slices of them"]
    for dimension in dict.fromkeys(dimensions):
        mine = cells[np.isin(position, np.flatnonzero(dimensions == dimension))]
        shared_out = np.zeros_like(whole)
        np.add.at(shared_out, mine[:, 1], mine[:, 2:])
        if not np.array_equal(shared_out, whole):
            wrong.append(f"the slices by {dimension} do not add up to the counts by block")
    return wrong


def _number_user_days(rows: pd.DataFrame) -> tuple[_Int, int]:
    """Returns the number of each window's user-day, sorted by user and day as in `BlockSums.by_user_day`, and how many there are."""
    user = rows["user_id"].cat.set_categories(sorted(rows["user_id"].unique())).cat.codes.to_numpy().astype(np.int64)
    day = epoch_us(rows["bucket_start_ts"]) // _DAY_US
    span = int(np.ptp(day)) + 1 if len(day) else 1
    keys, number = np.unique(user * span + day - day.min(initial=np.iinfo(np.int64).max), return_inverse=True)
    return number.astype(np.int64), len(keys)


def _group(labels: list[str], codes: npt.NDArray[np.integer]) -> tuple[list[str], _Int]:
    """Returns the sorted values of a dimension and the position of each window's, from labels that may repeat and positions in them."""
    values, of_label = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    return [str(value) for value in values], of_label.astype(np.int64)[codes]


def _group_categories(column: pd.Series) -> tuple[list[str], _Int]:
    names = [*(str(name) for name in column.cat.categories), "none"]
    codes = column.cat.codes.to_numpy()  # -1, the last name, for a missing one
    counts = np.bincount(codes % len(names), minlength=len(names)).tolist()
    largest = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))[:LARGEST_CATEGORIES]
    return _group([name if i in largest else OTHER_CATEGORIES for i, name in enumerate(names)], codes)


def _group_hours(column: pd.Series) -> tuple[list[str], _Int]:
    hours, codes = np.unique(column.to_numpy(dtype=np.float64), return_inverse=True)
    return _group([f"{hour:02.0f}" for hour in hours], codes)
