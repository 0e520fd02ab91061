"""Gates in plain words: none lacks words, and the figures are those of the gate."""

import re

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.gate import BesideChampion, RegressionGate, Status
from taskclf_dagster.domain.decision.trial_gate import TRIAL_GATE
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.reporting.gate_texts import GATE_TEXTS
from taskclf_dagster.domain.reporting.gate_words import explain_gate, show_change, show_score, show_share
from taskclf_dagster_tests.decision_scenario import ONLY, Candidate, receipt
from taskclf_dagster_tests.models import all_gates, gate
from taskclf_dagster_tests.scenario import make_home

STATUSES: tuple[Status, ...] = ("PASS", "FAIL", "INCONCLUSIVE", "ERROR", "NOT_APPLICABLE")


def judged(name: str, observed: float, threshold: float | tuple[float, float], status: Status = "FAIL", unit: str = "F1") -> RegressionGate:
    changes = {"observed": observed, "threshold": threshold, "status": status, "unit": unit}
    return gate(name, status).model_copy(update=changes)


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PromotionDecision]:
    """By gate: a decision about a candidate that is perfect but for what this gate looks at."""
    home = make_home(tmp_path_factory.mktemp("decisions"))
    return {name: receipt(home, make()) for name, make in ONLY.items()}


def test_every_gate_has_words_and_no_words_are_left_over() -> None:
    assert set(GATE_TEXTS) == {*REQUIRED_GATES, TRIAL_GATE}


@pytest.mark.parametrize("status", STATUSES)
def test_every_gate_has_a_sentence_for_each_status_and_help_unless_nothing_is_wrong(status: Status) -> None:
    for name in REQUIRED_GATES:
        words = explain_gate(gate(name, status))
        assert words.title, name
        assert words.sentence.endswith("."), name
        assert "{" not in words.sentence + (words.help or ""), name
        assert bool(words.help) == (status not in ("PASS", "NOT_APPLICABLE")), name


def test_the_words_of_every_gate_that_fails_on_real_figures(decisions: dict[str, PromotionDecision], snapshot: SnapshotAssertion) -> None:
    said = {}
    for name, decision in decisions.items():
        found = next(each for each in decision.gates if each.name == name)
        assert found.status == "FAIL"
        words = explain_gate(found, decision)
        said[name] = [words.title, words.sentence, words.help]
    assert said == snapshot


@pytest.mark.parametrize(
    ("observed", "threshold", "name", "shown"),
    [
        (0.914, 0.95, "breakidle_precision", ("91 %", "95 %")),
        (0.9496, 0.95, "breakidle_precision", ("94.96 %", "95 %")),  # 95 % would contradict it
        (0.6467, 0.65, "macro_f1", ("0.647", "0.65")),
        (-0.0314, -0.02, "macro_f1_no_regression", ("-0.031", "-0.020")),
        (-0.02004, -0.02, "not_worse_than_anchor", ("-0.02004", "-0.020")),
        (0.0713, 0.0625, "negative_flips", ("7.1 %", "6.2 %")),
        (0.4, 0.4, "beats_lookup_baseline", ("0.40", "0.40")),
        (0.012, 0.05, "no_class_clearly_worse", ("1.2 %", "5 %")),
    ],
)
def test_the_figures_are_those_of_the_gate(observed: float, threshold: float, name: str, shown: tuple[str, str]) -> None:
    sentence = explain_gate(judged(name, observed, threshold)).sentence
    assert [each for each in shown if not re.search(rf"(?<![\d.+-]){re.escape(each)}(?![\d.]*\d)", sentence)] == []


@pytest.mark.parametrize(("observed", "helps"), [(0.42, "suggest"), (0.01, "certain")])
def test_help_for_a_model_that_is_unsure_too_often_or_too_rarely(observed: float, helps: str) -> None:
    words = explain_gate(judged("reject_rate_bounds", observed, (0.05, 0.3)))
    assert f"unsure in {round(100 * observed)} %" in words.sentence
    assert "5 % to 30 %" in words.sentence
    assert words.help is not None
    assert helps in words.help


def test_a_person_a_label_and_a_slice_that_get_worse_are_named(decisions: dict[str, PromotionDecision]) -> None:
    named = {"no_user_clearly_worse": "ann", "no_class_clearly_worse": "Meet", "no_slice_clearly_worse": "terminal"}
    for name, expected in named.items():
        found = next(each for each in decisions[name].gates if each.name == name)
        assert expected in explain_gate(found, decisions[name]).sentence
        assert expected not in explain_gate(found).title


def test_a_long_user_id_is_shortened_as_on_the_other_pages(decisions: dict[str, PromotionDecision]) -> None:
    decision = decisions["no_user_clearly_worse"]
    assert decision.comparison is not None
    long = [each.model_copy(update={"name": f"{each.name}-0123456789abcdef"}) for each in decision.comparison.evidence.by_user]
    evidence = decision.comparison.evidence.model_copy(update={"by_user": long})
    renamed = decision.model_copy(update={"comparison": decision.comparison.model_copy(update={"evidence": evidence})})
    found = next(each for each in decision.gates if each.name == "no_user_clearly_worse")
    sentence = explain_gate(found, renamed).sentence
    assert "ann-0123…" in sentence
    assert "abcdef" not in sentence


def test_a_floor_beside_the_champion_shows_both_figures() -> None:
    missed = judged("macro_f1", 0.52, 0.65, "PASS").model_copy(
        update={"beside": BesideChampion(windows=791, challenger=0.52, champion=0.48)}
    )
    sentence = explain_gate(missed).sentence
    assert all(each in sentence for each in ("0.52", "0.65", "791 minutes", "0.48", "not worse"))


def test_a_gate_that_bootstrap_overrides_says_so() -> None:
    found = gate("negative_flips", "NOT_APPLICABLE").model_copy(
        update={"overridden": True, "detail": "bootstrap was given: only 12 windows"}
    )
    assert explain_gate(found).sentence == "Not judged, because bootstrap was given: only 12 windows."


def test_while_the_champion_is_unreadable_help_is_to_put_it_in_order(tmp_path_factory: pytest.TempPathFactory) -> None:
    decision = receipt(make_home(tmp_path_factory.mktemp("home")), Candidate(comparison=None, state="unreadable"), champion_model=None)
    found = next(each for each in decision.gates if each.name == "negative_flips")
    assert found.status == "INCONCLUSIVE"
    help_ = explain_gate(found, decision).help
    assert help_ is not None
    assert "fsck" in help_


def test_a_gate_of_another_version_is_shown_as_it_is() -> None:
    words = explain_gate(gate("macro_f1", "FAIL").model_copy(update={"name": "gate_of_tomorrow", "detail": "too low"}))
    assert (words.title, words.sentence, words.help) == ("gate of tomorrow", "FAIL: too low.", None)


def test_numbers_never_contradict_what_they_are_compared_with() -> None:
    assert (show_share(0.5), show_share(0.07, 0.07), show_share(0.999999, 1.0)) == ("50 %", "7 %", "99.9999 %")
    assert [show_share(value) for value in (1.0, 0.9955, 0.99999, 0.0, 0.0004)] == ["100 %", "99.5 %", "99.999 %", "0 %", "0.04 %"]
    assert (show_score(0.65, 0.65), show_score(0.649999, 0.65)) == ("0.65", "0.649999")
    assert (show_change(0.0), show_change(-0.0204), show_change(0.02, 0.02)) == ("+0.000", "-0.020", "+0.020")


def test_all_gates_of_a_passing_model_are_explained_without_help() -> None:
    assert all(explain_gate(each).help is None for each in all_gates())
