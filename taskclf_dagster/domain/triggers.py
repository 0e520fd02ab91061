"""Whether a retrain should be launched now, and why: cadence, new labels, and whether there is anything to learn from.

Looks and counts only; launching belongs to the schedule and the sensor.
"""

from datetime import datetime
from typing import Literal

from taskclf_dagster.domain.cadence import Due, check_retrain_due, read_last_decided
from taskclf_dagster.domain.files import Record
from taskclf_dagster.domain.labeled import label_windows
from taskclf_dagster.domain.labels import count_changed_spans, read_fingerprints, watermark
from taskclf_dagster.domain.snapshot import build_snapshot
from taskclf_dagster.errors import HomeNotFoundError, TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.settings import RetrainConfig


class Trigger(Record):
    """Whether to launch a retrain.

    Attributes:
        cause: cadence, new_labels, or None where there is no cause.
        label_watermark: names the content of the label store that was looked at.
        changed_spans: spans new, edited or deleted since the last decided run.
    """

    launch: bool
    cause: Literal["cadence", "new_labels"] | None
    reason: str
    cadence: Due
    changed_spans: int
    label_watermark: str


def assess_trigger(home: Home, *, config: RetrainConfig, now: datetime) -> Trigger:
    """Whether a retrain is due by cadence or by new labels, and would have something to learn from.

    Raises:
        HomeNotFoundError: there is no such home.
        UnreadableFileError: the label store cannot be read.
    """
    if not home.root.is_dir():
        raise HomeNotFoundError(home.root)
    last = read_last_decided(home)
    cadence = check_retrain_due(last, now=now, cadence_days=config.global_retrain_cadence_days)
    fingerprints = read_fingerprints(home)
    changed = count_changed_spans(home.decisions, last.label_watermark if last else None, fingerprints)
    mark = watermark(fingerprints)
    labels = f"{changed} label spans are new, changed or gone since the last decided run (min_new_labels is {config.min_new_labels})"
    enough = changed >= config.min_new_labels
    facts = {"cadence": cadence, "changed_spans": changed, "label_watermark": mark}
    if not (cadence.due or enough):
        return Trigger(launch=False, cause=None, reason=f"{cadence.reason}; {labels}", **facts)
    obstacle = _nothing_to_learn_from(home, config=config, now=now)
    cause: Literal["cadence", "new_labels"] = "new_labels" if enough else "cadence"
    reason = labels if enough else cadence.reason
    if obstacle is not None:
        return Trigger(launch=False, cause=cause, reason=f"{reason}, but there is nothing to learn from: {obstacle}", **facts)
    return Trigger(launch=True, cause=cause, reason=reason, **facts)


def _nothing_to_learn_from(home: Home, *, config: RetrainConfig, now: datetime) -> str | None:
    """The words of the blocking checks that a run would end with, or None. Broken data is for the run to show."""
    try:
        record, frame = label_windows(home, as_of=now, config=config)
    except TaskclfDagsterError as error:
        return str(error)
    if frame is None:
        return None
    snapshot, _ = build_snapshot(home, record, frame, config=config)
    return "; ".join(snapshot.blockers) or None
