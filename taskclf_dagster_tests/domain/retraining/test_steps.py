"""The steps that join several modules: nothing new, the decision from two reports; and that every setting changes an outcome."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from taskclf_dagster.config.loading import DEFAULT_CONFIG_PATH
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.hashing import frame_digest
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, save_snapshot
from taskclf_dagster.domain.decision.candidate_gates import check_candidate_gates
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions, read_decision
from taskclf_dagster.domain.decision.gate import Status
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, read_last_decided
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.evaluation.baselines import BaselineScore
from taskclf_dagster.domain.evaluation.comparison import derive_seed
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.scored_windows import add_training_distance, save_scored_windows
from taskclf_dagster.domain.models.bundle import parse_bundle
from taskclf_dagster.domain.models.challenger import ChallengerModel, build_challenger
from taskclf_dagster.domain.models.reproducibility import Reproduction
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.registry.retention import plan_prune
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.decision_step import make_decision
from taskclf_dagster.domain.retraining.reports import (
    AnchorReport,
    ChallengerReport,
    ChampionReport,
    refer_to_registry,
    report_challenger,
    report_champion,
)
from taskclf_dagster.domain.retraining.steps import find_skip_reason, remember_decision, remember_labels, remember_skip
from taskclf_dagster.domain.scheduling.drift_trigger import find_drift_trigger
from taskclf_dagster.domain.scheduling.label_arrival import check_label_arrival, check_label_store
from taskclf_dagster.domain.scheduling.triggers import assess_trigger
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.records import canonical_json, json_hash
from taskclf_dagster.errors import RecordsDoNotMatchError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    a_report,
    a_reproduction,
    contents,
    duel_rows,
    feasible,
    home_with_champion,
    infeasible,
    named,
    some,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import NEXT, promoted
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    LEARNABLE_DAY_WINDOWS,
    MINUTE,
    add_learnable_days,
    at,
    day_file,
    learnable_home,
    make_home,
    retrain_config,
    span,
    weak,
    windows_frame,
    write_labels,
    write_windows,
)

NOON = AS_OF + timedelta(hours=12)
MONDAY_END = at("00:00", day=1)
FAST = {"num_boost_round": 3, "num_leaves": 4}
CONFIG = retrain_config(train_params=FAST, min_class_windows=10)
GOLD = 2 * 6 * LEARNABLE_DAY_WINDOWS - 20
"""Labelled windows of the home that the settings are tried on."""


def _snapshot(
    home: Home, config: RetrainConfig = CONFIG, *, as_of: datetime = AS_OF, holdout: float = 0.0
) -> tuple[DatasetSnapshot, LabeledWindows]:
    labeled, frame, fingerprints, _ = label_windows(home, as_of=as_of, settings=config.dataset)
    remember_labels(home, fingerprints)
    assert frame is not None
    snapshot, rows = build_snapshot(home, labeled, frame, config=config, holdout_fraction=holdout)
    save_snapshot(home, snapshot, rows)
    return snapshot, labeled


def _challenger(home: Home, snapshot: DatasetSnapshot, config: RetrainConfig = CONFIG) -> ChallengerModel:
    return build_challenger(
        home,
        snapshot,
        config=config,
        cores=2,
        code_version="0123456",
        library_versions={},
        stopwatch=lambda: 0.0,
        on_progress=lambda _: None,
    )


# --- Nothing new ------------------------------------------------------------------------------------------------------------------


def _skip_reason(home: Home, *, as_of: datetime = AS_OF, config: RetrainConfig = CONFIG) -> str | None:
    labeled, frame, *_ = label_windows(home, as_of=as_of, settings=config.dataset)
    assert frame is not None
    return find_skip_reason(home, build_snapshot(home, labeled, frame, config=config)[1])


@pytest.fixture(scope="module")
def _decided_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, DatasetSnapshot]:
    home = learnable_home(tmp_path_factory.mktemp("pipeline"), users=1, days=4)
    snapshot, _ = _snapshot(home)
    decision = _Decide(home, snapshot=snapshot).make()
    remember_decision(home, decision, run_id="run-1", at=NOON)
    return home, snapshot


@pytest.fixture
def decided(_decided_home: tuple[Home, DatasetSnapshot], tmp_path: Path) -> Home:
    """One user, four days, all of them decided on at noon."""
    shutil.copytree(_decided_home[0].root, tmp_path / "home")
    return Home(tmp_path / "home")


def test_before_the_first_decision_everything_is_new(tmp_path: Path) -> None:
    assert _skip_reason(learnable_home(tmp_path, users=1, days=2)) is None


def test_what_the_last_decided_run_has_seen_is_not_new_and_the_words_say_what_to_do(decided: Home) -> None:
    reason = _skip_reason(decided, as_of=AS_OF + timedelta(hours=20))
    assert reason == (
        f"no new labels: the run of 2026-02-04 12:00 UTC (PROMOTE) already saw all {4 * LEARNABLE_DAY_WINDOWS} labelled windows. "
        "Label more minutes, or launch with force to train again all the same."
    )


def test_windows_that_only_left_the_look_back_are_not_new(decided: Home) -> None:
    assert _skip_reason(decided, config=retrain_config(data_lookback_days=3)) is not None


def test_one_new_labelled_window_is_new(decided: Home) -> None:
    begin = AS_OF + timedelta(hours=9)
    write_windows(decided, windows_frame(user="user-0", start=begin, n=10))
    write_labels(decided, [*pq.read_table(decided.labels).to_pylist(), span(begin, begin + MINUTE, "Build", user="user-0")])
    assert _skip_reason(decided, as_of=AS_OF + DAY) is None


def test_one_window_with_another_label_is_new(decided: Home) -> None:
    spans = pq.read_table(decided.labels).to_pylist()
    spans[0]["label"] = "Write" if spans[0]["label"] != "Write" else "Build"
    write_labels(decided, spans)
    assert _skip_reason(decided) is None


def test_fewer_labels_than_before_are_nothing_new_to_learn(decided: Home) -> None:
    write_labels(decided, pq.read_table(decided.labels).to_pylist()[:-1])
    assert _skip_reason(decided) is not None


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"torn")], ids=["gone", "torn"])
def test_a_last_snapshot_that_cannot_be_read_holds_nothing(decided: Home, damage: Callable[[Path], object]) -> None:
    (windows,) = decided.snapshots.glob("*/windows.parquet")
    damage(windows)
    assert _skip_reason(decided) is None


# --- What is remembered -------------------------------------------------------------------------------------------------------------


def test_a_decision_is_remembered_with_what_it_saw_and_when(decided: Home) -> None:
    last = read_last_decided(decided)
    assert last is not None
    assert (last.outcome, last.decided_at, last.as_of, last.run_id) == ("PROMOTE", NOON, AS_OF, "run-1")
    assert (decided.root / last.snapshot_path / "windows.parquet").is_file()
    assert (decided.decisions / f"labels_{last.label_watermark}.npy").is_file()


def test_a_skip_counts_for_cadence_and_keeps_the_snapshot_last_decided_on(decided: Home) -> None:
    before = read_last_decided(decided)
    snapshot, _ = _snapshot(decided, retrain_config(data_lookback_days=3))
    remember_skip(decided, snapshot, run_id="run-2", at=NOON + DAY)
    after = read_last_decided(decided)
    assert before is not None
    assert after is not None
    assert (after.outcome, after.decided_at, after.run_id, after.decision_id) == ("SKIP", NOON + DAY, "run-2", None)
    assert after.snapshot_path == before.snapshot_path != snapshot.path


def test_a_skip_without_a_last_decision_remembers_nothing(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    remember_skip(home, _snapshot(home)[0], run_id="r", at=NOON)
    assert read_last_decided(home) is None


def test_a_dry_run_is_not_remembered(decided: Home) -> None:
    before = (decided.decisions / LAST_DECIDED).read_bytes()
    remember_decision(decided, _Decide(decided, dry_run=True).make(), run_id="run-2", at=NOON + DAY)
    assert (decided.decisions / LAST_DECIDED).read_bytes() == before


def _add_spans(home: Home, n: int) -> None:
    late = AS_OF + timedelta(hours=9)
    added = [span(late + 2 * i * MINUTE, late + (2 * i + 1) * MINUTE, "Build", user="user-0") for i in range(n)]
    write_labels(home, [*pq.read_table(home.labels).to_pylist(), *added])


def _changed(home: Home) -> int:
    return assess_trigger(home, config=CONFIG, now=NOON).changed_spans


def test_labels_that_changed_while_the_run_was_deciding_stay_new_and_are_counted_exactly(decided: Home) -> None:
    decision = _Decide(decided, snapshot=_snapshot(decided)[0]).make()
    _add_spans(decided, 5)
    remember_decision(decided, decision, run_id="run-2", at=NOON)
    assert _changed(decided) == 5


def test_labels_that_changed_while_the_windows_were_read_are_counted_exactly(decided: Home) -> None:
    labeled, frame, fingerprints, _ = label_windows(decided, as_of=AS_OF, settings=CONFIG.dataset)
    _add_spans(decided, 3)
    remember_labels(decided, fingerprints)
    assert frame is not None
    snapshot = build_snapshot(decided, labeled, frame, config=CONFIG)[0]
    remember_decision(decided, _Decide(decided, snapshot=snapshot).make(), run_id="run-2", at=NOON)
    assert _changed(decided) == 3


def test_what_an_undecided_run_read_replaces_nothing_and_a_decision_forgets_all_but_its_own(decided: Home) -> None:
    (before,) = decided.decisions.glob("labels_*.npy")
    _add_spans(decided, 5)
    snapshot = _snapshot(decided)[0]
    assert len(list(decided.decisions.glob("labels_*.npy"))) == 2
    assert _changed(decided) == 5
    remember_decision(decided, _Decide(decided, snapshot=snapshot).make(), run_id="run-2", at=NOON)
    assert [path.name for path in decided.decisions.glob("labels_*.npy")] == [f"labels_{snapshot.label_watermark}.npy"]
    assert not before.exists()
    assert _changed(decided) == 0


def test_a_skip_forgets_what_other_runs_read_and_keeps_when_a_challenger_was_trained_last(decided: Home) -> None:
    _add_spans(decided, 5)
    snapshot = _snapshot(decided)[0]
    remember_skip(decided, snapshot, run_id="run-2", at=NOON + DAY)
    assert [path.name for path in decided.decisions.glob("labels_*.npy")] == [f"labels_{snapshot.label_watermark}.npy"]
    last = read_last_decided(decided)
    assert last is not None
    assert (last.trained_at, last.decided_at) == (NOON, NOON + DAY)


def test_a_dry_run_leaves_the_labels_it_read_as_new_as_they_were(decided: Home) -> None:
    _add_spans(decided, 5)
    decision = _Decide(decided, snapshot=_snapshot(decided)[0], dry_run=True).make()
    remember_decision(decided, decision, run_id="run-2", at=NOON)
    assert _changed(decided) == 5


# --- The decision -----------------------------------------------------------------------------------------------------------------


ROWS = duel_rows()
RIGHT = named(ROWS)


@dataclass
class _Decide:
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
        snapshot = self.snapshot or _a_snapshot(self.home)
        self._prepare(snapshot)
        return make_decision(
            self.home,
            snapshot,
            _a_challenger().model_copy(update={"dataset_hash": snapshot.dataset_hash}),
            self._challenger_report(),
            self._champion_report(),
            config=self.config,
            options=RunOptions(dry_run=self.dry_run, forced=self.forced, bootstrap=self.bootstrap),
            code_version="0123456",
        )

    def _prepare(self, snapshot: DatasetSnapshot) -> None:
        """Bundles and test windows, where the home does not have them yet."""
        bundles = [
            self.home.challengers / NEW,
            *(self.home.models / name for name in ([MID] if self.state == "ok" else []) + [*self.anchors]),
        ]
        for folder in bundles:
            if not folder.exists():
                write_tiny_bundle(folder)
        windows = self.home.root / snapshot.path / "windows.parquet"
        if not windows.exists():
            windows.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pandas(ROWS.assign(split=pd.Categorical(["test"] * len(ROWS)))), windows)

    @property
    def _dataset_hash(self) -> str:
        return (self.snapshot or _a_snapshot(self.home)).dataset_hash

    def _challenger_report(self) -> ChallengerReport:
        scored = self.failure is None
        folder = self.home.challengers / NEW
        report = a_report(predictions_path=self._save(folder, self.challenger), **self.figures) if scored else None
        rule, lookup = BaselineScore(windows=100, model=0.8, baseline=0.3), BaselineScore(windows=400, model=0.8, baseline=0.4)
        return ChallengerReport(
            model_id=NEW,
            dataset_hash=self._dataset_hash,
            failure=self.failure,
            files={"model.txt": "1" * 64},
            report=report,
            recent_predictions_path=None,
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
        report = a_report(model_id=MID, predictions_path=self._save(self.home.models / MID, self.champion)) if self.state == "ok" else None
        return ChampionReport(
            dataset_hash=self._dataset_hash,
            registry=refer_to_registry(read_registry_state(self.home)),
            state=self.state,
            source="none" if self.state == "none" else "pointer",
            model_id=MID if self.state == "ok" else None,
            model_dir=None if self.state == "none" else f"models/{MID}",
            reason=self.reason,
            warnings=self.warnings,
            excluded=[],
            files={"model.txt": "2" * 64} if self.state == "ok" else {},
            report=report,
            recent_predictions_path=None,
            windows_without_features=0,
            windows_trained_on=0,
            trained_on_evidence="none",
            train_date_from=None,
            train_date_to=None,
            anchors=[self._anchor(name, said) for name, said in self.anchors.items()],
            blocked=dict(self.blocked),
        )

    def _anchor(self, name: str, said: Predictions | None) -> AnchorReport:
        path, problem = (None, "invalid: missing model.txt") if said is None else (self._save(self.home.models / name, said), None)
        return AnchorReport(model_id=name, ran_at=AS_OF - DAY, path=f"models/{name}", predictions_path=path, problem=problem)

    def _save(self, bundle: Path, predictions: Predictions) -> str:
        path = self.home.predictions / f"{bundle.name}.parquet"
        save_scored_windows(path, add_training_distance(ROWS, predictions, parse_bundle(bundle)))
        return str(path.relative_to(self.home.root))


def _wrong(share: float, *, after: float = 0.0, among: pd.Series | None = None) -> Predictions:
    """A model that has this share of the windows of each label wrong."""
    return named(ROWS, wrong=some(ROWS, share, after=after, among=among))


def _part(said: Predictions, part: slice) -> Predictions:
    """What a model says that has features for a part of the windows only."""
    return Predictions(said.key[part], said.true[part], said.predicted[part])


def _a_snapshot(home: Home, **changes: object) -> DatasetSnapshot:
    facts = {
        "dataset_hash": "0a963156a3de73d5",
        "dataset_digest": "0a963156a3de73d5" * 4,
        "path": "artifacts/snapshots/0a963156a3de73d5",
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


def _a_challenger() -> ChallengerModel:
    reject = {"value": 0.5, "tuned": True, "reject_rate": 0.1, "macro_f1": 0.9, "detail": "0.5"}
    facts = {"model_id": NEW, "path": f"artifacts/challengers/{NEW}", "dataset_hash": "0a963156a3de73d5", "schema_version": "v1"}
    hashes = {"artifact_hash": "1" * 64, "tree_hash": "1" * 64, "probe_digest": "1" * 64}
    figures = {"macro_f1": 0.9, "weighted_f1": 0.9, "training_windows": 1, "params": {}, "feature_importance": {}, "timings": {}}
    return ChallengerModel.model_validate({**facts, **hashes, **figures, "reject": reject})


def _status(decision: PromotionDecision, name: str) -> Status:
    return next(gate.status for gate in decision.gates if gate.name == name)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_the_first_model_of_a_home_is_judged_by_the_absolute_gates_alone_and_the_record_says_so(home: Home) -> None:
    decision = _Decide(home).make()
    assert (decision.verdict, decision.champion.model, decision.champion.state) == ("PROMOTE", None, "none")
    gate = next(gate for gate in decision.gates if gate.name == "macro_f1_no_regression")
    assert (gate.status, gate.detail) == ("NOT_APPLICABLE", "there is no champion: the absolute gates alone decide")


def test_a_decision_is_kept_on_disk_as_it_was_returned_and_holds(home: Home) -> None:
    decision = _Decide(home).make()
    assert list_decisions(home) == ([decision], [])
    assert verify_decision(decision) == []
    assert decision.decision_id.startswith("2026-02-04_000000_")


def test_the_record_names_by_hash_what_was_judged_and_how(home: Home) -> None:
    home_with_champion(home)
    policy = write_policy(home, MID)
    decision = _Decide(home, state="ok", champion=_wrong(0.1)).make()
    assert decision.challenger.files == {"model.txt": "1" * 64}
    champion = decision.champion.model
    assert champion is not None
    assert champion.files == {"model.txt": "2" * 64}
    assert (len(decision.challenger.report_hash), len(champion.report_hash)) == (64, 64)
    assert decision.registry.pointer_hash is not None
    assert decision.registry.policy_hash is not None
    assert decision.registry.previous_policy == policy
    assert decision.settings == retrain_config(auto_promote=True)
    assert decision.required_gates == [gate.name for gate in decision.gates]
    assert (decision.receipt_version, decision.code_version) == (2, "0123456")
    assert (decision.dataset.dataset_hash, decision.dataset.label_watermark) == ("0a963156a3de73d5", "0" * 16)
    assert decision.dataset.split == {"train": 1, "validation": 1, "test": 400}
    assert (decision.champion.model_dir, decision.champion.reason) == (f"models/{MID}", "no model was ever promoted")


def test_the_seed_of_the_record_is_that_of_dataset_champion_challenger_and_policy(home: Home) -> None:
    decision = _Decide(home, state="ok").make()
    assert decision.comparison is not None
    files = [{"model.txt": "2" * 64}, {"model.txt": "1" * 64}]
    assert decision.comparison.seed == derive_seed("0a963156a3de73d5" * 4, files, retrain_config(auto_promote=True).policy)


def test_a_policy_that_cannot_be_read_does_not_stop_the_decision(home: Home) -> None:
    home_with_champion(home)
    home.inference_policy.write_text("{", encoding="utf-8")
    decision = _Decide(home, state="ok").make()
    assert decision.registry.previous_policy is None
    assert decision.registry.policy_hash is not None


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"\\ud800"'], ids=["NaN", "infinity", "half a character"])
def test_a_policy_with_a_value_that_json_cannot_keep_does_not_stop_the_decision(home: Home, value: str) -> None:
    home_with_champion(home)
    write_policy(home, MID)
    text = home.inference_policy.read_text(encoding="utf-8").replace('"reject_threshold": 0.6', f'"reject_threshold": {value}')
    home.inference_policy.write_text(text, encoding="utf-8")
    decision = _Decide(home, state="ok").make()
    again = read_decision(home, decision.decision_id)
    assert again is not None
    assert again.decision_hash == decision.decision_hash
    assert verify_decision(again) == []


def test_a_decision_follows_from_reports_and_predictions_and_opens_no_bundle(home: Home) -> None:
    made = _Decide(home, state="ok", anchors={OLD: RIGHT})
    made._prepare(_a_snapshot(home))
    reports = made._challenger_report(), made._champion_report()
    for folder in (home.challengers, home.models):
        shutil.rmtree(folder)
    options = RunOptions(dry_run=False, forced=False, bootstrap=False)
    decision = make_decision(
        home, _a_snapshot(home), _a_challenger(), *reports, config=made.config, options=options, code_version="0123456"
    )
    assert (decision.verdict, [anchor.difference for anchor in decision.anchors]) == ("PROMOTE", [0.0])


def test_making_a_decision_leaves_models_alone(home: Home) -> None:
    home_with_champion(home)
    before = contents(home.models)
    _Decide(home, state="ok").make()
    assert contents(home.models) == before


def test_the_number_of_the_history_record_that_had_set_the_pointer_is_in_the_record(home: Home) -> None:
    assert _Decide(home).make().registry.sequence == 0
    promoted(home, OLD, MID)
    assert _Decide(home, state="ok").make().registry.sequence == 2
    rollback(home, to=OLD, reason="worse", at=AT + 5 * DAY)
    assert _Decide(home, state="ok").make().registry.sequence == 3


def test_equal_models_pass_because_the_tolerance_is_not_an_improvement(home: Home) -> None:
    decision = _Decide(home, state="ok").make()
    assert decision.comparison is not None
    assert (decision.comparison.windows, decision.comparison.macro_f1_delta) == (400, 0.0)
    assert decision.verdict == "PROMOTE"
    assert verify_decision(decision) == []


def test_a_challenger_clearly_worse_than_the_champion_is_rejected(home: Home) -> None:
    decision = _Decide(home, state="ok", challenger=_wrong(0.1)).make()
    assert decision.verdict == "REJECT"
    assert "macro_f1_no_regression (-0.1000 < -0.02)" in decision.reason
    assert "negative_flips (10.00% became wrong, 0.00% became right" in decision.reason
    assert verify_decision(decision) == []


def test_both_models_are_compared_on_the_windows_they_share(home: Home) -> None:
    config = retrain_config(auto_promote=True, min_class_windows=1, min_windows=200)
    decision = _Decide(home, state="ok", champion=_part(RIGHT, slice(200)), config=config).make()
    assert decision.comparison is not None
    assert (decision.comparison.windows, decision.comparison.left_out) == (200, 200)
    assert decision.verdict == "PROMOTE"


def test_windows_that_the_champion_learned_from_leave_the_comparison_and_too_few_hold_with_what_to_label(home: Home) -> None:
    # The challenger learned before all of them and MID until 2026-01-08, so that of five days the last is left: 80 windows.
    write_tiny_bundle(home.challengers / NEW, metadata={"train_date_from": "2025-12-01", "train_date_to": "2025-12-31"})
    write_tiny_bundle(home.models / MID, metadata={"train_date_from": "2026-01-05", "train_date_to": "2026-01-08"})
    (home.models / MID / "training_rows.npy").unlink()
    decision = _Decide(home, state="ok").make()
    assert decision.comparison is not None
    assert decision.comparison.exclusion.only_newer
    assert (decision.comparison.windows, decision.comparison.exclusion.excluded) == (80, 320)
    assert decision.verdict == "HOLD"
    assert (
        "only 80 windows are left to compare on, and min_windows is 300: about 220 labelled test windows newer than 2026-01-09 00:00 UTC "
        "are needed, or give bootstrap"
    ) in decision.reason
    enough = _Decide(home, state="ok", config=retrain_config(auto_promote=True, min_windows=80, min_class_windows=10)).make()
    assert enough.verdict == "PROMOTE"


def test_no_window_in_common_holds_and_says_so(home: Home) -> None:
    decision = _Decide(home, state="ok", champion=_part(RIGHT, slice(0))).make()
    assert decision.verdict == "HOLD"
    assert "only 0 windows are left to compare on" in decision.reason
    assert decision.comparison is not None
    assert decision.comparison.left_out == 400


def test_too_few_windows_of_every_label_hold_and_say_so(home: Home) -> None:
    decision = _Decide(home, state="ok", config=retrain_config(auto_promote=True, min_class_windows=51)).make()
    assert decision.verdict == "HOLD"
    assert "no label has enough of the 400 windows that both models scored (0 left out)" in decision.reason


@pytest.mark.parametrize("state", ["unreadable", "incompatible"])
def test_a_champion_that_cannot_be_compared_with_holds_and_names_the_way_out(home: Home, state: str) -> None:
    decision = _Decide(home, state=state, reason="invalid: missing model.txt").make()
    assert decision.verdict == "HOLD"
    assert f"the champion is {state} (invalid: missing model.txt)" in decision.reason
    assert "restore it and launch with force, or give bootstrap" in decision.reason
    assert _status(decision, "macro_f1_no_regression") == "INCONCLUSIVE"
    assert verify_decision(decision) == []


@pytest.mark.parametrize("state", ["unreadable", "incompatible"])
def test_bootstrap_lets_the_absolute_gates_decide_and_the_record_says_so(home: Home, state: str) -> None:
    decision = _Decide(home, state=state, reason="invalid: missing model.txt", bootstrap=True).make()
    assert (decision.verdict, decision.options.bootstrap) == ("PROMOTE", True)
    gate = next(gate for gate in decision.gates if gate.name == "macro_f1_no_regression")
    assert (gate.status, gate.overridden) == ("NOT_APPLICABLE", True)
    assert "invalid: missing model.txt" in gate.detail
    assert any(line.startswith("OVERRIDDEN by bootstrap") for line in decision.protections)


def test_bootstrap_overrides_windows_that_are_not_in_common(home: Home) -> None:
    decision = _Decide(home, state="ok", champion=_part(RIGHT, slice(0)), bootstrap=True).make()
    assert decision.verdict == "PROMOTE"


def test_bootstrap_does_not_excuse_from_beating_a_champion_that_can_be_compared_with(home: Home) -> None:
    decision = _Decide(home, state="ok", challenger=_wrong(0.1), bootstrap=True).make()
    assert decision.verdict == "REJECT"


def test_bootstrap_does_not_excuse_from_an_absolute_gate(home: Home) -> None:
    assert _Decide(home, state="unreadable", figures={"macro_f1": 0.6}, bootstrap=True).make().verdict == "REJECT"


def test_what_guarded_a_decision_is_in_the_record_and_what_was_switched_off_too(home: Home) -> None:
    guarded = _Decide(home, state="ok", anchors={OLD: RIGHT}).make().protections
    assert guarded[0] == "evidence policy point, significance 0.05"
    assert {"1 anchors", "trained again and compared", "promotes by itself"} <= set(guarded)
    loose = retrain_config(require_baseline_improvement=False, evidence_policy="hold", significance=0.1)
    bare = _Decide(home, state="none", config=loose, reproduction=None, dry_run=True).make().protections
    assert bare[0] == "evidence policy hold, significance 0.1"
    assert {"0 anchors", "not trained again", "a person has to approve", "dry run: nothing follows"} <= set(bare)
    assert "OFF: baselines need not be beaten" in bare


# --- Anchors and rollbacks ----------------------------------------------------------------------------------------------------------


def test_a_challenger_as_good_as_the_champion_but_far_below_an_anchor_is_rejected(home: Home) -> None:
    declined = {"challenger": _wrong(0.1), "champion": _wrong(0.1), "state": "ok"}
    decision = _Decide(home, **declined, anchors={MID: _wrong(0.1), OLD: RIGHT}).make()  # type: ignore[arg-type]
    assert decision.verdict == "REJECT"
    assert decision.reason == f"Failed: not_worse_than_anchor (beside {OLD}: -0.1000 < -0.04)."
    assert {anchor.model_id: anchor.difference for anchor in decision.anchors} == {MID: 0.0, OLD: pytest.approx(-0.1)}
    assert verify_decision(decision) == []
    allowed = retrain_config(auto_promote=True, anchor_tolerance=0.1)
    assert _Decide(home, **declined, anchors={OLD: RIGHT}, config=allowed).make().verdict == "PROMOTE"  # type: ignore[arg-type]


def test_an_anchor_is_compared_on_windows_that_it_did_not_learn_from(home: Home) -> None:
    # OLD learned on the first of five days, and only there it is better.
    first = (ROWS["bucket_start_ts"] < MONDAY_END).to_numpy()
    write_tiny_bundle(home.models / OLD, metadata={"train_date_from": "2026-01-05", "train_date_to": "2026-01-05"})
    (home.models / OLD / "training_rows.npy").unlink()
    lately = named(ROWS, wrong=first)
    decision = _Decide(home, state="ok", challenger=lately, champion=lately, anchors={OLD: RIGHT}).make()
    (anchor,) = decision.anchors
    assert (anchor.windows, anchor.difference) == (320, 0.0)
    assert decision.verdict == "PROMOTE"


def test_an_anchor_that_could_not_be_scored_stops_nobody_but_is_in_the_record(home: Home) -> None:
    decision = _Decide(home, state="ok", anchors={OLD: None}).make()
    assert decision.verdict == "PROMOTE"
    (anchor,) = decision.anchors
    assert (anchor.model_id, anchor.windows, anchor.difference) == (OLD, 0, None)
    assert "missing model.txt" in anchor.detail


@pytest.mark.parametrize("state", ["none", "unreadable"])
def test_anchors_count_where_the_champion_cannot_be_compared_with(home: Home, state: str) -> None:
    decision = _Decide(home, state=state, challenger=_wrong(0.1), anchors={OLD: RIGHT}, bootstrap=True).make()
    assert decision.verdict == "REJECT"
    assert decision.reason.startswith("Failed: not_worse_than_anchor")


@pytest.mark.parametrize(("trees", "verdict"), [("1" * 64, "REJECT"), ("2" * 64, "PROMOTE"), (None, "PROMOTE")])
def test_trees_that_a_rollback_left_are_rejected_under_whatever_name(home: Home, trees: str | None, verdict: str) -> None:
    decision = _Decide(home, state="ok", blocked={MID: None, OLD: trees}).make()
    assert decision.verdict == verdict
    assert decision.rolled_back_as == (OLD if verdict == "REJECT" else None)
    assert verify_decision(decision) == []


def test_a_challenger_that_does_not_come_out_the_same_again_is_rejected(home: Home) -> None:
    decision = _Decide(home, reproduction=a_reproduction(same=False)).make()
    assert (decision.verdict, decision.reason) == ("REJECT", "Failed: reproducible (trained again: trees differ).")


# --- What is judged together --------------------------------------------------------------------------------------------------------


def test_candidate_gates_that_were_judged_by_another_policy_are_refused(home: Home) -> None:
    made = _Decide(home)
    made._challenger_report = _Decide(home, config=retrain_config(gates={"min_macro_f1": 0.6}))._challenger_report  # type: ignore[method-assign]
    with pytest.raises(RecordsDoNotMatchError, match="judged the candidate gates by another configuration"):
        made.make()
    assert list_decisions(home) == ([], [])


def test_candidate_gates_are_those_that_the_report_judged_and_other_operational_settings_do_not_matter(home: Home) -> None:
    made = _Decide(home, figures={"macro_f1": 0.6})
    made._prepare(_a_snapshot(home))
    report = made._challenger_report()
    made.config = made.config.with_changes(enabled=False)
    made._challenger_report = lambda: report  # type: ignore[method-assign]
    decision = made.make()
    assert decision.verdict == "REJECT"
    assert decision.gates[: len(report.gates.gates)] == report.gates.gates


@pytest.mark.parametrize("record", ["_a_challenger", "_challenger_report", "_champion_report"])
def test_records_of_another_dataset_are_never_judged_together(home: Home, record: str) -> None:
    made = _Decide(home)
    made._prepare(_a_snapshot(home))
    parts = {"_a_challenger": _a_challenger(), "_challenger_report": made._challenger_report(), "_champion_report": made._champion_report()}
    parts[record] = parts[record].model_copy(update={"dataset_hash": "f" * 16})
    with pytest.raises(RecordsDoNotMatchError, match=f"is about dataset {'f' * 16}, the snapshot is"):
        make_decision(
            home,
            _a_snapshot(home),
            *parts.values(),  # type: ignore[arg-type]
            config=made.config,
            options=RunOptions(dry_run=False, forced=False, bootstrap=False),
            code_version="0123456",
        )


def test_a_decision_is_about_the_pointer_that_stood_when_the_champion_was_looked_up(home: Home) -> None:
    made = _Decide(home)
    report = made._champion_report()
    report = report.model_copy(update={"registry": report.registry.model_copy(update={"pointer_hash": "a" * 64})})
    made._champion_report = lambda: report  # type: ignore[method-assign]
    assert made.make().registry.pointer_hash == "a" * 64


@pytest.mark.parametrize("state", ["none", "ok"])
def test_a_challenger_that_could_not_be_scored_is_never_promoted(home: Home, state: str) -> None:
    decision = _Decide(home, state=state, failure="the folder is gone").make()
    assert decision.verdict == "REJECT"
    assert decision.reason == "Failed: loads_and_predicts (the folder is gone)."
    assert (decision.comparison, decision.challenger.macro_f1) == (None, None)


def test_data_on_which_no_model_could_be_promoted_holds_whatever_the_gates_say(home: Home) -> None:
    decision = _Decide(home, snapshot=_a_snapshot(home, feasibility=infeasible())).make()
    assert (decision.verdict, decision.reason) == ("HOLD", infeasible().summary)


def test_warnings_on_how_the_champion_was_found_are_in_the_record(home: Home) -> None:
    decision = _Decide(home, state="ok", warnings=["policy and pointer differ"]).make()
    assert decision.champion.warnings == ["policy and pointer differ"]
    assert (decision.champion.source, decision.champion.state) == ("pointer", "ok")


def test_what_was_asked_for_is_in_the_record(home: Home) -> None:
    decision = _Decide(home, dry_run=True, forced=True).make()
    assert decision.options == RunOptions(dry_run=True, forced=True, bootstrap=False)
    assert decision.outcome == "PROMOTE (dry run)"


# --- Real runs ----------------------------------------------------------------------------------------------------------------------

LEARNED = retrain_config(train_params={"num_boost_round": 20}, auto_promote=True)
LATER = AS_OF + 4 * DAY


def _run(home: Home, snapshot: DatasetSnapshot) -> PromotionDecision:
    """All steps of a retrain from a snapshot to the decision."""
    challenger = _challenger(home, snapshot, LEARNED)
    reports = (
        report_challenger(home, snapshot, challenger, config=LEARNED, num_threads=1),
        report_champion(home, snapshot, config=LEARNED, num_threads=1),
    )
    options = RunOptions(dry_run=False, forced=False, bootstrap=False)
    return make_decision(home, snapshot, challenger, *reports, config=LEARNED, options=options, code_version="0123456")


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, PromotionDecision, PromotionDecision]:
    """Two users and ten days, on which a model was promoted, then four days more and a challenger; not to be written into."""
    home = learnable_home(tmp_path_factory.mktemp("real"), days=10)
    first = _run(home, _snapshot(home, LEARNED)[0])
    promote(home, first, at=AS_OF)
    add_learnable_days(home, days=4)
    return home, first, _run(home, _snapshot(home, LEARNED, as_of=LATER)[0])


Learned = tuple[Home, PromotionDecision, PromotionDecision]


def test_a_real_first_run_is_promoted_and_a_second_one_is_compared_with_it(learned: Learned) -> None:
    home, first, second = learned
    assert (first.verdict, first.comparison, first.champion.model) == ("PROMOTE", None, None)
    assert second.champion.model is not None
    assert second.champion.model.model_id == first.challenger.model_id
    assert second.comparison is not None
    assert second.comparison.windows == second.dataset.split["test"] - second.comparison.exclusion.excluded > 300
    assert second.comparison.exclusion.leakage[1].basis == "row_hashes"
    assert [anchor.model_id for anchor in second.anchors] == [first.challenger.model_id]
    assert second.anchors[0].difference == pytest.approx(second.comparison.macro_f1_delta)
    assert second.registry.sequence == 1
    assert second.prediction_diff is not None
    statuses = {gate.name: gate.status for gate in second.gates}
    assert statuses["reproducible"] == "PASS"
    assert set(statuses.values()) <= {"PASS", "FAIL", "NOT_APPLICABLE"}
    assert home.active_pointer.exists()


def test_the_receipts_of_real_runs_verify_and_are_read_back_byte_for_byte(learned: Learned) -> None:
    home, *decisions = learned
    for decision in decisions:
        assert verify_decision(decision) == []
        again = read_decision(home, decision.decision_id)
        assert again is not None
        assert canonical_json(again.model_dump(mode="json")) == canonical_json(decision.model_dump(mode="json"))
        assert verify_decision(again) == []


def test_the_same_run_again_gives_the_same_verdict_comparison_and_gates(learned: Learned, tmp_path: Path) -> None:
    shutil.copytree(learned[0].root, tmp_path / "home")
    home, second = Home(tmp_path / "home"), learned[2]
    again = _run(home, _snapshot(home, LEARNED, as_of=LATER)[0])
    assert again.challenger.model_id != second.challenger.model_id  # the name was taken
    assert again.challenger.files["model.txt"] == second.challenger.files["model.txt"]
    assert again.comparison is not None
    assert again.comparison.model_copy(update={"challenger_id": second.challenger.model_id, "exclusion": None}) == (
        second.comparison and second.comparison.model_copy(update={"exclusion": None})
    )
    assert (again.verdict, again.gates) == (second.verdict, second.gates)


def test_a_challenger_that_learned_from_shuffled_labels_is_rejected(learned: Learned, tmp_path: Path) -> None:
    shutil.copytree(learned[0].root, tmp_path / "home")
    home = Home(tmp_path / "home")
    labeled, frame, *_ = label_windows(home, as_of=LATER, settings=LEARNED.dataset)
    assert frame is not None
    snapshot, rows = build_snapshot(home, labeled, frame, config=LEARNED)
    train = (rows["split"] == "train").to_numpy()
    shuffled = rows["label"].to_numpy().copy()
    shuffled[train] = np.random.default_rng(1).permutation(shuffled[train])
    rows = rows.assign(label=pd.Categorical(shuffled, categories=rows["label"].cat.categories))
    digest = frame_digest(rows)
    names = {"dataset_digest": digest, "dataset_hash": digest[:16], "path": f"artifacts/snapshots/{digest[:16]}"}
    snapshot = snapshot.model_copy(update=names)
    save_snapshot(home, snapshot, rows)
    decision = _run(home, snapshot)
    assert decision.dataset.feasibility.promotable
    assert decision.verdict == "REJECT"
    failed = {gate.name for gate in decision.gates if gate.status == "FAIL"}
    assert {"macro_f1", "weighted_f1", "macro_f1_no_regression", "not_worse_than_anchor", "negative_flips"} <= failed
    assert verify_decision(decision) == []


# --- Every setting changes an outcome -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """What the settings are tried on; never written to but below `artifacts/`."""

    home: Home
    snapshot: DatasetSnapshot
    challenger: ChallengerModel
    held_out: tuple[DatasetSnapshot, ChallengerModel]
    aging: Home
    torn: Home
    bench: Home
    leaky: Home
    registry: Home


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("settings")
    home = learnable_home(folder / "learnable", days=6)
    _unsettle(home)
    config = retrain_config(train_params={"num_boost_round": 15})
    snapshot, _ = _snapshot(home, config)
    held_out, _ = _snapshot(home, config, holdout=0.5)
    return World(
        home=home,
        snapshot=snapshot,
        challenger=_challenger(home, snapshot, config),
        held_out=(held_out, _challenger(home, held_out, config)),
        aging=_aging_home(folder / "aging"),
        torn=_torn_home(folder / "torn"),
        bench=make_home(folder / "bench"),
        leaky=_leaky_home(folder / "leaky"),
        registry=_old_registry(folder / "registry"),
    )


def _unsettle(home: Home) -> None:
    """Takes two spans away, so that the labels are not equally common, and confuses one break of the last day with a meeting."""
    spans = pq.read_table(home.labels).to_pylist()
    builds = [row for row in spans if row["label"] == "Build"][:2]
    spans = [row for row in spans if row not in builds]
    rest, meeting = (
        max((row for row in spans if row["label"] == label), key=lambda row: row["start_ts"]) for label in ("BreakIdle", "Meet")
    )
    rest["label"], meeting["label"] = "Meet", "BreakIdle"
    write_labels(home, spans)


def _aging_home(folder: Path) -> Home:
    """A v1 day ten days before AS_OF and one just before it, with half an hour of manual and then of weak labels; and an older v3 day."""
    home = make_home(folder)
    spans = []
    for days in (10, 1):
        begin = AS_OF - days * DAY + timedelta(hours=9)
        write_windows(home, windows_frame(start=begin, n=60))
        spans += [span(begin, begin + 30 * MINUTE, "Build"), weak(begin + 30 * MINUTE, begin + 60 * MINUTE, "Write")]
    write_windows(home, windows_frame(start=AS_OF - 20 * DAY, n=60, version="v3"), version="v3")
    write_labels(home, spans)
    return home


def _torn_home(folder: Path) -> Home:
    home = learnable_home(folder, users=1, days=2)
    day_file(home, (AS_OF - 2 * DAY).date()).write_bytes(b"PAR1 torn")
    return home


def _leaky_home(folder: Path) -> Home:
    """A champion that learned on the first day of ROWS, and says so by its dates only."""
    home = make_home(folder)
    write_tiny_bundle(home.models / MID, metadata={"train_date_from": "2026-01-05", "train_date_to": "2026-01-05"})
    (home.models / MID / "training_rows.npy").unlink()
    return home


def _old_registry(folder: Path) -> Home:
    home = promoted(make_home(folder), OLD, MID, NEW, NEXT)
    for number in range(3):
        write_tiny_bundle(home.rejected_models / f"2026-01-0{number + 1}_060000_run-0009")
    return home


def _labeled(home: Home, config: RetrainConfig) -> LabeledWindows:
    return label_windows(home, as_of=AS_OF, settings=config.dataset).record


def _unreadable_days(world: World, config: RetrainConfig) -> object:
    try:
        return _labeled(world.torn, config).unreadable_days
    except UnreadableFileError:
        return "error"


def _trained(world: World, config: RetrainConfig) -> ChallengerModel:
    return _challenger(world.home, world.snapshot, config)


def _untuned(world: World, config: RetrainConfig) -> float:
    """The threshold where no threshold rejects exactly a third and a little."""
    narrow = config.training.reject_threshold.model_copy(update={"min_reject_rate": 0.3333, "max_reject_rate": 0.3333})
    reject = _trained(world, config.with_changes(reject_threshold=narrow.model_dump())).reject
    assert not reject.tuned
    return reject.value


def _gate_status(name: str, *, held_out: bool = False) -> Callable[[World, RetrainConfig], object]:
    def outcome(world: World, config: RetrainConfig) -> object:
        snapshot, challenger = world.held_out if held_out else (world.snapshot, world.challenger)
        record = report_challenger(world.home, snapshot, challenger, config=config, num_threads=1)
        return next(gate.status for gate in record.gates.gates if gate.name == name)

    return outcome


def _beside_champion(name: str, **inputs: object) -> Callable[[World, RetrainConfig], object]:
    """The verdict of a comparative gate on a challenger beside a champion."""

    def outcome(world: World, config: RetrainConfig) -> object:
        return _status(_Decide(world.bench, state="ok", config=config, **inputs).make(), name)  # type: ignore[arg-type]

    return outcome


def _windows_compared(world: World, config: RetrainConfig) -> object:
    """Beside a champion that learned on the first of five days: 80 of 400 windows; the challenger's training ended after all of them."""
    comparison = _Decide(world.leaky, state="ok", config=config).make().comparison
    assert comparison is not None
    return comparison.windows


