"""Decides if the active model is calibrated now: when calibrators are due, unless that would void a decision that awaits approval."""

from datetime import datetime

from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.retention import find_awaiting
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.cadence import DueDate, check_calibrator_update_due
from taskclf_dagster.home import Home


def assess_calibration(home: Home, *, now: datetime, cadence_days: int) -> DueDate:
    """Returns the due date of calibrating the active model, as `check_calibrator_update_due` does.

    While a decision awaits approval nothing is due: it was made with the present scores of the champion, and could not be approved after a
    change of the policy.
    """
    due = check_calibrator_update_due(home, now=now, cadence_days=cadence_days)
    if not due.due:
        return due
    state = read_registry_state(home)
    waiting = [decision.decision_id for decision in find_awaiting(state, list_decisions(home, state.receipts)[0])]
    if not waiting:
        return due
    reason = f"{due.reason}, but decision {waiting[0]} awaits approval, which a change of the policy would void"
    return DueDate(due=False, due_at=None, kind="not_due", reason=reason)
