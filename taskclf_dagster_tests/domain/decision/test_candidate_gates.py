"""Every gate of a candidate alone: at its threshold, just below, far above, without a figure, with NaN, and when it raises."""

from typing import NoReturn

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.candidate_gates import (
    CANDIDATE_GATES,
    check_candidate_gates,
    configured_threshold,
    find_contradictions,
)
from taskclf_dagster.domain.decision.gate import RegressionGate, RegressionResult, Status
from taskclf_dagster.domain.evaluation.baselines import BaselineScore
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport, UserScore, evaluate
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.models.reject_threshold import tune_reject_threshold
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster_tests.models import a_report, a_reproduction, class_score, gate, window_keys
from taskclf_dagster_tests.scenario import retrain_config

NAN = float("nan")
HELD_OUT = {"user-9": UserScore(windows=100, macro_f1=0.9, reject_rate=0.1, unseen=True)}
BETTER = BaselineScore(windows=100, model=0.9, baseline=0.4)
AGAIN = a_reproduction()

# gate: where its figure is in the report, and the threshold of contract section 9
FLOORS = {
    "macro_f1": ("macro_f1", 0.65),
    "weighted_f1": ("weighted_f1", 0.70),
    "breakidle_precision": ("BreakIdle precision", 0.95),
    "breakidle_recall": ("BreakIdle recall", 0.90),
    "no_class_below_50_precision": ("Meet precision", 0.50),
    "seen_user_f1": ("seen_user_f1", 0.70),
    "unseen_user_f1": ("unseen_user_f1", 0.60),
}


