"""The asset policy_replay: made by its own job, and left out of what the button "Materialize all" starts."""

import json
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.assets.backtest import BacktestParams
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.domain.backtest.replay_record import Replay
from taskclf_dagster.domain.reporting.replay_report import replay_report_path
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home

OVERLAY = "search: off\ntrain_params: {num_boost_round: 12}\nmin_class_windows: 15\nmin_windows: 50\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return learnable_home(tmp_path_factory.mktemp("replayed"), users=1, days=10)


def _definitions(home: Home, tmp_path: Path) -> dg.Definitions:
    path = tmp_path / "overlay.yaml"
    path.write_text(OVERLAY, encoding="utf-8")
    return build_definitions(home=HomeResource(root=str(home.root)), run_settings=RunSettingsResource(config_path=str(path)))


def test_the_job_replays_and_shows_a_row_for_each_policy(home: Home, tmp_path: Path) -> None:
    form = {"first": (AS_OF - 2 * DAY).isoformat(), "last": AS_OF.isoformat(), "policies": ["present", "never"]}
    job = _definitions(home, tmp_path).resolve_job_def("backtest")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(run_config={"ops": {"policy_replay": {"config": form}}}, instance=instance)
        (made,) = result.asset_materializations_for_node("policy_replay")
    shown = made.metadata["policies"]
    assert isinstance(shown, dg.TableMetadataValue)
    assert [record.data["policy"] for record in shown.records] == ["present", "never"]
    assert replay_report_path(home).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert made.metadata["report"].value == str(replay_report_path(home))
    stored = sorted((home.records / "policy_replay").glob("*.json"))
    document = json.loads(stored[-1].read_text(encoding="utf-8"))
    assert [policy.name for policy in Replay.model_validate(document).policies] == ["present", "never"]


def test_a_run_of_several_assets_leaves_the_replay_out(home: Home, tmp_path: Path) -> None:
    job = _definitions(home, tmp_path).resolve_implicit_global_asset_job_def()
    selected = [dg.AssetKey("policy_replay"), dg.AssetKey("scored_windows")]
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(asset_selection=selected, instance=instance, raise_on_error=False)
    assert result.asset_materializations_for_node("policy_replay") == []
    assert "policy_replay" in [event.step_key for event in result.all_events if event.is_step_success]


def test_every_field_of_the_launch_form_is_explained() -> None:
    assert [name for name, field in BacktestParams.model_fields.items() if len(field.description or "") < 15] == []
