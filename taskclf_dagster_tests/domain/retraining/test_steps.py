"""The steps around a decision: when there is nothing new, and what is remembered of a run."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, read_last_decided
from taskclf_dagster.domain.retraining.steps import find_skip_reason, remember_decision, remember_labels, remember_skip
from taskclf_dagster.domain.scheduling.triggers import assess_trigger
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import CONFIG, NOON, Decide, _add_spans, run_retrain, take_snapshot
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    LEARNABLE_DAY_WINDOWS,
    MINUTE,
    learnable_home,
    retrain_config,
    span,
    windows_frame,
    write_labels,
    write_windows,
)

# --- Nothing new ------------------------------------------------------------------------------------------------------------------


def _skip_reason(home: Home, *, as_of: datetime = AS_OF, config: RetrainConfig = CONFIG) -> str | None:
    labeled, frame, *_ = label_windows(home, as_of=as_of, settings=config.dataset)
    assert frame is not None
    return find_skip_reason(home, build_snapshot(home, labeled, frame, config=config)[1], config)


@pytest.fixture(scope="module")
def _decided_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, DatasetSnapshot]:
    home = learnable_home(tmp_path_factory.mktemp("pipeline"), users=1, days=4)
    snapshot, _ = take_snapshot(home)
    decision = Decide(home, snapshot=snapshot).make()
    remember_decision(home, decision, run_id="run-1", at=NOON)
    return home, snapshot


@pytest.fixture
def decided(_decided_home: tuple[Home, DatasetSnapshot], tmp_path: Path) -> Home:
    """One user, four days, all of them decided on at noon."""
    shutil.copytree(_decided_home[0].root, tmp_path / "home")
    return Home(tmp_path / "home")


def test_before_the_first_decision_everything_is_new(tmp_path: Path) -> None:
    assert _skip_reason(learnable_home(tmp_path, users=1, days=2)) is None


def test_what_the_last_decided_run_has_seen_is_not_new_and_the_words_say_what_to_do(decided: Home, snapshot: SnapshotAssertion) -> None:
    reason = _skip_reason(decided, as_of=AS_OF + timedelta(hours=20))
    assert reason is not None
    assert str(4 * LEARNABLE_DAY_WINDOWS) in reason
    assert reason == snapshot


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
    (windows,) = decided.snapshots.glob("*/windows/part-000.parquet")
    damage(windows)
    assert _skip_reason(decided) is None


# --- What is remembered -------------------------------------------------------------------------------------------------------------


def test_a_decision_is_remembered_with_what_it_saw_and_when(decided: Home) -> None:
    last = read_last_decided(decided)
    assert last is not None
    assert (last.outcome, last.decided_at, last.as_of, last.run_id) == ("PROMOTE", NOON, AS_OF, "run-1")
    assert (decided.root / last.snapshot_path / "windows" / "part-000.parquet").is_file()
    assert (decided.decisions / f"labels_{last.label_watermark}.npy").is_file()


def test_a_skip_counts_for_cadence_and_keeps_the_snapshot_last_decided_on(decided: Home) -> None:
    before = read_last_decided(decided)
    snapshot, _ = take_snapshot(decided, retrain_config(data_lookback_days=3))
    remember_skip(decided, snapshot, run_id="run-2", at=NOON + DAY)
    after = read_last_decided(decided)
    assert before is not None
    assert after is not None
    assert (after.outcome, after.decided_at, after.run_id, after.decision_id) == ("SKIP", NOON + DAY, "run-2", None)
    assert after.snapshot_path == before.snapshot_path != snapshot.path


def test_the_settings_of_the_challenger_are_remembered_without_the_search_that_found_them(tmp_path: Path) -> None:
    config = CONFIG.with_changes(search="auto")
    home = learnable_home(tmp_path, users=2, days=7)
    decision = run_retrain(home, take_snapshot(home, config)[0], config)
    assert decision.training is not None
    assert decision.training.search is not None
    remember_decision(home, decision, run_id="run-1", at=NOON)
    last = read_last_decided(home)
    assert last is not None
    assert last.settings == decision.training.model_copy(update={"search": None})
    remember_skip(home, take_snapshot(home, config)[0], run_id="run-2", at=NOON + DAY)
    skipped = read_last_decided(home)
    assert skipped is not None
    assert (skipped.outcome, skipped.settings) == ("SKIP", last.settings)


def test_a_skip_without_a_last_decision_remembers_nothing(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    remember_skip(home, take_snapshot(home)[0], run_id="r", at=NOON)
    assert read_last_decided(home) is None


def test_a_dry_run_is_not_remembered(decided: Home) -> None:
    before = (decided.decisions / LAST_DECIDED).read_bytes()
    remember_decision(decided, Decide(decided, dry_run=True).make(), run_id="run-2", at=NOON + DAY)
    assert (decided.decisions / LAST_DECIDED).read_bytes() == before


def _changed(home: Home) -> int:
    return assess_trigger(home, config=CONFIG, now=NOON).changed_spans


def test_labels_that_changed_while_the_run_was_deciding_stay_new_and_are_counted_exactly(decided: Home) -> None:
    decision = Decide(decided, snapshot=take_snapshot(decided)[0]).make()
    _add_spans(decided, 5)
    remember_decision(decided, decision, run_id="run-2", at=NOON)
    assert _changed(decided) == 5


def test_labels_that_changed_while_the_windows_were_read_are_counted_exactly(decided: Home) -> None:
    labeled, frame, fingerprints, _ = label_windows(decided, as_of=AS_OF, settings=CONFIG.dataset)
    _add_spans(decided, 3)
    remember_labels(decided, fingerprints)
    assert frame is not None
    snapshot = build_snapshot(decided, labeled, frame, config=CONFIG)[0]
    remember_decision(decided, Decide(decided, snapshot=snapshot).make(), run_id="run-2", at=NOON)
    assert _changed(decided) == 3


def test_what_an_undecided_run_read_replaces_nothing_and_a_decision_forgets_all_but_its_own(decided: Home) -> None:
    (before,) = decided.decisions.glob("labels_*.npy")
    _add_spans(decided, 5)
    snapshot = take_snapshot(decided)[0]
    assert len(list(decided.decisions.glob("labels_*.npy"))) == 2
    assert _changed(decided) == 5
    remember_decision(decided, Decide(decided, snapshot=snapshot).make(), run_id="run-2", at=NOON)
    assert [path.name for path in decided.decisions.glob("labels_*.npy")] == [f"labels_{snapshot.label_watermark}.npy"]
    assert not before.exists()
    assert _changed(decided) == 0


def test_a_skip_forgets_what_other_runs_read_and_keeps_when_a_challenger_was_trained_last(decided: Home) -> None:
    _add_spans(decided, 5)
    snapshot = take_snapshot(decided)[0]
    remember_skip(decided, snapshot, run_id="run-2", at=NOON + DAY)
    assert [path.name for path in decided.decisions.glob("labels_*.npy")] == [f"labels_{snapshot.label_watermark}.npy"]
    last = read_last_decided(decided)
    assert last is not None
    assert (last.trained_at, last.decided_at) == (NOON, NOON + DAY)


def test_a_dry_run_leaves_the_labels_it_read_as_new_as_they_were(decided: Home) -> None:
    _add_spans(decided, 5)
    decision = Decide(decided, snapshot=take_snapshot(decided)[0], dry_run=True).make()
    remember_decision(decided, decision, run_id="run-2", at=NOON)
    assert _changed(decided) == 5
