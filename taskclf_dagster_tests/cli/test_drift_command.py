"""The command `drift`: the report for people and as JSON, and the labelling queue."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskclf_dagster.cli.main import main
from taskclf_dagster.home import Home
from taskclf_dagster_tests.drift_scenario import FIRST_DRIFTED, THREE_INPUTS, at_day, change_days, forget_labels, shift_inputs, watched_home
from taskclf_dagster_tests.retrain_scenario import Learned


@pytest.fixture(scope="module")
def home(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = watched_home(learned, tmp_path_factory.mktemp("drift-command"))
    change_days(made, shift_inputs)
    forget_labels(made)
    return made


def drift(home: Home, day: int, *options: str) -> Result:
    return CliRunner().invoke(main, ["drift", "--home", str(home.root), "--as-of", at_day(day).isoformat(), *options])


def test_a_quiet_week_is_one_sentence(home: Home) -> None:
    result = drift(home, FIRST_DRIFTED)
    assert result.exit_code == 0
    assert result.output.startswith("No drift detected.\n2240 windows of 7 days against 2720 windows of 9 days")


def test_a_drift_names_inputs_thresholds_and_users_and_its_time_can_be_queued(home: Home) -> None:
    result = drift(home, FIRST_DRIFTED + 2, "--queue")
    assert result.exit_code == 0
    for name in THREE_INPUTS:
        assert any(name in line and "drifted" in line and line.rstrip().endswith("user-0") for line in result.output.splitlines()), name
    queue = json.loads(home.label_queue.read_text(encoding="utf-8"))
    assert f"{len(queue)} of {len(queue)} stretches added to" in result.output


def test_json_has_the_report_of_taskclf_and_what_is_worth_labelling(home: Home) -> None:
    document = json.loads(drift(home, FIRST_DRIFTED + 3, "--json").output)
    assert document["outcome"] == "judged"
    assert {"alerts", "feature_report", "class_shift", "telemetry_snapshot", "any_critical"} <= set(document)
    assert document["added_to_queue"] is None
    assert document["stretches"][0]["user_id"] == "user-0"


def test_a_folder_that_is_no_home_is_refused(tmp_path: Path) -> None:
    assert drift(Home(tmp_path / "none"), 0).exit_code == 1
