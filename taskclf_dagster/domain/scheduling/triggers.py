"""Assesses the triggers of a retrain (new labels, cadence, age of the model), and if the data suffices for one.

Reads and counts only; schedule and sensors launch runs. See also `label_arrival`, `drift_trigger` and `retry_policy`.
"""

from datetime import datetime, timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans, watermark
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.scheduling.cadence import Due, check_model_age, check_retrain_due
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

Cause = Literal["new_labels", "cadence", "model_age", "drift"]


SLACK = timedelta(hours=2)
"""A run takes time, so a daily tick always comes a little early, and an hour more when the clocks go forward: what is due within this
time counts as due."""


MAX_ROWS_WEIGHED = 200_000
"""Largest number of windows and spans that are read to predict the blocking checks of a run; above, the run itself reports them."""


class Trigger(Record):
    """The assessment of the triggers.

    Attributes:
        launch: if a retrain is to be launched.
        cause: the trigger; None if there is none.
        reason: the trigger's reason, and what prevents a launch; without a trigger, why none is due and when one will be.
        force: if the run trains although no label is new.
        changed_spans: number of spans that are new, edited or deleted since the last decided run.
        label_watermark: the label watermark that was assessed.
        due_at: latest time at which a retrain is due without new labels; None if that is now or unknown.
    """

    launch: bool
    cause: Cause | None
    reason: str
    force: bool
    changed_spans: int
    label_watermark: str
    due_at: datetime | None


def assess_trigger(home: Home, *, config: RetrainConfig, now: datetime) -> Trigger:
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
    fingerprints = read_fingerprints(home)
    mark = watermark(fingerprints)
    changed = count_changed_spans(home.decisions, last.label_watermark if last else None, fingerprints)
    days = config.scheduling.global_retrain_cadence_days
    cadence = check_retrain_due(last, now=now, cadence_days=days, slack=SLACK)
    age = check_model_age(home, last, now=now, max_days=config.scheduling.max_days_since_training, cadence_days=days, slack=SLACK)
    wanted: dict[Cause, Due] = {
        "new_labels": Due(due=changed >= config.scheduling.min_new_labels, due_at=None, reason=describe_labels(changed, config)),
        **({} if age is None else {"model_age": age}),
        "cadence": cadence,
    }
    cause = next((name for name, due in wanted.items() if due.due), None)
    if cause is None:
        reason = "; ".join(wanted[name].reason for name in ("cadence", "new_labels", "model_age") if name in wanted)
    else:
        obstacle = find_obstacle(home, config=config, now=now)
        reason = wanted[cause].reason + ("" if obstacle is None else f", but there is nothing to learn from: {obstacle}")
    return Trigger(
        launch=cause is not None and obstacle is None,
        cause=cause,
        reason=reason,
        force=age is not None and age.due,
        changed_spans=changed,
        label_watermark=mark,
        due_at=min((due.due_at for due in wanted.values() if due.due_at is not None), default=None),
    )


def describe_labels(changed: int, config: RetrainConfig) -> str:
    """Returns a message with the number of new label spans and the number that triggers a retrain."""
    return (
        f"{changed} label spans are new, changed or gone since the last decided run (min_new_labels is {config.scheduling.min_new_labels})"
    )


def find_obstacle(home: Home, *, config: RetrainConfig, now: datetime) -> str | None:
    """Returns the messages of the blocking checks that would end a run; None if there are none, or the home is too large to check."""
    if _count_rows(home) > MAX_ROWS_WEIGHED:
        return None
    try:
        record, frame, _ = label_windows(home, as_of=now, settings=config.dataset)
    except TaskclfDagsterError as error:
        return str(error)
    if frame is None:
        return None
    snapshot, _ = build_snapshot(home, record, frame, config=config)
    return "; ".join(blocker.message for blocker in snapshot.blockers) or None


def _count_rows(home: Home) -> int:
    """Returns the number of rows of all daily files and of the label store, from their footers; 0 for a file that cannot be read."""
    files = [home.labels, *(path for version in SCHEMAS for path in home.features(version).glob("date=*/features.parquet"))]
    rows = 0
    for path in files:
        try:
            rows += pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError):
            continue
    return rows
