"""The decision from two reports: what is compared, what stops a challenger, and what the record says."""

import shutil

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.decision.decision_store import list_decisions, read_decision
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.evaluation.comparison import derive_seed
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.retraining.decision_step import make_decision
from taskclf_dagster.errors import RecordsDoNotMatchError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    a_reproduction,
    contents,
    home_with_champion,
    infeasible,
    named,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import promoted
from taskclf_dagster_tests.retrain_scenario import RIGHT, ROWS, Decide, a_challenger, a_snapshot, status_of, wrong_in
from taskclf_dagster_tests.scenario import (
    DAY,
    at,
    retrain_config,
)

MONDAY_END = at("00:00", day=1)


def part_of(said: Predictions, part: slice) -> Predictions:
    """Predictions of a model that has features for a part of the windows only."""
    return Predictions(said.key[part], said.true[part], said.predicted[part])


def test_the_first_model_of_a_home_is_judged_by_the_absolute_gates_alone_and_the_record_says_so(home: Home) -> None:
    decision = Decide(home).make()
    assert (decision.verdict, decision.champion.model, decision.champion.state) == ("PROMOTE", None, "none")
    gate = next(gate for gate in decision.gates if gate.name == "macro_f1_no_regression")
    assert (gate.status, gate.observed, gate.overridden) == ("NOT_APPLICABLE", None, False)


def test_a_decision_is_kept_on_disk_as_it_was_returned_and_holds(home: Home) -> None:
    decision = Decide(home).make()
    assert list_decisions(home) == ([decision], [])
    assert verify_decision(decision) == []
    assert decision.decision_id.startswith("2026-02-04_000000_")


def test_the_record_names_by_hash_what_was_judged_and_how(home: Home) -> None:
    home_with_champion(home)
    policy = write_policy(home, MID)
    decision = Decide(home, state="ok", champion=wrong_in(0.1)).make()
    assert decision.challenger.files == {"model.txt": "1" * 64}
    champion = decision.champion.model
    assert champion is not None
    assert champion.files == {"model.txt": "2" * 64}
    assert (len(decision.challenger.report_hash), len(champion.report_hash)) == (64, 64)
    assert decision.registry.pointer_hash is not None
    assert decision.registry.policy_hash is not None
    assert decision.registry.previous_policy == policy
    assert decision.settings == retrain_config(auto_promote=True)
    assert decision.required_gates == [gate.name for gate in decision.gates]
    assert (decision.receipt_version, decision.code_version) == (2, "0123456")
    assert (decision.dataset.dataset_hash, decision.dataset.label_watermark) == ("0a963156a3de73d5", "0" * 16)
    assert decision.dataset.split == {"train": 1, "validation": 1, "test": 400}
    assert (decision.champion.model_dir, decision.champion.reason) == (f"models/{MID}", "no model was ever promoted")


def test_a_decision_names_those_about_the_same_challenger_that_it_replaces_and_made_again_it_is_the_same(home: Home) -> None:
    first = Decide(home).make()
    rejected = Decide(home, figures={"macro_f1": 0.1}).make()
    assert (first.verdict, first.replaces, rejected.replaces) == ("PROMOTE", (), (first.decision_id,))
    assert Decide(home, dry_run=True).make().replaces == ()
    last = Decide(home).make()
    assert last.replaces == tuple(sorted([first.decision_id, rejected.decision_id]))
    assert Decide(home).make() == last


def test_the_seed_of_the_record_is_that_of_dataset_champion_challenger_and_policy(home: Home) -> None:
    decision = Decide(home, state="ok").make()
    assert decision.comparison is not None
    files = [{"model.txt": "2" * 64}, {"model.txt": "1" * 64}]
    assert decision.comparison.seed == derive_seed("0a963156a3de73d5" * 4, files, retrain_config(auto_promote=True).policy)


def test_a_policy_that_cannot_be_read_does_not_stop_the_decision(home: Home) -> None:
    home_with_champion(home)
    home.inference_policy.write_text("{", encoding="utf-8")
    decision = Decide(home, state="ok").make()
    assert decision.registry.previous_policy is None
    assert decision.registry.policy_hash is not None


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"\\ud800"'], ids=["NaN", "infinity", "half a character"])
def test_a_policy_with_a_value_that_json_cannot_keep_does_not_stop_the_decision(home: Home, value: str) -> None:
    home_with_champion(home)
    write_policy(home, MID)
    text = home.inference_policy.read_text(encoding="utf-8").replace('"reject_threshold": 0.6', f'"reject_threshold": {value}')
    home.inference_policy.write_text(text, encoding="utf-8")
    decision = Decide(home, state="ok").make()
    again = read_decision(home, decision.decision_id)
    assert again is not None
    assert again.decision_hash == decision.decision_hash
    assert verify_decision(again) == []


