"""From rows to the input matrix: vocabularies, codes of known and unknown values, missing values, and the masking that teaches unknown."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.encoding import NO_CODE, UNKNOWN, Matrix, encode_inputs, fit_encoders, mask_categories
from taskclf_dagster_tests.models import write_tiny_bundle
from taskclf_dagster_tests.scenario import windows_frame

V1, V2 = SCHEMAS["v1"], SCHEMAS["v2"]
ENCODERS = {
    "app_id": [UNKNOWN, "browser", "editor"],
    "app_category": [UNKNOWN, "terminal"],
    "domain_category": [UNKNOWN, "non_browser"],
    "user_id": [UNKNOWN, "alice"],
}


def rows(n: int = 4, **overrides: object) -> pd.DataFrame:
    """Rows as the reader gives them: text as category, numbers as float64."""
    frame = windows_frame(n=n, **overrides)
    return frame.astype(dict.fromkeys(V1.categorical, "category"))


def column(matrix: Matrix, name: str) -> list[float]:
    return matrix[:, V1.model_inputs.index(name)].tolist()


# --- Vocabularies -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "known"), [(4, False), (5, True)])
def test_a_value_seen_five_times_is_known_and_one_seen_four_times_is_not(count: int, *, known: bool) -> None:
    frame = rows(20, app_id=["rare"] * count + ["often"] * (20 - count))
    assert fit_encoders(frame, V1, min_count=5)["app_id"] == ([UNKNOWN, "often", "rare"] if known else [UNKNOWN, "often"])


def test_a_vocabulary_is_sorted_and_has_unknown_among_its_values() -> None:
    frame = rows(6, app_id=["b", "B", "a", "Z", "_", "~"])
    assert fit_encoders(frame, V1, min_count=1)["app_id"] == ["B", "Z", "_", UNKNOWN, "a", "b", "~"]


def test_values_that_do_not_occur_and_null_are_not_in_the_vocabulary() -> None:
    frame = rows(4, app_id=["a", "a", None, None])
    frame["app_id"] = frame["app_id"].cat.add_categories(["never"])
    assert fit_encoders(frame, V1, min_count=0)["app_id"] == [UNKNOWN, "a", "never"]
    assert fit_encoders(frame, V1, min_count=1)["app_id"] == [UNKNOWN, "a"]


@pytest.mark.parametrize(("version", "columns"), [("v1", 4), ("v2", 3), ("v3", 3)])
def test_every_categorical_input_of_the_schema_has_a_vocabulary(version: str, columns: int) -> None:
    frame = windows_frame(version=version).astype(dict.fromkeys(SCHEMAS[version].categorical, "category"))
    encoders = fit_encoders(frame, SCHEMAS[version], min_count=5)
    assert tuple(encoders) == SCHEMAS[version].categorical
    assert len(encoders) == columns


# --- The matrix -------------------------------------------------------------------------------------------------------------------


def test_the_matrix_has_the_model_inputs_in_their_order() -> None:
    frame = rows(2, keys_per_min=[12.5, 13.0], session_length_so_far=7.0, hour_of_day=[3, 4])
    matrix = encode_inputs(frame, V1, ENCODERS)
    assert matrix.shape == (2, 39)
    assert matrix.dtype == np.float64
    assert matrix[:, 0].tolist() == [0.0, 0.0]  # app_id: com.apple.Terminal is not in the vocabulary
    assert matrix[:, -1].tolist() == [1.0, 1.0]  # user_id
    assert column(matrix, "keys_per_min") == [12.5, 13.0]
    assert column(matrix, "hour_of_day") == [3.0, 4.0]
    assert column(matrix, "session_length_so_far") == [7.0, 7.0]


def test_the_order_of_columns_in_the_frame_does_not_matter() -> None:
    frame = rows(3, keys_per_min=[1.0, 2.0, 3.0])
    assert np.array_equal(encode_inputs(frame, V1, ENCODERS), encode_inputs(frame[frame.columns[::-1]], V1, ENCODERS))


def test_a_known_value_has_its_position_as_code_and_an_unknown_or_missing_one_that_of_unknown() -> None:
    frame = rows(4, app_id=["editor", "browser", "never seen", None])
    assert column(encode_inputs(frame, V1, ENCODERS), "app_id") == [2.0, 1.0, 0.0, 0.0]


def test_the_code_of_unknown_is_its_position_wherever_it_stands() -> None:
    encoders = {**ENCODERS, "app_id": ["Excel", UNKNOWN, "editor"]}
    frame = rows(4, app_id=["editor", "Excel", "never seen", None])
    assert column(encode_inputs(frame, V1, encoders), "app_id") == [2.0, 0.0, 1.0, 1.0]


def test_an_old_vocabulary_without_unknown_gives_minus_one() -> None:
    encoders = {**ENCODERS, "app_id": ["browser", "editor"]}
    frame = rows(4, app_id=["editor", "browser", "never seen", None])
    assert column(encode_inputs(frame, V1, encoders), "app_id") == [1.0, 0.0, NO_CODE, NO_CODE]
    assert NO_CODE == -1.0


def test_codes_do_not_depend_on_the_categories_of_the_frame() -> None:
    frame = rows(2, app_id=["editor", "browser"])
    other = frame.assign(app_id=frame["app_id"].cat.set_categories(["zzz", "editor", "aaa", "browser"]))
    assert column(encode_inputs(other, V1, ENCODERS), "app_id") == column(encode_inputs(frame, V1, ENCODERS), "app_id") == [2.0, 1.0]


def test_a_missing_number_is_zero_and_flags_are_zero_and_one() -> None:
    frame = rows(3, keys_per_min=[np.nan, 4.0, 0.0], is_editor=[True, False, True])
    matrix = encode_inputs(frame, V1, ENCODERS)
    assert column(matrix, "keys_per_min") == [0.0, 4.0, 0.0]
    assert column(matrix, "is_editor") == [1.0, 0.0, 1.0]


def test_no_rows_give_an_empty_matrix() -> None:
    assert encode_inputs(rows(1).head(0), V1, ENCODERS).shape == (0, 39)


def test_encoding_leaves_the_rows_as_they_were() -> None:
    frame = rows(3, keys_per_min=[np.nan, 4.0, 0.0])
    before = frame.copy(deep=True)
    mask_categories(encode_inputs(frame, V1, ENCODERS), V1, ENCODERS, rate=0.5, seed=1)
    pd.testing.assert_frame_equal(frame, before)


def test_encoders_without_a_column_of_the_schema_are_an_error() -> None:
    with pytest.raises(KeyError, match="user_id"):
        encode_inputs(rows(1), V1, {name: values for name, values in ENCODERS.items() if name != "user_id"})


# --- Masking ----------------------------------------------------------------------------------------------------------------------

MANY = 20_000


def masked(*, rate: float = 0.05, seed: int = 3) -> np.ndarray:
    """Which codes became unknown, one column a categorical input; before, every code is 1."""
    matrix = np.ones((MANY, len(V1.model_inputs)))
    mask_categories(matrix, V1, ENCODERS, rate=rate, seed=seed)
    return matrix == 0.0


def test_about_five_percent_of_each_categorical_column_become_unknown() -> None:
    changed = masked()
    for name in V1.categorical:
        # 20,000 draws at 5 %: 1000 are expected, with a standard deviation of 31
        assert 850 < changed[:, V1.model_inputs.index(name)].sum() < 1150
    numbers = [position for position, name in enumerate(V1.model_inputs) if name not in V1.categorical]
    assert not changed[:, numbers].any()


def test_each_column_is_masked_on_its_own() -> None:
    changed = masked()
    first, second = (changed[:, V1.model_inputs.index(name)] for name in ("app_id", "app_category"))
    # 5 % of 5 % of 20,000 rows are 50 in both; were they drawn together, it would be 1000
    assert 20 < (first & second).sum() < 90


def test_masking_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert np.array_equal(masked(seed=3), masked(seed=3))
    assert not np.array_equal(masked(seed=3), masked(seed=4))


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_nothing_or_everything_can_be_masked(rate: float, share: float) -> None:
    assert masked(rate=rate)[:, V1.model_inputs.index("app_id")].mean() == share


def test_the_mask_is_the_code_of_unknown_wherever_it_stands() -> None:
    matrix = np.zeros((10, len(V1.model_inputs)))
    mask_categories(matrix, V1, {**ENCODERS, "app_id": ["Excel", "Word", UNKNOWN]}, rate=1.0, seed=1)
    assert column(matrix, "app_id") == [2.0] * 10


def test_a_column_is_masked_alike_in_a_schema_without_the_user() -> None:
    # v2 has the first 38 inputs of v1, so the same seed must mask the same rows of the columns that both have.
    matrix = np.ones((MANY, len(V2.model_inputs)))
    mask_categories(matrix, V2, ENCODERS, rate=0.05, seed=3)
    assert np.array_equal(matrix == 0.0, masked()[:, :38])


def test_a_model_predicts_nothing_for_no_rows_whatever_their_columns(tmp_path: Path) -> None:
    model = load_bundle(write_tiny_bundle(tmp_path / "2026-01-01_000000_run-0001", version="v3"))
    assert model.predict_rows(pd.DataFrame({"user_id": []}), num_threads=1).shape == (0, 8)
