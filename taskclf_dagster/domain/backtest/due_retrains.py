"""Finds the retrain that the schedule or the sensor would launch at a look, without reading windows.

The due dates are those of `domain.scheduling.cadence`, in the order in which `domain.scheduling.triggers` names them as the cause.
"""

from typing import NamedTuple

from taskclf_dagster.config.settings import SchedulingSettings
from taskclf_dagster.domain.backtest.looks import Look
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.scheduling.cadence import check_model_age, check_retrain_due
from taskclf_dagster.domain.scheduling.triggers import SLACK, Cause
from taskclf_dagster.home import Home


class DueRetrain(NamedTuple):
    """A retrain that a look launches.

    Attributes:
        cause: the trigger.
        force: True if the run trains although no label is new.
    """

    cause: Cause
    force: bool


def find_due_retrain(home: Home, settings: SchedulingSettings, look: Look) -> DueRetrain | None:
    """Returns the retrain that a look launches; None if it launches none.

    The sensor launches for new labels alone, and not before the first decision; the schedule also by cadence and by the age of the model.

    Raises:
        UnreadableFileError: the label store cannot be read.
    """
    if not settings.enabled:
        return None
    last = read_last_decided(home)
    changed = count_changed_spans(home.decisions, None if last is None else last.label_watermark, read_fingerprints(home))
    has_labels = changed >= settings.min_new_labels
    if look.by == "labels":
        return DueRetrain("new_labels", force=False) if has_labels and last is not None else None
    days, max_days = settings.global_retrain_cadence_days, settings.max_days_since_training
    age = check_model_age(home, last, now=look.at, max_days=max_days, cadence_days=days, slack=SLACK)
    is_old = age is not None and age.due
    is_due = check_retrain_due(last, now=look.at, cadence_days=days, slack=SLACK).due
    causes: dict[Cause, bool] = {"new_labels": has_labels, "model_age": is_old, "cadence": is_due}
    cause = next((name for name, due in causes.items() if due), None)
    return None if cause is None else DueRetrain(cause, force=is_old)
