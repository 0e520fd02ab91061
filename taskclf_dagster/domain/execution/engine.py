"""The interface of an engine, which calls a function for each part of a dataset and trains models, here or elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from taskclf_dagster.domain.execution.trainer import Trainer
    from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Places the work on parts of a dataset."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yields the result of each item in the order of the items, whatever the order in which they are computed.

        Args:
            function: a function of a module, or a `functools.partial` of one; it and the items can be pickled. It must give the same
                result when it is called again, as it is where a worker was lost.
            items: few are computed ahead of the one that is taken, so that their results fit into memory.
        """

    @property
    def trainer(self) -> "Trainer":
        """The trainer of models."""

    def following(self, recipe: "TrainingRecipe") -> "Engine | str":
        """Returns an engine that trains by a recipe, or the reason why there is none, which ends a sentence."""
