"""Labels the windows of a look-back part by part, and counts them. They are stored in `labeled_windows`.

One part is labeled in `part_labeling`; joins it with `windows`, `label_store` and `label_fates`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

import pandas as pd

from taskclf_dagster.config.settings import DatasetSettings
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.label_fates import FateCounter, LabelFates, SpanFate
from taskclf_dagster.domain.data.label_projection import NO_LABEL, SpanProjector, UnlabeledReason
from taskclf_dagster.domain.data.label_store import read_label_spans
from taskclf_dagster.domain.data.part_labeling import LabeledPart, PartLabeler, label_part, load_recent
from taskclf_dagster.domain.data.recent_windows import RECENT_DAYS
from taskclf_dagster.domain.data.times import to_epoch_us
from taskclf_dagster.domain.data.window_parts import DaySpill, OneFrame, WindowParts
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.home import Home


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

    def __init__(
        self, home: Home, *, as_of: datetime, settings: DatasetSettings, spill: DaySpill | None = None, engine: Engine = LOCAL
    ) -> None:
        """Reads windows and spans; arguments and errors are those of `labeled_windows.label_windows`.

        With `spill`, windows that are too many for one frame are in parts, which the engine makes.
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
            engine=engine,
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

    def label(self, engine: Engine = LOCAL) -> Iterator[pd.DataFrame]:
        """Yields the labeled windows of each part; when the last one is taken, all counts are complete.

        With violations of the data contract the windows are counted only.
        """
        if self._parts is None:
            return
        projector = SpanProjector(self._spans, self._parts.users, self._parts.times)
        fates = FateCounter(self._spans, self._parts.users, self._parts.times, start=self.start, end=self.as_of)
        gold_numbers = _find_last_gold(self._parts, projector) + 1
        labeler = PartLabeler(self._parts, projector, fates, gold_numbers, self.is_valid)
        for part in engine.map(partial(label_part, labeler=labeler), range(len(self._parts))):
            self._count(part)
            fates.add(part.fates)
            if part.labeled is not None:
                yield part.labeled
        self.users_without_windows = projector.users_without_windows
        left_out: dict[SpanFate, int] = {
            "weak_left_out": len(self.labels.spans) - len(self._spans),
            "not_valid": self.labels.invalid,
            "outside_look_back": self.labels.later,
        }
        self.fates = None if self.labels.damaged else fates.count(left_out)

    def recent(self, engine: Engine = LOCAL) -> Iterator[pd.DataFrame]:
        """Yields the windows of the last days, labeled or not, of each part; at least one frame."""
        since = to_epoch_us(self.as_of - timedelta(days=RECENT_DAYS))
        if self._parts is not None:
            yield from engine.map(partial(load_recent, parts=self._parts, since=since), range(len(self._parts)))

    def _count(self, part: LabeledPart) -> None:
        self.reading.duplicates_dropped += part.duplicates
        self.windows += sum(part.users.values())
        self.users |= part.users
        for tier, counts in part.class_counts.items():
            for label, n in counts.items():
                self.class_counts[tier][label] += n
        for reason, n in part.unlabeled.items():
            self.unlabeled[reason] = self.unlabeled.get(reason, 0) + n


def _find_last_gold(parts: OneFrame | WindowParts, projector: SpanProjector) -> int:
    """Returns the largest number of a gold span that labels a window, which the numbers of weak spans follow."""
    if projector.has_weak:
        for number in reversed(range(len(parts))):
            last = projector.last_gold(parts.load(number, only_keys=True)[0])
            if last != NO_LABEL:
                return last
    return NO_LABEL
