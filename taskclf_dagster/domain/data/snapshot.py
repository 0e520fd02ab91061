"""Dataset snapshots: labeled windows with their split, stored as a content-addressed folder.

`artifacts/snapshots/<dataset_hash>/` holds windows/part-NNN.parquet (with the split of every row) and snapshot.json. Windows are split in
`split_rows`; `feasibility` checks that a model could be promoted on the dataset.
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal, Self

import pandas as pd
from pydantic import model_validator

from taskclf_dagster.config.recorded import RecordedConfig
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feasibility import Feasibility, assess_feasibility
from taskclf_dagster.domain.data.feature_schema import SCHEMAS, SchemaVersion, check_schema_hash
from taskclf_dagster.domain.data.frame_parts import FrameParts, Rows, WholeFrame, join_parts
from taskclf_dagster.domain.data.hashing import parts_digest
from taskclf_dagster.domain.data.label_fates import LabelFates
from taskclf_dagster.domain.data.label_store import SYNTHETIC
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows
from taskclf_dagster.domain.data.recent_windows import RecentWindows
from taskclf_dagster.domain.data.snapshot_owner import claim_snapshot_place
from taskclf_dagster.domain.data.snapshot_places import SNAPSHOT_FILE, snapshot_folder
from taskclf_dagster.domain.data.snapshot_rows import (
    ABOUT_ROWS,
    StoredPart,
    StoredRows,
    count_classes,
    count_splits,
    open_snapshot_rows,
    write_rows,
)
from taskclf_dagster.domain.data.split import Cut, is_gold_in_range
from taskclf_dagster.domain.data.split_rows import split_rows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.storage.files import json_text
from taskclf_dagster.domain.storage.json_files import parse_json_object, read_json_object
from taskclf_dagster.domain.storage.path_names import InnerPath
from taskclf_dagster.domain.storage.places import Place, place_exists, read_place, write_place
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.errors import ObjectMissingError, SnapshotError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

LABEL_SCHEMA_VERSION = "v1"


_HASH = "record_hash"


class Blocker(Record):
    """One reason not to train on a dataset, and what to label instead."""

    kind: Literal["too_few_labels", "empty_split"]
    message: str


class DatasetSnapshot(Record):
    """A dataset and what it is made of.

    Attributes:
        dataset_hash: first 16 hex digits of dataset_digest, which covers every value, label and split.
        path: the snapshot folder, relative to the home.
        parts: the files of the rows with their hashes, which every later step compares; empty before the snapshot is stored.
        users: number of rows by user.
        rows: number of rows by split.
        class_distribution: number of gold and weak rows by split (older, train, validation, test) and label.
        exclusions: number of labeled windows that did not enter, and of rows kept out of training and judging, by reason.
        blockers: reasons not to train on it; empty if there are none.
        feasibility: the check that a model could be promoted on this dataset.
        skip_reason: set if the last decided run already saw all of this; no later step runs then.
        config: the configuration; its policy is recorded.
        gold_windows: number of rows with a gold label that are not older.
        recent: the windows of the last days, labeled or not, on which the predictions of both models are compared.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset({"parts"})

    dataset_hash: str
    dataset_digest: str
    path: InnerPath
    parts: tuple[StoredPart, ...]
    schema_version: SchemaVersion
    schema_hash: str
    label_schema_version: str
    label_watermark: str
    labeled_windows_digest: str
    home: str
    demo: bool
    as_of: datetime
    time_range: tuple[datetime, datetime] | None
    users: dict[str, int]
    holdout_users: list[str]
    has_synthetic_spans: bool
    rows: dict[str, int]
    class_distribution: dict[str, dict[str, int]]
    exclusions: dict[str, int]
    cuts: list[Cut]
    blockers: list[Blocker]
    feasibility: Feasibility
    skip_reason: str | None
    config: RecordedConfig
    gold_windows: int
    recent: RecentWindows | None

    @model_validator(mode="after")
    def _hash_is_of_the_version(self) -> Self:
        check_schema_hash(self.schema_version, self.schema_hash)
        return self

    @property
    def learning_rows(self) -> int:
        """The number of rows that the first fit learns from."""
        return self.rows["older"] + self.rows["train"]


