"""The search for settings: what it takes and keeps, what the budget allows, and what must not matter to it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.config.settings import TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.models.choice import Choice, fit_choice
from taskclf_dagster.domain.models.folds import make_folds
from taskclf_dagster.domain.models.search import CLOCK_INPUTS, Search, search_choices
from taskclf_dagster.domain.models.search_result import SearchResult
from taskclf_dagster_tests.scenario import AS_OF, learnable_home, retrain_config

V1 = SCHEMAS["v1"]
DIGEST = "0123456789abcdef" * 4
PARAMS = TrainParams.model_validate({"num_boost_round": 5, "num_leaves": 4, "constant_inputs": []})
GIVEN = Choice(constant_inputs=[], num_leaves=4, uses_older=True, seeds=1)
EVERYTHING = 1_000.0
"""A budget for every change."""


@cache
def rows(confusion: float = 0.15) -> pd.DataFrame:
    """The rows of two users and eight days. Not to be changed in place."""
    config = retrain_config()
    with TemporaryDirectory() as folder:
        home = learnable_home(Path(folder), users=2, days=8, confusion=confusion)
        labeled, frame, *_ = label_windows(home, as_of=AS_OF, settings=config.dataset)
        return build_snapshot(home, labeled, frame, config=config)[1]


def search(
    table: pd.DataFrame, *, budget: float = EVERYTHING, min_user_days: int = 5, threads: int = 1, min_class_windows: int = 5
) -> Search:
    return search_choices(
        table,
        V1,
        params=PARAMS,
        dataset_digest=DIGEST,
        min_class_windows=min_class_windows,
        min_user_days=min_user_days,
        budget=budget,
        num_threads=threads,
    )


def with_a_misleading_clock() -> pd.DataFrame:
    """Rows that are hard to tell apart but by the hour, which means one label on the first three days and another one on each later day."""
    table = rows(0.6).copy()
    day = table["bucket_start_ts"].dt.day_of_year.to_numpy()
    table["hour_of_day"] = ((label_codes(table) + np.maximum(0, day - day.min() - 2)) % 8).astype(float)
    return table


def with_wrong_older_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The first rows are older ones, each with the label after its own."""
    changed = table.copy()
    early = (changed["bucket_start_ts"] < changed["bucket_start_ts"].quantile(0.4)).to_numpy() & (changed["split"] == "train").to_numpy()
    changed.loc[early, "split"] = "older"
    changed.loc[early, "label"] = np.array(LABELS)[(label_codes(table)[early] + 1) % 8]
    return changed


@cache
def full_search() -> Search:
    return search(rows())


def verdicts(result: SearchResult) -> dict[str, str]:
    return {each.change: each.verdict for each in result.tried}


def test_a_clock_that_misleads_is_made_constant_and_equal_changes_are_not_taken() -> None:
    result = search(with_a_misleading_clock()).result
    assert verdicts(result) == {
        "settings as given": "present",
        "constant clock inputs": "taken",
        "15 leaves": "not better",
        "31 leaves": "not better",
        "average of 3 seeds": "not better",
    }
    assert result.choice == GIVEN.model_copy(update={"constant_inputs": list(CLOCK_INPUTS)})
    assert result.tried[2].choice.constant_inputs == list(CLOCK_INPUTS)
    assert "taken: constant clock inputs (macro-F1 higher by 0." in result.summary


def test_older_rows_that_teach_what_is_wrong_are_left_out() -> None:
    result = search(with_wrong_older_rows(rows())).result
    assert verdicts(result)["no older windows"] == "taken"
    assert not result.choice.uses_older
    assert "no older windows" not in verdicts(search(rows(), budget=0).result)


def test_a_choice_without_older_rows_is_fitted_without_them() -> None:
    table, params = with_wrong_older_rows(rows()), PARAMS
    newer = table[table["split"] != "older"]
    one, other = (
        fit_choice(
            learned, V1, choice=GIVEN.model_copy(update={"uses_older": False}), params=params, dataset_digest=DIGEST, num_threads=1
        ).booster.model_to_string()
        for learned in (table, newer)
    )
    assert one == other