def test_a_decision_follows_from_reports_and_predictions_and_opens_no_bundle(home: Home) -> None:
    made = Decide(home, state="ok", anchors={OLD: RIGHT})
    made._prepare()
    reports = made._challenger_report(), made._champion_report()
    for folder in (home.challengers, home.models):
        shutil.rmtree(folder)
    options = RunOptions(dry_run=False, forced=False, bootstrap=False)
    decision = make_decision(home, a_snapshot(home), a_challenger(), *reports, config=made.config, options=options, code_version="0123456")
    assert (decision.verdict, [anchor.difference for anchor in decision.anchors]) == ("PROMOTE", [0.0])


def test_making_a_decision_leaves_models_alone(home: Home) -> None:
    home_with_champion(home)
    before = contents(home.models)
    Decide(home, state="ok").make()
    assert contents(home.models) == before


def test_the_number_of_the_history_record_that_had_set_the_pointer_is_in_the_record(home: Home) -> None:
    assert Decide(home).make().registry.sequence == 0
    promoted(home, OLD, MID)
    assert Decide(home, state="ok").make().registry.sequence == 2
    rollback(home, to=OLD, reason="worse", at=AT + 5 * DAY)
    assert Decide(home, state="ok").make().registry.sequence == 3


def test_equal_models_pass_because_the_tolerance_is_not_an_improvement(home: Home) -> None:
    decision = Decide(home, state="ok").make()
    assert decision.comparison is not None
    assert (decision.comparison.windows, decision.comparison.macro_f1_delta) == (400, 0.0)
    assert decision.verdict == "PROMOTE"
    assert verify_decision(decision) == []


def test_a_challenger_clearly_worse_than_the_champion_is_rejected(home: Home) -> None:
    decision = Decide(home, state="ok", challenger=wrong_in(0.1)).make()
    assert decision.verdict == "REJECT"
    assert "macro_f1_no_regression (-0.1000 < -0.02)" in decision.reason
    assert ("negative_flips" in decision.reason, "10.00%" in decision.reason) == (True, True)
    assert verify_decision(decision) == []


def test_both_models_are_compared_on_the_windows_they_share(home: Home) -> None:
    config = retrain_config(auto_promote=True, min_class_windows=1, min_windows=200)
    decision = Decide(home, state="ok", champion=part_of(RIGHT, slice(200)), config=config).make()
    assert decision.comparison is not None
    assert (decision.comparison.windows, decision.comparison.left_out) == (200, 200)
    assert decision.verdict == "PROMOTE"


def test_windows_that_the_champion_learned_from_leave_the_comparison_and_too_few_hold_with_what_to_label(home: Home) -> None:
    # The challenger learned before all of them and MID until 2026-01-08, so that of five days the last is left: 80 windows.
    write_tiny_bundle(home.challengers / NEW, metadata={"train_date_from": "2025-12-01", "train_date_to": "2025-12-31"})
    write_tiny_bundle(home.models / MID, metadata={"train_date_from": "2026-01-05", "train_date_to": "2026-01-08"})
    (home.models / MID / "training_rows.npy").unlink()
    decision = Decide(home, state="ok").make()
    assert decision.comparison is not None
    assert decision.comparison.exclusion.only_newer
    assert (decision.comparison.windows, decision.comparison.exclusion.excluded) == (80, 320)
    assert decision.verdict == "HOLD"
    assert all(part in decision.reason for part in ("80", "min_windows", "300", "220", "2026-01-09", "bootstrap"))
    enough = Decide(home, state="ok", config=retrain_config(auto_promote=True, min_windows=80, min_class_windows=10)).make()
    assert enough.verdict == "PROMOTE"


def test_no_window_in_common_holds_and_says_so(home: Home) -> None:
    decision = Decide(home, state="ok", champion=part_of(RIGHT, slice(0))).make()
    assert decision.verdict == "HOLD"
    assert status_of(decision, "macro_f1_no_regression") == "INCONCLUSIVE"
    assert decision.comparison is not None
    assert decision.comparison.left_out == 400


def test_too_few_windows_of_every_label_hold_and_say_so(home: Home) -> None:
    decision = Decide(home, state="ok", config=retrain_config(auto_promote=True, min_class_windows=51)).make()
    assert decision.verdict == "HOLD"
    assert decision.comparison is not None
    assert (decision.comparison.windows, decision.comparison.judged_labels) == (400, [])
    assert status_of(decision, "macro_f1_no_regression") == "INCONCLUSIVE"


