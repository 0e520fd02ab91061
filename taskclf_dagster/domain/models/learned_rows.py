"""The rows of a snapshot that a model learns from: those of the first fit, those of the refit, and those between that judge the first fit.

How rows are split is decided in `data.split`, how a model is fitted in `training`.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.frame_parts import ChosenRows, Rows, choose_rows, iterate_parts
from taskclf_dagster.domain.data.snapshot_rows import StoredRows
from taskclf_dagster.domain.data.split import NEIGHBORHOOD_MINUTES
from taskclf_dagster.domain.data.times import epoch_us

Part = Literal["first_fit", "validation", "refit"]
"""first_fit: the older and the training rows. validation: the rows that the first fit is judged on. refit: both, without validation rows
within an hour of a user's first test row if more than MAX_NEIGHBORS of the user's test rows lie within an hour of them."""


MAX_NEIGHBORS = 0.1
"""Rows on both sides of a cut are alike: those before it teach or those after it are compared, but not both. Test rows within an hour of a
row that was learned from are left out of comparisons. Of a user with few test rows these would be too many, so the rows before give way."""


SPLITS_OF: dict[Part, tuple[str, ...]] = {
    "first_fit": ("older", "train"),
    "validation": ("validation",),
    "refit": ("older", "train", "validation"),
}


_KEYS = ("user_id", "bucket_start_ts", "split")


NEVER = 2**60
"""A minute after every other."""


def load_learned(stored: StoredRows, *, refit: bool, uses_older: bool, columns: Sequence[str]) -> pd.DataFrame:
    """Returns some columns of the rows that the model of a bundle has learned from, in key order, numbered from 0; see `is_learned`.

    Raises:
        SnapshotError: the file is not readable parquet.
    """
    rows = load_part(stored, "refit" if refit else "first_fit", columns=columns)
    return rows if uses_older else choose_rows(rows, (rows["split"] != "older").to_numpy())


def is_learned(rows: pd.DataFrame, *, refit: bool, uses_older: bool) -> npt.NDArray[np.bool_]:
    """Returns True for each row that the model of a bundle has learned from, shape (rows,).

    Args:
        rows: as `is_in_part`.
        refit: True if the model is the refit.
        uses_older: True if older rows taught.
    """
    learned = is_in_part(rows, "refit" if refit else "first_fit")
    return learned if uses_older else learned & (rows["split"] != "older").to_numpy()


def without_older(rows: Rows) -> Rows:
    """Returns the rows that are not older, numbered from 0: a frame, or parts as they were."""
    masks = tuple((part["split"] != "older").to_numpy() for part in iterate_parts(rows, ["split"]))
    return choose_rows(rows, masks[0]) if isinstance(rows, pd.DataFrame) else ChosenRows(rows, masks)


def open_splits(stored: StoredRows, splits: Sequence[str]) -> Rows:
    """Returns the rows of some splits of a stored snapshot: one frame if it is one file, else in parts that are read when they are used.

    Raises:
        SnapshotError: a file is not readable parquet.
    """
    if len(stored.sizes) == 1:
        return stored.load(splits=splits)
    return ChosenRows(stored, tuple(part["split"].isin(splits).to_numpy() for part in iterate_parts(stored, ["split"])))


def open_part(stored: StoredRows, part: Part) -> Rows:
    """Returns the rows of a part of a stored snapshot, of all columns: one frame if it is one file, else as `open_splits`.

    Raises:
        SnapshotError: a file is not readable parquet.
    """
    if len(stored.sizes) == 1:
        return load_part(stored, part)
    return ChosenRows(stored, tuple(is_in_part(keys, part) for keys in iterate_parts(stored, _KEYS)))


def load_part(stored: StoredRows, part: Part, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Returns the rows of a part of a stored snapshot, in key order, numbered from 0.

    Args:
        stored: the snapshot.
        part: the part.
        columns: the columns wanted; None is all.

    Raises:
        SnapshotError: the file is not readable parquet.
    """
    wanted = None if columns is None else list(dict.fromkeys((*columns, "split")))
    rows = stored.load(columns=wanted, splits=SPLITS_OF[part])
    if part != "refit":
        return rows
    keys = stored.load(columns=_KEYS, splits=(*SPLITS_OF[part], "test"))
    kept = is_in_part(keys, part)[(keys["split"] != "test").to_numpy()]
    return rows if kept.all() else rows[kept].reset_index(drop=True)


def is_in_part(rows: pd.DataFrame, part: Part) -> npt.NDArray[np.bool_]:
    """Returns True for each row of a part, shape (rows,).

    Args:
        rows: user_id (category), bucket_start_ts (UTC) and split (category) of every row of a snapshot.
        part: the part.
    """
    chosen = rows["split"].isin(SPLITS_OF[part]).to_numpy()
    if part != "refit":
        return chosen
    users = rows["user_id"].cat.codes.to_numpy() + 1  # 0 is no user
    minutes, is_test = epoch_us(rows["bucket_start_ts"]) // 60_000_000, (rows["split"] == "test").to_numpy()
    number = len(rows["user_id"].cat.categories) + 1
    learned_until, test_from = np.full(number, -NEVER), np.full(number, NEVER)
    np.maximum.at(learned_until, users[chosen], minutes[chosen])
    np.minimum.at(test_from, users[is_test], minutes[is_test])
    is_near = is_test & (minutes - learned_until[users] <= NEIGHBORHOOD_MINUTES)
    near, tested = (np.bincount(users[mask], minlength=number) for mask in (is_near, is_test))
    gives_way = near > MAX_NEIGHBORS * tested
    return chosen & ~(gives_way[users] & (test_from[users] - minutes <= NEIGHBORHOOD_MINUTES))
