"""The figures of a policy against numbers that were worked out by hand."""

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.backtest.labeled_history import LabeledHistory
from taskclf_dagster.domain.backtest.policies import Policy
from taskclf_dagster.domain.backtest.policy_figures import Truth, summarize_policy
from taskclf_dagster.domain.backtest.policy_replay import PolicyRun, ServedModel
from taskclf_dagster.domain.backtest.replay_record import PolicyFigures
from taskclf_dagster.domain.backtest.served_predictions import NOT_PREDICTED, ServedPredictions, Succession
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster_tests.scenario import DAY, at, retrain_config

BUILD, DEBUG = LABELS.index("Build"), LABELS.index("Debug")
PER_DAY, DAYS = 40, 4
CONFIG = retrain_config(min_class_windows=30, max_days_since_training=2)


@pytest.fixture(scope="module")
def truth() -> Truth:
    """Four days of one user, each with 20 windows of Build and 20 of Debug."""
    starts = [at("09:00", day=day) + timedelta(minutes=minute) for day in range(DAYS) for minute in range(PER_DAY)]
    label = pd.Categorical.from_codes(([BUILD] * 20 + [DEBUG] * 20) * DAYS, categories=list(LABELS))
    rows = pd.DataFrame({"user_id": pd.Categorical(["alice"] * len(starts)), "bucket_start_ts": pd.to_datetime(starts), "label": label})
    return Truth(LabeledHistory(rows, "v1", ["alice"]), CONFIG)


def serve(model_id: str, day: int, hour: str = "00:00") -> ServedModel:
    bundle = SimpleNamespace(bundle=SimpleNamespace(model_id=model_id))
    return ServedModel(at(hour, day=day), bundle)  # type: ignore[arg-type]  # only the id is looked at


def figures(truth: Truth, predicted: np.ndarray, served: list[ServedModel], reference: np.ndarray | None = None) -> PolicyFigures:
    run = PolicyRun(Policy("tried", "gates", CONFIG), served=served)
    return summarize_policy(
        run,
        ServedPredictions(predicted, []),
        truth,
        present=CONFIG,
        reference=None if reference is None else ServedPredictions(reference, []),
        first=at("00:00"),
        last=at("00:00", day=DAYS),
    )


def test_macro_f1_is_over_the_windows_that_a_model_predicted_and_a_rejected_one_is_wrong(truth: Truth) -> None:
    predicted = truth.true.copy()
    predicted[:PER_DAY] = NOT_PREDICTED
    predicted[PER_DAY : PER_DAY + 20] = REJECTED  # a third of Build: recall 40 of 60, precision 1
    found = figures(truth, predicted, [serve("a", 1)])
    assert found.windows == 120
    assert found.macro_f1 == pytest.approx((2 * 40 / (40 + 60) + 1.0) / 2)
    assert found.reject_rate == pytest.approx(20 / 120)
    assert found.interval is not None
    assert found.interval[0] < found.macro_f1 < found.interval[1]
    assert [day.windows for day in found.days] == [0, 40, 40, 40]
    assert found.days[1].macro_f1 == pytest.approx(0.5)
    assert found.days[2].week_macro_f1 == pytest.approx((2 * 20 / (20 + 40) + 1.0) / 2)


def test_policies_are_compared_on_the_windows_that_both_predicted(truth: Truth) -> None:
    ours, theirs = truth.true.copy(), truth.true.copy()
    ours[:PER_DAY] = NOT_PREDICTED
    theirs[:20] = DEBUG  # wrong where we predict nothing: no difference
    assert figures(truth, ours, [serve("a", 1)], theirs).difference == pytest.approx(0.0)
    unknown = theirs.copy()
    unknown[-PER_DAY:] = NOT_PREDICTED
    assert figures(truth, ours, [serve("a", 1)], unknown).compared_windows == 80
    theirs[PER_DAY : PER_DAY + 20] = REJECTED
    found = figures(truth, ours, [serve("a", 1)], theirs)
    assert found.compared_windows == 120
    assert found.difference == pytest.approx((1.0 - 2 * 40 / 100) / 2)


def test_days_without_a_model_and_with_a_stale_one_are_counted(truth: Truth) -> None:
    found = figures(truth, truth.true, [serve("a", 0, "23:59"), serve("b", 3, "12:00")])
    assert found.days_without_model == 0
    assert [day.model_id for day in found.days] == ["a", "a", "a", "b"]
    assert [round(day.model_age or 0, 2) for day in found.days] == [0.0, 1.0, 2.0, 0.5]
    assert found.stale_days == 1  # the third day ends two days and a minute after the training
    late = figures(truth, truth.true, [serve("a", 2, "01:00")])
    assert (late.days_without_model, late.first_model_at) == (2, at("01:00", day=2))
    assert figures(truth, truth.true, []).days_without_model == DAYS


@pytest.mark.parametrize(("wrong", "bad"), [(0, False), (9, False), (10, True)])
def test_a_promotion_is_bad_if_the_new_model_is_worse_by_more_than_3_points(truth: Truth, wrong: int, bad: bool) -> None:
    rows = np.arange(len(truth.true))
    ours = truth.true.copy()
    ours[:wrong] = REJECTED
    found = truth.judge_succession(Succession(at("00:00"), "b", "a", rows, ours, truth.true))
    right = 80 - wrong
    assert found.difference == pytest.approx((2 * right / (right + 80) - 1) / 2)
    assert found.bad is bad


def test_a_promotion_with_too_few_labels_after_it_is_not_judged(truth: Truth) -> None:
    rows = np.arange(20)
    found = truth.judge_succession(Succession(at("00:00"), "b", "a", rows, truth.true[rows], truth.true[rows]))
    assert (found.difference, found.bad, found.windows) == (None, None, 20)


def test_only_labels_with_enough_windows_are_judged(truth: Truth) -> None:
    assert truth.judged_labels == ["Build", "Debug"]
    assert truth.user_days == DAYS
    assert timedelta(days=1) == DAY
