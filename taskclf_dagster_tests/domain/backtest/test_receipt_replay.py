"""Stored receipts under another policy, from their own figures."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.backtest.receipt_replay import ReceiptReplay, replay_receipts
from taskclf_dagster.domain.decision.decision_store import list_decisions, save_decision
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import a_decision
from taskclf_dagster_tests.retrain_scenario import LEARNED, Learned
from taskclf_dagster_tests.scenario import make_home, retrain_config


def replay(learned: Learned, **changes: object) -> ReceiptReplay:
    return replay_receipts([learned[1], learned[2]], "tried", LEARNED.with_changes(**changes), LEARNED)


def test_by_its_own_policy_no_verdict_changes_and_every_gate_can_be_judged(learned: Learned) -> None:
    found = replay(learned)
    assert [receipt.verdict for receipt in found.receipts] == [learned[1].verdict, learned[2].verdict]
    assert (found.changed, found.ignored_keys) == (0, [])
    assert [receipt.unjudgeable for receipt in found.receipts] == [{}, {}]


def test_a_floor_above_the_figure_of_a_receipt_changes_its_verdict_and_one_below_does_not(learned: Learned) -> None:
    figures = sorted(decision.challenger.macro_f1 or 0.0 for decision in learned[1:])
    assert replay(learned, gates={"min_macro_f1": figures[0] - 0.001}).changed == 0
    found = replay(learned, gates={"min_macro_f1": min(1.0, figures[1] + 0.001)})
    changed = [receipt for receipt in found.receipts if receipt.verdict != "REJECT"]
    assert found.changed == len(changed) >= 1
    assert all(receipt.again == "REJECT" and "macro_f1" in receipt.reason for receipt in changed)


def test_the_evidence_policy_is_judged_from_the_counts_of_the_receipt(learned: Learned) -> None:
    found = replay(learned, evidence_policy="superior", min_improvement=0.9)
    first, second = found.receipts
    assert first.again == first.verdict  # there was no champion to be better than
    assert second.again in ("REJECT", "HOLD")
    assert "min_improvement" in second.reason


def test_keys_that_shape_datasets_and_models_are_named_as_without_effect(learned: Learned) -> None:
    found = replay(learned, data_lookback_days=14, train_params={"num_leaves": 5})
    assert set(found.ignored_keys) == {"data_lookback_days", "train_params.num_leaves"}
    assert found.changed == 0


def test_gates_without_figures_in_a_receipt_are_named_with_the_reason(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    policy = retrain_config(require_baseline_improvement=False, prove_reproducible=False).policy
    decision = a_decision(home, policy=policy)
    settings = decision.settings.with_changes(require_baseline_improvement=True, prove_reproducible=True, min_class_windows=40)
    (receipt,) = replay_receipts([decision], "tried", settings, decision.settings).receipts
    assert receipt.unjudgeable["beats_rule_baseline"]
    assert "30 windows, the policy wants 40" in receipt.unjudgeable["macro_f1"]


def test_receipts_are_taken_in_the_order_of_their_times(learned: Learned) -> None:
    found = replay_receipts([learned[2], learned[1]], "tried", LEARNED, LEARNED)
    assert [receipt.decision_id for receipt in found.receipts] == [learned[1].decision_id, learned[2].decision_id]


@pytest.fixture
def home(learned: Learned, tmp_path: Path) -> Home:
    copied = Home(tmp_path / "home")
    shutil.copytree(learned[0].root, copied.root)
    return copied


def test_the_command_says_how_many_verdicts_would_have_changed(home: Home, tmp_path: Path) -> None:
    policy = tmp_path / "stricter.yaml"
    policy.write_text("gates: {min_macro_f1: 1.0}\nnum_leaves_are_no_key: 1\n", encoding="utf-8")
    command = ["replay-receipts", "--home", str(home.root), "--policy", str(policy)]
    refused = CliRunner().invoke(main, command)
    assert (refused.exit_code, "num_leaves_are_no_key" in refused.output) == (1, True)
    policy.write_text("gates: {min_macro_f1: 1.0}\nauto_promote: true\ndata_lookback_days: 20\n", encoding="utf-8")
    found = CliRunner().invoke(main, command)
    total = len(list_decisions(home)[0])
    assert found.exit_code == 0
    assert "stricter would have changed " in found.output
    assert f" of {total} verdicts." in found.output
    assert "without effect here: data_lookback_days" in found.output
    document = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)
    assert document["judged"] == total
    assert document["changed"] == sum(each["again"] != each["verdict"] for each in document["receipts"])


def test_a_receipt_that_cannot_be_read_is_named_and_left_out(home: Home, tmp_path: Path) -> None:
    decision = list_decisions(home)[0][0]
    path = save_decision(home, decision)
    path.write_text("{", encoding="utf-8")
    policy = tmp_path / "same.yaml"
    policy.write_text("{}\n", encoding="utf-8")
    found = CliRunner().invoke(main, ["replay-receipts", "--home", str(home.root), "--policy", str(policy)])
    assert found.exit_code == 0
    assert f"left out {path.name}" in found.output
