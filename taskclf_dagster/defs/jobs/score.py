"""The job `score`: scores days with the active model. Dagster concept: jobs.

The job is the asset; nothing is computed here. It does not wait for a retrain: what it writes is its own.
"""

import dagster as dg

from taskclf_dagster.defs.dagster_internals import AssetJob
from taskclf_dagster.defs.runs.retrain_runs import SCORE
from taskclf_dagster.defs.runs.run_tags import MAX_RUNTIME_TAG


def build_score_job() -> AssetJob:
    """Returns the job; its launch form has the range of days."""
    return dg.define_asset_job(
        SCORE,
        selection=dg.AssetSelection.assets("scored_windows"),
        executor_def=dg.in_process_executor,
        description="What the active model predicts for each window. Without a range: the days of the last week that wait, and today.",
        tags={MAX_RUNTIME_TAG: "3600"},
    )
