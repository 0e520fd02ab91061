"""Suggestions: finds stretches of unlabeled time that are worth labelling next.

Pure array work on the predictions of the last days. They are read, and their labels found, in `retraining.suggestion_step`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import AwareDatetime, model_validator

from taskclf_dagster.domain.data.feature_schema import LABELS, WINDOW_SECONDS
from taskclf_dagster.domain.data.times import DAY_US, epoch_us
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

MAX_SUGGESTIONS = 20


MIN_MINUTES = 5
"""A shorter stretch is not suggested."""


MAX_MINUTES = 60
"""A longer stretch is divided."""


MAX_GAP_MINUTES = 2
"""Minutes within a stretch that its reason does not apply to, one after the other."""


NOT_PREDICTED = -1
"""Code of a window that the champion did not predict."""


SuggestionKind = Literal["unjudged_class", "unsure", "uncovered_day"]


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


_Bool = npt.NDArray[np.bool_]


class Suggestion(Record):
    """A stretch of unlabeled time of one user, within one session, that is worth labelling.

    Attributes:
        start: start of the first window (UTC).
        end: end of the last window (exclusive, UTC).
        kind: unjudged_class if it looks like a label with too few test windows, unsure if the models are unsure or disagree, uncovered_day
            if it is from a day without any label.
        label: the label that the model guesses for most of its minutes.
        confidence: mean of the largest probability [0 to 1].
        reason: one sentence.
    """

    user_id: str
    start: AwareDatetime
    end: AwareDatetime
    kind: SuggestionKind
    label: str
    confidence: float
    reason: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end <= self.start:
            msg = "end must be after start"
            raise ValueError(msg)
        if self.label not in LABELS:
            msg = f"label must be one of {', '.join(LABELS)}"
            raise ValueError(msg)
        return self

    @property
    def minutes(self) -> int:
        return (self.end - self.start) // timedelta(seconds=WINDOW_SECONDS)


@dataclass(frozen=True)
class RecentMinutes:
    """The windows of the last days as two models predict them, sorted by user and time, each array of shape (n,).

    Attributes:
        users: names of the users.
        user: index of the window's user.
        session: number of the window's session.
        start: microseconds since 1970.
        best: class index of the challenger's largest probability.
        confidence: that probability [0 to 1].
        predicted: class index of the challenger's prediction, REJECTED below its threshold.
        champion: the same of the champion, NOT_PREDICTED where it has none.
        labeled: True for windows that a label of a person touches.
    """

    users: list[str]
    user: _Int
    session: _Int
    start: _Int
    best: _Int
    confidence: _Float
    predicted: _Int
    champion: _Int
    labeled: _Bool

    @classmethod
    def from_rows(cls, rows: pd.DataFrame, *, champion: _Int, labeled: _Bool) -> "RecentMinutes":
        """Takes rows as in `RecentPredictions`."""
        return cls(
            users=[str(user) for user in rows["user_id"].cat.categories],
            user=rows["user_id"].cat.codes.to_numpy().astype(np.int64),
            session=rows["session_id"].cat.codes.to_numpy().astype(np.int64),
            start=epoch_us(rows["bucket_start_ts"]),
            best=rows["best"].to_numpy().astype(np.int64),
            confidence=rows["confidence"].to_numpy().astype(np.float64),
            predicted=rows["predicted"].to_numpy().astype(np.int64),
            champion=champion,
            labeled=labeled,
        )

    @property
    def run(self) -> _Int:
        """The number of the run of consecutive unlabeled or labeled minutes within one session, shape (n,)."""
        ends = (np.diff(self.user) != 0) | (np.diff(self.session) != 0) | (np.diff(self.labeled) != 0)
        return np.cumsum(np.concatenate([[True], ends | (np.diff(self.start) != WINDOW_SECONDS * 1_000_000)])[: len(self.user)])

    @property
    def rejected(self) -> _Bool:
        """True for unlabeled windows that each model rejects that predicted it, shape (n,)."""
        champion = (self.champion == REJECTED) | (self.champion == NOT_PREDICTED)
        return (self.predicted == REJECTED) & champion & ~self.labeled

    @property
    def disputed(self) -> _Bool:
        """True for unlabeled windows that the models give different labels, shape (n,)."""
        both = (self.champion != NOT_PREDICTED) & (self.champion != REJECTED) & (self.predicted != REJECTED)
        return both & (self.champion != self.predicted) & ~self.labeled

    @property
    def user_day(self) -> _Int:
        """A number for each user and UTC day, in the order of users and days, shape (n,)."""
        days = self.start // DAY_US
        first, last = int(days.min(initial=0)), int(days.max(initial=0))
        return self.user * (last - first + 1) + days - first


class _Stretch(NamedTuple):
    """A stretch that may be suggested.

    Attributes:
        first, last: position of its first window, and that after its last one.
        label: class index of the guessed label.
        worth: its order within the kind; more is better.
    """

    kind: SuggestionKind
    first: int
    last: int
    label: int
    worth: float


def suggest_labels(minutes: RecentMinutes, *, test_windows: Mapping[str, int], min_class_windows: int) -> list[Suggestion]:
    """Returns at most MAX_SUGGESTIONS stretches worth labelling, the best first; kinds, users and labels take turns.

    Args:
        minutes: the windows of the last days.
        test_windows: number of test windows by label.
        min_class_windows: least number of test windows with which a label is judged.
    """
    if len(minutes.user) == 0:
        return []
    unjudged = [code for code, label in enumerate(LABELS) if test_windows[label] < min_class_windows]
    found = [*_find_unjudged(minutes, unjudged), *_find_unsure(minutes), *_find_uncovered(minutes)]
    needed = f"of the {counted(min_class_windows, 'test window')} that judging needs"
    reasons = {label: f"{label} has {test_windows[label]} {needed}" for label in (LABELS[code] for code in unjudged)}
    return [_describe(minutes, stretch, reasons) for stretch in _take_turns(minutes, found)]


def _find_unjudged(minutes: RecentMinutes, unjudged: list[int]) -> Iterator[_Stretch]:
    """Yields stretches that look like a label with too few test windows; worth is the number of its windows to expect."""
    for label in unjudged:
        alike = (minutes.best == label) & ~minutes.labeled
        expected = np.where(alike, minutes.confidence, 0.0)
        for first, last in find_stretches(alike, minutes.run):
            yield _Stretch("unjudged_class", first, last, label, float(expected[first:last].sum()))


def _find_unsure(minutes: RecentMinutes) -> Iterator[_Stretch]:
    """Yields stretches that the models are unsure of, or disagree about; worth is the number of wrong predictions to expect."""
    unsure = minutes.rejected | minutes.disputed
    doubt = np.where(unsure, 1 - minutes.confidence, 0.0)
    for first, last in find_stretches(unsure, minutes.run):
        yield _Stretch("unsure", first, last, _guess(minutes, first, last), float(doubt[first:last].sum()))


def _find_uncovered(minutes: RecentMinutes) -> Iterator[_Stretch]:
    """Yields stretches of users and days without any label; of a later day are worth more, then those that the model is less sure of."""
    days = minutes.user_day
    uncovered = ~np.isin(days, days[minutes.labeled])
    for first, last in find_stretches(uncovered, minutes.run * (days.max() + 1) + days):
        day, doubt = int(minutes.start[first]) // DAY_US, float((1 - minutes.confidence[first:last]).sum())
        yield _Stretch("uncovered_day", first, last, _guess(minutes, first, last), day * MAX_MINUTES + doubt)


def find_stretches(wanted: _Bool, run: _Int) -> Iterator[tuple[int, int]]:
    """Yields the bounds of stretches of wanted windows in one run, with small gaps.

    Those shorter than MIN_MINUTES are left out, those longer than MAX_MINUTES divided into parts of about the same length.
    """
    at = np.flatnonzero(wanted)
    ends = (np.diff(at) > 1 + MAX_GAP_MINUTES) | (np.diff(run[at]) != 0)
    firsts, lasts = at[np.r_[True, ends][: len(at)]], at[np.r_[ends, True][: len(at)]] + 1
    long_enough = lasts - firsts >= MIN_MINUTES
    for first, last in zip(firsts[long_enough].tolist(), lasts[long_enough].tolist(), strict=True):
        parts = -(-(last - first) // MAX_MINUTES)
        bounds = [first + (last - first) * part // parts for part in range(parts + 1)]
        yield from pairwise(bounds)


def _guess(minutes: RecentMinutes, first: int, last: int) -> int:
    return int(np.bincount(minutes.best[first:last]).argmax())


def _take_turns(minutes: RecentMinutes, found: list[_Stretch]) -> list[_Stretch]:
    """Chooses one stretch after the other: of the kind, then the user, then the label that was chosen least; of equals the worthiest.

    They do not overlap, and of an uncovered day only one is chosen as such.
    """
    kinds, days = get_args(SuggestionKind), minutes.user_day
    left = sorted(found, key=lambda each: (-each.worth, each.first))
    chosen: list[_Stretch] = []
    while left and len(chosen) < MAX_SUGGESTIONS:
        of_kind = Counter(each.kind for each in chosen)
        of_user = Counter(minutes.user[each.first] for each in chosen)
        of_label = Counter((each.kind, each.label) for each in chosen)
        best = min(
            left,
            key=lambda each: (
                of_kind[each.kind],
                kinds.index(each.kind),
                of_user[minutes.user[each.first]],
                of_label[each.kind, each.label],
            ),
        )
        chosen.append(best)
        left = [each for each in left if each.last <= best.first or each.first >= best.last]
        if best.kind == "uncovered_day":
            left = [each for each in left if each.kind != best.kind or days[each.first] != days[best.first]]
    return chosen


def _describe(minutes: RecentMinutes, stretch: _Stretch, unjudged: Mapping[str, str]) -> Suggestion:
    part = slice(stretch.first, stretch.last)
    start = pd.Timestamp(int(minutes.start[stretch.first]), unit="us", tz="UTC").to_pydatetime()
    label = LABELS[stretch.label]
    if stretch.kind == "unjudged_class":
        reason = f"{unjudged[label]}, and the model guesses it in {_share(minutes.best[part] == stretch.label)}."
    elif stretch.kind == "unsure":
        reason = _describe_doubt(minutes, part)
    else:
        reason = "The day has no label yet."
    return Suggestion(
        user_id=minutes.users[minutes.user[stretch.first]],
        start=start,
        end=start + (stretch.last - stretch.first) * timedelta(seconds=WINDOW_SECONDS),
        kind=stretch.kind,
        label=label,
        confidence=round(float(minutes.confidence[part].mean()), 4),
        reason=reason,
    )


def _describe_doubt(minutes: RecentMinutes, part: slice) -> str:
    rejected, disputed = minutes.rejected[part], minutes.disputed[part]
    if rejected.sum() >= disputed.sum():
        alone = (minutes.champion[part] == NOT_PREDICTED).all()
        return f"{'The model is' if alone else 'Both models are'} unsure in {_share(rejected)}."
    pairs = np.stack([minutes.champion[part], minutes.predicted[part]], axis=1)[disputed]
    pair, count = np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)
    one, other = (LABELS[code] for code in pair[count.argmax()])
    return f"The models disagree in {_share(disputed)}, mostly {one} or {other}."


def _share(applies: _Bool) -> str:
    """Returns the number of minutes of a stretch that its reason applies to, as text."""
    every, total = int(applies.sum()), len(applies)
    return f"all {total} minutes" if every == total else f"{every} of {total} minutes"
