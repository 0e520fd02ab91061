"""Dataset snapshots: labeled windows with their split, stored as a content-addressed folder.

`artifacts/snapshots/<dataset_hash>/` holds windows.parquet (with the split of every row) and snapshot.json. Windows are split in `split`;
`feasibility` checks that a model could be promoted on the dataset.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from taskclf_dagster.config.recorded import RecordedConfig
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feasibility import Feasibility, assess_feasibility
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS, FeatureSchema, SchemaVersion
from taskclf_dagster.domain.data.hashing import frame_digest, hash_row_labels
from taskclf_dagster.domain.data.label_store import SYNTHETIC
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows
from taskclf_dagster.domain.data.recent_windows import RecentWindows
from taskclf_dagster.domain.data.split import SPLITS, Cut, split_by_time
from taskclf_dagster.domain.storage.files import write_atomic, write_json
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.path_names import InnerPath
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.errors import SnapshotError, UnreadableFileError
from taskclf_dagster.home import Home

LABEL_SCHEMA_VERSION = "v1"


MIN_SESSION_SECONDS = 180


WINDOWS_FILE, SNAPSHOT_FILE = "windows.parquet", "snapshot.json"


_HASH = "record_hash"


_HELPERS = ["span", "session_seconds"]


class Blocker(Record):
    """One reason not to train on a dataset, and what to label instead."""

    kind: Literal["too_few_labels", "empty_split"]
    message: str


class DatasetSnapshot(Record):
    """A dataset and what it is made of.

    Attributes:
        dataset_hash: first 16 hex digits of dataset_digest, which covers every value, label and split.
        path: the snapshot folder, relative to the home.
        windows_sha256: of the bytes of windows.parquet, which every later step compares; empty before the snapshot is stored.
        users: number of rows by user.
        rows: number of rows by split.
        class_distribution: number of gold and weak rows by split (train, validation, test) and label.
        exclusions: number of labeled windows that did not enter, and of rows kept out of training and judging, by reason.
        blockers: reasons not to train on it; empty if there are none.
        feasibility: the check that a model could be promoted on this dataset.
        skip_reason: set if the last decided run already saw all of this; no later step runs then.
        config: the configuration; its policy is recorded.
        gold_windows: number of rows with a gold label.
        recent: the windows of the last days, labeled or not, on which the predictions of both models are compared.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset({"windows_sha256"})

    dataset_hash: str
    dataset_digest: str
    path: InnerPath
    windows_sha256: str
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


def build_snapshot(
    home: Home, labeled: LabeledWindows, frame: pd.DataFrame, *, config: RetrainConfig, holdout_fraction: float = 0.0
) -> tuple[DatasetSnapshot, pd.DataFrame]:
    """Excludes, splits and hashes labeled windows; writes nothing.

    Args:
        home: the taskclf home.
        labeled: the record of the frame.
        frame: as `label_windows` returns it.
        config: recorded; min_labels and min_class_windows take effect here.
        holdout_fraction: share of users held out [0 to 1].

    Returns:
        The record and the rows of the snapshot: user_id, session_id, bucket_start_ts, the model inputs, label, gold, split (category
        over SPLITS), sorted by user and time.
    """
    schema = SCHEMAS[labeled.schema_version]
    rows, excluded = _exclude(frame, schema)
    split = split_by_time(rows, holdout_fraction=holdout_fraction)
    parts = pd.Series(pd.Categorical.from_codes(split.codes, categories=list(SPLITS)), name="split")
    rows = pd.concat([rows.drop(columns=_HELPERS), parts], axis=1)
    counts = count_splits(rows)
    distribution = count_classes(rows)
    digest = frame_digest(rows)
    starts = rows["bucket_start_ts"]
    gold, held_out = int(rows["gold"].sum()), bool(split.holdout_users)
    record = DatasetSnapshot(
        dataset_hash=digest[:16],
        dataset_digest=digest,
        path=str((home.snapshots / digest[:16]).relative_to(home.root)),
        windows_sha256="",
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
        exclusions=_count_exclusions(labeled, excluded, counts),
        cuts=split.cuts,
        blockers=find_blockers(gold, counts, config.dataset.min_labels, held_out=held_out),
        feasibility=assess_feasibility(distribution, min_class_windows=config.evaluation.min_class_windows, held_out=held_out),
        skip_reason=None,
        config=config,
        gold_windows=gold,
        recent=labeled.recent,
    )
    return record, rows


def _exclude(frame: pd.DataFrame, schema: FeatureSchema) -> tuple[pd.DataFrame, dict[str, int]]:
    """Leaves out windows of short sessions and those without any measurement; returns the others and the number left out by reason."""
    short = frame["session_seconds"].to_numpy() < MIN_SESSION_SECONDS
    empty = ~short & np.logical_and.reduce([np.isnan(frame[column].to_numpy()) for column in schema.numeric_inputs])
    excluded = short | empty
    rows = frame[~excluded].reset_index(drop=True) if excluded.any() else frame
    return rows, {"short_session": int(short.sum()), "no_measurement": int(empty.sum())}


