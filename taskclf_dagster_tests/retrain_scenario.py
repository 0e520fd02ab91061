"""The inputs of a decision, all in favour of the challenger, and the steps that lead to one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, save_snapshot
from taskclf_dagster.domain.decision.candidate_gates import check_candidate_gates
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.gate import Status
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.evaluation.baselines import BaselineScore
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.scored_windows import add_training_distance, save_scored_windows
from taskclf_dagster.domain.models.bundle import parse_bundle
from taskclf_dagster.domain.models.challenger import ChallengerModel, build_challenger
from taskclf_dagster.domain.models.chosen_settings import ChosenSettings
from taskclf_dagster.domain.models.reproducibility import Reproduction
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.decision_step import make_decision
from taskclf_dagster.domain.retraining.reports import (
    AnchorReport,
    ChallengerReport,
    ChampionReport,
    report_challenger,
    report_champion,
)
from taskclf_dagster.domain.retraining.steps import remember_labels
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.domain.storage.stored_files import StoredFile
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    MID,
    NEW,
    a_report,
    a_reproduction,
    duel_rows,
    feasible,
    named,
    sliced,
    some,
    write_tiny_bundle,
)
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    MINUTE,
    retrain_config,
    span,
    write_labels,
)

NOON = AS_OF + timedelta(hours=12)

FAST = {"num_boost_round": 3, "num_leaves": 4}

CONFIG = retrain_config(train_params=FAST, min_class_windows=10)


def take_snapshot(
    home: Home, config: RetrainConfig = CONFIG, *, as_of: datetime = AS_OF, holdout: float = 0.0
) -> tuple[DatasetSnapshot, LabeledWindows]:
    labeled, frame, fingerprints, _ = label_windows(home, as_of=as_of, settings=config.dataset)
    remember_labels(home, fingerprints)
    assert frame is not None
    snapshot, rows = build_snapshot(home, labeled, frame, config=config, holdout_fraction=holdout)
    return save_snapshot(home, snapshot, rows), labeled


def train_challenger(
    home: Home, snapshot: DatasetSnapshot, config: RetrainConfig = CONFIG, *, earlier: ChosenSettings | None = None
) -> ChallengerModel:
    return build_challenger(
        home,
        snapshot,
        config=config,
        earlier=earlier,
        cores=2,
        code_version="0123456",
        library_versions={},
        stopwatch=lambda: 0.0,
        on_progress=lambda _: None,
    )


def _add_spans(home: Home, n: int) -> None:
    late = AS_OF + timedelta(hours=9)
    added = [span(late + 2 * i * MINUTE, late + (2 * i + 1) * MINUTE, "Build", user="user-0") for i in range(n)]
    write_labels(home, [*pq.read_table(home.labels).to_pylist(), *added])


ROWS = duel_rows()

RIGHT = named(ROWS)


@dataclass
class Decide:
    """The inputs of `make_decision`, all in favour of the challenger; a test changes the one it is about.

    Both models say something about ROWS, from which neither learned.
    """

    home: Home
    snapshot: DatasetSnapshot | None = None
    challenger: Predictions = RIGHT
    champion: Predictions = RIGHT
    anchors: Mapping[str, Predictions | None] = field(default_factory=dict)
    blocked: Mapping[str, str | None] = field(default_factory=dict)
    state: str = "none"
    reason: str = "no model was ever promoted"
    warnings: list[str] = field(default_factory=list)
    config: RetrainConfig = field(default_factory=lambda: retrain_config(auto_promote=True))
    dry_run: bool = False
    forced: bool = False
    bootstrap: bool = False
    figures: dict[str, object] = field(default_factory=dict)
    failure: str | None = None
    reproduction: Reproduction | None = field(default_factory=a_reproduction)

    def make(self) -> PromotionDecision:
        snapshot = self.snapshot or a_snapshot(self.home)
        self._prepare()
        return make_decision(
            self.home,
            snapshot,
            a_challenger().model_copy(update={"dataset_hash": snapshot.dataset_hash}),
            self._challenger_report(),
            self._champion_report(),
            config=self.config,
            options=RunOptions(dry_run=self.dry_run, forced=self.forced, bootstrap=self.bootstrap),
            code_version="0123456",
        )

    def _prepare(self) -> None:
        """Bundles, where the home does not have them yet."""
        bundles = [
            self.home.challengers / NEW,
            *(self.home.models / name for name in ([MID] if self.state == "ok" else []) + [*self.anchors]),
        ]
        for folder in bundles:
            if not folder.exists():
                write_tiny_bundle(folder)

    @property
    def _dataset_hash(self) -> str:
        return (self.snapshot or a_snapshot(self.home)).dataset_hash

    def _challenger_report(self) -> ChallengerReport:
        scored = self.failure is None
        folder = self.home.challengers / NEW
        report = a_report(predictions=self._save(folder, self.challenger), **self.figures) if scored else None
        rule, lookup = BaselineScore(windows=100, model=0.8, baseline=0.3), BaselineScore(windows=400, model=0.8, baseline=0.4)
        return ChallengerReport(
            model_id=NEW,
            dataset_hash=self._dataset_hash,
            failure=self.failure,
            files={"model.txt": "1" * 64},
            report=report,
            recent_predictions=None,
            rule_baseline=rule,
            lookup_baseline=lookup,
            reproduction=self.reproduction,
            probe_digest=None,
            gates=check_candidate_gates(
                report,
                failure=self.failure,
                rule=rule,
                lookup=lookup,
                reproduction=self.reproduction,
                settings=self.config.evaluation,
            ),
            config_hash=json_hash(self.config.policy),
        )

    def _champion_report(self) -> ChampionReport:
        report = a_report(model_id=MID, predictions=self._save(self.home.models / MID, self.champion)) if self.state == "ok" else None
        return ChampionReport(
            dataset_hash=self._dataset_hash,
            registry=read_registry_state(self.home).reference,
            state=self.state,
            source="none" if self.state == "none" else "pointer",
            model_id=MID if self.state == "ok" else None,
            model_dir=None if self.state == "none" else f"models/{MID}",
            reason=self.reason,
            warnings=self.warnings,
            excluded=[],
            files={"model.txt": "2" * 64} if self.state == "ok" else {},
            report=report,
            recent_predictions=None,
            windows_without_features=0,
            windows_trained_on=0,
            trained_on_evidence="none",
            train_date_from=None,
            train_date_to=None,
            anchors=[self._anchor(name, said) for name, said in self.anchors.items()],
            blocked=dict(self.blocked),
        )

    def _anchor(self, name: str, said: Predictions | None) -> AnchorReport:
        stored, problem = (None, "invalid: missing model.txt") if said is None else (self._save(self.home.models / name, said), None)
        return AnchorReport(model_id=name, ran_at=AS_OF - DAY, path=f"models/{name}", predictions=stored, problem=problem)

    def _save(self, bundle: Path, predictions: Predictions) -> StoredFile:
        known = np.ones(len(predictions.key), dtype=bool)
        scored = add_training_distance(ROWS, predictions, parse_bundle(bundle), knows=known)
        return save_scored_windows(self.home.root, self.home.predictions / f"{bundle.name}.parquet", scored, sliced(ROWS))


def wrong_in(share: float, *, after: float = 0.0, among: pd.Series | None = None) -> Predictions:
    """A model that has this share of the windows of each label wrong."""
    return named(ROWS, wrong=some(ROWS, share, after=after, among=among))


def a_snapshot(home: Home, **changes: object) -> DatasetSnapshot:
    facts = {
        "dataset_hash": "0a963156a3de73d5",
        "dataset_digest": "0a963156a3de73d5" * 4,
        "path": "artifacts/snapshots/0a963156a3de73d5",
        "parts": (),
        "schema_version": "v1",
        "schema_hash": "4077fe0dba70",
        "label_schema_version": "v1",
        "label_watermark": "0" * 16,
        "labeled_windows_digest": "0" * 64,
        "home": str(home.root),
        "demo": False,
        "as_of": AS_OF,
        "time_range": None,
        "users": {"alice": 400},
        "holdout_users": [],
        "has_synthetic_spans": False,
        "rows": {"train": 1, "validation": 1, "test": 400},
        "class_distribution": {},
        "exclusions": {},
        "cuts": [],
        "blockers": [],
        "feasibility": feasible(),
        "skip_reason": None,
        "config": retrain_config(),
        "gold_windows": 400,
        "recent": None,
    }
    return DatasetSnapshot.model_validate({**facts, **changes})


def a_challenger() -> ChallengerModel:
    reject = {"value": 0.5, "tuned": True, "reject_rate": 0.1, "macro_f1": 0.9, "detail": "0.5"}
    reject |= {"basis": "folds", "windows": 100, "user_days": 5, "interval": (0.05, 0.15)}
    facts = {"model_id": NEW, "path": f"artifacts/challengers/{NEW}", "dataset_hash": "0a963156a3de73d5", "schema_version": "v1"}
    hashes = {"artifact_hash": "1" * 64, "tree_hash": "1" * 64, "probe_digest": "1" * 64, "files": {}}
    figures = {"macro_f1": 0.9, "weighted_f1": 0.9, "training_windows": 1, "params": {}, "feature_importance": {}, "timings": {}}
    choice = {"constant_inputs": [], "num_leaves": 7, "uses_older": False, "seeds": 1}
    settings = {"choice": choice, "given": {}, "searched_at": None, "reason": "The settings as given.", "search": None}
    return ChallengerModel.model_validate({**facts, **hashes, **figures, "reject": reject, "settings": settings})


def status_of(decision: PromotionDecision, name: str) -> Status:
    return next(gate.status for gate in decision.gates if gate.name == name)


QUICK = {"num_boost_round": 20, "num_leaves": 31, "feature_fraction": 1.0}
"""Large trees, of which few are enough to pass every gate on a learnable home."""

LEARNED = retrain_config(train_params=QUICK, auto_promote=True)

LATER = AS_OF + 4 * DAY

Waiting = tuple[Home, PromotionDecision]
"""A home without a champion, and the decision about its first challenger, which awaits approval."""

Learned = tuple[Home, PromotionDecision, PromotionDecision]
"""A home, the decision that promoted its model, and that about a challenger on later labels."""


def judge_challenger(
    home: Home, snapshot: DatasetSnapshot, challenger: ChallengerModel, config: RetrainConfig = LEARNED
) -> tuple[ChallengerReport, ChampionReport]:
    """Evaluates a trained challenger and the champion."""
    report = report_challenger(home, snapshot, challenger, config=config, num_threads=1)
    return report, report_champion(home, snapshot, config=config, num_threads=1)


def decide_about(
    home: Home,
    snapshot: DatasetSnapshot,
    challenger: ChallengerModel,
    reports: tuple[ChallengerReport, ChampionReport],
    config: RetrainConfig = LEARNED,
) -> PromotionDecision:
    options = RunOptions(dry_run=False, forced=False, bootstrap=False)
    return make_decision(home, snapshot, challenger, *reports, config=config, options=options, code_version="0123456")


def run_retrain(home: Home, snapshot: DatasetSnapshot, config: RetrainConfig = LEARNED) -> PromotionDecision:
    """All steps of a retrain from a snapshot to the decision."""
    challenger = train_challenger(home, snapshot, config)
    return decide_about(home, snapshot, challenger, judge_challenger(home, snapshot, challenger, config), config)
