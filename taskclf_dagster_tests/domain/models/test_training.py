"""Training: the same trees from the same data, a reject threshold worked out by hand, and settings that each change something."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from taskclf_dagster.config.settings import ClockInput, RejectThresholdSettings, TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot
from taskclf_dagster.domain.data.snapshot_rows import compute_dataset_hash, label_codes
from taskclf_dagster.domain.models.choice import present_choice
from taskclf_dagster.domain.models.encoding import UNKNOWN, encode_inputs
from taskclf_dagster.domain.models.fitting import class_weights, fit_model, predict
from taskclf_dagster.domain.models.learned_rows import Part, is_in_part
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.reject_threshold import RejectThreshold, tune_reject_threshold
from taskclf_dagster.domain.models.training import PROBE_ROWS, SINGLE_THREAD_ROWS, TrainedModel, resolve_num_threads, train_challenger
from taskclf_dagster_tests.scenario import AS_OF, learnable_home, retrain_config

V1 = SCHEMAS["v1"]
DIGEST = "0123456789abcdef" * 4
BUILD, DEBUG, WRITE = LABELS.index("Build"), LABELS.index("Debug"), LABELS.index("Write")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of a snapshot of one user and five days: about 560 to learn from. Tests copy what they change."""
    home = learnable_home(tmp_path_factory.mktemp("learnable"), users=1, days=5)
    config = retrain_config()
    record, frame, *_ = label_windows(home, as_of=AS_OF, settings=config.dataset)
    return build_snapshot(home, record, frame, config=config)[1]


def train(
    rows: pd.DataFrame,
    *,
    digest: str = DIGEST,
    threads: int = 1,
    on_progress: Callable[[str], None] = lambda _: None,
    refit: bool = False,
    **params: object,
) -> TrainedModel:
    config = retrain_config(train_params={"num_boost_round": 5, **params}, refit=refit)
    return train_challenger(
        lambda part: rows[is_in_part(rows, part)],
        V1,
        settings=config.training,
        choice=present_choice(config.train_params),
        dataset_digest=digest,
        num_threads=threads,
        on_progress=on_progress,
    )


PARAMS = retrain_config(train_params={"num_boost_round": 5}).training.train_params

CHANGED = {
    "learning_rate": 0.3,
    "num_leaves": 4,
    "max_depth": 2,
    "min_data_in_leaf": 40,
    "min_gain_to_split": 20.0,
    "feature_fraction": 1.0,
    "lambda_l1": 5.0,
    "lambda_l2": 5.0,
    "path_smooth": 5.0,
    "max_bin": 8,
    "cat_smooth": 1_000.0,
    "cat_l2": 0.0,
    "class_weight": "none",
    "constant_inputs": ["hour_of_day"],
}
"""Another value of every parameter that shapes the trees, but of the number of rounds."""


def trees(model: TrainedModel) -> str:
    return tree_hash(model.booster.model_to_string())


# --- Reproducibility (D4) ---------------------------------------------------------------------------------------------------------


def test_the_same_data_gives_the_same_trees_threshold_and_predictions(rows: pd.DataFrame) -> None:
    first, second = train(rows, refit=True), train(rows.copy(deep=True), refit=True)
    assert trees(first) == trees(second)
    assert first.first_tree_hash == second.first_tree_hash
    assert first.reject == second.reject
    assert first.encoders == second.encoders
    assert np.array_equal(first.validation_probabilities, second.validation_probabilities)


def test_the_number_of_threads_does_not_change_the_trees(rows: pd.DataFrame) -> None:
    one, two = train(rows, threads=1, refit=True), train(rows, threads=2, refit=True)
    assert trees(one) == trees(two)
    assert (one.params["num_threads"], two.params["num_threads"]) == (1, 2)


def test_one_window_with_another_label_gives_other_trees(rows: pd.DataFrame) -> None:
    other = rows.copy(deep=True)
    other.loc[0, "label"] = "Write" if other["label"].iloc[0] != "Write" else "Build"
    assert compute_dataset_hash(other) != compute_dataset_hash(rows)
    assert trees(train(other)) != trees(train(rows))


