"""The steps that join several modules: nothing new, the decision from two reports; and that every setting changes an outcome."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from taskclf_dagster.domain.baseline import BaselineScore
from taskclf_dagster.domain.cadence import LAST_DECIDED, read_last_decided
from taskclf_dagster.domain.challenger import ChallengerModel, build_challenger
from taskclf_dagster.domain.decision import PromotionDecision, list_decisions, verify_decision
from taskclf_dagster.domain.evaluation import Predictions, save_predictions
from taskclf_dagster.domain.gates import RegressionGate, RegressionResult, Status
from taskclf_dagster.domain.labeled import LabeledWindows, label_windows
from taskclf_dagster.domain.pipeline import find_skip_reason, make_decision, remember_decision, remember_skip
from taskclf_dagster.domain.pointer import pointer_state
from taskclf_dagster.domain.reports import ChallengerReport, ChampionReport, report_challenger, report_champion
from taskclf_dagster.domain.snapshot import DatasetSnapshot, build_snapshot, save_snapshot
from taskclf_dagster.domain.triggers import assess_trigger
from taskclf_dagster.errors import RecordsDoNotMatchError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.settings import DEFAULT_CONFIG_PATH, RetrainConfig
from taskclf_dagster_tests.models import MID, NEW, a_report, all_gates, contents, feasible, home_with_champion, infeasible, write_policy
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    LEARNABLE_DAY_WINDOWS,
    MINUTE,
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
FAST = {"num_boost_round": 3, "num_leaves": 4}
CONFIG = retrain_config(train_params=FAST, min_class_windows=10)
GOLD = 2 * 6 * LEARNABLE_DAY_WINDOWS - 20
"""Labelled windows of the home that the settings are tried on."""


def _snapshot(
    home: Home, config: RetrainConfig = CONFIG, *, as_of: datetime = AS_OF, holdout: float = 0.0
) -> tuple[DatasetSnapshot, LabeledWindows]:
    labeled, frame = label_windows(home, as_of=as_of, config=config)
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
    labeled, frame = label_windows(home, as_of=as_of, config=config)
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


def test_labels_that_changed_while_the_run_was_deciding_stay_new(decided: Home) -> None:
    decision = _Decide(decided, snapshot=_snapshot(decided)[0]).make()
    late = AS_OF + timedelta(hours=9)
    added = [span(late + 2 * i * MINUTE, late + (2 * i + 1) * MINUTE, "Build", user="user-0") for i in range(5)]
    write_labels(decided, [*pq.read_table(decided.labels).to_pylist(), *added])
    remember_decision(decided, decision, run_id="run-2", at=NOON)
    assert assess_trigger(decided, config=CONFIG, now=NOON, heeding=("new_labels",)).launch


# --- The decision -----------------------------------------------------------------------------------------------------------------


@dataclass
class _Decide:
    """The inputs of `make_decision`, all in favour of the challenger; a test changes the one it is about."""

    home: Home
    snapshot: DatasetSnapshot | None = None
    gates: list[RegressionGate] | None = None
    challenger: Predictions | None = None
    champion: Predictions | None = None
    state: str = "none"
    reason: str = "no model was ever promoted"
    warnings: list[str] = field(default_factory=list)
    config: RetrainConfig = field(default_factory=lambda: retrain_config(auto_promote=True))
    dry_run: bool = False
    forced: bool = False
    bootstrap: bool = False
    figures: dict[str, object] = field(default_factory=dict)

    def make(self) -> PromotionDecision:
        reports = self._challenger_report(), self._champion_report()
        return make_decision(
            self.home,
            self.snapshot or _a_snapshot(self.home),
            _a_challenger().model_copy(update={"dataset_hash": self._dataset_hash}),
            *reports,
            config=self.config,
            dry_run=self.dry_run,
            forced=self.forced,
            bootstrap=self.bootstrap,
            code_version="0123456",
        )

    @property
    def _dataset_hash(self) -> str:
        return (self.snapshot or _a_snapshot(self.home)).dataset_hash

    def _challenger_report(self) -> ChallengerReport:
        gates = RegressionResult(gates=self.gates or [gate for gate in all_gates() if gate.kind == "candidate"])
        scored = self.gates is None or self.gates[0].status == "PASS"
        report = a_report(predictions_path=self._save("challenger", self.challenger), **self.figures) if scored else None
        return ChallengerReport(
            model_id=NEW,
            dataset_hash=self._dataset_hash,
            failure=None if scored else "the folder is gone",
            files={"model.txt": "1" * 64},
            report=report,
            rule_baseline=BaselineScore(windows=100, model=0.8, baseline=0.3),
            lookup_baseline=BaselineScore(windows=400, model=0.8, baseline=0.4),
            gates=gates,
        )

    def _champion_report(self) -> ChampionReport:
        report = a_report(model_id=MID, predictions_path=self._save("champion", self.champion)) if self.state == "ok" else None
        pointer_hash, policy_hash = pointer_state(self.home)
        return ChampionReport(
            dataset_hash=self._dataset_hash,
            pointer_hash=pointer_hash,
            policy_hash=policy_hash,
            state=self.state,
            source="none" if self.state == "none" else "pointer",
            model_id=MID if self.state == "ok" else None,
            model_dir=None if self.state == "none" else f"models/{MID}",
            reason=self.reason,
            warnings=self.warnings,
            excluded=[],
            files={"model.txt": "2" * 64} if self.state == "ok" else {},
            report=report,
            windows_without_features=0,
            windows_trained_on=0,
            trained_on_evidence="none",
            train_date_from=None,
            train_date_to=None,
        )

    def _save(self, name: str, predictions: Predictions | None) -> str:
        path = self.home.predictions / f"{name}.parquet"
        save_predictions(path, predictions or _predictions())
        return str(path.relative_to(self.home.root))


def _predictions(*, right: float = 1.0, first: int = 0, n: int = 50) -> Predictions:
    """n windows of each label; the first share of each label is named right, the rest taken for the next label."""
    true = np.repeat(np.arange(8), n)
    rank = np.tile(np.arange(n), 8)
    named = np.where(rank < round(right * n), true, (true + 1) % 8)
    return Predictions(np.arange(first, first + 8 * n, dtype=np.uint64), true, named)


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
    assert (decision.verdict, decision.champion, decision.champion_state) == ("PROMOTE", None, "none")
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
    decision = _Decide(home, state="ok", champion=_predictions(right=0.9)).make()
    assert decision.challenger.files == {"model.txt": "1" * 64}
    assert decision.champion is not None
    assert decision.champion.files == {"model.txt": "2" * 64}
    assert (len(decision.challenger.report_hash), len(decision.champion.report_hash)) == (64, 64)
    assert decision.pointer_hash is not None
    assert decision.policy_hash is not None
    assert decision.previous_policy == policy
    assert decision.config == retrain_config(auto_promote=True)
    assert (decision.dataset_hash, decision.code_version, decision.label_watermark) == ("0a963156a3de73d5", "0123456", "0" * 16)


def test_a_policy_that_cannot_be_read_does_not_stop_the_decision(home: Home) -> None:
    home_with_champion(home)
    home.inference_policy.write_text("{", encoding="utf-8")
    decision = _Decide(home, state="ok").make()
    assert decision.previous_policy is None
    assert decision.policy_hash is not None


def test_making_a_decision_leaves_models_alone(home: Home) -> None:
    home_with_champion(home)
    before = contents(home.models)
    _Decide(home, state="ok").make()
    assert contents(home.models) == before


def test_equal_models_pass_because_the_tolerance_is_not_an_improvement(home: Home) -> None:
    decision = _Decide(home, state="ok").make()
    assert decision.comparison is not None
    assert (decision.comparison.windows, decision.comparison.macro_f1_delta) == (400, 0.0)
    assert decision.verdict == "PROMOTE"


def test_a_challenger_clearly_worse_than_the_champion_is_rejected(home: Home) -> None:
    decision = _Decide(home, state="ok", challenger=_predictions(right=0.9)).make()
    assert decision.verdict == "REJECT"
    assert decision.reason == "Failed: macro_f1_no_regression (-0.1000 < -0.02)."


def test_both_models_are_compared_on_the_windows_they_share(home: Home) -> None:
    shifted = _predictions(first=200)
    decision = _Decide(home, state="ok", champion=shifted, config=retrain_config(auto_promote=True, min_class_windows=1)).make()
    assert decision.comparison is not None
    assert (decision.comparison.windows, decision.comparison.left_out) == (200, 200)


def test_no_window_in_common_holds_and_says_so(home: Home) -> None:
    decision = _Decide(home, state="ok", champion=_predictions(first=10_000)).make()
    assert decision.verdict == "HOLD"
    assert "no label has enough of the 0 windows that both models scored (400 left out)" in decision.reason


@pytest.mark.parametrize("state", ["unreadable", "incompatible"])
def test_a_champion_that_cannot_be_compared_with_holds_and_names_the_way_out(home: Home, state: str) -> None:
    decision = _Decide(home, state=state, reason="invalid: missing model.txt").make()
    assert decision.verdict == "HOLD"
    assert f"the champion is {state} (invalid: missing model.txt)" in decision.reason
    assert "restore it and launch with force, or give bootstrap" in decision.reason
    assert _status(decision, "macro_f1_no_regression") == "INCONCLUSIVE"


@pytest.mark.parametrize("state", ["unreadable", "incompatible"])
def test_bootstrap_lets_the_absolute_gates_decide_and_the_record_says_so(home: Home, state: str) -> None:
    decision = _Decide(home, state=state, reason="invalid: missing model.txt", bootstrap=True).make()
    assert (decision.verdict, decision.bootstrap) == ("PROMOTE", True)
    gate = next(gate for gate in decision.gates if gate.name == "macro_f1_no_regression")
    assert gate.status == "NOT_APPLICABLE"
    assert gate.detail.startswith("bootstrap was given: ")
    assert "invalid: missing model.txt" in gate.detail


def test_bootstrap_overrides_windows_that_are_not_in_common(home: Home) -> None:
    decision = _Decide(home, state="ok", champion=_predictions(first=10_000), bootstrap=True).make()
    assert decision.verdict == "PROMOTE"


def test_bootstrap_does_not_excuse_from_beating_a_champion_that_can_be_compared_with(home: Home) -> None:
    decision = _Decide(home, state="ok", challenger=_predictions(right=0.9), bootstrap=True).make()
    assert decision.verdict == "REJECT"


def test_bootstrap_does_not_excuse_from_an_absolute_gate(home: Home) -> None:
    assert _Decide(home, state="unreadable", figures={"macro_f1": 0.6}, bootstrap=True).make().verdict == "REJECT"


def test_candidate_gates_are_judged_again_by_the_policy_that_is_recorded(home: Home) -> None:
    strict = retrain_config(gates={"min_macro_f1": 0.99})
    decision = _Decide(home, config=strict).make()
    assert decision.verdict == "REJECT"
    assert next(gate.threshold for gate in decision.gates if gate.name == "macro_f1") == 0.99


@pytest.mark.parametrize("record", ["_a_challenger", "_challenger_report", "_champion_report"])
def test_records_of_another_dataset_are_never_judged_together(home: Home, record: str) -> None:
    made = _Decide(home)
    parts = {"_a_challenger": _a_challenger(), "_challenger_report": made._challenger_report(), "_champion_report": made._champion_report()}
    parts[record] = parts[record].model_copy(update={"dataset_hash": "f" * 16})
    with pytest.raises(RecordsDoNotMatchError, match=f"is about dataset {'f' * 16}, the snapshot is"):
        make_decision(
            home,
            _a_snapshot(home),
            *parts.values(),  # type: ignore[arg-type]
            config=retrain_config(),
            dry_run=False,
            forced=False,
            bootstrap=False,
            code_version="0123456",
        )


def test_a_decision_is_about_the_pointer_that_stood_when_the_champion_was_looked_up(home: Home) -> None:
    made = _Decide(home)
    report = made._champion_report().model_copy(update={"pointer_hash": "a" * 64})
    made._champion_report = lambda: report  # type: ignore[method-assign]
    assert made.make().pointer_hash == "a" * 64


def test_a_challenger_that_could_not_be_scored_is_never_promoted(home: Home) -> None:
    rest: Mapping[str, Status] = dict.fromkeys(["macro_f1", "weighted_f1"], "INCONCLUSIVE")
    gates = [gate for gate in all_gates(loads_and_predicts="FAIL", **rest) if gate.kind == "candidate"]
    for state in ("none", "ok"):
        decision = _Decide(home, state=state, gates=gates).make()
        assert decision.verdict == "REJECT"
        assert (decision.comparison, decision.challenger.macro_f1) == (None, None)


def test_data_on_which_no_model_could_be_promoted_holds_whatever_the_gates_say(home: Home) -> None:
    decision = _Decide(home, snapshot=_a_snapshot(home, feasibility=infeasible())).make()
    assert (decision.verdict, decision.reason) == ("HOLD", infeasible().words)


def test_warnings_on_how_the_champion_was_found_are_in_the_record(home: Home) -> None:
    decision = _Decide(home, state="ok", warnings=["policy and pointer differ"]).make()
    assert decision.champion_warnings == ["policy and pointer differ"]
    assert (decision.champion_source, decision.champion_state) == ("pointer", "ok")


def test_what_was_asked_for_is_in_the_record(home: Home) -> None:
    decision = _Decide(home, dry_run=True, forced=True).make()
    assert (decision.dry_run, decision.forced, decision.bootstrap) == (True, True, False)
    assert decision.outcome == "PROMOTE (dry run)"


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


def _labeled(home: Home, config: RetrainConfig) -> LabeledWindows:
    return label_windows(home, as_of=AS_OF, config=config)[0]


def _unreadable_days(world: World, config: RetrainConfig) -> object:
    try:
        return _labeled(world.torn, config).unreadable_days
    except UnreadableFileError:
        return "error"


def _trained(world: World, config: RetrainConfig) -> ChallengerModel:
    return _challenger(world.home, world.snapshot, config)


def _untuned(world: World, config: RetrainConfig) -> float:
    """The threshold where no threshold rejects exactly a third and a little."""
    narrow = config.reject_threshold.model_copy(update={"min_reject_rate": 0.3333, "max_reject_rate": 0.3333})
    reject = _trained(world, config.model_copy(update={"reject_threshold": narrow})).reject
    assert not reject.tuned
    return reject.value


def _gate_status(name: str, *, held_out: bool = False) -> Callable[[World, RetrainConfig], object]:
    def outcome(world: World, config: RetrainConfig) -> object:
        snapshot, challenger = world.held_out if held_out else (world.snapshot, world.challenger)
        record = report_challenger(world.home, snapshot, challenger, config=config, num_threads=1)
        return next(gate.status for gate in record.gates.gates if gate.name == name)

    return outcome


def _beside_champion(right: float, name: str) -> Callable[[World, RetrainConfig], object]:
    """The verdict of a comparative gate on a challenger that names this share right, beside a champion that names 0.9 right."""

    def outcome(world: World, config: RetrainConfig) -> object:
        predictions = {"challenger": _predictions(right=right), "champion": _predictions(right=0.9)}
        return _status(_Decide(world.home, state="ok", config=config, **predictions).make(), name)

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
        spans = pq.read_table(world.home.labels).to_pylist()
        late = AS_OF + timedelta(hours=9)
        added = [span(late + 2 * i * MINUTE, late + (2 * i + 1) * MINUTE, "Build", user="user-0") for i in range(n)]
        write_labels(world.home, [*spans, *added])
        trigger = assess_trigger(world.home, config=config, now=NOON)
        write_labels(world.home, spans)
        return trigger.launch

    return outcome


def _rejects(world: World, config: RetrainConfig) -> object:
    return _trained(world, config).reject.reject_rate


Outcome = Callable[[World, RetrainConfig], object]
EXPECTED: dict[str, tuple[object, object, object, object, Outcome]] = {
    # key: (a value, what follows from it, another value, what follows from that, how)
    "global_retrain_cadence_days": (7, False, 3, True, _launch(days_ago=5)),
    "min_new_labels": (3, False, 2, True, _launch_on_new_spans(2)),
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
    "regression_tolerance": (0.05, "PASS", 0.03, "FAIL", _beside_champion(0.86, "macro_f1_no_regression")),
    "min_improvement": (0.03, "PASS", 0.05, "FAIL", _beside_champion(0.94, "min_improvement")),
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
    "calibrator_update_cadence_days": "test_cli.py",
    "schedule.cron": "test_definitions.py",
    "schedule.timezone": "test_definitions.py",
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
    tests = Path(__file__).parent.parent
    assert [key for key, file in ELSEWHERE.items() if key.rpartition(".")[2] not in (tests / file).read_text(encoding="utf-8")] == []
