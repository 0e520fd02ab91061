"""Rows in parts by ranges of users, so that one part at a time is in memory. A small dataset is one part.

Where rows are per user (reading, projection, split), each part is done alone; counts are sums over the parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import union_categoricals

PART_WINDOWS = 1_000_000
"""Windows of a part where there are several; one part is enough below twice as many. A user is never divided. Nothing but memory depends
on it."""


class FrameParts(Protocol):
    """Rows in one or more parts that follow each other in the order of their keys; no user is in two of them."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns."""

    @property
    def sizes(self) -> Sequence[int]:
        """The number of rows of each part."""

    def load_part(self, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns the rows of a part, numbered from 0; some columns, or all."""


@runtime_checkable
class DividedParts(FrameParts, Protocol):
    """Rows that hold something for each part, which others need not have."""

    def only(self, number: int) -> FrameParts:
        """Returns one part as the only one."""


Rows: TypeAlias = pd.DataFrame | FrameParts
"""Rows as one frame or in parts."""


@dataclass(frozen=True)
class WholeFrame:
    """A frame as the only part."""

    frame: pd.DataFrame

    @property
    def columns(self) -> Sequence[str]:
        return list(self.frame.columns)

    @property
    def sizes(self) -> Sequence[int]:
        return [len(self.frame)]

    def load_part(self, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return self.frame if columns is None else self.frame[list(columns)]


@dataclass(frozen=True)
class ChosenRows:
    """Some rows of others, in the same parts.

    Attributes:
        source: the others.
        masks: True for each row of a part that is chosen; one mask for each part.
    """

    source: FrameParts
    masks: tuple[npt.NDArray[np.bool_], ...]

    @property
    def columns(self) -> Sequence[str]:
        return self.source.columns

    @property
    def sizes(self) -> Sequence[int]:
        return [int(mask.sum()) for mask in self.masks]

    def load_part(self, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return choose_rows(self.source.load_part(number, columns), self.masks[number])


@dataclass(frozen=True)
class OnePart:
    """The rows of one part, as they are handed to whoever computes it, without what concerns other parts.

    Attributes:
        source: the rows that the part is of.
        number: of the part.
        mask: True for each row of the part that is chosen; None for all.
    """

    source: FrameParts
    number: int
    mask: npt.NDArray[np.bool_] | None = None

    def load(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns the rows, numbered from 0; some columns, or all."""
        frame = self.source.load_part(self.number, columns)
        return frame if self.mask is None else choose_rows(frame, self.mask)

    def choose(self, mask: npt.NDArray[np.bool_]) -> "OnePart":
        """Returns some of the rows, by a mask of the present ones."""
        if self.mask is None:
            return OnePart(self.source, self.number, mask)
        chosen = self.mask.copy()
        chosen[chosen] = mask
        return OnePart(self.source, self.number, chosen)


def list_parts(rows: Rows) -> list[OnePart]:
    """Returns each part alone."""
    parts = as_parts(rows)
    if isinstance(parts, ChosenRows):
        return [part.choose(mask) for part, mask in zip(list_parts(parts.source), parts.masks, strict=True)]
    numbers = range(len(parts.sizes))
    return [OnePart(parts.only(number), 0) if isinstance(parts, DividedParts) else OnePart(parts, number) for number in numbers]


def as_parts(rows: Rows) -> FrameParts:
    """Returns rows as parts: a frame is one."""
    return WholeFrame(rows) if isinstance(rows, pd.DataFrame) else rows


def choose_rows(frame: pd.DataFrame, mask: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Returns the rows where a mask is True, numbered from 0; the frame itself where it is True for all."""
    return frame if mask.all() else frame[mask].reset_index(drop=True)


def divide_mask(mask: npt.NDArray[np.bool_], sizes: Sequence[int]) -> tuple[npt.NDArray[np.bool_], ...]:
    """Returns the masks of parts of these sizes from that of all rows."""
    return tuple(np.split(mask, np.cumsum(sizes)[:-1]))


def iterate_parts(rows: Rows, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """Yields the frame of each part."""
    parts = as_parts(rows)
    for number in range(len(parts.sizes)):
        yield parts.load_part(number, columns)


def join_parts(rows: Rows, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Returns the rows of all parts as one frame, numbered from 0."""
    return join_frames(list(iterate_parts(rows, columns)))


def join_frames(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Returns frames of equal columns, at least one, as one frame; empties the list to save memory, column by column."""
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    frames.clear()
    if len(filled) == 1:
        return filled.pop()
    names = list(filled[0].columns)
    series = [{name: frame[name] for name in names} for frame in filled]
    filled.clear()
    return pd.DataFrame({name: _join_column([part.pop(name) for part in series]) for name in names})


def _join_column(values: list[pd.Series]) -> pd.Series:
    if all(isinstance(part.dtype, pd.CategoricalDtype) for part in values):
        return pd.Series(union_categoricals([part.array for part in values]))
    return pd.concat(values, ignore_index=True)
