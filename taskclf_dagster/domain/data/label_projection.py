"""Projects label spans onto windows: which window gets which label, and why the others get none (contract, section 4).

Pure array work on times; it knows neither features nor files.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS, WINDOW_SECONDS
from taskclf_dagster.domain.data.times import epoch_us

WINDOW_US = WINDOW_SECONDS * 1_000_000


_Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Projection:
    """Labels of windows, each array of shape (n_windows,).

    Attributes:
        label: index into LABELS, or -1 where the window has no label.
        gold: whether the label was given by a person; False where there is none.
        span: number of the merged span that gave the label, or -1.
        unlabeled: windows without a label by reason: not_covered, partly_covered, several_spans.
        users_without_windows: users with spans but without any window in range.
    """

    label: npt.NDArray[np.int8]
    gold: npt.NDArray[np.bool_]
    span: npt.NDArray[np.int32]
    unlabeled: dict[str, int]
    users_without_windows: list[str]


@dataclass(frozen=True)
class _Spans:
    """Spans of one tier on the common time line: disjoint ranges of keys per user."""

    start: _Int
    end: _Int
    label: _Int


def project_blocks_to_windows(windows: pd.DataFrame, spans: pd.DataFrame) -> Projection:
    """Labels every window that lies wholly in exactly one span that applies to its user.

    Touching or overlapping same-label spans of a user are one span; a span without a user applies to every user. The rule is applied to
    gold spans alone, then to weak spans on the windows that no gold span touches. An extend_forward span ends where the same user's
    next span starts (the next gold span, if it is gold itself).

    Args:
        windows: user_id (category) and bucket_start_ts (UTC), sorted by both, one row a window.
        spans: as in `LabelReading.spans`.
    """
    users = list(windows["user_id"].cat.categories)
    starts = epoch_us(windows["bucket_start_ts"])
    missing = sorted(set(spans["user_id"].dropna()) - set(users))
    if len(windows) == 0 or len(spans) == 0:
        nothing = np.full(len(windows), -1)
        reasons = {"not_covered": len(windows), "partly_covered": 0, "several_spans": 0}
        return Projection(nothing.astype(np.int8), np.zeros(len(windows), bool), nothing.astype(np.int32), reasons, missing)

    # One integer time line: each user has a stretch of its own, so that a search never leaves the user.
    first, last = int(starts.min()) - WINDOW_US, int(starts.max()) + 2 * WINDOW_US
    stride = last - first + WINDOW_US
    window_keys = windows["user_id"].cat.codes.to_numpy().astype(np.int64) * stride + (starts - first)
    tiers = _expand(spans, users, first, last, stride)

    gold_touched, gold_label, gold_span = _apply(window_keys, _merge(tiers["gold"], stride))
    weak_touched, weak_label, weak_span = _apply(window_keys, _merge(tiers["weak"], stride))
    free = gold_touched == 0
    label = np.where(free, weak_label, gold_label)
    gold_count = int(gold_span.max(initial=-1)) + 1
    span = np.where(free, np.where(weak_span >= 0, weak_span + gold_count, -1), gold_span)
    touched = np.where(free, weak_touched, gold_touched)
    unlabeled = {
        "not_covered": int((touched == 0).sum()),
        "partly_covered": int(((touched == 1) & (label < 0)).sum()),
        "several_spans": int((touched > 1).sum()),
    }
    return Projection(label.astype(np.int8), ~free & (label >= 0), span.astype(np.int32), unlabeled, missing)


def _expand(spans: pd.DataFrame, users: list[str], first: int, last: int, stride: int) -> dict[str, _Spans]:
    """Puts every span on the time line of each user it applies to, with its effective end, clipped to the windows' range."""
    owner = pd.Index(users).get_indexer(spans["user_id"])
    everyone = spans["user_id"].isna().to_numpy()
    rows = np.concatenate([np.flatnonzero(owner >= 0), np.repeat(np.flatnonzero(everyone), len(users))])
    user = np.concatenate([owner[owner >= 0], np.tile(np.arange(len(users)), int(everyone.sum()))]).astype(np.int64)
    start = spans["start_us"].to_numpy()[rows]
    end = spans["end_us"].to_numpy()[rows].copy()
    forward = spans["extend_forward"].to_numpy()[rows]
    gold = spans["gold"].to_numpy()[rows]
    label = spans["label"].to_numpy()[rows].astype(np.int64)
    for tier, followers in ((gold, gold), (~gold, np.ones_like(gold))):
        extends = forward & tier
        end[extends] = _next_start(user[extends], start[extends], end[extends], user[followers], start[followers])
    start, end = np.clip(start, first, last), np.clip(end, first, last)
    base = user * stride - first
    return {
        name: _Spans((base + start)[tier & (end > start)], (base + end)[tier & (end > start)], label[tier & (end > start)])
        for name, tier in (("gold", gold), ("weak", ~gold))
    }


def _next_start(user: _Int, start: _Int, end: _Int, other_user: _Int, other_start: _Int) -> _Int:
    """For each span the start of the same user's next span that starts later, or its own end where there is none."""
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


def _merge(spans: _Spans, stride: int) -> _Spans:
    """Joins touching or overlapping spans of one user and label; the result is sorted by start."""
    if len(spans.start) == 0:
        return spans
    user = spans.start // stride
    # A stretch of its own for each (user, label), as for users above.
    shift = (user * (len(LABELS) - 1) + spans.label) * stride
    order = np.argsort(spans.start + shift, kind="stable")
    start, end, shift, label = (values[order] for values in (spans.start, spans.end, shift, spans.label))
    reach = np.maximum.accumulate(end + shift)
    begins = np.ones(len(start), dtype=bool)
    begins[1:] = (start + shift)[1:] > reach[:-1]
    heads = np.flatnonzero(begins)
    merged_end = np.maximum.reduceat(end + shift, heads) - shift[heads]
    by_time = np.argsort(start[heads], kind="stable")
    return _Spans(start[heads][by_time], merged_end[by_time], label[heads][by_time])


def _apply(window_keys: _Int, spans: _Spans) -> tuple[_Int, _Int, _Int]:
    """For each window: how many spans touch it; and, if exactly one does and contains it, its label and its number (else -1)."""
    n = len(window_keys)
    touch_from = np.searchsorted(window_keys + WINDOW_US, spans.start, side="right")
    touch_to = np.searchsorted(window_keys, spans.end, side="left")
    hold_from = np.searchsorted(window_keys, spans.start, side="left")
    hold_to = np.maximum(np.searchsorted(window_keys + WINDOW_US, spans.end, side="right"), hold_from)
    touched = _cover(n, touch_from, touch_to, np.ones(len(spans.start), dtype=np.int64))
    held = _cover(n, hold_from, hold_to, np.ones(len(spans.start), dtype=np.int64))
    number = _cover(n, hold_from, hold_to, np.arange(len(spans.start)))
    labeled = (touched == 1) & (held == 1)
    span = np.where(labeled, number, -1)
    label = np.where(labeled, spans.label[span] if len(spans.label) else -1, -1)
    return touched, label, span


def _cover(n: int, begin: _Int, end: _Int, weight: _Int) -> _Int:
    """Sum of the weights of the ranges [begin, end) that hold each position of 0..n-1."""
    steps = np.zeros(n + 1, dtype=np.int64)
    np.add.at(steps, begin, weight)
    np.add.at(steps, end, -weight)
    return np.cumsum(steps[:-1])