def test_changes_beyond_the_budget_are_not_tried_and_the_settings_as_given_always_are() -> None:
    everything = full_search().result
    costs = [each.cost for each in everything.tried]
    some = search(rows(), budget=costs[0] + costs[1] + costs[2]).result
    assert [each.verdict for each in some.tried] == ["present", "not better", "not better", "not tried", "not tried"]
    assert some.spent == sum(costs[:3]) <= some.budget
    assert "not tried within the budget: 31 leaves, average of 3 seeds." in some.summary
    nothing = search(rows(), budget=0)
    assert [each.verdict for each in nothing.result.tried] == ["present", *["not tried"] * 4]
    assert len(nothing.out_of_fold.true) == nothing.result.judged_windows > 0


def test_the_cost_counts_rows_rounds_and_leaves_beside_one_fit_of_the_original_settings() -> None:
    table = rows()
    result = search(table, budget=0).result
    sizes = [fold.learned.sum() + fold.judged.sum() for fold in make_folds(table)]
    unit = 100 * ((table["split"] == "train").sum() + 2000) * (31 + 14)
    given = sum(5 * (0.65 + 0.35 * 0.5) * (size + 2000) * (4 + 14) for size in sizes)
    assert result.tried[0].cost == pytest.approx(given / unit)
    assert result.tried[-1].cost == pytest.approx(2 * given / unit)  # the first of three seeds is fitted already


@pytest.mark.parametrize(("least", "windows", "reason"), [(1_000, 5, "fewer than 1000"), (5, 10_000, "at least 2 are needed")])
def test_with_too_little_to_judge_the_search_is_off_and_says_so(least: int, windows: int, reason: str) -> None:
    found = search(with_a_misleading_clock(), min_user_days=least, min_class_windows=windows)
    assert (found.result.state, found.result.choice) == ("off", GIVEN)
    assert [each.verdict for each in found.result.tried] == ["present", *["not tried"] * 4]
    assert reason in found.result.summary
    assert len(found.out_of_fold.probabilities) == found.result.judged_windows > 0


def test_without_folds_the_search_is_off() -> None:
    table = rows()[rows()["split"] == "test"].reset_index(drop=True)
    found = search(table)
    assert (found.result.state, found.result.learning_curve, found.result.judged_windows) == ("off", [], 0)
    assert found.out_of_fold.probabilities.shape == (0, 8)


def test_test_rows_change_nothing() -> None:
    changed = rows().copy()
    changed.loc[changed["split"] == "test", "label"] = "BreakIdle"
    found, other = search(rows(), budget=0), search(changed, budget=0)
    assert found.result == other.result
    assert np.array_equal(found.out_of_fold.probabilities, other.out_of_fold.probabilities)


def test_the_number_of_threads_changes_nothing_and_a_record_is_read_as_it_was_written() -> None:
    one, two = full_search().result, search(rows(), threads=2).result
    assert one == two
    assert SearchResult.model_validate_json(one.model_dump_json()) == one


def test_out_of_fold_predictions_are_those_of_the_choice_fitted_on_each_fold() -> None:
    table = with_a_misleading_clock()
    found, fold = search(table), make_folds(table)[-1]
    model = fit_choice(
        table[fold.learned],
        V1,
        choice=found.result.choice,
        params=PARAMS,
        dataset_digest=DIGEST,
        num_threads=1,
    )
    expected = model.predict(table[fold.judged], num_threads=1)
    predictions = found.out_of_fold
    np.testing.assert_allclose(predictions.probabilities[-len(expected) :], expected, rtol=0, atol=1e-7)
    assert np.array_equal(hash_row_keys(predictions.rows)[-len(expected) :], hash_row_keys(table[fold.judged]))
    assert np.array_equal(predictions.true[-len(expected) :], label_codes(table[fold.judged]))


def test_the_learning_curve_has_a_point_for_each_fold_of_the_choice() -> None:
    result, folds = search(rows(), budget=0).result, make_folds(rows())
    assert [point.learned_windows for point in result.learning_curve] == [fold.learned.sum() for fold in folds]
    assert sum(point.judged_windows for point in result.learning_curve) == result.judged_windows
    days = rows()["user_id"].astype(str) + rows()["bucket_start_ts"].dt.date.astype(str)
    assert [point.learned_days for point in result.learning_curve] == [days[fold.learned].nunique() for fold in folds]
    assert all(0 < point.macro_f1 <= 1 for point in result.learning_curve if point.macro_f1 is not None)
    assert set(result.judged_labels) <= set(LABELS)
