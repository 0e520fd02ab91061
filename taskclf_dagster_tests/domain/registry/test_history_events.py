"""Events about changes of the model: written after the change is durable, with the same id however often, and never lost."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.history_events import build_event, read_cursor, write_events
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, contents, point_at
from taskclf_dagster_tests.registry_scenario import (
    NEXT,
    cut_off,
    findings,
    history_lines,
    judged,
    promote,
    promoted,
    read,
    set_active,
    settled,
)
from taskclf_dagster_tests.scenario import DAY, make_home

LATER = AT + 9 * DAY


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def two(home: Home) -> Home:
    """OLD ran, MID runs: two events."""
    return promoted(home, OLD, MID)


def events(home: Home) -> list[dict[str, object]]:
    """Every event in the outbox, in the order of their names."""
    return [read(path) for path in sorted(home.outbox.glob("0*.json"))]


def kinds(home: Home) -> list[object]:
    return [event["eventType"] for event in events(home)]


class NoOutbox(FileSystem):
    """A file system on which nothing can be written to the outbox; or only the cursor cannot."""

    def __init__(self, *, only: str = "") -> None:
        self.only = only

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        if path.parent.name == "outbox" and self.only in path.name:
            raise OSError(errno.ENOSPC, "full", str(path))
        super().create(path, content)


def test_a_promotion_tells_who_ran_before_who_runs_now_and_why(two: Home) -> None:
    decision = judged(two, NEW)
    promote(two, decision, at=LATER, run_id="run-5")
    event = events(two)[-1]
    line = history_lines(two)[-1]
    metrics = read(two.models / NEW / "metrics.json")
    assert event == {
        "eventId": f"00000003-{line['checksum'][:12]}",
        "eventType": "model.promoted",
        "eventVersion": 1,
        "occurredAt": LATER.isoformat(),
        "runId": "run-5",
        "payload": {
            "modelId": NEW,
            "previousVersion": MID,
            "newVersion": NEW,
            "metrics": {"macro_f1": metrics["macro_f1"], "weighted_f1": metrics["weighted_f1"], "windows": None},
            "reason": decision.reason,
        },
    }


def test_the_first_promotion_has_no_previous_version(home: Home) -> None:
    promoted(home, OLD)
    (event,) = events(home)
    assert event["payload"]["previousVersion"] is None
    assert event["runId"] is None


def test_the_file_of_an_event_has_its_id(two: Home) -> None:
    assert [path.stem for path in sorted(two.outbox.glob("0*.json"))] == [event["eventId"] for event in events(two)]


def test_every_kind_of_change_has_its_event(two: Home) -> None:
    rollback(two, to=None, reason="worse", at=LATER)
    set_active(two, MID, at=LATER + DAY)
    repair(two, at=LATER + DAY)
    two.active_pointer.write_text("{", encoding="utf-8")
    repair(two, at=LATER + 2 * DAY)
    assert kinds(two) == ["model.promoted", "model.promoted", "model.rolled_back", "model.pointer_adopted", "model.pointer_repaired"]
    assert events(two)[2]["payload"] | {"metrics": None} == {
        "modelId": OLD,
        "previousVersion": MID,
        "newVersion": OLD,
        "metrics": None,
        "reason": "worse",
    }


def test_what_moves_nothing_has_no_event(two: Home) -> None:
    rollback(two, to=None, reason="worse", at=LATER)
    before = events(two)
    unblock(two, MID, reason="labels", at=LATER)
    prune(two, keep_versions=0, keep_rejected=0, at=AT + 300 * DAY)
    assert events(two) == before
    assert read_cursor(two, read_history(two)).written_through == read_history(two).sequence
    assert findings(two) == []


def test_an_event_written_again_is_the_same_file(two: Home) -> None:
    before = contents(two.outbox)
    (two.outbox / "written_through.json").unlink()
    write_events(two, read_history(two))
    assert contents(two.outbox) == before


def test_an_event_that_was_delivered_does_not_come_again(two: Home) -> None:
    for path in two.outbox.glob("0*.json"):
        path.unlink()
    repair(two, at=LATER)
    promote(two, judged(two, NEW), at=LATER)
    assert [event["payload"]["newVersion"] for event in events(two)] == [NEW]


@pytest.mark.parametrize("only", ["", "written_through"], ids=["nothing", "the cursor"])
def test_a_change_stands_whose_event_could_not_be_written_and_the_next_writer_of_any_kind_writes_it(two: Home, only: str) -> None:
    before = [event["eventId"] for event in events(two)]
    with use_file_system(NoOutbox(only=only)):
        promote(two, judged(two, NEW), at=LATER)
    assert read_active(two).name == NEW
    assert read_cursor(two, read_history(two)).written_through == 2
    if not only:
        assert [event["eventId"] for event in events(two)] == before
    assert ("warning", "P9", "events_missing") in findings(two)
    repair(two, at=LATER + DAY)
    assert read_cursor(two, read_history(two)).written_through == 3
    (event,) = events(two)[2:]
    assert event == build_event(read_history(two).entries[-1]).document
    assert event["occurredAt"] == LATER.isoformat()
    assert findings(two) == []


def test_several_events_that_could_not_be_written_all_come(two: Home) -> None:
    with use_file_system(NoOutbox()):
        promote(two, judged(two, NEW), at=LATER)
        rollback(two, to=None, reason="worse", at=LATER + DAY)
    promote(two, judged(two, NEXT), at=LATER + 2 * DAY)
    assert kinds(two) == ["model.promoted", "model.promoted", "model.promoted", "model.rolled_back", "model.promoted"]


@pytest.mark.parametrize("cursor", ["{", "", "[]", '{"sequence": "two"}', '{"sequence": null}', "{}"])
def test_without_a_cursor_that_can_be_read_events_come_again(two: Home, cursor: str) -> None:
    whole = contents(two.outbox)
    for path in two.outbox.iterdir():
        path.unlink()
    (two.outbox / "written_through.json").write_text(cursor, encoding="utf-8")
    assert read_cursor(two, read_history(two)).written_through == 0
    repair(two, at=LATER)
    assert contents(two.outbox) == whole


def test_an_event_comes_only_once_its_change_is_made(two: Home) -> None:
    cut_off(two)  # the record is there, the pointer did not move
    assert kinds(two) == ["model.promoted"] * 2
    repair(two, at=LATER)
    assert kinds(two) == ["model.promoted"] * 3


def test_a_change_that_was_aborted_has_no_event(two: Home) -> None:
    cut_off(two)
    (two.models / NEW / "model.txt").unlink()
    repair(two, at=LATER)
    assert kinds(two) == ["model.promoted"] * 2
    assert read_cursor(two, read_history(two)).written_through == read_history(two).sequence


def test_a_refused_change_has_no_event(two: Home) -> None:
    before = contents(two.outbox)
    with pytest.raises(Exception, match="refused"):
        rollback(two, to=MID, reason="x", at=LATER)
    assert contents(two.outbox) == before


@pytest.mark.parametrize("kept", [0, 1], ids=["all lines", "all lines but the first"])
def test_after_a_lost_history_events_are_written_all_the_same(two: Home, kept: int) -> None:
    two.active_history.write_bytes(b"".join(two.active_history.read_bytes().splitlines(keepends=True)[:kept]))
    point_at(two, OLD)  # and taskclf moved the pointer, so that its number is lost, too
    for path in two.outbox.glob("0*.json"):
        path.unlink()  # delivered
    repair(two, at=LATER)
    again = ["model.promoted"] * kept  # what is still in the history comes once more: at least once
    assert kinds(two) == [*again, "model.pointer_adopted"]
    promote(two, judged(two, NEW), at=LATER + DAY)
    assert kinds(two) == [*again, "model.pointer_adopted", "model.promoted"]


def test_events_of_a_home_that_taskclf_used_before_begin_with_its_adoption(home: Home) -> None:
    settled(home)
    assert [(event["eventType"], event["payload"]["newVersion"]) for event in events(home)] == [("model.pointer_adopted", MID)]
    assert json.loads((home.outbox / "written_through.json").read_text(encoding="utf-8")) == {
        "sequence": 1,
        "checksum": read_history(home).entries[-1].checksum,
    }
    assert {finding.code for finding in check_registry(home)} == {"policy_missing"}
