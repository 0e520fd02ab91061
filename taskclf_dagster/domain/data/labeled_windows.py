"""Labeled windows: the windows of the look-back that have a label, read from a home and stored as one content-addressed file.

Windows are labeled in `labeling`; they are split and excluded in `snapshot`.
"""

from collections import deque
from datetime import datetime
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import model_validator

from taskclf_dagster.config.settings import DatasetSettings
from taskclf_dagster.domain.data.contract_checks import ContractViolation
from taskclf_dagster.domain.data.day_folders import find_passed_over
from taskclf_dagster.domain.data.feature_schema import SchemaVersion, check_schema_hash
from taskclf_dagster.domain.data.frame_parts import PART_WINDOWS
from taskclf_dagster.domain.data.label_fates import LabelFates
from taskclf_dagster.domain.data.label_fingerprints import watermark
from taskclf_dagster.domain.data.labeling import Labeling
from taskclf_dagster.domain.data.passed_over import PassedOver
from taskclf_dagster.domain.data.recent_windows import RecentWindows, save_recent_windows
from taskclf_dagster.domain.data.stored_frames import FrameFile, load_columns, open_frames, store_parts
from taskclf_dagster.domain.data.window_parts import DaySpill
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.storage.files import temporary_path
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
    """Labeled windows that are not stored.

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


class StoredLabeling(NamedTuple):
    """The record of labeled windows that are stored, and the fingerprints of the label store as it was read."""

    record: LabeledWindows
    label_fingerprints: npt.NDArray[np.uint64]


def label_windows(home: Home, *, as_of: datetime, settings: DatasetSettings) -> LabelingResult:
    """Reads the look-back of a home and labels its windows, all in one frame; writes nothing.

    Args:
        home: the taskclf home.
        as_of: the end of the look-back.
        settings: lengths of both look-backs, schema version, use of weak labels, handling of unreadable days.

    Raises:
        HomeNotFoundError: there is no such home.
        NoWindowsError: no partition lies in range.
        UnreadableFileError: a file cannot be read.
    """
    labeling = Labeling(home, as_of=as_of, settings=settings)
    frame = next(iter(list(labeling.label())), None)
    return LabelingResult(_describe(home, labeling), frame, labeling.labels.fingerprints, labeling.reading.frame)


def store_labeled_windows(
    home: Home, *, as_of: datetime, settings: DatasetSettings, part_windows: int = PART_WINDOWS, engine: Engine = LOCAL
) -> StoredLabeling:
    """Labels the windows of the look-back part by part, and stores the labeled and the recent ones; else as `label_windows`.

    With violations of the data contract nothing is stored. Neither `part_windows` nor the engine changes what is stored.
    """
    spill = DaySpill(temporary_path(home.labeled_windows / "windows"), part_windows)
    try:
        labeling = Labeling(home, as_of=as_of, settings=settings, spill=spill, engine=engine)
        if not labeling.is_valid:
            deque(labeling.label(engine), maxlen=0)  # the record counts the windows all the same
            return StoredLabeling(_describe(home, labeling), labeling.labels.fingerprints)
        stored = store_parts(home.labeled_windows, labeling.label(engine), kind="labeled")
        recent = save_recent_windows(home, labeling.recent(engine), schema_version=labeling.reading.schema.version)
    finally:
        spill.remove()
    path = str(stored.path.relative_to(home.root))
    record = _describe(home, labeling).model_copy(update={"path": path, "digest": stored.digest, "recent": recent})
    return StoredLabeling(record, labeling.labels.fingerprints)


def load_stored_keys(home: Home, record: LabeledWindows) -> tuple[pd.DataFrame, list[str]]:
    """Reads user_id and bucket_start_ts of the frame of a record, and the names of all columns in its file; its hash is not checked.

    Raises:
        DataContractError: the record has violations, so there is no frame.
        SnapshotError: the file is missing or unreadable.
    """
    return load_columns(_path_of(home, record), ["user_id", "bucket_start_ts"])


def open_labeled_windows(home: Home, record: LabeledWindows) -> FrameFile:
    """Returns the parts of the frame of a record.

    Raises:
        DataContractError: the record has violations, so there is no frame.
        SnapshotError: the file is missing or unreadable, or does not have the recorded hash.
    """
    return open_frames(_path_of(home, record), record.digest or "")


def _path_of(home: Home, record: LabeledWindows) -> Path:
    if record.path is None:
        raise DataContractError("labeled_windows", [str(violation) for violation in record.violations])
    return home.root / record.path


def _describe(home: Home, labeling: Labeling) -> LabeledWindows:
    """Returns the record of windows that are labeled, without a file."""
    reading, labels = labeling.reading, labeling.labels
    return LabeledWindows(
        home=home.display_name,
        demo=home.is_demo,
        as_of=labeling.as_of,
        range_start=labeling.start,
        split_from=labeling.split_from,
        schema_version=reading.schema.version,
        schema_hash=reading.schema.schema_hash,
        path=None,
        digest=None,
        recent=None,
        windows=labeling.windows,
        gold=sum(labeling.class_counts["gold"].values()),
        weak=sum(labeling.class_counts["weak"].values()),
        class_counts=labeling.class_counts,
        unlabeled={str(reason): n for reason, n in labeling.unlabeled.items()},
        users=labeling.users,
        users_without_windows=labeling.users_without_windows,
        spans_by_provenance={str(k): int(v) for k, v in labels.spans["provenance"].value_counts().sort_index().items()},
        label_watermark=watermark(labels.fingerprints),
        days=reading.days,
        days_of_other_versions=reading.days_of_other_versions,
        unreadable_days=reading.unreadable_days,
        duplicates_dropped=reading.duplicates_dropped,
        raw_columns_dropped=reading.raw_columns_dropped,
        violations=[*reading.violations, *labels.violations],
        passed_over=tuple(find_passed_over(home)),
        label_fates=labeling.fates,
    )
