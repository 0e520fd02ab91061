"""Label fates: which label spans label windows, and why the others do not.

Spans are projected in `label_projection`; a shift that would cover more is found in `label_shift`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.label_projection import (
    WINDOW_US,
    PlacedSpans,
    Projection,
    TimeLine,
    TimeRange,
    make_time_line,
    place_spans,
    put_windows,
)
from taskclf_dagster.domain.data.label_shift import LabelShift, ShiftCounts, ShiftFinder
from taskclf_dagster.domain.data.times import to_epoch_us
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

MAX_NAMED = 5
"""Largest number of users that are named on each side."""

SpanFate = Literal[
    "labels_windows",
    "overlaps_another_span",
    "no_whole_window",
    "no_window_at_that_time",
    "no_window_of_user",
    "outside_look_back",
    "not_valid",
    "weak_left_out",
]
"""The fate of a span. One that applies to several users has the first of these that holds for any of them."""

LOST: tuple[SpanFate, ...] = ("overlaps_another_span", "no_whole_window", "no_window_at_that_time", "no_window_of_user")
"""The fates of spans in the look-back that label nothing."""

_SHOWN: dict[SpanFate, str] = {
    "labels_windows": "with labeled windows",
    "no_window_of_user": "of users without windows",
    "no_window_at_that_time": "where their user has no window",
    "no_whole_window": "without a whole window in them",
    "overlaps_another_span": "under other spans",
    "outside_look_back": "outside the look-back",
    "not_valid": "that break the data contract",
    "weak_left_out": "weak and excluded by weak_labels",
}


class LabelFates(Record):
    """The spans of a label store counted by fate, and the likely causes of those that label nothing.

    Attributes:
        spans: number of spans in the store.
        counts: number of spans by fate; they sum to `spans`.
        unmatched_users: the users with most spans that belong to no user of the windows, with the number of these spans.
        window_users: users of the windows, those without any span of their own first; the first few.
        shifts: shifts of the labels in time that would cover clearly more windows.
    """

    spans: int
    counts: dict[SpanFate, int]
    unmatched_users: dict[str, int]
    window_users: tuple[str, ...]
    shifts: tuple[LabelShift, ...]

    @property
    def lost(self) -> int:
        """The number of spans in the look-back that label nothing."""
        return sum(self.counts[fate] for fate in LOST)

    @property
    def summary(self) -> str:
        """The counts as one text."""
        spans = counted(self.spans, "label span")
        found = [f"{self.counts[fate]} {text}" for fate, text in _SHOWN.items() if self.counts[fate]]
        return f"{spans}: {', '.join(found)}" if found else spans

    @property
    def causes(self) -> list[str]:
        """The likely causes of spans that label nothing, one text without a full stop for each; empty if none is known."""
        causes = [shift.description for shift in self.shifts]
        if self.unmatched_users:
            named = ", ".join(f"{user!r} ({counted(n, 'span')})" for user, n in self.unmatched_users.items())
            theirs = ", ".join(repr(user) for user in self.window_users) or "none"
            causes.insert(0, f"no window has the user_id of {named}; users of the windows: {theirs}. Correct user_id in the label store")
        return causes

    @property
    def advice(self) -> str:
        """Counts and likely causes as sentences; empty if no span is lost."""
        return " ".join(f"{text[0].upper()}{text[1:]}." for text in [self.summary, *self.causes]) if self.lost else ""


class PartFates(NamedTuple):
    """The fates of spans on the windows of one part.

    Attributes:
        rows: positions of the spans, one entry for each user that they apply to.
        fates: the code of each.
        shifts: counts of covered windows.
    """

    rows: npt.NDArray[np.int64]
    fates: npt.NDArray[np.int64]
    shifts: ShiftCounts


class FateCounter:
    """Counts spans by what became of them, where windows may come in parts."""

    def __init__(self, spans: pd.DataFrame, users: Sequence[str], times: TimeRange, *, start: datetime, end: datetime) -> None:
        """Places the spans.

        Args:
            spans: the spans that are projected, as in `LabelReading.spans`.
            users: the categories of user_id in every part.
            times: from the first to the last start of all windows.
            start: of the look-back.
            end: of the look-back, exclusive.
        """
        self._users = [str(user) for user in users]
        self._spans, self._first, self._has_windows = spans, to_epoch_us(start), False
        self._placed = place_spans(spans, self._users)
        self._line = make_time_line(times, margin=2 * WINDOW_US)
        self._fates = np.full(len(spans), _code("no_window_of_user"))
        self._shifts = ShiftFinder(self._placed, self._users, times, start=start, end=end)

    def find_fates(self, windows: pd.DataFrame, projection: Projection) -> PartFates | None:
        """Returns the fates of the spans of the users of a part; None for a part without windows. Changes nothing here.

        Args:
            windows: user_id (category) and bucket_start_ts (UTC), sorted by both.
            projection: of the spans onto these windows.
        """
        if windows.empty:
            return None
        users = windows["user_id"].cat.codes.to_numpy()
        placed = self._placed.take(np.flatnonzero((self._placed.user >= users[0]) & (self._placed.user <= users[-1])))
        fates = _find_entry_fates(put_windows(windows, self._line), self._line, placed, projection)
        return PartFates(placed.row, fates, self._shifts.count(windows))

    def add(self, part: PartFates | None) -> None:
        """Adds the fates of a part."""
        if part is not None:
            self._has_windows = True
            np.minimum.at(self._fates, part.rows, part.fates)
            self._shifts.add(part.shifts)

    def count(self, left_out: Mapping[SpanFate, int]) -> LabelFates:
        """Returns the counts; `left_out` is the number of spans that were not projected, by fate."""
        ends = self._spans["end_us"].to_numpy().copy()
        np.maximum.at(ends, self._placed.row, self._placed.end)
        fates = np.where(ends <= self._first, _code("outside_look_back"), self._fates)
        counts = dict(zip(get_args(SpanFate), np.bincount(fates, minlength=len(get_args(SpanFate))).tolist(), strict=True))
        unmatched = self._spans["user_id"][fates == _code("no_window_of_user")].dropna()
        labeled = set(self._spans["user_id"].dropna())
        return LabelFates(
            spans=len(self._spans) + sum(left_out.values()),
            counts={fate: n + left_out.get(fate, 0) for fate, n in counts.items()},
            unmatched_users=_most_common(unmatched),
            window_users=tuple(sorted(self._users, key=lambda user: (user in labeled, user))[:MAX_NAMED]),
            shifts=tuple(self._shifts.find()) if self._has_windows else (),
        )


def _find_entry_fates(keys: npt.NDArray[np.int64], line: TimeLine, placed: PlacedSpans, projection: Projection) -> npt.NDArray[np.int64]:
    """Returns the code of the fate of each placed span on windows at these positions of the time line."""
    touch_from = np.searchsorted(keys + WINDOW_US, line.put(placed.user, placed.start), side="right")
    touch_to = np.maximum(np.searchsorted(keys, line.put(placed.user, placed.end), side="left"), touch_from)

    def any_of(by_gold: npt.NDArray[np.bool_], by_weak: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Returns True for each span that touches a window that is marked for spans of its tier."""
        sums = [np.concatenate([[0], np.cumsum(marked)]) for marked in (by_gold, by_weak)]
        return np.where(placed.gold, *(total[touch_to] > total[touch_from] for total in sums))

    labeled, several = projection.label >= 0, projection.touching > 1
    conditions = {
        "labels_windows": any_of(labeled & projection.gold, labeled & ~projection.gold),
        "overlaps_another_span": any_of(several, several | projection.gold_touches),
        "no_whole_window": touch_to > touch_from,
    }
    return np.select(list(conditions.values()), [_code(fate) for fate in conditions], _code("no_window_at_that_time"))


def _code(fate: str) -> int:
    return get_args(SpanFate).index(fate)


def _most_common(users: pd.Series) -> dict[str, int]:
    counts = [(str(user), int(n)) for user, n in users.value_counts().items()]
    return dict(sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:MAX_NAMED])
