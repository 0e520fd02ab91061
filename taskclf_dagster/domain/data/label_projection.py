"""Projects label spans onto windows (contract, section 4).

Pure array work on times; it knows neither features nor files.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS, WINDOW_SECONDS
from taskclf_dagster.domain.data.times import epoch_us

WINDOW_US = WINDOW_SECONDS * 1_000_000


NO_LABEL = -1
"""The label and the span of a window that has none."""


UnlabeledReason = Literal["not_covered", "partly_covered", "several_spans"]


_Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Projection:
    """Labels of windows, each array of shape (windows,).

    Attributes:
        label: index into LABELS, NO_LABEL for a window without one.
        gold: True for gold labels, False for weak ones and for windows without a label.
        span: number of the merged span that gave the label, NO_LABEL for none.
        touching: number of spans that overlap the window, merged; weak ones count where no gold one touches it.
        gold_touches: True for windows that a gold span touches.
        unlabeled: number of windows without a label, by reason.
        users_without_windows: users with spans but without any window in range.
    """

    label: npt.NDArray[np.int8]
    gold: npt.NDArray[np.bool_]
    span: npt.NDArray[np.int32]
    touching: npt.NDArray[np.int64]
    gold_touches: npt.NDArray[np.bool_]
    unlabeled: dict[UnlabeledReason, int]
    users_without_windows: list[str]


class TimeRange(NamedTuple):
    """The first and the last start of windows [microseconds since 1970]."""

    first: int
    last: int


class TimeLine(NamedTuple):
    """One integer axis for all users [microseconds]: each user has a stretch of its own, so that a search never leaves the user.

    Attributes:
        first, last: the range of times on it.
        stride: length of a user's stretch.
    """

    first: int
    last: int
    stride: int

    def put(self, user: _Int, times: _Int) -> _Int:
        """Returns the positions of times of users, clipped to the range."""
        return user * self.stride + (np.clip(times, self.first, self.last) - self.first)


@dataclass(frozen=True)
class PlacedSpans:
    """Spans as they apply to users: one entry for each span and user, each array of shape (entries,).

    Attributes:
        row: position of the span in the frame.
        user: position of the user.
        start, end: microseconds since 1970, end exclusive; that of an extend_forward span is its effective end.
        label: index into LABELS.
        gold: True for gold spans.
    """

    row: _Int
    user: _Int
    start: _Int
    end: _Int
    label: _Int
    gold: npt.NDArray[np.bool_]

    def take(self, rows: _Int | npt.NDArray[np.bool_]) -> "PlacedSpans":
        return PlacedSpans(self.row[rows], self.user[rows], self.start[rows], self.end[rows], self.label[rows], self.gold[rows])


@dataclass(frozen=True)
class LineSpans:
    """Spans of one tier, gold or weak, on the common time line; each array of shape (spans,), `end` exclusive."""

    start: _Int
    end: _Int
    label: _Int

    def take(self, rows: _Int | npt.NDArray[np.bool_] | slice) -> "LineSpans":
        return LineSpans(self.start[rows], self.end[rows], self.label[rows])


@dataclass(frozen=True)
class _TierLabels:
    """Windows labeled by the spans of one tier, each array of shape (windows,).

    Attributes:
        touching: number of spans that overlap the window.
        label, span: of the span that alone touches and contains the window, else NO_LABEL.
    """

    touching: _Int
    label: _Int
    span: _Int


def project_blocks_to_windows(windows: pd.DataFrame, spans: pd.DataFrame) -> Projection:
    """Labels every window that lies wholly in exactly one span that applies to its user.

    Touching or overlapping same-label spans of a user are one span; a span without a user applies to every user. The rule is applied to
    gold spans alone, then to weak spans on the windows that no gold span touches. An extend_forward span ends where the same user's
    next span starts (the next gold span, if it is gold itself).

    Args:
        windows: user_id (category) and bucket_start_ts (UTC), sorted by both, one row per window.
        spans: as in `LabelReading.spans`.
    """
    projector = SpanProjector(spans, list(windows["user_id"].cat.categories), time_range(windows))
    return projector.project(windows, projector.last_gold(windows) + 1)


class SpanProjector:
    """Spans placed for the users of windows, which may come in parts; see `project_blocks_to_windows`.

    Attributes:
        users_without_windows: users with spans who are not among those of the windows.
    """

    def __init__(self, spans: pd.DataFrame, users: list[str], times: TimeRange) -> None:
        """Places the spans.

        Args:
            spans: as in `LabelReading.spans`.
            users: the categories of user_id in every part.
            times: from the first to the last start of all windows; see `time_range`.
        """
        self.users_without_windows = sorted(set(spans["user_id"].dropna()) - set(users))
        self._line = make_time_line(times, margin=2 * WINDOW_US)
        tiers = _put_tiers(place_spans(spans, users), self._line)
        self._gold, self._weak = (merge_spans(tier, self._line.stride) for tier in tiers)

    @property
    def has_weak(self) -> bool:
        """True if there are weak spans, whose numbers follow those of gold ones."""
        return len(self._weak.start) > 0

    def last_gold(self, windows: pd.DataFrame) -> int:
        """Returns the largest number of a gold span that labels one of the windows, NO_LABEL for none."""
        return int(self._label(put_windows(windows, self._line), self._gold).span.max(initial=NO_LABEL))

    def project(self, windows: pd.DataFrame, gold_numbers: int) -> Projection:
        """Labels the windows of a part.

        Args:
            windows: the part.
            gold_numbers: what is added to the numbers of weak spans: one more than the largest `last_gold` of all parts.
        """
        keys = put_windows(windows, self._line)
        by_gold, by_weak = (self._label(keys, tier) for tier in (self._gold, self._weak))
        return _join_tiers(by_gold, by_weak, gold_numbers, self.users_without_windows)

    def _label(self, keys: _Int, tier: LineSpans) -> _TierLabels:
        """Labels windows with the spans of their users; a span's number is its position among all."""
        if len(keys) == 0:
            return _label_windows(keys, tier.take(slice(0)))
        users = np.array([keys[0], keys[-1] + self._line.stride]) // self._line.stride
        begin, end = np.searchsorted(tier.start, users * self._line.stride)
        found = _label_windows(keys, tier.take(slice(begin, end)))
        return replace(found, span=np.where(found.span >= 0, found.span + begin, NO_LABEL))


