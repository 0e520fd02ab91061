"""The gate of the slices: on and off, at its thresholds, just off them and without counts; old receipts hold, edited ones do not."""

import numpy as np
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.comparative_gates import SLICE_GATE, check_pair, judge_slices
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import save_decision, verify_stored
from taskclf_dagster.domain.decision.gate import RegressionGate, Status
from taskclf_dagster.domain.decision.verification import is_older_than_slices, verify_decision
from taskclf_dagster.domain.evaluation.comparison import Comparison
from taskclf_dagster.domain.evaluation.slice_significance import assess_slices
from taskclf_dagster.domain.evaluation.slices import SliceSums
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import SHIPPED, SLICED, Candidate, better, computed, following, receipt, slice_lost
from taskclf_dagster_tests.models import beside_champion, duel_rows, named, sliced, some, with_changes
from taskclf_dagster_tests.scenario import retrain_config

ON = retrain_config(slice_gate=True)


def judge(comparison: Comparison, config: RetrainConfig = ON) -> RegressionGate:
    return next(gate for gate in check_pair(comparison, config.comparison).gates if gate.name == SLICE_GATE)


def test_a_slice_that_is_clearly_worse_fails_the_gate_by_name_and_is_the_first_of_the_table() -> None:
    found = judge(slice_lost())
    assert found.status == "FAIL"
    assert found.observed is not None
    assert found.observed < found.threshold == 0.05  # type: ignore[operator]
    assert "app category: terminal has changed by -0.2000: a decline of more than 0.05 is shown" in found.detail
    slices = slice_lost().slices
    assert slices is not None
    first, *others = assess_slices(slices, ON.comparison)
    assert (first.name, first.windows, first.user_days) == ("app category: terminal", 400, 10)
    assert (first.challenger_accuracy, first.champion_accuracy) == (0.8, 1.0)
    assert [each.difference for each in others] == sorted(each.difference for each in others)  # type: ignore[type-var]
    assert all(each.adjusted_p is not None and each.adjusted_p > 0.99 for each in others)


def test_several_slices_that_are_clearly_worse_are_counted_and_named() -> None:
    rows = duel_rows()
    rows = sliced(rows, category=np.where(rows.index % 2, "browser", "editor"))
    found = judge(beside_champion(rows, named(rows, wrong=some(rows, 0.3)), named(rows)))
    assert "clearly worse are 6: " in found.detail
    assert found.detail.endswith(", ...")


def test_without_slice_gate_the_gate_does_not_apply_and_the_same_judgement_is_there_as_advice() -> None:
    off = judge(slice_lost(), SHIPPED)
    assert (off.status, off.observed, off.overridden) == ("NOT_APPLICABLE", None, False)
    assert judge_slices(slice_lost(), SHIPPED.comparison) == judge(slice_lost())
    assert judge_slices(better(), SHIPPED.comparison).status == "PASS"


def test_equal_models_pass() -> None:
    rows = sliced(duel_rows())
    both = named(rows, wrong=some(rows, 0.2))
    assert judge(beside_champion(rows, both, both)).status == "PASS"


@pytest.mark.parametrize(("key", "at", "beyond"), [("min_slice_windows", 400, 401), ("min_user_days", 10, 11)])
def test_a_slice_with_just_enough_windows_or_user_days_is_judged_and_one_with_fewer_is_not(key: str, at: int, beyond: int) -> None:
    # All windows are in one slice of each dimension.
    rows = sliced(duel_rows())
    worse = beside_champion(rows, named(rows, wrong=some(rows, 0.3)), named(rows))
    assert judge(worse, ON.with_changes(**{key: at})).status == "FAIL"
    found = judge(worse, ON.with_changes(**{key: beyond}))
    assert (found.status, found.observed) == ("NOT_APPLICABLE", None)
    assert str(beyond) in found.detail


@pytest.mark.parametrize(("margin", "status"), [(0.2, "PASS"), (0.2 - 1e-9, "FAIL"), (0.0, "FAIL"), (1.0, "PASS")])
def test_a_decline_of_exactly_the_margin_is_allowed_and_one_just_beyond_it_is_not(margin: float, status: Status) -> None:
    # Every user-day says the same, so that there is no doubt about the decline of 0.2.
    rows = duel_rows()
    rows = sliced(rows, category="terminal")
    fifth = rows.index.to_series() % 5 == 0
    found = judge(beside_champion(rows, named(rows, wrong=fifth.to_numpy()), named(rows)), ON.with_changes(clearly_worse_margin=margin))
    assert found.status == status


def test_the_p_value_at_the_significance_passes_and_just_below_it_fails() -> None:
    uncertain = _uncertain()
    p = judge(uncertain).observed
    assert p is not None
    assert 0.001 < p < 0.5
    assert judge(uncertain, ON.with_changes(significance=p)).status == "PASS"
    assert judge(uncertain, ON.with_changes(significance=p + 1e-9)).status == "FAIL"


