"""The inputs that LightGBM learns from: one matrix, or for rows in parts one matrix at a time, from which LightGBM takes what it needs.

Both give the same trees: LightGBM chooses its bins from the same sample of rows, and categories are masked by the same draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.data.frame_parts import FrameParts
from taskclf_dagster.domain.models.encoding import Encoders, Matrix, encode_inputs, mask_categories


@dataclass(frozen=True)
class TrainingInputs:
    """The inputs of rows, part by part.

    Attributes:
        rows: the rows to learn from.
        schema: their schema version.
        encoders: the vocabularies of the model.
        constant_inputs: inputs that are constant.
        mask_rate: share of the codes of each category that is replaced.
        seed: of the draws.
    """

    rows: FrameParts
    schema: FeatureSchema
    encoders: Encoders
    constant_inputs: Sequence[str]
    mask_rate: float
    seed: int

    def load(self, number: int) -> Matrix:
        """Returns the matrix of a part."""
        matrix = encode_inputs(self.rows.load_part(number, self.schema.model_inputs), self.schema, self.encoders)
        matrix[:, [self.schema.model_inputs.index(name) for name in self.constant_inputs]] = 0.0  # no tree splits a constant
        before = sum(self.rows.sizes[:number])
        mask_categories(matrix, self.schema, self.encoders, rate=self.mask_rate, seed=self.seed, first_row=before)
        return matrix


def make_dataset(
    inputs: TrainingInputs, labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float64] | None, *, seed: int
) -> lightgbm.Dataset:
    """Returns the dataset of LightGBM; it reads each part twice when it is made.

    Args:
        inputs: the inputs.
        labels: class index of each row.
        weights: of the rows; None for equal ones.
        seed: the parameter `seed` of LightGBM.
    """
    filled = [number for number, size in enumerate(inputs.rows.sizes) if size]
    data: Matrix | list[_PartInputs]
    params = None
    if len(filled) <= 1:
        data = inputs.load(filled[0] if filled else 0)
    else:
        loaded = _LoadedPart(inputs)
        data, params = [_PartInputs(loaded, number) for number in filled], {"data_random_seed": derive_data_seed(seed)}
    return lightgbm.Dataset(
        data,
        label=labels,
        weight=weights,
        feature_name=list(inputs.schema.model_inputs),
        categorical_feature=list(inputs.schema.categorical),
        params=params,
    )


def derive_data_seed(seed: int) -> int:
    """Returns the seed by which LightGBM samples rows for its bins, as it derives it from `seed` for a matrix, but not for parts."""
    state = (214013 * (seed & 0xFFFFFFFF) + 2531011) & 0xFFFFFFFF
    return int(((state >> 16) & 0x7FFF) % 0x7FFF)


class _LoadedPart:
    """The matrix of the part that was used last; LightGBM goes through the parts in order."""

    def __init__(self, inputs: TrainingInputs) -> None:
        self.inputs = inputs
        self._number, self._matrix = -1, np.empty((0, 0))

    def load(self, number: int) -> Matrix:
        if number != self._number:
            self._matrix = np.empty((0, 0))  # so that only one is in memory
            self._number, self._matrix = number, np.ascontiguousarray(self.inputs.load(number))
        return self._matrix


class _PartInputs(lightgbm.Sequence):
    """The rows of one part as LightGBM asks for them."""

    def __init__(self, loaded: _LoadedPart, number: int) -> None:
        self._loaded, self._number, self._rows = loaded, number, loaded.inputs.rows.sizes[number]

    def __getitem__(self, rows: int | slice | list[int]) -> Matrix:
        return self._loaded.load(self._number)[rows]

    def __len__(self) -> int:
        return self._rows
