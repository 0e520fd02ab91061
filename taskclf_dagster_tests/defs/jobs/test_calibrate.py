"""The job and the command `calibrate`: when they act, what they show, and data that makes each check red."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.calibration_sensor import evaluate_calibration_due
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.models.calibrator_store import read_calibrator_store
from taskclf_dagster.domain.monitoring.calibration import Calibration
from taskclf_dagster.domain.monitoring.calibration_checks import find_unbound, find_uncovered, find_unearned, read_fitted
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.calibration_trigger import assess_calibration
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.registry_scenario import actions, read
from taskclf_dagster_tests.retrain_scenario import LATER, Learned, Waiting
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import DAY, MINUTE, make_home

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")

EAGER = "calibration: {min_brier_gain: 0.0}\n"
"""The models of these tests are nearly calibrated; with any gain a calibrator is kept."""


@dataclass
class Bench:
    """A home with a promoted model, and how to calibrate it.

    Attributes:
        config: a settings file by which calibrators are kept with any gain.
    """

    home: Home
    config: Path
    instance: dg.DagsterInstance

    def launch(self, *, at: object = LATER, **form: object) -> dg.ExecuteInProcessResult:
        clock = ClockResource(fixed=str(at))
        job = build_definitions(home=HomeResource(root=str(self.home.root)), clock=clock).resolve_job_def("calibrate")
        return job.execute_in_process(run_config={"config_path": str(self.config), **form}, instance=self.instance, raise_on_error=False)

    def type(self, *options: str) -> str:
        result = CliRunner().invoke(main, ["calibrate", "--home", str(self.home.root), "--config", str(self.config), *options])
        assert result.exit_code == 0, result.output
        return result.output


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def bench(learned: Learned, tmp_path: Path, instance: dg.DagsterInstance) -> Bench:
    shutil.copytree(learned[0].root, tmp_path / "home")
    (tmp_path / "eager.yaml").write_text(EAGER, encoding="utf-8")
    return Bench(Home(tmp_path / "home"), tmp_path / "eager.yaml", instance)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


# --- The job ------------------------------------------------------------------------------------------------------------------------


def test_the_job_calibrates_the_active_model_and_every_check_is_green(bench: Bench) -> None:
    result = bench.launch()
    assert result.success
    names = ("improves_brier_or_stays_identity", "fitted_for_the_active_model", "covers_the_users")
    assert checks(result) == dict.fromkeys(names, True)
    record: Calibration = result.output_for_node("calibrator_store")
    assert record.outcome == "calibrated"
    (made,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in made.materialization.metadata.items()}
    assert (metadata["model_id"], metadata["store"], metadata["record"]) == (record.model_id, record.store, record.sequence)
    assert actions(bench.home)[-1][1] == "calibrate"


def test_it_acts_when_calibrators_are_due_or_when_forced(bench: Bench) -> None:
    found = []
    for at, force in ((LATER, False), (LATER + DAY, False), (LATER + DAY, True), (LATER + 9 * DAY, False)):
        bench.launch(at=at, force=force)
        found.append([action for _, action, _ in actions(bench.home)].count("calibrate"))
    assert found == [1, 1, 2, 3]


def test_a_dry_run_changes_nothing_of_the_registry(bench: Bench) -> None:
    before = contents(bench.home.models)
    assert bench.launch(dry_run=True).success
    assert contents(bench.home.models) == before
    assert not bench.home.calibrators.exists()


def test_while_a_decision_awaits_approval_nothing_is_due(waiting_home: Waiting, learned: Learned) -> None:
    home, decision = waiting_home
    waits = assess_calibration(home, now=LATER, cadence_days=7)
    assert (waits.due, decision.decision_id in waits.reason) == (False, True)
    assert assess_calibration(learned[0], now=LATER, cadence_days=7).due


# --- The checks ---------------------------------------------------------------------------------------------------------------------


def record_of(bench: Bench) -> Calibration:
    record: Calibration = bench.launch().output_for_node("calibrator_store")
    return record


def test_a_calibrator_that_did_not_help_enough_or_is_not_the_fitted_one_is_found(bench: Bench) -> None:
    record = record_of(bench)
    found = read_fitted(bench.home, record)
    assert find_unearned(record, found, min_brier_gain=0.0) == []
    assert "99% are required" in find_unearned(record, found, min_brier_gain=0.99)[0]
    identity = [fit.model_copy(update={"type": "identity"}) for fit in record.fits]
    assert "was fitted" in find_unearned(record.model_copy(update={"fits": tuple(identity)}), found, min_brier_gain=0.0)[0]
    shutil.rmtree(bench.home.calibrators)
    assert "cannot be used" in find_unearned(record, read_fitted(bench.home, record), min_brier_gain=0.0)[0]


def test_calibrators_of_another_model_or_that_the_policy_does_not_name_are_found(bench: Bench) -> None:
    record = record_of(bench)

    def problems(other: Calibration = record) -> list[str]:
        return find_unbound(read_registry_state(bench.home), other)

    assert problems() == []
    assert "was calibrated" in problems(record.model_copy(update={"model_id": "2026-01-01_000000_run-0000"}))[0]
    policy = {**read(bench.home.inference_policy), "calibrator_store_dir": None, "created_at": (LATER + MINUTE).isoformat()}
    bench.home.inference_policy.write_text(json.dumps(policy), encoding="utf-8")
    assert "names no calibrators" in problems()[0]
    repair(bench.home, at=LATER + MINUTE)
    assert "names no calibrators" in problems()[0]


def test_a_user_whose_calibrator_is_missing_is_found(bench: Bench) -> None:
    record = record_of(bench)
    folder = bench.home.root / str(record.store)
    assert find_uncovered(record, read_calibrator_store(folder)) == []
    (folder / "users" / "user-0.json").unlink()
    assert find_uncovered(record, read_calibrator_store(folder)) == ["user-0 has no calibrator of their own"]


# --- The command ----------------------------------------------------------------------------------------------------------------------


def test_the_command_prints_each_calibrator_and_the_record_as_json(bench: Bench) -> None:
    shown = bench.type("--as-of", LATER.isoformat(), "--dry-run")
    assert "everyone" in shown
    assert "skipped" in shown
    printed = json.loads(bench.type("--as-of", LATER.isoformat(), "--json"))
    assert (printed["outcome"], printed["sequence"], len(printed["fits"])) == ("calibrated", 2, 3)
    assert read(bench.home.inference_policy)["calibrator_store_dir"] == printed["store"]


def tick(bench: Bench, *, text: str = EAGER) -> dg.RunRequest | dg.SkipReason:
    bench.config.write_text(text, encoding="utf-8")
    settings = RunSettingsResource(config_path=str(bench.config))
    with dg.DagsterInstance.ephemeral() as instance:
        return evaluate_calibration_due(instance, bench.home, settings, now=LATER)


def test_the_sensor_launches_one_calibration_after_a_promotion(bench: Bench, instance: dg.DagsterInstance) -> None:
    settings = RunSettingsResource(config_path=str(bench.config))
    request = evaluate_calibration_due(instance, bench.home, settings, now=LATER)
    assert isinstance(request, dg.RunRequest)
    assert request.job_name == "calibrate"
    assert "names no calibrators for its model" in request.tags["taskclf/reason"]
    add_run(instance, bench.home, Status.FAILURE, job="calibrate", tags=request.tags)
    again = evaluate_calibration_due(instance, bench.home, settings, now=LATER)
    assert isinstance(again, dg.SkipReason)
    assert "tried it for this promotion" in str(again.skip_message)


def test_the_sensor_skips_once_the_model_is_calibrated(bench: Bench) -> None:
    assert bench.launch().success
    skip = tick(bench)
    assert isinstance(skip, dg.SkipReason)
    assert "is not due before" in str(skip.skip_message)


@pytest.mark.parametrize(
    ("text", "reason"), [("enabled: false\n", "`enabled` is false"), ("calibration_method: 'off'\n", "calibration_method is off")]
)
def test_the_sensor_skips_where_the_settings_turn_it_off(bench: Bench, text: str, reason: str) -> None:
    skip = tick(bench, text=text)
    assert isinstance(skip, dg.SkipReason)
    assert reason in str(skip.skip_message)


def test_the_sensor_waits_for_a_retrain_that_is_under_way(bench: Bench) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        add_run(instance, bench.home, Status.STARTED)
        skip = evaluate_calibration_due(instance, bench.home, RunSettingsResource(), now=LATER)
    assert isinstance(skip, dg.SkipReason)
    assert "names no calibrators for its model, but" in str(skip.skip_message)


def test_the_sensor_skips_a_home_without_a_model(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        skip = evaluate_calibration_due(instance, home, RunSettingsResource(), now=LATER)
    assert isinstance(skip, dg.SkipReason)
    assert "no model is active" in str(skip.skip_message)
