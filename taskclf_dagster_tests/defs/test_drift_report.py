"""The asset drift_report and the job monitor: checks that warn in a green run, what the page shows, and one request by the sensor."""

from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.sensors import evaluate_drift_report
from taskclf_dagster.defs.display.drift_metadata import DRIFT_CHECKS
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.home import Home
from taskclf_dagster_tests.drift_scenario import FIRST_DRIFTED, at_day, change_days, shift_inputs, watched_home
from taskclf_dagster_tests.retrain_scenario import Learned
from taskclf_dagster_tests.scenario import AS_OF, learnable_home

SUSPECT = FIRST_DRIFTED + 2


@pytest.fixture
def home(learned: Learned, tmp_path: Path) -> Home:
    made = watched_home(learned, tmp_path)
    change_days(made, shift_inputs)
    return made


def monitor(home: Home, instance: dg.DagsterInstance, day: int) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=at_day(day).isoformat()))
    return definitions.resolve_job_def("monitor").execute_in_process(instance=instance)


def checks_of_drift(result: dg.ExecuteInProcessResult) -> list[dg.AssetCheckEvaluation]:
    return [each for each in result.get_asset_check_evaluations() if each.asset_key == dg.AssetKey("drift_report")]


def failed(result: dg.ExecuteInProcessResult) -> set[str]:
    found = checks_of_drift(result)
    assert {each.severity for each in found} == {dg.AssetCheckSeverity.WARN}
    assert {each.check_name for each in found} == set(DRIFT_CHECKS)
    return {each.check_name for each in found if not each.passed}


def test_a_drift_is_a_warning_in_a_green_run_and_requests_one_retrain(home: Home, instance: dg.DagsterInstance) -> None:
    settings, active = RunSettingsResource(), read_active(home)
    quiet = monitor(home, instance, FIRST_DRIFTED)
    assert (quiet.success, failed(quiet)) == (True, set())

    suspect = monitor(home, instance, SUSPECT)
    assert suspect.success
    assert "inputs_have_not_drifted" in failed(suspect)
    assert "drift_is_not_confirmed" not in failed(suspect)
    assert evaluate_drift_report(instance, home, settings, now=at_day(SUSPECT)).request is None

    confirmed = monitor(home, instance, SUSPECT + 1)
    assert {"drift_is_not_confirmed", "inputs_have_not_drifted"} <= failed(confirmed)
    request = evaluate_drift_report(instance, home, settings, now=at_day(SUSPECT + 1)).request
    assert request is not None
    assert request.tags["taskclf/cause"] == "drift"
    assert read_active(home) == active

    monitor(home, instance, SUSPECT + 2)
    again = evaluate_drift_report(instance, home, settings, now=at_day(SUSPECT + 2)).request
    assert again is not None
    assert again.run_key == request.run_key  # of the same report: Dagster launches it once


def test_the_page_shows_a_table_a_picture_and_figures_that_are_plotted(home: Home, instance: dg.DagsterInstance) -> None:
    events = monitor(home, instance, SUSPECT).get_asset_materialization_events()
    event = next(each for each in events if each.asset_key == dg.AssetKey("drift_report"))
    metadata = event.materialization.metadata
    assert isinstance(metadata["inputs"], dg.TableMetadataValue)
    assert metadata["inputs"].records[0].data["verdict"] == "drifted"
    assert isinstance(metadata["psi_by_input"], dg.MarkdownMetadataValue)
    assert metadata["drifted_inputs"].value >= 3
    assert metadata["windows"].value == 2240
    stored = read_json_object(home.records / "drift_report" / "latest.json")
    assert stored["outcome"] == "judged"


def test_without_a_model_every_check_passes_as_not_judged(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, days=2)
    result = monitor(home, instance, 0)
    assert (result.success, failed(result)) == (True, set())
    assert all((each.description or "").startswith("Not judged") for each in checks_of_drift(result))
    assert at_day(0) > AS_OF
