"""Evaluation: every figure against numbers worked out by hand or by scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, f1_score, log_loss, precision_score, recall_score

from taskclf_dagster.domain.data.feature_schema import LABELS, REJECTED_LABEL
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.evaluation.confusion import REJECTED, count_predictions
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport, evaluate, flap_rate, smooth
from taskclf_dagster.domain.evaluation.predictions import Predictions, rows_digest
from taskclf_dagster_tests.models import window_keys

BREAK, BUILD, COMMUNICATE, DEBUG, MEET, READ, REVIEW, WRITE = range(8)
REJECT = 8
THRESHOLD = 0.5

# true label: what the model says, REJECT where it is not confident enough
TABLE = {
    BREAK: [BREAK, BREAK, BREAK, BREAK],
    BUILD: [BUILD, BUILD, DEBUG, REJECT],
    DEBUG: [DEBUG, DEBUG, BUILD],
    MEET: [REJECT, REJECT, BUILD],
    WRITE: [WRITE, READ],
}
"""16 windows. Named: Break 4, Build 2 + 1 + 1 = 4, Debug 1 + 2 = 3, Write 1, ReadResearch 1, rejected 3."""

TRUE = np.array([label for label, said in TABLE.items() for _ in said])
SAID = [said for row in TABLE.values() for said in row]
USERS = ["alice"] * 8 + ["bob"] * 8
"""alice has the windows of BreakIdle and Build, bob all others."""


def probabilities_of(said: list[int], *, confidence: float = 0.9) -> np.ndarray:
    """A row of probabilities for each answer; a rejected one is for its true label at 0.3, below THRESHOLD."""
    rows = np.empty((len(said), 8))
    for i, label in enumerate(said):
        own = 0.3 if label == REJECT else confidence
        rows[i] = (1 - own) / 7
        rows[i, TRUE[i] if label == REJECT else label] = own
    return rows


def score(
    true: np.ndarray,
    probabilities: np.ndarray,
    *,
    rows: pd.DataFrame | None = None,
    threshold: float = THRESHOLD,
    min_class_windows: int = 3,
    unseen: tuple[str, ...] = (),
) -> tuple[EvaluationReport, Predictions]:
    return evaluate(
        window_keys(["alice"] * len(true)) if rows is None else rows,
        true,
        probabilities,
        model_id="model",
        schema_version="v1",
        reject_threshold=threshold,
        min_class_windows=min_class_windows,
        unseen_users=list(unseen),
    )


def table_report(**options: object) -> EvaluationReport:
    return score(TRUE, probabilities_of(SAID), rows=window_keys(USERS), **options)[0]


def random_case(n: int = 4000, *, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities that lean towards them; seven of the labels occur, Review never does."""
    rng = np.random.default_rng(seed)
    true = rng.choice([0, 1, 2, 3, 4, 5, 7], n)
    weights = rng.dirichlet(np.full(8, 0.3), n)
    weights[np.arange(n), true] += rng.random(n)
    return true, weights / weights.sum(axis=1, keepdims=True)


# --- The table, by hand -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "precision", "recall", "f1", "support", "predicted"),
    [
        ("BreakIdle", 4 / 4, 4 / 4, 1.0, 4, 4),
        ("Build", 2 / 4, 2 / 4, 2 * 2 / (4 + 4), 4, 4),
        ("Debug", 2 / 3, 2 / 3, 2 * 2 / (3 + 3), 3, 3),
        ("Meet", None, 0 / 3, 2 * 0 / (3 + 0), 3, 0),
        ("Write", 1 / 1, 1 / 2, 2 * 1 / (2 + 1), 2, 1),
        ("ReadResearch", 0 / 1, None, 2 * 0 / (0 + 1), 0, 1),
        ("Communicate", None, None, None, 0, 0),
        ("Review", None, None, None, 0, 0),
    ],
)
def test_each_label_has_its_own_figures_and_what_is_undefined_is_none(
    label: str, precision: float | None, recall: float | None, f1: float | None, support: int, predicted: int
) -> None:
    found = table_report().per_class[label]
    assert (found.precision, found.recall, found.f1) == (precision, recall, f1)
    assert (found.support, found.predicted) == (support, predicted)


