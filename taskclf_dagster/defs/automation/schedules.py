"""The schedules: for due retrains, for what watches the active model, for the verification of the registry. Dagster concept: schedules.

`domain.scheduling.triggers` decides when a retrain is due.
"""

from datetime import datetime

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig, ScheduleSettings
from taskclf_dagster.defs.automation.run_requests import DISABLED, find_last_failure, request_retrain
from taskclf_dagster.defs.automation.score_schedule import build_score_schedule
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.retrain_runs import MONITOR, RETRAIN, describe_unfinished_retrain, find_unfinished_retrain
from taskclf_dagster.defs.runs.run_tags import REASON_TAG, TRIGGER_TAG
from taskclf_dagster.defs.runs.time_zones import time_zone
from taskclf_dagster.domain.scheduling.retry_policy import check_next_day
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.scheduling.triggers import SLACK, assess_trigger
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

DAILY, WEEKLY, MONITORING = "daily_retrain", "weekly_verification", "daily_monitoring"


def build_schedules(config: RetrainConfig) -> list[dg.ScheduleDefinition]:
    """Returns the schedules, with cron lines and time zone of the settings; the default time zone is the machine's."""
    settings = config.scheduling.schedule
    others = [_build_weekly_schedule(settings), _build_monitoring_schedule(settings), build_score_schedule()]
    return [build_daily_schedule(settings), *others]


def build_daily_schedule(settings: ScheduleSettings) -> dg.ScheduleDefinition:
    """Returns the schedule that launches a retrain if one is due.

    Dagster has it on; where the settings turn it off, its ticks skip, so that turning it on again needs no restart.
    """

    @dg.schedule(
        job_name=RETRAIN,
        name=DAILY,
        cron_schedule=settings.cron,
        execution_timezone=time_zone(settings),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Launches a retrain if one is due by cadence, new labels or the model's age; otherwise skips with the reason.",
    )
    def daily_retrain(
        context: dg.ScheduleEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.RunRequest | dg.SkipReason:
        answer = evaluate_daily_retrain(
            context.instance, home.open(), run_settings, scheduled=context.scheduled_execution_time, now=clock.now()
        )
        if isinstance(answer, SkipReason):
            return dg.SkipReason(answer.message)
        context.log.info(answer.tags[REASON_TAG])
        return answer

    return daily_retrain


def evaluate_daily_retrain(
    instance: dg.DagsterInstance, home: Home, run_settings: RunSettingsResource, *, scheduled: datetime, now: datetime
) -> dg.RunRequest | SkipReason:
    """Evaluates one tick of `daily_retrain`; skips if it is disabled, a retrain is unfinished, or a file or the home cannot be used."""
    try:
        settings = run_settings.load_config(home)
        if not settings.scheduling.enabled:
            return SkipReason(kind="disabled", message=DISABLED)
        require_own_instance(instance, home)
        unfinished = find_unfinished_retrain(instance, home)
        if unfinished is not None:
            return SkipReason(kind="running", message=describe_unfinished_retrain(unfinished))
        trigger = assess_trigger(home, config=settings, now=now)
        failed_at = find_last_failure(instance, home, DAILY)
    except (TaskclfDagsterError, OSError) as error:
        return SkipReason(kind="error", message=str(error))
    if trigger.cause is None or not trigger.launch:
        return SkipReason(kind="not_due" if trigger.cause is None else "nothing_to_learn_from", message=trigger.reason)
    too_soon = check_next_day(failed_at, now=now + SLACK)
    if too_soon is not None:
        return SkipReason(kind=too_soon.kind, message=f"{trigger.reason}, but {too_soon.message}")
    tags, run_key = {TRIGGER_TAG: DAILY}, f"{scheduled:%Y-%m-%dT%H:%M%z}"
    return request_retrain(home, cause=trigger.cause, reason=trigger.reason, run_key=run_key, force=trigger.force, tags=tags)


def _build_weekly_schedule(settings: ScheduleSettings) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        job_name="verify_registry",
        name=WEEKLY,
        cron_schedule=settings.verify_cron,
        execution_timezone=time_zone(settings),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Checks every promise of the registry and every receipt; the run is red if one does not hold.",
    )


def _build_monitoring_schedule(settings: ScheduleSettings) -> dg.ScheduleDefinition:
    @dg.schedule(
        job_name=MONITOR,
        name=MONITORING,
        cron_schedule=settings.monitor_cron,
        execution_timezone=time_zone(settings),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Watches the active model: drift, and how it does on labels that came later. Promotes nothing.",
    )
    def daily_monitoring(home: HomeResource, run_settings: RunSettingsResource) -> dg.RunRequest | dg.SkipReason:
        return evaluate_monitoring(home.open(), run_settings)

    return daily_monitoring


def evaluate_monitoring(home: Home, run_settings: RunSettingsResource) -> dg.RunRequest | dg.SkipReason:
    """Evaluates one tick of `daily_monitoring`; skips if it is disabled, or a file cannot be read."""
    try:
        is_enabled = run_settings.load_config(home).scheduling.enabled
    except (TaskclfDagsterError, OSError) as error:
        return dg.SkipReason(str(error))
    return dg.RunRequest() if is_enabled else dg.SkipReason(DISABLED)
