"""Label shift: finds labels that are off by the offset of a time zone, by the windows that they would cover if moved.

Spans are placed in `label_projection`; what a shift explains is counted in `label_fates`.
"""

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.label_projection import (
    WINDOW_US,
    LineSpans,
    PlacedSpans,
    TimeRange,
    make_time_line,
    merge_spans,
    put_windows,
)
from taskclf_dagster.domain.data.times import to_epoch_us
from taskclf_dagster.domain.storage.records import Record

_PARTS_OF_HOURS = (3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, 10.5, 12.75)
"""Offsets of time zones that are no whole hours, as of India (5:30) and Nepal (5:45)."""

HOURS = [float(hours) for hours in sorted(range(-14, 15), key=lambda hours: (abs(hours), hours))]
HOURS += [sign * hours for hours in _PARTS_OF_HOURS for sign in (-1, 1)]
"""The shifts that are tried. Of two that cover the same, the earlier one is chosen: whole hours before parts, the smallest first."""

MIN_GAIN = 0.1
"""Smallest share of the labeled time that a shift must cover more to be clearly better."""

MIN_WINDOWS = 30
"""Smallest number of windows that it must cover more."""

MIN_CLOSED = 0.5
"""Smallest share of the labeled time without windows that it must cover, so that labels made away from the computer are no shift."""

_MAX_NAMED = 5


class LabelShift(Record):
    """One shift that would cover clearly more windows.

    Attributes:
        hours: to be added to the times of the spans.
        users: whose spans it is about, the first few.
        more_users: number of further users.
        share: share of the labeled time that windows cover now [0 to 1].
        shifted_share: the same share with the shift.
    """

    hours: float
    users: tuple[str, ...]
    more_users: int
    share: float
    shifted_share: float

    @property
    def description(self) -> str:
        """The shift as one text without a full stop."""
        users = ", ".join(repr(user) for user in self.users) + (f" and {self.more_users} more" if self.more_users else "")
        whole, minutes = divmod(round(abs(self.hours) * 60), 60)
        shown = f"{'-' if self.hours < 0 else '+'}{whole}" + (f":{minutes:02}" if minutes else "")
        unit = "hour" if abs(self.hours) == 1 else "hours"
        return (
            f"moved by {shown} {unit}, the label spans of {users} would have windows for {self.shifted_share:.0%} of their time, "
            f"instead of {self.share:.0%}: check the time zone of the labels"
        )


class ShiftCounts(NamedTuple):
    """Counts of the windows of a part that lie wholly within the spans.

    Attributes:
        first: position of the first user of the part.
        covered: number of windows with each shift of each user from that one on, shape (shifts, users).
    """

    first: int
    covered: npt.NDArray[np.float64]


class ShiftFinder:
    """Finds for each user the shift with which the spans would cover clearly more windows, which may come in parts.

    The shift with most windows wholly within spans is clearly better than none by the bounds of this module.
    """

    def __init__(self, placed: PlacedSpans, users: list[str], times: TimeRange, *, start: datetime, end: datetime) -> None:
        """Places the spans.

        Args:
            placed: the spans.
            users: the categories of user_id in every part.
            times: from the first to the last start of all windows.
            start: of the look-back; only labeled time in it counts.
            end: of the look-back, exclusive.
        """
        self._users = users
        self._line = line = make_time_line(times, margin=_to_us(max(map(abs, HOURS))) + 2 * WINDOW_US)
        clipped = _clip(placed, max(to_epoch_us(start), line.first), min(to_epoch_us(end), line.last))
        base = clipped.user * line.stride - line.first
        self._merged = merge_spans(LineSpans(base + clipped.start, base + clipped.end, np.zeros_like(base)), line.stride)
        self._owner = self._merged.start // line.stride
        self._covered = np.zeros((len(HOURS), len(users)))

    def count(self, windows: pd.DataFrame) -> ShiftCounts:
        """Counts the windows of a part, at least one, sorted by user and time, that lie wholly within the spans, with each shift."""
        keys, users = put_windows(windows, self._line), windows["user_id"].cat.codes.to_numpy()
        first, end = int(users[0]), int(users[-1]) + 1
        own = slice(*np.searchsorted(self._owner, [first, end]))
        merged, owner = self._merged.take(own), self._owner[own] - first
        return ShiftCounts(first, np.stack([_count_covered(keys, merged, owner, hours, end - first) for hours in HOURS]))

    def add(self, counts: ShiftCounts) -> None:
        """Adds the counts of a part."""
        self._covered[:, counts.first : counts.first + counts.covered.shape[1]] += counts.covered

    def find(self) -> list[LabelShift]:
        """Returns the shifts; users with one shift are joined."""
        lengths = (self._merged.end - self._merged.start) / WINDOW_US
        labeled = np.bincount(self._owner, lengths, minlength=len(self._users)).astype(np.float64)
        return _join_users(self._users, self._covered, labeled)


def _clip(placed: PlacedSpans, first: int, last: int) -> PlacedSpans:
    start, end = np.clip(placed.start, first, last), np.clip(placed.end, first, last)
    return replace(placed, start=start, end=end).take(end > start)


def _count_covered(
    keys: npt.NDArray[np.int64], spans: LineSpans, owner: npt.NDArray[np.int64], hours: float, n_users: int
) -> npt.NDArray[np.float64]:
    """Returns the number of windows of each user that lie wholly within the spans if they are shifted, shape (users,)."""
    begin = np.searchsorted(keys, spans.start + _to_us(hours), side="left")
    stop = np.searchsorted(keys + WINDOW_US, spans.end + _to_us(hours), side="right")
    return np.bincount(owner, np.maximum(stop - begin, 0), minlength=n_users).astype(np.float64)


def _to_us(hours: float) -> int:
    return round(hours * 3_600_000_000)


def _join_users(users: list[str], covered: npt.NDArray[np.float64], labeled: npt.NDArray[np.float64]) -> list[LabelShift]:
    """Returns one entry for each shift that is clearly better for some users, that with most labeled time first."""
    now, best = covered[0], covered.max(axis=0)
    gain, missing = best - now, labeled - now
    clear = (gain >= MIN_GAIN * labeled) & (gain >= MIN_WINDOWS) & (gain >= MIN_CLOSED * missing)
    chosen = np.where(clear, covered.argmax(axis=0), 0)
    found = []
    for row in sorted(set(chosen[clear]), key=lambda row: (-labeled[chosen == row].sum(), row)):
        mine = np.flatnonzero(clear & (chosen == row))
        found.append(
            LabelShift(
                hours=HOURS[row],
                users=tuple(users[i] for i in mine[:_MAX_NAMED]),
                more_users=max(len(mine) - _MAX_NAMED, 0),
                share=round(float(now[mine].sum() / labeled[mine].sum()), 4),
                shifted_share=round(float(best[mine].sum() / labeled[mine].sum()), 4),
            )
        )
    return found
