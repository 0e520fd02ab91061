"""When labels count as arrived: enough of them changed since the last decided run, and the store has been quiet for a while.

The store is known by its content; a rewritten file with the same spans is the same store. What was seen is handed in and out, and is kept
by whoever looks; nothing here writes. Whether to launch is for the sensor.
"""

from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, ValidationError

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans, watermark
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.scheduling.triggers import describe_labels
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home


class LabelWatch(Record):
    """What is known of the label store, so that a file that was not touched need not be read again.

    Attributes:
        signature: size, time and inode of the file; "" where there is none.
        watermark: names its content.
        changed_at: since when it has had this content.
        decided: the content that the last decided run saw, against which changes are counted; None without one.
        changed_spans: spans new, edited or deleted since then.
        obstacle: why a run on this content would find nothing to learn from, as it was weighed on `weighed_on`.
        weighed_on: the day (UTC) on which that was weighed; None where it was not.
    """

    signature: str
    watermark: str
    changed_at: AwareDatetime
    decided: str | None
    changed_spans: int
    obstacle: str | None = None
    weighed_on: str | None = None


def watch_labels(home: Home, before: LabelWatch | None, last: LastDecided | None, *, now: datetime) -> LabelWatch:
    """Looks at the label store; reads it only if the file, or what the last decided run saw, is another than before.

    Args:
        home: the taskclf home.
        before: what was seen at the look before; None for the first.
        last: the last decided run.
        now: the present time.

    Raises:
        UnreadableFileError: the label store cannot be read.
        OSError: it cannot even be looked at.
    """
    decided = None if last is None else last.label_watermark
    status = home.labels.stat() if home.labels.exists() else None
    signature = "" if status is None else f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
    if before is not None and (before.signature, before.decided) == (signature, decided):
        return before if before.changed_at <= now else before.model_copy(update={"changed_at": now})
    fingerprints = read_fingerprints(home)
    mark = watermark(fingerprints)
    written_at = now if status is None else datetime.fromtimestamp(status.st_mtime, UTC)
    known = before if before is not None and before.watermark == mark else None
    return LabelWatch(
        signature=signature,
        watermark=mark,
        changed_at=min(now, written_at if known is None else known.changed_at),
        decided=decided,
        changed_spans=count_changed_spans(home.decisions, decided, fingerprints),
        obstacle=None if known is None else known.obstacle,
        weighed_on=None if known is None else known.weighed_on,
    )


def read_watch(text: str | None) -> LabelWatch | None:
    """What a sensor kept of the look before; None where there is none, or it is of another version."""
    try:
        return None if text is None else LabelWatch.model_validate_json(text)
    except ValidationError:
        return None


def find_arrival_obstacle(watch: LabelWatch, *, config: RetrainConfig, now: datetime) -> str | None:
    """Why the labels are no reason for a retrain yet, in words; None if they are."""
    words = describe_labels(watch.changed_spans, config)
    if watch.changed_spans < config.scheduling.min_new_labels:
        return words
    quiet_at = watch.changed_at + timedelta(minutes=config.scheduling.label_quiet_minutes)
    if now < quiet_at:
        return (
            f"{words}, last changed at {watch.changed_at:%Y-%m-%d %H:%M:%S %Z}: waiting until nobody has labelled for "
            f"{config.scheduling.label_quiet_minutes} minutes (label_quiet_minutes), at the earliest {quiet_at:%H:%M:%S %Z}"
        )
    return None