def test_one_window_less_gives_other_trees(rows: pd.DataFrame) -> None:
    assert trees(train(rows.iloc[1:])) != trees(train(rows))


def test_every_seed_comes_from_the_dataset(rows: pd.DataFrame) -> None:
    other = train(rows, digest="f" + DIGEST[1:])
    assert (train(rows).params["seed"], other.params["seed"]) == (0x0123456, 0xF123456)
    assert trees(other) != trees(train(rows))


@pytest.mark.parametrize(("refit", "learned"), [(False, ["train"]), (True, ["train", "validation"])])
def test_rows_that_a_fit_does_not_learn_from_do_not_change_its_trees(rows: pd.DataFrame, refit: bool, learned: list[str]) -> None:
    other = rows.copy(deep=True)
    outside = ~other["split"].isin(learned)
    other.loc[outside, "keys_per_min"] = 1_000.0
    other.loc[outside, "label"] = "Meet"
    assert trees(train(other, refit=refit)) == trees(train(rows, refit=refit))
    assert train(other, refit=True).first_tree_hash == trees(train(rows))


# --- The refit ----------------------------------------------------------------------------------------------------------------------


def test_a_refit_learns_from_the_validation_rows_and_its_threshold_and_figures_are_those_of_the_first_fit(rows: pd.DataFrame) -> None:
    first, again = train(rows), train(rows, refit=True)
    assert trees(again) != trees(first) == first.first_tree_hash == again.first_tree_hash
    assert again.reject == first.reject
    assert np.array_equal(again.validation_probabilities, first.validation_probabilities)
    learned = fit_model(rows[is_in_part(rows, "refit")], V1, params=PARAMS, seed=0x0123456, num_threads=1)
    assert trees(again) == tree_hash(learned.booster.model_to_string())
    assert again.encoders == learned.encoders
    validation = rows[rows["split"] == "validation"]
    assert np.array_equal(again.probe_probabilities, learned.predict(validation.head(PROBE_ROWS), num_threads=1))


def test_what_is_said_of_a_model_without_a_refit_is_of_its_only_fit(rows: pd.DataFrame) -> None:
    model = train(rows)
    assert np.array_equal(model.probe_probabilities, model.validation_probabilities[:PROBE_ROWS])


# --- Constant inputs ----------------------------------------------------------------------------------------------------------------


def test_no_tree_splits_an_input_that_is_constant_in_training_so_its_real_value_changes_nothing(rows: pd.DataFrame) -> None:
    clock = list(get_args(ClockInput))
    free, model = train(rows, num_boost_round=20, constant_inputs=[]), train(rows, num_boost_round=20, constant_inputs=clock, refit=True)
    assert set(free.booster.trees_to_dataframe()["split_feature"]) & set(clock)
    assert not set(model.booster.trees_to_dataframe()["split_feature"]) & set(clock)
    assert model.booster.feature_name() == list(V1.model_inputs)
    before, changed = (encode_inputs(rows, V1, model.encoders) for _ in range(2))
    changed[:, [V1.model_inputs.index(name) for name in clock]] = 23.0
    assert np.array_equal(*(predict(model.booster, matrix, num_threads=1) for matrix in (before, changed)))


def test_the_inputs_that_may_be_constant_are_inputs_of_every_schema_version() -> None:
    assert all(set(get_args(ClockInput)) <= set(schema.model_inputs) for schema in SCHEMAS.values())


# --- What training does -----------------------------------------------------------------------------------------------------------


def test_a_model_learns_what_can_be_learnt(rows: pd.DataFrame) -> None:
    model = train(rows, num_boost_round=20)
    validation = rows[rows["split"] == "validation"]
    right = model.validation_probabilities.argmax(axis=1) == label_codes(validation)
    # 15 % of the windows outside breaks show another label's habits, so that about 0.87 can be reached; guessing reaches 0.125
    assert right.mean() > 0.7
    assert model.validation_true.tolist() == label_codes(validation).tolist()
    breaks = model.validation_true == LABELS.index("BreakIdle")
    assert right[breaks].all()


