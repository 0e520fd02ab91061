"""Every setting of the shipped file changes an outcome."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.registry.retention import plan_prune
from taskclf_dagster.domain.retraining.reports import (
    report_challenger,
    report_champion,
)
from taskclf_dagster.domain.retraining.steps import remember_decision
from taskclf_dagster.domain.scheduling.drift_trigger import find_drift_trigger
from taskclf_dagster.domain.scheduling.label_arrival import check_label_arrival, check_label_store
from taskclf_dagster.domain.scheduling.triggers import assess_trigger
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    AT,
    MID,
    NEW,
    OLD,
    home_with_champion,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import NEXT, promoted
from taskclf_dagster_tests.retrain_scenario import (
    FAST,
    NOON,
    RIGHT,
    ROWS,
    Decide,
    _add_spans,
    status_of,
    take_snapshot,
    train_challenger,
    wrong_in,
)
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    LEARNABLE_DAY_WINDOWS,
    MINUTE,
    a_drift_report,
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

GOLD = 2 * 6 * LEARNABLE_DAY_WINDOWS - 20
"""Labelled windows of the home that the settings are tried on."""


@dataclass(frozen=True)
class World:
    """The home on which settings are tried; never written to but below `artifacts/`."""

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
    config = retrain_config(train_params={"num_boost_round": 15}, search="off")
    snapshot, _ = take_snapshot(home, config)
    held_out, _ = take_snapshot(home, config, holdout=0.5)
    return World(
        home=home,
        snapshot=snapshot,
        challenger=train_challenger(home, snapshot, config),
        held_out=(held_out, train_challenger(home, held_out, config)),
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


def _labeled(home: Home, config: RetrainConfig, **changes: object) -> LabeledWindows:
    return label_windows(home, as_of=AS_OF, settings=config.with_changes(**changes).dataset).record


def _unreadable_days(world: World, config: RetrainConfig) -> object:
    try:
        return _labeled(world.torn, config).unreadable_days
    except UnreadableFileError:
        return "error"


def _trained(world: World, config: RetrainConfig) -> ChallengerModel:
    return train_challenger(world.home, world.snapshot, config)


def _is_search_cut_short(world: World, config: RetrainConfig) -> bool:
    search = _trained(world, config.with_changes(search="auto")).settings.search
    assert search is not None
    return [tried.verdict for tried in search.tried[1:]] == ["not tried"] * (len(search.tried) - 1)


def _keeps_a_choice(world: World, config: RetrainConfig, *, days_ago: int) -> bool:
    """True if a choice of a search so long ago is kept."""
    config = config.with_changes(search="auto")
    earlier = _trained(world, config.with_changes(search="off")).settings
    earlier = earlier.model_copy(update={"searched_at": AS_OF - days_ago * DAY})
    return train_challenger(world.home, world.snapshot, config, earlier=earlier).settings.search is None


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
        return status_of(Decide(world.bench, state="ok", config=config, **inputs).make(), name)  # type: ignore[arg-type]

    return outcome


def _sliced(world: World, config: RetrainConfig) -> object:
    """The verdict on a challenger that is worse in every slice; the largest slices have 400 windows."""
    return _beside_champion("no_slice_clearly_worse", challenger=wrong_in(0.2))(world, config.with_changes(slice_gate=True))


def _windows_compared(world: World, config: RetrainConfig) -> object:
    """Beside a champion that learned on the first of five days: 80 of 400 windows; the challenger's training ended after all of them."""
    comparison = Decide(world.leaky, state="ok", config=config).make().comparison
    assert comparison is not None
    return comparison.windows


def _removed(kind: str) -> Callable[[World, RetrainConfig], object]:
    """Number of bundles that would go, of four that were promoted long ago and three that were rejected."""

    def outcome(world: World, config: RetrainConfig) -> object:
        keep = {"keep_versions": config.retention.keep_versions, "keep_rejected": config.retention.keep_rejected}
        return [item.kind for item in plan_prune(world.registry, **keep, at=AT + 100 * DAY).remove].count(kind)  # type: ignore[arg-type]

    return outcome


