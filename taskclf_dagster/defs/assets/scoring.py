"""The asset scored_windows: the predictions of the active model, day by day. Dagster concept: assets.

Days are a range in the launch form, not Dagster's partitions: with one partitioned asset in the group, "Materialize all" opens a form for
backfills instead of starting a retrain. Scoring belongs to `domain.evaluation.window_scores`, what is kept of a day to
`domain.monitoring.day_scores`.
"""

import dagster as dg
from pydantic import Field

from taskclf_dagster.defs.assets.common import GROUP, OWNERS, SCORING_TAG, materialized, open_watched_home
from taskclf_dagster.defs.display.score_metadata import SCORE_CHECKS, score_checks, scores_metadata
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource, parse_as_of
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.monitoring.day_scores import find_scoring_model
from taskclf_dagster.domain.monitoring.scored_days import ScoredDays, choose_days, remove_old_scores, score_days, write_score_events
from taskclf_dagster.progress import report_lines
from taskclf_dagster.provenance import cores

SCORING_POOL = "scoring"
"""One run scores at a time; a retrain and a run that scores do not wait for each other."""


class ScoreParams(dg.Config):
    """The launch form of the job `score`; days are those of UTC."""

    from_day: str | None = Field(None, description="First day: an ISO date. Default: the days of the last week that wait for scores.")
    to_day: str | None = Field(None, description="Last day: an ISO date. Default: today.")
    replace: bool = Field(
        False, description="Score days again whose scores are complete. They lose what was predicted at the time, which live figures need."
    )


@dg.asset(
    group_name=GROUP,
    pool=SCORING_POOL,
    dagster_type=dg.PythonObjectDagsterType(ScoredDays),
    owners=OWNERS,
    kinds={"parquet", "lightgbm"},
    tags=SCORING_TAG,
    deps=["active_pointer"],
    check_specs=[dg.AssetCheckSpec(name, asset="scored_windows", description=text) for name, text in SCORE_CHECKS.items()],
)
def scored_windows(
    context: dg.AssetExecutionContext, config: ScoreParams, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> dg.MaterializeResult:
    """The predictions of the active model for every window of a UTC day, with the model, pointer and policy that made them.

    The active model is found once a run: a promotion in the meantime changes nothing. A day that was scored after its end keeps its scores.
    Writes artifacts/scores/date=YYYY-MM-DD/scores.parquet.
    """
    taskclf_home, as_of = open_watched_home(context, home), run_settings.resolve_as_of(clock)
    settings = run_settings.load_config(taskclf_home)
    scorer = find_scoring_model(taskclf_home, open_keys(taskclf_home, settings.signing, signs=False))
    first, last = (None if day is None else parse_as_of(day).date() for day in (config.from_day, config.to_day))
    record = score_days(
        taskclf_home,
        choose_days(taskclf_home, scorer, first=first, last=last, now=as_of),
        scorer,
        as_of=as_of,
        cores=cores(),
        replace=config.replace,
        config=settings,
        on_progress=report_lines(context.log.info),
    )
    write_score_events(taskclf_home, record, run_id=context.run.run_id, at=clock.now())
    removed = remove_old_scores(taskclf_home, keep_days=settings.monitoring.keep_score_days, now=as_of)
    for contender in record.contenders:
        context.log.info(f"on trial: {contender.model_id}, {len(contender.days)} days scored {contender.problem}".rstrip())
    context.log.info(f"{len(record.days)} days scored by {record.model_id}; scores of {len(removed)} old days removed")
    return materialized(record, metadata=scores_metadata(record), check_results=score_checks(record, settings))