@pytest.mark.parametrize(("refit", "parts"), [(True, ["first_fit", "validation", "refit"]), (False, ["first_fit", "validation"])])
def test_each_part_is_loaded_once(rows: pd.DataFrame, refit: bool, parts: list[str]) -> None:
    loaded = []

    def load(part: Part) -> pd.DataFrame:
        loaded.append(part)
        return rows[is_in_part(rows, part)]

    config = retrain_config(train_params={"num_boost_round": 2}, refit=refit)
    train_challenger(
        load,
        V1,
        settings=config.training,
        choice=present_choice(config.train_params),
        dataset_digest=DIGEST,
        num_threads=1,
        on_progress=lambda _: None,
    )
    assert loaded == parts


@pytest.mark.parametrize(
    ("rounds", "lines"),
    [
        (9, ["first fit: 9 of 9 rounds", "refit: 9 of 9 rounds"]),
        (10, ["first fit: 10 of 10 rounds", "refit: 10 of 10 rounds"]),
        (15, ["first fit: 10 of 15 rounds", "first fit: 15 of 15 rounds", "refit: 10 of 15 rounds", "refit: 15 of 15 rounds"]),
    ],
)
def test_progress_is_told_every_ten_rounds_and_at_the_end(rows: pd.DataFrame, rounds: int, lines: list[str]) -> None:
    told: list[str] = []
    train(rows, num_boost_round=rounds, on_progress=told.append, refit=True)
    assert told == lines


def test_a_label_that_was_never_taught_has_a_column_of_its_own(rows: pd.DataFrame) -> None:
    model = train(rows[rows["label"] != "Meet"])
    assert model.validation_probabilities.shape[1] == 8
    assert (model.validation_probabilities.argmax(axis=1) != LABELS.index("Meet")).all()


def test_the_parameters_tell_everything_that_was_done(rows: pd.DataFrame) -> None:
    assert train(rows).params == {
        "objective": "multiclass",
        "metric": "multi_logloss",
        "learning_rate": 0.1,
        "num_leaves": 7,
        "max_depth": -1,
        "min_data_in_leaf": 20,
        "min_gain_to_split": 0.0,
        "feature_fraction": 0.5,
        "lambda_l1": 0.0,
        "lambda_l2": 0.0,
        "path_smooth": 0.0,
        "max_bin": 255,
        "cat_smooth": 10.0,
        "cat_l2": 10.0,
        "verbose": -1,
        "num_class": 8,
        "deterministic": True,
        "force_row_wise": True,
        "seed": 0x0123456,
        "num_threads": 1,
        "num_boost_round": 5,
        "class_weight_method": "balanced",
        "constant_inputs": ["hour_of_day", "day_of_week", "session_length_so_far"],
        "seeds": 1,
        "refit": False,
        "unknown_category_freq_threshold": 5,
        "unknown_category_mask_rate": 0.05,
    }


def test_the_booster_knows_its_inputs_by_name(rows: pd.DataFrame) -> None:
    assert train(rows).booster.feature_name() == list(V1.model_inputs)


def test_text_is_learnt_as_categories_and_rare_values_as_unknown(rows: pd.DataFrame) -> None:
    other = rows.copy(deep=True)
    other["app_id"] = other["app_id"].cat.add_categories(["rare", "known"])
    position = other.columns.get_loc("app_id")
    other.iloc[0:4, position] = "rare"
    other.iloc[4:9, position] = "known"
    vocabulary = train(other).encoders["app_id"]
    assert "known" in vocabulary
    assert "rare" not in vocabulary
    assert UNKNOWN in vocabulary
    splits = train(other).booster.trees_to_dataframe()
    assert set(splits[splits["split_feature"] == "app_id"]["decision_type"]) == {"=="}


