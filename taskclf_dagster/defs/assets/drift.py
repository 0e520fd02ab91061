"""The asset drift_report: the last days against what the active model has learned from. Dagster concept: assets.

Its checks are advice: they warn, and neither stop a run nor promote anything. What is drift is decided in `domain.monitoring`.
"""

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, MONITORING_TAGS, OWNERS, POOL, materialized, open_watched_home
from taskclf_dagster.defs.display.drift_metadata import DRIFT_CHECKS, drift_checks, drift_metadata
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.monitoring.drift_check import run_drift_check
from taskclf_dagster.domain.monitoring.drift_report import DriftReport
from taskclf_dagster.provenance import cores


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(DriftReport),
    owners=OWNERS,
    kinds={"json"},
    tags=MONITORING_TAGS,
    deps=["active_pointer"],
    check_specs=[dg.AssetCheckSpec(name, asset="drift_report", description=text) for name, text in DRIFT_CHECKS.items()],
)
def drift_report(
    context: dg.AssetExecutionContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> dg.MaterializeResult:
    """Compares the inputs and predictions of the last days with the active model's training reference, by thresholds of its own days.

    A drift that two days in a row confirm requests one retrain through the sensor `drift_report`; it never promotes.
    """
    taskclf_home = open_watched_home(context, home)
    config = run_settings.load_config(taskclf_home)
    record = run_drift_check(
        taskclf_home,
        config=config,
        as_of=run_settings.resolve_as_of(clock),
        num_threads=cores(),
        run_id=context.run.run_id,
        keys=open_keys(taskclf_home, config.signing, signs=False),
    )
    context.log.info(record.summary)
    return materialized(record, metadata=drift_metadata(taskclf_home, record), check_results=drift_checks(record))
