"""Dataset snapshots: which labeled windows teach and judge, kept as a content-addressed folder.

`artifacts/snapshots/<dataset_hash>/` holds windows.parquet (with the split of every row) and snapshot.json. Where the cuts go is decided
in `split`, whether a model could be promoted on it in `feasibility`.
"""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from taskclf_dagster.config.recorded import RecordedConfig
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feasibility import Feasibility, assess_feasibility
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.hashing import frame_digest, hash_row_labels
from taskclf_dagster.domain.data.label_store import SYNTHETIC
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows
from taskclf_dagster.domain.data.split import SPLITS, Cut, split_by_time
from taskclf_dagster.domain.storage.files import write_atomic, write_json
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import SnapshotError
from taskclf_dagster.home import Home

LABEL_SCHEMA_VERSION = "v1"


MIN_SESSION_SECONDS = 180


_HELPERS = ["span", "session_seconds"]


class DatasetSnapshot(Record):
    """A dataset and what it is made of.

    Attributes:
        dataset_hash: first 16 hex digits of dataset_digest, which covers every value, label and split.
        path: the snapshot folder, relative to the home.
        rows: rows by split.
        class_distribution: gold and weak rows by split and label.
        exclusions: labeled windows that did not enter, and rows kept out of training and judging, by reason.
        blockers: why there is nothing to learn from; empty when training makes sense.
        feasibility: whether any model could be promoted on this dataset, and what to label if not.
        skip_reason: set when the last decided run already saw all of this; nothing follows then.
    """

    dataset_hash: str
    dataset_digest: str
    path: str
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
    blockers: list[str]
    feasibility: Feasibility
    skip_reason: str | None
    config: RecordedConfig
    gold_windows: int


def build_snapshot(
    home: Home, labeled: LabeledWindows, frame: pd.DataFrame, *, config: RetrainConfig, holdout_fraction: float = 0.0
) -> tuple[DatasetSnapshot, pd.DataFrame]:
    """Excludes, splits and hashes labeled windows; writes nothing.

    Args:
        home: the taskclf home.
        labeled: the record of the frame.
        frame: as `label_windows` returns it.
        config: min_labels, min_class_windows and the gates that the feasibility pre-flight looks at.
        holdout_fraction: share of users held out [0 to 1].

    Returns:
        The record and the rows of the snapshot: user_id, session_id, bucket_start_ts, the model inputs, label, gold, split (category
        over SPLITS), sorted by user and time.
    """
    schema = SCHEMAS[labeled.schema_version]
    short = frame["session_seconds"].to_numpy() < MIN_SESSION_SECONDS
    empty = ~short & np.logical_and.reduce([np.isnan(frame[column].to_numpy()) for column in schema.numeric_inputs])
    excluded = short | empty
    rows = frame[~excluded].reset_index(drop=True) if excluded.any() else frame
    split = split_by_time(rows, holdout_fraction=holdout_fraction)
    parts = pd.Series(pd.Categorical.from_codes(split.codes, categories=list(SPLITS)), name="split")
    rows = pd.concat([rows.drop(columns=_HELPERS), parts], axis=1)
    counts = {name: int(n) for name, n in zip(SPLITS, np.bincount(split.codes, minlength=len(SPLITS)), strict=True)}
    distribution = _class_distribution(rows)
    digest = frame_digest(rows)
    starts = rows["bucket_start_ts"]
    gold = int(rows["gold"].sum())
    record = DatasetSnapshot(
        dataset_hash=digest[:16],
        dataset_digest=digest,
        path=str((home.snapshots / digest[:16]).relative_to(home.root)),
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
        exclusions={
            "short_session": int(short.sum()),
            "no_measurement": int(empty.sum()),
            "duplicate_window": labeled.duplicates_dropped,
            "embargo": counts["embargo"],
            "weak_after_cut": counts["weak_after_cut"],
            **{f"unlabeled_{reason}": n for reason, n in labeled.unlabeled.items()},
        },
        cuts=split.cuts,
        blockers=find_blockers(gold, counts, config.dataset.min_labels, held_out=bool(split.holdout_users)),
        feasibility=assess_feasibility(distribution, config.evaluation, held_out=bool(split.holdout_users)),
        skip_reason=None,
        config=config,
        gold_windows=gold,
    )
    return record, rows


