"""When a retrain or a calibrator update is due: arithmetic on times that are passed in.

What a run decided belongs to `decision`; that it decided, and what it had seen, is remembered here.
"""

from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, ValidationError

from taskclf_dagster.domain.files import Record, read_json_object, write_json
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

LAST_DECIDED = "last_decided.json"


class LastDecided(Record):
    """The last run that came to a decision or found nothing new; dry runs do not count.

    Attributes:
        outcome: the verdict, or SKIP.
        decided_at: when, by the clock; cadence counts from here.
        snapshot_path: the snapshot last decided on, relative to the home; a skip keeps the one before.
        label_watermark: names the content of the label store that the run saw.
    """

    outcome: str
    decided_at: AwareDatetime
    as_of: AwareDatetime
    run_id: str
    decision_id: str | None
    dataset_hash: str
    snapshot_path: str
    label_watermark: str


class Due(Record):
    """Whether something is due, since or until when, and why."""

    due: bool
    due_at: datetime | None
    reason: str


def check_retrain_due(last: LastDecided | None, *, now: datetime, cadence_days: int) -> Due:
    """Whether a retrain is due by cadence, counted from the last decided run.

    A last run that lies in the future (the clock went back) makes it due, so that a wrong date can never stop retraining.
    """
    return _due("retrain", None if last is None else last.decided_at, now, cadence_days, "no retrain was ever decided for this home")


def check_calibrator_update_due(home: Home, *, now: datetime, cadence_days: int) -> Due:
    """Whether the calibrators are due for fitting, counted from the store's created_at."""
    path = home.calibrator_store
    never = "no calibrators were ever fitted"
    if not path.exists():
        return _due("calibrator update", None, now, cadence_days, never)
    try:
        created = datetime.fromisoformat(str(read_json_object(path).get("created_at")))
    except (UnreadableFileError, ValueError):
        return _due("calibrator update", None, now, cadence_days, f"{path} tells no created_at")
    return _due("calibrator update", created if created.tzinfo else created.replace(tzinfo=UTC), now, cadence_days, never)


def read_last_decided(home: Home) -> LastDecided | None:
    """The last decided run; None where there is none or its file is damaged, which makes a retrain due."""
    path = home.decisions / LAST_DECIDED
    if not path.exists():
        return None
    try:
        return LastDecided.model_validate(read_json_object(path))
    except (UnreadableFileError, ValidationError):
        return None


def write_last_decided(home: Home, last: LastDecided) -> None:
    """Remembers a decided run."""
    write_json(home.decisions / LAST_DECIDED, last.model_dump(mode="json"))


def _due(what: str, since: datetime | None, now: datetime, cadence_days: int, never: str) -> Due:
    if since is None:
        return Due(due=True, due_at=None, reason=f"{what} is due: {never}")
    if since > now:
        return Due(due=True, due_at=None, reason=f"{what} is due: the last one lies in the future ({since:%Y-%m-%d %H:%M %Z})")
    due_at = since + timedelta(days=cadence_days)
    age = (now - since) / timedelta(days=1)
    state = "is due" if now >= due_at else f"is not due before {due_at:%Y-%m-%d %H:%M %Z}"
    reason = f"{what} {state}: the last one was {age:.1f} days ago, cadence is {cadence_days} days"
    return Due(due=now >= due_at, due_at=due_at, reason=reason)
