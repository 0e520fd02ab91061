"""Which windows of a comparison a model may not be judged on, because it learned from them or from their neighbours.

The rolling features of a window look back, so windows shortly before and after a training window are not new either. Scores belong to
`evaluation`, the comparison itself to `comparison`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, WINDOW_SECONDS
from taskclf_dagster.domain.data.hashing import hash_row_keys, read_hashes
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us
from taskclf_dagster.domain.models.bundle import BundleMetadata, ModelBundle
from taskclf_dagster.domain.models.bundle_files import TRAINING_ROWS
from taskclf_dagster.domain.storage.records import Record

NEIGHBOURHOOD_MINUTES = 60


Evidence = Literal["row_hashes", "training_dates"]


_Int = npt.NDArray[np.int64]


_Bool = npt.NDArray[np.bool_]


_MINUTE_US = WINDOW_SECONDS * 1_000_000


class LeakageCertificate(Record):
    """What one model learned from among the windows of a comparison.

    Attributes:
        evidence: row_hashes where the bundle keeps the hashes of its training rows, else training_dates: every window from the first
            to the last training day counts as trained on.
        windows: windows looked at.
        trained_on: of them, windows it was trained on.
        near: of the others, those that start at most 60 minutes before or after a window of the same user it was trained on.
        trained_until: end of its last training day (midnight UTC).
        detail: one sentence for a person.
    """

    model_id: str
    evidence: Evidence
    windows: int
    trained_on: int
    near: int
    trained_until: datetime
    detail: str


class Exclusion(Record):
    """Windows that leave a comparison for all of its models.

    Attributes:
        certificates: one a model, in the order given.
        windows: windows looked at; excluded and remaining add up to it.
        only_newer: more than the allowed share was leaked, so that only windows newer than every model's training remain.
        newer_than: start of the windows that remain (inclusive, UTC) where only_newer, else None.
        detail: one sentence for a person.
    """

    certificates: list[LeakageCertificate]
    windows: int
    excluded: int
    remaining: int
    only_newer: bool
    newer_than: datetime | None
    detail: str


@dataclass(frozen=True)
class TrainingDistance:
    """The distance of windows from those that one model was trained on.

    Attributes:
        model_id: the model.
        evidence: how the training windows are known; see LeakageCertificate.
        trained_from, trained_to: first and last training day (UTC).
        minutes: from each window to the nearest training window of its user, shape (n,); any distance beyond NEIGHBOURHOOD_MINUTES is
            NEIGHBOURHOOD_MINUTES + 1.
    """

    model_id: str
    evidence: Evidence
    trained_from: date
    trained_to: date
    minutes: npt.NDArray[np.int64]

    @property
    def leaked(self) -> _Bool:
        """True for each window that the model was trained on, or that is near one, shape (n,)."""
        return self.minutes <= NEIGHBOURHOOD_MINUTES

    @property
    def trained_until(self) -> datetime:
        """End of the last training day (midnight UTC)."""
        return _midnight(self.trained_to) + timedelta(days=1)

    def take(self, positions: npt.NDArray[np.int64] | _Bool) -> "TrainingDistance":
        """Returns the distances of some of the windows."""
        return replace(self, minutes=self.minutes[positions])

    def certify(self) -> LeakageCertificate:
        """Counts the windows that the model was trained on and their neighbours."""
        trained_on = int((self.minutes == 0).sum())
        near = int(self.leaked.sum()) - trained_on
        return LeakageCertificate(
            model_id=self.model_id,
            evidence=self.evidence,
            windows=len(self.minutes),
            trained_on=trained_on,
            near=near,
            trained_until=self.trained_until,
            detail=_describe(self, trained_on, near),
        )


def measure_training_distance(rows: pd.DataFrame, bundle: ModelBundle) -> TrainingDistance:
    """Measures how far windows are from those that a model was trained on.

    Args:
        rows: user_id (category) and bucket_start_ts (UTC) of each window, in any order.
        bundle: the model; its hashes of training rows are used, or its training dates if these are missing or damaged.

    Raises:
        BundleError: the bundle is invalid.
    """
    metadata = bundle.require()
    learned = _read_training_rows(bundle.path / TRAINING_ROWS)
    if metadata.schema_version != "v2" and list(rows["user_id"].cat.categories) == [DEFAULT_USER]:
        learned = None  # rows without a user cannot match hashes with one
    minutes = _minutes_from_dates(rows, metadata) if learned is None else _minutes_from_windows(rows, learned, metadata.schema_version)
    return TrainingDistance(
        model_id=bundle.model_id,
        evidence="training_dates" if learned is None else "row_hashes",
        trained_from=metadata.train_date_from,
        trained_to=metadata.train_date_to,
        minutes=np.minimum(minutes, NEIGHBOURHOOD_MINUTES + 1),
    )


def exclude_leaked(starts: pd.Series, distances: Sequence[TrainingDistance], *, max_share: float) -> tuple[_Bool, Exclusion]:
    """Excludes the windows that any of the models was trained on, and their neighbours, from a comparison.

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
        certificates=[distance.certify() for distance in distances],
        windows=n,
        excluded=n - remaining,
        remaining=remaining,
        only_newer=newer_than is not None,
        newer_than=newer_than,
        detail=_describe_exclusion(n, lost, remaining, newer_than, max_share),
    )


