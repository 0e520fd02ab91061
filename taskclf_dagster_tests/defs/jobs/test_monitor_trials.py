"""A trial that the job `monitor` decides in a home whose promotions are signed."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.decision.decision import seal, sign_decision
from taskclf_dagster.domain.decision.decision_store import read_decision, receipt_path, receipt_text, report_path, save_decision
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.signed_state import find_unsigned, require_trusted
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import write_text
from taskclf_dagster.errors import DecisionNotVerifiedError, ReceiptNotTrustedError
from taskclf_dagster_tests.runs import instance_in
from taskclf_dagster_tests.scenario import DAY
from taskclf_dagster_tests.signing import KEYS, OWNER
from taskclf_dagster_tests.trial_scenario import FEW_TREES, HELD_AT, OPEN, RECOMPUTE, home_with_contender, live_on, look, trial_of

CHECKED = HELD_AT + 10 * DAY + timedelta(hours=5)


def test_the_job_promotes_with_a_signature_and_no_other_receipt_of_a_trial_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, held = home_with_contender(tmp_path)
    live_on(home, 10)
    repair(home, at=HELD_AT + DAY, keys=KEYS)
    assert look(home, 10, keys=KEYS).looks == ()  # nobody signed the receipt that held the challenger
    save_decision(home, sign_decision(held, KEYS))
    monkeypatch.setenv("SIGNING_KEY", OWNER[0])
    signing = {"private_key_env": "SIGNING_KEY", "public_key": OWNER[1]}
    config = tmp_path / "own.yaml"
    config.write_text(yaml.safe_dump({"search": "off", **OPEN, "train_params": FEW_TREES, "signing": signing}), encoding="utf-8")
    definitions = build_definitions(
        home=HomeResource(root=str(home.root)),
        clock=ClockResource(fixed=CHECKED.isoformat()),
        run_settings=RunSettingsResource(config_path=str(config)),
    )
    with instance_in(tmp_path) as instance:
        job = definitions.resolve_job_def("monitor")
        result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("contender_trials")])
        (made,) = result.asset_materializations_for_node("contender_trials")
    (row,) = made.metadata["trials"].records
    state, receipt = read_registry_state(home, KEYS), read_decision(home, trial_of(home, held).ended_by or "")
    assert receipt is not None
    assert receipt.trial is not None
    assert (row.data["state"], row.data["contender"]) == ("promoted", held.challenger.model_id)
    assert (state.pointer and state.pointer.name, find_unsigned(state)) == (held.challenger.model_id, None)
    assert [event.run_id for event in read_outbox(home).events if event.event_type == "model.promoted"][-1] == result.run_id
    assert report_path(home, receipt.decision_id).is_file()
    require_trusted(home, receipt, KEYS)
    verify = ["verify", receipt.decision_id, "--deep", "--home", str(home.root), "--config", str(config)]
    assert CliRunner().invoke(main, verify).exit_code == 0
    edited = receipt.model_copy(update={"trial": receipt.trial.model_copy(update={"significance": 0.01})})
    write_text(receipt_path(home, receipt.decision_id), receipt_text(edited))
    assert CliRunner().invoke(main, verify).exit_code != 0
    with pytest.raises(ReceiptNotTrustedError):
        promote(home, edited, recompute=RECOMPUTE, at=CHECKED, keys=KEYS)
    with pytest.raises(DecisionNotVerifiedError):
        promote(home, sign_decision(seal(edited), KEYS), recompute=RECOMPUTE, at=CHECKED, keys=KEYS)
