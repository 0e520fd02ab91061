"""Practises a rollback on copied data: promotes a model that learned from mixed-up labels, and lets the probation find it.

Dataset, training, receipt, promotion, probation and registry are the real ones; only the gates let everything pass. Nothing is written
outside the folder that is given.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.day_folders import list_days
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMA_VERSIONS
from taskclf_dagster.domain.data.label_store import find_store, read_usable_spans
from taskclf_dagster.domain.data.parquet_files import path_of
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.models.challenger import build_challenger
from taskclf_dagster.domain.probation.probation_step import ProbationStep
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.retraining.apply_decision import apply_decision
from taskclf_dagster.domain.retraining.dataset_step import make_labeled_windows, make_snapshot
from taskclf_dagster.domain.retraining.decision_step import make_decision
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.retraining.reports import report_challenger, report_champion
from taskclf_dagster.domain.storage.places import read_place
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import DrillError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import ignore_progress
from taskclf_dagster.shown_text import counted

DAYS = 7
"""Days of the probation."""


TRAINING_DAYS = 21
"""Days of labels from which the models learn, at most."""


_DAY = timedelta(days=1)


class DrillStep(Record):
    """One step of a drill.

    Attributes:
        name: of the step.
        detail: what it found or did, in one sentence without full stop.
        seconds: wall time since the step before.
    """

    name: str
    detail: str
    seconds: float


class Drill(Record):
    """A drill of a rollback.

    Attributes:
        home: whose data was copied, for display.
        passed: True if the model that does harm was rolled back, and the one before runs.
        steps: in their order.
    """

    home: str
    passed: bool
    steps: tuple[DrillStep, ...]


class DrillTools(NamedTuple):
    """The surroundings of a drill.

    Attributes:
        config: the settings of the home; a drill loosens its gates.
        cores: number of processors.
        code_version: recorded.
        stopwatch: a monotonic clock [s].
        on_step: takes each step when it is done.
    """

    config: RetrainConfig
    cores: int
    code_version: str
    stopwatch: Callable[[], float]
    on_step: Callable[[DrillStep], None]


def drill_rollback(source: Home, folder: Path, tools: DrillTools) -> Drill:
    """Copies the last days of a home into a folder and practises a rollback there.

    Args:
        source: the home; it is only read.
        folder: a new folder for the copy.
        tools: the surroundings.

    Raises:
        DrillError: the labels of the home do not allow it.
        TaskclfDagsterError: windows or labels cannot be read, or violate the data contract.
    """
    return _Drilling(source, Home(folder / "home"), tools, loosen(tools.config)).run()


def loosen(config: RetrainConfig) -> RetrainConfig:
    """Returns the settings of a drill: every model passes, training is short, and a probation rolls back by itself."""
    return config.with_changes(
        auto_promote=True,
        probation_days=DAYS,
        auto_rollback=True,
        trials={"label_delay_days": 1},
        gates={name: float(name == "max_reject_rate") for name in type(config.evaluation.gates).model_fields},
        floor_policy="strict",
        require_baseline_improvement=False,
        prove_reproducible=False,
        refit=False,
        search="off",
        evidence_policy="point",
        min_improvement=0.0,
        min_class_windows=1,
        min_labels=1,
        train_params={"num_boost_round": 20, "num_threads": "auto"},
    )


class _Drilling:
    def __init__(self, source: Home, home: Home, tools: DrillTools, config: RetrainConfig) -> None:
        self.source, self.home, self.tools, self.config = source, home, tools, config
        self.labels = find_store(home)
        self.steps: list[DrillStep] = []
        self.since = tools.stopwatch()

    def run(self) -> Drill:
        promoted_at = self._find_time()
        days = self._copy(promoted_at)
        self._note("copied", f"{counted(days, 'day')} of windows up to {promoted_at + (DAYS - 1) * _DAY:%Y-%m-%d}, and the labels")
        good = self._retrain(promoted_at - _DAY)
        self._note("good model promoted", f"{good.challenger.model_id} learned from the labels as they are")
        right = self.labels.read_bytes()
        mixed_up = self._mix_up_labels(promoted_at)
        bad = self._retrain(promoted_at)
        self._note("bad model promoted", f"{bad.challenger.model_id} learned from labels of which {mixed_up} were mixed up")
        self.labels.write_bytes(right)
        outcome = self._look_daily(promoted_at)
        pointer = read_active(self.home)
        active = "nothing" if pointer is None else pointer.name
        self._note("checked", f"{active} runs")
        passed = outcome == "rolled_back" and active == good.challenger.model_id
        return Drill(home=self.source.display_name, passed=passed, steps=tuple(self.steps))

    def _note(self, name: str, detail: str) -> None:
        now = self.tools.stopwatch()
        step = DrillStep(name=name, detail=detail, seconds=now - self.since)
        self.since = now
        self.steps.append(step)
        self.tools.on_step(step)

    def _find_time(self) -> datetime:
        """Returns midnight before the last days that have windows and labels of a person, so many as a probation has."""
        spans = read_usable_spans(self.source, start=datetime(1970, 1, 2, tzinfo=UTC), end=datetime(2200, 1, 1, tzinfo=UTC))
        gold = spans[spans["gold"]]
        recorded = [day for version in SCHEMA_VERSIONS for day in list_days(self.source, version)]
        if gold.empty or not recorded:
            raise DrillError(self.source.root, "it has no windows with labels of a person")
        last = min(max(recorded), datetime.fromtimestamp((int(gold["end_us"].max()) - 1) / 1e6, UTC).date())
        return datetime.combine(last, time(), UTC) - (DAYS - 1) * _DAY

    def _copy(self, promoted_at: datetime) -> int:
        """Copies the label store and the daily files that the drill reads; returns the number of days."""
        first, last = (promoted_at - (TRAINING_DAYS + 1) * _DAY).date(), (promoted_at + DAYS * _DAY).date()
        copied = set()
        for version in SCHEMA_VERSIONS:
            for day, file in list_days(self.source, version).items():
                if first <= day <= last:
                    place = path_of(file)
                    target = self.home.features(version) / place.parent.name / place.name
                    target.parent.mkdir(parents=True)
                    target.write_bytes(read_place(place))
                    copied.add(day)
        self.labels.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(find_store(self.source), self.labels)
        return len(copied)

    def _mix_up_labels(self, promoted_at: datetime) -> int:
        """Gives each label the next one that is in use, BreakIdle aside; returns the number of spans."""
        table = pq.read_table(self.labels)
        said = np.array(table["label"].to_pylist(), dtype=object)
        used = [label for label in LABELS if label != "BreakIdle" and (said == label).any()]
        if len(used) < 2:
            raise DrillError(self.source.root, "its labels have fewer than two activities that could be mixed up")
        following = dict(zip(used, [*used[1:], used[0]], strict=True))
        mixed = [following.get(str(label), label) for label in said]
        position = table.schema.get_field_index("label")
        pq.write_table(table.set_column(position, "label", pa.array(mixed, type=pa.string())), self.labels)
        return sum(str(label) in following for label in said)

    def _retrain(self, as_of: datetime) -> PromotionDecision:
        home, config, cores = self.home, self.config, self.tools.cores
        windows = make_labeled_windows(home, as_of=as_of, settings=config.dataset)
        snapshot = make_snapshot(home, windows, config=config, holdout_fraction=0.0, may_skip=False)
        if snapshot.blockers:
            raise DrillError(self.source.root, "; ".join(blocker.message for blocker in snapshot.blockers))
        challenger = build_challenger(
            home,
            snapshot,
            config=config,
            earlier=None,
            cores=cores,
            code_version=self.tools.code_version,
            library_versions={},
            stopwatch=self.tools.stopwatch,
            on_progress=ignore_progress,
        )
        report = report_challenger(home, snapshot, challenger, config=config, num_threads=cores)
        champion = report_champion(home, snapshot, config=config, num_threads=cores)
        options = RunOptions(dry_run=False, forced=True, bootstrap=False)
        decision = make_decision(
            home, snapshot, challenger, report, champion, config=config, options=options, code_version=self.tools.code_version
        )
        recompute = partial(recompute_decision, cores=cores)
        apply_decision(home, decision, settings=config, recompute=recompute, run_id="drill", at=as_of)
        if decision.verdict != "PROMOTE":
            raise DrillError(self.source.root, f"no model could be promoted on its data: {decision.reason}")
        return decision

    def _look_daily(self, promoted_at: datetime) -> str:
        """Looks each morning as the job `monitor` does, until the probation ends; returns how it ended."""
        for day in range(1, DAYS + 3):
            at = promoted_at + day * _DAY + timedelta(hours=5)
            look = ProbationStep(self.home, self.config, at, at, self.tools.cores, "drill").look().looks[0]
            self._note(f"look on {at:%Y-%m-%d}", look.detail)
            if look.outcome != "goes_on":
                break
        return look.outcome