@pytest.mark.parametrize("state", ["unreadable", "incompatible"])
def test_a_champion_that_cannot_be_compared_with_holds_and_names_the_way_out(home: Home, state: str) -> None:
    decision = Decide(home, state=state, reason="invalid: missing model.txt").make()
    assert decision.verdict == "HOLD"
    assert all(part in decision.reason for part in (state, "model.txt", "force", "bootstrap"))
    assert status_of(decision, "macro_f1_no_regression") == "INCONCLUSIVE"
    assert verify_decision(decision) == []


@pytest.mark.parametrize("state", ["unreadable", "incompatible"])
def test_bootstrap_lets_the_absolute_gates_decide_and_the_record_says_so(home: Home, state: str) -> None:
    decision = Decide(home, state=state, reason="invalid: missing model.txt", bootstrap=True).make()
    assert (decision.verdict, decision.options.bootstrap) == ("PROMOTE", True)
    gate = next(gate for gate in decision.gates if gate.name == "macro_f1_no_regression")
    assert (gate.status, gate.overridden) == ("NOT_APPLICABLE", True)
    assert "model.txt" in gate.detail
    assert any(line.startswith("OVERRIDDEN by bootstrap") for line in decision.protections)


def test_bootstrap_overrides_windows_that_are_not_in_common(home: Home) -> None:
    decision = Decide(home, state="ok", champion=part_of(RIGHT, slice(0)), bootstrap=True).make()
    assert decision.verdict == "PROMOTE"


def test_bootstrap_does_not_excuse_from_beating_a_champion_that_can_be_compared_with(home: Home) -> None:
    decision = Decide(home, state="ok", challenger=wrong_in(0.1), bootstrap=True).make()
    assert decision.verdict == "REJECT"


def test_bootstrap_does_not_excuse_from_an_absolute_gate(home: Home) -> None:
    assert Decide(home, state="unreadable", figures={"macro_f1": 0.6}, bootstrap=True).make().verdict == "REJECT"


def test_what_guarded_a_decision_is_in_the_record_and_what_was_switched_off_too(home: Home, snapshot: SnapshotAssertion) -> None:
    guarded = Decide(home, state="ok", anchors={OLD: RIGHT}).make().protections
    loose = retrain_config(require_baseline_improvement=False, evidence_policy="hold", significance=0.1)
    bare = Decide(home, state="none", config=loose, reproduction=None, dry_run=True).make().protections
    assert ("1 anchors" in guarded, "0 anchors" in bare) == (True, True)
    assert {"guarded": guarded, "bare": bare} == snapshot


# --- Anchors and rollbacks ----------------------------------------------------------------------------------------------------------


def test_a_challenger_as_good_as_the_champion_but_far_below_an_anchor_is_rejected(home: Home) -> None:
    declined = {"challenger": wrong_in(0.1), "champion": wrong_in(0.1), "state": "ok"}
    decision = Decide(home, **declined, anchors={MID: wrong_in(0.1), OLD: RIGHT}).make()  # type: ignore[arg-type]
    assert decision.verdict == "REJECT"
    assert [gate.name for gate in decision.gates if gate.status == "FAIL"] == ["not_worse_than_anchor"]
    assert f"{OLD}: -0.1000 < -0.04" in decision.reason
    assert {anchor.model_id: anchor.difference for anchor in decision.anchors} == {MID: 0.0, OLD: pytest.approx(-0.1)}
    assert verify_decision(decision) == []
    allowed = retrain_config(auto_promote=True, anchor_tolerance=0.1)
    assert Decide(home, **declined, anchors={OLD: RIGHT}, config=allowed).make().verdict == "PROMOTE"  # type: ignore[arg-type]


def test_an_anchor_is_compared_on_windows_that_it_did_not_learn_from(home: Home) -> None:
    # OLD learned on the first of five days, and only there it is better.
    first = (ROWS["bucket_start_ts"] < MONDAY_END).to_numpy()
    write_tiny_bundle(home.models / OLD, metadata={"train_date_from": "2026-01-05", "train_date_to": "2026-01-05"})
    (home.models / OLD / "training_rows.npy").unlink()
    lately = named(ROWS, wrong=first)
    decision = Decide(home, state="ok", challenger=lately, champion=lately, anchors={OLD: RIGHT}).make()
    (anchor,) = decision.anchors
    assert (anchor.windows, anchor.difference) == (320, 0.0)
    assert decision.verdict == "PROMOTE"


def test_an_anchor_that_could_not_be_scored_stops_nobody_but_is_in_the_record(home: Home) -> None:
    decision = Decide(home, state="ok", anchors={OLD: None}).make()
    assert decision.verdict == "PROMOTE"
    (anchor,) = decision.anchors
    assert (anchor.model_id, anchor.windows, anchor.difference) == (OLD, 0, None)
    assert "model.txt" in anchor.detail


