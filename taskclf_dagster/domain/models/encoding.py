"""Turns rows into the model's input matrix: categorical vocabularies, integer codes, missing values (contract, section 6).

The same function serves training, the challenger and any older champion with its own vocabulary.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import FeatureSchema

UNKNOWN = "__unknown__"


NO_CODE = -1.0


Encoders = Mapping[str, list[str]]
"""The sorted vocabulary of each categorical column; the code of a value is its position."""


Matrix = npt.NDArray[np.float64]


def fit_encoders(rows: pd.DataFrame, schema: FeatureSchema, *, min_count: int) -> dict[str, list[str]]:
    """Returns the vocabulary of each categorical column: values that occur at least `min_count` times, and `__unknown__`, sorted."""
    encoders = {}
    for column in schema.categorical:
        values = rows[column].cat
        codes = values.codes.to_numpy()
        counts = np.bincount(codes[codes >= 0], minlength=len(values.categories))
        encoders[column] = sorted({UNKNOWN, *(str(values.categories[i]) for i in np.flatnonzero(counts >= min_count))})
    return encoders


def encode_inputs(rows: pd.DataFrame, schema: FeatureSchema, encoders: Encoders) -> Matrix:
    """Returns the input matrix of shape (n_rows, n_model_inputs), columns in the order of `schema.model_inputs`, column-major.

    Missing numbers are 0, booleans 0 and 1, categories codes. A value that is not in the vocabulary takes the code of `__unknown__`, or
    -1 if an old vocabulary has none.

    Args:
        rows: the model inputs; categorical columns as category.
        schema: the schema version of the model.
        encoders: the model's vocabularies.

    Raises:
        KeyError: the encoders lack a categorical column of the schema.
    """
    matrix = np.empty((len(rows), len(schema.model_inputs)), dtype=np.float64, order="F")
    for position, column in enumerate(schema.model_inputs):
        if column in schema.categorical:
            matrix[:, position] = _encode_category(rows[column], encoders[column])
        else:
            matrix[:, position] = rows[column].to_numpy()
    np.nan_to_num(matrix, copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)
    return matrix


def mask_categories(matrix: Matrix, schema: FeatureSchema, encoders: Encoders, *, rate: float, seed: int) -> None:
    """Replaces a share of the codes by the code of `__unknown__`, in place, so that training learns that code.

    Args:
        matrix: from `encode_inputs`; changed.
        schema: the schema version of the model.
        encoders: the model's vocabularies.
        rate: share of the rows of each categorical column [0 to 1].
        seed: each column draws from its own generator, seeded by this and the column's position.
    """
    for column in schema.categorical:
        position = schema.model_inputs.index(column)
        unknown = encoders[column].index(UNKNOWN)
        drawn = np.random.default_rng([seed, position]).random(len(matrix)) < rate
        matrix[drawn, position] = unknown


def are_categories_known(rows: pd.DataFrame, schema: FeatureSchema, encoders: Encoders) -> npt.NDArray[np.bool_]:
    """Returns True for each row whose app, app category and domain category are all in the model's vocabularies, shape (rows,).

    The user, an input of some versions, does not count: users that the model did not learn from are judged on their own.
    """
    known = np.ones(len(rows), dtype=bool)
    for column in schema.categorical:
        if column != "user_id":
            vocabulary = set(encoders[column]) - {UNKNOWN}
            table = np.array([*(str(value) in vocabulary for value in rows[column].cat.categories), False])
            known &= table[rows[column].cat.codes.to_numpy()]
    return known


def _encode_category(values: pd.Series, vocabulary: list[str]) -> Matrix:
    """Returns the code of each value as a float, shape (rows,)."""
    code = {value: float(position) for position, value in enumerate(vocabulary)}
    unseen = code.get(UNKNOWN, NO_CODE)
    table = np.array([*(code.get(str(value), unseen) for value in values.cat.categories), unseen])
    return table[values.cat.codes.to_numpy()]
