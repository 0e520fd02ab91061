"""The table of contents: every asset, check, job, schedule, sensor and resource of the project.

Nothing is defined here. `build_definitions` takes resources, so that tests and the command line build a variant instead of patching.
"""

from collections.abc import Mapping

import dagster as dg

from taskclf_dagster.defs.assets.data import dataset_snapshot, labeled_windows
from taskclf_dagster.defs.assets.models import challenger_model
from taskclf_dagster.defs.assets.promotion import active_pointer, promotion_decision
from taskclf_dagster.defs.assets.reports import challenger_report, champion_report
from taskclf_dagster.defs.automation.failed_run_sensor import failed_runs
from taskclf_dagster.defs.automation.freshness import with_freshness
from taskclf_dagster.defs.automation.schedules import build_schedules
from taskclf_dagster.defs.automation.sensors import build_sensors
from taskclf_dagster.defs.checks.data import DATA_CHECKS
from taskclf_dagster.defs.checks.models import MODEL_CHECKS
from taskclf_dagster.defs.checks.promotion import PROMOTION_CHECKS
from taskclf_dagster.defs.checks.reports import REPORT_CHECKS
from taskclf_dagster.defs.events.event_sensor import event_delivery
from taskclf_dagster.defs.jobs.registry_jobs import OPERATIONS
from taskclf_dagster.defs.jobs.retrain import build_retrain_job
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.record_io_manager import RecordIOManager
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor

ASSETS = [
    labeled_windows,
    dataset_snapshot,
    challenger_model,
    challenger_report,
    champion_report,
    promotion_decision,
    active_pointer,
]


def build_definitions(
    *,
    home: HomeResource | None = None,
    run_settings: RunSettingsResource | None = None,
    clock: ClockResource | None = None,
    supervisor: RunSupervisor | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Returns the project's definitions, with the given resources and loggers in place of the default ones.

    Raises:
        SettingsError: the retrain configuration is not valid.
    """
    home = home or HomeResource()
    run_settings = run_settings or RunSettingsResource()
    config = run_settings.load_config()
    resources = {
        "home": home,
        "run_settings": run_settings,
        "clock": clock or ClockResource(),
        "supervisor": supervisor or RunSupervisor(home=home, run_settings=run_settings),
        "io_manager": RecordIOManager(home=home),
    }
    return dg.Definitions(
        assets=with_freshness(ASSETS, config),
        asset_checks=[*DATA_CHECKS, *MODEL_CHECKS, *REPORT_CHECKS, *PROMOTION_CHECKS],
        jobs=[build_retrain_job(config), *OPERATIONS],
        schedules=build_schedules(config),
        sensors=[*build_sensors(config), failed_runs, event_delivery],
        resources=resources,
        executor=dg.in_process_executor,
        loggers=loggers,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Returns the definitions that `dagster dev` and `dg` load."""
    return build_definitions()
