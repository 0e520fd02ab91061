"""The asset probation: the promoted model beside the one before it, in the days after its promotion. Dagster concept: assets.

It may roll back, through the registry, where `auto_rollback` is true. A look belongs to `domain.probation.probation_step`, what the page
shows to `defs.display.probation_metadata`.
"""

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, MONITORING_TAGS, OWNERS, POOL, materialized, open_watched_home
from taskclf_dagster.defs.display.probation_metadata import PROBATION_CHECKS, probation_checks, probation_metadata
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.probation.probation_step import ProbationStep
from taskclf_dagster.domain.probation.probation_views import ProbationReport, show_probations
from taskclf_dagster.provenance import cores


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(ProbationReport),
    owners=OWNERS,
    kinds={"json"},
    tags=MONITORING_TAGS,
    deps=["active_pointer", "scored_windows"],
    check_specs=[dg.AssetCheckSpec(name, asset="probation", description=text) for name, text in PROBATION_CHECKS.items()],
)
def probation(
    context: dg.AssetExecutionContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> dg.MaterializeResult:
    """Looks for harm that the last promotion did: the new model is shown to be worse, does not load, or rejects too much or too little.

    With `auto_rollback` the model before runs again, else there is one alert. Looking every day is paid for by the bounds.
    """
    taskclf_home, as_of = open_watched_home(context, home), run_settings.resolve_as_of(clock)
    config = run_settings.load_config(taskclf_home)
    keys = open_keys(taskclf_home, config.signing, signs=config.probation.auto_rollback)
    step = ProbationStep(taskclf_home, config, as_of, clock.now(), cores(), context.run.run_id, keys)
    record = show_probations(taskclf_home, as_of=as_of) if run_settings.dry_run else step.look()
    for look in record.looks:
        context.log.info(f"{look.model_id}: {look.outcome.replace('_', ' ')}: {look.detail}")
    return materialized(record, metadata=probation_metadata(record), check_results=probation_checks(record))
