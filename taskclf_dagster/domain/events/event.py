"""The envelope of an event: its keys, and its JSON. The types are in `config.event_types`.

`registry/history_events`, `decision/decision_events`, `monitoring/live_performance` and `defs/events/run_events` build the events;
`delivery` sends them.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from taskclf_dagster.config.event_types import EventType
from taskclf_dagster.domain.storage.records import Record, replace_unrepresentable

EVENT_VERSION: Literal[1] = 1


MAX_REASON = 4000
"""Length of a reason; the rest is cut."""


METRICS = ("macro_f1", "weighted_f1", "windows")


def _cut(reason: object) -> object:
    return replace_unrepresentable(reason[:MAX_REASON]) if isinstance(reason, str) else reason


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        msg = "it is no time in UTC"
        raise ValueError(msg) from error


Utc = Annotated[AwareDatetime, AfterValidator(_to_utc)]


EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,199}$")]
"""No full stop: it separates the parts of a signed webhook."""


Reason = Annotated[str | None, BeforeValidator(_cut)]


class _Envelope(Record):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class EventPayload(_Envelope):
    """The models of an event, their metrics, and the reason.

    Attributes:
        model_id: the model that the event is about; None if there is none, as when a run starts.
        previous_version: the model that was active before.
        new_version: the model that is active now; None if nothing changed.
        metrics: macro_f1 and weighted_f1, and the number of windows that they are on; None if unknown.
        reason: at most MAX_REASON characters.
    """

    model_id: str | None = None
    previous_version: str | None = None
    new_version: str | None = None
    metrics: dict[str, float | None]
    reason: Reason = None


class Event(_Envelope):
    """One event. Its id follows from its subject, so that an event that is written or sent again has the same id.

    Attributes:
        occurred_at: the time when it happened, in UTC; not when it is sent.
        run_id: the Dagster run; None if a person or another program acted.
    """

    event_id: EventId
    event_type: EventType
    event_version: Literal[1] = EVENT_VERSION
    occurred_at: Utc
    run_id: str | None = None
    payload: EventPayload

    @property
    def document(self) -> dict[str, object]:
        """The event as JSON, with the keys of the envelope."""
        return {**self.model_dump(mode="json", by_alias=True), "occurredAt": self.occurred_at.isoformat()}


def pick_metrics(values: Mapping[str, object] | None) -> dict[str, float | None]:
    """Returns the metrics of a payload from any values; one that is not a finite number is None."""
    return {name: _number((values or {}).get(name)) for name in METRICS}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -sys.float_info.max <= value <= sys.float_info.max else None