def build_snapshot(
    home: Home, labeled: LabeledWindows, frame: pd.DataFrame, *, config: RetrainConfig, holdout_fraction: float = 0.0
) -> tuple[DatasetSnapshot, pd.DataFrame]:
    """Excludes, splits and hashes labeled windows that are one frame; else as `build_snapshot_parts`."""
    record, rows = build_snapshot_parts(home, labeled, WholeFrame(frame), config=config, holdout_fraction=holdout_fraction)
    return record, rows.load_part(0)


def build_snapshot_parts(
    home: Home,
    labeled: LabeledWindows,
    source: FrameParts,
    *,
    config: RetrainConfig,
    holdout_fraction: float = 0.0,
    engine: Engine = LOCAL,
) -> tuple[DatasetSnapshot, FrameParts]:
    """Excludes, splits and hashes labeled windows part by part; writes nothing.

    Args:
        home: the taskclf home.
        labeled: the record of the windows.
        source: the windows, as `LabelingResult.frame`.
        config: recorded; min_labels and min_class_windows take effect here.
        holdout_fraction: share of users held out [0 to 1].
        engine: excludes and splits the windows of each part.

    Returns:
        The record and the rows of the snapshot: user_id, session_id, bucket_start_ts, the model inputs, label, gold, split (category
        over SPLITS), sorted by user and time. Nothing but the parts of the rows depends on the parts of the windows.
    """
    schema = SCHEMAS[labeled.schema_version]
    split = split_rows(source, schema, split_from=labeled.split_from, holdout_fraction=holdout_fraction, engine=engine)
    digest = parts_digest(split.rows)
    rows = join_parts(split.rows, ABOUT_ROWS)
    counts = count_splits(rows)
    distribution = count_classes(rows)
    starts = rows["bucket_start_ts"]
    judged = is_gold_in_range(rows)
    gold, held_out = int(judged.sum()), bool(split.holdout_users)
    record = DatasetSnapshot(
        dataset_hash=digest[:16],
        dataset_digest=digest,
        path=str((home.snapshots / digest[:16]).relative_to(home.root)),
        parts=(),
        schema_version=schema.version,
        schema_hash=schema.schema_hash,
        label_schema_version=LABEL_SCHEMA_VERSION,
        label_watermark=labeled.label_watermark,
        labeled_windows_digest=labeled.digest or "",
        home=labeled.home,
        demo=labeled.demo,
        as_of=labeled.as_of,
        time_range=(starts.min().to_pydatetime(), starts.max().to_pydatetime()) if len(rows) else None,
        users={str(user): int(n) for user, n in rows["user_id"].value_counts(sort=False).items() if n},
        holdout_users=split.holdout_users,
        has_synthetic_spans=SYNTHETIC in labeled.spans_by_provenance,
        rows=counts,
        class_distribution=distribution,
        exclusions=_count_exclusions(labeled, split.excluded, counts),
        cuts=split.cuts,
        blockers=find_blockers(gold, counts, config.dataset.min_labels, held_out=held_out, fates=labeled.label_fates),
        feasibility=_assess_feasibility(distribution, config, labeled, held_out=held_out),
        skip_reason=None,
        config=config,
        gold_windows=gold,
        recent=labeled.recent,
    )
    return record, split.rows


def _count_exclusions(labeled: LabeledWindows, excluded: dict[str, int], rows: dict[str, int]) -> dict[str, int]:
    return {
        **excluded,
        "duplicate_window": labeled.duplicates_dropped,
        "embargo": rows["embargo"],
        "weak_after_cut": rows["weak_after_cut"],
        **{f"unlabeled_{reason}": n for reason, n in labeled.unlabeled.items()},
    }


def _assess_feasibility(
    distribution: dict[str, dict[str, int]], config: RetrainConfig, labeled: LabeledWindows, *, held_out: bool
) -> Feasibility:
    """Assesses a distribution; the advice ends with the label spans that label nothing, if there are any."""
    found = assess_feasibility(distribution, min_class_windows=config.evaluation.min_class_windows, held_out=held_out)
    lost = "" if labeled.label_fates is None else labeled.label_fates.advice
    return found.model_copy(update={"advice": [*found.advice, lost]}) if lost else found


