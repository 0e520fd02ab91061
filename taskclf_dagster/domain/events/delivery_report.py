"""The report of a delivery: what each sink got, what waits, and when it is retried."""

from dataclasses import dataclass
from datetime import UTC, datetime

from taskclf_dagster.shown_text import counted

NOTHING_WAITS = "no events wait"


@dataclass(frozen=True)
class SinkReport:
    """The result of a delivery for one sink.

    Attributes:
        delivered: number of events delivered now.
        waiting: number of events that it does not have yet.
        problem: the reason why they wait; None if only the time was up.
        retry_at: time of the next attempt; None for the next tick.
    """

    name: str
    delivered: int
    waiting: int
    problem: str | None
    retry_at: datetime | None

    @property
    def summary(self) -> list[str]:
        found = [f"{counted(self.delivered, 'event')} delivered to {self.name}"] if self.delivered else []
        when = "at the next tick" if self.retry_at is None else f"at {self.retry_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        verb = "waits" if self.waiting == 1 else "wait"
        if self.waiting:
            problem = f"{self.problem}, " if self.problem else ""
            found.append(f"{self.name}: {problem}{counted(self.waiting, 'event')} {verb}, retried {when}")
        elif self.problem:
            found.append(f"{self.name}: {self.problem}")
        return found


@dataclass(frozen=True)
class DeliveryReport:
    """The result of a delivery.

    Attributes:
        sinks: one report each.
        damaged: files of the outbox that are not events, with the reason.
        kept: number of events that stay because there is no sink; None if there is one.
        dropped: number of events that were removed because too many stayed.
        keep_at_most: number of events that stay without a sink.
    """

    sinks: list[SinkReport]
    damaged: dict[str, str]
    kept: int | None = None
    dropped: int = 0
    keep_at_most: int = 0

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to report."""
        sinks = any(sink.delivered or sink.waiting or sink.problem for sink in self.sinks)
        return not (sinks or self.kept is not None or self.dropped or self.damaged)

    @property
    def summary(self) -> str:
        found = [line for sink in self.sinks for line in sink.summary]
        if self.kept is not None:
            found.append(f"events.sinks is empty: {counted(self.kept, 'event')} kept in the outbox")
        if self.dropped:
            found.append(
                f"the oldest {counted(self.dropped, 'event')} removed, because at most {self.keep_at_most} are kept without a sink"
            )
        found += [f"artifacts/outbox/{name} is damaged and was skipped ({reason})" for name, reason in self.damaged.items()]
        return "; ".join(found) or NOTHING_WAITS
