"""Hands events of the outbox to every sink, at least once: what was delivered, what waits, and when to try again.

How a sink takes an event is told in `sinks`. An event is removed only once every configured sink has it; what each has of those that
still wait is kept in one file, so that a sink that works gets nothing twice while another is down.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, Field, ValidationError

from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.outbox import DELIVERY, count_events, drop_oldest_events, event_path, read_outbox
from taskclf_dagster.domain.events.sinks import Sink, UnusableSink
from taskclf_dagster.domain.storage.files import read_json_object, write_json
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import EventRefusedError, SinkUnavailableError, UnreadableFileError
from taskclf_dagster.home import Home

BUDGET_SECONDS = 20.0
"""How long all sinks together may take."""


SHORTEST_ATTEMPT_SECONDS = 1.0


FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=30), timedelta(hours=1)


KEPT_WITHOUT_SINKS = 10_000


NOTHING_WAITS = "no events wait"


class Retry(Record):
    """That something failed, and when it is tried again.

    Attributes:
        failures: how often in a row.
        at: not before this time.
        problem: what was wrong the last time.
    """

    failures: int
    at: AwareDatetime
    problem: str


class SinkProgress(Record):
    """What is remembered of a sink.

    Attributes:
        delivered: ids of events that it has and that still wait for another sink.
        refused: events that it refused, by id.
        retry: set while it takes nothing.
    """

    delivered: list[str] = Field(default_factory=list)
    refused: dict[str, Retry] = Field(default_factory=dict)
    retry: Retry | None = None


class DeliveryProgress(Record):
    """What is remembered of all sinks, by name."""

    sinks: dict[str, SinkProgress] = Field(default_factory=dict)


@dataclass(frozen=True)
class SinkReport:
    """What became of the events of one sink.

    Attributes:
        delivered: events handed over now.
        waiting: events that it does not have yet.
        problem: why they wait; None where time was up.
        retry_at: when they are tried again; None is the next time.
    """

    name: str
    delivered: int
    waiting: int
    problem: str | None
    retry_at: datetime | None

    @property
    def words(self) -> list[str]:
        found = [f"{_events(self.delivered)} delivered to {self.name}"] if self.delivered else []
        when = "the next time" if self.retry_at is None else f"at {self.retry_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        verb = "waits" if self.waiting == 1 else "wait"
        if self.waiting:
            problem = f"{self.problem}, " if self.problem else ""
            found.append(f"{self.name}: {problem}{_events(self.waiting)} {verb}, tried again {when}")
        elif self.problem:
            found.append(f"{self.name}: {self.problem}")
        return found


@dataclass(frozen=True)
class DeliveryReport:
    """What a delivery did.

    Attributes:
        sinks: one report each.
        damaged: files of the outbox that are no events, with the reason.
        kept: events that stay because there is no sink; None where there is one.
        dropped: events that were removed because too many stayed.
    """

    sinks: list[SinkReport]
    damaged: dict[str, str]
    kept: int | None = None
    dropped: int = 0

    @property
    def words(self) -> str:
        """All of it, for a person."""
        found = [words for sink in self.sinks for words in sink.words]
        if self.kept is not None:
            found.append(f"events.sinks is empty: {_events(self.kept)} kept in the outbox")
        if self.dropped:
            found.append(f"the oldest {_events(self.dropped)} removed, because at most {KEPT_WITHOUT_SINKS} are kept without a sink")
        found += [f"artifacts/outbox/{name} is damaged and was passed over ({reason})" for name, reason in self.damaged.items()]
        return "; ".join(found) or NOTHING_WAITS


def deliver(
    home: Home, sinks: Sequence[Sink], *, now: datetime, stopwatch: Callable[[], float], budget: float = BUDGET_SECONDS
) -> DeliveryReport:
    """Sends what waits to every sink that may be tried now.

    Args:
        home: the taskclf home.
        sinks: all that are configured, also those that cannot be used: their events wait for them.
        now: the present time.
        stopwatch: gives seconds that only grow.
        budget: seconds that all sinks together may take; each has an equal share of what is left, so that none starves another.

    Raises:
        OSError: what was delivered cannot be remembered; nothing is lost, and what was sent since may come again.
    """
    if not sinks:
        dropped = drop_oldest_events(home, keep=KEPT_WITHOUT_SINKS)
        return DeliveryReport([], {}, kept=count_events(home), dropped=dropped)
    outbox = read_outbox(home)
    unique = {sink.name: sink for sink in sinks}
    tick = _Tick(home, outbox.events, list(unique), now, stopwatch)
    reports = []
    for number, sink in enumerate(unique.values()):
        share = (budget - tick.elapsed) / (len(unique) - number)
        reports.append(tick.serve(sink, until=tick.elapsed + share))
    tick.end()
    return DeliveryReport(reports, outbox.damaged)


class _Tick:
    """One delivery to all sinks."""

    def __init__(self, home: Home, events: list[Event], names: list[str], now: datetime, stopwatch: Callable[[], float]) -> None:
        self.home, self.now, self.stopwatch, self.begin = home, now, stopwatch, stopwatch()
        self.pending = {event.event_id: event for event in events}
        self.before = _read_progress(home)
        self.progress = {name: self._still_valid(self.before.sinks.get(name, SinkProgress())) for name in names}
        self.removed, self.is_writable = False, False

    @property
    def elapsed(self) -> float:
        return self.stopwatch() - self.begin

    @property
    def time(self) -> datetime:
        return self.now + timedelta(seconds=self.elapsed)

    def serve(self, sink: Sink, *, until: float) -> SinkReport:
        """Sends one event after the other until all are sent, the sink fails, or its time is up [elapsed seconds]."""
        delivered, attempts = 0, 0
        if isinstance(sink, UnusableSink):
            return SinkReport(sink.name, 0, len(self._waiting(sink.name)), sink.problem, None)
        if not self._is_due(self.progress[sink.name].retry):
            return self._report(sink.name, 0)
        for event in self._waiting(sink.name):
            if not self._is_due(self.progress[sink.name].refused.get(event.event_id)):
                continue
            left = until - self.elapsed
            if attempts and left < sink.timeout_seconds:
                break  # what is begun has its whole time
            attempts += 1
            self._require_writable()
            try:
                sink.send(event, at=self.time, timeout=max(left, SHORTEST_ATTEMPT_SECONDS))
            except EventRefusedError as error:
                self._refused(sink.name, event, error.reason)
            except SinkUnavailableError as error:
                self._failed(sink.name, error.reason)
                break
            else:
                self._delivered(sink.name, event)
                delivered += 1
        return self._report(sink.name, delivered)

    def end(self) -> None:
        """Removes what only a former sink was waiting for, makes removals durable, and forgets what no longer waits."""
        for event_id in list(self.pending):
            self._remove_if_done(event_id)
        if self.removed:
            file_system().sync_folder(self.home.outbox)
        self.progress = {name: self._still_valid(progress) for name, progress in self.progress.items()}
        if self._worth_remembering() != self.before:
            self._save()

    def _waiting(self, name: str) -> list[Event]:
        has = set(self.progress[name].delivered)
        return [event for event in self.pending.values() if event.event_id not in has]

    def _is_due(self, retry: Retry | None) -> bool:
        """Whether to try; a time further away than any wait is one of a clock that was wrong."""
        return retry is None or not self.time < retry.at <= self.time + LONGEST_RETRY

    def _delivered(self, name: str, event: Event) -> None:
        progress = self.progress[name]
        refused = {event_id: retry for event_id, retry in progress.refused.items() if event_id != event.event_id}
        delivered = [*progress.delivered, event.event_id]
        self.progress[name] = SinkProgress(delivered=delivered, refused=refused)
        if not self._remove_if_done(event.event_id):
            self._save()

    def _remove_if_done(self, event_id: str) -> bool:
        if not all(event_id in progress.delivered for progress in self.progress.values()):
            return False
        file_system().remove_file(event_path(self.home, event_id))
        del self.pending[event_id]
        self.removed = True
        return True

    def _refused(self, name: str, event: Event, problem: str) -> None:
        progress = self.progress[name]
        refused = {**progress.refused, event.event_id: self._later(progress.refused.get(event.event_id), problem)}
        self.progress[name] = progress.model_copy(update={"refused": refused, "retry": None})
        self._save()

    def _failed(self, name: str, problem: str) -> None:
        progress = self.progress[name]
        self.progress[name] = progress.model_copy(update={"retry": self._later(progress.retry, problem)})
        self._save()

    def _later(self, before: Retry | None, problem: str) -> Retry:
        failures = 1 if before is None else before.failures + 1
        wait = min(FIRST_RETRY * 2 ** min(failures - 1, 20), LONGEST_RETRY)
        return Retry(failures=failures, at=self.time + wait, problem=problem)

    def _report(self, name: str, delivered: int) -> SinkReport:
        waiting, progress = self._waiting(name), self.progress[name]
        if progress.retry is not None and waiting:
            return SinkReport(name, delivered, len(waiting), progress.retry.problem, progress.retry.at)
        refused = [progress.refused[event.event_id] for event in waiting if event.event_id in progress.refused]
        if refused and len(refused) == len(waiting):
            return SinkReport(name, delivered, len(waiting), refused[0].problem, min(retry.at for retry in refused))
        return SinkReport(name, delivered, len(waiting), None, None)

    def _still_valid(self, progress: SinkProgress) -> SinkProgress:
        """Without events that wait no longer; a sink that nothing waits for keeps its failures."""
        return progress.model_copy(
            update={
                "delivered": [event_id for event_id in progress.delivered if event_id in self.pending],
                "refused": {event_id: retry for event_id, retry in progress.refused.items() if event_id in self.pending},
            }
        )

    def _require_writable(self) -> None:
        """Nothing is sent where it could not be remembered, or a full disk would send it again each time."""
        if not self.is_writable:
            self._save()
            self.is_writable = True

    def _worth_remembering(self) -> DeliveryProgress:
        return DeliveryProgress(sinks={name: progress for name, progress in self.progress.items() if progress != SinkProgress()})

    def _save(self) -> None:
        write_json(self.home.outbox / DELIVERY, self._worth_remembering().model_dump(mode="json"))


def _read_progress(home: Home) -> DeliveryProgress:
    """What was remembered; nothing where the file is missing or damaged, so that events come again rather than get lost."""
    try:
        return DeliveryProgress.model_validate(read_json_object(home.outbox / DELIVERY))
    except (UnreadableFileError, ValidationError):
        return DeliveryProgress()


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number} events"
