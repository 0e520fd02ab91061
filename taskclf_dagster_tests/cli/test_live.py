"""The command `live`: what it prints, and that it writes nothing."""

import json
from datetime import timedelta
from pathlib import Path

from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.home import Home
from taskclf_dagster_tests.domain.monitoring.test_live_performance import _watched_home
from taskclf_dagster_tests.models import MID, contents
from taskclf_dagster_tests.scenario import AS_OF, make_home


def _live(home: Home, *options: str) -> str:
    as_of = (AS_OF + timedelta(hours=20)).isoformat()
    result = CliRunner().invoke(main, ["live", "--home", str(home.root), "--as-of", as_of, *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_prints_the_figures_and_writes_nothing(tmp_path: Path) -> None:
    home = _watched_home(tmp_path, share=0.6)
    before = contents(home.root)
    printed, document = _live(home), json.loads(_live(home, "--json"))
    assert contents(home.root) == before
    assert document["dropped"] is True
    (model,) = document["models"]
    assert (model["model_id"], model["figures"]["labeled"], len(model["by_day"])) == (MID, 640, 16)
    assert f"macro-F1 {model['figures']['macro_f1']:.4f}" in printed
    assert "dropped: test figure: clearly below the bound" in printed
    assert "manual: 640 windows" in printed


def test_a_home_without_scores_says_so(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    assert _live(home).startswith("No window from 2026-01-22 to 2026-02-04 (UTC) was scored")
    assert json.loads(_live(home, "--json"))["state"] == "no_scores"