def test_a_label_is_judged_from_min_class_windows_on() -> None:
    assert table_report(min_class_windows=3).judged_labels == ["BreakIdle", "Build", "Debug", "Meet"]
    assert table_report(min_class_windows=4).judged_labels == ["BreakIdle", "Build"]
    judged = {label for label, found in table_report(min_class_windows=4).per_class.items() if found.judged}
    assert judged == {"BreakIdle", "Build"}


def test_macro_f1_averages_the_judged_labels_only() -> None:
    assert table_report(min_class_windows=3).macro_f1 == pytest.approx((1 + 1 / 2 + 2 / 3 + 0) / 4)
    assert table_report(min_class_windows=4).macro_f1 == pytest.approx((1 + 1 / 2) / 2)


def test_weighted_f1_averages_over_the_windows_of_the_judged_labels_only() -> None:
    assert table_report(min_class_windows=3).weighted_f1 == pytest.approx((1 * 4 + 1 / 2 * 4 + 2 / 3 * 3 + 0 * 3) / 14)
    assert table_report(min_class_windows=5).weighted_f1 is None


def test_without_a_judged_label_there_is_no_average() -> None:
    found = table_report(min_class_windows=5)
    assert (found.macro_f1, found.weighted_f1, found.judged_labels) == (None, None, [])
    assert {user.macro_f1 for user in found.per_user.values()} == {None}


def test_the_originals_averages_are_over_all_eight_labels_with_undefined_as_zero() -> None:
    found = table_report()
    assert found.all_labels_macro_f1 == pytest.approx((1 + 1 / 2 + 2 / 3 + 0 + 2 / 3 + 0 + 0 + 0) / 8)
    assert found.all_labels_weighted_f1 == pytest.approx((1 * 4 + 1 / 2 * 4 + 2 / 3 * 3 + 0 * 3 + 2 / 3 * 2) / 16)


def test_accuracy_counts_rejected_windows_as_wrong() -> None:
    # right: Break 4, Build 2, Debug 2, Write 1; the three rejected ones would have been right
    assert table_report().accuracy == 9 / 16
    assert table_report(threshold=0.0).accuracy == 12 / 16


def test_the_confusion_matrix_has_true_labels_as_rows_and_leaves_out_what_was_rejected() -> None:
    expected = np.zeros((8, 8), dtype=int)
    expected[BREAK, BREAK], expected[BUILD, BUILD], expected[BUILD, DEBUG] = 4, 2, 1
    expected[DEBUG, DEBUG], expected[DEBUG, BUILD], expected[MEET, BUILD] = 2, 1, 1
    expected[WRITE, WRITE], expected[WRITE, READ] = 1, 1
    found = table_report()
    assert found.confusion_matrix == expected.tolist()
    assert found.label_names == list(LABELS)
    assert found.rejected_by_label == {**dict.fromkeys(LABELS, 0), "Build": 1, "Meet": 2}


def test_the_reject_rate_is_the_share_below_the_threshold() -> None:
    assert table_report().reject_rate == 3 / 16
    assert table_report(threshold=0.0).reject_rate == 0
    assert table_report(threshold=1.0).reject_rate == 1


def test_a_confidence_at_the_threshold_is_accepted_and_one_just_below_is_not() -> None:
    probabilities = np.array([[0.5, 0.5, 0, 0, 0, 0, 0, 0], [0.75, 0.25, 0, 0, 0, 0, 0, 0]])
    true = np.array([BREAK, BREAK])
    assert score(true, probabilities, threshold=0.5)[1].predicted.tolist() == [BREAK, BREAK]
    assert score(true, probabilities, threshold=float(np.nextafter(0.5, 1)))[1].predicted.tolist() == [REJECTED, BREAK]
    assert score(true, probabilities, threshold=0.75)[0].reject_rate == 0.5


