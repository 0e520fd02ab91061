"""The sensor `event_delivery`: writes missing events and delivers the outbox. Dagster concept: sensors.

Delivery is in `domain.events.delivery`. Nothing is launched, and nothing here can fail a run. Pointer changes that no run reported are
reported on the asset `active_pointer` as well.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from taskclf_dagster.defs.events.event_sinks import build_sinks
from taskclf_dagster.defs.events.pointer_events import report_pointer
from taskclf_dagster.defs.events.run_events import read_cursor, write_run_events
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.domain.decision.decision_events import write_decision_events
from taskclf_dagster.domain.events.delivery import deliver
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

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
    answer = deliver_events(context.instance, home.open(), run_settings, cursor=context.cursor, now=clock.now(), log=context.log)
    if answer.cursor is not None:
        context.update_cursor(answer.cursor)
    return dg.SkipReason(answer.summary)


@dataclass(frozen=True)
class Delivery:
    """The answer to one tick.

    Attributes:
        summary: what was delivered, and what waits.
        cursor: the cursor to store; None if it stays as it was.
        is_pointer_shown: False if the pointer could not be shown.
    """

    summary: str
    cursor: str | None = None
    is_pointer_shown: bool = True


def deliver_events(
    instance: dg.DagsterInstance,
    home: Home,
    run_settings: RunSettingsResource,
    *,
    cursor: str | None,
    now: datetime,
    log: logging.Logger,
    looks_at_runs: bool = True,
    looks_at_pointer: bool = True,
) -> Delivery:
    """Writes the missing events of a home, delivers its outbox, and shows its pointer.

    Args:
        instance: the instance.
        home: the taskclf home.
        run_settings: gives the configuration.
        cursor: the cursor of the last tick.
        now: the present time.
        log: the log of the tick.
        looks_at_runs: False if no run of the home has changed since the cursor; the cursor stays.
        looks_at_pointer: False if the pointer is as it was when it was shown.
    """
    try:
        require_own_instance(instance, home)
    except (TaskclfDagsterError, OSError) as error:
        return Delivery(str(error), is_pointer_shown=False)
    messages, is_empty, written, is_shown = [], False, None, True
    try:
        write_decision_events(home)
        if looks_at_runs:
            written = write_run_events(home, instance, read_cursor(cursor, now=now), now=now).model_dump_json()
    except (OSError, TaskclfDagsterError) as error:
        messages.append(f"new events could not be put into the outbox and come later: {error}")
    try:
        config = run_settings.load_config(home)
        sinks = build_sinks(home, config.events, address=config.server.address)
        report = deliver(home, sinks, now=now, stopwatch=time.monotonic)
        messages.append(report.summary)
        is_empty = report.is_empty
        for name, reason in report.damaged.items():
            log.warning(f"{home.outbox / name} is damaged and was passed over: {reason}")
    except (OSError, TaskclfDagsterError) as error:
        messages.append(f"delivery was put off: {error}")
    try:
        messages.extend(message for message in [report_pointer(home, instance) if looks_at_pointer else None] if message is not None)
    except (OSError, TaskclfDagsterError) as error:
        is_shown = False
        messages.append(f"the pointer could not be shown and is shown later: {error}")
    summary = "; ".join(messages)
    if len(messages) > 1 or not is_empty:
        log.info(summary)
    return Delivery(summary, written, is_shown)
