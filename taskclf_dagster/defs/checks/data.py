"""Claims about the files behind labeled_windows and dataset_snapshot; red ones block. Dagster concept: asset checks."""

import dagster as dg

from taskclf_dagster.defs.assets.data import dataset_snapshot, labeled_windows
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, load_labeled_windows, stored_columns
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, read_snapshot_rows
from taskclf_dagster.domain.data.split import find_split_overlaps


@dg.asset_check(asset=labeled_windows, blocking=True, pool="retrain", description="Every (user_id, bucket_start_ts) occurs once.")
def keys_are_unique(labeled_windows: LabeledWindows, home: HomeResource) -> dg.AssetCheckResult:
    """Reads the keys of the file behind the asset and looks for any that occurs twice."""
    keys = load_labeled_windows(home.open(), labeled_windows, columns=["user_id", "bucket_start_ts"])
    repeated = int(keys.duplicated().sum())
    words = f"{repeated} windows repeat the key of another." if repeated else f"{len(keys)} keys, each once."
    metadata = {"repeated": repeated, "dropped_on_reading": labeled_windows.duplicates_dropped}
    return dg.AssetCheckResult(passed=repeated == 0, description=words, metadata=metadata)


@dg.asset_check(asset=labeled_windows, blocking=True, pool="retrain", description="No column starting with raw_ was kept (privacy).")
def no_raw_columns(labeled_windows: LabeledWindows, home: HomeResource) -> dg.AssetCheckResult:
    """Looks at the columns of the file behind the asset."""
    raw = [column for column in stored_columns(home.open(), labeled_windows) if column.startswith("raw_")]
    dropped = ", ".join(labeled_windows.raw_columns_dropped) or "none"
    words = f"Kept: {', '.join(raw)}." if raw else f"None kept; dropped at the door: {dropped}."
    return dg.AssetCheckResult(
        passed=not raw, description=words, metadata={"kept": len(raw), "dropped": len(labeled_windows.raw_columns_dropped)}
    )


@dg.asset_check(
    asset=dataset_snapshot, blocking=True, pool="retrain", description="The stored windows have the hash that names the snapshot."
)
def hash_matches_contents(dataset_snapshot: DatasetSnapshot, home: HomeResource) -> dg.AssetCheckResult:
    """Reads windows.parquet back and computes its digest again."""
    digest = frame_digest(read_snapshot_rows(home.open().root / dataset_snapshot.path))
    same = digest == dataset_snapshot.dataset_digest
    words = f"{digest[:16]} as recorded." if same else f"The contents have {digest[:16]}, the record says {dataset_snapshot.dataset_hash}."
    return dg.AssetCheckResult(passed=same, description=words, metadata={"digest": digest})


@dg.asset_check(
    asset=dataset_snapshot, blocking=True, pool="retrain", description="Per user, training ends before validation, validation before test."
)
def splits_are_disjoint_in_time_per_user(dataset_snapshot: DatasetSnapshot, home: HomeResource) -> dg.AssetCheckResult:
    """Compares the first and last windows of each user's splits, with the 15 minutes that features look back."""
    columns = ["user_id", "bucket_start_ts", "split"]
    overlaps = find_split_overlaps(read_snapshot_rows(home.open().root / dataset_snapshot.path, columns=columns))
    words = "\n".join(overlaps[:20]) or f"{len(dataset_snapshot.users)} users, each split 15 minutes or more before the next."
    return dg.AssetCheckResult(passed=not overlaps, description=words, metadata={"overlaps": len(overlaps)})


DATA_CHECKS = [keys_are_unique, no_raw_columns, hash_matches_contents, splits_are_disjoint_in_time_per_user]
