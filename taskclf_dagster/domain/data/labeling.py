"""Labels the windows of a look-back part by part, and counts them. They are stored in `labeled_windows`.

Joins `windows`, `label_store`, `label_projection` and `label_fates`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import DatasetSettings
from taskclf_dagster.domain.data.feature_schema import LABELS, WINDOW_SECONDS
from taskclf_dagster.domain.data.frame_parts import choose_rows
from taskclf_dagster.domain.data.label_fates import FateCounter, LabelFates, SpanFate
from taskclf_dagster.domain.data.label_projection import NO_LABEL, Projection, SpanProjector, UnlabeledReason
from taskclf_dagster.domain.data.label_store import read_label_spans
from taskclf_dagster.domain.data.recent_windows import RECENT_DAYS
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us
from taskclf_dagster.domain.data.window_parts import DaySpill, OneFrame, WindowParts
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.home import Home


class LabeledPart(NamedTuple):
    """Every window of a part, and those with a label; None if the data contract is violated."""

    windows: pd.DataFrame
    labeled: pd.DataFrame | None


class Labeling:
    """The windows and the label spans of a look-back, and counts of the windows labeled so far.

    Attributes:
        as_of: the end of the look-back.
        start: its start, from which windows are read.
        split_from: start of the range that is split and judged.
        reading: the windows.
        labels: the label spans.
        windows: number of windows, without duplicates.
        users: number of windows by user.
        class_counts: number of labeled windows by tier (gold, weak) and label.
        unlabeled: number of windows without a label, by reason.
        users_without_windows: users with spans but without any window in range.
        fates: the label spans by what became of them; None before all windows are labeled, and where they could not be read.
    """

    def __init__(self, home: Home, *, as_of: datetime, settings: DatasetSettings, spill: DaySpill | None = None) -> None:
        """Reads windows and spans; arguments and errors are those of `labeled_windows.label_windows`.

        With `spill`, windows that are too many for one frame are in parts.
        """
        home.require()
        self.as_of, self.split_from = as_of, as_of - timedelta(days=settings.data_lookback_days)
        self.start = min(self.split_from, as_of - timedelta(days=settings.training_lookback_days))
        self.reading = read_windows(
            home,
            start=self.start,
            end=as_of,
            schema_version=settings.schema_version,
            skip_unreadable_days=settings.skip_unreadable_days,
            chosen_from=self.split_from,
            spill=spill,
        )
        self._parts = self.reading.parts if self.reading.frame is None else OneFrame(self.reading.frame)
        self.labels = read_label_spans(home, start=self.start, end=as_of)
        spans = self.labels.spans
        self._spans = spans if settings.weak_labels == "train_only" else spans[spans["gold"]]
        self.windows, self.users = 0, dict[str, int]()
        self.class_counts = {"gold": dict.fromkeys(LABELS, 0), "weak": dict.fromkeys(LABELS, 0)}
        self.unlabeled: dict[UnlabeledReason, int] = {}
        self.users_without_windows: list[str] = []
        self.fates: LabelFates | None = None

    @property
    def is_valid(self) -> bool:
        """True if there are windows, and neither they nor the spans violate the data contract."""
        return self._parts is not None and not self.reading.violations and not self.labels.violations

    def label(self) -> Iterator[LabeledPart]:
        """Yields the parts, labeled; when the last one is taken, all counts are complete."""
        if self._parts is None:
            return
        projector = SpanProjector(self._spans, self._parts.users, self._parts.times)
        fates = FateCounter(self._spans, self._parts.users, self._parts.times, start=self.start, end=self.as_of)
        gold_numbers = _find_last_gold(self._parts, projector) + 1
        for number in range(len(self._parts)):
            windows, duplicates = self._parts.load(number)
            self.reading.duplicates_dropped += duplicates
            projection = projector.project(windows, gold_numbers)
            fates.add(windows, projection)
            self._count(windows, projection)
            yield LabeledPart(windows, _attach(windows, projection) if self.is_valid else None)
        self.users_without_windows = projector.users_without_windows
        left_out: dict[SpanFate, int] = {
            "weak_left_out": len(self.labels.spans) - len(self._spans),
            "not_valid": self.labels.invalid,
            "outside_look_back": self.labels.later,
        }
        self.fates = None if self.labels.damaged else fates.count(left_out)

    def recent(self) -> Iterator[pd.DataFrame]:
        """Yields the windows of the last days, labeled or not, of each part; at least one frame."""
        since = to_epoch_us(self.as_of - timedelta(days=RECENT_DAYS))
        if self._parts is None:
            return
        for number in range(len(self._parts)):
            windows = self._parts.load(number, since=since)[0]
            windows = choose_rows(windows, epoch_us(windows["bucket_start_ts"]) >= since)
            yield windows if self.reading.parts is not None else _drop_unused_categories(windows)

    def _count(self, windows: pd.DataFrame, projection: Projection) -> None:
        self.windows += len(windows)
        counts = windows["user_id"].value_counts(sort=False)
        self.users |= {str(user): int(n) for user, n in counts[counts > 0].items()}
        for tier, gold in (("gold", True), ("weak", False)):
            chosen = projection.label[(projection.label >= 0) & (projection.gold == gold)]
            for label, n in zip(LABELS, np.bincount(chosen, minlength=len(LABELS)).tolist(), strict=True):
                self.class_counts[tier][label] += n
        for reason, n in projection.unlabeled.items():
            self.unlabeled[reason] = self.unlabeled.get(reason, 0) + n


def _drop_unused_categories(windows: pd.DataFrame) -> pd.DataFrame:
    texts = (column for column in windows.columns if isinstance(windows[column].dtype, pd.CategoricalDtype))
    return windows.assign(**{column: windows[column].cat.remove_unused_categories() for column in texts})


def _find_last_gold(parts: OneFrame | WindowParts, projector: SpanProjector) -> int:
    """Returns the largest number of a gold span that labels a window, which the numbers of weak spans follow."""
    if projector.has_weak:
        for number in reversed(range(len(parts))):
            last = projector.last_gold(parts.load(number, only_keys=True)[0])
            if last != NO_LABEL:
                return last
    return NO_LABEL


def _attach(frame: pd.DataFrame, projection: Projection) -> pd.DataFrame:
    """Returns the labeled rows of the frame with label, gold, span and session_seconds."""
    session_seconds = _session_seconds(frame)
    rows = np.flatnonzero(projection.label >= 0)
    labels = pd.DataFrame(
        {
            "label": pd.Categorical.from_codes(projection.label[rows], categories=list(LABELS)),
            "gold": projection.gold[rows],
            "span": projection.span[rows],
            "session_seconds": session_seconds[rows],
        }
    )
    return pd.concat([frame.take(rows).reset_index(drop=True), labels], axis=1)


def _session_seconds(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Returns the length of each window's session [s], from its first window's start to its last window's end, labeled or not."""
    users, sessions = frame["user_id"].cat, frame["session_id"].cat
    owner, _ = pd.factorize(users.codes.to_numpy().astype(np.int64) * (len(sessions.categories) + 1) + sessions.codes.to_numpy())
    starts = epoch_us(frame["bucket_start_ts"])
    first = np.full(owner.max(initial=-1) + 1, np.iinfo(np.int64).max)
    last = np.full(owner.max(initial=-1) + 1, np.iinfo(np.int64).min)
    np.minimum.at(first, owner, starts)
    np.maximum.at(last, owner, starts)
    return (last - first)[owner] / 1e6 + WINDOW_SECONDS
