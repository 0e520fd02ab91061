"""The asset live_performance: how models do on labels that arrive after they scored the windows. Dagster concept: assets.

Its checks are advice: they fail no run and change no model. Add an asset that watches the active model here; measuring belongs to
`domain.monitoring`, what the pages show to `defs.display.live_metadata`.
"""

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, MONITORING_TAGS, OWNERS, POOL, materialized, open_watched_home
from taskclf_dagster.defs.display.live_metadata import LIVE_CHECKS, live_performance_checks, live_performance_metadata
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.monitoring.live_performance import LivePerformance, measure_live_performance, remember_performance_drop


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(LivePerformance),
    owners=OWNERS,
    kinds={"json"},
    tags=MONITORING_TAGS,
    deps=["scored_windows"],
    check_specs=[dg.AssetCheckSpec(name, asset="live_performance", description=text) for name, text in LIVE_CHECKS.items()],
)
def live_performance(
    context: dg.AssetExecutionContext,
    home: HomeResource,
    run_settings: RunSettingsResource,
    clock: ClockResource,
) -> dg.MaterializeResult:
    """Measures how each model did on the windows that it scored in the last days, by day, user and label, once they are labeled.

    Joins the scores on disk with the label store: what counts is what was said at the time, not what today's model would say. If the active
    model performs clearly worse than its own test figure or the lookup table, that is an event and triggers one retrain, once for a model.
    """
    taskclf_home = open_watched_home(context, home)
    config, as_of = run_settings.load_config(taskclf_home), run_settings.resolve_as_of(clock)
    keys = open_keys(taskclf_home, config.signing, signs=False)
    record = measure_live_performance(taskclf_home, as_of=as_of, config=config, keys=keys)
    context.log.info(record.summary)
    if not run_settings.dry_run:
        remember_performance_drop(taskclf_home, record, run_id=context.run.run_id, at=clock.now())
    return materialized(record, metadata=live_performance_metadata(record), check_results=live_performance_checks(record))
