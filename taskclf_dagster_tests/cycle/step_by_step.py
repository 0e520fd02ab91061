"""A retrain of which each step is run alone, as when Dagster materializes one asset at a time: every input is read from the home again."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.defs.resources.record_io_manager import RecordIOManager
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.retraining.apply_decision import apply_decision
from taskclf_dagster.domain.retraining.dataset_step import make_labeled_windows, make_snapshot
from taskclf_dagster.domain.retraining.decision_step import make_decision
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport, report_challenger, report_champion
from taskclf_dagster.domain.retraining.steps import remember_skip
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import train_challenger

RECORDS: dict[str, type[Record]] = {
    "labeled_windows": LabeledWindows,
    "dataset_snapshot": DatasetSnapshot,
    "challenger_model": ChallengerModel,
    "challenger_report": ChallengerReport,
    "champion_report": ChampionReport,
    "promotion_decision": PromotionDecision,
}
"""The record of each step but the last, which stores one only for people."""

STEPS = (*RECORDS, "active_pointer")

Files = dict[str, bytes]
"""Every file of a home by its path."""


def read_files(root: Path) -> Files:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def write_files(root: Path, files: Files) -> None:
    """Makes a folder hold exactly these files, each of its own, none a hard link."""
    shutil.rmtree(root, ignore_errors=True)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@dataclass(frozen=True)
class StepByStep:
    """A retrain at one time with one configuration; same home, same bytes."""

    home: Home
    config: RetrainConfig
    at: datetime
    name: str = "retrain"

    def run(self, step: str) -> bool:
        """Runs a step as a Dagster run of its own; False if it makes nothing, so that what follows is skipped."""
        record = self._makers[step]()
        if record is not None:
            output = SimpleNamespace(asset_key=dg.AssetKey(step), run_id=f"{self.name}-{step}")
            self._records.handle_output(output, record)  # type: ignore[arg-type]  # Dagster's own takes longer than the step
        return record is not None

    def run_all(self) -> Iterator[Files]:
        """Runs every step; yields the files before the first and after each."""
        yield read_files(self.home.root)
        for step in STEPS[:-1]:
            assert self.run(step)
            yield read_files(self.home.root)
        self.run(STEPS[-1])
        yield read_files(self.home.root)

    @property
    def _records(self) -> RecordIOManager:
        return RecordIOManager(home=HomeResource(root=str(self.home.root)))

    def _read(self, asset: str) -> Any:
        run = SimpleNamespace(run_id=f"{self.name}-alone", parent_run_id=None, root_run_id=None, tags={})
        return self._records._read(asset, run, kind=RECORDS[asset])  # type: ignore[arg-type]

    @property
    def _makers(self) -> dict[str, Callable[[], Record | None]]:
        windows, snapshot, challenger, ours, theirs, decision = (partial(self._read, asset) for asset in RECORDS)
        judge = {"config": self.config, "num_threads": 1}
        return {
            "labeled_windows": lambda: make_labeled_windows(self.home, as_of=self.at, settings=self.config.dataset),
            "dataset_snapshot": lambda: self._take_snapshot(windows()),
            "challenger_model": lambda: _unless_skipped(snapshot(), lambda record: train_challenger(self.home, record, self.config)),
            "challenger_report": lambda: report_challenger(self.home, snapshot(), challenger(), **judge),
            "champion_report": lambda: _unless_skipped(snapshot(), lambda record: report_champion(self.home, record, **judge)),
            "promotion_decision": lambda: make_decision(
                self.home,
                snapshot(),
                challenger(),
                ours(),
                theirs(),
                config=self.config,
                options=RunOptions(dry_run=False, forced=False, bootstrap=False),
                code_version="0123456",
            ),
            "active_pointer": lambda: self._apply(decision()),
        }

    def _take_snapshot(self, windows: LabeledWindows) -> DatasetSnapshot:
        record = make_snapshot(self.home, windows, config=self.config, holdout_fraction=0.0, may_skip=True)
        if record.skip_reason is not None:
            remember_skip(self.home, record, run_id=self.name, at=self.at)
        return record

    def _apply(self, decision: PromotionDecision) -> None:
        recompute = partial(recompute_decision, cores=1)
        apply_decision(self.home, decision, settings=self.config, recompute=recompute, run_id=self.name, at=self.at)


def _unless_skipped(snapshot: DatasetSnapshot, make: Callable[[DatasetSnapshot], Record]) -> Record | None:
    return make(snapshot) if snapshot.skip_reason is None else None
