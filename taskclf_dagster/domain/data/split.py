"""Splits labeled windows by time, per user, with cuts where sessions end (contract, section 5; design, sections 3 and 6).

Never shuffled. It sees times, sessions and spans only; which windows get here is decided in `snapshot`.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import FEATURE_LOOKBACK_SECONDS
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.storage.records import Record

SPLITS = ("train", "validation", "test", "embargo", "weak_after_cut")
"""Values of the split column. The last two are kept out of training and judging: rows whose successors look back on them, and weak
rows later than their user's training part."""


TRAIN_PERCENT, TRAIN_AND_VALIDATION_PERCENT = 70, 85


SLACK_PERCENT = 5


EMBARGO_US = FEATURE_LOOKBACK_SECONDS * 1_000_000


class Cut(Record):
    """One cut of one user's gold rows.

    Attributes:
        part: the part that begins here.
        target_row: where 70 % or 85 % of the rows would end.
        row: where the cut is: the first row of the later part.
        at: start of that row; None where the part is empty.
        boundary: session (a session ends here and no span has rows on both sides), span (no span has rows on both sides) or row.
    """

    user_id: str
    part: Literal["validation", "test"]
    target_row: int
    row: int
    at: datetime | None
    boundary: Literal["session", "span", "row"]


@dataclass(frozen=True)
class Split:
    """The split of every row as an index into SPLITS, the cuts made, and the users held out."""

    codes: npt.NDArray[np.int8]
    cuts: list[Cut]
    holdout_users: list[str]


def choose_holdout_users(users: list[str], fraction: float) -> list[str]:
    """The first max(1, int(n * fraction)) users ordered by sha256("taskclf-holdout:" + user_id); none at fraction 0."""
    if fraction <= 0 or not users:
        return []
    ordered = sorted(users, key=lambda user: hashlib.sha256(f"taskclf-holdout:{user}".encode()).hexdigest())
    return sorted(ordered[: max(1, int(len(users) * fraction))])


def split_by_time(rows: pd.DataFrame, *, holdout_fraction: float = 0.0) -> Split:
    """Assigns every row to a split.

    A user's gold rows are cut at 70 % and 85 %, each cut moved by at most 5 % of them to the nearest session boundary that no span
    crosses, else to the nearest span boundary, else left. The 15 minutes before a cut are dropped from the earlier part, because the
    features of the later rows look back on them. Weak rows stay only in the training part. All gold rows of held-out users are test.

    Args:
        rows: user_id, session_id (category), bucket_start_ts (UTC), gold (bool), span (int), sorted by user and time.
        holdout_fraction: share of users held out [0 to 1].
    """
    users = rows["user_id"].cat.codes.to_numpy()
    names = [str(name) for name in rows["user_id"].cat.categories]
    starts = epoch_us(rows["bucket_start_ts"])
    sessions = rows["session_id"].cat.codes.to_numpy()
    spans, gold = rows["span"].to_numpy(), rows["gold"].to_numpy()
    present = np.unique(users)
    held_out = choose_holdout_users([names[user] for user in present], holdout_fraction)
    codes = np.full(len(rows), SPLITS.index("train"), dtype=np.int8)
    cuts: list[Cut] = []
    begins = np.searchsorted(users, present, side="left")
    ends = np.searchsorted(users, present, side="right")
    for user, begin, end in zip(present, begins, ends, strict=True):
        mine = np.arange(begin, end)
        golden = mine[gold[mine]]
        if names[user] in held_out:
            codes[mine] = SPLITS.index("weak_after_cut")
            codes[golden] = SPLITS.index("test")
            continue
        if len(golden) == 0:
            continue
        made = _cut_user(names[user], starts[golden], sessions[golden], spans[golden])
        cuts.extend(made)
        codes[mine] = _assign(starts[mine], gold[mine], starts[golden], [cut.row for cut in made])
    return Split(codes, cuts, held_out)


def find_split_overlaps(rows: pd.DataFrame) -> list[str]:
    """Users whose splits overlap in time, or lie closer than the 15 minutes that features look back; one sentence each.

    Args:
        rows: user_id (category), bucket_start_ts (UTC), split (category).
    """
    timed = pd.DataFrame({"user": rows["user_id"], "split": rows["split"].astype("str"), "at": epoch_us(rows["bucket_start_ts"])})
    ranges = timed.groupby(["user", "split"], observed=True)["at"].agg(["min", "max"])
    overlaps = []
    for user, mine in ranges.groupby(level="user", observed=True):
        present = [part for part in SPLITS[:3] if (user, part) in mine.index]
        for i, earlier in enumerate(present):
            for later in present[i + 1 :]:
                gap = int(mine.loc[(user, later), "min"]) - int(mine.loc[(user, earlier), "max"])
                if gap <= EMBARGO_US:
                    overlaps.append(f"user {user}: {earlier} reaches within {gap / 6e7:.0f} minutes of {later}")
    return overlaps


def _cut_user(user: str, starts: npt.NDArray[np.int64], sessions: npt.NDArray[np.generic], spans: npt.NDArray[np.int32]) -> list[Cut]:
    n = len(starts)
    last_row_of_span = np.zeros(spans.max() + 1, dtype=np.int64)
    last_row_of_span[spans] = np.arange(n)
    free = np.zeros(n + 1, dtype=bool)
    free[1:n] = np.maximum.accumulate(last_row_of_span[spans])[:-1] < np.arange(1, n)
    session_ends = free.copy()
    session_ends[1:n] &= sessions[1:] != sessions[:-1]
    cuts: list[Cut] = []
    earliest = 0
    for part, percent in (("validation", TRAIN_PERCENT), ("test", TRAIN_AND_VALIDATION_PERCENT)):
        target = n * percent // 100
        row, boundary = max(target, earliest), "row"
        for kind, allowed in (("session", session_ends), ("span", free)):
            low, high = max(target - n * SLACK_PERCENT // 100, earliest + 1), target + n * SLACK_PERCENT // 100
            candidates = np.flatnonzero(allowed[low : high + 1]) + low
            if len(candidates):
                row, boundary = int(candidates[np.argmin(np.abs(candidates - target))]), kind
                break
        earliest = row
        at = datetime.fromtimestamp(int(starts[row]) / 1e6, tz=UTC) if row < n else None
        cuts.append(Cut(user_id=user, part=part, target_row=target, row=row, at=at, boundary=boundary))
    return cuts


def _assign(
    starts: npt.NDArray[np.int64], gold: npt.NDArray[np.bool_], gold_starts: npt.NDArray[np.int64], cut_rows: list[int]
) -> npt.NDArray[np.int8]:
    """Split codes of one user's rows from the times of the cuts."""
    never = np.iinfo(np.int64).max
    first, second = (int(gold_starts[row]) if row < len(gold_starts) else never for row in cut_rows)
    codes = np.where(starts < first, SPLITS.index("train"), np.where(starts < second, SPLITS.index("validation"), SPLITS.index("test")))
    for cut in (first, second):
        if cut != never:
            codes[(starts < cut) & (starts >= cut - EMBARGO_US)] = SPLITS.index("embargo")
    codes[~gold & (starts >= first)] = SPLITS.index("weak_after_cut")
    return codes.astype(np.int8)
