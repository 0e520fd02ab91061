"""Where things lie in a taskclf home. Paths only: nothing here reads or writes what they point to.

Every path below is part of the file contract with taskclf, except the folders under `artifacts/` that say they are ours.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from taskclf_dagster.errors import HomeNotFoundError

DEMO_MARKER = "DEMO"


@dataclass(frozen=True)
class Home:
    """A taskclf data home.

    Attributes:
        root: the folder that TASKCLF_HOME names.
    """

    root: Path

    def require(self) -> None:
        """Makes sure that the folder is there.

        Raises:
            HomeNotFoundError: it is not.
        """
        if not self.root.is_dir():
            raise HomeNotFoundError(self.root)

    @property
    def is_demo(self) -> bool:
        """Whether `taskclf-dagster demo` made this home."""
        return self.demo_marker.is_file()

    @property
    def display_name(self) -> str:
        """How UI and command line name the home: a demo home is always called so."""
        return f"DEMO home {self.root}" if self.is_demo else str(self.root)

    @property
    def demo_marker(self) -> Path:
        return self.root / DEMO_MARKER

    @property
    def processed(self) -> Path:
        return self.root / "data" / "processed"

    def features(self, version: str) -> Path:
        """Folder of the daily partitions of one schema version."""
        return self.processed / f"features_{version}"

    @property
    def labels(self) -> Path:
        return self.processed / "labels_v1" / "labels.parquet"

    @property
    def models(self) -> Path:
        """Promoted bundles only: taskclf activates what it finds here."""
        return self.root / "models"

    @property
    def active_pointer(self) -> Path:
        return self.models / "active.json"

    @property
    def active_history(self) -> Path:
        return self.models / "active_history.jsonl"

    @property
    def index(self) -> Path:
        return self.models / "index.json"

    @property
    def registry_lock(self) -> Path:
        """Ours: held by whoever writes below models/."""
        return self.models / ".lock"

    @property
    def staging(self) -> Path:
        """Ours: what is on its way into models/ or out of it; empty between changes."""
        return self.models / ".staging"

    @property
    def inference_policy(self) -> Path:
        return self.models / "inference_policy.json"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def rejected_models(self) -> Path:
        return self.artifacts / "rejected_models"

    @property
    def calibrator_store(self) -> Path:
        return self.artifacts / "calibrator_store" / "store.json"

    @property
    def drift_report(self) -> Path:
        """Where taskclf's drift check writes its report; reports in `drift_reports` count as well."""
        return self.artifacts / "drift_report.json"

    @property
    def drift_reports(self) -> Path:
        return self.artifacts / "drift"

    @property
    def retrain_lock(self) -> Path:
        """Ours: held by the one retrain that is under way."""
        return self.artifacts / ".retrain.lock"

    @property
    def retrain_slot(self) -> Path:
        """Ours: which run holds `retrain_lock`, for people to read."""
        return self.artifacts / "retrain_under_way.json"

    @property
    def pending_models(self) -> Path:
        """Ours: bundles that wait for approval or for what would resolve a HOLD."""
        return self.artifacts / "pending_models"

    @property
    def challengers(self) -> Path:
        """Ours: bundles built by a run that has not decided yet."""
        return self.artifacts / "challengers"

    @property
    def labeled_windows(self) -> Path:
        """Ours: content-addressed frames between the first two assets; only the newest few are kept."""
        return self.artifacts / "labeled_windows"

    @property
    def snapshots(self) -> Path:
        """Ours: content-addressed data set snapshots."""
        return self.artifacts / "snapshots"

    @property
    def predictions(self) -> Path:
        """Ours: per-window predictions behind the evaluation reports."""
        return self.artifacts / "predictions"

    @property
    def decisions(self) -> Path:
        """Ours: one JSON record for each promotion decision."""
        return self.artifacts / "decisions"

    @property
    def outbox(self) -> Path:
        """Ours: events that wait for delivery, one JSON file each."""
        return self.artifacts / "outbox"

    @property
    def records(self) -> Path:
        """Ours: the records that assets hand to each other, one file a run."""
        return self.artifacts / "records"


def default_home(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """The home taskclf itself would use: TASKCLF_HOME, else the platform's data folder + `taskclf`."""
    if environ.get("TASKCLF_HOME"):
        return Path(environ["TASKCLF_HOME"]).expanduser().absolute()
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "taskclf"
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))) / "taskclf"
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "taskclf"