def _removed(kind: str) -> Callable[[World, RetrainConfig], object]:
    """How many bundles would go, of four that were promoted long ago and three that were rejected."""

    def outcome(world: World, config: RetrainConfig) -> object:
        keep = {"keep_versions": config.retention.keep_versions, "keep_rejected": config.retention.keep_rejected}
        return [item.kind for item in plan_prune(world.registry, **keep, at=AT + 100 * DAY).remove].count(kind)  # type: ignore[arg-type]

    return outcome


def _judged_labels(world: World, config: RetrainConfig) -> object:
    snapshot, _ = _snapshot(world.home, config)
    report = report_challenger(world.home, snapshot, world.challenger, config=config, num_threads=1).report
    champion = report_champion(home_with_champion(world.home), snapshot, config=config, num_threads=1).report
    shutil.rmtree(world.home.models)
    assert report is not None
    assert champion is not None
    return len(snapshot.feasibility.judged_classes), len(report.judged_labels), len(champion.judged_labels)


def _decided_days_ago(world: World, days: float) -> None:
    decision = _Decide(world.home, snapshot=world.snapshot).make()
    remember_decision(world.home, decision, run_id="r", at=NOON - days * DAY)


def _launch(days_ago: float) -> Callable[[World, RetrainConfig], object]:
    def outcome(world: World, config: RetrainConfig) -> object:
        _decided_days_ago(world, days_ago)
        return assess_trigger(world.home, config=config, now=NOON).launch

    return outcome


