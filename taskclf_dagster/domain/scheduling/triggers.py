"""Assesses the triggers of a retrain (new labels, cadence, age of the model), and if the data suffices for one.

Reads and counts only; schedule and sensors launch runs. See also `data_assessment`, `label_arrival`, `drift_trigger`,
`performance_trigger` and `retry_policy`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from taskclf_dagster.config.settings import RetrainConfig, SchedulingSettings
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans, watermark
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided
from taskclf_dagster.domain.scheduling.cadence import DueDate, check_model_age, check_retrain_due
from taskclf_dagster.domain.scheduling.data_assessment import DataAssessment, assess_data
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import LabelColumnsError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

Cause = Literal["new_labels", "cadence", "model_age", "drift", "performance"]


SLACK = timedelta(hours=2)
"""A run takes time, so a daily tick always comes a little early, and an hour more when the clocks go forward: what is due within this
time counts as due."""


class TriggerAssessment(Record):
    """The assessment of the triggers.

    Attributes:
        launch: if a retrain is to be launched.
        cause: the trigger; None if there is none.
        reason: the trigger's reason, and the blockers; without a trigger, why none is due and when one will be.
        blockers: messages of what would end the run without a result; empty if there is nothing, or no trigger.
        data: the assessment of windows and labels.
        force: if the run trains although no label is new.
        changed_spans: number of spans that are new, edited or deleted since the last decided run; None if their columns are damaged.
        label_watermark: the label watermark that was assessed; None likewise.
        due_at: latest time at which a retrain is due without new labels; None if that is now or unknown.
    """

    launch: bool
    cause: Cause | None
    reason: str
    blockers: tuple[str, ...]
    data: DataAssessment
    force: bool
    changed_spans: int | None
    label_watermark: str | None
    due_at: datetime | None


def assess_trigger(home: Home, *, config: RetrainConfig, now: datetime) -> TriggerAssessment:
    """Assesses if a retrain is due, and would have enough labels to learn from.

    Args:
        home: the taskclf home.
        config: the configuration.
        now: the present time.

    Raises:
        HomeNotFoundError: the home does not exist.
        UnreadableFileError: the label store cannot be read.
    """
    home.require()
    last = read_last_decided(home)
    labels = _assess_labels(home, last, config.scheduling)
    days = config.scheduling.global_retrain_cadence_days
    cadence = check_retrain_due(last, now=now, cadence_days=days, slack=SLACK)
    age = check_model_age(home, last, now=now, max_days=config.scheduling.max_days_since_training, cadence_days=days, slack=SLACK)
    due_dates: dict[Cause, DueDate] = {
        "new_labels": labels.due_date,
        **({} if age is None else {"model_age": age}),
        "cadence": cadence,
    }
    cause = next((name for name, due in due_dates.items() if due.due), None)
    data = assess_data(home, config=config, now=now, find_blockers=cause is not None)
    blockers = data.blockers if cause is not None else ()
    if cause is None:
        reason = "; ".join(due_dates[name].reason for name in ("cadence", "new_labels", "model_age") if name in due_dates)
    else:
        reason = describe_blocked(due_dates[cause].reason, blockers)
    return TriggerAssessment(
        launch=cause is not None and not blockers,
        cause=cause,
        reason=reason,
        blockers=blockers,
        data=data,
        force=age is not None and age.due,
        changed_spans=labels.changed_spans,
        label_watermark=labels.watermark,
        due_at=min((due.due_at for due in due_dates.values() if due.due_at is not None), default=None),
    )


def describe_changed_spans(changed: int, settings: SchedulingSettings) -> str:
    """Returns a message with the number of changed label spans and the number that triggers a retrain."""
    found = f"{counted(changed, 'label span')} {'is' if changed == 1 else 'are'} new, changed or deleted since the last decided run"
    return f"{found} (min_new_labels is {settings.min_new_labels})"


def describe_blocked(reason: str, blockers: Sequence[str]) -> str:
    """Returns the reason of a trigger, with the blockers if there are any."""
    return f"{reason}, but a run would be blocked: {'; '.join(blockers)}" if blockers else reason


class _NewLabels(NamedTuple):
    """New labels as a trigger: watermark of the store, changed spans (None for both if the columns are damaged), and if they are enough."""

    watermark: str | None
    changed_spans: int | None
    due_date: DueDate


def _assess_labels(home: Home, last: LastDecided | None, settings: SchedulingSettings) -> _NewLabels:
    try:
        fingerprints = read_fingerprints(home)
    except LabelColumnsError as error:
        return _NewLabels(None, None, DueDate(due=False, due_at=None, kind="not_due", reason=f"new labels are unknown: {error}"))
    changed = count_changed_spans(home.decisions, last.label_watermark if last else None, fingerprints)
    due = changed >= settings.min_new_labels
    due_date = DueDate(due=due, due_at=None, kind="due" if due else "not_due", reason=describe_changed_spans(changed, settings))
    return _NewLabels(watermark(fingerprints), changed, due_date)