def _read_training_rows(path: Path) -> npt.NDArray[np.uint64] | None:
    """The sorted hashes of the training rows; None where the file is missing, damaged or empty, which no training set is."""
    keys = read_hashes(path)
    if keys is None or not len(keys):
        return None
    return keys if (keys[1:] >= keys[:-1]).all() else None


def _minutes_from_dates(rows: pd.DataFrame, metadata: BundleMetadata) -> _Int:
    """Minutes from each row to the nearest minute of the training days, shape (n,); 0 within them."""
    first = to_epoch_us(_midnight(metadata.train_date_from)) // _MINUTE_US
    last = to_epoch_us(_midnight(metadata.train_date_to) + timedelta(days=1)) // _MINUTE_US - 1
    minute = epoch_us(rows["bucket_start_ts"]) // _MINUTE_US
    return np.maximum(np.maximum(first - minute, minute - last), 0)


def _minutes_from_windows(rows: pd.DataFrame, learned: npt.NDArray[np.uint64], schema_version: str) -> _Int:
    """Minutes from each row to the nearest window of its user that is among the learned, shape (n,); above the neighbourhood: far."""
    far = np.full(len(rows), NEIGHBOURHOOD_MINUTES + 1, dtype=np.int64)
    if rows.empty:
        return far
    users = rows["user_id"].cat.codes.to_numpy().astype(np.int64)
    minute = epoch_us(rows["bucket_start_ts"]) // _MINUTE_US
    # One number line for all users, whose stretches lie so far apart that no neighbourhood reaches the next.
    first = minute.min() - NEIGHBOURHOOD_MINUTES
    stride = minute.max() - first + 2 * NEIGHBOURHOOD_MINUTES + 1
    position = (users + 1) * stride + minute - first  # a user of null has the code -1
    around = _neighbourhoods(np.unique(position))
    code, offset = np.divmod(around, stride)
    hit = _are_learned(rows["user_id"].cat.categories, code - 1, first + offset, learned, schema_version)
    trained = around[hit]
    if not len(trained):
        return far
    after = np.searchsorted(trained, position)
    to_next = np.abs(trained[np.minimum(after, len(trained) - 1)] - position)
    to_previous = np.abs(position - trained[np.maximum(after - 1, 0)])
    return np.minimum(far, np.minimum(to_next, to_previous))


def _neighbourhoods(position: _Int) -> _Int:
    """Every whole number within NEIGHBOURHOOD_MINUTES of one of the sorted positions, once, sorted."""
    begins = np.flatnonzero(np.diff(position, prepend=position[0] - 2 * NEIGHBOURHOOD_MINUTES - 2) > 2 * NEIGHBOURHOOD_MINUTES)
    ends = np.append(begins[1:], len(position)) - 1
    lows, highs = position[begins] - NEIGHBOURHOOD_MINUTES, position[ends] + NEIGHBOURHOOD_MINUTES
    sizes = highs - lows + 1
    return np.repeat(lows - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())


def _are_learned(names: pd.Index, code: _Int, minute: _Int, learned: npt.NDArray[np.uint64], schema_version: str) -> _Bool:
    """Whether a window (code into names, minutes since 1970) is among the learned.

    A model of schema v2 was trained on one implicit user, so the one user of the windows may be the one it knows as DEFAULT_USER.
    """
    users = pd.Series(pd.Categorical.from_codes(code, names))
    starts = pd.Series((minute * _MINUTE_US).view("datetime64[us]")).dt.tz_localize(UTC)
    found = _contains(learned, hash_row_keys(pd.DataFrame({"user_id": users, "bucket_start_ts": starts})))
    if schema_version == "v2" and len(np.unique(code)) == 1:
        users = pd.Series(pd.Categorical.from_codes(np.zeros(len(code), dtype=np.int8), [DEFAULT_USER]))
        found |= _contains(learned, hash_row_keys(pd.DataFrame({"user_id": users, "bucket_start_ts": starts})))
    return found


def _contains(ordered: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> _Bool:
    """Whether each wanted value is among the sorted ones, which are at least one."""
    place = np.searchsorted(ordered, wanted)
    return ordered[np.minimum(place, len(ordered) - 1)] == wanted


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _describe(distance: TrainingDistance, trained_on: int, near: int) -> str:
    model_id, windows = distance.model_id, len(distance.minutes)
    if distance.evidence == "row_hashes":
        return (
            f"{model_id} was trained on {trained_on} of these {windows} windows, {near} more lie within {NEIGHBOURHOOD_MINUTES} minutes "
            "of one (by the hashes of its training rows)."
        )
    return (
        f"{model_id} has no usable {TRAINING_ROWS}, so its training dates count: {trained_on} of these {windows} windows lie from "
        f"{distance.trained_from} to {distance.trained_to} (UTC), {near} more within {NEIGHBOURHOOD_MINUTES} minutes of that."
    )


def _describe_exclusion(windows: int, lost: int, remaining: int, newer_than: datetime | None, max_share: float) -> str:
    if not lost:
        return f"None of {windows} windows was learned from; all are compared."
    leaked = (
        f"{lost} of {windows} windows ({lost / windows:.1%}) were learned from or lie within {NEIGHBOURHOOD_MINUTES} minutes of one "
        "that was"
    )
    if newer_than is None:
        return f"{leaked}; they are left out for both models, {remaining} are compared."
    return (
        f"{leaked}, more than the allowed {max_share:.0%}: only the {remaining} from {newer_than:%Y-%m-%d %H:%M} UTC on, newer than "
        "the training of both models, are compared."
    )
