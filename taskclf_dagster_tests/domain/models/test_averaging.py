"""Models of several seeds joined into one: its raw scores are their average, in a text that LightGBM and the checks of a bundle accept."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest

from taskclf_dagster.config.settings import TrainParams
from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.models.averaging import average_boosters
from taskclf_dagster.domain.models.choice import Choice, derive_seed, fit_choice
from taskclf_dagster.domain.models.encoding import encode_inputs
from taskclf_dagster.domain.models.fitting import Fit, fit_model
from taskclf_dagster.domain.models.model_text import check_model_text
from taskclf_dagster_tests.models import rows_of

DIGEST = "0123456789abcdef" * 4
V1 = SCHEMAS["v1"]
PARAMS = TrainParams.model_validate({"num_boost_round": 4, "num_leaves": 5, "constant_inputs": []})
CHOICE = Choice(constant_inputs=[], num_leaves=5, uses_older=True, seeds=3)


@pytest.fixture(scope="module")
def fits() -> list[Fit]:
    rows = rows_of("train")
    return [fit_model(rows, V1, params=PARAMS, seed=derive_seed(DIGEST, number), num_threads=1) for number in range(3)]


def raw(booster: lightgbm.Booster, fit: Fit) -> np.ndarray:
    return np.asarray(booster.predict(encode_inputs(rows_of("validation"), V1, fit.encoders), raw_score=True))


def test_the_raw_scores_of_the_joined_model_are_the_average_also_when_read_from_its_file(fits: list[Fit], tmp_path: Path) -> None:
    joined = average_boosters([fit.booster for fit in fits])
    joined.save_model(tmp_path / "model.txt")
    text = (tmp_path / "model.txt").read_text(encoding="utf-8")
    check_model_text(text)
    read = lightgbm.Booster(model_file=tmp_path / "model.txt")
    each = [raw(fit.booster, fit) for fit in fits]
    assert not np.array_equal(each[0], each[1])
    np.testing.assert_allclose(raw(read, fits[0]), np.mean(each, axis=0), rtol=0, atol=1e-12)
    assert read.num_trees() == 3 * 4 * 8
    assert read.feature_name() == list(V1.model_inputs)
    assert read.feature_importance().tolist() == np.sum([fit.booster.feature_importance() for fit in fits], axis=0).tolist()


def test_one_model_is_its_own_average(fits: list[Fit]) -> None:
    assert average_boosters([fits[0].booster]) is fits[0].booster


def test_a_choice_of_three_seeds_is_the_average_of_fits_with_seeds_of_the_dataset(fits: list[Fit]) -> None:
    model = fit_choice(rows_of("train"), V1, choice=CHOICE, params=PARAMS, dataset_digest=DIGEST, num_threads=1)
    assert model.booster.model_to_string() == average_boosters([fit.booster for fit in fits]).model_to_string()
    assert model.encoders == fits[1].encoders
    one = fit_choice(
        rows_of("train"), V1, choice=CHOICE.model_copy(update={"seeds": 1}), params=PARAMS, dataset_digest=DIGEST, num_threads=1
    )
    assert one.booster.model_to_string() == fits[0].booster.model_to_string()