def test_probabilities_are_those_of_the_labels_in_their_order(rows: pd.DataFrame) -> None:
    model = train(rows)
    matrix = encode_inputs(rows[rows["split"] == "validation"], V1, model.encoders)
    probabilities = predict(model.booster, matrix, num_threads=1)
    assert probabilities.shape == (len(matrix), 8)
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert np.array_equal(probabilities, model.validation_probabilities)


def test_no_rows_have_no_probabilities(rows: pd.DataFrame) -> None:
    assert predict(train(rows).booster, np.empty((0, 39)), num_threads=1).shape == (0, 8)


# --- Settings that take effect ----------------------------------------------------------------------------------------------------


def test_the_number_of_rounds_is_the_number_of_trees_by_eight(rows: pd.DataFrame) -> None:
    assert train(rows, num_boost_round=3).booster.num_trees() == 24
    assert train(rows, num_boost_round=4).booster.num_trees() == 32


@pytest.mark.parametrize(("key", "value"), CHANGED.items())
def test_a_training_parameter_changes_the_trees(rows: pd.DataFrame, key: str, value: object) -> None:
    # With one class left thinner than the others, weights matter.
    uneven = rows.drop(index=rows.index[(rows["label"] == "Build") & (rows.index % 3 > 0)])
    assert trees(train(uneven, num_boost_round=20, **{key: value})) != trees(train(uneven, num_boost_round=20))


def test_every_training_parameter_is_among_those_that_are_changed_here() -> None:
    assert set(TrainParams.model_fields) == {*CHANGED, "num_boost_round", "num_threads"}


def test_the_number_of_leaves_is_a_limit(rows: pd.DataFrame) -> None:
    limited = train(rows, num_leaves=3, num_boost_round=2).booster.trees_to_dataframe()
    leaves = limited[limited["split_feature"].isna()].groupby("tree_index").size()
    assert leaves.max() == 3


@pytest.mark.parametrize(
    ("setting", "rows_", "cores", "threads"),
    [
        ("auto", SINGLE_THREAD_ROWS - 1, 8, 1),
        ("auto", SINGLE_THREAD_ROWS, 8, 8),
        ("auto", SINGLE_THREAD_ROWS, 0, 1),
        (3, 10, 8, 3),
        (3, 10_000_000, 1, 3),
    ],
)
def test_auto_threads_are_one_for_few_rows_and_a_number_is_taken_as_it_is(setting: int | str, rows_: int, cores: int, threads: int) -> None:
    assert resolve_num_threads(setting, rows=rows_, cores=cores) == threads


# --- Class weights ----------------------------------------------------------------------------------------------------------------


def test_balanced_weights_are_n_over_classes_times_count() -> None:
    # 6 rows of 3 classes: class 1 has 3 rows, 6 / (3 * 3) = 2/3; class 4 has 2, 6 / (3 * 2) = 1; class 7 has 1, 6 / (3 * 1) = 2
    weights = class_weights(np.array([1, 4, 1, 7, 1, 4]), "balanced")
    assert weights.tolist() == pytest.approx([2 / 3, 1.0, 2 / 3, 2.0, 2 / 3, 1.0])


def test_balanced_weights_of_equal_classes_are_one() -> None:
    assert class_weights(np.repeat(np.arange(8), 5), "balanced").tolist() == [1.0] * 40


def test_balanced_weights_add_up_to_the_number_of_rows_and_equally_for_each_class() -> None:
    labels = np.array([0] * 50 + [3] * 30 + [6] * 20)
    weights = class_weights(labels, "balanced")
    assert [weights[labels == c].sum() for c in (0, 3, 6)] == pytest.approx([100 / 3] * 3)


def test_without_weights_every_row_weighs_the_same() -> None:
    assert class_weights(np.array([1, 4, 1]), "none") is None


# --- The reject threshold ---------------------------------------------------------------------------------------------------------

