"""Paths in a taskclf home. Nothing here writes, and nothing reads more than the existence of a folder.

Every path is part of the file contract with taskclf, except those that are described as ours.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from taskclf_dagster.entry_paths import HOME_VARIABLE, make_absolute
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
        """Checks that the folder is a home: it holds `data/processed`, `models` or the marker of a demo home.

        Every command calls this first, every run before its first file, and every tick before it looks for work.

        Raises:
            HomeNotFoundError: it is none.
        """
        if not self.root.is_dir():
            raise HomeNotFoundError(self.root, "missing")
        if not (self.processed.is_dir() or self.models.is_dir() or self.is_demo):
            raise HomeNotFoundError(self.root, "not_a_home")

    @property
    def is_demo(self) -> bool:
        """True if `taskclf-dagster demo` wrote this home."""
        return self.demo_marker.is_file()

    @property
    def display_name(self) -> str:
        """The name of the home in the browser and on the command line; that of a demo home begins with "DEMO home"."""
        return f"DEMO home {self.root}" if self.is_demo else str(self.root)

    @property
    def demo_marker(self) -> Path:
        return self.root / DEMO_MARKER

    @property
    def settings_file(self) -> Path:
        """Ours: settings of this home, a layer over the shipped ones; a person, the command line and the API write it."""
        return self.root / "taskclf_dagster.yaml"

    @property
    def settings_lock(self) -> Path:
        """Ours: the lock of the one writer to `settings_file`."""
        return self.root / ".taskclf_dagster.lock"

    @property
    def settings_changes(self) -> Path:
        """Ours: one line for each key of `settings_file` that was changed."""
        return self.artifacts / "config_changes.jsonl"

    @property
    def processed(self) -> Path:
        return self.root / "data" / "processed"

    def features(self, version: str) -> Path:
        """Returns the folder of the daily partitions of one schema version."""
        return self.processed / f"features_{version}"

    @property
    def labels(self) -> Path:
        return self.processed / "labels_v1" / "labels.parquet"

    @property
    def label_queue(self) -> Path:
        """The file in which taskclf keeps what it asks its users to label."""
        return self.processed / "labels_v1" / "queue.json"

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
        """Ours: the lock of the one writer to models/."""
        return self.models / ".lock"

    @property
    def staging(self) -> Path:
        """Ours: bundles on their way into models/ or out of it; empty between changes."""
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
        """The store of taskclf's own calibrators; those that `calibrate` fits are in `calibrators`."""
        return self.artifacts / "calibrator_store" / "store.json"

    @property
    def calibrators(self) -> Path:
        """Ours: calibrator stores in taskclf's format, each in a folder named by its content."""
        return self.artifacts / "calibrators"

    @property
    def drift_report(self) -> Path:
        """The report of taskclf's drift check; reports in `drift_reports` count as well."""
        return self.artifacts / "drift_report.json"

    @property
    def drift_reports(self) -> Path:
        return self.artifacts / "drift"

    @property
    def drift_state(self) -> Path:
        """Ours: what the evaluations of drift found, for its confirmation."""
        return self.drift_reports / "state" / "evaluations.json"

    @property
    def drift_evaluations(self) -> Path:
        """Ours: the report of each evaluation by day; no sensor reads them."""
        return self.drift_reports / "evaluations"

    @property
    def telemetry(self) -> Path:
        """One line a day for all users; other programs append, too."""
        return self.artifacts / "telemetry" / "telemetry_global.jsonl"

    @property
    def retrain_lock(self) -> Path:
        """Ours: the run lock, held by the one running retrain."""
        return self.artifacts / ".retrain.lock"

    @property
    def run_lock_holder(self) -> Path:
        """Ours: the run that holds `retrain_lock`, for people to read."""
        return self.artifacts / "retrain_under_way.json"

    @property
    def run_progress(self) -> Path:
        """Ours: what the present retrain is doing, for people to read."""
        return self.artifacts / "retrain_progress.json"

    @property
    def pending_models(self) -> Path:
        """Ours: bundles that await approval, or the resolution of a HOLD."""
        return self.artifacts / "pending_models"

    @property
    def challengers(self) -> Path:
        """Ours: bundles of runs that have not decided yet."""
        return self.artifacts / "challengers"

    @property
    def labeled_windows(self) -> Path:
        """Ours: content-addressed frames between the first two assets; the newest few are kept."""
        return self.artifacts / "labeled_windows"

    @property
    def snapshots(self) -> Path:
        """Ours: content-addressed dataset snapshots."""
        return self.artifacts / "snapshots"

    @property
    def predictions(self) -> Path:
        """Ours: per-window predictions behind the evaluation reports."""
        return self.artifacts / "predictions"

    @property
    def scores(self) -> Path:
        """Ours: what the active model said about each window at the time, one folder for each UTC day."""
        return self.artifacts / "scores"

    @property
    def trials(self) -> Path:
        """Ours: the record of each trial of a challenger, named by its model."""
        return self.artifacts / "trials"

    @property
    def serving(self) -> Path:
        """Ours: what each challenger on trial serves of batch scores, and why it stopped, named by its model."""
        return self.artifacts / "serving"

    @property
    def probations(self) -> Path:
        """Ours: the record of the probation of each promotion, named by the number of its history record."""
        return self.artifacts / "probations"

    @property
    def performance_drops(self) -> Path:
        """Ours: the first time that a model was found to perform clearly worse than it should, one file for each model."""
        return self.artifacts / "performance_drops"

    @property
    def home_id_file(self) -> Path:
        """Ours: the id of the home, to which receipts and history records are bound."""
        return self.artifacts / "home_id.json"

    @property
    def decisions(self) -> Path:
        """Ours: one receipt for each promotion decision."""
        return self.artifacts / "decisions"

    @property
    def reports(self) -> Path:
        """Ours: the HTML report of each decision, for people."""
        return self.artifacts / "reports"

    @property
    def suggestions(self) -> Path:
        """Ours: what to label next, one file for each decision."""
        return self.artifacts / "suggestions"

    @property
    def backtest(self) -> Path:
        """Ours: datasets and fits of replays, which other replays use; safe to delete."""
        return self.artifacts / "backtest"

    @property
    def outbox(self) -> Path:
        """Ours: events that wait for delivery, one JSON file each."""
        return self.artifacts / "outbox"

    @property
    def instance(self) -> Path:
        """Ours: the Dagster instance of this home, unless it has another."""
        return self.root / ".dagster"

    @property
    def records(self) -> Path:
        """Ours: the records that assets pass to each other, one file for each run."""
        return self.artifacts / "records"


def default_home(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Returns the home that taskclf itself would use: TASKCLF_HOME, else `taskclf` in the platform's data folder.

    Raises:
        PathError: TASKCLF_HOME cannot be made absolute.
    """
    if environ.get(HOME_VARIABLE):
        return make_absolute(environ[HOME_VARIABLE], HOME_VARIABLE)
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "taskclf"
    if platform == "win32":
        return make_absolute(environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local"), "LOCALAPPDATA") / "taskclf"
    return make_absolute(environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share"), "XDG_DATA_HOME") / "taskclf"
