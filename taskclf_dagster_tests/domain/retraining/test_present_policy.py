"""An approval under a policy that became stricter: the stored numbers are judged by today's thresholds, and it is asked again."""

import shutil
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.config.loading import CONFIG_VARIABLE
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.execution.training_recipe import local_recipe
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.retraining.apply_decision import apply_decision
from taskclf_dagster.domain.retraining.present_policy import find_differing_keys, judge_by_present_policy, require_present_policy
from taskclf_dagster.errors import RegistryRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import SHIPPED, SLICED, Candidate, receipt, slice_lost
from taskclf_dagster_tests.models import AT, NEW, a_decision
from taskclf_dagster_tests.registry_scenario import find_no_difference, judged
from taskclf_dagster_tests.retrain_scenario import Waiting
from taskclf_dagster_tests.scenario import make_home, retrain_config

SNAPSHOT = "artifacts/snapshots/0a963156a3de73d5"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def waiting(home: Home) -> PromotionDecision:
    """A decision that awaits approval: every figure lies 0.1 above its lowest bound."""
    decision = a_decision(home, auto_promote=False)
    save_decision(home, decision)
    assert (decision.verdict, verify_decision(decision)) == ("AWAITING_APPROVAL", [])
    return decision


def gate(decision: PromotionDecision, name: str) -> float:
    return next(each.observed for each in decision.gates if each.name == name and each.observed is not None)


STRICTER: dict[str, tuple[str, str, float]] = {
    "macro_f1": ("min_macro_f1", "macro_f1", 0.01),
    "weighted_f1": ("min_weighted_f1", "weighted_f1", 0.01),
    "lowest precision": ("min_class_precision", "no_class_below_50_precision", 0.01),
    "highest reject rate": ("max_reject_rate", "reject_rate_bounds", -0.01),
}


@pytest.mark.parametrize(("key", "name", "beyond"), STRICTER.values(), ids=STRICTER.keys())
def test_a_threshold_beyond_the_stored_figure_refuses_and_one_at_it_does_not(
    home: Home, waiting: PromotionDecision, key: str, name: str, beyond: float
) -> None:
    observed = gate(waiting, name)
    require_present_policy(waiting, retrain_config(gates={key: observed}), approved=True)
    with pytest.raises(RegistryRefusedError) as caught:
        require_present_policy(waiting, retrain_config(gates={key: observed + beyond}), approved=True)
    assert key in str(caught.value)
    assert name in str(caught.value)
    assert "--as-judged" in str(caught.value)


def test_slices_that_count_since_today_are_judged_by_the_counts_of_the_receipt_and_hold_one_without_counts(home: Home) -> None:
    worse, fine = (receipt(home, Candidate(comparison=made, config=SHIPPED)) for made in (slice_lost(), slice_lost(0.0)))
    assert (worse.verdict, fine.verdict) == ("PROMOTE", "PROMOTE")
    verdict, reason = judge_by_present_policy(worse, SLICED)
    assert (verdict, "app category: terminal" in reason) == ("REJECT", True)
    assert judge_by_present_policy(fine, SLICED)[0] == "PROMOTE"
    older = receipt(home, Candidate(comparison=slice_lost(0.0).model_copy(update={"slices": None}), config=SHIPPED))
    assert judge_by_present_policy(older, SLICED)[0] == "HOLD"


def test_the_same_policy_a_laxer_one_and_one_that_promotes_by_itself_ask_nothing(home: Home, waiting: PromotionDecision) -> None:
    laxer, by_itself = retrain_config(gates={"min_macro_f1": 0.1}), retrain_config(auto_promote=True)
    for config in (retrain_config(), laxer, by_itself, retrain_config(min_new_labels=7)):
        require_present_policy(waiting, config, approved=True)


def test_only_keys_that_differ_are_named_with_both_values(waiting: PromotionDecision) -> None:
    config = retrain_config(gates={"min_macro_f1": 0.97}, max_flip_excess=0.5)
    named = {words.partition(" ")[0]: words for words in find_differing_keys(waiting, config)}
    assert {"min_macro_f1", "max_flip_excess"} <= {key.rpartition(".")[2] for key in named}
    assert "min_weighted_f1" not in " ".join(named)
    assert any("now 0.97" in words for words in named.values())