def test_each_user_is_scored_on_the_judged_labels_that_user_has() -> None:
    # alice: Break 1, Build right 2 of 4 true and 2 named by her: 4 / 6. bob: Debug right 2 of 3 true and 2 named: 4 / 5, Meet 0.
    found = table_report().per_user
    assert list(found) == ["alice", "bob"]
    assert (found["alice"].windows, found["bob"].windows) == (8, 8)
    assert found["alice"].macro_f1 == pytest.approx((1 + 4 / 6) / 2)
    assert found["bob"].macro_f1 == pytest.approx((4 / 5 + 0) / 2)
    assert (found["alice"].reject_rate, found["bob"].reject_rate) == (1 / 8, 2 / 8)
    assert not found["bob"].unseen


def test_users_without_windows_are_left_out() -> None:
    rows = window_keys(USERS)
    rows["user_id"] = rows["user_id"].cat.add_categories(["carol"])
    assert list(score(TRUE, probabilities_of(SAID), rows=rows)[0].per_user) == ["alice", "bob"]


def test_seen_and_unseen_users_are_scored_apart_when_users_are_held_out() -> None:
    found = table_report(unseen=("bob",))
    assert found.seen_user_f1 == pytest.approx((1 + 4 / 6) / 2)
    assert found.unseen_user_f1 == pytest.approx((4 / 5 + 0) / 2)
    assert (found.per_user["alice"].unseen, found.per_user["bob"].unseen) == (False, True)


def test_without_held_out_users_there_are_no_seen_and_unseen_figures() -> None:
    found = table_report(unseen=())
    assert (found.seen_user_f1, found.unseen_user_f1) == (None, None)


def test_the_most_frequent_confusions_come_first_without_rejects_and_right_answers() -> None:
    true = np.array([BUILD] * 5 + [DEBUG] * 4 + [WRITE] * 2 + [MEET] * 2)
    said = [DEBUG, DEBUG, DEBUG, BUILD, WRITE, BUILD, BUILD, DEBUG, DEBUG, READ, WRITE, MEET, MEET]
    probabilities = np.full((len(said), 8), 0.01)
    probabilities[np.arange(len(said)), said] = 0.93
    probabilities[-1] = 1 / 8
    found = score(true, probabilities)[0].top_confusion_pairs
    assert [(pair.true_label, pair.pred_label, pair.count) for pair in found] == [
        ("Build", "Debug", 3),
        ("Debug", "Build", 2),
        ("Build", "Write", 1),
        ("Write", "ReadResearch", 1),
    ]


def test_at_most_ten_confusions_are_named() -> None:
    true = np.repeat(np.arange(8), 8)
    said = np.tile(np.arange(8), 8)
    found = score(true, np.eye(8)[said] * 0.9 + 0.0125)[0].top_confusion_pairs
    assert len(found) == 10
    assert {pair.count for pair in found} == {1}


# --- Precision, recall and the area under the curve ---------------------------------------------------------------------------------


def two_labels(build: list[float], debug: list[float]) -> np.ndarray:
    """Probabilities of windows that say only these about Build and Debug; the rest goes to Write."""
    rows = np.zeros((len(build), 8))
    rows[:, BUILD], rows[:, DEBUG] = build, debug
    rows[:, WRITE] = 1 - rows.sum(axis=1)
    return rows


def test_macro_precision_and_recall_are_means_over_the_judged_labels() -> None:
    # Break is right throughout; Build is right in 2 of 4 said and in 2 of 4 true, Debug in 2 of 3 and 2 of 3
    found = table_report(min_class_windows=4)
    assert (found.macro_precision, found.macro_recall) == (pytest.approx((1 + 2 / 4) / 2), pytest.approx((1 + 2 / 4) / 2))
    true = np.array([BREAK] * 4 + [BUILD] * 4 + [WRITE])
    said = np.array([BREAK] * 4 + [BUILD, BREAK, BREAK, BREAK] + [BREAK])
    found = score(true, np.eye(8)[said] * 0.9 + 0.0125)[0]
    assert (found.macro_precision, found.macro_recall) == (pytest.approx((4 / 8 + 1 / 1) / 2), pytest.approx((4 / 4 + 1 / 4) / 2))


def test_macro_precision_is_undefined_where_a_judged_label_was_never_predicted() -> None:
    # Meet has three windows and is never said
    found = table_report(min_class_windows=3)
    assert found.judged_labels == ["BreakIdle", "Build", "Debug", "Meet"]
    assert found.macro_precision is None
    assert found.macro_recall == pytest.approx((1 + 2 / 4 + 2 / 3 + 0) / 4)


