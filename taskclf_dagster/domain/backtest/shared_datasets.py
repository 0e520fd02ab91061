"""Datasets of replays: made as a retrain makes them, and shared between policies and replays by what they follow from."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.backtest.content_store import ContentStore
from taskclf_dagster.domain.backtest.cost import CpuClock
from taskclf_dagster.domain.backtest.replayed_home import RecordedDays
from taskclf_dagster.domain.data.label_fingerprints import watermark
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, open_snapshot
from taskclf_dagster.domain.retraining.dataset_step import make_labeled_windows, make_snapshot
from taskclf_dagster.domain.retraining.steps import find_skip_reason, remember_labels
from taskclf_dagster.domain.storage.files import remove_tree
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.errors import NoWindowsError, SnapshotError
from taskclf_dagster.home import Home


@dataclass(frozen=True)
class ReplayedDataset:
    """A dataset, or the reason why a retrain would be blocked.

    Attributes:
        snapshot: the dataset; None if nothing can be learned.
        blocked: the reason; empty if there is none.
        cpu_seconds: CPU time that it took when it was made [s].
    """

    snapshot: DatasetSnapshot | None
    blocked: str
    cpu_seconds: float


class SharedDatasets:
    """Datasets by content.

    Args:
        store: keeps them.
        days: the daily files of the real home.
        cpu_clock: CPU time of this process [s].
    """

    def __init__(self, store: ContentStore, days: RecordedDays, cpu_clock: CpuClock) -> None:
        self._store, self._days, self._cpu_clock = store, days, cpu_clock

    def get(self, home: Home, *, as_of: datetime, config: RetrainConfig, may_skip: bool) -> ReplayedDataset:
        """Makes the dataset of a retrain at a time in the home of a policy, or links it there if it was made before.

        Args:
            home: of the policy, with the labels that are known then.
            as_of: the time.
            config: of the policy.
            may_skip: see `make_snapshot`.

        Raises:
            LabelColumnsError: the columns of the label store are damaged.
            UnreadableFileError: a file cannot be read.
        """
        fingerprints = read_fingerprints(home)
        remember_labels(home, fingerprints)
        key = json_hash(
            {
                "as_of": as_of.isoformat(),
                "labels": watermark(fingerprints),
                "days": self._days.stamp(as_of),
                "dataset": config.dataset.model_dump(mode="json"),
                "min_class_windows": config.evaluation.min_class_windows,
            }
        )[:32]
        found = self._read(key, home, config) or self._make(key, home, as_of, config)
        if found.snapshot is None or not may_skip:
            return found
        reason = find_skip_reason(home, open_snapshot(home, found.snapshot), config)
        return ReplayedDataset(found.snapshot.model_copy(update={"skip_reason": reason}), "", found.cpu_seconds)

    def _read(self, key: str, home: Home, config: RetrainConfig) -> ReplayedDataset | None:
        document = self._store.read(key)
        if document is None:
            return None
        try:
            found = document["snapshot"]
            snapshot = None if found is None else DatasetSnapshot.model_validate(found)
        except (KeyError, ValidationError):  # of another version
            return None
        if snapshot is not None:
            self._store.link(key, home)
            try:
                open_snapshot(home, snapshot)
            except SnapshotError:  # the kept files were damaged
                remove_tree(home.root / snapshot.path)
                return None
            snapshot = snapshot.model_copy(update={"config": config, "home": home.display_name})
        return ReplayedDataset(snapshot, str(document.get("blocked", "")), float(str(document.get("cpu_seconds", 0.0))))

    def _make(self, key: str, home: Home, as_of: datetime, config: RetrainConfig) -> ReplayedDataset:
        begin = self._cpu_clock()
        snapshot, blocked, files = None, "", []
        try:
            labeled = make_labeled_windows(home, as_of=as_of, settings=config.dataset)
            blocked = "; ".join(violation.message for violation in labeled.violations)
            if not blocked:
                snapshot = make_snapshot(home, labeled, config=config, holdout_fraction=0.0, may_skip=False)
                blocked = "; ".join(blocker.message for blocker in snapshot.blockers)
        except NoWindowsError as error:
            blocked = str(error)
        if blocked:
            snapshot = None
        if snapshot is not None:
            files = [path for path in sorted((home.root / snapshot.path).rglob("*")) if path.is_file()]
            files += [] if snapshot.recent is None else [home.root / snapshot.recent.path]
        made = ReplayedDataset(snapshot, blocked, self._cpu_clock() - begin)
        document = {"snapshot": None if snapshot is None else snapshot.model_dump(mode="json"), "blocked": blocked}
        self._store.add(key, {**document, "cpu_seconds": made.cpu_seconds}, home, files)
        return made
