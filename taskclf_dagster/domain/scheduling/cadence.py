"""Due dates of retrains and calibrator updates: arithmetic on times that are passed in."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.models.bundle import parse_bundle
from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.models.calibrator_store import STORE
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.inference_policy import read_policy_file
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.path_names import find_path_problem
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import BundleError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

AT_ONCE = timedelta(minutes=5)
"""The time by which a moment may be in the future and count as now: it was written while the present time was already read, or by another
clock."""

DueKind = Literal["never_done", "clock_set_back", "due", "not_due"]


class DueDate(Record):
    """A due date with its reason.

    Attributes:
        due: True if the date has come.
        due_at: the date; None if it is due whatever the time.
        kind: `never_done`: there is no earlier one to count from. `clock_set_back`: the earlier one is in the future.
        reason: a message with age and bound.
    """

    due: bool
    due_at: datetime | None
    kind: DueKind
    reason: str


def check_retrain_due(last: LastDecided | None, *, now: datetime, cadence_days: int, slack: timedelta = timedelta(0)) -> DueDate:
    """Returns the due date of a retrain by cadence, counted from the last decided run.

    A last run in the future (the clock was set back) makes it due, so that a wrong date never stops retraining.

    Args:
        last: the last decided run.
        now: the present time.
        cadence_days: days from one decided run to the next.
        slack: a retrain that is due within this time counts as due.
    """
    return _due("retrain", None if last is None else last.decided_at, now, cadence_days, "no retrain was ever decided for this home", slack)


def check_model_age(
    home: Home, last: LastDecided | None, *, now: datetime, max_days: int, cadence_days: int, slack: timedelta = timedelta(0)
) -> DueDate | None:
    """Returns the date at which the active model is too old, so that a retrain is due although no label is new; None if unknown.

    A challenger that was trained and not promoted delays this by one cadence, so that the same data is not used every day. A model
    from the future (of a wrong clock) counts as old, so that a wrong date never stops retraining.

    Args:
        home: the taskclf home.
        last: the last decided run.
        now: the present time.
        max_days: age at which a model is too old [days].
        cadence_days: days from one challenger to the next.
        slack: a retrain that is due within this time counts as due.
    """
    return judge_age(_find_created_at(home), last, now=now, max_days=max_days, cadence_days=cadence_days, slack=slack)


def judge_age(
    created: datetime | None,
    last: LastDecided | None,
    *,
    now: datetime,
    max_days: int,
    cadence_days: int,
    slack: timedelta = timedelta(0),
) -> DueDate | None:
    """Returns what `check_model_age` does, for an active model that was trained at `created`; None if that is not known."""
    if created is None:
        return None
    tried = None if last is None or last.trained_at is None or last.trained_at > now else last.trained_at
    old_at = created + timedelta(days=max_days) if created <= now else now
    due_at = old_at if tried is None else max(old_at, tried + timedelta(days=cadence_days))
    due = due_at <= now + slack
    state = "is too old" if due else f"is not too old before {due_at:%Y-%m-%d %H:%M %Z}"
    age = f"{(now - created) / timedelta(days=1):.1f} days ago" if created <= now else f"in the future ({created:%Y-%m-%d %H:%M %Z})"
    reason = f"the active model {state}: it was trained {age}, max_days_since_training is {max_days}"
    if tried is not None and due_at > old_at:
        reason += (
            f"; another challenger was trained {(now - tried) / timedelta(days=1):.1f} days ago, cadence is {counted(cadence_days, 'day')}"
        )
    kind: DueKind = "clock_set_back" if created > now else "due" if due else "not_due"
    return DueDate(due=due, due_at=due_at, kind=kind, reason=reason)


def check_calibrator_update_due(home: Home, *, now: datetime, cadence_days: int) -> DueDate:
    """Returns the due date of fitting calibrators, counted from `created_at` of the store that the inference policy names.

    They are due at once if it names none, as after a promotion. Without a policy, the store is taskclf's own.
    """
    path = home.calibrator_store
    never = "no calibrators were ever fitted"
    policy = read_policy_file(home)
    if policy.document is not None and not policy.is_template:
        named = policy.document.get("calibrator_store_dir")
        never = f"{home.inference_policy.name} names no calibrators for its model"
        if not isinstance(named, str) or find_path_problem(named) is not None:
            return _due("calibrator update", None, now, cadence_days, never)
        path, never = home.root / named / STORE, f"the calibrators in {named} do not exist"
    if not path.exists():
        return _due("calibrator update", None, now, cadence_days, never)
    try:
        created = datetime.fromisoformat(str(read_json_object(path).get("created_at")))
    except (UnreadableFileError, ValueError):
        return _due("calibrator update", None, now, cadence_days, f"{path} has no created_at")
    return _due("calibrator update", created if created.tzinfo else created.replace(tzinfo=UTC), now, cadence_days, never)


def _find_created_at(home: Home) -> datetime | None:
    """Returns the creation time of the active model; None if there is no active model, or its metadata is not usable."""
    active = find_active_model(read_registry_state(home))
    if active.model_id is None or active.model_dir is None:
        return None
    try:
        metadata = parse_bundle(resolve_model_dir(home, active.model_dir)).metadata
    except BundleError:
        return None
    return None if metadata is None else metadata.created_at


def _due(what: str, since: datetime | None, now: datetime, cadence_days: int, never: str, slack: timedelta = timedelta(0)) -> DueDate:
    if since is None:
        return DueDate(due=True, due_at=None, kind="never_done", reason=f"{what} is due: {never}")
    if now < since <= now + AT_ONCE:
        since = now
    if since > now:
        reason = f"{what} is due: the last one is in the future ({since:%Y-%m-%d %H:%M %Z})"
        return DueDate(due=True, due_at=None, kind="clock_set_back", reason=reason)
    due_at = since + timedelta(days=cadence_days)
    age = (now - since) / timedelta(days=1)
    due = now + slack >= due_at
    state = "is due" if due else f"is not due before {due_at:%Y-%m-%d %H:%M %Z}"
    reason = f"{what} {state}: the last one was {age:.1f} days ago, cadence is {counted(cadence_days, 'day')}"
    return DueDate(due=due, due_at=due_at, kind="due" if due else "not_due", reason=reason)