def _judged_labels(world: World, config: RetrainConfig) -> object:
    snapshot, _ = take_snapshot(world.home, config)
    report = report_challenger(world.home, snapshot, world.challenger, config=config, num_threads=1).report
    champion = report_champion(home_with_champion(world.home), snapshot, config=config, num_threads=1).report
    shutil.rmtree(world.home.models)
    assert report is not None
    assert champion is not None
    return len(snapshot.feasibility.judged_classes), len(report.judged_labels), len(champion.judged_labels)


def _decided_days_ago(world: World, days: float) -> None:
    decision = Decide(world.home, snapshot=world.snapshot).make()
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
    """Returns True if labels count as arrived whose store changed that long ago."""

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
    write_json(world.bench.drift_report, a_drift_report(NOON - timedelta(hours=1), warnings=1))
    return severity != "never" and find_drift_trigger(world.bench, severity=severity, now=NOON) is not None


def _rejects(world: World, config: RetrainConfig) -> object:
    return _trained(world, config).reject.reject_rate


AS_GOOD = {"challenger": wrong_in(0.06), "champion": wrong_in(0.06, after=0.5)}
"""Two models that are equally good, and have other windows wrong."""

MISSED_BY_BOTH = {"challenger": wrong_in(0.5), "champion": wrong_in(0.5), "figures": {"macro_f1": 0.5}}

FEWER_MEETINGS = wrong_in(0.18, among=ROWS["label"] == "Meet")

BETTER = {OLD: RIGHT}

Outcome = Callable[[World, RetrainConfig], object]