def time_range(windows: pd.DataFrame) -> TimeRange:
    """Returns the first and the last start of windows; the beginning of 1970 for none."""
    starts = epoch_us(windows["bucket_start_ts"])
    return TimeRange(int(starts.min()), int(starts.max())) if len(starts) else TimeRange(0, 0)


def make_time_line(times: TimeRange, *, margin: int) -> TimeLine:
    """Returns the time line of windows, with a margin [microseconds] before the first and after the last."""
    first, last = times.first - margin, times.last + margin
    return TimeLine(first, last, stride=last - first + WINDOW_US)


def put_windows(windows: pd.DataFrame, line: TimeLine) -> _Int:
    """Returns the positions of the starts of windows on the time line, sorted as the windows are, shape (windows,)."""
    return line.put(windows["user_id"].cat.codes.to_numpy().astype(np.int64), epoch_us(windows["bucket_start_ts"]))


def _join_tiers(gold: _TierLabels, weak: _TierLabels, gold_numbers: int, without_windows: list[str]) -> Projection:
    """Takes gold labels, and weak ones where no gold span touches the window; span numbers of weak ones follow those of gold ones."""
    free = gold.touching == 0
    label = np.where(free, weak.label, gold.label)
    span = np.where(free, np.where(weak.span >= 0, weak.span + gold_numbers, NO_LABEL), gold.span)
    touching = np.where(free, weak.touching, gold.touching)
    return Projection(
        label=label.astype(np.int8),
        gold=~free & (label >= 0),
        span=span.astype(np.int32),
        touching=touching,
        gold_touches=~free,
        unlabeled={
            "not_covered": int((touching == 0).sum()),
            "partly_covered": int(((touching == 1) & (label < 0)).sum()),
            "several_spans": int((touching > 1).sum()),
        },
        users_without_windows=without_windows,
    )


