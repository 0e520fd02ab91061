"""labeled_windows and dataset_snapshot: from a taskclf home to a dataset. Dagster concept: assets.

Violations of the data contract turn their blocking checks red here, because what follows would be meaningless.
"""

from typing import get_args

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, OWNERS, POOL, materialized
from taskclf_dagster.defs.display.metadata import class_distribution_table, column_schema, counts_table, table
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.defs.runs.run_tags import OUTCOME_REASON_TAG, OUTCOME_TAG
from taskclf_dagster.domain.data.contract_checks import DataCheck
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, label_windows, load_labeled_windows, save_labeled_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, save_snapshot
from taskclf_dagster.domain.retraining.steps import find_skip_reason, remember_labels, remember_skip

MAX_FINDINGS_SHOWN = 20

DATA_CHECKS: dict[str, str] = {
    "columns_are_complete_and_typed": "Every file has the columns that its schema needs, with the right types.",
    "schema_hash_is_known": "Every row carries the version of its folder and that version's hash; no file mixes versions.",
    "values_are_in_bounds": "Numbers are finite and within the contract's bounds; keys are never null.",
    "windows_are_whole_minutes": "Windows start on a whole minute (UTC) and last 60 s.",
    "labels_are_in_the_label_set": "Every span in range has one of the eight labels.",
    "spans_end_after_they_start": "Every span in range ends after it starts.",
}


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(LabeledWindows),
    owners=OWNERS,
    kinds={"parquet", "pandas"},
    check_specs=[
        *(dg.AssetCheckSpec(name, asset="labeled_windows", blocking=True, description=text) for name, text in DATA_CHECKS.items()),
        dg.AssetCheckSpec(
            "every_user_has_windows", asset="labeled_windows", description="Every user with label spans has windows in range."
        ),
    ],
)
def labeled_windows(
    context: dg.AssetExecutionContext,
    home: HomeResource,
    run_settings: RunSettingsResource,
    clock: ClockResource,
    supervisor: RunSupervisor,
) -> dg.MaterializeResult:
    """The windows of the look-back range that have a label.

    Reads taskclf's feature partitions and label store, checks them against the data contract, and gives each window the label of the one
    span that covers it. Columns starting with `raw_` are never read. Findings are listed with file, column, row, value, bound and fix.
    """
    taskclf_home, config, as_of = home.open(), run_settings.load_config(), run_settings.resolve_as_of(clock)
    record, frame, label_fingerprints = label_windows(taskclf_home, as_of=as_of, settings=config.dataset)
    remember_labels(taskclf_home, label_fingerprints)
    if frame is not None:
        record = save_labeled_windows(taskclf_home, record, frame)
    context.log.info(f"{record.gold + record.weak} of {record.windows} windows of {record.home} are labelled")
    return materialized(record, metadata=_describe_windows(record), check_results=_data_checks(record))


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(DatasetSnapshot),
    owners=OWNERS,
    kinds={"parquet", "json"},
    check_specs=[
        dg.AssetCheckSpec(
            "enough_labels", asset="dataset_snapshot", blocking=True, description="There are at least min_labels gold windows."
        ),
        dg.AssetCheckSpec(
            "no_split_is_empty", asset="dataset_snapshot", blocking=True, description="Train, validation and test have windows."
        ),
        dg.AssetCheckSpec(
            "a_model_could_be_promoted",
            asset="dataset_snapshot",
            description="Before training: every gate could be judged. Does not block: the model is trained and shown, and held.",
        ),
        dg.AssetCheckSpec(
            "every_class_has_support", asset="dataset_snapshot", description="All eight labels occur in training and can be judged."
        ),
    ],
)
def dataset_snapshot(
    context: dg.AssetExecutionContext,
    labeled_windows: LabeledWindows,
    home: HomeResource,
    run_settings: RunSettingsResource,
    clock: ClockResource,
    supervisor: RunSupervisor,
) -> dg.MaterializeResult:
    """The dataset: which labelled windows teach, validate and test.

    Split by time per user, with cuts where sessions end and 15 minutes dropped before each cut. Kept under the hash of its contents, so
    that equal data is the same snapshot. With nothing new since the last decided run it carries the reason, and nothing follows.
    """
    taskclf_home = home.open()
    frame = load_labeled_windows(taskclf_home, labeled_windows)
    fraction = run_settings.holdout_user_fraction
    record, rows = build_snapshot(taskclf_home, labeled_windows, frame, config=run_settings.load_config(), holdout_fraction=fraction)
    if not (run_settings.force or run_settings.bootstrap or record.blockers):
        record = record.model_copy(update={"skip_reason": find_skip_reason(taskclf_home, rows)})
    save_snapshot(taskclf_home, record, rows)
    if record.skip_reason is not None:
        context.log.info(record.skip_reason)
        context.instance.add_run_tags(context.run.run_id, {OUTCOME_TAG: "SKIP", OUTCOME_REASON_TAG: record.skip_reason})
        if not run_settings.dry_run:
            remember_skip(taskclf_home, record, run_id=context.run.run_id, at=clock.now())
    return materialized(record, metadata=_describe_snapshot(record), check_results=_snapshot_checks(record))


