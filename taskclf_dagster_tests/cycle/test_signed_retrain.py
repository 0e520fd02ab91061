"""A retrain whose receipt and history record are signed, through the job."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.signed_state import find_unsigned, require_trusted
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster_tests.cycle.stages import Stage
from taskclf_dagster_tests.signing import OWNER

pytestmark = pytest.mark.slow


def test_a_home_starts_to_sign_and_the_next_retrain_is_signed_from_receipt_to_pointer(
    grown: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = grown.copy(tmp_path)
    more = "".join(f"    {line}\n" for line in OWNER[1].splitlines())
    config = stage.config("PROMOTE", f"signing:\n  private_key_env: SIGNING_KEY\n  public_key: |\n{more}")
    before = stage.active()
    failed = stage.retrain(config)
    assert not failed.success
    assert any("SIGNING_KEY" in str(event.event_specific_data) for event in failed.all_events if event.is_step_failure)
    monkeypatch.setenv("SIGNING_KEY", OWNER[0])
    command = ["registry", "repair", "--home", str(stage.home.root), "--config", str(config)]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert stage.retrain(config).success
    assert stage.active() != before
    keys = open_keys(stage.home, load_retrain_config(config).signing, signs=False)
    state, decision = read_registry_state(stage.home, keys), stage.decision()
    require_trusted(stage.home, decision, keys)
    assert (find_unsigned(state), state.history.last_move) == (None, read_history(stage.home).last_move)
    assert [finding.detail for finding in check_registry(stage.home, keys) if finding.severity == "damage"] == []
    secret = OWNER[0].splitlines()[1]
    stored = [path for path in stage.home.root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    shown = CliRunner().invoke(main, ["config", "show", "--json", "--config", str(config)]).output
    assert (stored, secret in shown, json.loads(shown)["signing"]["private_key_env"]) == ([], False, "SIGNING_KEY")
