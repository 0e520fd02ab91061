"""Checks of the files behind labeled_windows and dataset_snapshot; they block. Dagster concept: asset checks.

Add a check of stored data here. Each function reads the file of one asset again, once for all of its checks, on purpose: they are claims
about the file, not about the record.
"""

from collections.abc import Iterator

import dagster as dg

from taskclf_dagster.defs.assets.data import dataset_snapshot, labeled_windows
from taskclf_dagster.defs.display.metadata import unusual_days_check
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, load_stored_keys
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.data.snapshot_places import snapshot_folder
from taskclf_dagster.domain.data.snapshot_rows import ABOUT_ROWS, open_snapshot_rows
from taskclf_dagster.domain.data.split import find_split_overlaps
from taskclf_dagster.domain.evaluation.unusual_days import find_days_of_one_label
from taskclf_dagster.shown_text import counted

KEYS = dg.AssetCheckSpec(
    "keys_are_unique", asset=labeled_windows, blocking=True, description="Every (user_id, bucket_start_ts) occurs once."
)
PRIVACY = dg.AssetCheckSpec(
    "no_raw_columns", asset=labeled_windows, blocking=True, description="No column starting with raw_ was kept (privacy)."
)
HASH = dg.AssetCheckSpec(
    "hash_matches_contents",
    asset=dataset_snapshot,
    blocking=True,
    description="The stored windows have the hash that names the snapshot.",
)
SPLITS = dg.AssetCheckSpec(
    "splits_are_disjoint_in_time_per_user",
    asset=dataset_snapshot,
    blocking=True,
    description="Per user, training ends before validation, validation before test.",
)
DAYS = dg.AssetCheckSpec(
    "no_day_has_a_single_label",
    asset=dataset_snapshot,
    description="Advice: no day is labeled with one label alone though the other days of this user have several.",
)


@dg.multi_asset_check(name="labeled_windows_file", specs=[KEYS, PRIVACY], pool="retrain")
def labeled_windows_file(labeled_windows: LabeledWindows, home: HomeResource) -> Iterator[dg.AssetCheckResult]:
    """Reads the file of the labeled windows: counts repeated keys, and looks for raw columns."""
    keys, columns = load_stored_keys(home.open(), labeled_windows)
    repeated = int(keys.duplicated().sum())
    yield dg.AssetCheckResult(
        passed=repeated == 0,
        check_name=KEYS.name,
        description=f"{counted(repeated, 'window')} with the key of another window."
        if repeated
        else f"{counted(len(keys), 'key')}, each once.",
        metadata={"repeated": repeated, "dropped_on_reading": labeled_windows.duplicates_dropped},
    )
    raw = [column for column in columns if column.startswith("raw_")]
    dropped = ", ".join(labeled_windows.raw_columns_dropped) or "none"
    yield dg.AssetCheckResult(
        passed=not raw,
        check_name=PRIVACY.name,
        description=f"Kept: {', '.join(raw)}." if raw else f"None kept; dropped on reading: {dropped}.",
        metadata={"kept": len(raw), "dropped": len(labeled_windows.raw_columns_dropped)},
    )


@dg.multi_asset_check(name="dataset_snapshot_file", specs=[HASH, SPLITS, DAYS], pool="retrain")
def dataset_snapshot_file(dataset_snapshot: DatasetSnapshot, home: HomeResource) -> Iterator[dg.AssetCheckResult]:
    """Reads the rows: computes their digest again, compares the ends of the splits of each user, and looks for days of one label."""
    stored = open_snapshot_rows(snapshot_folder(home.open(), dataset_snapshot.path))
    digest = stored.digest()
    rows = stored.load(columns=ABOUT_ROWS)
    same = digest == dataset_snapshot.dataset_digest
    yield dg.AssetCheckResult(
        passed=same,
        check_name=HASH.name,
        description=f"{digest[:16]} as recorded."
        if same
        else f"The contents have {digest[:16]}, the record has {dataset_snapshot.dataset_hash}.",
        metadata={"digest": digest},
    )
    overlaps = find_split_overlaps(rows)
    yield dg.AssetCheckResult(
        passed=not overlaps,
        check_name=SPLITS.name,
        description="\n".join(overlaps[:20])
        or f"{counted(len(dataset_snapshot.users), 'user')}, each split 15 minutes or more before the next.",
        metadata={"overlaps": len(overlaps)},
    )
    yield unusual_days_check(DAYS.name, find_days_of_one_label(rows))


DATA_CHECKS = [labeled_windows_file, dataset_snapshot_file]
