"""Fair turns: every home is served once a round, whatever another one queues, and all that was queued is reached."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from taskclf_dagster.domain.scheduling.turns import find_turn


def _serve(arrivals: list[str], *, places: int = 1, later: dict[int, list[str]] | None = None) -> list[str]:
    """Homes in the order in which their runs are admitted; `later` are the runs that arrive once so many were admitted."""
    waiting: list[tuple[int, int, str]] = []
    running: list[tuple[int, int, str]] = []
    served: list[str] = []
    for position, home in enumerate(arrivals):
        waiting.append((_turn(home, waiting, running), position, home))
    while waiting:
        if len(running) >= places:
            running.pop(0)
        waiting.sort()
        running.append(waiting.pop(0))
        served.append(running[-1][2])
        for home in (later or {}).pop(len(served), []):
            waiting.append((_turn(home, waiting, running), len(arrivals) + len(served), home))
    return served


def _turn(home: str, waiting: list[tuple[int, int, str]], running: list[tuple[int, int, str]]) -> int:
    own = [turn for turn, _, other in waiting + running if other == home]
    return find_turn(served=[turn for turn, _, _ in running], waiting=[turn for turn, _, _ in waiting], own=own)


def test_a_home_that_queues_many_runs_takes_one_place_in_each_round() -> None:
    assert _serve(["flood"] * 5 + ["anna", "ben", "anna"]) == ["flood", "anna", "ben", "flood", "anna", "flood", "flood", "flood"]


def test_a_run_that_arrives_later_waits_for_one_round_not_for_the_flood() -> None:
    served = _serve(["flood"] * 50, later={3: ["anna"], 10: ["ben"]})
    assert served.index("anna") <= 5
    assert served.index("ben") <= 12


def test_a_flood_is_reached_although_others_never_stop_queueing() -> None:
    later = {number: ["anna"] for number in range(1, 40)}
    served = _serve(["flood"] * 5 + ["anna"], later=later)
    assert served[:10].count("flood") == 5


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=30), st.integers(1, 3))
def test_all_that_is_queued_is_served_and_no_home_is_ahead_by_more_than_a_round(arrivals: list[str], places: int) -> None:
    served = _serve(arrivals, places=places)
    assert Counter(served) == Counter(arrivals)
    left = Counter(arrivals)
    done: Counter[str] = Counter()
    for home in served:
        waiting = [other for other in left if left[other] and other != home]
        assert all(done[home] <= done[other] for other in waiting)
        done[home] += 1
        left[home] -= 1