def find_blockers(
    gold: int, rows: dict[str, int], min_labels: int, *, held_out: bool = False, fates: LabelFates | None = None
) -> list[Blocker]:
    """Finds reasons not to train: too few gold windows, or an empty split.

    Args:
        gold: number of windows with a gold label.
        rows: number of rows by split.
        min_labels: least number of gold windows.
        held_out: True if users are held out of training.
        fates: of the label spans; the first message ends with them if a span in the look-back labels nothing.
    """
    blockers = []
    if gold < min_labels:
        message = (
            f"{gold} windows are labelled by a person, but min_labels is {min_labels}: "
            f"label at least {counted(min_labels - gold, 'more minute')} of the look-back range"
        )
        blockers.append(Blocker(kind="too_few_labels", message=message))
    empty = [name for name in ("train", "validation", "test") if rows[name] == 0]
    if empty:
        fix = "hold out a smaller share of users" if held_out and "train" in empty else "label more minutes on more days"
        blockers.append(Blocker(kind="empty_split", message=f"the split has no {' and no '.join(empty)} windows: {fix}"))
    if blockers and fates is not None and fates.lost:
        blockers[0] = blockers[0].model_copy(update={"message": f"{blockers[0].message}. {fates.advice.removesuffix('.')}"})
    return blockers


def save_snapshot(home: Home, record: DatasetSnapshot, rows: Rows, *, engine: Engine = LOCAL) -> DatasetSnapshot:
    """Writes the parts of the rows and, last, snapshot.json; an intact folder is kept as it is, a damaged one is written again.

    Equal contents always have the same folder, so snapshot.json keeps the as-of time of the run that first made them.

    Returns:
        The record with the files of the rows.

    Raises:
        ObjectStoreError, ObjectStoreUnavailableError: see `object_store`; or the place is that of another home.
    """
    claim_snapshot_place(home)
    folder = snapshot_folder(home, record.path)
    if place_exists(folder / SNAPSHOT_FILE):
        with suppress(SnapshotError):
            stored = open_snapshot_rows(folder)
            if find_stored_problem(folder, stored) is None:
                return record.model_copy(update={"parts": stored.describe()})
    record = record.model_copy(update={"parts": write_rows(folder, rows, engine)})
    document = record.model_dump(mode="json")
    write_place(folder / SNAPSHOT_FILE, json_text({**document, _HASH: json_hash(document)}).encode())
    return record


def open_snapshot(home: Home, snapshot: DatasetSnapshot) -> StoredRows:
    """Opens the rows of a snapshot, whose files must be those of its record.

    Raises:
        SnapshotError: a file is missing or was changed (that of the only part; those of several are compared when they are read), or the
            folder is not among the snapshots of the home.
    """
    return open_snapshot_rows(snapshot_folder(home, snapshot.path), parts=snapshot.parts)


def find_stored_problem(folder: Place, known: StoredRows | None = None) -> str | None:
    """Returns how a stored snapshot differs from what was written: its rows from its name, or its record from its own hash; None if not.

    Args:
        folder: the snapshot.
        known: its rows if they were opened already.
    """
    try:
        digest = (known or open_snapshot_rows(folder)).digest()
        document = read_snapshot_document(folder)
    except (SnapshotError, UnreadableFileError, ObjectMissingError) as error:
        return error.reason
    if digest[:16] != folder.name:
        return "it holds other rows than its name stands for"
    if document.pop(_HASH, None) != json_hash(document):
        return f"{SNAPSHOT_FILE} is not as it was written"
    return None if document.get("dataset_digest") == digest else f"{SNAPSHOT_FILE} is of another dataset"


def read_snapshot_document(folder: Place) -> dict[str, object]:
    """Returns what the record of a stored snapshot holds; its hash is not checked.

    Raises:
        UnreadableFileError: it is missing on this machine, or is no JSON object.
        ObjectMissingError, ObjectStoreError, ObjectStoreUnavailableError: see `object_store`.
    """
    place = folder / SNAPSHOT_FILE
    return read_json_object(place) if isinstance(place, Path) else parse_json_object(place, read_place(place))
