"""The command `backtest`: a table, JSON, and the report."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.reporting.replay_report import replay_report_path
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home

OVERLAY = "search: off\ntrain_params: {num_boost_round: 12}\nmin_class_windows: 15\nmin_windows: 50\n"
RANGE = ("--from", (AS_OF - 2 * DAY).isoformat(), "--to", AS_OF.isoformat())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = learnable_home(tmp_path_factory.mktemp("backtest"), users=1, days=10)
    made.settings_file.write_text(OVERLAY, encoding="utf-8")
    return made


def backtest(home: Home, *options: str) -> Result:
    return CliRunner().invoke(main, ["backtest", str(home.root), *RANGE, "--quiet", *options])


def test_a_table_compares_the_named_policies_and_a_file(home: Home, tmp_path: Path) -> None:
    policy = tmp_path / "strict.yaml"
    policy.write_text("min_improvement: 0.5\n", encoding="utf-8")
    result = backtest(home, "--policy", "present", "--policy", "never", "--policy", str(policy))
    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.output.splitlines() if line.startswith(("present ", "never ", "strict ", "always "))]
    assert rows == ["present", "never", "strict"]
    assert "A label counts as known from the end of its span" in result.output
    assert f"report: {replay_report_path(home)}" in result.output
    assert "strict" in replay_report_path(home).read_text(encoding="utf-8")


def test_json_has_days_decisions_and_promotions_and_the_report_goes_where_it_is_asked_to(home: Home, tmp_path: Path) -> None:
    output = tmp_path / "replay.html"
    document = json.loads(backtest(home, "--policy", "present", "--json", "--output", str(output)).output)
    (policy,) = document["policies"]
    assert (policy["name"], len(policy["days"])) == ("present", 2)
    assert policy["decisions"][0]["outcome"] == "PROMOTE"
    assert output.exists()


def test_a_policy_that_is_neither_built_in_nor_a_file_is_refused(home: Home) -> None:
    result = backtest(home, "--policy", "sometimes")
    assert result.exit_code == 1
    assert "sometimes" in result.output


def test_a_time_without_labels_is_refused_with_the_way_out(home: Home) -> None:
    result = CliRunner().invoke(main, ["backtest", str(home.root), "--from", "2020-01-01", "--to", "2020-02-01", "--quiet"])
    assert result.exit_code == 1
    assert "Nothing can be replayed" in result.output
