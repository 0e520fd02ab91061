"""The schedule `score_days`, which has the active model score the days that wait. Dagster concept: schedules."""

from datetime import datetime

import dagster as dg

from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.retrain_runs import SCORE
from taskclf_dagster.defs.runs.run_tags import REASON_TAG, TRIGGER_TAG
from taskclf_dagster.domain.monitoring.day_scores import find_scoring_model
from taskclf_dagster.domain.monitoring.scored_days import find_waiting_days
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.shown_text import counted

SCORE_DAYS = "score_days"


CRON = "20 * * * *"
"""Some minutes after the hour, when taskclf has written the windows of the hour before."""


def build_score_schedule() -> dg.ScheduleDefinition:
    """Returns the schedule; its ticks are hourly, and those of a day that has nothing new skip with the reason."""

    @dg.schedule(
        job_name=SCORE,
        name=SCORE_DAYS,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Scores the days that are over and, with score_schedule: hourly, today's windows, by the active model.",
    )
    def score_days(
        context: dg.ScheduleEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.RunRequest | dg.SkipReason:
        return evaluate_score_days(context.instance, home, run_settings, scheduled=context.scheduled_execution_time, now=clock.now())

    return score_days


def evaluate_score_days(
    instance: dg.DagsterInstance, home: HomeResource, run_settings: RunSettingsResource, *, scheduled: datetime, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """Evaluates one tick; skips without a model, without a day that waits, and if a file or the home cannot be used."""
    taskclf_home = home.open()
    try:
        settings = run_settings.load_config(taskclf_home)
        if settings.monitoring.score_schedule == "off":
            return dg.SkipReason("score_schedule is off")
        require_own_instance(instance, taskclf_home)
        scorer = find_scoring_model(taskclf_home, open_keys(taskclf_home, settings.signing, signs=False))
        days = find_waiting_days(taskclf_home, scorer, now=now, today=settings.monitoring.score_schedule == "hourly")
    except (TaskclfDagsterError, OSError) as error:
        return dg.SkipReason(str(error))
    if scorer.model is None:
        return dg.SkipReason(f"no active model to score with: {scorer.reason}")
    if not days:
        return dg.SkipReason("every day of the last week that has windows is scored")
    reason = f"{counted(len(days), 'day')} to score, {days[0]} to {days[-1]}"
    return dg.RunRequest(
        run_key=f"{scheduled:%Y-%m-%dT%H:%M%z}",
        run_config={"ops": {"scored_windows": {"config": {"from_day": days[0].isoformat(), "to_day": days[-1].isoformat()}}}},
        tags={TRIGGER_TAG: SCORE_DAYS, REASON_TAG: reason},
    )
