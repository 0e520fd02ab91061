"""Weeks of a home's life through the real schedule and sensors: eight days by default, sixty with TASKCLF_DAGSTER_SOAK=1 (`make soak`)."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg
import pytest

from taskclf_dagster.domain.data.label_store import present_watermark
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster_tests.soak.simulation import Day, Simulation

pytestmark = pytest.mark.soak

WHOLE = bool(os.environ.get("TASKCLF_DAGSTER_SOAK"))


@dataclass(frozen=True)
class Plan:
    """How long, on which days nobody works, what goes wrong when, and when a look-back range is too empty to learn from."""

    days: int
    idle: frozenset[int]
    incidents: Mapping[int, str]
    sparse: frozenset[int] = frozenset()

    def day_of(self, incident: str) -> int:
        return next(number for number, name in self.incidents.items() if name == incident)


SHORT = Plan(8, frozenset({1, 7}), {2: "an I/O error", 3: "a power cut", 4: "drift", 5: "a bad day", 6: "a rollback", 7: "deleted labels"})
LONG = Plan(
    60,
    frozenset({number for number in range(60) if number % 7 in (5, 6)} | set(range(17, 33))),
    {
        3: "a rollback",
        10: "drift",
        15: "an I/O error",
        38: "a bad day",
        43: "a power cut",
        45: "drift",
        51: "a rollback",
        54: "deleted labels",
        57: "a power cut",
    },
    sparse=frozenset({35}),  # the first day after the vacation
)
PLAN = LONG if WHOLE else SHORT


@dataclass(frozen=True)
class Life:
    simulation: Simulation
    days: list[Day]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("soak")
    instance_folder = folder / "dagster"
    instance_folder.mkdir()
    (instance_folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(instance_folder)) as instance:
        simulation = Simulation(folder, instance, instance_folder)
        days = [simulation.live(number, PLAN.incidents.get(number), works=number not in PLAN.idle) for number in range(PLAN.days)]
        if WHOLE:
            for day in days:
                print(day.number, day.launched, day.outcomes, day.size)  # noqa: T201  # the record of a soak
        yield Life(simulation, days)


def test_the_first_retrain_is_the_schedules_and_the_first_model_runs(life: Life) -> None:
    assert life.days[0].launched[0] == "new_labels"
    assert life.days[0].outcomes[0] == "PROMOTE"


def test_every_working_evening_launches_one_retrain_for_its_labels_and_an_idle_one_none(life: Life) -> None:
    for day in life.days:
        evening = [cause for cause in day.launched if cause == "new_labels"]
        if PLAN.incidents.get(day.number) == "deleted labels":
            assert evening == ["new_labels"], day
        elif day.number in PLAN.idle and day.number > 0:
            assert evening == [], day
        elif day.number in PLAN.sparse:
            assert evening == [], day
            assert "a run would be blocked: 160 windows are labelled by a person" in day.skipped["label_arrival"]
        elif PLAN.incidents.get(day.number) not in ("a bad day",) and PLAN.incidents.get(day.number - 1) != "a bad day":
            assert len(evening) == (2 if day.number == 0 else 1), day


def test_labels_that_arrive_on_a_bad_day_are_answered_once_the_file_is_whole(life: Life) -> None:
    number = PLAN.day_of("a bad day")
    assert "new_labels" not in life.days[number].launched
    assert "cannot be read" in life.days[number].skipped["label_arrival"]
    assert "new_labels" in life.days[number + 1].launched


def test_labels_that_a_person_takes_back_lead_to_a_decision_on_those_that_are_left(life: Life) -> None:
    day = life.days[PLAN.day_of("deleted labels")]
    assert day.outcomes[-1] in ("PROMOTE", "REJECT", "HOLD")
    decided = read_last_decided(life.simulation.home)
    assert decided is not None
    assert PLAN.days > day.number + 1 or decided.label_watermark == present_watermark(life.simulation.home)


def test_a_drift_report_is_answered_once_and_forced(life: Life) -> None:
    reports = [number for number, name in PLAN.incidents.items() if name == "drift"]
    assert [day.number for day in life.days if "drift" in day.launched] == reports


def test_an_error_that_passes_is_tried_again_within_the_hour_and_comes_to_a_decision(life: Life) -> None:
    day = life.days[PLAN.day_of("an I/O error")]
    at = day.launched.index("new_labels")
    assert day.launched[at : at + 2] == ["new_labels", "new_labels again"]
    assert day.outcomes[at] == "FAILED"
    assert day.outcomes[at + 1] in ("PROMOTE", "REJECT", "HOLD")


def test_after_a_power_cut_the_run_is_ended_and_tried_again_without_anybodys_help(life: Life) -> None:
    for number in [number for number, name in PLAN.incidents.items() if name == "a power cut"]:
        day = life.days[number]
        assert day.launched[-2:] == ["new_labels", "new_labels again"]
        assert day.outcomes[-2] == "DIED"
        assert day.outcomes[-1] in ("PROMOTE", "REJECT", "HOLD")


def test_a_model_that_was_rolled_back_never_runs_again(life: Life) -> None:
    moves = read_history(life.simulation.home).moves
    for number, move in enumerate(moves):
        if move.action == "rollback":
            assert move.blocks is not None
            assert move.blocks.model_id not in [later.new.name for later in moves[number + 1 :] if later.new is not None]


def test_no_retrain_is_launched_on_data_that_was_decided_on(life: Life) -> None:
    launched = [(run.tags.get(".dagster/taskclf_demand"), run.tags.get(".dagster/taskclf_retry")) for run in life.simulation.runs()]
    demands = [demand for demand, retry in launched if demand not in (None, "daily_retrain") and retry is None]
    assert len(set(demands)) == len(demands)


def test_events_tell_of_every_run_and_every_change_once(life: Life) -> None:
    events, runs = life.simulation.delivered(), life.simulation.runs()
    states = [run.state for run in runs]
    assert events["model.retrain.completed"] == states.count("completed")
    assert events["model.retrain.skipped"] == states.count("skipped")
    assert events["model.retrain.failed"] == states.count("failed")
    assert events["model.retrain.started"] == len(runs)
    moves = [move.action for move in read_history(life.simulation.home).moves]
    assert events["model.promoted"] == moves.count("promote")
    assert events["model.rolled_back"] == moves.count("rollback")


def test_the_disk_that_a_home_takes_does_not_grow_for_ever(life: Life) -> None:
    sizes = [day.size for day in life.days]
    settled = sizes[len(sizes) // 2]
    assert max(sizes[len(sizes) // 2 :]) < 1.5 * settled, sizes


@pytest.mark.skipif(not WHOLE, reason="the vacation is in the long plan: TASKCLF_DAGSTER_SOAK=1")
def test_in_a_long_vacation_cadence_skips_and_an_old_model_is_trained_again_by_force(life: Life) -> None:
    vacation = [day for day in life.days if 17 <= day.number < 33]
    launched = [(cause, outcome) for day in vacation for cause, outcome in zip(day.launched, day.outcomes, strict=False)]
    assert ("cadence", "SKIP") in launched
    forced = [outcome for cause, outcome in launched if cause == "model_age"]
    assert forced
    assert "SKIP" not in forced
    assert len(launched) <= 4
