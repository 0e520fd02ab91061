"""One choice of the settings that differ between people, and the fit that follows it. `search` compares choices."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from taskclf_dagster.config.settings import ClockInput, TrainParams
from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.data.frame_parts import Rows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.execution.training_recipe import join_recipes
from taskclf_dagster.domain.models.averaging import average_boosters
from taskclf_dagster.domain.models.fitting import Fit, fit_model
from taskclf_dagster.domain.models.learned_rows import without_older
from taskclf_dagster.domain.storage.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable

SEED_DIGITS = 7
"""Hexadecimal digits of the dataset's digest that make a seed."""


class Choice(Record):
    """The settings of a fit that the search may change.

    Attributes:
        constant_inputs: inputs that are constant while the model learns.
        num_leaves: largest number of leaves of a tree.
        uses_older: True if rows before the range that is split teach; without such rows it changes nothing.
        seeds: number of fits with other seeds whose raw scores are averaged.
    """

    constant_inputs: list[ClockInput]
    num_leaves: Annotated[int, Field(ge=2, le=4096)]
    uses_older: bool
    seeds: Literal[1, 3]

    def apply_to(self, params: TrainParams) -> TrainParams:
        """Returns the parameters with those of this choice."""
        return params.model_copy(update={"constant_inputs": self.constant_inputs, "num_leaves": self.num_leaves})

    def takes(self, rows: Rows) -> Rows:
        """Returns the rows that teach; needs the column split where older rows do not."""
        return rows if self.uses_older else without_older(rows)

    def describe(self) -> str:
        """Returns the choice for people: `7 leaves, constant hour_of_day, one seed`. Older windows teach if it says nothing of them."""
        constant = f"constant {', '.join(self.constant_inputs)}" if self.constant_inputs else "no constant inputs"
        older = "" if self.uses_older else ", older windows do not teach"
        return f"{self.num_leaves} leaves, {constant}{older}, {'one seed' if self.seeds == 1 else f'average of {self.seeds} seeds'}"


def present_choice(params: TrainParams) -> Choice:
    """Returns the choice that the settings as given are."""
    return Choice(constant_inputs=params.constant_inputs, num_leaves=params.num_leaves, uses_older=True, seeds=1)


def derive_seed(dataset_digest: str, number: int) -> int:
    """Returns a seed of a dataset: number 0 is that of a model with one seed."""
    return int(dataset_digest[number * SEED_DIGITS : (number + 1) * SEED_DIGITS], 16)


def fit_choice(
    rows: Rows,
    schema: FeatureSchema,
    *,
    choice: Choice,
    params: TrainParams,
    dataset_digest: str,
    num_threads: int,
    engine: Engine = LOCAL,
    on_round: "Callable[[int, int], object]" = lambda done, total: None,
) -> Fit:
    """Fits a choice: one model, or one whose raw scores are the average of several seeds.

    Args:
        rows: the rows to learn from, with their split; the choice leaves out older ones.
        schema: their schema version.
        choice: from `search`.
        params: every other parameter.
        dataset_digest: the seeds are derived from it.
        num_threads: of LightGBM; the trees do not depend on it.
        engine: trains the models.
        on_round: called after each round with the number of rounds that are done, and of those of all seeds.
    """
    learned, chosen = choice.takes(rows), choice.apply_to(params)
    rounds = chosen.num_boost_round
    fits = [
        fit_model(
            learned,
            schema,
            params=chosen,
            seed=derive_seed(dataset_digest, number),
            num_threads=num_threads,
            engine=engine,
            on_round=partial(_count_on, on_round, number * rounds, choice.seeds * rounds),
        )
        for number in range(choice.seeds)
    ]
    recipe = join_recipes([fit.recipe for fit in fits])
    return Fit(average_boosters([fit.booster for fit in fits]), schema, fits[0].encoders, recipe)


def _count_on(on_round: "Callable[[int, int], object]", before: int, total: int, done: int) -> None:
    on_round(before + done, total)
