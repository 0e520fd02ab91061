"""The rows that a fit learns from as shards of a trainer, one for each part, with inputs, class indices and class weights.

Shards give the same numbers however the rows are divided: categories are masked by the same draws, and weights follow from the counts of
all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, FeatureSchema
from taskclf_dagster.domain.data.frame_parts import OnePart, Rows, list_parts
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.trainer import Targets
from taskclf_dagster.domain.models.encoding import (
    CategoryCounts,
    Encoders,
    Matrix,
    choose_vocabularies,
    count_categories,
    encode_inputs,
    mask_categories,
)

UNKNOWN_CATEGORY_FREQ_THRESHOLD = 5


UNKNOWN_CATEGORY_MASK_RATE = 0.05


@dataclass(frozen=True)
class TrainingShard:
    """One part of the rows that a fit learns from; see `execution.trainer.Shard`.

    Attributes:
        part: the rows.
        rows: number of rows.
        first_row: position of the first row among those of all parts.
        schema: their schema version.
        encoders: the vocabularies of the model.
        constant_inputs: inputs that are constant.
        mask_rate: share of the codes of each category that is replaced.
        seed: of the draws.
        weights: weight of a row of each class, shape (8,); None for equal ones.
    """

    part: OnePart
    rows: int
    first_row: int
    schema: FeatureSchema
    encoders: Encoders
    constant_inputs: Sequence[str]
    mask_rate: float
    seed: int
    weights: npt.NDArray[np.float64] | None

    def load_inputs(self) -> Matrix:
        """Returns the matrix of the part; see `encode_inputs`."""
        matrix = encode_inputs(self.part.load(self.schema.model_inputs), self.schema, self.encoders)
        matrix[:, [self.schema.model_inputs.index(name) for name in self.constant_inputs]] = 0.0  # no tree splits a constant
        mask_categories(matrix, self.schema, self.encoders, rate=self.mask_rate, seed=self.seed, first_row=self.first_row)
        return matrix

    def load_targets(self) -> Targets:
        """Returns the class index of each row and its weight."""
        labels = label_codes(self.part.load(["label"])).astype(np.int64)
        return Targets(labels, None if self.weights is None else self.weights[labels])


class RowCounts(NamedTuple):
    """Counts of the rows of a part.

    Attributes:
        categories: number of rows of each value of each categorical column.
        labels: number of rows of each class, shape (8,).
    """

    categories: CategoryCounts
    labels: npt.NDArray[np.int64]


def make_shards(
    rows: Rows, schema: FeatureSchema, params: TrainParams, *, seed: int, engine: Engine
) -> tuple[list[TrainingShard], dict[str, list[str]]]:
    """Returns the rows that a fit learns from as shards, one for each part, and the vocabularies of the model.

    Args:
        rows: the rows with their labels.
        schema: their schema version.
        params: the constant inputs and the class weights.
        seed: of the draws by which categories are masked.
        engine: counts the rows of each part.
    """
    parts = list_parts(rows)
    counts = list(engine.map(partial(count_rows, schema=schema), parts))
    encoders = choose_vocabularies((each.categories for each in counts), min_count=UNKNOWN_CATEGORY_FREQ_THRESHOLD)
    weights = balanced_weights(sum_labels(counts)) if params.class_weight == "balanced" else None
    sizes = [int(each.labels.sum()) for each in counts]
    shards = [
        TrainingShard(part, size, before, schema, encoders, tuple(params.constant_inputs), UNKNOWN_CATEGORY_MASK_RATE, seed, weights)
        for part, size, before in zip(parts, sizes, accumulate(sizes, initial=0), strict=False)
    ]
    return shards, encoders


def count_rows(part: OnePart, *, schema: FeatureSchema) -> RowCounts:
    """Returns the counts of a part; every row has a label."""
    frame = part.load([*schema.categorical, "label"])
    return RowCounts(count_categories(frame, schema), np.bincount(label_codes(frame), minlength=len(LABELS)))


def sum_labels(counts: Sequence[RowCounts]) -> npt.NDArray[np.int64]:
    """Returns the number of rows of each class over all parts, shape (8,)."""
    return np.sum([each.labels for each in counts], axis=0)


def balanced_weights(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns the weight of a row of each class, n / (number of classes present * rows of the class), shape (8,); 0 for an absent one.

    It is the method "balanced" of sklearn.utils.class_weight.compute_sample_weight.

    Args:
        counts: number of rows of each class, shape (8,).
    """
    return np.divide(counts.sum(), np.count_nonzero(counts) * counts, out=np.zeros(len(LABELS)), where=counts > 0)