def test_without_judged_labels_there_is_no_mean_precision_recall_or_area() -> None:
    found = table_report(min_class_windows=17)
    assert (found.macro_precision, found.macro_recall, found.one_vs_rest_auc) == (None, None, None)


def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order() -> None:
    # Build: of 0.6, 0.3 against 0.4, 0.1 three of four pairs. Debug: 0.3, 0.7 against 0.1, 0.3: three and a tie.
    probabilities = two_labels(build=[0.6, 0.3, 0.4, 0.1], debug=[0.1, 0.3, 0.3, 0.7])
    true = np.array([BUILD, BUILD, DEBUG, DEBUG])
    assert score(true, probabilities, min_class_windows=2)[0].one_vs_rest_auc == pytest.approx((3 / 4 + 3.5 / 4) / 2)


def test_the_area_under_the_curve_is_one_half_where_all_probabilities_are_equal_and_falls_to_zero_where_they_are_turned_round() -> None:
    true = np.array([BUILD, BUILD, DEBUG, DEBUG])
    assert score(true, np.full((4, 8), 1 / 8), min_class_windows=2)[0].one_vs_rest_auc == 0.5
    right = two_labels(build=[0.8, 0.7, 0.1, 0.2], debug=[0.1, 0.2, 0.8, 0.7])
    assert score(true, right, min_class_windows=2)[0].one_vs_rest_auc == 1.0
    assert score(true[::-1], right, min_class_windows=2)[0].one_vs_rest_auc == 0.0


def test_only_judged_labels_enter_the_area_but_windows_of_all_others_are_its_negatives() -> None:
    # Debug has one window. Build: 0.6, 0.5 against 0.55 of Debug: one of two pairs.
    true = np.array([BUILD, BUILD, DEBUG])
    probabilities = two_labels(build=[0.6, 0.5, 0.55], debug=[0.1, 0.1, 0.4])
    assert score(true, probabilities, min_class_windows=2)[0].one_vs_rest_auc == pytest.approx(1 / 2)
    assert score(true, probabilities, min_class_windows=1)[0].one_vs_rest_auc == pytest.approx((1 / 2 + 1) / 2)


def test_a_label_that_all_windows_have_has_no_area() -> None:
    found = score(np.array([BUILD] * 4), two_labels(build=[0.6, 0.3, 0.4, 0.1], debug=[0.1, 0.1, 0.1, 0.1]))[0]
    assert (found.judged_labels, found.one_vs_rest_auc) == (["Build"], None)


def test_the_area_looks_at_probabilities_so_that_the_reject_threshold_does_not_change_it() -> None:
    true, probabilities = random_case()
    strict, lax = (score(true, probabilities, threshold=threshold)[0] for threshold in (0.9, 0.0))
    assert strict.macro_recall < lax.macro_recall
    assert strict.one_vs_rest_auc == lax.one_vs_rest_auc
    areas = []
    for label in [0, 1, 2, 3, 4, 5, 7]:
        own, rank = true == label, rankdata(probabilities[:, label])
        areas.append((rank[own].mean() - (own.sum() + 1) / 2) / (~own).sum())  # Mann-Whitney
    assert lax.one_vs_rest_auc == pytest.approx(np.mean(areas), abs=1e-12)


# --- Beside scikit-learn ----------------------------------------------------------------------------------------------------------