# Ten validation windows, five of Build and five of Debug, by rising confidence. When the k least confident are rejected:
#   k  right Build, named Build, F1      right Debug, named Debug, F1      macro-F1
#   0  4            6            8/11    3            4            6/9     0.6970
#   1  4            6            8/11    3            3            6/8     0.7386
#   2  4            5            8/10    3            3            6/8     0.7750
#   3  3            4            6/9     3            3            6/8     0.7083
#   4  3            3            6/8     3            3            6/8     0.7500
# F1 is 2 * right / (true + named), and 5 windows of each label are true.
CONFIDENCE = [0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75]
TRUE = [BUILD, DEBUG, BUILD, DEBUG, BUILD, DEBUG, BUILD, DEBUG, BUILD, DEBUG]
NAMED = [DEBUG, BUILD, BUILD, BUILD, BUILD, DEBUG, BUILD, DEBUG, BUILD, DEBUG]


def probabilities(confidence: list[float], named: list[int]) -> np.ndarray:
    """The named label has the confidence, the other seven share the rest."""
    table = np.repeat((1 - np.array(confidence))[:, None] / 7, 8, axis=1)
    table[np.arange(len(named)), named] = confidence
    return table


def tune(
    low: float,
    high: float,
    *,
    fallback: float = 0.55,
    confidence: list[float] = CONFIDENCE,
    named: list[int] = NAMED,
    true: list[int] = TRUE,
) -> RejectThreshold:
    settings = RejectThresholdSettings(min_reject_rate=low, max_reject_rate=high, fallback=fallback)
    return tune_reject_threshold(probabilities(confidence, named), np.array(true, dtype=np.int64), settings)


@pytest.mark.parametrize(
    ("low", "high", "value", "rate", "macro_f1"),
    [
        (0.1, 0.3, 0.40, 0.2, (8 / 10 + 6 / 8) / 2),  # best of 1, 2 and 3 rejected
        (0.0, 0.1, 0.35, 0.1, (8 / 11 + 6 / 8) / 2),  # of 0 and 1: the upper end counts
        (0.3, 0.4, 0.50, 0.4, 0.75),  # of 3 and 4: both ends count
        (0.3, 0.3, 0.45, 0.3, (6 / 9 + 6 / 8) / 2),  # a range of one value
        (0.0, 0.0, 0.30, 0.0, (8 / 11 + 6 / 9) / 2),
        (0.11, 0.19, 0.55, 0.5, None),  # nothing rejects between 11 % and 19 %: see the fallback below
    ],
)
def test_the_best_threshold_in_the_range_is_taken(low: float, high: float, value: float, rate: float, macro_f1: float | None) -> None:
    chosen = tune(low, high)
    assert (chosen.value, chosen.reject_rate) == (value, rate)
    assert chosen.tuned is (macro_f1 is not None)
    if macro_f1 is not None:
        assert chosen.macro_f1 == pytest.approx(macro_f1, abs=1e-12)


def test_the_macro_f1_of_the_chosen_threshold_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(11)
    true, named, confidence = rng.integers(0, 8, 400), rng.integers(0, 8, 400), rng.uniform(0.2, 1, 400)
    named = np.where(rng.random(400) < 0.6, true, named)
    chosen = tune(0.05, 0.3, confidence=confidence.tolist(), named=named.tolist(), true=true.tolist())
    said = np.where(confidence < chosen.value, 8, named)
    assert 0.05 <= chosen.reject_rate <= 0.3
    assert chosen.macro_f1 == pytest.approx(f1_score(true, said, labels=range(8), average="macro", zero_division=0), abs=1e-12)


def test_the_threshold_is_the_smallest_confidence_that_is_accepted() -> None:
    chosen = tune(0.1, 0.3)
    assert sum(confidence < chosen.value for confidence in CONFIDENCE) == 2


def test_windows_in_any_order_give_the_same_threshold() -> None:
    order = np.random.default_rng(5).permutation(10)
    shuffled = tune(0.1, 0.3, confidence=[CONFIDENCE[i] for i in order], named=[NAMED[i] for i in order], true=[TRUE[i] for i in order])
    assert shuffled == tune(0.1, 0.3)