def _data_checks(record: LabeledWindows) -> list[dg.AssetCheckResult]:
    results = []
    for name in get_args(DataCheck):
        found = [str(violation) for violation in record.violations if violation.check == name]
        shown = [f"- {text}" for text in found]
        more = [f"- and {len(found) - MAX_FINDINGS_SHOWN} more: see every_finding"] if len(found) > MAX_FINDINGS_SHOWN else []
        listed = {"every_finding": "\n".join(shown)} if more else {}
        results.append(
            dg.AssetCheckResult(
                check_name=name,
                passed=not found,
                description="\n".join([*shown[:MAX_FINDINGS_SHOWN], *more]) or DATA_CHECKS[name],
                metadata={"findings": len(found), **listed},
            )
        )
    missing = record.users_without_windows
    results.append(
        dg.AssetCheckResult(
            check_name="every_user_has_windows",
            passed=not missing,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Label spans of {', '.join(missing)} label nothing: no windows in range."
            if missing
            else "Every labelled user has windows.",
            metadata={"users_without_windows": len(missing)},
        )
    )
    return results


def _snapshot_checks(record: DatasetSnapshot) -> list[dg.AssetCheckResult]:
    gold = record.gold_windows
    few = [blocker.message for blocker in record.blockers if blocker.kind == "too_few_labels"]
    empty = [blocker.message for blocker in record.blockers if blocker.kind == "empty_split"]
    train, judged = record.class_distribution["train"], record.feasibility.judged_classes
    unsupported = [label for label in train if not train[label] or label not in judged]
    words = f"{', '.join(unsupported)} cannot be learned or judged; the others can." if unsupported else "All eight labels can be judged."
    return [
        dg.AssetCheckResult(
            check_name="enough_labels",
            passed=not few,
            description=" ".join(few) or f"{gold} windows are labelled by a person.",
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
            description=words,
            metadata={"unsupported_labels": len(unsupported)},
        ),
    ]


def _describe_windows(record: LabeledWindows) -> dict[str, object]:
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
    }


def _describe_snapshot(record: DatasetSnapshot) -> dict[str, object]:
    extra = {"label": "one of the eight labels", "gold": "given by a person", "split": "train, validation, test, embargo, weak_after_cut"}
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
        "train_windows": record.rows["train"],
        "validation_windows": record.rows["validation"],
        "test_windows": record.rows["test"],
        "users": len(record.users),
        "holdout_users": ", ".join(record.holdout_users) or "none",
        "class_distribution": class_distribution_table(record.class_distribution),
        "exclusions": counts_table(record.exclusions, "reason"),
        "cuts": table(cuts),
    }
