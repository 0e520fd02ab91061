"""The assets labeled_windows and dataset_snapshot: from a taskclf home to a dataset. Dagster concept: assets.

A violation of the data contract fails a blocking check here, because later steps would be meaningless. Add a step before training here;
splitting and hashing belong to `domain.data`, what the pages show to `defs.display.data_metadata`.
"""

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, OWNERS, POOL, materialized, tag_run
from taskclf_dagster.defs.display.data_metadata import (
    DATA_CHECKS,
    NO_SHIFT,
    WINDOW_FILES,
    labeled_windows_checks,
    labeled_windows_metadata,
    snapshot_checks,
    snapshot_metadata,
)
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.defs.runs.run_tags import OUTCOME_REASON_TAG, OUTCOME_TAG, SKIPPED
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.execution.engine_choice import open_engine
from taskclf_dagster.domain.retraining.dataset_step import make_labeled_windows, make_snapshot
from taskclf_dagster.domain.retraining.steps import remember_skip
from taskclf_dagster.shown_text import counted


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
        dg.AssetCheckSpec("labels_are_not_shifted_in_time", asset="labeled_windows", description=NO_SHIFT),
        dg.AssetCheckSpec("every_window_file_is_read", asset="labeled_windows", description=WINDOW_FILES),
    ],
)
def labeled_windows(
    context: dg.AssetExecutionContext,
    home: HomeResource,
    run_settings: RunSettingsResource,
    clock: ClockResource,
    supervisor: RunSupervisor,
) -> dg.MaterializeResult:
    """The windows of the look-back that have a label.

    Reads feature partitions and label store, checks them against the data contract, and gives each window the label of the one span that
    contains it. Columns whose names start with `raw_` are never read. A contract violation names file, column, row, value, bound and fix.
    """
    taskclf_home, as_of = home.open(), run_settings.resolve_as_of(clock)
    config = run_settings.load_config(taskclf_home)
    with open_engine(config.execution, taskclf_home) as engine:
        record = make_labeled_windows(taskclf_home, as_of=as_of, settings=config.dataset, engine=engine)
    context.log.info(f"labeled: {record.gold + record.weak} of {counted(record.windows, 'window')} of {record.home}")
    return materialized(record, metadata=labeled_windows_metadata(record), check_results=labeled_windows_checks(record))


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
            description="Every gate can be judged. Does not block: a model is trained and evaluated, and the verdict is HOLD.",
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
    """The dataset: labeled windows, each assigned to training, validation or test.

    Splits by time and per user, with cuts at ends of sessions, and drops 15 minutes before each cut. Stored under the hash of its contents,
    so that equal data is the same snapshot. If no label is new since the last decided run, it has a skip reason and nothing is trained.
    """
    taskclf_home = home.open()
    config = run_settings.load_config(taskclf_home)
    with open_engine(config.execution, taskclf_home) as engine:
        record = make_snapshot(
            taskclf_home,
            labeled_windows,
            config=config,
            holdout_fraction=run_settings.holdout_user_fraction,
            may_skip=not (run_settings.force or run_settings.dry_run or run_settings.bootstrap),
            engine=engine,
        )
    if record.skip_reason is not None:
        context.log.info(record.skip_reason)
        tag_run(context, {OUTCOME_TAG: SKIPPED, OUTCOME_REASON_TAG: record.skip_reason})
        remember_skip(taskclf_home, record, run_id=context.run.run_id, at=clock.now())
    return materialized(record, metadata=snapshot_metadata(record), check_results=snapshot_checks(record))
