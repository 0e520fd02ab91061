"""Labeled windows: the windows of the look-back that have a label, read from a home and stored as one content-addressed file.

Joins `windows`, `label_store`, `label_projection` and `label_fates`. They are split and excluded in `snapshot`.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import model_validator

from taskclf_dagster.config.settings import DatasetSettings
from taskclf_dagster.domain.data.contract_checks import ContractViolation
from taskclf_dagster.domain.data.day_folders import PassedOver, find_passed_over
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS, WINDOW_SECONDS, SchemaVersion, check_schema_hash
from taskclf_dagster.domain.data.label_fates import LabelFates, count_label_fates
from taskclf_dagster.domain.data.label_fingerprints import watermark
from taskclf_dagster.domain.data.label_projection import Projection, project_blocks_to_windows
from taskclf_dagster.domain.data.label_store import LabelReading, read_label_spans
from taskclf_dagster.domain.data.recent_windows import RecentWindows, save_recent_windows
from taskclf_dagster.domain.data.stored_frames import load_columns, load_frame, store_frame
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.data.windows import WindowReading, read_windows
from taskclf_dagster.domain.storage.path_names import InnerPath
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import DataContractError
from taskclf_dagster.home import Home


class LabeledWindows(Record):
    """Counts and violations of what was read from a home at one as-of time, and the file of the labeled windows.

    Attributes:
        path: the frame, relative to the home; None if the data contract is violated or the frame is not stored.
        digest: of the frame.
        recent: the windows of the last days; None if the frame is not stored.
        range_start: start of the look-back, from which windows are read.
        split_from: start of the range that is split and judged; windows before it only teach.
        windows: number of windows read, labeled or not, without duplicates.
        gold, weak: number of windows with a gold or a weak label.
        class_counts: number of labeled windows by tier (gold, weak) and label.
        unlabeled: number of windows without a label, by reason.
        users: number of windows by user.
        label_watermark: names the content of the label store.
        passed_over: folders and files beside the daily files that may hold windows and are not read.
        label_fates: the label spans by what became of them; None if windows or spans could not be read.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset({"path"})

    home: str
    demo: bool
    as_of: datetime
    range_start: datetime
    split_from: datetime
    schema_version: SchemaVersion
    schema_hash: str
    path: InnerPath | None
    digest: str | None
    recent: RecentWindows | None
    windows: int
    gold: int
    weak: int
    class_counts: dict[str, dict[str, int]]
    unlabeled: dict[str, int]
    users: dict[str, int]
    users_without_windows: list[str]
    spans_by_provenance: dict[str, int]
    label_watermark: str
    days: list[str]
    days_of_other_versions: list[str]
    unreadable_days: list[str]
    duplicates_dropped: int
    raw_columns_dropped: dict[str, int]
    violations: list[ContractViolation]
    passed_over: tuple[PassedOver, ...] = ()
    label_fates: LabelFates | None = None

    @model_validator(mode="after")
    def _hash_is_of_the_version(self) -> Self:
        check_schema_hash(self.schema_version, self.schema_hash)
        return self


class LabelingResult(NamedTuple):
    """Labeled windows that are not stored yet.

    Attributes:
        record: without a path.
        frame: one row per labeled window, sorted by user and time, with the columns of `WindowReading.frame` and label (category over
            LABELS), gold (bool), span (int32) and session_seconds (float64); None if the data contract is violated.
        label_fingerprints: of the label store as it was read, shape (spans,).
        windows: every window that was read, as `WindowReading.frame`; None if there is none.
    """

    record: LabeledWindows
    frame: pd.DataFrame | None
    label_fingerprints: npt.NDArray[np.uint64]
    windows: pd.DataFrame | None


