"""The asset contender_trials: challengers that could not be decided, tried beside the active model. Dagster concept: assets.

Unlike the other assets that watch the active model, it may promote: through the registry, with a receipt of its own. A look belongs to
`domain.trials.trial_step`, what the page shows to `defs.display.trial_metadata`.
"""

from functools import partial

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, MONITORING_TAGS, OWNERS, POOL, materialized, open_watched_home
from taskclf_dagster.defs.display.trial_metadata import TRIAL_CHECKS, trial_checks, trials_metadata
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.reporting.report_file import write_trial_report
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.trials.trial_step import TrialsReport, TrialStep, show_trials
from taskclf_dagster.provenance import code_version, cores


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(TrialsReport),
    owners=OWNERS,
    kinds={"json"},
    tags=MONITORING_TAGS,
    deps=["active_pointer", "scored_windows"],
    check_specs=[dg.AssetCheckSpec(name, asset="contender_trials", description=text) for name, text in TRIAL_CHECKS.items()],
)
def contender_trials(
    context: dg.AssetExecutionContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> dg.MaterializeResult:
    """Looks at every trial: a challenger that was held for want of labels is judged on the labeled days after its training.

    One that is shown to be better is promoted if every gate passes on these days, or awaits approval; one that is shown to be worse, or
    shows nothing by the end of its days, leaves. Looking every day is paid for by the bounds.
    """
    taskclf_home, as_of = open_watched_home(context, home), run_settings.resolve_as_of(clock)
    config = run_settings.load_config(taskclf_home)
    keys = open_keys(taskclf_home, config.signing, signs=True)
    recompute, common = partial(recompute_decision, cores=cores()), (cores(), code_version(), context.run.run_id, keys)
    step = TrialStep(taskclf_home, config, recompute, as_of, clock.now(), *common)
    record = show_trials(taskclf_home, as_of=as_of) if run_settings.dry_run else step.look()
    for look in record.looks:
        context.log.info(f"{look.model_id}: {look.outcome.replace('_', ' ')}: {look.detail}")
        write_trial_report(taskclf_home, look.decision_id)
    return materialized(record, metadata=trials_metadata(record), check_results=trial_checks(record))
