"""The engine of one machine: everything is done in this process, one part after another."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskclf_dagster.domain.execution.engine import Engine, Item, Result

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


LOCAL: Engine = LocalEngine()
"""The engine of whoever names none."""
