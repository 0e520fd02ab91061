"""Leakage: finds the windows of a comparison that were used to train one of its models, and their neighbors, and excludes them.

The rolling features of a window look back, so windows within 60 minutes of a training window are not independent of it either. The
comparison itself is made in `comparison`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, WINDOW_SECONDS
from taskclf_dagster.domain.data.hashing import hash_row_keys, parse_hashes
from taskclf_dagster.domain.data.split import NEIGHBORHOOD_MINUTES
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us
from taskclf_dagster.domain.models.bundle import BundleMetadata, ModelBundle
from taskclf_dagster.domain.models.bundle_files import TRAINING_ROWS, BundleFiles, read_bundle_files
from taskclf_dagster.domain.storage.records import Record

LeakageBasis = Literal["row_hashes", "training_dates"]


_Int = npt.NDArray[np.int64]


_Bool = npt.NDArray[np.bool_]


_MINUTE_US = WINDOW_SECONDS * 1_000_000


class LeakageReport(Record):
    """The windows of a comparison that one model was trained on.

    Attributes:
        basis: row_hashes if the bundle has the hashes of its training rows, else training_dates: every window from the first to the last
            training day counts as trained on.
        windows: number of windows checked.
        trained_on: number of those that it was trained on.
        neighbors: number of the others that start at most 60 minutes before or after a window of the same user that it was trained on.
        trained_until: end of its last training day (midnight UTC).
        summary: the counts in one sentence.
    """

    model_id: str
    basis: LeakageBasis
    windows: int
    trained_on: int
    neighbors: int
    trained_until: datetime
    summary: str


class Exclusion(Record):
    """Windows that are excluded from a comparison for all of its models.

    Attributes:
        leakage: one report per model, in the order given.
        windows: number of windows checked; excluded and remaining add up to it.
        only_newer: True if more than the allowed share was leaked, so that only windows newer than every model's training remain.
        newer_than: start of the windows that remain (inclusive, UTC) if only_newer, else None.
        summary: the exclusion in one sentence.
    """

    leakage: list[LeakageReport]
    windows: int
    excluded: int
    remaining: int
    only_newer: bool
    newer_than: datetime | None
    summary: str


@dataclass(frozen=True)
class TrainingDistance:
    """The distance of windows from those that one model was trained on.

    Attributes:
        model_id: the model.
        basis: source of the training windows; see LeakageReport.
        trained_from, trained_to: first and last training day (UTC).
        minutes: from each window to the nearest training window of its user, shape (n,); any distance beyond NEIGHBORHOOD_MINUTES is
            NEIGHBORHOOD_MINUTES + 1.
    """

    model_id: str
    basis: LeakageBasis
    trained_from: date
    trained_to: date
    minutes: npt.NDArray[np.int64]

    @property
    def leaked(self) -> _Bool:
        """True for each window that the model was trained on, or that is near one, shape (n,)."""
        return self.minutes <= NEIGHBORHOOD_MINUTES

    @property
    def trained_until(self) -> datetime:
        """End of the last training day (midnight UTC)."""
        return _midnight(self.trained_to) + timedelta(days=1)

    def take(self, positions: npt.NDArray[np.int64] | _Bool) -> "TrainingDistance":
        """Returns the distances of some of the windows."""
        return replace(self, minutes=self.minutes[positions])

    def report(self) -> LeakageReport:
        """Counts the windows that the model was trained on and their neighbors."""
        trained_on = int((self.minutes == 0).sum())
        neighbors = int(self.leaked.sum()) - trained_on
        return LeakageReport(
            model_id=self.model_id,
            basis=self.basis,
            windows=len(self.minutes),
            trained_on=trained_on,
            neighbors=neighbors,
            trained_until=self.trained_until,
            summary=_describe(self, trained_on, neighbors),
        )


def measure_training_distance(rows: pd.DataFrame, bundle: ModelBundle, files: BundleFiles | None = None) -> TrainingDistance:
    """Measures how far windows are from those that a model was trained on.

    Args:
        rows: user_id (category) and bucket_start_ts (UTC) of each window, in any order.
        bundle: the model; its hashes of training rows are used, or its training dates if these are missing or damaged.
        files: the files of the bundle if it was loaded, so that they are not read again.

    Raises:
        BundleError: the bundle is invalid.
    """
    metadata = bundle.require()
    learned = _read_training_rows(files or read_bundle_files(bundle.path))
    if metadata.schema_version != "v2" and list(rows["user_id"].cat.categories) == [DEFAULT_USER]:
        learned = None  # rows without a user cannot match hashes with one
    minutes = _minutes_from_dates(rows, metadata) if learned is None else _minutes_from_windows(rows, learned, metadata.schema_version)
    return TrainingDistance(
        model_id=bundle.model_id,
        basis="training_dates" if learned is None else "row_hashes",
        trained_from=metadata.train_date_from,
        trained_to=metadata.train_date_to,
        minutes=np.minimum(minutes, NEIGHBORHOOD_MINUTES + 1),
    )


def exclude_leaked(starts: pd.Series, distances: Sequence[TrainingDistance], *, max_share: float) -> tuple[_Bool, Exclusion]:
    """Excludes the windows that any of the models was trained on, and their neighbors, from a comparison.

    Args:
        starts: bucket_start_ts (UTC) of each window, in any order.
        distances: those of the models compared from these windows, the challenger's first.
        max_share: with a larger share of leaked windows, only windows after the last training day of every model remain [0 to 1].

    Returns:
        Mask of the windows that remain, shape (n,), and the record.
    """
    leaked = np.zeros(len(starts), dtype=bool)
    for distance in distances:
        leaked |= distance.leaked
    n, lost = len(starts), int(leaked.sum())
    keep, newer_than = ~leaked, None
    if lost / max(1, n) > max_share:
        newer_than = max(distance.trained_until for distance in distances)
        keep &= epoch_us(starts) >= to_epoch_us(newer_than)
    remaining = int(keep.sum())
    return keep, Exclusion(
        leakage=[distance.report() for distance in distances],
        windows=n,
        excluded=n - remaining,
        remaining=remaining,
        only_newer=newer_than is not None,
        newer_than=newer_than,
        summary=_describe_exclusion(n, lost, remaining, newer_than, max_share),
    )


def _read_training_rows(files: BundleFiles) -> npt.NDArray[np.uint64] | None:
    """Returns the sorted hashes of the training rows; None if the file is missing, damaged or empty."""
    try:
        keys = parse_hashes(files.content(TRAINING_ROWS))
    except OSError:
        return None
    if keys is None or not len(keys):
        return None
    return keys if (keys[1:] >= keys[:-1]).all() else None


def _minutes_from_dates(rows: pd.DataFrame, metadata: BundleMetadata) -> _Int:
    """Returns the minutes from each row to the nearest minute of the training days, 0 within them, shape (n,)."""
    first = to_epoch_us(_midnight(metadata.train_date_from)) // _MINUTE_US
    last = to_epoch_us(_midnight(metadata.train_date_to) + timedelta(days=1)) // _MINUTE_US - 1
    minute = epoch_us(rows["bucket_start_ts"]) // _MINUTE_US
    return np.maximum(np.maximum(first - minute, minute - last), 0)


def _minutes_from_windows(rows: pd.DataFrame, learned: npt.NDArray[np.uint64], schema_version: str) -> _Int:
    """Returns the minutes from each row to the nearest training window of its user, shape (n,).

    Distances above NEIGHBORHOOD_MINUTES are all NEIGHBORHOOD_MINUTES + 1. `learned` are the sorted hashes of the training windows.
    """
    far = np.full(len(rows), NEIGHBORHOOD_MINUTES + 1, dtype=np.int64)
    if rows.empty:
        return far
    users = rows["user_id"].cat.codes.to_numpy().astype(np.int64)
    minute = epoch_us(rows["bucket_start_ts"]) // _MINUTE_US
    # One number line for all users, whose stretches lie so far apart that no neighborhood reaches the next.
    first = minute.min() - NEIGHBORHOOD_MINUTES
    stride = minute.max() - first + 2 * NEIGHBORHOOD_MINUTES + 1
    position = (users + 1) * stride + minute - first  # a user of null has the code -1
    around = _neighborhoods(np.unique(position))
    code, offset = np.divmod(around, stride)
    hit = _are_learned(rows["user_id"].cat.categories, code - 1, first + offset, learned, schema_version)
    trained = around[hit]
    if not len(trained):
        return far
    after = np.searchsorted(trained, position)
    to_next = np.abs(trained[np.minimum(after, len(trained) - 1)] - position)
    to_previous = np.abs(position - trained[np.maximum(after - 1, 0)])
    return np.minimum(far, np.minimum(to_next, to_previous))


def _neighborhoods(position: _Int) -> _Int:
    """Returns every whole number within NEIGHBORHOOD_MINUTES of one of the sorted positions, once, sorted."""
    begins = np.flatnonzero(np.diff(position, prepend=position[0] - 2 * NEIGHBORHOOD_MINUTES - 2) > 2 * NEIGHBORHOOD_MINUTES)
    ends = np.append(begins[1:], len(position)) - 1
    lows, highs = position[begins] - NEIGHBORHOOD_MINUTES, position[ends] + NEIGHBORHOOD_MINUTES
    sizes = highs - lows + 1
    return np.repeat(lows - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())


def _are_learned(names: pd.Index, code: _Int, minute: _Int, learned: npt.NDArray[np.uint64], schema_version: str) -> _Bool:
    """Returns True for each window, given as code into names and minutes since 1970, that is among the learned, shape (n,).

    A model of schema v2 was trained on one implicit user, so the only user of the windows may be the one that it has as DEFAULT_USER.
    """
    users = pd.Series(pd.Categorical.from_codes(code, names))
    starts = pd.Series((minute * _MINUTE_US).view("datetime64[us]")).dt.tz_localize(UTC)
    found = _contains(learned, hash_row_keys(pd.DataFrame({"user_id": users, "bucket_start_ts": starts})))
    if schema_version == "v2" and len(np.unique(code)) == 1:
        users = pd.Series(pd.Categorical.from_codes(np.zeros(len(code), dtype=np.int8), [DEFAULT_USER]))
        found |= _contains(learned, hash_row_keys(pd.DataFrame({"user_id": users, "bucket_start_ts": starts})))
    return found


def _contains(ordered: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> _Bool:
    """Returns True for each wanted value that is among the sorted ones, which are at least one."""
    position = np.searchsorted(ordered, wanted)
    return ordered[np.minimum(position, len(ordered) - 1)] == wanted


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _describe(distance: TrainingDistance, trained_on: int, neighbors: int) -> str:
    model_id, windows = distance.model_id, len(distance.minutes)
    if distance.basis == "row_hashes":
        return (
            f"{model_id} was trained on {trained_on} of these {windows} windows, {neighbors} more lie within {NEIGHBORHOOD_MINUTES} "
            "minutes of one (by the hashes of its training rows)."
        )
    return (
        f"{model_id} has no usable {TRAINING_ROWS}, so its training dates count: {trained_on} of these {windows} windows lie from "
        f"{distance.trained_from} to {distance.trained_to} (UTC), {neighbors} more within {NEIGHBORHOOD_MINUTES} minutes of that."
    )


def _describe_exclusion(windows: int, lost: int, remaining: int, newer_than: datetime | None, max_share: float) -> str:
    if not lost:
        return f"None of {windows} windows was learned from; all are compared."
    leaked = (
        f"{lost} of {windows} windows ({lost / windows:.1%}) were learned from or lie within {NEIGHBORHOOD_MINUTES} minutes of one that was"
    )
    if newer_than is None:
        return f"{leaked}; they are left out for both models, {remaining} are compared."
    return (
        f"{leaked}, more than the allowed {max_share:.0%}: only the {remaining} from {newer_than:%Y-%m-%d %H:%M} UTC on, newer than "
        "the training of both models, are compared."
    )
