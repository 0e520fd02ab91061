"""Label arrival: enough label spans changed since the last decided run, and labeling has paused.

The store is identified by its content: a rewritten file with the same spans is unchanged. The caller keeps the result of each check;
nothing here writes. The sensor launches the run.
"""

from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, ValidationError

from taskclf_dagster.config.settings import SchedulingSettings
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans, watermark
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.scheduling.triggers import describe_changed_spans
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted


class LabelStoreState(Record):
    """The state of the label store at the last check, so that an unchanged file is not read again.

    Attributes:
        signature: size, time and inode of the file; "" if it does not exist.
        watermark: the label watermark.
        changed_at: time of the last change of the content.
        decided: label watermark of the last decided run, against which changes are counted; None if there is none.
        changed_spans: spans new, edited or deleted since then.
        blockers: messages of the blocking checks of a run on this content, as assessed on `assessed_on`.
        assessed_on: the day (UTC) of that assessment; None if there was none.
    """

    signature: str
    watermark: str
    changed_at: AwareDatetime
    decided: str | None
    changed_spans: int
    blockers: tuple[str, ...] = ()
    assessed_on: str | None = None


def check_label_store(home: Home, before: LabelStoreState | None, last: LastDecided | None, *, now: datetime) -> LabelStoreState:
    """Checks the label store; reads it only if the file or the last decided run has changed since the last check.

    Args:
        home: the taskclf home.
        before: the result of the last check; None for the first.
        last: the last decided run.
        now: the present time.

    Raises:
        UnreadableFileError: the label store cannot be read.
        OSError: its status cannot be read.
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
    return LabelStoreState(
        signature=signature,
        watermark=mark,
        changed_at=min(now, written_at if known is None else known.changed_at),
        decided=decided,
        changed_spans=count_changed_spans(home.decisions, decided, fingerprints),
        blockers=() if known is None else known.blockers,
        assessed_on=None if known is None else known.assessed_on,
    )


def read_label_store_state(text: str | None) -> LabelStoreState | None:
    """Returns the result of the last check from a sensor's cursor; None if there is none, or it is of another version."""
    try:
        return None if text is None else LabelStoreState.model_validate_json(text)
    except ValidationError:
        return None


def check_label_arrival(state: LabelStoreState, *, settings: SchedulingSettings, now: datetime) -> SkipReason | None:
    """Returns the reason why the labels do not trigger a retrain yet; None if they do."""
    message = describe_changed_spans(state.changed_spans, settings)
    if state.changed_spans < settings.min_new_labels:
        return SkipReason(kind="few_labels", message=message)
    quiet_at = state.changed_at + timedelta(minutes=settings.label_quiet_minutes)
    if now < quiet_at:
        message += (
            f", last changed at {state.changed_at:%Y-%m-%d %H:%M:%S %Z}: waiting until no label has changed for "
            f"{counted(settings.label_quiet_minutes, 'minute')} (label_quiet_minutes), at the earliest {quiet_at:%H:%M:%S %Z}"
        )
        return SkipReason(kind="labeling", message=message)
    return None
