"""The rule of taskclf's own retraining: its acceptance checks, and a bound on how much worse than the champion a challenger may be.

As in train/retrain.py of taskclf 0.4.15.

All figures are over all eight labels, and an undefined one is 0. The champion is judged on all test windows, also on those that it has
learned from. A prediction is rejected below 0.55, whatever the bundle says.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE, LABELS
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, open_snapshot
from taskclf_dagster.domain.evaluation.confusion import ConfusionCounts, count_predictions
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.reports import make_evaluation_set
from taskclf_dagster.errors import BundleError
from taskclf_dagster.home import Home

_Float = npt.NDArray[np.float64]


def find_original_objections(
    home: Home, snapshot: DatasetSnapshot, challenger: ChallengerModel, *, config: RetrainConfig, num_threads: int
) -> list[str]:
    """Returns the reasons for which taskclf's own retraining would not promote a challenger; empty if it would.

    Args:
        home: of the policy.
        snapshot: the dataset.
        challenger: the challenger.
        config: with the thresholds of the acceptance checks and `regression_tolerance`.
        num_threads: of LightGBM.

    Raises:
        SnapshotError: the snapshot cannot be read.
    """
    test = make_evaluation_set(open_snapshot(home, snapshot).load(splits=("test",)), snapshot, config=config, num_threads=num_threads)

    def count(model: LoadedModel) -> ConfusionCounts:
        said = test.evaluate(home, replace(model, reject_threshold=DEFAULT_REJECT_THRESHOLD)).scored.predictions
        return count_predictions(said.true, said.predicted)

    try:
        ours = count(load_bundle(home.root / challenger.path))
    except BundleError as error:
        return [str(error)]
    objections = judge_originally(ours, config)
    champion = resolve_active_model(read_registry_state(home)).model
    if champion is not None:
        difference = macro_f1(count(champion)) - macro_f1(ours)
        if difference > config.comparison.regression_tolerance:
            objections.append(f"macro-F1 is {difference:.4f} below that of the champion")
    return objections


def judge_originally(counts: ConfusionCounts, config: RetrainConfig) -> list[str]:
    """Returns the acceptance checks that the counts of a model fail."""
    gates = config.evaluation.gates
    f1, support = np.nan_to_num(counts.f1()), counts.support
    precision = counts.correct / np.maximum(counts.predicted, 1)
    recall = counts.correct / np.maximum(support, 1)
    breaks = LABELS.index(BREAK_IDLE)
    rejected = float(counts.rejected.sum() / max(1, support.sum()))
    least = {
        "macro-F1": (macro_f1(counts), gates.min_macro_f1),
        "weighted F1": (float((f1 * support).sum() / max(1, support.sum())), gates.min_weighted_f1),
        "BreakIdle precision": (float(precision[breaks]), gates.min_breakidle_precision),
        "BreakIdle recall": (float(recall[breaks]), gates.min_breakidle_recall),
        "lowest precision": (float(precision.min()), gates.min_class_precision),
    }
    failed = [f"{name} {value:.4f} < {bound:g}" for name, (value, bound) in least.items() if value < bound]
    if not gates.allows_rejecting(rejected):
        failed.append(f"reject rate {rejected:.4f} outside [{gates.min_reject_rate:g}, {gates.max_reject_rate:g}]")
    return failed


def macro_f1(counts: ConfusionCounts) -> float:
    """Returns the mean F1 of all eight labels; that of a label that does not occur is 0."""
    return float(np.nan_to_num(counts.f1()).mean())
