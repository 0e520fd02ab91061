"""Metadata and check results of labeled_windows and dataset_snapshot. Dagster concepts: metadata, asset check results.

Add here what their pages show. Violations and counts come from `domain.data`; nothing is computed that a decision depends on.
"""

from typing import get_args

import dagster as dg

from taskclf_dagster.defs.display.metadata import class_distribution_table, column_schema, counts_table, table
from taskclf_dagster.domain.data.contract_checks import DataCheck
from taskclf_dagster.domain.data.feasibility import count_learned
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows
from taskclf_dagster.domain.data.passed_over import count_passed_over, describe_passed_over
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.data.split import SPLITS

MAX_VIOLATIONS_SHOWN = 20


DATA_CHECKS: dict[DataCheck, str] = {
    "columns_are_complete_and_typed": "Every file has the columns of its schema, with the right types.",
    "schema_hash_is_known": "Every row has the version of its folder and the hash of that version; no file mixes versions.",
    "values_are_in_bounds": "Numbers are finite and within the bounds of the contract; keys are never null.",
    "windows_are_whole_minutes": "Windows start at a whole minute (UTC) and last 60 s.",
    "windows_are_of_their_day": "Every window starts on the UTC day that its folder names.",
    "labels_are_in_the_label_set": "Every span in range has one of the eight labels.",
    "spans_end_after_they_start": "Every span in range ends after it starts.",
}
"""The blocking checks of labeled_windows, with what each claims."""


NO_SHIFT = "No shift by the offset of a time zone would give clearly more of the labeled time windows."
WINDOW_FILES = "Nothing in features_v* that may hold windows is passed over."


def labeled_windows_checks(record: LabeledWindows) -> list[dg.AssetCheckResult]:
    """Returns one result for each data contract, and the warnings about labels without windows and about what was not read."""
    missing, shifts = record.users_without_windows, [] if record.label_fates is None else record.label_fates.shifts
    return [
        *(_data_check(name, record) for name in get_args(DataCheck)),
        dg.AssetCheckResult(
            check_name="every_user_has_windows",
            passed=not missing,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Label spans of {', '.join(missing)} label no window: there are no windows in range."
            if missing
            else "Every labeled user has windows.",
            metadata={"users_without_windows": len(missing)},
        ),
        dg.AssetCheckResult(
            check_name="labels_are_not_shifted_in_time",
            passed=not shifts,
            severity=dg.AssetCheckSeverity.WARN,
            description="\n".join(shift.description for shift in shifts) or NO_SHIFT,
            metadata={"shifts": len(shifts), **({"hours": shifts[0].hours} if shifts else {})},
        ),
        dg.AssetCheckResult(
            check_name="every_window_file_is_read",
            passed=not record.passed_over,
            severity=dg.AssetCheckSeverity.WARN,
            description=describe_passed_over(record.passed_over) or WINDOW_FILES,
            metadata={"passed_over": len(record.passed_over), "rows": count_passed_over(record.passed_over)},
        ),
    ]


def snapshot_checks(record: DatasetSnapshot) -> list[dg.AssetCheckResult]:
    """Returns the results of the blocking checks on labels and splits, and of the advice about feasibility."""
    gold = record.gold_windows
    few = [blocker.message for blocker in record.blockers if blocker.kind == "too_few_labels"]
    empty = [blocker.message for blocker in record.blockers if blocker.kind == "empty_split"]
    learned, judged = count_learned(record.class_distribution), record.feasibility.judged_classes
    unsupported = [label for label in learned if not learned[label] or label not in judged]
    return [
        dg.AssetCheckResult(
            check_name="enough_labels",
            passed=not few,
            description=" ".join(few) or f"{gold} windows are labeled by a person.",
            metadata={"gold_windows": gold, "min_labels": record.config.dataset.min_labels},
        ),
        dg.AssetCheckResult(
            check_name="no_split_is_empty",
            passed=not empty,
            description=" ".join(empty) or "Every split has windows.",
            metadata=record.rows,
        ),
        dg.AssetCheckResult(
            check_name="a_model_could_be_promoted",
            passed=record.feasibility.promotable,
            description=record.feasibility.summary,
            metadata={"judged_labels": len(judged)},
        ),
        dg.AssetCheckResult(
            check_name="every_class_has_support",
            passed=not unsupported,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{', '.join(unsupported)} cannot be learned or judged; the others can."
            if unsupported
            else "All eight labels can be judged.",
            metadata={"unsupported_labels": len(unsupported)},
        ),
    ]


