"""The sensor `event_delivery`: writes missing events and delivers the outbox. Dagster concept: sensors.

Delivery is in `domain.events.delivery`. Nothing is launched, and nothing here can fail a run. Pointer changes that no run reported are
reported on the asset `active_pointer` as well.
"""

import time

import dagster as dg

from taskclf_dagster.defs.events.event_sinks import build_sinks
from taskclf_dagster.defs.events.pointer_events import report_pointer
from taskclf_dagster.defs.events.run_events import read_cursor, write_run_events
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.domain.decision.decision_events import write_decision_events
from taskclf_dagster.domain.events.delivery import deliver
from taskclf_dagster.errors import TaskclfDagsterError

INTERVAL_SECONDS = 30


@dg.sensor(
    name="event_delivery",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends events about runs, decisions and changes of the model to the sinks of events.sinks, at least once each.",
)
def event_delivery(
    context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> dg.SkipReason:
    """Reports what was delivered and what waits. The cursor is the time up to which runs were read; on a new instance that is now."""
    taskclf_home, now = home.open(), clock.now()
    try:
        require_own_instance(context.instance, taskclf_home)
    except (TaskclfDagsterError, OSError) as error:
        return dg.SkipReason(str(error))
    messages, is_empty = [], False
    try:
        write_decision_events(taskclf_home)
        cursor = write_run_events(taskclf_home, context.instance, read_cursor(context.cursor, now=now), now=now)
        context.update_cursor(cursor.model_dump_json())
    except (OSError, TaskclfDagsterError) as error:
        messages.append(f"new events could not be put into the outbox and come later: {error}")
    try:
        config = run_settings.load_config(taskclf_home)
        sinks = build_sinks(taskclf_home, config.events, address=config.server.address)
        report = deliver(taskclf_home, sinks, now=now, stopwatch=time.monotonic)
        messages.append(report.summary)
        is_empty = report.is_empty
        for name, reason in report.damaged.items():
            context.log.warning(f"{taskclf_home.outbox / name} is damaged and was passed over: {reason}")
    except (OSError, TaskclfDagsterError) as error:
        messages.append(f"delivery was put off: {error}")
    try:
        messages.extend(message for message in [report_pointer(taskclf_home, context.instance)] if message is not None)
    except (OSError, TaskclfDagsterError) as error:
        messages.append(f"the pointer could not be shown and is shown later: {error}")
    summary = "; ".join(messages)
    if len(messages) > 1 or not is_empty:
        context.log.info(summary)
    return dg.SkipReason(summary)
