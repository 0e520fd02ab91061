"""Checks of the files behind labeled_windows and dataset_snapshot; they block. Dagster concept: asset checks.

Add a check of stored data here. Each reads the file again on purpose: it is a claim about the file, not about the record.
"""

import dagster as dg

from taskclf_dagster.defs.assets.data import dataset_snapshot, labeled_windows
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, load_labeled_windows, stored_columns
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, read_snapshot_rows
from taskclf_dagster.domain.data.split import find_split_overlaps


@dg.asset_check(asset=labeled_windows, blocking=True, pool="retrain", description="Every (user_id, bucket_start_ts) occurs once.")
def keys_are_unique(labeled_windows: LabeledWindows, home: HomeResource) -> dg.AssetCheckResult:
    """Reads the keys of the file and counts repeated ones."""
    keys = load_labeled_windows(home.open(), labeled_windows, columns=["user_id", "bucket_start_ts"])
    repeated = int(keys.duplicated().sum())
    description = f"{repeated} windows repeat the key of another." if repeated else f"{len(keys)} keys, each once."
    metadata = {"repeated": repeated, "dropped_on_reading": labeled_windows.duplicates_dropped}
    return dg.AssetCheckResult(passed=repeated == 0, description=description, metadata=metadata)


@dg.asset_check(asset=labeled_windows, blocking=True, pool="retrain", description="No column starting with raw_ was kept (privacy).")
def no_raw_columns(labeled_windows: LabeledWindows, home: HomeResource) -> dg.AssetCheckResult:
    """Reads the names of the columns of the file."""
    raw = [column for column in stored_columns(home.open(), labeled_windows) if column.startswith("raw_")]
    dropped = ", ".join(labeled_windows.raw_columns_dropped) or "none"
    description = f"Kept: {', '.join(raw)}." if raw else f"None kept; dropped on reading: {dropped}."
    return dg.AssetCheckResult(
        passed=not raw, description=description, metadata={"kept": len(raw), "dropped": len(labeled_windows.raw_columns_dropped)}
    )


@dg.asset_check(
    asset=dataset_snapshot, blocking=True, pool="retrain", description="The stored windows have the hash that names the snapshot."
)
def hash_matches_contents(dataset_snapshot: DatasetSnapshot, home: HomeResource) -> dg.AssetCheckResult:
    """Reads windows.parquet and computes its digest again."""
    digest = frame_digest(read_snapshot_rows(home.open().root / dataset_snapshot.path))
    same = digest == dataset_snapshot.dataset_digest
    description = (
        f"{digest[:16]} as recorded." if same else f"The contents have {digest[:16]}, the record has {dataset_snapshot.dataset_hash}."
    )
    return dg.AssetCheckResult(passed=same, description=description, metadata={"digest": digest})


@dg.asset_check(
    asset=dataset_snapshot, blocking=True, pool="retrain", description="Per user, training ends before validation, validation before test."
)
def splits_are_disjoint_in_time_per_user(dataset_snapshot: DatasetSnapshot, home: HomeResource) -> dg.AssetCheckResult:
    """Compares the first and last windows of the splits of each user; features use the 15 minutes before a window."""
    columns = ["user_id", "bucket_start_ts", "split"]
    overlaps = find_split_overlaps(read_snapshot_rows(home.open().root / dataset_snapshot.path, columns=columns))
    description = "\n".join(overlaps[:20]) or f"{len(dataset_snapshot.users)} users, each split 15 minutes or more before the next."
    return dg.AssetCheckResult(passed=not overlaps, description=description, metadata={"overlaps": len(overlaps)})


DATA_CHECKS = [keys_are_unique, no_raw_columns, hash_matches_contents, splits_are_disjoint_in_time_per_user]