def _launch_on_new_spans(n: int) -> Callable[[World, RetrainConfig], object]:
    def outcome(world: World, config: RetrainConfig) -> object:
        _decided_days_ago(world, 1)
        before = world.home.labels.read_bytes()
        _add_spans(world.home, n)
        trigger = assess_trigger(world.home, config=config, now=NOON)
        world.home.labels.write_bytes(before)
        return trigger.launch

    return outcome


def _arrived(quiet_minutes: int) -> Callable[[World, RetrainConfig], object]:
    """Whether labels count as arrived whose store changed that long ago."""

    def outcome(world: World, config: RetrainConfig) -> object:
        changed_at = datetime.fromtimestamp(world.home.labels.stat().st_mtime, UTC)
        now = changed_at + timedelta(minutes=quiet_minutes)
        return check_label_arrival(check_label_store(world.home, None, None, now=now), settings=config.scheduling, now=now) is None

    return outcome


def _forced_at_the_age_of(days: int) -> Callable[[World, RetrainConfig], object]:
    return lambda world, config: assess_trigger(world.registry, config=config, now=AS_OF + days * DAY).force


def _asks_for_a_retrain(world: World, config: RetrainConfig) -> object:
    """A drift report that only warns."""
    severity = config.scheduling.drift_trigger
    write_json(world.bench.drift_report, {"alerts": [{"trigger": "feature_ks", "severity": "warning"}], "any_critical": False})
    return severity != "never" and find_drift_trigger(world.bench, severity=severity, now=NOON) is not None


