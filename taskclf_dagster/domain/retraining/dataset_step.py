"""Makes the dataset of a retrain: labeled windows from a home, then a snapshot of them, or the reason to train nothing."""

from datetime import datetime

from taskclf_dagster.config.settings import DatasetSettings, RetrainConfig
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, open_labeled_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot_parts, save_snapshot
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.retraining.steps import find_skip_reason, remember_labels
from taskclf_dagster.home import Home


def make_labeled_windows(home: Home, *, as_of: datetime, settings: DatasetSettings, engine: Engine = LOCAL) -> LabeledWindows:
    """Labels the windows of the look-back and stores them; with contract violations only the record is made.

    Also keeps fingerprints of the label spans, so that spans which change while the run decides are counted later.
    """
    record, fingerprints = store_labeled_windows(home, as_of=as_of, settings=settings, engine=engine)
    remember_labels(home, fingerprints)
    return record


def make_snapshot(
    home: Home, windows: LabeledWindows, *, config: RetrainConfig, holdout_fraction: float, may_skip: bool, engine: Engine = LOCAL
) -> DatasetSnapshot:
    """Splits the labeled windows and stores them as a snapshot.

    Args:
        home: the taskclf home.
        windows: the labeled windows.
        config: the configuration.
        holdout_fraction: share of the users that are held out of training [0 to 1).
        may_skip: if True, the snapshot has a skip reason when the last decided run already saw all of its labels.
        engine: computes the parts.
    """
    source = open_labeled_windows(home, windows)
    snapshot, rows = build_snapshot_parts(home, windows, source, config=config, holdout_fraction=holdout_fraction, engine=engine)
    if may_skip and not snapshot.blockers:
        snapshot = snapshot.model_copy(update={"skip_reason": find_skip_reason(home, rows, config)})
    return save_snapshot(home, snapshot, rows, engine=engine)
