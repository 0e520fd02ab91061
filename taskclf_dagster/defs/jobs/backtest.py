"""The job `backtest`: replays policies over the past of the home. Dagster concept: jobs.

The job is the asset policy_replay; nothing is computed here. It neither waits for a retrain nor holds one up.
"""

import dagster as dg

from taskclf_dagster.defs.dagster_internals import AssetJob
from taskclf_dagster.defs.runs.retrain_runs import BACKTEST
from taskclf_dagster.defs.runs.run_tags import MAX_RUNTIME_TAG

LIMIT_SECONDS = 6 * 3600


def build_backtest_job() -> AssetJob:
    """Returns the job; its launch form has days and policies."""
    return dg.define_asset_job(
        BACKTEST,
        selection=dg.AssetSelection.assets("policy_replay"),
        executor_def=dg.in_process_executor,
        description="Replays policies over the past of the home and compares how their models would have done. Decides nothing.",
        tags={MAX_RUNTIME_TAG: str(LIMIT_SECONDS)},
    )
