"""The recipe of a model: what its trees depend on besides rows, settings and seed."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Literal

from pydantic import Field

from taskclf_dagster.domain.storage.records import Record


class TrainingRecipe(Record):
    """The trainer of a model and how it divided the rows. Equal trees are promised under an equal recipe only.

    Attributes:
        trainer: local is LightGBM in one process, dask LightGBM in processes that exchange histograms.
        workers: number of processes.
        shard_ranks: rank of the process that had each part with rows, in the order of the parts; empty for local, whose trees do not depend
            on parts.
        bin_samples: SHA-256 of the rows that bins were chosen from, one for each seed whose models are averaged; empty for local.
        lightgbm_version: version of LightGBM.
    """

    trainer: Literal["local", "dask"]
    workers: Annotated[int, Field(ge=1)]
    shard_ranks: list[Annotated[int, Field(ge=0)]]
    bin_samples: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]
    lightgbm_version: str

    def describe(self) -> str:
        """Returns the recipe for people: `dask with 2 workers, LightGBM 4.7.0`."""
        workers = "" if self.trainer == "local" else f" with {self.workers} worker{'' if self.workers == 1 else 's'}"
        return f"{self.trainer}{workers}, LightGBM {self.lightgbm_version}"


def local_recipe() -> TrainingRecipe:
    """Returns the recipe of what this process trains alone."""
    return TrainingRecipe(trainer="local", workers=1, shard_ranks=[], bin_samples=[], lightgbm_version=lightgbm_version())


def lightgbm_version() -> str:
    """Returns the version of the installed LightGBM."""
    return version("lightgbm")


def find_other_version(recipe: TrainingRecipe) -> str | None:
    """Returns the sentence that LightGBM is of another version than that of a recipe; None if it is not."""
    here = lightgbm_version()
    return None if here == recipe.lightgbm_version else f"LightGBM is {here}, and the model was trained by {recipe.describe()}"


def join_recipes(recipes: Sequence[TrainingRecipe]) -> TrainingRecipe:
    """Returns the recipe of a model that is the average of others, which differ in the seed only; at least one."""
    samples = [sample for recipe in recipes for sample in recipe.bin_samples]
    return recipes[0].model_copy(update={"bin_samples": samples})
