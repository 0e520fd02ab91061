"""The asset calibrator_store: the calibrators of the active model, with the reject threshold that belongs to them. Dagster concept: assets.

Fitting belongs to `domain.evaluation`, the change of the inference policy to `domain.registry`; checks are in `defs.checks.calibration`.
"""

from collections.abc import Iterator

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, MONITORING_TAGS, OWNERS, POOL, materialized
from taskclf_dagster.defs.assets.promotion import active_pointer
from taskclf_dagster.defs.display.calibration_metadata import calibration_metadata
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.retrain_runs import MONITOR
from taskclf_dagster.domain.monitoring.calibration import Calibration, calibrate_active_model
from taskclf_dagster.domain.scheduling.calibration_trigger import assess_calibration
from taskclf_dagster.provenance import code_version, cores


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    deps=[active_pointer],
    dagster_type=dg.PythonObjectDagsterType(Calibration),
    owners=OWNERS,
    kinds={"json"},
    tags=MONITORING_TAGS,
    output_required=False,
)
def calibrator_store(
    context: dg.AssetExecutionContext,
    home: HomeResource,
    run_settings: RunSettingsResource,
    clock: ClockResource,
    supervisor: RunSupervisor,
) -> Iterator[dg.MaterializeResult]:
    """Calibrators that make the active model as sure as it is right, fitted on labels that it has not learned from.

    Fitted when they are due: after a promotion, and every `calibrator_update_cadence_days`; with `force` at once. The inference policy then
    names model, calibrators and a reject threshold for calibrated scores, as one change that a rollback takes back. The pointer stays.
    """
    taskclf_home, now = home.open(), clock.now()
    config = run_settings.load_config(taskclf_home)
    if run_settings.as_of is not None and context.job_name == MONITOR:
        context.log.info("not calibrated: monitoring of a time in the past changes nothing")
        return
    due = assess_calibration(taskclf_home, now=now, cadence_days=config.scheduling.calibrator_update_cadence_days)
    if not due.due and not run_settings.force:
        context.log.info(f"not calibrated: {due.reason}")
        return
    record = calibrate_active_model(
        taskclf_home,
        config=config,
        as_of=run_settings.resolve_as_of(clock),
        at=now,
        cores=cores(),
        run_id=context.run.run_id,
        code_version=code_version(),
        keys=open_keys(taskclf_home, config.signing, signs=True),
        dry_run=run_settings.dry_run,
    )
    context.log.info(f"{record.outcome}: {record.reason}")
    if record.outcome == "calibrated":
        yield materialized(record, metadata=calibration_metadata(taskclf_home, record))
