"""The sensor `calibration_due`, which has the active model calibrated after each promotion. Dagster concept: sensors.

`domain.scheduling.calibration_trigger` decides if calibrators are due. The job `monitor` fits them again every
`calibrator_update_cadence_days`.
"""

from datetime import datetime

import dagster as dg

from taskclf_dagster.defs.automation.run_requests import DISABLED
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.retrain_runs import CALIBRATE, describe_unfinished_retrain, find_unfinished_retrain
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, REASON_TAG, TRIGGER_TAG, home_tag
from taskclf_dagster.domain.registry.active_model import find_trusted_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.calibration_trigger import assess_calibration
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

SECONDS = 300


def build_calibration_sensor() -> dg.SensorDefinition:
    """Returns the sensor; where the settings turn off what is launched by itself, its ticks skip."""

    @dg.sensor(
        job_name=CALIBRATE,
        name="calibration_due",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Launches the job calibrate after a promotion: once for each, when the inference policy names no calibrators.",
    )
    def calibration_due(
        context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.RunRequest | dg.SkipReason:
        """Launches one run for each record of the history that sets the pointer."""
        return evaluate_calibration_due(context.instance, home.open(), run_settings, now=clock.now())

    return calibration_due


def evaluate_calibration_due(
    instance: dg.DagsterInstance, home: Home, run_settings: RunSettingsResource, *, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """Evaluates one tick of `calibration_due`; skips if it is disabled, a retrain is unfinished, or a file cannot be read."""
    try:
        config = run_settings.load_config(home)
        if not config.scheduling.enabled:
            return dg.SkipReason(DISABLED)
        if config.calibrating.calibration_method == "off":
            return dg.SkipReason("calibration_method is off")
        require_own_instance(instance, home)
        home.require()
        state = read_registry_state(home, open_keys(home, config.signing, signs=False))
        model_id = find_trusted_model(state).model_id
        if model_id is None:
            return dg.SkipReason("no model is active, so there is none to calibrate")
        due = assess_calibration(home, now=now, cadence_days=config.scheduling.calibrator_update_cadence_days)
        if due.kind != "never_done" or not due.due:
            return dg.SkipReason(due.reason if not due.due else f"{due.reason}; the job monitor fits them again")
        unfinished = find_unfinished_retrain(instance, home)
        if unfinished is not None:
            return dg.SkipReason(f"{due.reason}, but {describe_unfinished_retrain(unfinished)}")
        demand = f"calibration-{model_id}-{state.sequence}"
        earlier = _find_run(instance, home, demand)
        if earlier is not None:
            return dg.SkipReason(f"{due.reason}, and run {earlier.run_id} tried it for this promotion; the job monitor tries again")
    except (TaskclfDagsterError, OSError) as error:
        return dg.SkipReason(str(error))
    tags = {HOME_TAG: home_tag(home), TRIGGER_TAG: demand, REASON_TAG: due.reason}
    return dg.RunRequest(job_name=CALIBRATE, run_key=f"{demand}-{home_tag(home)}", tags=tags)


def _find_run(instance: dg.DagsterInstance, home: Home, demand: str) -> dg.DagsterRun | None:
    filters = dg.RunsFilter(job_name=CALIBRATE, tags={HOME_TAG: home_tag(home), TRIGGER_TAG: demand})
    return next(iter(instance.get_runs(filters, limit=1)), None)
