"""The drill of a rollback works on a copy, and says so if the labels of a home do not allow it."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.probation.rollback_drill import DrillTools, drill_rollback
from taskclf_dagster.errors import DrillError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.probation_scenario import home_with_promotion
from taskclf_dagster_tests.scenario import make_home, retrain_config


def contents(home: Home) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(home.root.rglob("*")) if path.is_file()}


def test_the_drill_finds_the_harm_rolls_back_and_leaves_the_home_as_it_is(tmp_path: Path) -> None:
    home, _ = home_with_promotion(tmp_path)
    before = contents(home)
    result = CliRunner().invoke(main, ["drill", "rollback", str(home.root), "--json"])
    assert result.exit_code == 0, result.output
    drill = json.loads(result.stdout)
    names = [step["name"] for step in drill["steps"]]
    assert drill["passed"]
    assert names[:3] == ["copied", "good model promoted", "bad model promoted"]
    assert "is worse than" in drill["steps"][-2]["detail"]
    assert contents(home) == before


def test_a_home_without_labels_of_people_is_named(tmp_path: Path) -> None:
    tools = DrillTools(retrain_config(), 1, "0123456", lambda: 0.0, lambda _: None)
    with pytest.raises(DrillError, match="no windows with labels of a person"):
        drill_rollback(make_home(tmp_path), tmp_path / "copy", tools)
