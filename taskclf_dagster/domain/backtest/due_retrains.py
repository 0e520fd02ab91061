"""Finds the retrain that the schedule or the sensor would launch at a look, without reading windows."""

from typing import NamedTuple

from taskclf_dagster.config.settings import SchedulingSettings
from taskclf_dagster.domain.backtest.looks import Look
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.scheduling.cadence import check_model_age
from taskclf_dagster.domain.scheduling.triggers import SLACK, Cause, find_due, judge_new_labels
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
    labels = judge_new_labels(changed, settings)
    if look.by == "labels":
        return DueRetrain("new_labels", force=False) if labels.due and last is not None else None
    days, max_days = settings.global_retrain_cadence_days, settings.max_days_since_training
    age = check_model_age(home, last, now=look.at, max_days=max_days, cadence_days=days, slack=SLACK)
    cause = find_due(last, labels, age, settings=settings, now=look.at).cause
    return None if cause is None else DueRetrain(cause, force=age is not None and age.due)