def find_blockers(gold: int, rows: dict[str, int], min_labels: int, *, held_out: bool = False) -> list[str]:
    """Why there is nothing to learn from: too few gold windows or an empty split. Empty when training makes sense."""
    blockers = []
    if gold < min_labels:
        blockers.append(
            f"{gold} windows are labelled by a person, but min_labels is {min_labels}: label at least {min_labels - gold} more minutes "
            "of the look-back range"
        )
    empty = [name for name in ("train", "validation", "test") if rows[name] == 0]
    if empty:
        fix = "hold out a smaller share of users" if held_out and "train" in empty else "label more minutes on more days"
        blockers.append(f"the split has no {' and no '.join(empty)} windows: {fix}")
    return blockers


def save_snapshot(home: Home, record: DatasetSnapshot, rows: pd.DataFrame) -> None:
    """Writes windows.parquet and, last, snapshot.json; a folder that is whole already is left as it is, a damaged one is mended.

    The same contents always have the same folder, so snapshot.json keeps the as-of time of the run that first made them.
    """
    folder = home.root / record.path
    if (folder / "snapshot.json").exists() and find_snapshot_problem(folder, record.dataset_digest) is None:
        return
    write_atomic(folder / "windows.parquet", lambda temporary: _write_parquet(temporary, rows))
    write_json(folder / "snapshot.json", record.model_dump(mode="json"))


def find_snapshot_problem(folder: Path, dataset_digest: str) -> str | None:
    """Why a stored snapshot is not the one that a digest names, or None."""
    try:
        digest = frame_digest(read_snapshot_rows(folder))
    except SnapshotError as error:
        return error.reason
    return None if digest == dataset_digest else f"snapshot {folder.name} holds other rows than it did"


def read_snapshot_rows(folder: Path, *, columns: list[str] | None = None, splits: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Reads the rows of a snapshot folder in key order.

    Args:
        folder: holds windows.parquet.
        columns: the columns wanted; None is all.
        splits: the splits wanted; None is all. Needs the column split.

    Raises:
        SnapshotError: the file is missing or not readable parquet.
    """
    path = folder / "windows.parquet"
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(columns=columns, use_threads=False).replace_schema_metadata(None)
        if splits is not None:
            table = table.filter(pc.is_in(table["split"].cast(pa.string()), pa.array(splits)))
        return table.to_pandas(split_blocks=True, self_destruct=True, use_threads=False)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise SnapshotError(path, str(error).strip().split("\n")[0]) from error


def holds_every_label_of(folder: Path, rows: pd.DataFrame) -> bool:
    """Whether a stored snapshot already has every row of another one with the same label, in whatever split.

    A stored snapshot that is gone or damaged holds nothing.
    """
    try:
        before = read_snapshot_rows(folder, columns=["user_id", "bucket_start_ts", "label"])
    except SnapshotError:
        return False
    return bool(np.isin(hash_row_labels(rows), hash_row_labels(before)).all())


def compute_dataset_hash(rows: pd.DataFrame) -> str:
    """First 16 hex digits of the digest of a snapshot's rows; see `hashing.frame_digest`."""
    return frame_digest(rows)[:16]


def label_codes(rows: pd.DataFrame) -> np.ndarray:
    """Class index of each row: the position of its label in LABELS."""
    return rows["label"].cat.set_categories(list(LABELS)).cat.codes.to_numpy()


def _class_distribution(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    split, label = rows["split"].cat.codes.to_numpy().astype(np.int64), label_codes(rows)
    table = np.bincount(split * len(LABELS) + label, minlength=len(SPLITS) * len(LABELS)).reshape(len(SPLITS), len(LABELS))
    return {name: dict(zip(LABELS, table[i].tolist(), strict=True)) for i, name in enumerate(SPLITS[:3])}


def _write_parquet(path: Path, rows: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(rows, preserve_index=False, nthreads=1)
    text = [column for column in rows.columns if isinstance(rows[column].dtype, pd.CategoricalDtype)]
    # Dictionary pages only pay for text; numbers are stored plain and compressed.
    pq.write_table(
        table, path, compression="zstd", compression_level=1, use_dictionary=text, write_statistics=False, write_page_checksum=True
    )
