"""The rows of a snapshot that is not stored yet: labeled windows part by part, without those that are excluded, each with its split.

Where users are cut is decided in `split`; the record of the snapshot is made in `snapshot`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.data.frame_parts import FrameParts, OnePart, WholeFrame, choose_rows, list_parts
from taskclf_dagster.domain.data.split import SPLITS, Cut, Split, choose_holdout_users, list_split_users, split_by_time
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL

MIN_SESSION_SECONDS = 180


_HELPERS = ("span", "session_seconds")


_SPLIT_BY = ("user_id", "session_id", "bucket_start_ts", "gold", "span")


@dataclass(frozen=True)
class SplitRows:
    """Labeled windows that enter a snapshot, in the parts of their source; a part that has none is left out.

    Attributes:
        source: as `LabelingResult.frame`.
        numbers: of the parts of the source.
        masks: True for each row of these that enters; one mask for each.
        codes: the split of each row that enters; one array for each.
    """

    source: FrameParts
    numbers: tuple[int, ...]
    masks: tuple[npt.NDArray[np.bool_], ...]
    codes: tuple[npt.NDArray[np.int8], ...]

    @property
    def columns(self) -> Sequence[str]:
        return [*(name for name in self.source.columns if name not in _HELPERS), "split"]

    @property
    def sizes(self) -> Sequence[int]:
        return [len(codes) for codes in self.codes]

    def load_part(self, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns user_id, session_id, bucket_start_ts, the model inputs, label, gold, split (category over SPLITS), or some of them."""
        wanted = self.columns if columns is None else columns
        rows = self.source.load_part(self.numbers[number], [name for name in wanted if name != "split"])
        rows = choose_rows(rows, self.masks[number])
        if "split" not in wanted:
            return rows
        split = pd.Series(pd.Categorical.from_codes(self.codes[number], categories=list(SPLITS)), name="split")
        return pd.concat([rows, split], axis=1)[list(wanted)]

    def only(self, number: int) -> "SplitRows":
        """Returns the rows of one part alone, without masks and splits of the others."""
        return SplitRows(self.source, (self.numbers[number],), (self.masks[number],), (self.codes[number],))


@dataclass(frozen=True)
class SplitResult:
    """The rows of a snapshot, and how they came about.

    Attributes:
        rows: with their split.
        cuts: of all users.
        holdout_users: the users held out, sorted.
        excluded: number of labeled windows left out, by reason.
    """

    rows: FrameParts
    cuts: list[Cut]
    holdout_users: list[str]
    excluded: dict[str, int]


class _Examined(NamedTuple):
    """The rows of a part that enter, the number of others by reason, and the users who can be split, sorted."""

    mask: npt.NDArray[np.bool_]
    excluded: dict[str, int]
    users: list[str]


def split_rows(
    source: FrameParts, schema: FeatureSchema, *, split_from: datetime, holdout_fraction: float, engine: Engine = LOCAL
) -> SplitResult:
    """Excludes and splits labeled windows part by part; the only part of a small dataset is then in memory.

    Args:
        source: as `LabelingResult.frame`.
        schema: of the windows.
        split_from: start of the range that is split.
        holdout_fraction: share of users held out [0 to 1].
        engine: does so with each part.
    """
    examined = list(engine.map(partial(_examine, schema=schema, split_from=split_from), list_parts(source)))
    excluded = {reason: sum(part.excluded[reason] for part in examined) for reason in ("short_session", "no_measurement")}
    held_out = choose_holdout_users([user for part in examined for user in part.users], holdout_fraction)
    numbers = tuple(number for number, part in enumerate(examined) if part.mask.any()) or (0,)
    masks = tuple(examined[number].mask for number in numbers)
    kept = [OnePart(source, number, mask) for number, mask in zip(numbers, masks, strict=True)]
    splits = list(engine.map(partial(_split, split_from=split_from, held_out=held_out), kept))
    rows: FrameParts = SplitRows(source, numbers, masks, tuple(split.codes for split in splits))
    rows = WholeFrame(rows.load_part(0)) if len(numbers) == 1 else rows
    return SplitResult(rows, [cut for split in splits for cut in split.cuts], held_out, excluded)


def _examine(part: OnePart, *, schema: FeatureSchema, split_from: datetime) -> _Examined:
    frame = part.load()
    short = frame["session_seconds"].to_numpy() < MIN_SESSION_SECONDS
    empty = ~short & np.logical_and.reduce([np.isnan(frame[column].to_numpy()) for column in schema.numeric_inputs])
    mask = ~(short | empty)
    users = list_split_users(frame.loc[mask, ["user_id", "bucket_start_ts"]], split_from)
    return _Examined(mask, {"short_session": int(short.sum()), "no_measurement": int(empty.sum())}, users)


def _split(part: OnePart, *, split_from: datetime, held_out: list[str]) -> Split:
    return split_by_time(part.load(_SPLIT_BY), split_from=split_from, held_out=held_out)