def _count_exclusions(labeled: LabeledWindows, excluded: dict[str, int], rows: dict[str, int]) -> dict[str, int]:
    return {
        **excluded,
        "duplicate_window": labeled.duplicates_dropped,
        "embargo": rows["embargo"],
        "weak_after_cut": rows["weak_after_cut"],
        **{f"unlabeled_{reason}": n for reason, n in labeled.unlabeled.items()},
    }


def find_blockers(gold: int, rows: dict[str, int], min_labels: int, *, held_out: bool = False) -> list[Blocker]:
    """Finds reasons not to train: too few gold windows, or an empty split.

    Args:
        gold: number of windows with a gold label.
        rows: number of rows by split.
        min_labels: least number of gold windows.
        held_out: True if users are held out of training.
    """
    blockers = []
    if gold < min_labels:
        message = (
            f"{gold} windows are labelled by a person, but min_labels is {min_labels}: label at least {min_labels - gold} more minutes "
            "of the look-back range"
        )
        blockers.append(Blocker(kind="too_few_labels", message=message))
    empty = [name for name in ("train", "validation", "test") if rows[name] == 0]
    if empty:
        fix = "hold out a smaller share of users" if held_out and "train" in empty else "label more minutes on more days"
        blockers.append(Blocker(kind="empty_split", message=f"the split has no {' and no '.join(empty)} windows: {fix}"))
    return blockers


def save_snapshot(home: Home, record: DatasetSnapshot, rows: pd.DataFrame) -> DatasetSnapshot:
    """Writes windows.parquet and, last, snapshot.json; an intact folder is kept as it is, a damaged one is written again.

    Equal contents always have the same folder, so snapshot.json keeps the as-of time of the run that first made them.

    Returns:
        The record with the hash of windows.parquet.
    """
    folder = home.root / record.path
    if (folder / SNAPSHOT_FILE).exists():
        with suppress(SnapshotError):
            stored = open_snapshot_rows(folder)
            if find_stored_problem(folder, stored) is None:
                return record.model_copy(update={"windows_sha256": stored.sha256})
    content = _to_parquet(rows)
    record = record.model_copy(update={"windows_sha256": hashlib.sha256(content).hexdigest()})
    write_atomic(folder / WINDOWS_FILE, content)
    document = record.model_dump(mode="json")
    write_json(folder / SNAPSHOT_FILE, {**document, _HASH: json_hash(document)})
    return record


def snapshot_folder(home: Home, path: str) -> Path:
    """Returns the folder of a snapshot that a record names.

    Args:
        home: the taskclf home.
        path: relative to the home.

    Raises:
        SnapshotError: it is not among the snapshots of the home.
    """
    folder = home.root / path
    try:
        inside = folder.resolve().is_relative_to(home.snapshots.resolve())
    except (OSError, ValueError) as error:  # too long, or not a path at all
        raise SnapshotError(home.snapshots, str(error)) from error
    if not inside:
        raise SnapshotError(folder, "it is not among the snapshots of the home")
    return folder