def place_spans(spans: pd.DataFrame, users: list[str]) -> PlacedSpans:
    """Returns each span for each user it applies to, with its effective end; spans of other users are left out.

    Args:
        spans: as in `LabelReading.spans`.
        users: the users of the windows.
    """
    owner = pd.Index(users).get_indexer(spans["user_id"])
    everyone = spans["user_id"].isna().to_numpy()
    rows = np.concatenate([np.flatnonzero(owner >= 0), np.repeat(np.flatnonzero(everyone), len(users))])
    user = np.concatenate([owner[owner >= 0], np.tile(np.arange(len(users)), int(everyone.sum()))]).astype(np.int64)
    start = spans["start_us"].to_numpy()[rows]
    end = spans["end_us"].to_numpy()[rows].copy()
    forward = spans["extend_forward"].to_numpy()[rows]
    gold = spans["gold"].to_numpy()[rows]
    for tier, followers in ((gold, gold), (~gold, np.ones_like(gold))):
        extends = forward & tier
        end[extends] = _next_start(user[extends], start[extends], end[extends], user[followers], start[followers])
    return PlacedSpans(rows, user, start, end, spans["label"].to_numpy()[rows].astype(np.int64), gold)


def _put_tiers(placed: PlacedSpans, line: TimeLine) -> tuple[LineSpans, LineSpans]:
    """Puts gold and weak spans on the time line, clipped to its range; those that are empty then are left out."""
    start, end = line.put(placed.user, placed.start), line.put(placed.user, placed.end)
    everything = LineSpans(start, end, placed.label)
    return everything.take(placed.gold & (end > start)), everything.take(~placed.gold & (end > start))


def _next_start(user: _Int, start: _Int, end: _Int, other_user: _Int, other_start: _Int) -> _Int:
    """Returns for each span the start of the same user's next span that starts later, or its own end if there is none."""
    if len(start) == 0:
        return end
    order = np.lexsort((other_start, other_user))
    other_user, other_start = other_user[order], other_start[order]
    # Rank on the shared axis (user, start): both sides become one sortable integer.
    times = np.unique(np.concatenate([start, other_start]))
    here = user * (len(times) + 1) + np.searchsorted(times, start)
    there = other_user * (len(times) + 1) + np.searchsorted(times, other_start)
    position = np.searchsorted(there, here, side="right")
    inside = position < len(there)
    position = np.minimum(position, len(there) - 1)
    return np.where(inside & (other_user[position] == user), other_start[position], end)


def merge_spans(spans: LineSpans, stride: int) -> LineSpans:
    """Joins touching or overlapping spans of one user and label; the result is sorted by start."""
    if len(spans.start) == 0:
        return spans
    user = spans.start // stride
    # A stretch of its own for each (user, label), as for users on the time line.
    shift = (user * (len(LABELS) - 1) + spans.label) * stride
    order = np.argsort(spans.start + shift, kind="stable")
    spans, shift = spans.take(order), shift[order]
    latest_end = np.maximum.accumulate(spans.end + shift)
    begins = np.ones(len(shift), dtype=bool)
    begins[1:] = (spans.start + shift)[1:] > latest_end[:-1]
    heads = np.flatnonzero(begins)
    merged_end = np.maximum.reduceat(spans.end + shift, heads) - shift[heads]
    merged = LineSpans(spans.start[heads], merged_end, spans.label[heads])
    return merged.take(np.argsort(merged.start, kind="stable"))


def _label_windows(window_keys: _Int, spans: LineSpans) -> _TierLabels:
    """Labels windows by their start on the time line, sorted, with spans sorted by start; their number is their position among these."""
    n = len(window_keys)
    touch_from = np.searchsorted(window_keys + WINDOW_US, spans.start, side="right")
    touch_to = np.searchsorted(window_keys, spans.end, side="left")
    hold_from = np.searchsorted(window_keys, spans.start, side="left")
    hold_to = np.maximum(np.searchsorted(window_keys + WINDOW_US, spans.end, side="right"), hold_from)
    touching = _sum_over_ranges(n, touch_from, touch_to, np.ones(len(spans.start), dtype=np.int64))
    containing = _sum_over_ranges(n, hold_from, hold_to, np.ones(len(spans.start), dtype=np.int64))
    number = _sum_over_ranges(n, hold_from, hold_to, np.arange(len(spans.start)))
    labeled = (touching == 1) & (containing == 1)
    span = np.where(labeled, number, NO_LABEL)
    label = np.where(labeled, spans.label[span] if len(spans.label) else NO_LABEL, NO_LABEL)
    return _TierLabels(touching, label, span)


def _sum_over_ranges(n: int, begin: _Int, end: _Int, weight: _Int) -> _Int:
    """Returns for each position of 0..n-1 the sum of the weights of the ranges [begin, end) that hold it, shape (n,)."""
    steps = np.zeros(n + 1, dtype=np.int64)
    np.add.at(steps, begin, weight)
    np.add.at(steps, end, -weight)
    return np.cumsum(steps[:-1])