def labeled_windows_metadata(record: LabeledWindows) -> dict[str, object]:
    """Returns counts by label, user, day and fate of the label spans, what was not read, and the columns."""
    fates = record.label_fates
    passed_over: list[dict[str, str | int | None]] = [
        {"path": found.path, "reason": found.kind, "files": found.files, "rows": found.rows} for found in record.passed_over
    ]
    extra = {
        "label": "one of the eight labels",
        "gold": "given by a person",
        "span": "merged span",
        "session_seconds": "length of the session",
    }
    return {
        "home": record.home,
        "as_of": dg.MetadataValue.timestamp(record.as_of),
        "dagster/row_count": record.gold + record.weak,
        "dagster/column_schema": column_schema(record.schema_version, extra),
        "windows_read": record.windows,
        "gold_windows": record.gold,
        "weak_windows": record.weak,
        "days": len(record.days),
        "days_of_other_versions": len(record.days_of_other_versions),
        "unreadable_days": ", ".join(record.unreadable_days) or "none",
        "users": len(record.users),
        "schema_version": record.schema_version,
        "duplicates_dropped": record.duplicates_dropped,
        "raw_columns_dropped": len(record.raw_columns_dropped),
        "class_distribution": class_distribution_table(record.class_counts),
        "unlabeled": counts_table(record.unlabeled, "reason"),
        "spans_by_provenance": table([{"provenance": name, "spans": n} for name, n in record.spans_by_provenance.items()]),
        "label_spans": "not counted: the windows could not be read" if fates is None else " ".join([f"{fates.summary}.", *fates.causes]),
        "spans_by_fate": table([] if fates is None else [{"fate": name, "spans": n} for name, n in fates.counts.items()]),
        "passed_over": table(passed_over),
    }


def snapshot_metadata(record: DatasetSnapshot) -> dict[str, object]:
    """Returns counts by split and label, the times of the split, and the columns."""
    extra = {"label": "one of the eight labels", "gold": "given by a person", "split": ", ".join(SPLITS)}
    cuts: list[dict[str, str | int]] = [
        {"user": cut.user_id, "part": cut.part, "at": str(cut.at), "boundary": cut.boundary, "moved by rows": cut.row - cut.target_row}
        for cut in record.cuts
    ]
    return {
        "home": record.home,
        "dataset_hash": record.dataset_hash,
        "path": dg.MetadataValue.path(record.path),
        "dagster/row_count": sum(record.rows.values()),
        "dagster/column_schema": column_schema(record.schema_version, extra),
        "outcome": record.skip_reason or record.feasibility.summary,
        "older_windows": record.rows["older"],
        "train_windows": record.rows["train"],
        "validation_windows": record.rows["validation"],
        "test_windows": record.rows["test"],
        "users": len(record.users),
        "holdout_users": ", ".join(record.holdout_users) or "none",
        "class_distribution": class_distribution_table(record.class_distribution),
        "exclusions": counts_table(record.exclusions, "reason"),
        "cuts": table(cuts),
    }


def _data_check(name: DataCheck, record: LabeledWindows) -> dg.AssetCheckResult:
    found = [f"- {violation}" for violation in record.violations if violation.check == name]
    hidden = len(found) - MAX_VIOLATIONS_SHOWN
    more = [f"- and {hidden} more: see every_finding"] if hidden > 0 else []
    return dg.AssetCheckResult(
        check_name=name,
        passed=not found,
        description="\n".join([*found[:MAX_VIOLATIONS_SHOWN], *more]) or DATA_CHECKS[name],
        metadata={"findings": len(found), **({"every_finding": "\n".join(found)} if more else {})},
    )
