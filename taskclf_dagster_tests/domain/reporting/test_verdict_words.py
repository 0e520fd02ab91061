"""Verdict and comparison in plain words."""

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.gate import Status
from taskclf_dagster.domain.reporting.verdict_words import say_comparison, say_help, say_verdict, sort_gates
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import ONLY, SHIPPED, Candidate, label_lost, receipt
from taskclf_dagster_tests.models import a_decision, all_gates, gate, infeasible, with_changes
from taskclf_dagster_tests.scenario import make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> PromotionDecision:
    return receipt(make_home(tmp_path_factory.mktemp("better")))


def decided(home: Home, *, auto_promote: bool = True, **statuses: Status) -> PromotionDecision:
    return a_decision(home, gates=all_gates(**statuses), auto_promote=auto_promote)


def test_each_verdict_is_one_sentence_about_the_model_that_runs(home: Home, better: PromotionDecision, snapshot: SnapshotAssertion) -> None:
    awaiting = with_changes(better, verdict="AWAITING_APPROVAL")
    said = {
        "PROMOTE": say_verdict(better, moved=True),
        "PROMOTE, cut off": say_verdict(better, moved=False),
        "PROMOTE, dry run": say_verdict(with_changes(better, dry_run=True), moved=False),
        "AWAITING_APPROVAL": say_verdict(awaiting, moved=False),
        "AWAITING_APPROVAL, approved": say_verdict(awaiting, moved=True),
        "REJECT": say_verdict(receipt(home, ONLY["breakidle_precision"]()), moved=False),
        "REJECT without a champion": say_verdict(decided(home, macro_f1="FAIL", weighted_f1="FAIL"), moved=False),
        "HOLD, not judged": say_verdict(decided(home, breakidle_recall="INCONCLUSIVE"), moved=False),
        "HOLD, too few labels": say_verdict(a_decision(home, feasibility=infeasible()), moved=False),
    }
    assert said == snapshot


def test_the_comparison_is_said_with_both_scores_the_interval_and_what_it_means(better: PromotionDecision) -> None:
    comparison = better.comparison
    assert comparison is not None
    assert comparison.evidence.interval is not None
    low, high = comparison.evidence.interval
    said = say_comparison(better)
    assert f"{comparison.windows:,} minutes" in said
    assert f"{comparison.challenger_macro_f1:.2f}" in said
    assert f"{comparison.champion_macro_f1:.2f}" in said
    assert f"95 % interval {low:+.3f} to {high:+.3f}" in said
    assert said.endswith("that is more than chance.") == (low > 0)


def test_a_difference_whose_interval_holds_zero_may_be_chance(home: Home, better: PromotionDecision) -> None:
    comparison = better.comparison
    assert comparison is not None
    unsure = comparison.model_copy(update={"evidence": comparison.evidence.model_copy(update={"interval": (-0.01, 0.05)})})
    assert say_comparison(with_changes(better, comparison=unsure)).endswith("(95 % interval -0.010 to +0.050): that may be chance.")


def test_without_a_champion_there_is_nothing_to_compare_with(home: Home) -> None:
    assert say_comparison(a_decision(home)) == "There was no running model to compare the new one with."


def test_a_champion_that_cannot_be_read_is_named_as_such(home: Home) -> None:
    assert "unreadable" in say_comparison(receipt(home, Candidate(comparison=None, state="unreadable"), champion_model=None))


def test_what_would_help_begins_with_what_stopped_the_model_and_repeats_nothing(home: Home) -> None:
    lost = receipt(home, Candidate(comparison=label_lost(), config=SHIPPED))
    helps = say_help(lost)
    assert helps[0] == "Label more stretches of Meet, and check the newest labels of it."
    assert len(helps) == len(set(helps))
    assert say_help(a_decision(home)) == []


def test_on_too_few_labels_what_to_label_comes_first(home: Home) -> None:
    assert say_help(a_decision(home, gates=all_gates(macro_f1="FAIL"), feasibility=infeasible()))[0] == infeasible().advice[0]


def test_gates_that_stopped_the_model_come_first_else_in_their_order() -> None:
    mixed = [gate("macro_f1"), gate("weighted_f1", "NOT_APPLICABLE"), gate("reproducible", "INCONCLUSIVE"), gate("negative_flips", "FAIL")]
    assert [each.name for each in sort_gates(mixed)] == ["negative_flips", "reproducible", "macro_f1", "weighted_f1"]
