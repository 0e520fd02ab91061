"""Splits labeled windows by time, per user, with cuts where sessions end (contract, section 5; design, sections 3 and 6).

Never shuffled. Times, sessions and spans are all it uses; windows are excluded in `snapshot`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import FEATURE_LOOKBACK_SECONDS
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us
from taskclf_dagster.domain.storage.records import Record

SPLITS = ("train", "validation", "test", "embargo", "weak_after_cut", "older")
"""Values of the split column. Two are kept out of training and judging: embargo, rows on which the features of later parts look back, and
weak_after_cut, weak rows later than their user's training part. Rows before the range that is split are older: they only teach."""


TRAIN, VALIDATION, TEST, EMBARGO, WEAK_AFTER_CUT, OLDER = range(len(SPLITS))
"""Codes of the splits: positions in SPLITS."""


TIMED_SPLITS = ("older", "train", "validation", "test")
"""The splits that learn or judge, in the order of a user's time."""


TRAIN_PERCENT, TRAIN_AND_VALIDATION_PERCENT = 70, 85


SLACK_PERCENT = 5


NEIGHBORHOOD_MINUTES = 60
"""Windows within this time of a window that a model learned from are not independent of it: a stretch of work lasts longer than the 15
minutes that features look back."""


EMBARGO_US = FEATURE_LOOKBACK_SECONDS * 1_000_000


Boundary = Literal["session", "span", "row"]


class Cut(Record):
    """One cut of one user's gold rows.

    Attributes:
        part: the part that begins at the cut.
        target_row: number of rows that are 70 % or 85 % of all.
        row: position of the cut: the first row of the later part.
        at: start of that row; None if the part is empty.
        boundary: session (a session ends here and no span has rows on both sides), span (no span has rows on both sides) or row.
    """

    user_id: str
    part: Literal["validation", "test"]
    target_row: int
    row: int
    at: datetime | None
    boundary: Boundary


@dataclass(frozen=True)
class Split:
    """The split of every row as a code, shape (rows,), the cuts made, and the users held out."""

    codes: npt.NDArray[np.int8]
    cuts: list[Cut]
    holdout_users: list[str]


def choose_holdout_users(users: list[str], fraction: float) -> list[str]:
    """Returns the first max(1, int(n * fraction)) users ordered by sha256("taskclf-holdout:" + user_id); none at fraction 0."""
    if fraction <= 0 or not users:
        return []
    ordered = sorted(users, key=lambda user: hashlib.sha256(f"taskclf-holdout:{user}".encode()).hexdigest())
    return sorted(ordered[: max(1, int(len(users) * fraction))])


def list_split_users(rows: pd.DataFrame, split_from: datetime | None) -> list[str]:
    """Returns the users of rows in the range that is split, of whom some may be held out; the arguments are those of `split_by_time`."""
    users = rows["user_id"].cat.codes.to_numpy()
    names = [str(name) for name in rows["user_id"].cat.categories]
    return [names[user] for user in np.unique(users[~_find_older(epoch_us(rows["bucket_start_ts"]), split_from)])]


def split_by_time(
    rows: pd.DataFrame, *, split_from: datetime | None = None, holdout_fraction: float = 0.0, held_out: Sequence[str] | None = None
) -> Split:
    """Assigns every row to a split.

    A user's gold rows are cut at 70 % and 85 %, each cut moved by at most 5 % of them to the nearest session boundary that no span
    crosses, else to the nearest span boundary, else left. The 15 minutes before a cut are dropped from the earlier part, because the
    features of the later rows look back on them. Weak rows stay only in the training part. All gold rows of held-out users are test. Rows
    before `split_from` are older, and no part of this; those of held-out users are kept out.

    Args:
        rows: user_id, session_id (category), bucket_start_ts (UTC), gold (bool), span (int), sorted by user and time.
        split_from: start of the range that is split; None splits every row.
        holdout_fraction: share of users held out [0 to 1].
        held_out: the users held out, where the rows are a part of all; None chooses them by the fraction.
    """
    users = rows["user_id"].cat.codes.to_numpy()
    names = [str(name) for name in rows["user_id"].cat.categories]
    starts = epoch_us(rows["bucket_start_ts"])
    sessions = rows["session_id"].cat.codes.to_numpy()
    spans, gold = rows["span"].to_numpy(), rows["gold"].to_numpy()
    older = _find_older(starts, split_from)
    present = np.unique(users)
    if held_out is None:
        held_out = choose_holdout_users(list_split_users(rows, split_from), holdout_fraction)
    kept_out = set(held_out)
    codes = np.full(len(rows), TRAIN, dtype=np.int8)
    cuts: list[Cut] = []
    begins = np.searchsorted(users, present, side="left")
    ends = np.searchsorted(users, present, side="right")
    for user, begin, end in zip(present, begins, ends, strict=True):
        own = np.arange(begin, end)
        own_gold = own[gold[own] & ~older[own]]
        if names[user] in kept_out:
            codes[own] = WEAK_AFTER_CUT
            codes[own_gold] = TEST
            continue
        if len(own_gold):
            made = _cut_user(names[user], starts[own_gold], sessions[own_gold], spans[own_gold])
            cuts.extend(made)
            codes[own] = _assign(starts[own], gold[own], starts[own_gold], [cut.row for cut in made])
        codes[own[older[own] & (codes[own] == TRAIN)]] = OLDER
    return Split(codes, cuts, list(held_out))


