"""The envelope of events, and the events of a decision: what they say, and that they come though writing them failed."""

import errno
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_events import write_decision_events
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided, write_last_decided
from taskclf_dagster.domain.events.event import Event, EventPayload, pick_metrics
from taskclf_dagster.domain.events.outbox import event_path, read_outbox, write_event
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.retraining.steps import remember_decision, remember_skip
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, a_decision, all_gates, contents, gate, infeasible
from taskclf_dagster_tests.receivers import NOON, an_event
from taskclf_dagster_tests.registry_scenario import read
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home

REJECTED = [*all_gates()[1:], gate("loads_and_predicts", "FAIL")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


class NoOutbox(FileSystem):
    """A file system on which nothing can be written to the outbox."""

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        if path.parent.name == "outbox":
            raise OSError(errno.ENOSPC, "full", str(path))
        super().create(path, content)


def decided(home: Home, model_id: str = NEW, *, run_id: str = "run-1", at: datetime = AT, **options: object) -> PromotionDecision:
    """A decision that was stored, took effect and was remembered."""
    decision = a_decision(home, model_id, **options)
    save_decision(home, decision)
    remember_decision(home, decision, run_id=run_id, at=at)
    return decision


def told(home: Home) -> list[tuple[str, str | None]]:
    return [(event.event_type, event.payload.model_id) for event in read_outbox(home).events]


# --- The envelope -----------------------------------------------------------------------------------------------------------------


def test_an_event_as_json_has_these_keys_and_no_others(home: Home) -> None:
    write_event(home, an_event())
    assert read(event_path(home, "event-1")) == {
        "eventId": "event-1",
        "eventType": "model.retrained",
        "eventVersion": 1,
        "occurredAt": "2026-02-04T12:01:00+00:00",
        "runId": "run-1",
        "payload": {
            "modelId": "model-1",
            "previousVersion": None,
            "newVersion": None,
            "metrics": {"macro_f1": 0.5, "weighted_f1": None, "windows": None},
            "reason": "because",
        },
    }


def test_times_are_told_in_utc() -> None:
    vienna = timezone(timedelta(hours=1))
    assert an_event(occurred_at=datetime(2026, 2, 4, 13, tzinfo=vienna)).document["occurredAt"] == NOON.isoformat()


def test_an_event_that_was_read_back_is_the_same(home: Home) -> None:
    write_event(home, an_event())
    assert read_outbox(home).events == [an_event()]


@pytest.mark.parametrize(
    "changes",
    [{"event_id": "../x"}, {"event_id": ""}, {"event_id": ".x"}, {"event_type": "model.lost"}, {"event_version": 2}, {"more": 1}],
    ids=str,
)
def test_what_is_no_event_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        an_event(**changes)


@pytest.mark.parametrize("odd", [None, "0.5", float("nan"), float("inf"), True, [0.5], 10**400])
def test_a_figure_that_is_no_number_is_not_told(odd: object) -> None:
    assert pick_metrics({"macro_f1": odd, "weighted_f1": 1, "f2": 0.3}) == {"macro_f1": None, "weighted_f1": 1.0, "windows": None}


def test_a_long_or_broken_reason_can_still_be_told(home: Home) -> None:
    payload = EventPayload(metrics=pick_metrics(None), reason="\ud800" + "x" * 10_000)
    write_event(home, an_event(payload=payload))
    assert read(event_path(home, "event-1"))["payload"]["reason"] == "?" + "x" * 3999


# --- Decisions --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ({}, ["model.retrained"]),
        ({"gates": REJECTED}, ["model.rejected", "model.retrained"]),
        ({"auto_promote": False}, ["model.awaiting_approval", "model.retrained"]),
        ({"feasibility": infeasible()}, ["model.retrained"]),
    ],
    ids=["promote", "reject", "awaiting approval", "hold"],
)
def test_each_verdict_has_its_events(home: Home, options: dict[str, object], types: list[str]) -> None:
    decided(home, **options)
    assert sorted(event.event_type for event in read_outbox(home).events) == types


