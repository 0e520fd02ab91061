"""The daily schedule: launches a retrain when one is due, else says why not. Dagster concept: schedules.

When a retrain is due is decided in `domain/triggers.py`.
"""

import dagster as dg
from tzlocal import get_localzone_name

from taskclf_dagster.defs.jobs import retrain
from taskclf_dagster.defs.resources import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.triggers import assess_trigger
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.settings import ScheduleSettings


def build_daily_schedule(settings: ScheduleSettings) -> dg.ScheduleDefinition:
    """The schedule with the cron line and time zone of the settings; without a time zone the machine's."""

    @dg.schedule(
        job=retrain,
        name="daily_retrain",
        cron_schedule=settings.cron,
        execution_timezone=settings.timezone or get_localzone_name() or "UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Launches a retrain when one is due by cadence or enough labels are new; otherwise skips and says why.",
    )
    def daily_retrain(
        context: dg.ScheduleEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.RunRequest | dg.SkipReason:
        try:
            trigger = assess_trigger(home.open(), config=run_settings.load_config(), now=clock.now())
        except TaskclfDagsterError as error:
            return dg.SkipReason(str(error))
        if not trigger.launch:
            return dg.SkipReason(trigger.reason)
        context.log.info(trigger.reason)
        run_key = f"{context.scheduled_execution_time:%Y-%m-%dT%H:%M%z}"
        return dg.RunRequest(run_key=run_key, tags={"taskclf/cause": str(trigger.cause)})

    return daily_retrain
