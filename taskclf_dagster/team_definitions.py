"""The definitions for many homes: those of `definitions`, with a partition for each home. Dagster concept: partitions.

Assets, checks and jobs are the same objects with partitions added; what launches by itself goes round the homes (`defs.homes`). The home
of a run is that of its partition, so a run without one can do nothing (docs/adr/0015-many-homes.md).
"""

import os
from collections.abc import Mapping

import dagster as dg

from taskclf_dagster.definitions import ASSETS, CHECKS, MONITORING_ASSETS, build_resources
from taskclf_dagster.defs.homes.sensors import build_home_sensors
from taskclf_dagster.defs.jobs.calibrate import build_calibrate_job
from taskclf_dagster.defs.jobs.monitor import build_monitor_job
from taskclf_dagster.defs.jobs.registry_jobs import OPERATIONS, with_partitions
from taskclf_dagster.defs.jobs.retrain import build_retrain_job
from taskclf_dagster.defs.jobs.score import build_score_job
from taskclf_dagster.defs.resources.inputs import ClockResource, RunSettingsResource
from taskclf_dagster.defs.resources.partition_home import HomesResource, PartitionHome, build_partitions
from taskclf_dagster.defs.resources.run_supervisor import GRACE_SECONDS
from taskclf_dagster.entry_paths import make_environment_absolute


def build_team_definitions(
    *,
    homes_file: str | None = None,
    run_settings: RunSettingsResource | None = None,
    clock: ClockResource | None = None,
    timeout_seconds: float | None = None,
    grace_seconds: float = GRACE_SECONDS,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Returns the definitions for many homes. They load whatever homes there are: the homes are read by ticks and runs.

    Freshness is that of an asset, not of a partition, so it has no policy here.

    Args:
        homes_file: absolute path of the homes file; None for the one that TASKCLF_DAGSTER_HOMES names.
        run_settings: as of `build_definitions`.
        clock: as there.
        timeout_seconds: as there.
        grace_seconds: as there.
        loggers: as there.

    Raises:
        SettingsError: the configuration that all homes share is not valid.
    """
    run_settings, clock, partitions = run_settings or RunSettingsResource(), clock or ClockResource(), build_partitions()
    config = run_settings.load_config(None)
    home = PartitionHome() if homes_file is None else PartitionHome(homes_file=homes_file)
    resources = build_resources(home, run_settings, clock, timeout_seconds=timeout_seconds, grace_seconds=grace_seconds)
    jobs = [
        build_retrain_job(config, partitions),
        build_score_job(),
        build_monitor_job(partitions),
        build_calibrate_job(config, partitions),
    ]
    return dg.Definitions(
        assets=[_with_partitions(asset, partitions) for asset in [*ASSETS, *MONITORING_ASSETS]],
        asset_checks=CHECKS,
        jobs=[*jobs, *(with_partitions(job, partitions) for job in OPERATIONS)],
        sensors=build_home_sensors(partitions),
        resources={**resources, "homes": HomesResource(homes_file=homes_file)},
        executor=dg.in_process_executor,
        loggers=loggers,
    )


def _with_partitions(asset: dg.AssetsDefinition, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=partitions))


@dg.definitions
def defs() -> dg.Definitions:
    """Returns the definitions for many homes, which the code server of `taskclf-dagster serve --homes` loads.

    Raises:
        PathError: a path of the environment cannot be made absolute.
        SettingsError: the configuration is not valid.
    """
    make_environment_absolute(os.environ)
    return build_team_definitions()