def _rejects(world: World, config: RetrainConfig) -> object:
    return _trained(world, config).reject.reject_rate


AS_GOOD = {"challenger": _wrong(0.06), "champion": _wrong(0.06, after=0.5)}
"""Two models that are equally good, and have other windows wrong."""
FEWER_MEETINGS = _wrong(0.18, among=ROWS["label"] == "Meet")
BETTER = {OLD: RIGHT}

Outcome = Callable[[World, RetrainConfig], object]
EXPECTED: dict[str, tuple[object, object, object, object, Outcome]] = {
    # key: (a value, what follows from it, another value, what follows from that, how)
    "global_retrain_cadence_days": (7, False, 3, True, _launch(days_ago=5)),
    "min_new_labels": (3, False, 2, True, _launch_on_new_spans(2)),
    "label_quiet_minutes": (30, False, 20, True, _arrived(quiet_minutes=25)),
    "max_days_since_training": (41, False, 40, True, _forced_at_the_age_of(40)),
    "drift_trigger": ("critical", False, "warning", True, _asks_for_a_retrain),
    "data_lookback_days": (30, 60, 9, 30, lambda world, config: _labeled(world.aging, config).gold),
    "schema_version": ("v1", 60, "v3", 0, lambda world, config: _labeled(world.aging, config).gold),
    "skip_unreadable_days": (False, "error", True, ["2026-02-02"], _unreadable_days),
    "weak_labels": ("train_only", 60, "exclude", 0, lambda world, config: _labeled(world.aging, config).weak),
    "min_labels": (GOLD, 0, GOLD + 1, 1, lambda world, config: len(_snapshot(world.home, config)[0].blockers)),
    "train_params.num_threads": ("auto", 1, 2, 2, lambda world, config: _trained(world, config).params["num_threads"]),
    "reject_threshold.fallback": (0.55, 0.55, 0.66, 0.66, lambda world, config: _untuned(world, config)),
    "min_class_windows": (30, (8, 8, 8), 41, (0, 0, 0), _judged_labels),
    "gates.min_macro_f1": (0.2, "PASS", 1.0, "FAIL", _gate_status("macro_f1")),
    "gates.min_weighted_f1": (0.2, "PASS", 1.0, "FAIL", _gate_status("weighted_f1")),
    "gates.min_breakidle_precision": (0.2, "PASS", 1.0, "FAIL", _gate_status("breakidle_precision")),
    "gates.min_breakidle_recall": (0.2, "PASS", 1.0, "FAIL", _gate_status("breakidle_recall")),
    "gates.min_class_precision": (0.2, "PASS", 1.0, "FAIL", _gate_status("no_class_below_50_precision")),
    "gates.min_reject_rate": (0.0, "PASS", 0.3, "FAIL", _gate_status("reject_rate_bounds")),
    "gates.max_reject_rate": (1.0, "PASS", 0.05, "FAIL", _gate_status("reject_rate_bounds")),
    "gates.min_seen_user_f1": (0.1, "PASS", 1.0, "FAIL", _gate_status("seen_user_f1", held_out=True)),
    "gates.min_unseen_user_f1": (0.1, "PASS", 1.0, "FAIL", _gate_status("unseen_user_f1", held_out=True)),
    "require_baseline_improvement": (True, "PASS", False, "NOT_APPLICABLE", _gate_status("beats_lookup_baseline")),
    "prove_reproducible": (True, "PASS", False, "NOT_APPLICABLE", _gate_status("reproducible")),
    "evidence_policy": ("point", "PASS", "hold", "INCONCLUSIVE", _beside_champion("macro_f1_no_regression", **AS_GOOD)),
    "significance": (0.05, "FAIL", 0.01, "PASS", _beside_champion("no_class_clearly_worse", challenger=FEWER_MEETINGS)),
    "min_user_days": (5, "PASS", 6, "NOT_APPLICABLE", _beside_champion("no_user_clearly_worse")),
    "min_windows": (400, "PASS", 401, "INCONCLUSIVE", _beside_champion("macro_f1_no_regression")),
    "max_leaked_share": (0.2, 320, 0.19, 0, _windows_compared),
    "regression_tolerance": (0.05, "PASS", 0.03, "FAIL", _beside_champion("macro_f1_no_regression", challenger=_wrong(0.04))),
    "min_improvement": (0.03, "PASS", 0.05, "FAIL", _beside_champion("min_improvement", champion=_wrong(0.04))),
    "anchor_tolerance": (0.05, "PASS", 0.03, "FAIL", _beside_champion("not_worse_than_anchor", anchors=BETTER, challenger=_wrong(0.04))),
    "clearly_worse_margin": (0.2, "PASS", 0.01, "FAIL", _beside_champion("no_class_clearly_worse", challenger=FEWER_MEETINGS)),
    "max_negative_flips": (0.06, "PASS", 0.05, "FAIL", _beside_champion("negative_flips", **AS_GOOD)),
    "max_flip_excess": (0.04, "PASS", 0.03, "FAIL", _beside_champion("negative_flips", challenger=_wrong(0.04))),
    "keep_versions": (3, 1, 2, 2, _removed("promoted")),
    "keep_rejected": (3, 0, 1, 2, _removed("rejected")),
    "auto_promote": (True, "PROMOTE", False, "AWAITING_APPROVAL", lambda world, config: _Decide(world.home, config=config).make().verdict),
}
DIFFERENT: dict[str, tuple[object, object, Outcome]] = {
    # key: (a value, another value, how)
    "train_params.num_boost_round": (2, 3, lambda world, config: _trained(world, config).tree_hash),
    "train_params.num_leaves": (4, 5, lambda world, config: _trained(world, config).tree_hash),
    "train_params.learning_rate": (0.1, 0.2, lambda world, config: _trained(world, config).tree_hash),
    "train_params.class_weight": ("balanced", "none", lambda world, config: _trained(world, config).tree_hash),
    "reject_threshold.min_reject_rate": (0.01, 0.2, _rejects),
    "reject_threshold.max_reject_rate": (0.08, 0.25, _rejects),
}
ELSEWHERE = {
    "calibrator_update_cadence_days": "cli/test_main.py",
    "enabled": "defs/automation/test_sensors.py",
    "max_attempts": "defs/automation/test_sensors.py",
    "timeout_minutes": "defs/resources/test_run_supervisor.py",
    "schedule.cron": "test_definitions.py",
    "schedule.timezone": "test_definitions.py",
    "schedule.verify_cron": "test_definitions.py",
    "events.sinks": "defs/events/test_event_sensor.py",
    "advice.max_flap_rate": "defs/test_checks.py",
    "advice.max_flap_rate_smoothed": "defs/test_checks.py",
}
"""Settings that do not reach the domain, and the file with their test."""