def test_a_gate_that_did_not_apply_then_and_is_wanted_now_holds_the_decision(home: Home) -> None:
    lax = retrain_config(auto_promote=False, prove_reproducible=False)
    gates = [
        each.model_copy(update={"status": "NOT_APPLICABLE", "observed": None, "threshold": None}) if each.name == "reproducible" else each
        for each in a_decision(home).gates
    ]
    decision = a_decision(home, gates=gates, auto_promote=False, policy=lax.policy)
    assert judge_by_present_policy(decision, lax)[0] == "AWAITING_APPROVAL"
    assert judge_by_present_policy(decision, retrain_config(prove_reproducible=True))[0] == "HOLD"


@pytest.mark.parametrize(("trainer", "verdict"), [("local", "HOLD"), ("dask", "AWAITING_APPROVAL")])
def test_only_the_recipe_of_a_cluster_excuses_that_a_model_was_not_made_again(home: Home, trainer: str, verdict: str) -> None:
    gates = [
        each.model_copy(update={"status": "NOT_APPLICABLE", "observed": None, "threshold": None}) if each.name == "reproducible" else each
        for each in a_decision(home).gates
    ]
    recipe = local_recipe().model_copy(update={"trainer": trainer})
    decision = a_decision(home, gates=gates, auto_promote=False, recipe=recipe)
    assert judge_by_present_policy(decision, retrain_config(auto_promote=False, prove_reproducible=True))[0] == verdict
    assert ("gate_not_excused" in {finding.kind for finding in verify_decision(decision)}) == (trainer == "local")


def test_a_receipt_that_was_forged_is_left_to_the_promotion(waiting: PromotionDecision) -> None:
    forged = waiting.model_copy(update={"policy": {"gates": {"min_macro_f1": "much"}}})
    require_present_policy(forged, retrain_config(gates={"min_macro_f1": 0.99}), approved=True)


def test_a_decision_to_promote_that_would_only_wait_today_is_refused_and_names_the_key(home: Home) -> None:
    decision = a_decision(home)
    require_present_policy(decision, retrain_config(auto_promote=True))
    with pytest.raises(RegistryRefusedError, match="auto_promote"):
        require_present_policy(decision, retrain_config(auto_promote=False))


def test_a_decision_of_a_laxer_policy_than_that_of_the_run_is_not_applied(home: Home) -> None:
    apply = partial(apply_decision, home, judged(home), recompute=find_no_difference, run_id="run", at=AT)
    with pytest.raises(RegistryRefusedError, match="auto_promote"):
        apply(settings=retrain_config(auto_promote=False))
    assert runs(home) is None
    applied = apply(settings=retrain_config(auto_promote=True))
    assert (applied.outcome, runs(home)) == ("promoted", NEW)
    assert apply(settings=retrain_config(auto_promote=False)).outcome == "already_applied"


Approvable = tuple[Home, PromotionDecision]


@pytest.fixture
def approvable(waiting_home: Waiting, tmp_path: Path) -> Approvable:
    """A home without a champion whose first challenger awaits approval."""
    shutil.copytree(waiting_home[0].root, tmp_path / "waiting")
    return Home(tmp_path / "waiting"), waiting_home[1]


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    path = tmp_path / "strict.yaml"
    path.write_text("gates: {min_macro_f1: 0.99}\n", encoding="utf-8")
    return path


def runs(home: Home) -> str | None:
    pointer = read_active(home)
    return None if pointer is None else pointer.name


def test_the_command_asks_again_and_as_judged_insists(approvable: Approvable, strict: Path) -> None:
    home, decision = approvable
    arguments = ["approve", decision.decision_id, "--home", str(home.root), "--config", str(strict)]
    refused = CliRunner().invoke(main, arguments)
    assert (refused.exit_code, runs(home)) == (1, None)
    assert "min_macro_f1" in refused.output
    approved = CliRunner().invoke(main, [*arguments, "--as-judged"])
    assert (approved.exit_code, runs(home)) == (0, decision.challenger.model_id), approved.output


def test_the_job_asks_again_and_as_judged_insists(approvable: Approvable, strict: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, decision = approvable
    monkeypatch.setenv(CONFIG_VARIABLE, str(strict))
    job = build_definitions(home=HomeResource(root=str(home.root))).resolve_job_def("approve")
    with dg.DagsterInstance.ephemeral() as instance:
        form: dict[str, object] = {"decision_id": decision.decision_id}
        refused = job.execute_in_process(run_config=form, instance=instance, raise_on_error=False)
        assert (refused.success, runs(home)) == (False, None)
        approved = job.execute_in_process(run_config={**form, "as_judged": True}, instance=instance, raise_on_error=False)
        assert (approved.success, runs(home)) == (True, decision.challenger.model_id)
