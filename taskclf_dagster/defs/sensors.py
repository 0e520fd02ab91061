"""The label-arrival sensor: launches a retrain when enough label spans are new. Dagster concept: sensors.

What counts as new is decided in `domain/triggers.py`; the cursor names the content of the label store, not its file time.
"""

import dagster as dg

from taskclf_dagster.defs.jobs import retrain
from taskclf_dagster.defs.resources import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.triggers import assess_trigger
from taskclf_dagster.errors import TaskclfDagsterError

INTERVAL_SECONDS = 60


@dg.sensor(
    job=retrain,
    name="label_arrival",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Launches a retrain once min_new_labels label spans are new, changed or gone since the last decided run.",
)
def label_arrival(
    context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> dg.SensorResult | dg.SkipReason:
    """One run for each content of the label store; a store rewritten with the same spans is the same content."""
    try:
        trigger = assess_trigger(
            home.open(), config=run_settings.load_config(), now=clock.now(), heeding=("new_labels",), seen_watermark=context.cursor
        )
    except TaskclfDagsterError as error:
        return dg.SkipReason(str(error))
    if trigger.cause is None:
        return dg.SkipReason(trigger.reason)
    if not trigger.launch:
        return dg.SensorResult(skip_reason=trigger.reason, cursor=trigger.label_watermark)
    context.log.info(trigger.reason)
    tags = {"taskclf/cause": trigger.cause, "taskclf/changed_spans": str(trigger.changed_spans)}
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"labels-{trigger.label_watermark}", tags=tags)], cursor=trigger.label_watermark
    )
