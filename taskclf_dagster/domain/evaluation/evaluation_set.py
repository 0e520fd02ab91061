"""The test windows of a dataset, on which every model is evaluated: challenger, champion and anchors.

Scoring itself is in `scoring`, the distance from training windows in `leakage`. Writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from taskclf_dagster.domain.data.feature_schema import SchemaVersion
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.evaluation.scored_windows import ScoredWindows, add_training_distance
from taskclf_dagster.domain.evaluation.scoring import rows_for, score_model
from taskclf_dagster.domain.evaluation.slices import describe_windows
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.home import Home


class Evaluation(NamedTuple):
    """A model on the test windows.

    Attributes:
        report: its metrics.
        scored: its predictions, with their distance from its training windows.
        missing: number of test windows without the inputs of its schema version.
        confidences: of the windows that it predicted, as in `Score`.
    """

    report: EvaluationReport
    scored: ScoredWindows
    missing: int
    confidences: pd.DataFrame


@dataclass(frozen=True)
class EvaluationSet:
    """The test windows of a dataset, and how models are evaluated on them.

    Attributes:
        rows: the windows, with the inputs of the dataset's schema version.
        schema_version: of the dataset.
        users: all users of the dataset, with rows in any split.
        unseen_users: users that were held out of training.
        min_class_windows: a label with fewer true windows is not judged.
        num_threads: of LightGBM.
    """

    rows: pd.DataFrame
    schema_version: SchemaVersion
    users: Sequence[str]
    unseen_users: list[str]
    min_class_windows: int
    num_threads: int

    @property
    def windows(self) -> pd.DataFrame:
        """User and time of each window, with what it is sliced by; see `describe_windows`."""
        return describe_windows(self.rows, self.schema_version)

    def evaluate(self, home: Home, model: LoadedModel) -> Evaluation:
        """Predicts the windows with the features of the model's own schema version, and finds its metrics and its leakage.

        Raises:
            BundleError: the model does not predict valid probabilities.
        """
        own, missing = rows_for(model, home, self.rows, schema_version=self.schema_version, users=self.users)
        score = score_model(
            model, own, unseen_users=self.unseen_users, min_class_windows=self.min_class_windows, num_threads=self.num_threads
        )
        knows = model.knows_categories(own)
        scored = add_training_distance(self.rows, score.predictions, model.bundle, model.files, knows=knows)
        return Evaluation(score.report, scored, missing, score.confidences)