class Raising:
    """Fails whatever figure it is asked for."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ZeroDivisionError(name)


def with_figure(where: str, value: float | None) -> EvaluationReport:
    """A report of a good model with held-out users, but for one figure."""
    label, _, figure = where.partition(" ")
    if figure:
        classes = dict.fromkeys(LABELS, class_score(precision=1.0)) | {label: class_score(**{figure: value})}
        return a_report(per_user=HELD_OUT, seen_user_f1=0.9, unseen_user_f1=0.9, classes=classes)
    return a_report(**{"per_user": HELD_OUT, "seen_user_f1": 0.9, "unseen_user_f1": 0.9, where: value})


def judge(
    name: str,
    report: object = None,
    *,
    failure: str | None = None,
    rule: object = BETTER,
    lookup: object = BETTER,
    reproduction: object = AGAIN,
    config: RetrainConfig | None = None,
) -> RegressionGate:
    """The verdict of one candidate gate."""
    given = {"failure": failure, "rule": rule, "lookup": lookup, "reproduction": reproduction}
    gates = check_candidate_gates(report, **given, settings=(config or retrain_config()).evaluation).gates  # type: ignore[arg-type]
    return next(found for found in gates if found.name == name)


def judge_all(report: object, **given: object) -> RegressionResult:
    """The verdicts of all candidate gates on a good model but for what is given."""
    good = {"failure": None, "rule": BETTER, "lookup": BETTER, "reproduction": AGAIN, "settings": retrain_config().evaluation}
    return check_candidate_gates(report, **{**good, **given})  # type: ignore[arg-type]


# --- All of them ------------------------------------------------------------------------------------------------------------------


def test_the_candidate_gates_have_these_names_in_this_order() -> None:
    assert CANDIDATE_GATES == (
        "loads_and_predicts",
        "macro_f1",
        "weighted_f1",
        "breakidle_precision",
        "breakidle_recall",
        "no_class_below_50_precision",
        "reject_rate_bounds",
        "seen_user_f1",
        "unseen_user_f1",
        "beats_rule_baseline",
        "beats_lookup_baseline",
        "reproducible",
    )
    found = judge_all(a_report()).gates
    assert tuple(each.name for each in found) == CANDIDATE_GATES
    assert {each.kind for each in found} == {"candidate"}


def test_a_good_model_passes_every_gate_that_applies() -> None:
    result = judge_all(a_report())
    assert {each.name: each.status for each in result.gates} == {
        **dict.fromkeys(CANDIDATE_GATES, "PASS"),
        "seen_user_f1": "NOT_APPLICABLE",
        "unseen_user_f1": "NOT_APPLICABLE",
    }
    assert {each.name for each in result.gates if not each.passed} == {"seen_user_f1", "unseen_user_f1"}
    assert result.all_passed


def test_without_a_report_no_gate_passes() -> None:
    result = judge_all(None, failure="model.txt is gone", rule=None, lookup=None, reproduction=None)
    statuses = {each.name: each.status for each in result.gates}
    expected = {**dict.fromkeys(CANDIDATE_GATES, "INCONCLUSIVE"), "loads_and_predicts": "FAIL", "reproducible": "NOT_APPLICABLE"}
    assert statuses == expected
    assert not result.all_passed


def test_a_report_that_raises_makes_every_gate_on_it_an_error() -> None:
    result = judge_all(Raising())
    statuses = {each.name: each.status for each in result.gates}
    fine = ("loads_and_predicts", "beats_rule_baseline", "beats_lookup_baseline", "reproducible")
    assert statuses == {**dict.fromkeys(CANDIDATE_GATES, "ERROR"), **dict.fromkeys(fine, "PASS")}
    assert not result.all_passed
    assert "ZeroDivisionError" in next(each for each in result.gates if each.name == "macro_f1").detail


# --- One after the other ----------------------------------------------------------------------------------------------------------


def test_a_bundle_that_does_not_load_fails_with_its_reason() -> None:
    found = judge("loads_and_predicts", failure="invalid: model.txt")
    assert (found.status, found.observed, found.threshold, found.detail) == ("FAIL", 0.0, 1.0, "invalid: model.txt")
    assert judge("loads_and_predicts", a_report()).status == "PASS"


@pytest.mark.parametrize("name", FLOORS)
def test_a_figure_at_its_threshold_passes_and_just_below_fails(name: str) -> None:
    where, threshold = FLOORS[name]
    for value, status in [(threshold, "PASS"), (threshold - 1e-9, "FAIL"), (0.0, "FAIL"), (threshold + 1e-9, "PASS"), (1.0, "PASS")]:
        found = judge(name, with_figure(where, value))
        assert (found.status, found.observed, found.threshold) == (status, value, threshold), value
        assert "better" in found.unit
        assert f"{value:.4f}" in found.detail or repr(value) in found.detail


@pytest.mark.parametrize("name", FLOORS)
def test_a_figure_that_is_missing_is_inconclusive(name: str) -> None:
    found = judge(name, with_figure(FLOORS[name][0], None))
    assert (found.status, found.observed) == ("INCONCLUSIVE", None)


@pytest.mark.parametrize("name", FLOORS)
@pytest.mark.parametrize("value", [NAN, float("-inf")])
def test_a_figure_that_is_not_a_number_is_an_error(name: str, value: float) -> None:
    found = judge(name, with_figure(FLOORS[name][0], value))
    assert (found.status, found.observed) == ("ERROR", None)


@pytest.mark.parametrize("name", FLOORS)
def test_the_threshold_comes_from_the_settings(name: str) -> None:
    key = f"min_{name}".replace("min_no_class_below_50_precision", "min_class_precision")
    config = retrain_config(gates={key: 0.31})
    where = FLOORS[name][0]
    assert judge(name, with_figure(where, 0.31), config=config).status == "PASS"
    found = judge(name, with_figure(where, 0.3099), config=config)
    assert (found.status, found.threshold) == ("FAIL", 0.31)


def test_figures_are_compared_unrounded() -> None:
    found = judge("macro_f1", a_report(macro_f1=0.64996))
    assert (found.status, found.observed) == ("FAIL", 0.64996)  # 0.6500 when rounded to four places


@pytest.mark.parametrize("figure", ["precision", "recall"])
def test_breaks_that_cannot_be_judged_are_inconclusive(figure: str) -> None:
    report = a_report(classes={"BreakIdle": class_score(support=29, judged=False)})
    found = judge(f"breakidle_{figure}", report)
    assert (found.status, found.observed) == ("INCONCLUSIVE", None)
    assert "29" in found.detail


def test_breaks_that_were_never_predicted_have_no_precision_and_no_recall() -> None:
    report = a_report(classes={"BreakIdle": class_score(precision=None, recall=0.0, f1=0.0, predicted=0)})
    assert judge("breakidle_precision", report).status == "INCONCLUSIVE"
    assert judge("breakidle_recall", report).status == "FAIL"


def test_a_class_without_support_does_not_fail_the_precision_gate() -> None:
    absent = class_score(precision=None, recall=None, f1=None, support=0, predicted=0, judged=False)
    report = a_report(classes={"Meet": absent})
    assert judge("no_class_below_50_precision", report).status == "PASS"


def test_an_unjudged_class_with_a_low_precision_does_not_fail_the_precision_gate() -> None:
    report = a_report(classes={"Meet": class_score(precision=0.1, support=29, judged=False)})
    assert judge("no_class_below_50_precision", report).status == "PASS"


def test_the_lowest_precision_of_all_judged_classes_decides() -> None:
    report = a_report(classes={"Meet": class_score(precision=0.6), "Write": class_score(precision=0.49)})
    found = judge("no_class_below_50_precision", report)
    assert (found.status, found.observed) == ("FAIL", 0.49)
    assert "Write" in found.detail
    passing = judge("no_class_below_50_precision", a_report(classes={"Meet": class_score(precision=0.6)}))
    assert (passing.status, passing.observed) == ("PASS", 0.6)
    assert "Meet" in passing.detail


def test_a_judged_class_that_was_never_predicted_is_inconclusive_unless_another_fails() -> None:
    never = class_score(precision=None, recall=0.0, f1=0.0, predicted=0)
    found = judge("no_class_below_50_precision", a_report(classes={"Meet": never}))
    assert (found.status, found.observed) == ("INCONCLUSIVE", None)
    assert "Meet" in found.detail
    both = a_report(classes={"Meet": never, "Write": class_score(precision=0.2)})
    assert judge("no_class_below_50_precision", both).status == "FAIL"


def test_without_any_judged_class_the_precision_gate_is_inconclusive() -> None:
    report = a_report(classes={label: class_score(judged=False, support=5) for label in LABELS})
    assert judge("no_class_below_50_precision", report).status == "INCONCLUSIVE"


@pytest.mark.parametrize("label", LABELS)
def test_a_precision_that_is_not_a_number_is_an_error_whatever_the_label(label: str) -> None:
    report = a_report(classes={label: class_score(precision=NAN)})
    assert judge("no_class_below_50_precision", report).status == "ERROR"


@pytest.mark.parametrize(
    ("rate", "status"),
    [
        (0.05, "PASS"),
        (0.05 - 1e-9, "FAIL"),
        (0.0495, "FAIL"),
        (0.0, "FAIL"),
        (0.15, "PASS"),
        (0.30, "PASS"),
        (0.30 + 1e-9, "FAIL"),
        (1.0, "FAIL"),
        (NAN, "ERROR"),
    ],
)
def test_the_reject_rate_must_lie_in_its_range_with_both_ends(rate: float, status: Status) -> None:
    found = judge("reject_rate_bounds", a_report(reject_rate=rate))
    assert (found.status, found.threshold) == (status, (0.05, 0.30))


def test_the_ends_of_the_reject_rate_come_from_the_settings() -> None:
    config = retrain_config(gates={"min_reject_rate": 0.0, "max_reject_rate": 0.5})
    for rate, status in [(0.0, "PASS"), (0.5, "PASS"), (0.51, "FAIL")]:
        assert judge("reject_rate_bounds", a_report(reject_rate=rate), config=config).status == status


def test_a_good_and_confident_model_gets_a_threshold_with_which_it_passes() -> None:
    # 97 of 100 right at confidences of 0.90 and more: a fixed threshold of 0.55 would reject nothing, and the gate would refuse the model.
    config = retrain_config(min_class_windows=10)
    n = 800
    true = np.arange(n) % 8
    said = np.where(np.arange(n) % 100 < 97, true, (true + 1) % 8)
    confidence = np.random.default_rng(0).permutation(np.linspace(0.90, 0.999, n))
    probabilities = np.repeat(((1 - confidence) / 7)[:, None], 8, axis=1)
    probabilities[np.arange(n), said] = confidence
    predictions = OutOfFold(window_keys(["alice"] * n), true, probabilities.astype(np.float32))
    tuned = tune_reject_threshold(predictions, config.training.reject_threshold, basis="folds").value
    statuses = []
    for threshold in (config.training.reject_threshold.fallback, tuned):
        report, _ = evaluate(
            window_keys(["alice"] * n),
            true,
            probabilities,
            model_id="m",
            schema_version="v1",
            reject_threshold=threshold,
            min_class_windows=10,
            unseen_users=[],
        )
        statuses.append((judge("reject_rate_bounds", report, config=config).status, judge("macro_f1", report, config=config).status))
    assert statuses == [("FAIL", "PASS"), ("PASS", "PASS")]


@pytest.mark.parametrize("name", ["seen_user_f1", "unseen_user_f1"])
def test_without_held_out_users_seen_and_unseen_do_not_apply(name: str) -> None:
    found = judge(name, a_report(seen_user_f1=0.1, unseen_user_f1=0.1))
    assert (found.status, found.observed) == ("NOT_APPLICABLE", None)


# --- Baselines --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["rule", "lookup"])
@pytest.mark.parametrize(
    ("model", "baseline", "status"),
    [
        (0.43 + 1e-9, 0.43, "PASS"),
        (0.43, 0.43, "FAIL"),
        (0.27, 0.43, "FAIL"),
        (1.0, 0.0, "PASS"),
        (0.0, 0.0, "FAIL"),
        (NAN, 0.43, "ERROR"),
        (0.43, NAN, "ERROR"),
        (None, 0.43, "INCONCLUSIVE"),
        (0.43, None, "INCONCLUSIVE"),
        (None, None, "INCONCLUSIVE"),
    ],
)
def test_a_baseline_must_be_strictly_beaten(which: str, model: float | None, baseline: float | None, status: Status) -> None:
    score = BaselineScore(windows=100, model=model, baseline=baseline)
    found = judge(f"beats_{which}_baseline", a_report(), **{which: score})
    assert found.status == status
    if status in ("PASS", "FAIL"):
        assert (found.observed, found.threshold) == (model, baseline)


@pytest.mark.parametrize(("windows", "status"), [(0, "NOT_APPLICABLE"), (29, "NOT_APPLICABLE"), (30, "FAIL"), (31, "FAIL")])
def test_the_rule_baseline_is_judged_from_thirty_windows_on(windows: int, status: Status) -> None:
    found = judge("beats_rule_baseline", a_report(), rule=BaselineScore(windows=windows, model=0.1, baseline=0.9))
    assert found.status == status
    if status == "NOT_APPLICABLE":
        assert str(windows) in found.detail


def test_the_lookup_baseline_is_judged_on_any_number_of_windows() -> None:
    assert judge("beats_lookup_baseline", a_report(), lookup=BaselineScore(windows=1, model=0.1, baseline=0.9)).status == "FAIL"


@pytest.mark.parametrize("which", ["rule", "lookup"])
def test_a_baseline_that_was_not_scored_is_inconclusive(which: str) -> None:
    assert judge(f"beats_{which}_baseline", a_report(), **{which: None}).status == "INCONCLUSIVE"


@pytest.mark.parametrize("which", ["rule", "lookup"])
def test_a_baseline_that_raises_is_an_error_of_its_gate_alone(which: str) -> None:
    gates = judge_all(a_report(), **{which: Raising()}).gates
    assert [found.name for found in gates if found.status == "ERROR"] == [f"beats_{which}_baseline"]


@pytest.mark.parametrize("which", ["rule", "lookup"])
def test_baselines_do_not_apply_when_they_need_not_be_beaten(which: str) -> None:
    worse = BaselineScore(windows=100, model=0.1, baseline=0.9)
    off, on = (retrain_config(require_baseline_improvement=required) for required in (False, True))
    assert judge(f"beats_{which}_baseline", a_report(), **{which: worse}, config=off).status == "NOT_APPLICABLE"
    assert judge(f"beats_{which}_baseline", a_report(), **{which: worse}, config=on).status == "FAIL"


# --- Trained again ----------------------------------------------------------------------------------------------------------------


def test_a_model_that_comes_out_the_same_again_passes_with_one() -> None:
    found = judge("reproducible", a_report(), reproduction=a_reproduction(same=True))
    assert (found.status, found.observed, found.threshold, found.detail) == ("PASS", 1.0, 1.0, a_reproduction(same=True).summary)


def test_a_model_that_comes_out_otherwise_again_fails_with_zero_and_says_what_differs() -> None:
    found = judge("reproducible", a_report(), reproduction=a_reproduction(same=False))
    assert (found.status, found.observed, found.threshold, found.detail) == ("FAIL", 0.0, 1.0, a_reproduction(same=False).summary)


def test_a_model_that_was_not_trained_again_is_not_judged_by_that_and_the_words_name_the_setting() -> None:
    found = judge("reproducible", a_report(), reproduction=None)
    assert (found.status, found.observed) == ("NOT_APPLICABLE", None)
    assert "prove_reproducible" in found.detail


def test_a_proof_that_raises_is_an_error_of_its_gate_alone() -> None:
    gates = judge_all(a_report(), reproduction=Raising()).gates
    assert [found.name for found in gates if found.status == "ERROR"] == ["reproducible"]


# --- Wording --------------------------------------------------------------------------------------------------------------------------


def test_the_wording_of_the_details(snapshot: SnapshotAssertion) -> None:
    few = BaselineScore(windows=29, model=0.1, baseline=0.9)
    off = retrain_config(require_baseline_improvement=False)
    found = {
        "a floor": judge("macro_f1", with_figure("macro_f1", 0.1)),
        "no figure": judge("macro_f1", with_figure("macro_f1", None)),
        "not loaded": judge("loads_and_predicts", failure="invalid: missing model.txt"),
        "nobody held out": judge("unseen_user_f1", a_report()),
        "not beaten": judge("beats_lookup_baseline", a_report(), lookup=BaselineScore(windows=100, model=0.1, baseline=0.9)),
        "few windows of a rule": judge("beats_rule_baseline", a_report(), rule=few),
        "no judged label of a rule": judge("beats_rule_baseline", a_report(), rule=BaselineScore(windows=30, model=None, baseline=None)),
        "a reject rate just outside": judge("reject_rate_bounds", a_report(reject_rate=0.300001)),
        "no need to beat it": judge("beats_rule_baseline", a_report(), rule=few, config=off),
        "not trained again": judge("reproducible", a_report(), reproduction=None),
    }
    assert {name: f"{gate.status}: {gate.detail}" for name, gate in found.items()} == snapshot


# --- Gates against their own numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CANDIDATE_GATES if not name.startswith("beats_")])
def test_every_gate_that_is_no_baseline_has_its_threshold_in_the_settings(name: str) -> None:
    report = a_report(per_user=HELD_OUT, seen_user_f1=0.9, unseen_user_f1=0.9)
    assert judge(name, report).threshold == configured_threshold(name, retrain_config().evaluation) is not None


@pytest.mark.parametrize("name", CANDIDATE_GATES)
def test_a_verdict_that_is_turned_round_contradicts_its_numbers(name: str) -> None:
    report = a_report(per_user=HELD_OUT, seen_user_f1=0.9, unseen_user_f1=0.9)
    honest = judge(name, report)
    assert honest.status == "PASS"
    assert find_contradictions([honest], retrain_config().evaluation) == []
    (finding,) = find_contradictions([honest.model_copy(update={"status": "FAIL"})], retrain_config().evaluation)
    assert (finding.kind, name in finding.detail) == ("gate_does_not_follow", True)


# --- Results ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "passed"),
    [
        ([], False),
        (["PASS"], True),
        (["PASS", "NOT_APPLICABLE"], True),
        (["NOT_APPLICABLE"], False),
        (["NOT_APPLICABLE", "NOT_APPLICABLE"], False),
        (["PASS", "FAIL"], False),
        (["PASS", "INCONCLUSIVE"], False),
        (["ERROR", "PASS"], False),
    ],
)
def test_all_passed_needs_one_that_passed_and_none_that_did_not(statuses: list[Status], passed: bool) -> None:
    assert RegressionResult(gates=[gate(f"gate_{i}", status) for i, status in enumerate(statuses)]).all_passed is passed


@pytest.mark.parametrize("value", [0.5, None, NAN, float("inf")])
def test_whatever_the_figures_the_gates_can_be_kept_as_json(value: float | None) -> None:
    report = with_figure("macro_f1", value).model_copy(update={"reject_rate": value})
    baseline = BaselineScore(windows=100, model=value, baseline=value)
    result = judge_all(report, rule=baseline, lookup=baseline)
    assert RegressionResult.model_validate_json(canonical_json(result.model_dump(mode="json"))) == result
