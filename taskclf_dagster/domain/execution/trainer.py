"""The interface of a trainer, which fits LightGBM on rows in shards, in one process or in several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe

Matrix = npt.NDArray[np.float64]


Param = float | int | str | bool | list[str]
"""The value of a parameter of LightGBM."""


class Targets(NamedTuple):
    """The labels that rows teach, and how much each counts.

    Attributes:
        labels: class index of each row, shape (rows,).
        weights: of each row, shape (rows,); None for equal ones.
    """

    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None


class Shard(Protocol):
    """One part of the rows to learn from. It can be pickled, and what it loads is the same wherever it is loaded."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    def load_inputs(self) -> Matrix:
        """Returns the matrix of inputs, shape (rows, inputs), with codes of categories and no missing values."""

    def load_targets(self) -> Targets:
        """Returns the labels and weights of the rows."""


@dataclass(frozen=True)
class FitParams:
    """The parameters of one fit, but for its seed.

    Attributes:
        lightgbm: parameters of `lightgbm.train`.
        rounds: number of rounds of boosting.
        inputs: names of the columns of the matrix.
        categorical: names of those that are categories.
    """

    lightgbm: Mapping[str, Param]
    rounds: int
    inputs: tuple[str, ...]
    categorical: tuple[str, ...]


class TrainedText(NamedTuple):
    """A model in LightGBM's text format, and the recipe that its trees follow from."""

    text: str
    recipe: TrainingRecipe


class Trainer(Protocol):
    """Fits LightGBM."""

    def train(
        self, shards: Sequence[Shard], params: FitParams, *, seed: int, on_round: Callable[[int], object] = lambda _: None
    ) -> TrainedText:
        """Fits one model; equal shards, parameters, seed and recipe give the same text.

        Args:
            shards: the rows, in order; at least one shard, and shards may be empty.
            params: of the fit.
            seed: every random choice follows from it.
            on_round: called with the number of rounds done, after each of them or less often; the trees do not depend on it.
        """
