"""A replay of the weeks of a home comes to the decisions that the real schedule and sensors came to, one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.backtest.looks import Look
from taskclf_dagster.domain.backtest.policies import Policy
from taskclf_dagster.domain.backtest.policy_replay import PolicyRun, replay_policy
from taskclf_dagster.domain.backtest.replayed_home import open_replayed_home
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster_tests.backtest_scenario import open_workshop
from taskclf_dagster_tests.soak.simulation import Day, Simulation

pytestmark = pytest.mark.soak

DAYS, IDLE = 4, frozenset({1})
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Lived:
    """A home whose days the real schedule lived through, and the replay of the same days."""

    simulation: Simulation
    days: list[Day]
    decisions: list[PromotionDecision]
    replayed: PolicyRun


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("replayed_soak")
    instance_folder = folder / "dagster"
    instance_folder.mkdir()
    (instance_folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(instance_folder)) as instance:
        simulation = Simulation(folder, instance, instance_folder)
        days = [simulation.live(number, None, works=number not in IDLE) for number in range(DAYS)]
        decisions = sorted(list_decisions(simulation.home)[0], key=lambda decision: decision.as_of)
        yield Lived(simulation, days, decisions, _replay(simulation, decisions, load_retrain_config(simulation.config)))


def _replay(simulation: Simulation, decisions: list[PromotionDecision], config: RetrainConfig) -> PolicyRun:
    """Looks when schedule and sensor looked; a run that decided had read its clock some moments later."""
    looks = []
    for number in range(DAYS):
        begin = simulation.start + number * timedelta(days=1)
        for minutes, by in ((6 * 60, "schedule"), (18 * 60 + 15, "labels"), (23 * 60, "labels")):
            nominal = begin + minutes * MINUTE
            runs = [decision.as_of for decision in decisions if nominal <= decision.as_of < nominal + 30 * MINUTE]
            looks.append(Look(runs[0] if runs else nominal, by))
    workshop = open_workshop(simulation.home)
    with open_replayed_home(simulation.home, workshop.labels) as replayed:
        return replay_policy(replayed, Policy("present", "gates", config), looks, workshop.retrainer)


def test_the_replay_launches_what_the_schedule_and_the_sensor_launched(lived: Lived) -> None:
    launched = [(cause, outcome) for day in lived.days for cause, outcome in zip(day.launched, day.outcomes, strict=True)]
    assert [(run.cause, run.outcome.outcome) for run in lived.replayed.runs] == launched
    assert len(launched) >= DAYS - len(IDLE)


def test_every_decision_of_the_replay_is_the_real_one(lived: Lived) -> None:
    replayed = [run.outcome.decision for run in lived.replayed.runs if run.outcome.decision is not None]
    assert len(replayed) == len(lived.decisions) >= DAYS - len(IDLE)
    assert len({decision.verdict for decision in replayed}) >= 2
    for ours, real in zip(replayed, lived.decisions, strict=True):
        assert (ours.as_of, ours.verdict, ours.reason) == (real.as_of, real.verdict, real.reason)
        assert ours.gates == real.gates
        assert ours.dataset == real.dataset
        assert (ours.challenger.model_id, ours.challenger.macro_f1) == (real.challenger.model_id, real.challenger.macro_f1)
        assert (ours.champion.source, ours.champion.threshold) == (real.champion.source, real.champion.threshold)
        assert (None if ours.comparison is None else ours.comparison.sums) == (None if real.comparison is None else real.comparison.sums)
        assert ours.training == real.training


def test_the_models_of_the_replay_are_those_that_ran(lived: Lived) -> None:
    moves = read_history(lived.simulation.home).moves
    assert [served.model.bundle.model_id for served in lived.replayed.served] == [move.new.name for move in moves if move.new is not None]


def test_the_replay_leaves_no_home_behind(lived: Lived) -> None:
    folder: Path = lived.simulation.home.backtest
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
