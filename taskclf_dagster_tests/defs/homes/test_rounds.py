"""One tick over many homes: in turn, within its time, and none disturbs another."""

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.defs.homes.rounds import MAX_REQUESTS, HomeAnswer, Round, RoundCursor, Walk, describe_round, read_cursor
from taskclf_dagster.home import Home

HOMES = {name: Home(Path("/srv") / name) for name in ("anna", "ben", "cleo", "dora")}


def _go(evaluate, cursor: RoundCursor | None = None, *, walk: Walk | None = None, homes=HOMES, steps: float = 0.0, **limits) -> Round:
    """A tick of a clock that advances by `steps` seconds whenever it is read."""
    clock = (steps * number for number in count())
    known = {"listed": frozenset(homes), "seconds": 10.0, **limits}
    return (walk or Walk()).go_round(homes, cursor or RoundCursor(), evaluate, stopwatch=lambda: next(clock), **known)


def _quiet(_name: str, _home: Home, _state: str | None) -> HomeAnswer:
    return HomeAnswer("nothing is due")


def test_every_home_is_looked_at_in_the_order_of_the_names() -> None:
    result = _go(_quiet)
    assert list(result.answers) == ["anna", "ben", "cleo", "dora"]
    assert (result.left, result.cursor.last) == (0, "dora")


def test_a_tick_whose_time_is_up_stops_and_the_next_one_goes_on_from_there() -> None:
    first = _go(_quiet, steps=5.0)
    second = _go(_quiet, first.cursor, steps=5.0)
    assert (list(first.answers), first.left) == (["anna"], 3)
    assert (list(second.answers), second.left) == (["ben"], 3)
    third = _go(_quiet, RoundCursor(last="dora"))
    assert list(third.answers) == ["anna", "ben", "cleo", "dora"]


def test_a_home_that_went_while_the_tick_was_there_does_not_hold_up_the_round() -> None:
    homes = {name: home for name, home in HOMES.items() if name != "ben"}
    assert list(_go(_quiet, RoundCursor(last="ben"), homes=homes).answers) == ["cleo", "dora", "anna"]


def test_a_home_that_raises_anything_is_a_problem_of_its_own() -> None:
    def evaluate(name: str, home: Home, state: str | None) -> HomeAnswer:
        if name == "ben":
            raise ZeroDivisionError("in ben's files")
        return _quiet(name, home, state)

    result = _go(evaluate)
    assert result.problems == {"ben": "ZeroDivisionError: in ben's files"}
    assert list(result.answers) == list(HOMES)


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    released = threading.Event()
    yield released
    released.set()


def test_a_home_whose_files_hang_costs_one_tick_its_wait_and_later_ones_nothing(hanging: threading.Event) -> None:
    walk, asked = Walk(), []

    def evaluate(name: str, home: Home, state: str | None) -> HomeAnswer:
        asked.append(name)
        if name == "ben" and not hanging.is_set():
            hanging.wait(60)
        return _quiet(name, home, state)

    first = _go(evaluate, walk=walk, home_seconds=0.2)
    assert first.problems == {"ben": "its files did not answer within 0.2 s; /srv/ben"}
    assert list(first.answers) == list(HOMES)
    second = _go(evaluate, first.cursor, walk=walk, home_seconds=600)
    assert "have not answered since an earlier tick" in second.problems["ben"]
    assert asked.count("ben") == 1
    hanging.set()
    for thread in threading.enumerate():
        if thread.name == "home-ben":
            thread.join(60)
    assert _go(evaluate, second.cursor, walk=walk, home_seconds=600).problems == {}


def test_a_tick_requests_a_number_of_runs_and_leaves_the_others_to_the_next() -> None:
    homes = {f"home{number:02d}": Home(Path("/srv") / str(number)) for number in range(2 * MAX_REQUESTS + 3)}

    def evaluate(name: str, _home: Home, _state: str | None) -> HomeAnswer:
        return HomeAnswer("due", dg.RunRequest(run_key=name))

    first = _go(evaluate, homes=homes)
    second = _go(evaluate, first.cursor, homes=homes)
    assert list(first.requests) == sorted(homes)[:MAX_REQUESTS]
    assert list(second.requests) == sorted(homes)[MAX_REQUESTS : 2 * MAX_REQUESTS]
    assert (first.left, second.left) == (MAX_REQUESTS + 3, MAX_REQUESTS + 3)


def test_each_home_keeps_a_state_of_its_own_until_it_is_no_longer_listed() -> None:
    def evaluate(name: str, _home: Home, state: str | None) -> HomeAnswer:
        return HomeAnswer("seen", state=f"{state or name}+") if name != "dora" else HomeAnswer("failed", is_problem=True)

    first = _go(evaluate)
    assert first.cursor.states == {"anna": "anna+", "ben": "ben+", "cleo": "cleo+"}
    usable = {name: home for name, home in HOMES.items() if name in ("anna", "dora")}
    second = _go(evaluate, read_cursor(first.cursor.model_dump_json()), homes=usable, listed=frozenset({"anna", "ben", "dora"}))
    assert second.cursor.states == {"anna": "anna++", "ben": "ben+"}


def test_a_cursor_that_cannot_be_read_begins_anew() -> None:
    assert read_cursor("of an earlier version") == read_cursor(None) == RoundCursor()


def test_the_summary_names_requests_and_problems_and_counts_the_rest() -> None:
    def evaluate(name: str, home: Home, state: str | None) -> HomeAnswer:
        if name == "anna":
            return HomeAnswer("due", dg.RunRequest(run_key=name))
        return HomeAnswer(f"{home.root} is well") if name != "ben" else HomeAnswer("no disk", is_problem=True)

    said = describe_round(_go(evaluate), {"zoe": "there is no folder /srv/zoe"})
    assert said == (
        "4 of 4 homes looked at; runs requested for anna; ben: no disk; zoe: there is no folder /srv/zoe; 2 times: the home is well"
    )
