"""Training: the same trees from the same data, a reject threshold worked out by hand, and settings that each change something."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.config.settings import ClockInput, TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot
from taskclf_dagster.domain.data.snapshot_rows import compute_dataset_hash, label_codes
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.models.choice import present_choice
from taskclf_dagster.domain.models.encoding import UNKNOWN, encode_inputs
from taskclf_dagster.domain.models.fitting import fit_model, predict
from taskclf_dagster.domain.models.learned_rows import Part, is_in_part
from taskclf_dagster.domain.models.model_text import tree_hash
from taskclf_dagster.domain.models.training import PROBE_ROWS, SINGLE_THREAD_ROWS, TrainedModel, resolve_num_threads, train_challenger
from taskclf_dagster.domain.models.training_inputs import balanced_weights, make_shards
from taskclf_dagster.progress import Report, ignore_progress, report_lines
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
    on_progress: Report = ignore_progress,
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
    train(rows, num_boost_round=rounds, on_progress=report_lines(told.append), refit=True)
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
    labels = np.array([1, 4, 1, 7, 1, 4])
    weights = balanced_weights(np.bincount(labels, minlength=8))[labels]
    assert weights.tolist() == pytest.approx([2 / 3, 1.0, 2 / 3, 2.0, 2 / 3, 1.0])


def test_balanced_weights_of_equal_classes_are_one() -> None:
    assert balanced_weights(np.repeat(5, 8)).tolist() == [1.0] * 8


def test_balanced_weights_add_up_to_the_number_of_rows_and_equally_for_each_class() -> None:
    labels = np.array([0] * 50 + [3] * 30 + [6] * 20)
    weights = balanced_weights(np.bincount(labels, minlength=8))[labels]
    assert [weights[labels == c].sum() for c in (0, 3, 6)] == pytest.approx([100 / 3] * 3)


def test_without_weights_every_row_weighs_the_same(rows: pd.DataFrame) -> None:
    params = PARAMS.model_copy(update={"class_weight": "none"})
    (shard,), _ = make_shards(rows, V1, params, seed=1, engine=LOCAL)
    assert shard.load_targets().weights is None


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
    confidence = model.validation_probabilities.max(axis=1).astype(np.float32)
    assert (confidence < model.reject.value).mean() == model.reject.reject_rate
    assert (model.reject.basis, model.reject.windows) == ("validation", len(confidence))