def label_windows(home: Home, *, as_of: datetime, settings: DatasetSettings) -> LabelingResult:
    """Reads the look-back of a home and labels its windows; writes nothing.

    Args:
        home: the taskclf home.
        as_of: the end of the look-back.
        settings: lengths of both look-backs, schema version, use of weak labels, handling of unreadable days.

    Raises:
        HomeNotFoundError: there is no such home.
        NoWindowsError: no partition lies in range.
        UnreadableFileError: a file cannot be read.
    """
    home.require()
    split_from = as_of - timedelta(days=settings.data_lookback_days)
    start = min(split_from, as_of - timedelta(days=settings.training_lookback_days))
    reading = read_windows(
        home,
        start=start,
        end=as_of,
        schema_version=settings.schema_version,
        skip_unreadable_days=settings.skip_unreadable_days,
        chosen_from=split_from,
    )
    labels = read_label_spans(home, start=start, end=as_of)
    spans = labels.spans if settings.weak_labels == "train_only" else labels.spans[labels.spans["gold"]]
    frame = projection = fates = None
    if reading.frame is not None:
        projection = project_blocks_to_windows(reading.frame, spans)
        left_out = {"weak_left_out": len(labels.spans) - len(spans), "not_valid": labels.invalid, "outside_look_back": labels.later}
        fates = count_label_fates(reading.frame, spans, projection, start=start, end=as_of, left_out=left_out)
        if not reading.violations and not labels.violations:
            frame = _attach(reading.frame, projection)
    record = _describe(home, as_of, (start, split_from), reading, labels, projection)
    record = record.model_copy(update={"passed_over": tuple(find_passed_over(home)), "label_fates": None if labels.damaged else fates})
    return LabelingResult(record, frame, labels.fingerprints, reading.frame)


def save_labeled_windows(home: Home, result: LabelingResult) -> LabeledWindows:
    """Stores the labeled and the recent windows of a result, and returns its record with their files."""
    record, frame = result.record, result.frame
    if frame is None or result.windows is None:
        return record
    stored = store_frame(home.labeled_windows, frame, kind="labeled")
    recent = save_recent_windows(home, result.windows, as_of=record.as_of, schema_version=record.schema_version)
    return record.model_copy(update={"path": str(stored.path.relative_to(home.root)), "digest": stored.digest, "recent": recent})


def load_stored_keys(home: Home, record: LabeledWindows) -> tuple[pd.DataFrame, list[str]]:
    """Reads user_id and bucket_start_ts of the frame of a record, and the names of all columns in its file; its hash is not checked.

    Raises:
        DataContractError: the record has violations, so there is no frame.
        SnapshotError: the file is missing or unreadable.
    """
    return load_columns(_path_of(home, record), ["user_id", "bucket_start_ts"])


def load_labeled_windows(home: Home, record: LabeledWindows) -> pd.DataFrame:
    """Reads the frame of a record.

    Raises:
        DataContractError: the record has violations, so there is no frame.
        SnapshotError: the file is missing or unreadable, or does not have the recorded hash.
    """
    return load_frame(_path_of(home, record), record.digest or "")


def _path_of(home: Home, record: LabeledWindows) -> Path:
    if record.path is None:
        raise DataContractError("labeled_windows", [str(violation) for violation in record.violations])
    return home.root / record.path


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


def _describe(
    home: Home,
    as_of: datetime,
    starts: tuple[datetime, datetime],
    reading: WindowReading,
    labels: LabelReading,
    projection: Projection | None,
) -> LabeledWindows:
    counts = _count_classes(projection)
    frame = reading.frame
    return LabeledWindows(
        home=home.display_name,
        demo=home.is_demo,
        as_of=as_of,
        range_start=starts[0],
        split_from=starts[1],
        schema_version=reading.schema.version,
        schema_hash=SCHEMAS[reading.schema.version].schema_hash,
        path=None,
        digest=None,
        recent=None,
        windows=0 if frame is None else len(frame),
        gold=sum(counts["gold"].values()),
        weak=sum(counts["weak"].values()),
        class_counts=counts,
        unlabeled={} if projection is None else {str(reason): n for reason, n in projection.unlabeled.items()},
        users={} if frame is None else {str(user): int(n) for user, n in frame["user_id"].value_counts(sort=False).items()},
        users_without_windows=[] if projection is None else projection.users_without_windows,
        spans_by_provenance={str(k): int(v) for k, v in labels.spans["provenance"].value_counts().sort_index().items()},
        label_watermark=watermark(labels.fingerprints),
        days=reading.days,
        days_of_other_versions=reading.days_of_other_versions,
        unreadable_days=reading.unreadable_days,
        duplicates_dropped=reading.duplicates_dropped,
        raw_columns_dropped=reading.raw_columns_dropped,
        violations=[*reading.violations, *labels.violations],
    )


def _count_classes(projection: Projection | None) -> dict[str, dict[str, int]]:
    counts = {"gold": dict.fromkeys(LABELS, 0), "weak": dict.fromkeys(LABELS, 0)}
    if projection is not None:
        for tier, gold in (("gold", True), ("weak", False)):
            chosen = projection.label[(projection.label >= 0) & (projection.gold == gold)]
            counts[tier] = dict(zip(LABELS, np.bincount(chosen, minlength=len(LABELS)).tolist(), strict=True))
    return counts