def _config_with(key: str, value: object) -> RetrainConfig:
    base = {"auto_promote": True, "train_params": FAST, "min_class_windows": 10}
    section, _, name = key.rpartition(".")
    if section:
        return retrain_config(**{**base, section: {**base.get(section, {}), name: value}})
    return retrain_config(**{**base, key: value})


@pytest.mark.parametrize("key", EXPECTED)
def test_a_setting_has_the_effect_that_its_comment_promises(world: World, key: str) -> None:
    value, follows, other, follows_then, outcome = EXPECTED[key]
    assert outcome(world, _config_with(key, value)) == follows
    assert outcome(world, _config_with(key, other)) == follows_then


@pytest.mark.parametrize("key", DIFFERENT)
def test_another_value_of_a_setting_gives_another_model(world: World, key: str) -> None:
    value, other, outcome = DIFFERENT[key]
    assert outcome(world, _config_with(key, value)) != outcome(world, _config_with(key, other))


def test_no_setting_of_the_shipped_file_is_without_such_a_test() -> None:
    shipped = yaml.safe_load(DEFAULT_CONFIG_PATH.read_text(encoding="utf-8"))
    keys = {f"{key}.{name}" if name else key for key, value in shipped.items() for name in (value if isinstance(value, dict) else [None])}
    assert keys == {*EXPECTED, *DIFFERENT, *ELSEWHERE}
    tests = Path(__file__).parents[2]
    assert [key for key, file in ELSEWHERE.items() if key.rpartition(".")[2] not in (tests / file).read_text(encoding="utf-8")] == []
