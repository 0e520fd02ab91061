"""The job `monitor`: everything that watches the active model. Dagster concept: jobs, run configuration.

The job is the assets with the tag `monitoring`; nothing is computed here.
"""

import dagster as dg
from pydantic import Field

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.assets.common import GROUP, MONITORING
from taskclf_dagster.defs.dagster_internals import AssetJob
from taskclf_dagster.defs.resources.inputs import RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import max_runtime
from taskclf_dagster.defs.runs.retrain_runs import MONITOR
from taskclf_dagster.defs.runs.run_tags import MAX_RUNTIME_TAG


class MonitorParams(dg.Config):
    """The launch form of the job `monitor`."""

    as_of: str | None = Field(None, description="End of the last day: an ISO date or time (UTC without an offset). Default: now.")
    config_path: str | None = Field(None, description="Absolute path of a YAML file that overrides configs/retrain.yaml.")


@dg.config_mapping
def monitor_run_config(val: MonitorParams) -> dg.RunConfig:
    """Maps the launch form to the resource that the assets read."""
    return dg.RunConfig(
        resources={"run_settings": RunSettingsResource(**val.model_dump())},
        loggers={"console": {"config": {"log_level": "INFO"}}},
    )


def build_monitor_job(config: RetrainConfig) -> AssetJob:
    """Returns the job."""
    (tag,) = MONITORING.items()
    return dg.define_asset_job(
        MONITOR,
        selection=dg.AssetSelection.groups(GROUP) & dg.AssetSelection.tag(*tag),
        config=monitor_run_config,
        executor_def=dg.in_process_executor,
        description="How the active model does on labels that arrived after it scored the windows. Changes no model.",
        tags={MAX_RUNTIME_TAG: str(max_runtime(60.0 * config.scheduling.timeout_minutes))},
    )
