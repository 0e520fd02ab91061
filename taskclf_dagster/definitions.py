"""The table of contents: every asset, check, job, schedule, sensor and resource of the project. Dagster concept: definitions.

Add a new definition to its list here; define it in `defs`. `build_definitions` takes resources, so that tests and the command line build a
variant instead of patching.
"""

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.assets.backtest import policy_replay
from taskclf_dagster.defs.assets.calibration import calibrator_store
from taskclf_dagster.defs.assets.data import dataset_snapshot, labeled_windows
from taskclf_dagster.defs.assets.drift import drift_report
from taskclf_dagster.defs.assets.models import challenger_model
from taskclf_dagster.defs.assets.monitoring import live_performance
from taskclf_dagster.defs.assets.probation import probation
from taskclf_dagster.defs.assets.promotion import active_pointer, promotion_decision
from taskclf_dagster.defs.assets.reports import challenger_report, champion_report
from taskclf_dagster.defs.assets.scoring import scored_windows
from taskclf_dagster.defs.assets.trials import contender_trials
from taskclf_dagster.defs.automation.calibration_sensor import build_calibration_sensor
from taskclf_dagster.defs.automation.failed_run_sensor import failed_runs
from taskclf_dagster.defs.automation.freshness import with_freshness
from taskclf_dagster.defs.automation.schedules import build_schedules
from taskclf_dagster.defs.automation.sensors import build_sensors
from taskclf_dagster.defs.checks.calibration import CALIBRATION_CHECKS
from taskclf_dagster.defs.checks.data import DATA_CHECKS
from taskclf_dagster.defs.checks.promotion import PROMOTION_CHECKS
from taskclf_dagster.defs.checks.reports import REPORT_CHECKS
from taskclf_dagster.defs.events.event_sensor import event_delivery
from taskclf_dagster.defs.jobs.backtest import build_backtest_job
from taskclf_dagster.defs.jobs.calibrate import build_calibrate_job
from taskclf_dagster.defs.jobs.monitor import build_monitor_job
from taskclf_dagster.defs.jobs.registry_jobs import OPERATIONS
from taskclf_dagster.defs.jobs.retrain import build_retrain_job
from taskclf_dagster.defs.jobs.score import build_score_job
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.record_io_manager import RecordIOManager
from taskclf_dagster.defs.resources.run_supervisor import GRACE_SECONDS, RunSupervisor
from taskclf_dagster.entry_paths import make_environment_absolute
from taskclf_dagster.errors import SettingsError

ASSETS = [
    labeled_windows,
    dataset_snapshot,
    challenger_model,
    challenger_report,
    champion_report,
    promotion_decision,
    active_pointer,
]
"""The assets of a retrain."""

MONITORING_ASSETS = [calibrator_store, scored_windows, drift_report, live_performance, probation, contender_trials]
"""The assets that watch the active model."""

CHECKS = [*DATA_CHECKS, *REPORT_CHECKS, *PROMOTION_CHECKS, *CALIBRATION_CHECKS]
"""The checks that run on their own."""


def build_definitions(
    *,
    home: HomeResource | None = None,
    run_settings: RunSettingsResource | None = None,
    clock: ClockResource | None = None,
    timeout_seconds: float | None = None,
    grace_seconds: float = GRACE_SECONDS,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Returns the project's definitions, with other resources and loggers where given.

    Args:
        home: the taskclf home.
        run_settings: defaults of the launch form.
        clock: the clock.
        timeout_seconds: time after which a run is ended; None for timeout_minutes of the configuration.
        grace_seconds: time that an interrupted run may take to end before its process is killed.
        loggers: loggers by name.

    Raises:
        SettingsError: the configuration is not valid.
    """
    home, run_settings = home or HomeResource(), run_settings or RunSettingsResource()
    config = _load_config(home, run_settings)
    resources = build_resources(home, run_settings, clock or ClockResource(), timeout_seconds=timeout_seconds, grace_seconds=grace_seconds)
    return dg.Definitions(
        assets=[*with_freshness([*ASSETS, *MONITORING_ASSETS], config), policy_replay],
        asset_checks=CHECKS,
        jobs=[
            build_retrain_job(config),
            build_score_job(),
            build_monitor_job(),
            build_calibrate_job(config),
            build_backtest_job(),
            *OPERATIONS,
        ],
        schedules=build_schedules(config),
        sensors=[*build_sensors(), build_calibration_sensor(), failed_runs, event_delivery],
        resources=resources,
        executor=dg.in_process_executor,
        loggers=loggers,
    )


def build_resources(
    home: HomeResource,
    run_settings: RunSettingsResource,
    clock: ClockResource,
    *,
    timeout_seconds: float | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> dict[str, Any]:
    """Returns the resources of a run; home and settings are set up once a run, whichever resource asks for them."""
    shared_home, shared_settings = _share(home), _share(run_settings)
    limits = {} if timeout_seconds is None else {"timeout_seconds": timeout_seconds}
    return {
        "home": shared_home,
        "run_settings": shared_settings,
        "clock": clock,
        "supervisor": RunSupervisor(home=shared_home, run_settings=shared_settings, grace_seconds=grace_seconds, **limits),
        "io_manager": RecordIOManager(home=shared_home),
    }


def _load_config(home: HomeResource, run_settings: RunSettingsResource) -> RetrainConfig:
    """Returns the configuration for cron lines, time limits and freshness, which Dagster reads with the definitions.

    A settings file of the home that cannot be used does not keep them from loading, so that a rollback can be launched: it counts as
    missing here, and each tick and retrain says what is wrong.

    Raises:
        SettingsError: the configuration is not valid without the home's settings either.
    """
    try:
        return run_settings.load_config(home.open())
    except SettingsError as error:
        config = run_settings.load_config(None)
        dg.get_dagster_logger().warning(f"nothing is launched by itself until this is corrected: {error}")
        return config


def _share(resource: dg.ConfigurableResource[Any]) -> Any:
    """Returns a resource as one that Dagster sets up once a run, with its launch configuration, also where another resource holds it."""
    return type(resource).configure_at_launch(**{name: getattr(resource, name) for name in resource.model_fields_set})


@dg.definitions
def defs() -> dg.Definitions:
    """Returns the definitions that `dagster dev` and `dg` load.

    Raises:
        PathError: a path of the environment cannot be made absolute.
        SettingsError: the configuration is not valid.
    """
    make_environment_absolute(os.environ)
    return build_definitions()