def test_an_event_of_a_decision_says_what_was_judged_and_why(home: Home) -> None:
    decision = decided(home, gates=REJECTED, run_id="run-7")
    assert read(home.outbox / f"{decision.decision_id}-rejected.json") == {
        "eventId": f"{decision.decision_id}-rejected",
        "eventType": "model.rejected",
        "eventVersion": 1,
        "occurredAt": AT.isoformat(),
        "runId": "run-7",
        "payload": {
            "modelId": NEW,
            "previousVersion": None,
            "newVersion": None,
            "metrics": {"macro_f1": 0.9, "weighted_f1": 0.9, "windows": 150},
            "reason": decision.reason,
        },
    }


def test_the_previous_version_is_the_champion_and_the_new_one_only_what_was_promoted(home: Home) -> None:
    champion = a_decision(home, MID).challenger
    decision = a_decision(home, champion_model=champion)
    save_decision(home, decision)
    remember_decision(home, decision, run_id="run-1", at=AT)
    (event,) = read_outbox(home).events
    assert (event.payload.previous_version, event.payload.new_version) == (MID, NEW)


def test_a_dry_run_tells_nothing(home: Home) -> None:
    decided(home, dry_run=True)
    assert contents(home.outbox) == {}


def test_a_decision_is_remembered_although_its_events_cannot_be_written_and_they_come_later_the_same(home: Home, tmp_path: Path) -> None:
    with use_file_system(NoOutbox()):
        decided(home)
    last = read_last_decided(home)
    assert last is not None
    assert last.run_id == "run-1"
    assert told(home) == []
    write_decision_events(home)
    assert told(home) == [("model.retrained", NEW)]
    (event,) = read_outbox(home).events
    assert (event.run_id, event.occurred_at) == ("run-1", AT)


def test_the_next_run_writes_the_missing_events_of_the_one_before_it_is_forgotten(home: Home) -> None:
    with use_file_system(NoOutbox()):
        decided(home, MID)
    decided(home, NEW, run_id="run-2", at=AT + DAY, as_of=AS_OF + DAY)
    assert told(home) == [("model.retrained", MID), ("model.retrained", NEW)]


def test_a_skip_writes_the_missing_events_of_the_run_before(home: Home) -> None:
    with use_file_system(NoOutbox()):
        decided(home, MID)
    snapshot = _SkippedSnapshot()
    remember_skip(home, snapshot, run_id="run-2", at=AT + DAY)  # type: ignore[arg-type]
    assert told(home) == [("model.retrained", MID)]


class _SkippedSnapshot:
    as_of = AS_OF + DAY
    label_watermark = "0" * 16


def test_events_that_were_delivered_do_not_come_again(home: Home) -> None:
    decided(home, gates=REJECTED)
    for event in read_outbox(home).events:
        event_path(home, event.event_id).unlink()
    for _ in range(3):
        write_decision_events(home)
    assert told(home) == []


def test_a_home_without_decisions_or_without_their_receipts_has_nothing_to_tell(home: Home) -> None:
    write_decision_events(home)
    facts = {"outcome": "REJECT", "decided_at": AT, "as_of": AT, "run_id": "r", "decision_id": "lost", "dataset_hash": "0" * 16}
    write_last_decided(home, LastDecided(**facts, snapshot_path="artifacts/snapshots/0", label_watermark="0" * 16))
    write_decision_events(home)
    assert contents(home.outbox) == {}


def test_what_is_remembered_of_events_does_not_trouble_fsck(home: Home) -> None:
    decided(home)
    assert sorted(path.name for path in home.outbox.iterdir())[-1] == "reported_decision.json"
    assert check_registry(home) == []
    assert json.loads((home.outbox / "reported_decision.json").read_text(encoding="utf-8")).keys() == {"decision_id"}


def test_an_event_is_immutable() -> None:
    event: Event = an_event()
    with pytest.raises(ValidationError):
        event.run_id = "other"  # type: ignore[misc]