def test_the_all_label_figures_are_those_of_scikit_learn_with_rejects_as_a_ninth_label() -> None:
    true, probabilities = random_case()
    found, predictions = score(true, probabilities, threshold=0.45)
    said = np.where(probabilities.max(axis=1) < 0.45, REJECT, probabilities.argmax(axis=1))
    assert 0.05 < found.reject_rate < 0.6
    assert np.array_equal(predictions.predicted, said)
    options = {"labels": list(range(8)), "zero_division": 0}
    assert found.all_labels_macro_f1 == pytest.approx(f1_score(true, said, average="macro", **options), abs=1e-12)
    assert found.all_labels_weighted_f1 == pytest.approx(f1_score(true, said, average="weighted", **options), abs=1e-12)
    assert found.accuracy == pytest.approx(accuracy_score(true, said), abs=1e-12)
    assert found.confusion_matrix == confusion_matrix(true, said, labels=list(range(9)))[:8, :8].tolist()
    # Review never occurs, so the judged labels are the other seven
    judged = [0, 1, 2, 3, 4, 5, 7]
    assert found.judged_labels == [LABELS[i] for i in judged]
    assert found.macro_f1 == pytest.approx(f1_score(true, said, labels=judged, average="macro"), abs=1e-12)
    assert found.macro_precision == pytest.approx(precision_score(true, said, labels=judged, average="macro"), abs=1e-12)
    assert found.macro_recall == pytest.approx(recall_score(true, said, labels=judged, average="macro"), abs=1e-12)
    assert found.weighted_f1 == pytest.approx(f1_score(true, said, labels=judged, average="weighted"), abs=1e-12)


def test_calibration_curves_are_those_of_scikit_learn() -> None:
    true, probabilities = random_case()
    found = score(true, probabilities)[0].calibration
    assert list(found) == list(LABELS)
    for i, label in enumerate(LABELS):
        fraction, mean = calibration_curve(true == i, probabilities[:, i], n_bins=10, strategy="uniform")
        assert found[label].fraction_of_positives == pytest.approx(fraction, abs=1e-12)
        assert found[label].mean_predicted_value == pytest.approx(mean, abs=1e-12)
        assert sum(found[label].windows) == len(true)


def test_bins_without_windows_are_left_out_of_a_calibration_curve() -> None:
    # 0.97 and 1.0 share the last bin, 0.03 and 0 the first
    probabilities = np.array([[1.0, 0, 0, 0, 0, 0, 0, 0], [0.97, 0.03, 0, 0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0, 0, 0, 0]])
    found = score(np.array([BREAK, BUILD, BUILD]), probabilities)[0].calibration["BreakIdle"]
    assert found.windows == [1, 2]
    assert found.mean_predicted_value == pytest.approx([0.0, (1.0 + 0.97) / 2])
    assert found.fraction_of_positives == [0.0, 0.5]


def test_brier_score_and_log_loss_are_those_of_scikit_learn() -> None:
    true, probabilities = random_case()
    probabilities[0] = np.eye(8)[(true[0] + 1) % 8]  # the true label has no probability
    found = score(true, probabilities)[0]
    labels = list(range(8))
    brier = brier_score_loss(true, probabilities, labels=labels, scale_by_half=False)
    assert found.multiclass_brier_score == pytest.approx(brier, abs=1e-12)
    assert found.multiclass_log_loss == pytest.approx(log_loss(true, probabilities, labels=labels), abs=1e-12)


def test_brier_score_and_log_loss_by_hand() -> None:
    probabilities = np.array([[0.5, 0.5, 0, 0, 0, 0, 0, 0], [0.25, 0.75, 0, 0, 0, 0, 0, 0]])
    found = score(np.array([BREAK, BREAK]), probabilities)[0]
    # (0.5 - 1)^2 + 0.5^2 = 0.5; (0.25 - 1)^2 + 0.75^2 = 1.125
    assert found.multiclass_brier_score == pytest.approx((0.5 + 1.125) / 2)
    assert found.multiclass_log_loss == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_a_true_label_given_no_probability_has_a_large_but_finite_log_loss() -> None:
    probabilities = np.array([[0.0, 1.0, 0, 0, 0, 0, 0, 0]])
    found = score(np.array([BREAK]), probabilities)[0].multiclass_log_loss
    assert 36 < found < 37  # -ln(2.2e-16)


def test_the_calibration_error_by_hand() -> None:
    said = [(0.95, True), (0.95, False), (0.55, True), (0.55, True), (0.35, False)]
    probabilities = np.zeros((5, 8))
    true = np.zeros(5, dtype=int)
    for i, (confidence, right) in enumerate(said):
        probabilities[i] = (1 - confidence) / 7
        probabilities[i, BREAK if right else BUILD] = confidence
    # 2/5 * |1/2 - 0.95| + 2/5 * |2/2 - 0.55| + 1/5 * |0 - 0.35| = 0.18 + 0.18 + 0.07
    assert score(true, probabilities)[0].expected_calibration_error == pytest.approx(0.43)


