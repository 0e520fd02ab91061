"""Finds the stretches of unlabeled time that differ most from the reference, which are worth labelling when inputs have drifted."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import AwareDatetime

from taskclf_dagster.domain.data.feature_schema import LABELS, WINDOW_SECONDS
from taskclf_dagster.domain.data.label_projection import project_blocks_to_windows
from taskclf_dagster.domain.data.label_queue import LabelRequest
from taskclf_dagster.domain.data.label_store import read_usable_spans
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.evaluation.label_suggestions import MAX_SUGGESTIONS, NOT_PREDICTED, RecentMinutes, find_stretches
from taskclf_dagster.domain.monitoring.drift_inputs import InputDrift
from taskclf_dagster.domain.monitoring.drift_predictions import PredictedSet
from taskclf_dagster.domain.monitoring.drift_statistics import SMOOTHING, find_cuts, put_into_bins
from taskclf_dagster.domain.monitoring.window_sets import WindowSet
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home


class DriftedStretch(Record):
    """A stretch of unlabeled time of one user, within one session, whose inputs are rare in the reference.

    Attributes:
        start, end: of the first window, and of the last one (exclusive), in UTC.
        label: the label that the model guesses for most of its minutes.
        confidence: mean of the largest probability [0 to 1].
        surprise: mean over its windows of the sum over the drifted inputs of ln(share now / share in the reference); more is rarer.
    """

    user_id: str
    start: AwareDatetime
    end: AwareDatetime
    label: str
    confidence: float
    surprise: float

    @property
    def minutes(self) -> int:
        return (self.end - self.start) // timedelta(seconds=WINDOW_SECONDS)

    def to_request(self, *, at: AwareDatetime) -> LabelRequest:
        """Returns the entry of taskclf's labelling queue."""
        return LabelRequest(
            user_id=self.user_id,
            bucket_start_ts=self.start,
            bucket_end_ts=self.end,
            reason="drift",
            confidence=self.confidence,
            predicted_label=self.label,
            created_at=at,
        )


def find_drifted_stretches(home: Home, reference: WindowSet, current: PredictedSet, inputs: Sequence[InputDrift]) -> list[DriftedStretch]:
    """Returns at most MAX_SUGGESTIONS stretches without a label of a person, the most drifted first; none if no input has drifted.

    Args:
        home: whose label store is read.
        reference: the windows that the model has learned from.
        current: the judged windows with their predictions, sorted by user and time, with session_id.
        inputs: those that have drifted or are dead; only time of the users whom one of them affects is searched.

    Raises:
        UnreadableFileError: the label store cannot be read.
    """
    if not inputs:
        return []
    surprise = np.sum([_log_ratio(reference.numbers(each.name), current.windows.numbers(each.name)) for each in inputs], axis=0)
    minutes, rows = _to_minutes(home, current), current.windows.rows
    affected = rows["user_id"].isin({user for each in inputs for user in each.users}).to_numpy()
    found = [
        _describe(minutes, surprise, first, last)
        for first, last in find_stretches((surprise > 0) & affected & ~minutes.labeled, minutes.run)
    ]
    return sorted(found, key=lambda each: (-each.surprise, each.user_id, each.start))[:MAX_SUGGESTIONS]


def _log_ratio(before: npt.NDArray[np.float64], now: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns for each judged window how much more common the bin of its value is now, ln(share now / share before), shape (windows,)."""
    cuts = find_cuts(before)
    size, codes = len(cuts) + 2, put_into_bins(now, cuts)
    first, second = (np.bincount(part, minlength=size) + SMOOTHING for part in (put_into_bins(before, cuts), codes))
    return np.log(second / second.sum() * first.sum() / first)[codes]


def _to_minutes(home: Home, current: PredictedSet) -> RecentMinutes:
    rows = current.windows.rows
    starts = rows["bucket_start_ts"]
    end = starts.max().to_pydatetime() + timedelta(seconds=WINDOW_SECONDS)
    spans = read_usable_spans(home, start=starts.min().to_pydatetime(), end=end)
    return RecentMinutes(
        users=[str(user) for user in rows["user_id"].cat.categories],
        user=rows["user_id"].cat.codes.to_numpy().astype(np.int64),
        session=rows["session_id"].cat.codes.to_numpy().astype(np.int64),
        start=epoch_us(starts),
        best=current.best,
        confidence=current.confidence,
        predicted=current.outcome,
        champion=np.full(len(rows), NOT_PREDICTED),
        labeled=project_blocks_to_windows(rows, spans).gold_touches,
    )


def _describe(minutes: RecentMinutes, surprise: npt.NDArray[np.float64], first: int, last: int) -> DriftedStretch:
    start = pd.Timestamp(int(minutes.start[first]), unit="us", tz="UTC").to_pydatetime()
    return DriftedStretch(
        user_id=minutes.users[minutes.user[first]],
        start=start,
        end=start + (last - first) * timedelta(seconds=WINDOW_SECONDS),
        label=LABELS[int(np.bincount(minutes.best[first:last]).argmax())],
        confidence=round(float(minutes.confidence[first:last].mean()), 4),
        surprise=round(float(surprise[first:last].mean()), 4),
    )