def _uncertain() -> Comparison:
    """The challenger has half of the windows wrong on two of five days."""
    rows = sliced(duel_rows())
    bad = rows["bucket_start_ts"].dt.day % 2 == 0
    return beside_champion(rows, named(rows, wrong=some(rows, 0.5, among=bad)), named(rows))


def test_too_few_windows_without_counts_and_without_a_champion_decide_nothing() -> None:
    few = beside_champion(sliced(duel_rows(days=3)), named(duel_rows(days=3)), named(duel_rows(days=3)))
    assert judge(few).status == "INCONCLUSIVE"
    uncounted = slice_lost().model_copy(update={"slices": None})
    assert (judge(uncounted).status, judge(uncounted, SHIPPED).status) == ("INCONCLUSIVE", "NOT_APPLICABLE")
    assert Candidate(comparison=uncounted).statuses[SLICE_GATE] == "INCONCLUSIVE"
    assert Candidate(comparison=None, state="none").statuses[SLICE_GATE] == "NOT_APPLICABLE"


# --- Receipts ---------------------------------------------------------------------------------------------------------------------


def _older(decision: PromotionDecision) -> PromotionDecision:
    """The receipt as a version made it that counted no slices."""
    assert decision.comparison is not None
    policy = {key: value for key, value in decision.policy.items() if key not in ("slice_gate", "min_slice_windows")}
    return following(
        with_changes(
            decision,
            comparison=decision.comparison.model_copy(update={"slices": None}),
            gates=[gate for gate in decision.gates if gate.name != SLICE_GATE],
            required_gates=[name for name in decision.required_gates if name != SLICE_GATE],
            policy=policy,
        ),
        policy_of_seed=policy,
    )


def test_a_receipt_that_is_older_than_the_slices_is_read_and_verified_and_its_file_stays_as_it_was(home: Home) -> None:
    older = _older(receipt(home, Candidate(config=SHIPPED)))
    text = save_decision(home, older).read_text(encoding="utf-8")
    assert (older.verdict, "slice" in text) == ("PROMOTE", False)
    assert verify_stored(home, older.decision_id) == (older, [])
    assert is_older_than_slices(older)
    assert not is_older_than_slices(receipt(home))


def test_a_receipt_that_hides_the_slices_that_its_policy_asks_for_is_found(home: Home) -> None:
    hiding = with_changes(_older(receipt(home, Candidate(config=SHIPPED))), policy=SLICED.policy)
    assert [finding.kind for finding in verify_decision(following(hiding))] == ["gate_not_excused"]


def test_an_edited_count_that_does_not_add_up_is_found_without_the_sources(home: Home) -> None:
    # With the gate off no gate depends on the counts; the warning and the table do.
    honest = receipt(home, Candidate(comparison=slice_lost(), config=SHIPPED))
    assert honest.comparison is not None
    assert honest.comparison.slices is not None
    cells = [cell._replace(challenger_correct=cell.champion_correct) for cell in honest.comparison.slices.cells]
    slices = honest.comparison.slices.model_copy(update={"cells": cells})
    forged = following(with_changes(honest, comparison=honest.comparison.model_copy(update={"slices": slices})))
    assert verify_decision(honest) == []
    assert {finding.kind for finding in verify_decision(forged)} == {"comparison_inconsistent"}


def _edited(comparison: Comparison, config: RetrainConfig) -> Comparison:
    """The terminal's windows that the challenger has right are as many as the champion's; those of the browser are fewer instead."""
    assert comparison.slices is not None
    lost, cells = {}, list(comparison.slices.cells)
    values = [each.value for each in comparison.slices.slices]
    browser, terminal = values.index("browser"), values.index("terminal")
    for i, cell in enumerate(cells):
        if cell.position == terminal:
            lost[cell.user_day] = cell.champion_correct - cell.challenger_correct
            cells[i] = cell._replace(challenger_correct=cell.champion_correct)
    for i, cell in enumerate(cells):
        if cell.position == browser:
            cells[i] = cell._replace(challenger_correct=cell.challenger_correct - lost[cell.user_day])
    slices = SliceSums(slices=comparison.slices.slices, cells=cells)
    return computed(comparison.model_copy(update={"slices": slices}), config)


def test_a_slice_that_lends_windows_to_another_adds_up_so_that_only_computing_again_finds_it(home: Home) -> None:
    edited = _edited(slice_lost(), SLICED)
    assert judge(edited).status == "PASS"
    forged = receipt(home, Candidate(comparison=edited, config=SLICED))
    assert (forged.verdict, verify_decision(forged)) == ("PROMOTE", [])  # what recomputation is for: test_recomputation
    true_gate = with_changes(forged, comparison=slice_lost())
    assert verify_decision(following(true_gate)) != []