def test_certain_and_right_predictions_have_no_calibration_error() -> None:
    true = np.array([BREAK, BUILD, WRITE])
    found = score(true, np.eye(8)[true])[0]
    assert (found.expected_calibration_error, found.multiclass_brier_score, found.multiclass_log_loss) == (0, 0, 0)


# --- Flapping ---------------------------------------------------------------------------------------------------------------------


def follows(*lengths: int) -> np.ndarray:
    """Whether each window has one before it in its session, for sessions of these lengths."""
    return np.concatenate([np.arange(length) > 0 for length in lengths])


def test_changes_within_a_session_count_and_those_between_sessions_do_not() -> None:
    # A A B A B | B B | C C A: three changes, none, one
    said = np.array([0, 0, 1, 0, 1, 1, 1, 2, 2, 0])
    assert flap_rate(said, follows(5, 2, 3)) == 4 / 10
    # one session: A-B, B-A, A-B, B-C, C-A
    assert flap_rate(said, follows(10)) == 5 / 10
    assert flap_rate(said, follows(*[1] * 10)) == 0


def test_smoothing_takes_the_majority_of_a_window_and_its_neighbours() -> None:
    said = np.array([0, 0, 1, 0, 8, 1, 1])
    # the lone B between two A becomes A; 0 between 1 and 8, 8 between 0 and 1 have no majority and stay; ends have one neighbour only
    assert smooth(said, follows(7)).tolist() == [0, 0, 0, 0, 8, 1, 1]


def test_smoothing_looks_at_what_was_predicted_and_not_at_what_it_has_smoothed() -> None:
    # every inner window lies between two of the other label
    assert smooth(np.array([0, 1, 0, 1, 0]), follows(5)).tolist() == [0, 0, 1, 0, 0]


def test_smoothing_does_not_look_over_the_border_of_a_session() -> None:
    said = np.array([1, 0, 1, 0, 1])
    assert smooth(said, follows(2, 3)).tolist() == [1, 0, 1, 1, 1]
    assert smooth(said, follows(5)).tolist() == [1, 1, 0, 1, 1]
    assert smooth(said, follows(1, 1, 1, 1, 1)).tolist() == said.tolist()


def test_smoothing_leaves_its_input_alone() -> None:
    said = np.array([0, 1, 0])
    smooth(said, follows(3))
    assert said.tolist() == [0, 1, 0]


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_sequences_are_smoothed_to_themselves(length: int) -> None:
    said = np.arange(length)
    assert smooth(said, follows(length)).tolist() == said.tolist()


def test_a_report_counts_flaps_by_user_and_session() -> None:
    # alice s1: A A B A R, alice s2: B B, bob s2: C C A. Raw 3 + 0 + 1; smoothed A A A A R, B B, C C A: 1 + 0 + 1.
    said = [BREAK, BREAK, BUILD, BREAK, REJECT, BUILD, BUILD, COMMUNICATE, COMMUNICATE, BREAK]
    rows = window_keys(["alice"] * 7 + ["bob"] * 3, ["s1"] * 5 + ["s2"] * 5)
    probabilities = np.full((10, 8), 1 / 8)
    for i, label in enumerate(said):
        if label != REJECT:
            probabilities[i] = np.eye(8)[label]
    found = score(np.zeros(10, dtype=int), probabilities, rows=rows)[0]
    assert found.flap_rate == 4 / 10
    assert found.flap_rate_smoothed == 2 / 10


@pytest.mark.parametrize(("week", "by_session"), [("w1", True), ("w1", False), ("w2", False)])
def test_smoothing_gives_the_labels_that_the_original_wrote(real_homes: Path, week: str, by_session: bool) -> None:
    # The original smooths over the ends of sessions, too; in the first week that makes no difference.
    folder = real_homes / "original-home" / "artifacts" / week
    written = pd.read_csv(folder / "predictions.csv")
    features = pd.read_parquet(folder / "features.parquet", columns=["bucket_start_ts", "session_id"])
    assert pd.to_datetime(written["bucket_start_ts"], utc=True).tolist() == features["bucket_start_ts"].tolist()
    raw = np.array([json.loads(line) for line in written["core_probs"]]).argmax(axis=1)
    raw[written["is_rejected"].to_numpy()] = REJECTED
    same = (features["session_id"] == features["session_id"].shift()).to_numpy() if by_session else follows(len(raw))
    names = np.array([*LABELS, REJECTED_LABEL])
    assert (names[raw] != written["predicted_label"]).sum() > 10
    assert names[smooth(raw, same)].tolist() == written["predicted_label"].tolist()


