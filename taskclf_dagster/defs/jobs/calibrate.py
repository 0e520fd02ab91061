"""The job `calibrate` and its launch form. Dagster concept: jobs, run configuration.

The job is one asset with its checks; nothing is computed here.
"""

import dagster as dg
from pydantic import Field

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.dagster_internals import AssetJob
from taskclf_dagster.defs.jobs.launch_forms import Homes, choose_form
from taskclf_dagster.defs.resources.inputs import RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import max_runtime
from taskclf_dagster.defs.runs.retrain_runs import CALIBRATE
from taskclf_dagster.defs.runs.run_tags import MAX_RUNTIME_TAG


class CalibrateParams(dg.Config):
    """The launch form of the job `calibrate`."""

    force: bool = Field(False, description="Calibrate although calibrators are not due, or a decision awaits approval, which is then void.")
    dry_run: bool = Field(False, description="Fit and judge, but change nothing.")
    as_of: str | None = Field(None, description="End of the look-back range: an ISO date or time (UTC without an offset). Default: now.")
    config_path: str | None = Field(None, description="Absolute path of a YAML file that overrides configs/retrain.yaml.")


@dg.config_mapping
def calibrate_form(val: CalibrateParams) -> dg.RunConfig:
    """Maps the launch form to the resource that the asset reads."""
    return dg.RunConfig(
        resources={"run_settings": RunSettingsResource(**val.model_dump())},
        loggers={"console": {"config": {"log_level": "INFO"}}},
    )


def build_calibrate_job(config: RetrainConfig, homes: Homes = None) -> AssetJob:
    """Returns the job, of one home or with partitions."""
    return dg.define_asset_job(
        CALIBRATE,
        selection=dg.AssetSelection.assets("calibrator_store"),
        config=choose_form(calibrate_form, homes),
        executor_def=dg.in_process_executor,
        description="Fits calibrators for the active model, and makes taskclf follow them with a reject threshold that belongs to them.",
        tags={MAX_RUNTIME_TAG: str(max_runtime(60.0 * config.scheduling.timeout_minutes))},
    )
