"""One look at the registry: every file is opened once, and a later look sees what changed since."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskclf_dagster.domain.registry.health import (
    find_history_disagreement,
    find_last_known_good,
    find_pointer_problem,
    find_policy_problem,
    find_usable_pointer,
    is_cut_off,
)
from taskclf_dagster.domain.registry.retention import LastRun, prune_locked
from taskclf_dagster.domain.registry.state import Digests, RegistryState, read_digests, read_registry_state
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, point_at
from taskclf_dagster_tests.registry_scenario import NEXT, judged, promote, promoted
from taskclf_dagster_tests.scenario import DAY, make_home

_watched: list[tuple[str, Counter[str]]] = []


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if _watched and event == "open" and isinstance(arguments[0], str | Path):
        folder, opens = _watched[-1]
        if str(arguments[0]).startswith(folder):
            opens[str(arguments[0]).removeprefix(folder)] += 1


sys.addaudithook(_on_event)


@contextmanager
def opens(folder: Path) -> Iterator[Counter[str]]:
    """Counts the opens of files below a folder, by their paths relative to it."""
    found: Counter[str] = Counter()
    _watched.append((f"{folder}/", found))
    try:
        yield found
    finally:
        _watched.pop()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """OLD and MID ran, NEW runs."""
    return promoted(make_home(tmp_path), OLD, MID, NEW)


def test_every_question_about_one_look_opens_each_file_once(home: Home) -> None:
    with opens(home.root) as found:
        state = read_registry_state(home)
        assert find_usable_pointer(state).problem is None
        assert (find_pointer_problem(state), find_policy_problem(state), find_history_disagreement(state)) == (None, None, None)
        assert find_last_known_good(state).name == NEW
        assert find_last_known_good(state, but=f"models/{NEW}").name == MID
        assert not is_cut_off(state)
    assert {name: number for name, number in found.items() if number > 1} == {}
    assert {"models/active.json", "models/inference_policy.json", "models/active_history.jsonl"} <= set(found)


def test_a_look_keeps_what_it_saw_and_the_next_one_sees_the_change(home: Home) -> None:
    before = read_registry_state(home)
    assert find_usable_pointer(before).problem is None
    point_at(home, MID)
    assert before.pointer.name == NEW
    after = read_registry_state(home)
    assert after.pointer.name == MID
    assert not after.is_same_as(before)
    assert read_digests(home) == after.digests != before.digests
    assert before.digests.policy == after.digests.policy
    assert Digests(None, None) != after.digests


def test_a_promotion_reads_the_challenger_once_before_and_once_after_it_is_in_models(home: Home) -> None:
    decision = judged(home, NEXT)
    with opens(home.root) as found:
        promote(home, decision, at=AT + 9 * DAY)
    folders = (f"artifacts/challengers/{NEXT}/", f"models/.staging/{NEXT}/", f"models/{NEXT}/", f"models/{NEW}/")
    reopened = {name: number for name, number in found.items() if number > 2 and name.startswith(folders)}
    assert reopened == {}  # a file that is written is opened to write it and to sync it
    assert found[f"artifacts/challengers/{NEXT}/model.txt"] == found[f"models/{NEXT}/model.txt"] == 1


def test_retention_under_the_lock_of_a_promotion_reads_no_file_of_a_bundle_or_of_the_registry_again(home: Home) -> None:
    found: Counter[str] = Counter()

    def then(state: RegistryState) -> None:
        with opens(home.root) as seen:
            plan = prune_locked(state, LastRun(NEXT, None, None), keep_versions=5, keep_rejected=5, at=AT + 9 * DAY, promoted=True)
        found.update(seen)
        assert plan.reachable[NEXT] == "active"

    promote(home, judged(home, NEXT), at=AT + 9 * DAY, then=then)
    known = ("models/active", "models/inference", f"models/{NEXT}/", f"models/{NEW}/")
    assert [name for name in found if name.startswith(known)] == []