EXPECTED: dict[str, tuple[object, object, object, object, Outcome]] = {
    # key: (a value, what follows from it, another value, what follows from that, how)
    "global_retrain_cadence_days": (7, False, 3, True, _launch(days_ago=5)),
    "min_new_labels": (3, False, 2, True, _launch_on_new_spans(2)),
    "label_quiet_minutes": (30, False, 20, True, _arrived(quiet_minutes=25)),
    "max_days_since_training": (41, False, 40, True, _forced_at_the_age_of(40)),
    "drift_trigger": ("critical", False, "warning", True, _asks_for_a_retrain),
    "data_lookback_days": (30, 0, 9, 60, lambda world, config: take_snapshot(world.aging, config)[0].rows["older"]),
    "training_lookback_days": (365, 60, 9, 30, lambda world, config: _labeled(world.aging, config, data_lookback_days=5).gold),
    "schema_version": ("v1", 60, "v3", 0, lambda world, config: _labeled(world.aging, config).gold),
    "skip_unreadable_days": (False, "error", True, ["2026-02-02"], _unreadable_days),
    "weak_labels": ("train_only", 60, "exclude", 0, lambda world, config: _labeled(world.aging, config).weak),
    "min_labels": (GOLD, 0, GOLD + 1, 1, lambda world, config: len(take_snapshot(world.home, config)[0].blockers)),
    "search": ("off", False, "auto", True, lambda world, config: _trained(world, config).settings.search is not None),
    "search_budget": (6.0, False, 0.0, True, lambda world, config: _is_search_cut_short(world, config)),
    "search_cadence_days": (6, True, 5, False, lambda world, config: _keeps_a_choice(world, config, days_ago=5)),
    "train_params.num_threads": ("auto", 1, 2, 2, lambda world, config: _trained(world, config).params["num_threads"]),
    "reject_threshold.fallback": (0.55, 0.55, 0.66, 0.66, lambda world, config: _untuned(world, config)),
    "reject_threshold.fallback_windows": (
        0,
        False,
        1000,
        True,
        lambda world, config: "moved towards" in _trained(world, config).reject.detail,
    ),
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
    "floor_policy": ("improve", "PASS", "strict", "FAIL", _beside_champion("macro_f1", **MISSED_BY_BOTH)),
    "prove_reproducible": (True, "PASS", False, "NOT_APPLICABLE", _gate_status("reproducible")),
    "evidence_policy": ("point", "PASS", "hold", "INCONCLUSIVE", _beside_champion("macro_f1_no_regression", **AS_GOOD)),
    "significance": (0.05, "FAIL", 0.01, "PASS", _beside_champion("no_class_clearly_worse", challenger=FEWER_MEETINGS)),
    "min_user_days": (5, "PASS", 6, "NOT_APPLICABLE", _beside_champion("no_user_clearly_worse")),
    "min_windows": (400, "PASS", 401, "INCONCLUSIVE", _beside_champion("macro_f1_no_regression")),
    "max_leaked_share": (0.2, 320, 0.19, 0, _windows_compared),
    "regression_tolerance": (0.05, "PASS", 0.03, "FAIL", _beside_champion("macro_f1_no_regression", challenger=wrong_in(0.04))),
    "min_improvement": (0.03, "PASS", 0.05, "FAIL", _beside_champion("min_improvement", champion=wrong_in(0.04))),
    "anchor_tolerance": (0.05, "PASS", 0.03, "FAIL", _beside_champion("not_worse_than_anchor", anchors=BETTER, challenger=wrong_in(0.04))),
    "clearly_worse_margin": (0.2, "PASS", 0.01, "FAIL", _beside_champion("no_class_clearly_worse", challenger=FEWER_MEETINGS)),
    "slice_gate": (False, "NOT_APPLICABLE", True, "FAIL", _beside_champion("no_slice_clearly_worse", challenger=wrong_in(0.2))),
    "min_slice_windows": (400, "FAIL", 401, "NOT_APPLICABLE", _sliced),
    "max_negative_flips": (0.06, "PASS", 0.05, "FAIL", _beside_champion("negative_flips", **AS_GOOD)),
    "max_flip_excess": (0.04, "PASS", 0.03, "FAIL", _beside_champion("negative_flips", challenger=wrong_in(0.04))),
    "keep_versions": (3, 1, 2, 2, _removed("promoted")),
    "keep_rejected": (3, 0, 1, 2, _removed("rejected")),
    "auto_promote": (True, "PROMOTE", False, "AWAITING_APPROVAL", lambda world, config: Decide(world.home, config=config).make().verdict),
}

DIFFERENT: dict[str, tuple[object, object, Outcome]] = {
    # key: (a value, another value, how)
    "train_params.num_boost_round": (2, 3, lambda world, config: _trained(world, config).tree_hash),
    "train_params.num_leaves": (4, 5, lambda world, config: _trained(world, config).tree_hash),
    "train_params.learning_rate": (0.1, 0.2, lambda world, config: _trained(world, config).tree_hash),
    "train_params.class_weight": ("balanced", "none", lambda world, config: _trained(world, config).tree_hash),
    "train_params.max_depth": (-1, 1, lambda world, config: _trained(world, config).tree_hash),
    "train_params.min_data_in_leaf": (20, 200, lambda world, config: _trained(world, config).tree_hash),
    "train_params.min_gain_to_split": (0.0, 1_000.0, lambda world, config: _trained(world, config).tree_hash),
    "train_params.feature_fraction": (0.5, 1.0, lambda world, config: _trained(world, config).tree_hash),
    "train_params.lambda_l1": (0.0, 10.0, lambda world, config: _trained(world, config).tree_hash),
    "train_params.lambda_l2": (0.0, 10.0, lambda world, config: _trained(world, config).tree_hash),
    "train_params.path_smooth": (0.0, 10.0, lambda world, config: _trained(world, config).tree_hash),
    "train_params.max_bin": (255, 4, lambda world, config: _trained(world, config).tree_hash),
    "train_params.cat_smooth": (10.0, 1_000.0, lambda world, config: _trained(world, config).tree_hash),
    "train_params.cat_l2": (10.0, 1_000.0, lambda world, config: _trained(world, config).tree_hash),
    "train_params.constant_inputs": ([], ["hour_of_day"], lambda world, config: _trained(world, config).tree_hash),
    "refit": (True, False, lambda world, config: _trained(world, config).tree_hash),
    "reject_threshold.min_reject_rate": (0.01, 0.2, _rejects),
    "reject_threshold.max_reject_rate": (0.08, 0.25, _rejects),
}

