"""The engine of one machine: everything is done in this process, one part after another."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskclf_dagster.domain.execution.engine import Engine, Item, Result
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe, find_other_version

if TYPE_CHECKING:
    from taskclf_dagster.domain.execution.trainer import Trainer


@dataclass(frozen=True)
class LocalEngine:
    """Calls each function in this process."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Engine.map`; each item is computed when it is taken."""
        return map(function, items)

    @property
    def trainer(self) -> "Trainer":
        """See `Engine.trainer`."""
        from taskclf_dagster.domain.execution.local_trainer import LocalTrainer  # imports LightGBM, which costs two seconds

        return LocalTrainer()

    def following(self, recipe: TrainingRecipe) -> Engine | str:
        """See `Engine.following`."""
        difference = find_other_version(recipe)
        if difference is not None:
            return difference
        return self if recipe.trainer == "local" else f"the engine is local, and the model was trained by {recipe.describe()}"


LOCAL: Engine = LocalEngine()
"""The engine of whoever names none."""