# --- Keys, files, borders ---------------------------------------------------------------------------------------------------------


def test_predictions_name_their_windows() -> None:
    rows = window_keys(USERS)
    predictions = score(TRUE, probabilities_of(SAID), rows=rows)[1]
    assert np.array_equal(predictions.key, hash_row_keys(rows))
    assert len(np.unique(predictions.key)) == 16
    assert np.array_equal(predictions.true, TRUE)
    assert predictions.predicted.tolist() == SAID


def test_the_rows_digest_names_a_set_of_windows_whatever_their_order() -> None:
    key = np.array([5, 2**63 + 1, 7], dtype=np.uint64)
    assert rows_digest(key) == rows_digest(key[::-1])
    assert rows_digest(key) != rows_digest(key[:2])
    assert rows_digest(key) != rows_digest(np.array([5, 2**63 + 1, 8], dtype=np.uint64))
    assert len(rows_digest(key)) == 16


def test_two_models_on_the_same_windows_have_the_same_rows_digest() -> None:
    one = table_report()
    other = score(TRUE, np.full((16, 8), 1 / 8), rows=window_keys(USERS))[0]
    assert one.rows_digest == other.rows_digest
    assert one.rows_digest != score(TRUE, probabilities_of(SAID), rows=window_keys(["carol"] * 16))[0].rows_digest


def test_no_windows_give_an_empty_report_and_no_crash() -> None:
    rows = window_keys(USERS).head(0)
    found, predictions = score(np.empty(0, dtype=np.int64), np.empty((0, 8)), rows=rows, unseen=("bob",))
    assert (found.windows, found.macro_f1, found.weighted_f1, found.judged_labels, found.per_user) == (0, None, None, [], {})
    assert (found.macro_precision, found.macro_recall, found.one_vs_rest_auc) == (None, None, None)
    assert (found.accuracy, found.reject_rate, found.flap_rate, found.flap_rate_smoothed) == (0, 0, 0, 0)
    assert (found.seen_user_f1, found.unseen_user_f1) == (None, None)
    assert found.confusion_matrix == np.zeros((8, 8), dtype=int).tolist()
    assert {score.precision for score in found.per_class.values()} == {None}
    assert len(predictions.key) == len(predictions.true) == len(predictions.predicted) == 0
    assert EvaluationReport.model_validate_json(found.model_dump_json()) == found


def test_one_window_is_scored() -> None:
    found = score(np.array([WRITE]), np.eye(8)[[WRITE]], min_class_windows=1)[0]
    assert (found.macro_f1, found.weighted_f1, found.accuracy, found.flap_rate) == (1, 1, 1, 0)


def test_a_report_is_read_back_from_json_as_it_was() -> None:
    found = table_report(unseen=("bob",))
    assert EvaluationReport.model_validate_json(found.model_dump_json()) == found
    assert EvaluationReport.model_validate_json(found.model_dump_json()).record_hash == found.record_hash


def test_confusion_counts_have_a_ninth_column_for_rejected_windows() -> None:
    counts = count_predictions(TRUE, np.array(SAID))
    assert counts.table.shape == (8, 9)
    assert (counts.rejected[MEET], counts.rejected[BUILD], counts.accepted[MEET, BUILD], counts.support.sum()) == (2, 1, 1, 16)
    assert (counts.correct[BUILD], counts.predicted[BUILD], counts.support[BUILD]) == (2, 4, 4)
    assert counts.macro_f1(np.ones(8, dtype=bool)) == pytest.approx((1 + 1 / 2 + 2 / 3 + 0 + 2 / 3) / 5)
    assert counts.macro_f1(np.zeros(8, dtype=bool)) is None