ELSEWHERE = {
    "calibrator_update_cadence_days": "cli/test_main.py",
    "calibration_method": "domain/evaluation/test_calibrator_fitting.py",
    "calibration.min_windows": "domain/evaluation/test_calibrator_fitting.py",
    "calibration.min_days": "domain/evaluation/test_calibrator_fitting.py",
    "calibration.min_labels": "domain/evaluation/test_calibrator_fitting.py",
    "calibration.fit_share": "domain/evaluation/test_calibrator_fitting.py",
    "calibration.min_brier_gain": "domain/evaluation/test_calibrator_fitting.py",
    "enabled": "defs/automation/test_sensors.py",
    "max_attempts": "defs/automation/test_sensors.py",
    "timeout_minutes": "defs/resources/test_run_supervisor.py",
    "schedule.cron": "test_definitions.py",
    "schedule.timezone": "test_definitions.py",
    "schedule.verify_cron": "test_definitions.py",
    "schedule.monitor_cron": "test_definitions.py",
    "live_days": "domain/monitoring/test_live_performance.py",
    "max_live_drop": "domain/monitoring/test_live_performance.py",
    "live_trigger": "defs/automation/test_performance_sensor.py",
    **dict.fromkeys(
        (
            *("drift.days", "drift.min_windows", "drift.noise_quantile", "drift.min_psi", "drift.min_inputs", "drift.keep_days"),
            *("drift.max_missing_increase", "drift.max_unseen_increase", "drift.max_class_shift", "drift.max_reject_increase"),
            "drift.max_entropy_ratio",
        ),
        "domain/monitoring/test_drift_settings.py",
    ),
    "events.sinks": "defs/events/test_event_sensor.py",
    "advice.max_flap_rate": "defs/test_checks.py",
    "advice.max_flap_rate_smoothed": "defs/test_checks.py",
    "advice.min_long_blocks": "defs/test_scoring.py",
    "advice.max_short_blocks": "defs/test_scoring.py",
    "score_schedule": "defs/test_scoring.py",
    "keep_score_days": "defs/test_scoring.py",
    "server.url": "config/test_settings.py",
    "server.allowed_hosts": "config/test_settings.py",
    "server.user_header": "config/test_settings.py",
    "execution.engine": "cycle/test_retrain_on_a_cluster.py",
    "execution.scheduler_address": "cycle/test_retrain_on_a_cluster.py",
    "home.features_url": "domain/retraining/test_object_store.py",
    "home.snapshots_url": "domain/retraining/test_object_store.py",
    "trials.max_contenders": "domain/trials/test_trials.py",
    "trials.days": "domain/trials/test_trials.py",
    "trials.label_delay_days": "domain/trials/test_trials.py",
    "trials.awaiting_approval": "domain/trials/test_trials.py",
    "trials.challenger_share": "domain/monitoring/test_challenger_share.py",
    "probation_days": "domain/probation/test_probation.py",
    "auto_rollback": "domain/probation/test_probation.py",
    "signing.private_key_env": "cycle/test_signed_retrain.py",
    "signing.private_key_file": "defs/resources/test_signing_keys.py",
    "signing.public_key": "cycle/test_signed_retrain.py",
}
"""Settings that do not reach a retrain in the domain, and the file with their test."""


def _config_with(key: str, value: object) -> RetrainConfig:
    base = {"auto_promote": True, "train_params": FAST, "min_class_windows": 10, "search": "off", "prove_reproducible": False}
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
