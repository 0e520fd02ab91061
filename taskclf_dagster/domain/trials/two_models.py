"""The two models of a trial, loaded, on windows that a trial or its dataset names."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feasibility import Feasibility, assess_feasibility
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.snapshot_rows import ABOUT_ROWS, StoredRows, count_classes
from taskclf_dagster.domain.data.split import NEIGHBORHOOD_MINUTES
from taskclf_dagster.domain.evaluation.block_counts import BlockSums, sum_blocks
from taskclf_dagster.domain.evaluation.evaluation_set import Evaluation, EvaluationSet
from taskclf_dagster.domain.evaluation.scored_windows import ScoredWindows
from taskclf_dagster.domain.evaluation.sequential import TrialReference, make_reference
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_paths import require_bundle
from taskclf_dagster.domain.models.reproducibility import open_training_snapshot
from taskclf_dagster.domain.models.time_made import find_time_made
from taskclf_dagster.domain.registry.champion import Champion, resolve_active_model
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.errors import BundleError
from taskclf_dagster.home import Home


class PairEvaluation(NamedTuple):
    """Both models on the same rows."""

    contender: Evaluation
    champion: Evaluation


@dataclass(frozen=True)
class ComparedModels:
    """Two models that are compared on later labels: a newer one, and the one that it replaces or would replace.

    Attributes:
        home: the taskclf home.
        champion_model: the model that would be, or was, replaced.
        contender: the newer model.
        training: the snapshot that the contender was made of.
        min_class_windows: a label with fewer true windows is not judged.
        num_threads: of LightGBM.
    """

    home: Home
    champion_model: LoadedModel
    contender: LoadedModel
    training: StoredRows
    min_class_windows: int
    num_threads: int

    def evaluate(self, rows: pd.DataFrame) -> PairEvaluation:
        """Predicts labeled rows with both models."""
        test = self.evaluation_set(rows)
        return PairEvaluation(test.evaluate(self.home, self.contender), test.evaluate(self.home, self.champion_model))

    def evaluation_set(self, rows: pd.DataFrame) -> EvaluationSet:
        """Returns labeled rows with what an evaluation needs."""
        return EvaluationSet(
            rows=rows,
            schema_version=self.contender.schema.version,
            users=[str(user) for user in sorted(rows["user_id"].unique())],
            unseen_users=self.contender.bundle.require().holdout_users,
            min_class_windows=self.min_class_windows,
            num_threads=self.num_threads,
        )

    def count_reference(self) -> TrialReference:
        """Counts both models on the test windows of the contender's own dataset, also on those that the champion has learned."""
        rows = self.training.load(splits=("test",))
        found = self.evaluate(rows)
        return make_reference(count_pair(rows, found.contender.scored, found.champion.scored), min_class_windows=self.min_class_windows)

    def find_start(self) -> datetime | None:
        """Returns the start of the first window that neither model can have learned from; None if nobody knows."""
        made = [find_time_made(self.home, model.bundle.model_id) for model in (self.contender, self.champion_model)]
        known = [time for time in made if time is not None]
        return max(known) + timedelta(minutes=NEIGHBORHOOD_MINUTES) if len(known) == len(made) else None


@dataclass(frozen=True)
class TrialModels(ComparedModels):
    """The contender, with its own reject threshold, and the active model.

    Attributes:
        champion: the active model, as taskclf applies it.
    """

    champion: Champion


def open_models(state: RegistryState, model_id: str, *, config: RetrainConfig, cores: int) -> TrialModels:
    """Loads both models of a trial.

    Raises:
        BundleError: one of them does not load, or there is no active model.
        SnapshotError: the snapshot of the contender is missing or was changed.
    """
    champion = resolve_active_model(state)
    if champion.model is None:
        raise BundleError(state.home.models, "not_loadable", champion.reason)
    contender = load_bundle(state.bundles.files(require_bundle(state.home, model_id)))
    return TrialModels(
        home=state.home,
        champion=champion,
        champion_model=champion.model,
        contender=contender,
        training=open_training_snapshot(state.home, contender.files),
        min_class_windows=config.evaluation.min_class_windows,
        num_threads=cores,
    )


def count_pair(rows: pd.DataFrame, contender: ScoredWindows, champion: ScoredWindows) -> BlockSums:
    """Counts both models by user and block on the rows that both predicted, whatever they were trained on."""
    keys = hash_row_keys(rows)
    both = np.isin(keys, contender.key) & np.isin(keys, champion.key)
    ours, theirs = (scored.in_order(keys[both]).predictions for scored in (contender, champion))
    kept = rows[both]
    return sum_blocks(kept["user_id"], kept["bucket_start_ts"], ours.true, ours.predicted, theirs.predicted)


def assess_trial_feasibility(rows: pd.DataFrame, training: StoredRows, held_out: Sequence[str], *, min_class_windows: int) -> Feasibility:
    """Checks that the windows of a trial, with those that the contender learned from, have enough labels for every gate."""
    learned, tried = count_classes(training.load(columns=ABOUT_ROWS)), count_classes(rows)
    return assess_feasibility({**learned, "test": tried["test"]}, min_class_windows=min_class_windows, held_out=bool(held_out))