def _find_older(starts: npt.NDArray[np.int64], split_from: datetime | None) -> npt.NDArray[np.bool_]:
    return np.zeros(len(starts), dtype=bool) if split_from is None else starts < to_epoch_us(split_from)


def is_gold_in_range(rows: pd.DataFrame) -> pd.Series:
    """Returns True for the gold rows of the range that is split; of gold rows, `weak_after_cut` has older ones only.

    Args:
        rows: columns gold and split.
    """
    return rows["gold"] & ~rows["split"].isin(("older", "weak_after_cut"))


def find_split_overlaps(rows: pd.DataFrame) -> list[str]:
    """Finds users whose splits overlap in time, or are closer than the 15 minutes that features look back; one sentence each.

    Older and training rows may follow each other at once: both only teach.

    Args:
        rows: user_id (category), bucket_start_ts (UTC), split (category).
    """
    timed = pd.DataFrame({"user": rows["user_id"], "split": rows["split"].astype("str"), "at": epoch_us(rows["bucket_start_ts"])})
    ranges = timed.groupby(["user", "split"], observed=True)["at"].agg(["min", "max"])
    overlaps = []
    for user, mine in ranges.groupby(level="user", observed=True):
        present = [part for part in TIMED_SPLITS if (user, part) in mine.index]
        for i, earlier in enumerate(present):
            for later in present[i + 1 :]:
                gap = int(mine.loc[(user, later), "min"]) - int(mine.loc[(user, earlier), "max"])
                if gap <= (0 if (earlier, later) == ("older", "train") else EMBARGO_US):
                    overlaps.append(f"user {user}: {earlier} reaches within {gap / 6e7:.0f} minutes of {later}")
    return overlaps


def _cut_user(user: str, starts: npt.NDArray[np.int64], sessions: npt.NDArray[np.generic], spans: npt.NDArray[np.int32]) -> list[Cut]:
    """Places both cuts of one user's gold rows, which are sorted by time; all of shape (rows,)."""
    n = len(starts)
    span_ends = _find_span_ends(spans)
    session_ends = span_ends.copy()
    session_ends[1:n] &= sessions[1:] != sessions[:-1]
    cuts: list[Cut] = []
    earliest = 0
    for part, percent in (("validation", TRAIN_PERCENT), ("test", TRAIN_AND_VALIDATION_PERCENT)):
        target = n * percent // 100
        row, boundary = place_cut(target, n, session_ends=session_ends, span_ends=span_ends, earliest=earliest)
        earliest = row
        at = datetime.fromtimestamp(int(starts[row]) / 1e6, tz=UTC) if row < n else None
        cuts.append(Cut(user_id=user, part=part, target_row=target, row=row, at=at, boundary=boundary))
    return cuts


def place_cut(
    target: int, n: int, *, session_ends: npt.NDArray[np.bool_], span_ends: npt.NDArray[np.bool_], earliest: int
) -> tuple[int, Boundary]:
    """Returns the position of a cut, and what ends there: the boundary nearest to the target, at most 5 % of the rows from it.

    Args:
        target: the position wanted.
        n: number of rows.
        session_ends: positions that are preferred, shape (n + 1,).
        span_ends: positions that come next, shape (n + 1,).
        earliest: the cut before; a boundary must be later, the target itself need not.
    """
    slack = n * SLACK_PERCENT // 100
    low, high = max(target - slack, earliest + 1), target + slack
    kinds: tuple[tuple[Boundary, npt.NDArray[np.bool_]], ...] = (("session", session_ends), ("span", span_ends))
    for kind, allowed in kinds:
        candidates = np.flatnonzero(allowed[low : high + 1]) + low
        if len(candidates):
            return int(candidates[np.argmin(np.abs(candidates - target))]), kind
    return max(target, earliest), "row"


def _find_span_ends(spans: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Returns True at each position before which no span continues, so that a cut there divides none; shape (rows + 1,)."""
    n = len(spans)
    last_row_of_span = np.zeros(spans.max() + 1, dtype=np.int64)
    last_row_of_span[spans] = np.arange(n)
    ends = np.zeros(n + 1, dtype=bool)
    ends[1:n] = np.maximum.accumulate(last_row_of_span[spans])[:-1] < np.arange(1, n)
    return ends


def _assign(
    starts: npt.NDArray[np.int64], gold: npt.NDArray[np.bool_], gold_starts: npt.NDArray[np.int64], cut_rows: list[int]
) -> npt.NDArray[np.int8]:
    """Returns the split codes of one user's rows from the times of the cuts, shape (rows,)."""
    never = np.iinfo(np.int64).max
    first, second = (int(gold_starts[row]) if row < len(gold_starts) else never for row in cut_rows)
    codes = np.where(starts < first, TRAIN, np.where(starts < second, VALIDATION, TEST))
    for cut in (first, second):
        if cut != never:
            codes[(starts < cut) & (starts >= cut - EMBARGO_US)] = EMBARGO
    codes[~gold & (starts >= first)] = WEAK_AFTER_CUT
    return codes.astype(np.int8)