def test_of_equally_good_thresholds_the_lowest_is_taken() -> None:
    # The least confident window is named Write, which occurs nowhere: rejecting it or not gives the same macro-F1.
    chosen = tune(0.0, 0.1, named=[WRITE, *NAMED[1:]])
    assert (chosen.value, chosen.reject_rate) == (0.30, 0.0)


def test_windows_of_equal_confidence_are_rejected_together_or_not_at_all() -> None:
    tied = [0.30, 0.30, 0.40, 0.40, 0.40, 0.55, 0.60, 0.65, 0.70, 0.75]
    assert tune(0.1, 0.4, confidence=tied).reject_rate == 0.2
    assert not tune(0.3, 0.4, confidence=tied).tuned


def test_the_average_is_over_the_labels_that_occur() -> None:
    chosen = tune(0.0, 0.0, confidence=[0.5, 0.6], named=[BUILD, WRITE], true=[BUILD, BUILD])
    # Build: 1 right of 2 true and 1 named, 2 * 1 / (2 + 1); Write does not occur and does not count
    assert chosen.macro_f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize(("fallback", "rate"), [(0.55, 0.5), (0.30, 0.0), (0.31, 0.1), (0.99, 1.0)])
def test_without_a_threshold_in_the_range_the_fallback_is_taken_and_says_so(fallback: float, rate: float) -> None:
    chosen = tune(0.11, 0.19, fallback=fallback)
    assert (chosen.value, chosen.tuned, chosen.reject_rate) == (fallback, False, rate)
    for part in ("fallback", "0.11..0.19", f"{fallback:.4f}", f"rejects {rate:.1%}"):
        assert part in chosen.detail


def test_the_fallback_has_the_macro_f1_of_what_it_accepts() -> None:
    # At 0.45 the first three are rejected, as in the fourth line of the table above.
    assert tune(0.11, 0.19, fallback=0.45).macro_f1 == pytest.approx((6 / 9 + 6 / 8) / 2)


def test_the_choice_is_told_in_words() -> None:
    detail = tune(0.1, 0.3).detail
    for part in ("0.4000", "best of 3 thresholds", "0.1..0.3", "rejects 20.0%", "macro-F1 0.7750"):
        assert part in detail
    assert "fallback" not in detail


def test_no_validation_windows_give_the_fallback() -> None:
    chosen = tune_reject_threshold(
        np.empty((0, 8)), np.empty(0, dtype=np.int64), RejectThresholdSettings(min_reject_rate=0.0, max_reject_rate=1.0, fallback=0.5)
    )
    assert (chosen.value, chosen.tuned, chosen.reject_rate, chosen.macro_f1) == (0.5, False, 0.0, 0.0)


@pytest.mark.parametrize(("rate", "rejected"), [(0.07, 7), (0.29, 29), (0.08, 8), (0.25, 25), (0.57, 57)])
def test_a_reject_rate_exactly_at_both_ends_of_the_range_is_in_it(rate: float, rejected: int) -> None:
    # 0.07 * 100 is 7.000000000000001 in floats, and 0.29 * 100 is 28.999999999999996
    chosen = tune(rate, rate, confidence=np.linspace(0.3, 0.9, 100).tolist(), named=[BUILD] * 100, true=[BUILD, DEBUG] * 50)
    assert chosen.tuned
    assert chosen.reject_rate == rate == rejected / 100


def test_the_range_of_the_settings_reaches_the_trained_model(rows: pd.DataFrame) -> None:
    config = retrain_config(train_params={"num_boost_round": 5}, reject_threshold={"min_reject_rate": 0.5, "max_reject_rate": 0.6})
    model = train_challenger(
        lambda part: rows[is_in_part(rows, part)],
        V1,
        settings=config.training,
        choice=present_choice(config.train_params),
        dataset_digest=DIGEST,
        num_threads=1,
        on_progress=lambda _: None,
    )
    assert 0.5 <= model.reject.reject_rate <= 0.6
    assert train(rows).reject.reject_rate <= 0.25
    confidence = model.validation_probabilities.max(axis=1)
    assert (confidence < model.reject.value).mean() == model.reject.reject_rate
