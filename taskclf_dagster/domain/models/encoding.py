"""Turns rows into the model's input matrix: categorical vocabularies, integer codes, missing values (contract, section 6).

The same function serves training, the challenger and any older champion with its own vocabulary.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.data.frame_parts import Rows, iterate_parts

UNKNOWN = "__unknown__"


NO_CODE = -1.0


BLOCK_ROWS = 200_000
"""Rows of the largest matrix that is made to predict."""


Encoders = Mapping[str, list[str]]
"""The sorted vocabulary of each categorical column; the code of a value is its position."""


CategoryCounts = dict[str, Counter[str]]
"""The number of rows of each value, by categorical column."""


Matrix = npt.NDArray[np.float64]


def fit_encoders(rows: Rows, schema: FeatureSchema, *, min_count: int) -> dict[str, list[str]]:
    """Returns the vocabulary of each categorical column: values that occur at least `min_count` times, and `__unknown__`, sorted."""
    return choose_vocabularies((count_categories(part, schema) for part in iterate_parts(rows, schema.categorical)), min_count=min_count)


def count_categories(rows: pd.DataFrame, schema: FeatureSchema) -> CategoryCounts:
    """Returns the number of rows of each value of each categorical column."""
    counts = {}
    for column in schema.categorical:
        values = rows[column].cat
        codes = values.codes.to_numpy()
        found = np.bincount(codes[codes >= 0], minlength=len(values.categories))
        counts[column] = Counter(dict(zip(map(str, values.categories), found.tolist(), strict=True)))
    return counts


def choose_vocabularies(counts: Iterable[CategoryCounts], *, min_count: int) -> dict[str, list[str]]:
    """Returns the vocabularies that `fit_encoders` does, from the counts of one or more parts of the rows."""
    totals: CategoryCounts = {}
    for part in counts:
        for column, found in part.items():
            totals.setdefault(column, Counter()).update(found)
    return {column: sorted({UNKNOWN, *(value for value, n in found.items() if n >= min_count)}) for column, found in totals.items()}


def encode_blocks(rows: pd.DataFrame, schema: FeatureSchema, encoders: Encoders) -> Iterator[Matrix]:
    """Yields the input matrices of blocks of rows, one after another, so that no large one is in memory; see `encode_inputs`."""
    for begin in range(0, len(rows), BLOCK_ROWS):
        yield encode_inputs(rows.iloc[begin : begin + BLOCK_ROWS], schema, encoders)


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


def mask_categories(matrix: Matrix, schema: FeatureSchema, encoders: Encoders, *, rate: float, seed: int, first_row: int = 0) -> None:
    """Replaces a share of the codes by the code of `__unknown__`, in place, so that training learns that code.

    Args:
        matrix: from `encode_inputs`; changed.
        schema: the schema version of the model.
        encoders: the model's vocabularies.
        rate: share of the rows of each categorical column [0 to 1].
        seed: each column draws from its own generator, seeded by this and the column's position.
        first_row: position of the first row among all, where the matrix is that of a part.
    """
    for column in schema.categorical:
        position = schema.model_inputs.index(column)
        unknown = encoders[column].index(UNKNOWN)
        bits = np.random.PCG64([seed, position])
        bits.advance(first_row)  # one draw a row
        drawn = np.random.Generator(bits).random(len(matrix)) < rate
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
