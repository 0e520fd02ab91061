"""Events of a decision that is in effect: a model was trained and judged, was rejected, or awaits approval.

Events of pointer changes are in `registry.history_events`, those of runs in `defs.events.run_events`.
"""

from datetime import datetime

from taskclf_dagster.config.event_types import EventType
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.outbox import REPORTED_DECISION, write_event
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

_VERDICTS: dict[str, tuple[str, EventType]] = {
    "REJECT": ("rejected", "model.rejected"),
    "AWAITING_APPROVAL": ("awaiting", "model.awaiting_approval"),
}


def build_decision_events(decision: PromotionDecision, *, run_id: str, at: datetime) -> list[Event]:
    """Returns the events of a decision: `model.retrained`, and one for the verdict; their ids follow from the decision.

    Args:
        decision: the receipt; no dry run.
        run_id: the run in which it took effect.
        at: the time at which it took effect.
    """
    kinds: list[tuple[str, EventType]] = [("retrained", "model.retrained")]
    if decision.verdict in _VERDICTS:
        kinds.append(_VERDICTS[decision.verdict])
    payload = describe_decision(decision, reason=decision.reason)
    return [
        Event(event_id=f"{decision.decision_id}-{kind}", event_type=event_type, occurred_at=at, run_id=run_id, payload=payload)
        for kind, event_type in kinds
    ]


def describe_decision(decision: PromotionDecision, *, reason: str) -> EventPayload:
    """Returns the payload for a decision: the challenger with its metrics, the champion as previous version; new only if promoted."""
    champion = decision.champion.model
    return EventPayload(
        model_id=decision.challenger.model_id,
        previous_version=None if champion is None else champion.model_id,
        new_version=decision.challenger.model_id if decision.moves_pointer else None,
        metrics=pick_metrics(score_fairly(decision)[1].model_dump()),
        reason=reason,
    )


def write_decision_events(
    home: Home, last: LastDecided | None = None, decision: PromotionDecision | None = None, reported: object = None
) -> object:
    """Writes the events of the last decided run unless they were written already; a run that decided nothing has none.

    Args:
        home: the taskclf home.
        last: the last decided run if its file was just written.
        decision: its decision if that is known.
        reported: id of the decision whose events were written last if that is known.

    Returns:
        The id of the decision whose events were written last; None if there is none.

    Raises:
        OSError: they could not be written; the next call writes them.
    """
    last, reported = last or read_last_decided(home), reported or _read_reported(home)
    if last is None or last.decision_id is None or last.decision_id == reported:
        return reported
    decision = decision or read_decision(home, last.decision_id)
    if decision is None or decision.options.dry_run:
        return reported
    for event in build_decision_events(decision, run_id=last.run_id, at=last.decided_at):
        write_event(home, event)
    write_json(home.outbox / REPORTED_DECISION, {"decision_id": decision.decision_id})
    return decision.decision_id


def _read_reported(home: Home) -> object:
    try:
        return read_json_object(home.outbox / REPORTED_DECISION).get("decision_id")
    except UnreadableFileError:
        return None
