"""Fills in the launch form of a job with partitions, for whatever launches it: the sensors over all homes, and the API."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from taskclf_dagster.defs.jobs.calibrate import calibrate_form
from taskclf_dagster.defs.jobs.launch_forms import map_form
from taskclf_dagster.defs.jobs.monitor import monitor_form
from taskclf_dagster.defs.jobs.registry_jobs import REGISTRY_FORMS
from taskclf_dagster.defs.jobs.retrain import retrain_run_config
from taskclf_dagster.defs.runs.retrain_runs import CALIBRATE, MONITOR, RETRAIN

FORMS: Mapping[str, dg.ConfigMapping] = {
    RETRAIN: retrain_run_config,
    MONITOR: monitor_form,
    CALIBRATE: calibrate_form,
    **REGISTRY_FORMS,
}


def fill_form(job: str, form: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the run configuration of a job with partitions for its launch form; of a job without a form, what is given.

    Raises:
        DagsterInvalidConfigError: a field is missing, unknown, or of another type.
    """
    mapping = FORMS.get(job)
    return dict(form) if mapping is None else map_form(mapping, form)
