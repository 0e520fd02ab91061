"""Counts of two models on the same windows, by user, 2-hour block and label: all that the statistics need, for a resample is a sum.

What the counts say about a difference is in `significance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.evaluation.confusion import N_LABELS, REJECTED
from taskclf_dagster.domain.storage.records import Record

BLOCK_HOURS = 2


CHALLENGER, CHAMPION = 0, 1
"""Positions on the model axis of `PairedCounts`."""


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


class Block(NamedTuple):
    """Two hours of one user: index into the users, and the number of the block since the epoch in UTC."""

    user: int
    period: int


class Cell(NamedTuple):
    """Windows of one block and label: how many are truly so (support), and how many each model predicted so and got right."""

    block: int
    label: int
    support: int
    challenger_correct: int
    challenger_predicted: int
    champion_correct: int
    champion_predicted: int


@dataclass(frozen=True)
class PairedCounts:
    """Counts of challenger and champion on the same windows.

    Attributes:
        table: shape (..., n_labels, 5), the last axis in the order of `Cell`: support, then correct and predicted windows of the
            challenger, then those of the champion.
    """

    table: npt.NDArray[np.number]

    @property
    def support(self) -> npt.NDArray[np.number]:
        """True windows, shape (..., n_labels)."""
        return self.table[..., 0]

    @property
    def correct(self) -> npt.NDArray[np.number]:
        """True positives, shape (..., n_labels, 2); the last axis is CHALLENGER, CHAMPION."""
        return self.table[..., 1::2]

    @property
    def predicted(self) -> npt.NDArray[np.number]:
        """Windows predicted so, right or wrong, shape (..., n_labels, 2); the last axis is CHALLENGER, CHAMPION."""
        return self.table[..., 2::2]

    @property
    def actual_and_predicted(self) -> npt.NDArray[np.number]:
        """The denominator of F1: support plus predicted, shape (..., n_labels, 2)."""
        return self.table[..., :1] + self.predicted

    @property
    def swapped(self) -> "PairedCounts":
        """The same counts with the models exchanged."""
        return PairedCounts(self.table[..., [0, 3, 4, 1, 2]])

    @property
    def total(self) -> "PairedCounts":
        """Sums over the first axis."""
        return PairedCounts(self.table.sum(axis=0))

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_] | slice) -> "PairedCounts":
        """Returns some positions of the first axis."""
        return PairedCounts(self.table[rows])

    def take_labels(self, labels: Sequence[int] | npt.NDArray[np.bool_]) -> "PairedCounts":
        """Returns some labels, in this order."""
        return PairedCounts(self.table[..., labels, :])

    def f1(self) -> _Float:
        """Returns the F1 score of each label and model, shape (..., n_labels, 2); 0 for a label that is neither true nor predicted."""
        return 2 * self.correct / np.maximum(self.actual_and_predicted, 1)

    def macro_f1_difference(self) -> _Float:
        """Returns challenger minus champion in macro-F1 over the labels with true windows, shape (...); NaN if none has any."""
        present = self.support > 0
        f1, n = (self.f1() * present[..., None]).sum(axis=-2), present.sum(axis=-1)
        return np.where(n > 0, f1[..., CHALLENGER] - f1[..., CHAMPION], np.nan) / np.maximum(n, 1)


@dataclass(frozen=True)
class UserDays:
    """Counts by user and day (UTC): index into the users, shape (days,), and counts of shape (days, n_labels)."""

    user: _Int
    counts: PairedCounts


class BlockSums(Record):
    """Counts of both models by user and 2-hour block.

    Attributes:
        users: sorted; only those with windows.
        blocks: sorted; only those with windows.
        cells: sorted; all-zero cells are left out.
    """

    users: list[str]
    blocks: list[Block]
    cells: list[Cell]

    def by_block(self) -> PairedCounts:
        """Counts of shape (blocks, 8), labels in the order of LABELS."""
        table = np.zeros((len(self.blocks), N_LABELS, 5), dtype=np.int64)
        cells = np.array(self.cells, dtype=np.int64).reshape(-1, 7)
        table[cells[:, 0], cells[:, 1]] = cells[:, 2:]
        return PairedCounts(table)

    def by_user_day(self) -> UserDays:
        """Counts of shape (days, 8), labels in the order of LABELS."""
        user, period = np.array(self.blocks, dtype=np.int64).reshape(-1, 2).T
        # Blocks are sorted by user and time, so a user-day is a run of them.
        begins = np.flatnonzero(np.diff(user, prepend=-1) | np.diff(period // (24 // BLOCK_HOURS), prepend=0))
        table = self.by_block().table
        return UserDays(user[begins], PairedCounts(np.add.reduceat(table, begins, axis=0) if len(begins) else table))


class Flips(Record):
    """Windows where exactly one model is right, by true label: negative where it is the champion, positive where the challenger."""

    windows: int
    negative: dict[str, int]
    positive: dict[str, int]

    @property
    def negative_share(self) -> float:
        return sum(self.negative.values()) / max(1, self.windows)

    @property
    def positive_share(self) -> float:
        return sum(self.positive.values()) / max(1, self.windows)


def sum_blocks(user: pd.Series, start: pd.Series, true: _Int, challenger: _Int, champion: _Int) -> BlockSums:
    """Counts both models by user and 2-hour block; the order of rows does not matter.

    Args:
        user: category of str, shape (n,).
        start: start of the window in UTC, shape (n,).
        true: class index of the label, shape (n,).
        challenger: class index of its prediction, REJECTED for none, shape (n,).
        champion: likewise.
    """
    users = sorted(user.unique())
    rank = user.cat.set_categories(users).cat.codes.to_numpy().astype(np.int64)
    period = epoch_us(start) // (BLOCK_HOURS * 3_600_000_000)
    first = int(period.min(initial=0))
    span = int(period.max(initial=0)) - first + 1
    keys, block = np.unique(rank * span + (period - first), return_inverse=True)
    # The column of REJECTED, one past the last label, takes the windows that do not count.
    width = REJECTED + 1
    correct = [np.where(predicted == true, true, REJECTED) for predicted in (challenger, champion)]
    columns = [true, correct[CHALLENGER], challenger, correct[CHAMPION], champion]
    counted = [np.bincount(block * width + labels, minlength=len(keys) * width) for labels in columns]
    counts = np.stack(counted, axis=-1).reshape(-1, width, len(columns))[:, :N_LABELS]
    filled = np.argwhere(counts.any(axis=-1))
    return BlockSums(
        users=users,
        blocks=[Block(*block) for block in zip((keys // span).tolist(), (keys % span + first).tolist(), strict=True)],
        cells=[Cell(*cell) for cell in np.hstack([filled, counts[filled[:, 0], filled[:, 1]]]).tolist()],
    )


def count_flips(true: _Int, challenger: _Int, champion: _Int) -> Flips:
    """Counts windows where exactly one model is right. All class indices, REJECTED for none, shape (n,)."""
    ours, theirs = challenger == true, champion == true
    lost, won = (np.bincount(true[flipped], minlength=N_LABELS).tolist() for flipped in (theirs & ~ours, ours & ~theirs))
    return Flips(windows=len(true), negative=dict(zip(LABELS, lost, strict=True)), positive=dict(zip(LABELS, won, strict=True)))
