"""Delivers events of the outbox to every sink, at least once.

An event is removed once every configured sink has it; `delivery_state` keeps what each has of those that still wait, so that a sink that
works gets nothing twice while another is down. How a sink sends is in `sinks`, `webhook`, `redis_stream` and `apprise_service`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from taskclf_dagster.domain.events.delivery_report import DeliveryReport, SinkReport
from taskclf_dagster.domain.events.delivery_state import (
    DeliveryState,
    RetryState,
    SinkState,
    is_retry_due,
    plan_retry,
    read_delivery_state,
    write_delivery_state,
)
from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.outbox import count_events, drop_oldest_events, event_path, read_outbox
from taskclf_dagster.domain.events.sinks import DigestSink, Sink, UnusableSink, wants
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.errors import EventRefusedError, SinkUnavailableError
from taskclf_dagster.home import Home

BUDGET_SECONDS = 20.0
"""The time that all sinks together may take."""


SHORTEST_ATTEMPT_SECONDS = 1.0


KEPT_WITHOUT_SINKS = 10_000


def deliver(
    home: Home, sinks: Sequence[Sink], *, now: datetime, stopwatch: Callable[[], float], budget: float = BUDGET_SECONDS
) -> DeliveryReport:
    """Sends the waiting events to every sink that is due.

    Args:
        home: the taskclf home.
        sinks: all configured sinks; the events of one that cannot be used wait.
        now: the present time.
        stopwatch: returns seconds that only increase.
        budget: the time that all sinks together may take [s]; each has an equal share of the rest, so that none starves another.

    Raises:
        OSError: the outbox cannot be written; no event is lost, and one that was just sent may be sent again.
    """
    if not sinks:
        dropped = drop_oldest_events(home, keep=KEPT_WITHOUT_SINKS)
        return DeliveryReport([], {}, kept=count_events(home), dropped=dropped, keep_at_most=KEPT_WITHOUT_SINKS)
    outbox = read_outbox(home)
    unique = {sink.name: sink for sink in sinks}
    delivery = _Delivery(home, outbox.events, list(unique.values()), now, stopwatch)
    reports = []
    for number, sink in enumerate(unique.values()):
        share = (budget - delivery.elapsed) / (len(unique) - number)
        reports.append(delivery.send_all(sink, until=delivery.elapsed + share))
    delivery.finish()
    return DeliveryReport(reports, outbox.damaged)


class _Delivery:
    """One delivery to all sinks: the waiting events, the state of each sink, and the time.

    Attributes:
        pending: waiting events by id; one that every sink has is removed.
        states: state by name of the sink.
    """

    def __init__(self, home: Home, events: list[Event], sinks: list[Sink], now: datetime, stopwatch: Callable[[], float]) -> None:
        self.home, self.sinks, self.now, self.stopwatch, self.begin = home, sinks, now, stopwatch, stopwatch()
        self.pending = {event.event_id: event for event in events}
        self.stored = read_delivery_state(home)
        self.states = {sink.name: self._without_finished_events(self.stored.sinks.get(sink.name, SinkState())) for sink in sinks}
        self.removed, self.is_writable = False, False

    @property
    def elapsed(self) -> float:
        return self.stopwatch() - self.begin

    @property
    def time(self) -> datetime:
        return self.now + timedelta(seconds=self.elapsed)

    def send_all(self, sink: Sink, *, until: float) -> SinkReport:
        """Sends one event after the other until all are sent, the sink fails, or its time is up [s elapsed]."""
        if isinstance(sink, UnusableSink):
            return SinkReport(sink.name, 0, len(self._waiting(sink)), sink.problem, None)
        delivered = 0
        if is_retry_due(self.states[sink.name].retry, now=self.time):
            events = [event for event in self._waiting(sink) if is_retry_due(self._refusal(sink, event), now=self.time)]
            try:
                if isinstance(sink, DigestSink) and len(events) > sink.most_single:
                    delivered += self._send_digest(sink, events, timeout=max(until - self.elapsed, SHORTEST_ATTEMPT_SECONDS))
                    events = []
                for attempts, event in enumerate(events):
                    left = until - self.elapsed
                    if attempts and left < sink.timeout_seconds:
                        break  # an attempt that is begun has its whole timeout
                    delivered += self._send(sink, event, timeout=max(left, SHORTEST_ATTEMPT_SECONDS))
            except SinkUnavailableError as error:
                self._save_failure(sink.name, error)
        return self._report(sink, delivered)

    def finish(self) -> None:
        """Removes events that no sink waits for, syncs removals, and drops the state of finished events."""
        for event_id in list(self.pending):
            self._remove_if_finished(event_id)
        if self.removed:
            file_system().sync_folder(self.home.outbox)
        self.states = {name: self._without_finished_events(state) for name, state in self.states.items()}
        if self._state() != self.stored:
            write_delivery_state(self.home, self._state())

    def _send(self, sink: Sink, event: Event, *, timeout: float) -> bool:
        """Returns True if the sink has the event, False if it refused it.

        Raises:
            SinkUnavailableError: the sink accepts nothing now.
        """
        self._require_writable()
        try:
            sink.send(event, at=self.time, timeout=timeout)
        except EventRefusedError as error:
            self._save_refusal(sink.name, event, error.reason)
            return False
        self._save_delivered(sink.name, [event])
        return True

    def _send_digest(self, sink: DigestSink, events: list[Event], *, timeout: float) -> int:
        """Sends one message about several events.

        Returns:
            The number of events.

        Raises:
            SinkUnavailableError: the sink accepts nothing now.
        """
        self._require_writable()
        sink.send_digest(events, at=self.time, timeout=timeout)
        self._save_delivered(sink.name, events)
        return len(events)

    def _waiting(self, sink: Sink) -> list[Event]:
        delivered = set(self.states[sink.name].delivered)
        return [event for event in self.pending.values() if wants(sink, event) and event.event_id not in delivered]

    def _refusal(self, sink: Sink, event: Event) -> RetryState | None:
        return self.states[sink.name].refused.get(event.event_id)

    def _save_delivered(self, name: str, events: list[Event]) -> None:
        state, ids = self.states[name], [event.event_id for event in events]
        refused = {event_id: retry for event_id, retry in state.refused.items() if event_id not in ids}
        self.states[name] = SinkState(delivered=[*state.delivered, *ids], refused=refused)
        if len(ids) > 1:  # before any is removed: after a crash the digest is not sent again
            write_delivery_state(self.home, self._state())
        finished = [self._remove_if_finished(event_id) for event_id in ids]
        if not all(finished):
            write_delivery_state(self.home, self._state())

    def _save_refusal(self, name: str, event: Event, problem: str) -> None:
        state = self.states[name]
        retry = plan_retry(state.refused.get(event.event_id), now=self.time, problem=problem)
        self.states[name] = state.model_copy(update={"refused": {**state.refused, event.event_id: retry}, "retry": None})
        write_delivery_state(self.home, self._state())

    def _save_failure(self, name: str, error: SinkUnavailableError) -> None:
        state = self.states[name]
        retry = plan_retry(state.retry, now=self.time, problem=error.reason, wait_seconds=error.wait_seconds)
        self.states[name] = state.model_copy(update={"retry": retry})
        write_delivery_state(self.home, self._state())

    def _remove_if_finished(self, event_id: str) -> bool:
        event = self.pending[event_id]
        if not all(event_id in self.states[sink.name].delivered or not wants(sink, event) for sink in self.sinks):
            return False
        file_system().remove_file(event_path(self.home, event_id))
        del self.pending[event_id]
        self.removed = True
        return True

    def _report(self, sink: Sink, delivered: int) -> SinkReport:
        name, waiting, state = sink.name, self._waiting(sink), self.states[sink.name]
        cause: RetryState | None = state.retry if waiting else None
        refused = [state.refused[event.event_id] for event in waiting if event.event_id in state.refused]
        if cause is None and refused and len(refused) == len(waiting):
            cause = refused[0].model_copy(update={"retry_at": min(retry.retry_at for retry in refused)})
        if cause is None:
            return SinkReport(name, delivered, len(waiting), None, None)
        return SinkReport(name, delivered, len(waiting), cause.problem, cause.retry_at)

    def _without_finished_events(self, state: SinkState) -> SinkState:
        """Returns a state without events that wait no longer; the failures of the sink stay."""
        return state.model_copy(
            update={
                "delivered": [event_id for event_id in state.delivered if event_id in self.pending],
                "refused": {event_id: retry for event_id, retry in state.refused.items() if event_id in self.pending},
            }
        )

    def _require_writable(self) -> None:
        """Writes the state before the first event is sent: on a full disk, events would be sent again at every tick."""
        if not self.is_writable:
            write_delivery_state(self.home, self._state())
            self.is_writable = True

    def _state(self) -> DeliveryState:
        return DeliveryState(sinks={name: state for name, state in self.states.items() if state != SinkState()})