@dataclass(frozen=True)
class StoredRows:
    """The rows of a stored snapshot: the bytes of its file, read once, from which each call decodes the columns and splits it needs."""

    path: Path
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def load(self, *, columns: Sequence[str] | None = None, splits: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns rows in key order.

        Args:
            columns: the columns wanted; None is all.
            splits: the splits wanted; None is all. Needs the column split.

        Raises:
            SnapshotError: the file is not readable parquet.
        """
        return _decode_rows(pa.BufferReader(self.content), self.path, columns, splits)

    def find_problem(self, dataset_digest: str) -> str | None:
        """Returns the difference to the snapshot with this digest; None if it is this snapshot."""
        try:
            digest = frame_digest(self.load())
        except SnapshotError as error:
            return error.reason
        return None if digest == dataset_digest else f"snapshot {self.path.parent.name} holds other rows than it did"


def open_snapshot_rows(folder: Path, *, sha256: str | None = None) -> StoredRows:
    """Reads the file of a snapshot folder once, for several uses.

    Args:
        folder: the snapshot.
        sha256: of the file by the record that names it, if there is one.

    Raises:
        SnapshotError: the file is missing, or does not have this hash.
    """
    path = folder / WINDOWS_FILE
    try:
        stored = StoredRows(path, path.read_bytes())
    except OSError as error:
        raise _snapshot_error(path, error) from error
    if sha256 is not None and stored.sha256 != sha256:
        raise SnapshotError(path, "it does not have the hash of its record: it was changed after it was written")
    return stored


def open_snapshot(home: Home, snapshot: DatasetSnapshot) -> StoredRows:
    """Reads the file of a snapshot, which must be the one of its record.

    Raises:
        SnapshotError: it is missing, was changed, or is not among the snapshots of the home.
    """
    return open_snapshot_rows(snapshot_folder(home, snapshot.path), sha256=snapshot.windows_sha256)


def find_snapshot_problem(folder: Path, dataset_digest: str) -> str | None:
    """Returns how a stored snapshot differs from the one that a digest names; None if it is this one."""
    try:
        return open_snapshot_rows(folder).find_problem(dataset_digest)
    except SnapshotError as error:
        return error.reason


def find_stored_problem(folder: Path, known: StoredRows | None = None) -> str | None:
    """Returns how a stored snapshot differs from what was written: its rows from its name, or its record from its own hash; None if not.

    Args:
        folder: the snapshot.
        known: its rows if they were opened already.
    """
    try:
        digest = frame_digest((known or open_snapshot_rows(folder)).load())
        document = read_json_object(folder / SNAPSHOT_FILE)
    except (SnapshotError, UnreadableFileError) as error:
        return error.reason
    if digest[:16] != folder.name:
        return f"{WINDOWS_FILE} holds other rows than its name stands for"
    if document.pop(_HASH, None) != json_hash(document):
        return f"{SNAPSHOT_FILE} is not as it was written"
    return None if document.get("dataset_digest") == digest else f"{SNAPSHOT_FILE} is of another dataset"


def read_snapshot_rows(folder: Path, *, columns: Sequence[str] | None = None, splits: Sequence[str] | None = None) -> pd.DataFrame:
    """Reads the rows of a snapshot folder in key order; see `StoredRows.load`.

    Raises:
        SnapshotError: the file is missing or not readable parquet.
    """
    path = folder / WINDOWS_FILE
    return _decode_rows(path, path, columns, splits)


def _decode_rows(source: Path | pa.BufferReader, path: Path, columns: Sequence[str] | None, splits: Sequence[str] | None) -> pd.DataFrame:
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            table = file.read(columns=None if columns is None else list(columns), use_threads=False).replace_schema_metadata(None)
        if splits is not None:
            table = table.filter(pc.is_in(table["split"].cast(pa.string()), pa.array(list(splits))))
        return table.to_pandas(split_blocks=True, self_destruct=True, use_threads=False)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _snapshot_error(path, error) from error


def _snapshot_error(path: Path, error: Exception) -> SnapshotError:
    return SnapshotError(path, str(error).strip().split("\n")[0])


def holds_every_label_of(folder: Path, dataset_hash: str, rows: pd.DataFrame) -> bool:
    """Returns True if a stored snapshot has every row of another one with the same label, in any split.

    A stored snapshot that is missing, damaged or not that of the hash has none.
    """
    try:
        before = open_snapshot_rows(folder).load()
    except SnapshotError:
        return False
    if compute_dataset_hash(before) != dataset_hash:
        return False
    return bool(np.isin(hash_row_labels(rows), hash_row_labels(before)).all())


def compute_dataset_hash(rows: pd.DataFrame) -> str:
    """Returns the first 16 hex digits of the digest of a snapshot's rows; see `hashing.frame_digest`."""
    return frame_digest(rows)[:16]


def label_codes(rows: pd.DataFrame) -> np.ndarray:
    """Returns the class index of each row, the position of its label in LABELS, shape (rows,)."""
    return rows["label"].cat.set_categories(list(LABELS)).cat.codes.to_numpy()


def count_splits(rows: pd.DataFrame) -> dict[str, int]:
    """Returns the number of rows of each split."""
    counts = np.bincount(_split_codes(rows), minlength=len(SPLITS))
    return {name: int(n) for name, n in zip(SPLITS, counts, strict=True)}


def _split_codes(rows: pd.DataFrame) -> np.ndarray:
    return rows["split"].cat.set_categories(list(SPLITS)).cat.codes.to_numpy().astype(np.int64)


def count_classes(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Returns the number of rows by split (train, validation, test) and label."""
    split, label = _split_codes(rows), label_codes(rows)
    table = np.bincount(split * len(LABELS) + label, minlength=len(SPLITS) * len(LABELS)).reshape(len(SPLITS), len(LABELS))
    return {name: dict(zip(LABELS, table[i].tolist(), strict=True)) for i, name in enumerate(SPLITS[:3])}


def _to_parquet(rows: pd.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(rows, preserve_index=False, nthreads=1)
    text = [column for column in rows.columns if isinstance(rows[column].dtype, pd.CategoricalDtype)]
    # Dictionary pages only pay for text; numbers are stored plain and compressed.
    pq.write_table(
        table, sink, compression="zstd", compression_level=1, use_dictionary=text, write_statistics=False, write_page_checksum=True
    )
    return sink.getvalue().to_pybytes()
