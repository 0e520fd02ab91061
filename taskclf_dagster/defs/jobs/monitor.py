"""The job `monitor`, which watches the active model after its promotion. Dagster concept: jobs, run configuration.

It is the graph of the assets with the tag monitoring; nothing is computed here. Of them only `contender_trials` may promote, and
only `probation` may roll back.
"""

import dagster as dg
from pydantic import Field

from taskclf_dagster.defs.assets.common import MONITORING_TAG
from taskclf_dagster.defs.dagster_internals import AssetJob
from taskclf_dagster.defs.jobs.launch_forms import Homes, choose_form
from taskclf_dagster.defs.resources.inputs import RunSettingsResource
from taskclf_dagster.defs.runs.retrain_runs import MONITOR
from taskclf_dagster.defs.runs.run_tags import MAX_RUNTIME_TAG

LIMITS = {MAX_RUNTIME_TAG: "1800"}
"""Monitoring takes seconds; half an hour [s] is for a run that waits."""


class MonitorParams(dg.Config):
    """The launch form of the job `monitor`."""

    as_of: str | None = Field(None, description="End of the judged days: an ISO date or time (UTC without an offset). Default: now.")
    config_path: str | None = Field(None, description="Absolute path of a YAML file that overrides configs/retrain.yaml.")


@dg.config_mapping
def monitor_form(val: MonitorParams) -> dg.RunConfig:
    """Maps the launch form to the resource that the assets read."""
    return dg.RunConfig(
        resources={"run_settings": RunSettingsResource(**val.model_dump())},
        loggers={"console": {"config": {"log_level": "INFO"}}},
    )


def build_monitor_job(homes: Homes = None) -> AssetJob:
    """Returns the job over every asset with the tag monitoring."""
    return dg.define_asset_job(
        MONITOR,
        selection=dg.AssetSelection.tag(MONITORING_TAG, ""),
        config=choose_form(monitor_form, homes),
        executor_def=dg.in_process_executor,
        description=(
            "Watches the active model: drift, labels that came later, the probation of the last promotion, trials of challengers, "
            "and calibration when it is due."
        ),
        tags=LIMITS,
    )
