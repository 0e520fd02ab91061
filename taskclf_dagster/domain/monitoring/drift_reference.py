"""The reference of drift: the windows that the active model has learned from, and predictions of windows that it had not."""

from dataclasses import dataclass

import numpy as np

from taskclf_dagster.domain.data.snapshot_places import find_snapshot
from taskclf_dagster.domain.data.snapshot_rows import open_snapshot_rows
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.learned_rows import is_learned
from taskclf_dagster.domain.models.out_of_fold import read_out_of_fold
from taskclf_dagster.domain.monitoring.drift_predictions import PredictedSet
from taskclf_dagster.domain.monitoring.drift_thresholds import MIN_REFERENCE_DAYS
from taskclf_dagster.domain.monitoring.window_sets import WindowSet
from taskclf_dagster.domain.storage.path_names import is_short_hash
from taskclf_dagster.errors import BundleError, SnapshotError
from taskclf_dagster.home import Home


@dataclass(frozen=True)
class Reference:
    """The side that the last days are compared with.

    Attributes:
        dataset_hash: of the snapshot.
        windows: those that the model has learned from, with its inputs.
        predictions: out-of-fold predictions, which the bundle keeps; None if it has none.
    """

    dataset_hash: str
    windows: WindowSet
    predictions: PredictedSet | None

    @property
    def seed(self) -> int:
        """The seed of what is drawn from it; follows from the dataset."""
        return int(self.dataset_hash, 16)


def read_reference(home: Home, model: LoadedModel) -> Reference:
    """Reads the stored snapshot that the metadata of a model names.

    Raises:
        SnapshotError: it is not there, is damaged, has another schema, or has too few days; or the model is of another program, which
            stores none.
    """
    metadata = model.bundle.require()
    if not is_short_hash(metadata.dataset_hash):
        raise SnapshotError(home.snapshots, f"model {model.bundle.model_id} names no snapshot of this project")
    folder = find_snapshot(home, metadata.dataset_hash)
    stored = open_snapshot_rows(folder)
    if stored.digest()[:16] != metadata.dataset_hash:
        raise SnapshotError(folder, "it holds other rows than its name stands for")
    rows = stored.load()
    lacking = [name for name in model.schema.model_inputs if name not in rows.columns]
    if lacking:
        raise SnapshotError(folder, f"it is of another schema than the model: it lacks {', '.join(lacking[:3])}")
    learned = is_learned(rows, refit=metadata.refit, uses_older=metadata.uses_older)
    windows = WindowSet(rows[learned].reset_index(drop=True))
    if windows.days < MIN_REFERENCE_DAYS:
        raise SnapshotError(folder, f"the model has learned from {windows.days} days, and drift needs {MIN_REFERENCE_DAYS}")
    return Reference(metadata.dataset_hash, windows, _read_predictions(model))


def _read_predictions(model: LoadedModel) -> PredictedSet | None:
    try:
        kept = read_out_of_fold(model.files)
    except BundleError:
        return None
    if not len(kept.rows):
        return None
    probabilities = model.calibrate(kept.probabilities.astype(np.float64), kept.rows)
    return PredictedSet.of(WindowSet(kept.rows), probabilities, reject_threshold=model.reject_threshold)
