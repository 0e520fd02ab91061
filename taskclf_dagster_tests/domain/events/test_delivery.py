"""Delivery: at least once to every sink, nothing lost, nothing twice for a sink that works, and no sink starves another."""

import errno
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.events import delivery
from taskclf_dagster.domain.events.delivery import deliver
from taskclf_dagster.domain.events.delivery_report import DeliveryReport, SinkReport
from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.outbox import read_outbox, write_event
from taskclf_dagster.domain.events.redis_stream import RedisStream
from taskclf_dagster.domain.events.sinks import JsonLinesFile, Sink, UnusableSink
from taskclf_dagster.domain.events.webhook import Webhook
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.errors import SinkUnavailableError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, OLD, contents
from taskclf_dagster_tests.receivers import NOON, Receiver, an_event, http_receiver, redis_server
from taskclf_dagster_tests.registry_scenario import promoted, read
from taskclf_dagster_tests.scenario import make_home

SECOND = timedelta(seconds=1)


@dataclass
class Stopwatch:
    """Stands still unless something takes time."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Slow:
    """A sink that takes its time, by a stopwatch that only it moves; it gives up when its timeout is over."""

    stopwatch: Stopwatch
    takes: float
    name: str = "slow-1"
    timeout_seconds: float = 5.0
    events: frozenset[str] | None = None
    took: list[str] = field(default_factory=list)

    def send(self, event: Event, *, at: datetime, timeout: float) -> None:
        self.stopwatch.seconds += min(self.takes, timeout, self.timeout_seconds)
        if self.takes > min(timeout, self.timeout_seconds):
            raise SinkUnavailableError(self.name, f"no answer within {min(timeout, self.timeout_seconds):g} s", kind="timeout")
        self.took.append(event.event_id)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


def put(home: Home, *numbers: int) -> None:
    for number in numbers:
        write_event(home, an_event(number))


def waiting(home: Home) -> list[str]:
    return [event.event_id for event in read_outbox(home).events]


def lines(home: Home) -> JsonLinesFile:
    return JsonLinesFile("jsonl-1", home.root / "artifacts" / "events" / "events.jsonl")


def hook(receiver: Receiver, **changes: object) -> Webhook:
    return Webhook("webhook-1", receiver.url, **changes)  # type: ignore[arg-type]


def in_file(home: Home) -> list[str]:
    return [json.loads(line)["eventId"] for line in lines(home).path.read_text(encoding="utf-8").splitlines()]


def tick(home: Home, sinks: Sequence[Sink], *, after: float = 0.0, **options: object) -> DeliveryReport:
    """A delivery so many seconds after noon."""
    return deliver(home, sinks, now=NOON + after * SECOND, stopwatch=Stopwatch(), **options)  # type: ignore[arg-type]


class FailingAt(FileSystem):
    """A file system on which one kind of call fails for one file: an outbox on a full disk, or a process that dies there."""

    def __init__(self, call: str, name: str) -> None:
        self.call, self.name = call, name

    def _fail(self, call: str, path: Path) -> None:
        if call == self.call and self.name in path.name:
            raise OSError(errno.ENOSPC, "full", str(path))

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        self._fail("create", path)
        super().create(path, content)

    def remove_file(self, path: Path) -> None:
        self._fail("remove_file", path)
        super().remove_file(path)


# --- What works -------------------------------------------------------------------------------------------------------------------


@pytest.mark.server
def test_every_sink_gets_every_event_once_and_then_the_outbox_is_empty(home: Home, receiver: Receiver, tmp_path: Path) -> None:
    put(home, 1, 2, 3)
    with redis_server(tmp_path) as server:
        sinks = [lines(home), hook(receiver), RedisStream("redis-1", server.url, stream="ml:run-events", max_length=10)]
        report = tick(home, sinks)
        tick(home, sinks, after=30)
        in_stream = [event["eventId"] for event in server.events()]
    assert in_file(home) == receiver.received == in_stream == ["event-1", "event-2", "event-3"]
    assert waiting(home) == []
    assert [(sink.name, sink.delivered, sink.waiting) for sink in report.sinks] == [
        ("jsonl-1", 3, 0),
        ("webhook-1", 3, 0),
        ("redis-1", 3, 0),
    ]


def test_events_come_in_the_order_in_which_they_happened_and_then_by_their_ids(home: Home) -> None:
    for event in (an_event(3, minute=1), an_event(1, minute=2), an_event(2, minute=1)):
        write_event(home, event)
    tick(home, [lines(home)])
    assert in_file(home) == ["event-2", "event-3", "event-1"]


def test_with_nothing_to_send_nothing_is_written(home: Home) -> None:
    before = contents(home.root)
    report = tick(home, [lines(home)])
    assert report.is_empty
    assert contents(home.root) == before


def test_events_of_the_registry_are_delivered_and_fsck_finds_all_well(home: Home) -> None:
    promoted(home, OLD)
    (event,) = read_outbox(home).events
    tick(home, [lines(home), UnusableSink("webhook-1", "no secret")])
    assert (home.outbox / "delivery.json").exists()
    assert check_registry(home) == []
    tick(home, [lines(home)], after=30)
    assert in_file(home) == [event.event_id]
    repair(home, at=AT)
    assert tick(home, [lines(home)], after=60).is_empty  # what was delivered does not come again
    assert check_registry(home) == []


def test_what_a_write_that_was_cut_off_left_is_no_event_and_the_next_repair_removes_it(home: Home) -> None:
    promoted(home, OLD)
    left = home.outbox / ".delivery.json.0.tmp"
    left.write_text("{", encoding="utf-8")
    assert tick(home, [lines(home)]).damaged == {}
    repair(home, at=AT)
    assert not left.exists()


# --- A sink that is down ----------------------------------------------------------------------------------------------------------


def test_while_one_sink_is_down_the_other_gets_everything_once_and_nothing_is_lost(home: Home, receiver: Receiver) -> None:
    sinks = [lines(home), hook(receiver)]
    receiver.usually = 500
    for number in range(1, 5):
        put(home, number)
        tick(home, sinks, after=number * 4000)
    assert in_file(home) == ["event-1", "event-2", "event-3", "event-4"]
    assert waiting(home) == in_file(home)
    receiver.usually = 204
    tick(home, sinks, after=30_000)
    assert receiver.received == in_file(home) == ["event-1", "event-2", "event-3", "event-4"]
    assert waiting(home) == []


def test_the_report_names_the_problem_the_waiting_events_and_the_next_attempt(home: Home, receiver: Receiver) -> None:
    put(home, 1, 2, 3)
    receiver.usually = 500
    down = SinkReport("webhook-1", 0, 3, "answered 500", NOON + 30 * SECOND)
    assert tick(home, [lines(home), hook(receiver)]).sinks == [SinkReport("jsonl-1", 3, 0, None, None), down]
    assert tick(home, [lines(home), hook(receiver)], after=10).sinks[1] == down  # also between the attempts
    assert len(receiver.posts) == 1


def test_summaries(snapshot: SnapshotAssertion) -> None:
    sinks = [
        SinkReport("jsonl-1", 3, 0, None, None),
        SinkReport("webhook-1", 0, 2, "answered 500", NOON),
        SinkReport("slow-1", 1, 1, None, None),
        SinkReport("webhook-2", 0, 0, "HOOK_SECRET is not set", None),
    ]
    reports = [
        DeliveryReport(sinks, {"event-1a.json": "eventType is missing"}),
        DeliveryReport([], {}, kept=1),
        DeliveryReport([], {}, kept=3, dropped=2, keep_at_most=3),
        DeliveryReport([], {}),
    ]
    assert [report.summary for report in reports] == snapshot
    assert [report.is_empty for report in reports] == [False, False, False, True]


def test_a_sink_that_fails_is_left_alone_for_thirty_seconds_then_twice_as_long_each_time_up_to_an_hour(
    home: Home, receiver: Receiver
) -> None:
    put(home, 1)
    receiver.usually = 503
    waits, now = [], 0.0
    for _ in range(9):
        report = tick(home, [hook(receiver)], after=now).sinks[0]
        assert report.retry_at is not None
        waits.append((report.retry_at - NOON).total_seconds() - now)
        asked = len(receiver.posts)
        tick(home, [hook(receiver)], after=now + waits[-1] - 1)
        assert len(receiver.posts) == asked
        now += waits[-1]
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_success_ends_the_waiting_and_the_next_failure_waits_thirty_seconds_again(home: Home, receiver: Receiver) -> None:
    put(home, 1, 2)
    receiver.answers = [500, 500, 204, 500]
    for after in (0, 30):
        tick(home, [hook(receiver)], after=after)
    report = tick(home, [hook(receiver)], after=90).sinks[0]
    assert (report.delivered, report.waiting, report.retry_at) == (1, 1, NOON + 120 * SECOND)


def test_a_receiver_that_says_how_long_it_is_busy_is_left_alone_so_long_but_no_longer_than_a_day(home: Home, receiver: Receiver) -> None:
    put(home, 1)
    waits = []
    for receiver.retry_after in ("5", "600", "999999"):
        receiver.answers = [503]
        now = 100_000.0 * len(waits)
        report = tick(home, [hook(receiver)], after=now).sinks[0]
        assert report.retry_at is not None
        waits.append((report.retry_at - NOON).total_seconds() - now)
    assert waits == [30, 600, 24 * 3600]


def test_a_receiver_that_is_gone_for_good_gets_one_event_a_day(home: Home, receiver: Receiver) -> None:
    put(home, 1, 2)
    receiver.answers = [410]
    for hours in (0, 1, 23):
        tick(home, [hook(receiver)], after=hours * 3600)
    assert len(receiver.posts) == 1
    tick(home, [hook(receiver)], after=24 * 3600)
    assert receiver.received == ["event-1", "event-2"]


def test_a_clock_that_was_wrong_does_not_silence_a_sink(home: Home, receiver: Receiver) -> None:
    put(home, 1)
    receiver.answers = [500]
    deliver(home, [hook(receiver)], now=NOON + timedelta(days=400), stopwatch=Stopwatch())
    tick(home, [hook(receiver)])
    assert receiver.received == ["event-1"]


def test_a_sink_without_its_secret_keeps_its_events_and_is_served_as_soon_as_it_is_there(home: Home, receiver: Receiver) -> None:
    put(home, 1, 2)
    report = tick(home, [lines(home), UnusableSink("webhook-1", "HOOK_SECRET is not set")])
    assert report.sinks[1] == SinkReport("webhook-1", 0, 2, "HOOK_SECRET is not set", None)
    assert waiting(home) == ["event-1", "event-2"]
    tick(home, [lines(home), hook(receiver)], after=1)
    assert receiver.received == in_file(home) == ["event-1", "event-2"]


def test_a_sink_gets_the_types_that_it_wants_and_others_wait_for_it_neither_before_nor_after_it_can_be_used(
    home: Home, receiver: Receiver
) -> None:
    put(home, 1)
    write_event(home, an_event(2, event_type="model.promoted"))
    chosen = frozenset({"model.promoted"})
    report = tick(home, [lines(home), UnusableSink("webhook-1", "HOOK_SECRET is not set", events=chosen)])
    assert (report.sinks[1].waiting, waiting(home)) == (1, ["event-2"])
    tick(home, [lines(home), hook(receiver, events=chosen)], after=1)
    assert (receiver.received, in_file(home), waiting(home)) == (["event-2"], ["event-1", "event-2"], [])


def test_a_sink_that_cannot_be_used_is_reported_also_while_nothing_waits(home: Home) -> None:
    report = tick(home, [UnusableSink("webhook-1", "HOOK_SECRET is not set")])
    assert report.sinks == [SinkReport("webhook-1", 0, 0, "HOOK_SECRET is not set", None)]
    assert not report.is_empty


# --- An event that is refused -----------------------------------------------------------------------------------------------------


def test_an_event_that_is_refused_holds_up_no_other_and_is_tried_again_later_and_later(home: Home, receiver: Receiver) -> None:
    put(home, 1, 2, 3)
    receiver.refuses = {"event-2": 422}
    report = tick(home, [hook(receiver)])
    assert receiver.received == ["event-1", "event-3"]
    assert waiting(home) == ["event-2"]
    assert report.sinks == [SinkReport("webhook-1", 2, 1, "answered 422", NOON + 30 * SECOND)]
    tick(home, [hook(receiver)], after=29)
    assert len(receiver.posts) == 3
    tick(home, [hook(receiver)], after=30)
    tick(home, [hook(receiver)], after=89)
    assert len(receiver.posts) == 4
    receiver.refuses = {}
    tick(home, [hook(receiver)], after=90)
    assert receiver.received == ["event-1", "event-3", "event-2"]
    assert waiting(home) == []
    assert read(home.outbox / "delivery.json") == {"sinks": {}}


# --- Time -------------------------------------------------------------------------------------------------------------------------


def test_a_sink_that_hangs_costs_one_timeout_and_the_others_are_served(home: Home, receiver: Receiver) -> None:
    put(home, 1, 2)
    receiver.delay = 30.0
    slow = hook(receiver, timeout_seconds=0.3)
    report = tick(home, [slow, lines(home)])
    assert in_file(home) == ["event-1", "event-2"]
    assert report.sinks[0].problem == "no answer within 0.3 s"
    assert len(read(home.outbox / "delivery.json")["sinks"]["jsonl-1"]["delivered"]) == 2


def test_sinks_that_hang_share_the_time_of_a_tick(home: Home) -> None:
    put(home, 1)
    watch = Stopwatch()
    sinks = [Slow(watch, takes=1000, name=f"slow-{number}", timeout_seconds=60) for number in range(4)]
    deliver(home, [*sinks, lines(home)], now=NOON, stopwatch=watch)
    assert watch.seconds <= 20
    assert in_file(home) == ["event-1"]


def test_a_slow_sink_takes_what_fits_into_its_share_and_the_rest_the_next_time(home: Home) -> None:
    put(home, *range(1, 21))
    watch = Stopwatch()
    slow = Slow(watch, takes=2)
    report = deliver(home, [slow, lines(home)], now=NOON, stopwatch=watch)
    assert slow.took == ["event-1", "event-2", "event-3"]  # a share of 10 s; what is begun has the whole timeout of 5 s
    assert len(in_file(home)) == 20
    assert report.sinks[0] == SinkReport("slow-1", 3, 17, None, None)
    for _ in range(6):
        deliver(home, [slow, lines(home)], now=NOON, stopwatch=watch)
    assert slow.took == in_file(home)
    assert waiting(home) == []


# --- Crashes ----------------------------------------------------------------------------------------------------------------------


def test_a_process_that_dies_between_sending_and_remembering_sends_again_and_loses_nothing(home: Home, receiver: Receiver) -> None:
    put(home, 1, 2)
    with use_file_system(FailingAt("remove_file", "event-1")), pytest.raises(OSError, match="full"):
        tick(home, [hook(receiver)])
    assert receiver.received == ["event-1"]
    tick(home, [hook(receiver)], after=1)
    assert receiver.received == ["event-1", "event-1", "event-2"]
    assert waiting(home) == []


def test_nothing_is_sent_where_it_cannot_be_remembered_so_that_a_full_disk_does_not_send_it_again_and_again(
    home: Home, receiver: Receiver
) -> None:
    put(home, 1)
    for after in range(3):
        with use_file_system(FailingAt("create", "delivery.json")), pytest.raises(OSError, match="full"):
            tick(home, [hook(receiver), lines(home)], after=after)
    assert receiver.posts == []
    assert waiting(home) == ["event-1"]


@pytest.mark.parametrize("content", ["{", "[]", '{"sinks": {"webhook-1": {"delivered": 3}}}', ""])
def test_where_what_was_delivered_cannot_be_read_events_come_again(home: Home, receiver: Receiver, content: str) -> None:
    put(home, 1)
    tick(home, [hook(receiver), UnusableSink("other-1", "away")])
    (home.outbox / "delivery.json").write_text(content, encoding="utf-8")
    tick(home, [hook(receiver)], after=1)
    assert receiver.received == ["event-1", "event-1"]
    assert waiting(home) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ('{"eventId": "x"}', "eventType is missing"),
        (json.dumps(an_event(7).document), "it holds the event event-7"),
        (json.dumps({**an_event(7).document, "eventId": "../../models/active"}), "eventId must match"),
    ],
)
def test_a_damaged_file_is_reported_skipped_and_kept(home: Home, content: str, found: str) -> None:
    put(home, 1, 2)
    damaged = home.outbox / "event-1a.json"
    damaged.write_text(content, encoding="utf-8")
    report = tick(home, [lines(home)])
    assert in_file(home) == ["event-1", "event-2"]
    assert damaged.read_text(encoding="utf-8") == content
    assert found in report.damaged["event-1a.json"]


# --- Settings that change ---------------------------------------------------------------------------------------------------------


def test_without_a_sink_events_stay(home: Home) -> None:
    put(home, 1, 2)
    report = tick(home, [])
    assert (report.kept, report.dropped, report.sinks) == (2, 0, [])
    assert waiting(home) == ["event-1", "event-2"]


def test_without_a_sink_only_the_newest_stay(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert delivery.KEPT_WITHOUT_SINKS == 10_000
    monkeypatch.setattr(delivery, "KEPT_WITHOUT_SINKS", 3)
    put(home, *range(1, 6))
    report = tick(home, [])
    assert waiting(home) == ["event-3", "event-4", "event-5"]
    assert (report.dropped, report.kept) == (2, 3)


def test_with_a_sink_that_is_down_all_stay(home: Home, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "KEPT_WITHOUT_SINKS", 3)
    put(home, *range(1, 6))
    receiver.usually = 500
    tick(home, [hook(receiver)])
    assert len(waiting(home)) == 5


def test_a_sink_that_was_taken_out_of_the_settings_holds_nothing_up_and_is_forgotten(home: Home, receiver: Receiver) -> None:
    put(home, 1)
    receiver.usually = 500
    tick(home, [lines(home), hook(receiver)])
    tick(home, [lines(home)], after=1)
    put(home, 2)
    tick(home, [lines(home)], after=2)
    assert in_file(home)[-1] == "event-2"
    assert waiting(home) == []
    assert read(home.outbox / "delivery.json") == {"sinks": {}}


def test_the_same_sink_named_twice_gets_an_event_once(home: Home) -> None:
    put(home, 1)
    tick(home, [lines(home), lines(home)])
    assert in_file(home) == ["event-1"]
