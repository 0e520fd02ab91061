"""Which settings a challenger is trained with: as given, found by a search, or kept from an earlier one while nothing changed."""

from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from taskclf_dagster.config.settings import ClockInput, RetrainConfig
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, open_snapshot
from taskclf_dagster.domain.models.choice import Choice
from taskclf_dagster.domain.models.chosen_settings import Chosen, ChosenSettings, choose_settings
from taskclf_dagster.home import Home
from taskclf_dagster.progress import report_lines
from taskclf_dagster_tests.retrain_scenario import FAST, take_snapshot
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home, retrain_config

SEARCHING = retrain_config(train_params=FAST, min_class_windows=10, search="auto")

Taken = tuple[Home, DatasetSnapshot]


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """A snapshot of two users and seven days; not to be written into."""
    home = learnable_home(tmp_path_factory.mktemp("searched"), users=2, days=7)
    return home, take_snapshot(home, SEARCHING)[0]


def choose(
    taken: Taken, earlier: ChosenSettings | None = None, *, config: RetrainConfig = SEARCHING, lines: list[str] | None = None
) -> ChosenSettings:
    return choose_with_folds(taken, earlier, config=config, lines=lines).settings


def choose_with_folds(
    taken: Taken, earlier: ChosenSettings | None = None, *, config: RetrainConfig = SEARCHING, lines: list[str] | None = None
) -> Chosen:
    home, snapshot = taken
    return choose_settings(
        open_snapshot(home, snapshot),
        snapshot,
        config=config,
        earlier=earlier,
        num_threads=1,
        on_progress=report_lines((lines if lines is not None else []).append),
    )


def earlier_choice(taken: Taken, *, age: timedelta, **changes: object) -> ChosenSettings:
    """A choice that differs from the settings as given, of a search so long ago."""
    given = choose(taken, config=SEARCHING.with_changes(search="off")).given
    choice = Choice(constant_inputs=["hour_of_day"], num_leaves=15, uses_older=False, seeds=1)
    return ChosenSettings(choice=choice, given={**given, **changes}, searched_at=AS_OF - age, reason="", search=None)


def test_without_a_search_the_settings_are_those_that_are_given(taken: Taken) -> None:
    lines: list[str] = []
    found = choose(taken, earlier_choice(taken, age=DAY), config=SEARCHING.with_changes(search="off"), lines=lines)
    assert found.choice == Choice(constant_inputs=list(get_args(ClockInput)), num_leaves=FAST["num_leaves"], uses_older=True, seeds=1)
    assert (found.searched_at, found.search, lines) == (None, None, [])
    assert "off" in found.reason


def test_a_search_says_what_it_compared_and_counts_from_its_as_of_time(taken: Taken) -> None:
    lines: list[str] = []
    found = choose(taken, lines=lines)
    assert found.search is not None
    assert found.search.state == "searched"
    assert (found.choice, found.reason, found.searched_at) == (found.search.choice, found.search.summary, AS_OF)
    assert lines[:2] == ["search: settings as given", "search: no constant inputs"]
    assert found == choose(taken)


def test_the_folds_of_the_choice_are_predicted_in_every_run_with_a_search(taken: Taken) -> None:
    searched = choose_with_folds(taken)
    assert searched.out_of_fold is not None
    same = choose_with_folds(taken, searched.settings.model_copy(update={"searched_at": AS_OF - DAY}))
    assert same.settings.search is None
    assert same.out_of_fold is not None
    assert same.out_of_fold.is_same_as(searched.out_of_fold)
    other = choose_with_folds(taken, earlier_choice(taken, age=DAY)).out_of_fold
    assert other is not None
    assert not other.is_same_as(searched.out_of_fold)
    assert choose_with_folds(taken, config=SEARCHING.with_changes(search="off")).out_of_fold is None


def test_a_search_that_is_off_for_want_of_days_is_not_remembered(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    found = choose((home, take_snapshot(home, SEARCHING)[0]))
    assert found.search is not None
    assert (found.search.state, found.searched_at) == ("off", None)
    assert found.choice.num_leaves == FAST["num_leaves"]


def test_a_choice_is_kept_until_the_cadence_has_passed(taken: Taken) -> None:
    kept = choose(taken, earlier := earlier_choice(taken, age=30 * DAY - timedelta(seconds=1)))
    assert (kept.choice, kept.searched_at, kept.search) == (earlier.choice, earlier.searched_at, None)
    assert "2026-01-05" in kept.reason
    assert choose(taken, earlier_choice(taken, age=30 * DAY)).search is not None
    sooner = SEARCHING.with_changes(search_cadence_days=1)
    assert choose(taken, earlier_choice(taken, age=DAY), config=sooner).search is not None


def test_a_choice_of_the_future_or_of_other_settings_is_not_kept(taken: Taken) -> None:
    assert choose(taken, earlier_choice(taken, age=-timedelta(seconds=1))).search is not None
    assert choose(taken, earlier_choice(taken, age=DAY, learning_rate=0.3)).search is not None
    for other in (
        {"refit": False},
        {"search_budget": 30.0},
        {"data_lookback_days": 20},
        {"training_lookback_days": 3_000},
    ):
        assert choose(taken, earlier_choice(taken, age=DAY), config=SEARCHING.with_changes(**other)).search is not None
    assert choose(taken, earlier_choice(taken, age=DAY, schema_version="v3")).search is not None
    unsearched = earlier_choice(taken, age=DAY).model_copy(update={"searched_at": None})
    assert choose(taken, unsearched).search is not None


def test_the_number_of_threads_is_no_setting_of_a_choice(taken: Taken) -> None:
    assert choose(taken, earlier_choice(taken, age=DAY), config=SEARCHING.with_changes(train_params={"num_threads": 2})).search is None


@pytest.mark.parametrize(("field", "value"), [("seeds", 12), ("num_leaves", 1), ("num_leaves", 4097)])
def test_a_choice_that_no_search_makes_is_refused(field: str, value: int) -> None:
    with pytest.raises(ValidationError):
        Choice.model_validate({"constant_inputs": [], "num_leaves": 7, "uses_older": True, "seeds": 1, field: value})


def test_a_choice_is_told_in_words() -> None:
    one = Choice(constant_inputs=[], num_leaves=7, uses_older=True, seeds=1)
    three = Choice(constant_inputs=["day_of_week", "hour_of_day"], num_leaves=31, uses_older=False, seeds=3)
    assert one.describe() == "7 leaves, no constant inputs, one seed"
    assert three.describe() == "31 leaves, constant day_of_week, hour_of_day, older windows do not teach, average of 3 seeds"
