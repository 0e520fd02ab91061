"""The envelope of an event: what every event says, whatever it is about, and how it looks as JSON.

Which events there are for a change of the model, a decision or a run is built in `outbox`, `decision_events` and `defs/run_events`; where
they go, in `delivery` and `sinks`.
"""

import sys
from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from taskclf_dagster.domain.storage.records import Record, presentable

EVENT_VERSION: Literal[1] = 1


MAX_REASON = 4000
"""Characters of a reason; the rest is cut."""


FIGURES = ("macro_f1", "weighted_f1")


EventType = Literal[
    "model.retrain.started",
    "model.retrain.completed",
    "model.retrain.skipped",
    "model.retrain.failed",
    "model.retrained",
    "model.promoted",
    "model.rejected",
    "model.awaiting_approval",
    "model.rolled_back",
    "model.pointer_repaired",
    "model.pointer_adopted",
]


def _cut(reason: object) -> object:
    return presentable(reason[:MAX_REASON]) if isinstance(reason, str) else reason


Utc = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]


Reason = Annotated[str | None, BeforeValidator(_cut)]


class _Envelope(Record):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class EventPayload(_Envelope):
    """What happened to which model.

    Attributes:
        model_id: the model that the event is about; None where there is none, as when a run starts.
        previous_version: the model that ran before.
        new_version: the model that runs since; None where nothing changed.
        metrics: macro_f1 and weighted_f1; None where they are not known.
        reason: why, in words, of at most MAX_REASON characters.
    """

    model_id: str | None = None
    previous_version: str | None = None
    new_version: str | None = None
    metrics: dict[str, float | None]
    reason: Reason = None


class Event(_Envelope):
    """One event. Its id follows from what it is about, so that an event that is written or sent again can be told from a new one.

    Attributes:
        occurred_at: when it happened, in UTC; not when it is told.
        run_id: the Dagster run; None where a person or another program acted.
    """

    event_id: EventId
    event_type: EventType
    event_version: Literal[1] = EVENT_VERSION
    occurred_at: Utc
    run_id: str | None = None
    payload: EventPayload

    @property
    def document(self) -> dict[str, object]:
        """The event as JSON, with the names of the envelope."""
        return {**self.model_dump(mode="json", by_alias=True), "occurredAt": self.occurred_at.isoformat()}


def pick_figures(values: Mapping[str, object] | None) -> dict[str, float | None]:
    """The metrics of a payload out of what may hold anything: what is no finite number is None."""
    return {name: _number((values or {}).get(name)) for name in FIGURES}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -sys.float_info.max <= value <= sys.float_info.max else None
