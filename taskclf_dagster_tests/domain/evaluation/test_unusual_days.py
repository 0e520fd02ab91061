"""Days whose labels are all the same, or unlike what the models see; the numbers are worked out by hand."""

from datetime import date

import numpy as np
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.leakage import TrainingDistance
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.scored_windows import ScoredWindows, StoredPredictions
from taskclf_dagster.domain.evaluation.unusual_days import UnusualDay, find_days_of_disagreement, find_days_of_one_label
from taskclf_dagster_tests.scenario import MONDAY, at

SOME = [("Build", 40), ("Write", 20)]


def _rows(days: list[list[tuple[str, int]]], *, user: str = "alice", gold: bool = True) -> pd.DataFrame:
    """Windows of consecutive days from 09:00 on, each day a list of labels with their number of windows."""
    starts = [at("09:00", day=day) + i * pd.Timedelta("1min") for day, parts in enumerate(days) for i in range(sum(n for _, n in parts))]
    labels = [label for parts in days for label, n in parts for _ in range(n)]
    times = pd.Series(pd.to_datetime(starts, utc=True)).astype("datetime64[us, UTC]")
    return pd.DataFrame({"user_id": user, "bucket_start_ts": times, "label": labels, "gold": gold}).astype(
        {"user_id": "category", "label": pd.CategoricalDtype(list(LABELS))}
    )


def _model(days: list[tuple[int, int]], *, rejected: int = 0) -> StoredPredictions:
    """Each day the number of windows that the model accepts, and how many of them it has right; it rejects `rejected` more."""
    rows = _rows([[("Build", accepted + rejected)] for accepted, _ in days])
    predicted = np.concatenate([[1] * right + [2] * (n - right) + [REJECTED] * rejected for n, right in days])
    key = np.arange(len(rows), dtype=np.uint64)
    distance = TrainingDistance("m", "row_hashes", MONDAY, MONDAY, np.full(len(rows), 61))
    return StoredPredictions(ScoredWindows(Predictions(key, np.ones(len(rows), dtype=np.int64), predicted), distance), rows)


def _days(found: list[UnusualDay]) -> list[tuple[str, str, date]]:
    return [(day.kind, day.user_id, day.day) for day in found]


def test_a_day_of_one_label_among_four_of_several_is_found_with_user_and_day() -> None:
    rows = pd.concat([_rows([SOME, SOME, [("Meet", 60)], SOME, SOME]), _rows([SOME] * 5, user="bob")], ignore_index=True)
    found = find_days_of_one_label(rows.astype({"user_id": "category"}))
    assert found == [UnusualDay(kind="one_label", user_id="alice", day=date(2026, 1, 7), windows=60)]


def test_a_day_of_one_label_is_not_unusual_if_it_is_short_or_not_the_exception_or_not_labeled_by_a_person() -> None:
    one = [("Meet", 60)]
    assert find_days_of_one_label(_rows([SOME, SOME, [("Meet", 59)], SOME, SOME])) == []
    assert find_days_of_one_label(_rows([SOME, SOME, one, SOME])) == []
    assert find_days_of_one_label(_rows([SOME, SOME, one, SOME, SOME, one])) == []
    assert find_days_of_one_label(_rows([SOME, SOME, one, SOME, SOME], gold=False)) == []
    assert len(find_days_of_one_label(_rows([SOME, SOME, one, SOME, SOME, one, SOME, SOME, SOME, SOME]))) == 2


def test_a_day_far_below_the_lowest_of_the_others_for_both_models_is_found() -> None:
    # The others agree on 80, 80, 90 and 90 of 100: the quartiles are 0.8 and 0.9, so the bound is 0.8 - max(0.15, 1.5 * 0.1) = 0.65.
    found = find_days_of_disagreement(
        [_model([(100, 80), (100, 80), (100, 64), (100, 90), (100, 90)]), _model([(100, 80)] * 2 + [(100, 40)] + [(100, 80)] * 2)]
    )
    assert _days(found) == [("disagreement", "alice", date(2026, 1, 7))]
    assert (found[0].windows, found[0].agreement) == (100, 0.64)
    assert abs(found[0].bound - 0.65) < 1e-12


def test_a_day_above_the_bound_or_below_it_for_one_model_only_is_not_found() -> None:
    low, fair = [(100, 80), (100, 80), (100, 64), (100, 90), (100, 90)], [(100, 80), (100, 80), (100, 66), (100, 90), (100, 90)]
    assert find_days_of_disagreement([_model(fair)]) == []
    assert find_days_of_disagreement([_model(low), _model(fair)]) == []
    assert len(find_days_of_disagreement([_model(low)])) == 1


def test_days_that_differ_much_widen_the_bound() -> None:
    # 0.5, 0.6, 0.9 and 1: the quartiles are 0.575 and 0.925, so the bound is 0.5 - 1.5 * 0.35 < 0.
    assert find_days_of_disagreement([_model([(100, 50), (100, 60), (100, 0), (100, 90), (100, 100)])]) == []


def test_rejected_windows_are_no_disagreement_and_few_windows_or_days_say_nothing() -> None:
    assert find_days_of_disagreement([_model([(100, 90)] * 5, rejected=300)]) == []
    assert find_days_of_disagreement([_model([(100, 90)] * 4 + [(29, 0)])]) == []
    assert len(find_days_of_disagreement([_model([(100, 90)] * 4 + [(30, 0)])])) == 1
    assert find_days_of_disagreement([_model([(100, 90)] * 3 + [(100, 0)])]) == []
    assert find_days_of_disagreement([]) == []
