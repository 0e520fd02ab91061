"""Anchors: the newest five models that came to run in the last 60 days."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from taskclf_dagster.domain.registry.anchors import ANCHOR_DAYS, ANCHOR_MODELS, find_anchors
from taskclf_dagster.domain.registry.history import History, read_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster_tests.models import AT, MID, NEW, OLD
from taskclf_dagster_tests.registry_scenario import promoted, set_active
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home

SECOND = timedelta(seconds=1)


def came_to_run(name: str, at: datetime, **changes: object) -> ActiveHistoryEntry:
    """A line of another program, unless changes make it one of ours."""
    pointer = ActivePointer(model_dir=f"models/{name}", selected_at=at, policy_version=1)
    return ActiveHistoryEntry.model_validate({"at": at, "old": None, "new": pointer, **changes})


def anchors(*entries: ActiveHistoryEntry, as_of: datetime = AS_OF) -> list[str]:
    """Names of the anchors of a history, the newest first."""
    history = History(entries=list(entries), problems={}, whole=b"", torn=b"", digest="", lines=0)
    return [name for name, _ in find_anchors(history, as_of=as_of)]


def test_a_home_without_a_history_has_no_anchors(tmp_path: Path) -> None:
    assert find_anchors(read_history(make_home(tmp_path)), as_of=AS_OF) == []


def test_the_models_of_the_last_60_days_are_anchors_the_newest_first_each_with_its_time() -> None:
    entries = [came_to_run("a", AS_OF - 30 * DAY), came_to_run("b", AS_OF - 10 * DAY)]
    history = History(entries=entries, problems={}, whole=b"", torn=b"", digest="", lines=0)
    assert find_anchors(history, as_of=AS_OF) == [("b", AS_OF - 10 * DAY), ("a", AS_OF - 30 * DAY)]


def test_a_model_of_exactly_60_days_ago_is_an_anchor_and_a_second_before_it_is_none() -> None:
    assert ANCHOR_DAYS == 60
    assert anchors(came_to_run("a", AS_OF - 60 * DAY)) == ["a"]
    assert anchors(came_to_run("a", AS_OF - 60 * DAY - SECOND)) == []


def test_of_more_than_five_the_newest_count() -> None:
    assert ANCHOR_MODELS == 5
    entries = [came_to_run(f"m{day}", AS_OF - day * DAY) for day in range(7, 0, -1)]
    assert anchors(*entries) == ["m1", "m2", "m3", "m4", "m5"]


def test_a_model_that_came_to_run_twice_counts_once_and_with_its_last_time() -> None:
    entries = [came_to_run("a", AS_OF - 50 * DAY), came_to_run("b", AS_OF - 20 * DAY), came_to_run("a", AS_OF - 5 * DAY)]
    assert anchors(*entries) == ["a", "b"]
    fillers = [came_to_run(f"m{day}", AS_OF - day * DAY) for day in (4, 3, 2, 1)]
    assert anchors(*entries, *fillers) == ["m1", "m2", "m3", "m4", "a"]  # and takes one of the five places


def test_a_model_that_ran_long_ago_and_again_lately_is_an_anchor() -> None:
    assert anchors(came_to_run("a", AS_OF - 90 * DAY), came_to_run("b", AS_OF - 80 * DAY), came_to_run("a", AS_OF - DAY)) == ["a"]


def test_a_time_without_a_zone_is_taken_for_that_of_the_run() -> None:
    naive = (AS_OF - 60 * DAY).replace(tzinfo=None)
    assert anchors(came_to_run("a", naive)) == ["a"]
    assert anchors(came_to_run("a", naive - SECOND)) == []


def test_times_are_compared_as_moments_whatever_their_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert anchors(came_to_run("a", (AS_OF - 60 * DAY).astimezone(tokyo))) == ["a"]
    assert anchors(came_to_run("a", (AS_OF - 60 * DAY - SECOND).astimezone(tokyo))) == []


@pytest.mark.parametrize("action", ["promote", "rollback", "repair", "adopt"])
def test_every_change_that_moved_the_pointer_makes_an_anchor(action: str) -> None:
    assert anchors(came_to_run("a", AS_OF - DAY, sequence=1, action=action)) == ["a"]


@pytest.mark.parametrize("action", ["abort", "acknowledge", "unblock", "prune"])
def test_a_record_that_moved_nothing_makes_none(action: str) -> None:
    assert anchors(came_to_run("a", AS_OF - DAY, sequence=1, action=action)) == []


def test_a_promotion_that_was_aborted_makes_none() -> None:
    aborted = came_to_run("a", AS_OF - DAY, sequence=2, action="promote")
    kept = came_to_run("b", AS_OF - 2 * DAY, sequence=1, action="promote")
    abort = came_to_run("b", AS_OF, sequence=3, action="abort", subject=["2"])
    assert anchors(kept, aborted) == ["a", "b"]
    assert anchors(kept, aborted, abort) == ["b"]


def test_a_pointer_that_was_taken_away_makes_none() -> None:
    assert anchors(came_to_run("a", AS_OF - 2 * DAY), came_to_run("b", AS_OF - DAY, new=None)) == ["a"]


def test_what_ran_in_a_real_registry_is_found_until_it_was_rolled_back_and_again_once_it_is_unblocked(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD, MID, NEW)
    now = AT + 10 * DAY

    def found() -> list[str]:
        return [name for name, _ in find_anchors(read_history(home), as_of=now)]

    assert found() == [NEW, MID, OLD]
    rollback(home, to=None, reason="it was worse", at=AT + 5 * DAY)
    assert found() == [MID, OLD]
    unblock(home, NEW, reason="it was not", at=AT + 6 * DAY)
    assert found() == [MID, NEW, OLD]  # MID came to run again with the rollback


def test_what_another_program_set_active_is_an_anchor_too(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD, MID)
    set_active(home, OLD, at=AT + 3 * DAY)
    repair(home, at=AT + 4 * DAY)
    assert [name for name, _ in find_anchors(read_history(home), as_of=AT + 5 * DAY)] == [OLD, MID]
