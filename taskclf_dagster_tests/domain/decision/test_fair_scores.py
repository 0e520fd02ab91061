"""The scores of both models on the windows that neither was trained on, worked out by hand."""

import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.evaluation.block_counts import Flips
from taskclf_dagster.domain.evaluation.comparison import complete_again
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster_tests.domain.evaluation.paired_windows import BREAK, BUILD, MEET, WRITE, Windows

ROWS = [
    *(("ada", minute, BUILD, BUILD, BUILD) for minute in range(5)),
    ("ada", 5, BUILD, MEET, BUILD),
    *(("bob", minute, MEET, MEET, BUILD) for minute in range(3)),
    ("bob", 3, MEET, REJECTED, BUILD),
    ("bob", 4, WRITE, WRITE, BREAK),
]
"""Six windows of Build, four of Meet, and one of Write, which is too rare to be judged at two windows."""


@pytest.fixture
def decision(honest: PromotionDecision) -> PromotionDecision:
    assert honest.comparison is not None
    none = dict.fromkeys(LABELS, 0)
    flips = Flips(windows=len(ROWS), negative={**none, "Build": 1}, positive={**none, "Meet": 3, "Write": 1})
    counts = honest.comparison.model_copy(update={"sums": Windows.of(*ROWS).sums, "flips": flips})
    comparison = complete_again(counts, seed=1, settings=honest.settings.comparison, min_class_windows=2)
    return honest.model_copy(update={"comparison": comparison})


def test_they_are_those_of_the_windows_that_were_compared(decision: PromotionDecision) -> None:
    champion, challenger = score_fairly(decision)
    assert challenger.f1 == pytest.approx({"Build": 2 * 5 / (6 + 5), "Meet": 2 * 3 / (4 + 4)})
    assert challenger.macro_f1 == pytest.approx((10 / 11 + 6 / 8) / 2)
    assert challenger.weighted_f1 == pytest.approx((6 * 10 / 11 + 4 * 6 / 8) / 10)
    assert challenger.accuracy == pytest.approx(9 / 11)
    assert champion is not None
    assert champion.f1 == pytest.approx({"Build": 2 * 6 / (6 + 10), "Meet": 0})
    assert (champion.macro_f1, champion.weighted_f1) == pytest.approx((0.375, 0.45))
    assert champion.accuracy == pytest.approx(6 / 11)
    assert champion.windows == challenger.windows == 11


def test_precision_and_recall_are_means_over_the_judged_labels(decision: PromotionDecision) -> None:
    champion, challenger = score_fairly(decision)
    assert challenger.macro_precision == pytest.approx((5 / 5 + 3 / 4) / 2)
    assert challenger.macro_recall == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert champion is not None
    assert champion.macro_precision == pytest.approx((6 / 10 + 0) / 2)  # it never says Meet
    assert champion.macro_recall == pytest.approx((6 / 6 + 0 / 4) / 2)


def test_where_no_label_is_judged_there_is_no_f1(decision: PromotionDecision) -> None:
    assert decision.comparison is not None
    settings = decision.settings.comparison
    strict = complete_again(decision.comparison, seed=1, settings=settings, min_class_windows=100)
    for scores in score_fairly(decision.model_copy(update={"comparison": strict})):
        assert scores is not None
        assert (scores.macro_f1, scores.weighted_f1, scores.f1) == (None, None, {})
        assert (scores.macro_precision, scores.macro_recall) == (None, None)


def test_without_a_comparison_the_challengers_are_on_every_test_window(honest: PromotionDecision) -> None:
    champion, challenger = score_fairly(honest.model_copy(update={"comparison": None}))
    assert champion is None
    assert (challenger.windows, challenger.macro_f1) == (honest.dataset.split["test"], honest.challenger.macro_f1)
    assert (challenger.accuracy, challenger.macro_precision, challenger.macro_recall) == (None, None, None)
