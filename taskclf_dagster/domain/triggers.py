"""Whether a retrain should be launched now, and why: cadence, new labels, and whether there is anything to learn from.

Looks and counts only; launching belongs to the schedule and the sensor.
"""

from datetime import datetime
from typing import Literal

from taskclf_dagster.domain.cadence import check_retrain_due, read_last_decided
from taskclf_dagster.domain.files import Record
from taskclf_dagster.domain.labeled import label_windows
from taskclf_dagster.domain.labels import count_changed_spans, read_fingerprints, watermark
from taskclf_dagster.domain.snapshot import build_snapshot
from taskclf_dagster.errors import HomeNotFoundError, TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.settings import RetrainConfig

Cause = Literal["cadence", "new_labels"]
CAUSES: tuple[Cause, ...] = ("cadence", "new_labels")


class Trigger(Record):
    """Whether to launch a retrain.

    Attributes:
        cause: why a retrain is wanted, or None where it is not.
        reason: the cause in words, and what stands against it.
        changed_spans: spans new, edited or deleted since the last decided run.
        label_watermark: names the content of the label store that was looked at.
    """

    launch: bool
    cause: Cause | None
    reason: str
    changed_spans: int
    label_watermark: str


def assess_trigger(
    home: Home, *, config: RetrainConfig, now: datetime, heeding: tuple[Cause, ...] = CAUSES, seen_watermark: str | None = None
) -> Trigger:
    """Whether a retrain is wanted, and would have something to learn from.

    Args:
        home: the taskclf home.
        config: cadence, min_new_labels, and all that decides what can be learned from.
        now: the present time.
        heeding: the causes that count.
        seen_watermark: a label store with this content was answered before and is no cause again.

    Raises:
        HomeNotFoundError: there is no such home.
        UnreadableFileError: the label store cannot be read.
    """
    if not home.root.is_dir():
        raise HomeNotFoundError(home.root)
    last = read_last_decided(home)
    cadence = check_retrain_due(last, now=now, cadence_days=config.global_retrain_cadence_days)
    fingerprints = read_fingerprints(home)
    mark = watermark(fingerprints)
    changed = count_changed_spans(home.decisions, last.label_watermark if last else None, fingerprints)
    labels = f"{changed} label spans are new, changed or gone since the last decided run (min_new_labels is {config.min_new_labels})"
    wanted: dict[Cause, tuple[bool, str]] = {
        "new_labels": (changed >= config.min_new_labels and mark != seen_watermark, labels),
        "cadence": (cadence.due, cadence.reason),
    }
    cause = next((name for name, (yes, _) in wanted.items() if yes and name in heeding), None)
    if cause is None:
        seen = "; these labels have been answered" if mark == seen_watermark else ""
        reason = "; ".join(wanted[name][1] for name in heeding) + seen
        return Trigger(launch=False, cause=None, reason=reason, changed_spans=changed, label_watermark=mark)
    obstacle = _nothing_to_learn_from(home, config=config, now=now)
    reason = wanted[cause][1] if obstacle is None else f"{wanted[cause][1]}, but there is nothing to learn from: {obstacle}"
    return Trigger(launch=obstacle is None, cause=cause, reason=reason, changed_spans=changed, label_watermark=mark)


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