@pytest.mark.parametrize("state", ["none", "unreadable"])
def test_anchors_count_where_the_champion_cannot_be_compared_with(home: Home, state: str) -> None:
    decision = Decide(home, state=state, challenger=wrong_in(0.1), anchors={OLD: RIGHT}, bootstrap=True).make()
    assert decision.verdict == "REJECT"
    assert [gate.name for gate in decision.gates if gate.status == "FAIL"] == ["not_worse_than_anchor"]


@pytest.mark.parametrize(("trees", "verdict"), [("1" * 64, "REJECT"), ("2" * 64, "PROMOTE"), (None, "PROMOTE")])
def test_trees_that_a_rollback_left_are_rejected_under_whatever_name(home: Home, trees: str | None, verdict: str) -> None:
    decision = Decide(home, state="ok", blocked={MID: None, OLD: trees}).make()
    assert decision.verdict == verdict
    assert decision.rolled_back_as == (OLD if verdict == "REJECT" else None)
    assert verify_decision(decision) == []


def test_a_challenger_that_does_not_come_out_the_same_again_is_rejected(home: Home) -> None:
    decision = Decide(home, reproduction=a_reproduction(same=False)).make()
    assert (decision.verdict, status_of(decision, "reproducible")) == ("REJECT", "FAIL")
    assert a_reproduction(same=False).summary in decision.reason


# --- What is judged together --------------------------------------------------------------------------------------------------------


def test_candidate_gates_that_were_judged_by_another_policy_are_refused(home: Home) -> None:
    made = Decide(home)
    made._challenger_report = Decide(home, config=retrain_config(gates={"min_macro_f1": 0.6}))._challenger_report  # type: ignore[method-assign]
    with pytest.raises(RecordsDoNotMatchError, match="challenger_report"):
        made.make()
    assert list_decisions(home) == ([], [])


def test_candidate_gates_are_those_that_the_report_judged_and_other_operational_settings_do_not_matter(home: Home) -> None:
    made = Decide(home, figures={"macro_f1": 0.6})
    made._prepare()
    report = made._challenger_report()
    made.config = made.config.with_changes(enabled=False)
    made._challenger_report = lambda: report  # type: ignore[method-assign]
    decision = made.make()
    assert decision.verdict == "REJECT"
    assert decision.gates[: len(report.gates.gates)] == report.gates.gates


@pytest.mark.parametrize("record", ["a_challenger", "_challenger_report", "_champion_report"])
def test_records_of_another_dataset_are_never_judged_together(home: Home, record: str) -> None:
    made = Decide(home)
    made._prepare()
    parts = {"a_challenger": a_challenger(), "_challenger_report": made._challenger_report(), "_champion_report": made._champion_report()}
    parts[record] = parts[record].model_copy(update={"dataset_hash": "f" * 16})
    with pytest.raises(RecordsDoNotMatchError, match="f" * 16):
        make_decision(
            home,
            a_snapshot(home),
            *parts.values(),  # type: ignore[arg-type]
            config=made.config,
            options=RunOptions(dry_run=False, forced=False, bootstrap=False),
            code_version="0123456",
        )


def test_a_decision_is_about_the_pointer_that_stood_when_the_champion_was_looked_up(home: Home) -> None:
    made = Decide(home)
    report = made._champion_report()
    report = report.model_copy(update={"registry": report.registry.model_copy(update={"pointer_hash": "a" * 64})})
    made._champion_report = lambda: report  # type: ignore[method-assign]
    assert made.make().registry.pointer_hash == "a" * 64


@pytest.mark.parametrize("state", ["none", "ok"])
def test_a_challenger_that_could_not_be_scored_is_never_promoted(home: Home, state: str) -> None:
    decision = Decide(home, state=state, failure="the folder is gone").make()
    assert decision.verdict == "REJECT"
    assert status_of(decision, "loads_and_predicts") == "FAIL"
    assert (decision.comparison, decision.challenger.macro_f1) == (None, None)


def test_data_on_which_no_model_could_be_promoted_holds_whatever_the_gates_say(home: Home) -> None:
    decision = Decide(home, snapshot=a_snapshot(home, feasibility=infeasible())).make()
    assert (decision.verdict, decision.reason) == ("HOLD", infeasible().summary)


def test_warnings_on_how_the_champion_was_found_are_in_the_record(home: Home) -> None:
    decision = Decide(home, state="ok", warnings=["policy and pointer differ"]).make()
    assert decision.champion.warnings == ["policy and pointer differ"]
    assert (decision.champion.source, decision.champion.state) == ("pointer", "ok")


def test_what_was_asked_for_is_in_the_record(home: Home) -> None:
    decision = Decide(home, dry_run=True, forced=True).make()
    assert decision.options == RunOptions(dry_run=True, forced=True, bootstrap=False)
    assert decision.outcome == "PROMOTE (dry run)"
