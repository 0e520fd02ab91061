"""Whether a retrain is launched: cadence, new labels, and whether there is anything to learn from."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.label_fingerprints import keep_fingerprints
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, LastDecided, write_last_decided
from taskclf_dagster.domain.scheduling import data_assessment
from taskclf_dagster.domain.scheduling.triggers import assess_trigger
from taskclf_dagster.errors import HomeNotFoundError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, contents, point_at, write_tiny_bundle
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    MINUTE,
    day_file,
    labels_table,
    learnable_home,
    retrain_config,
    span,
    windows_frame,
    write_day,
    write_labels,
    write_windows,
)

NOW = datetime(2026, 2, 4, 12, tzinfo=UTC)
CONFIG = retrain_config()
SPANS = 3 * 16
"""Label spans of `learnable_home` with one user and three days."""


def _decided(home: Home, *, days_ago: float, trained: bool = False) -> None:
    mark = keep_fingerprints(home.decisions, read_fingerprints(home))
    at = NOW - timedelta(days=days_ago)
    facts = {"outcome": "REJECT", "decided_at": at, "as_of": at, "run_id": "r", "decision_id": "d", "dataset_hash": "0" * 16}
    seen = {"snapshot_path": "artifacts/snapshots/0", "label_watermark": mark, "trained_at": at if trained else None}
    write_last_decided(home, LastDecided.model_validate(facts | seen))


def _running(home: Home, *, trained: datetime) -> None:
    """taskclf runs a model of that age."""
    write_tiny_bundle(home.models / MID, metadata={"created_at": trained.isoformat()})
    point_at(home, MID)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return learnable_home(tmp_path, users=1, days=3)


def test_where_nothing_was_ever_decided_every_label_is_new(home: Home) -> None:
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.launch, trigger.cause, trigger.changed_spans) == (True, "new_labels", SPANS)


def test_new_labels_are_the_better_reason_where_cadence_is_due_too(home: Home) -> None:
    _decided(home, days_ago=8)
    assert assess_trigger(home, config=CONFIG, now=NOW).cause == "cadence"
    write_labels(home, [span(AS_OF - timedelta(hours=15), AS_OF - timedelta(hours=10), "Build", user="user-0")])
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.cause, trigger.changed_spans) == ("new_labels", SPANS)


def test_cadence_has_two_hours_of_slack_because_a_run_takes_time_and_clocks_go_forward(home: Home) -> None:
    _decided(home, days_ago=7 - 2 / 24)
    assert assess_trigger(home, config=CONFIG, now=NOW).cause == "cadence"
    assert not assess_trigger(home, config=CONFIG, now=NOW - timedelta(seconds=1)).launch


def test_where_nothing_is_due_the_reason_says_why_not_and_when_it_will_be(home: Home, snapshot: SnapshotAssertion) -> None:
    _decided(home, days_ago=2)
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.launch, trigger.cause, trigger.due_at) == (False, None, NOW + 5 * DAY)
    assert trigger.reason == snapshot


def test_a_model_that_is_too_old_is_a_cause_that_is_forced(home: Home) -> None:
    _running(home, trained=NOW - 31 * DAY)
    _decided(home, days_ago=2)
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.launch, trigger.cause, trigger.force) == (True, "model_age", True)


def test_a_model_that_will_be_too_old_before_cadence_says_when(home: Home) -> None:
    _running(home, trained=NOW - 29 * DAY)
    _decided(home, days_ago=2)
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.launch, trigger.force, trigger.due_at) == (False, False, NOW + DAY)


def test_a_challenger_that_was_rejected_yesterday_is_not_trained_again_because_the_old_model_still_runs(home: Home) -> None:
    _running(home, trained=NOW - 90 * DAY)
    _decided(home, days_ago=1, trained=True)
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.launch, trigger.due_at) == (False, NOW + 6 * DAY)
    later = assess_trigger(home, config=CONFIG, now=NOW + 6 * DAY)
    assert (later.launch, later.force) == (True, True)


def test_new_labels_and_cadence_are_forced_too_where_the_model_is_too_old(home: Home) -> None:
    _running(home, trained=NOW - 31 * DAY)
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.cause, trigger.force) == ("new_labels", True)
    assert not assess_trigger(home, config=retrain_config(max_days_since_training=60), now=NOW).force


def test_a_last_decision_that_cannot_be_read_makes_a_retrain_due(home: Home) -> None:
    _decided(home, days_ago=1)
    assert not assess_trigger(home, config=CONFIG, now=NOW).launch
    (home.decisions / LAST_DECIDED).write_text("{", encoding="utf-8")
    assert assess_trigger(home, config=CONFIG, now=NOW).launch


def test_a_last_decision_in_the_future_cannot_stop_retraining(home: Home) -> None:
    _decided(home, days_ago=-365)
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.launch, trigger.cause) == (True, "cadence")


def test_too_few_labels_are_a_blocker_with_the_message_of_the_blocking_check(home: Home, snapshot: SnapshotAssertion) -> None:
    trigger = assess_trigger(home, config=retrain_config(min_labels=500), now=NOW)
    assert (trigger.launch, trigger.cause) == (False, "new_labels")
    assert len(trigger.blockers) == 1
    assert trigger.reason == snapshot


def test_windows_that_all_lie_before_the_look_back_are_a_blocker(home: Home) -> None:
    trigger = assess_trigger(home, config=CONFIG, now=NOW + timedelta(days=60))
    assert not trigger.launch
    assert "holds no feature partition from 2026-03-06 to 2026-04-05" in trigger.blockers[0]


def test_a_daily_file_that_cannot_be_read_is_a_blocker_with_the_fix(home: Home) -> None:
    day_file(home, (AS_OF - timedelta(days=1)).date()).write_bytes(b"PAR1 torn")
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert not trigger.launch
    assert "date=2026-02-03" in trigger.blockers[0]
    assert "skip_unreadable_days" in trigger.blockers[0]


def test_a_folder_that_cannot_be_written_to_is_the_only_blocker(home: Home, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    home.models.symlink_to(tmp_path / "disk")
    trigger = assess_trigger(home, config=retrain_config(min_labels=500), now=NOW)
    assert not trigger.launch
    assert [str(home.models) in blocker for blocker in trigger.blockers] == [True]


def test_data_that_breaks_the_contract_blocks_with_the_first_violations(home: Home) -> None:
    day = (AS_OF - timedelta(days=1)).date()
    rows = windows_frame(user="user-0", start=AS_OF - timedelta(hours=15), n=60, top2_app_concentration_15m=7.0)
    write_day(home, day, rows)
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.cause, trigger.launch, trigger.changed_spans) == ("new_labels", False, SPANS)
    assert trigger.blockers == trigger.data.violations
    assert "top2_app_concentration_15m" in trigger.reason
    labels = [{**span(AS_OF - timedelta(hours=15), AS_OF, "Build"), "label": f"wrong {n}"} for n in range(data_assessment.MAX_BLOCKERS + 2)]
    write_labels(home, labels)
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert len(trigger.data.violations) == data_assessment.MAX_BLOCKERS + 3
    assert trigger.blockers[:-1] == trigger.data.violations[: data_assessment.MAX_BLOCKERS]
    assert "3 further violations" in trigger.blockers[-1]


def test_looking_writes_nothing(home: Home) -> None:
    before = contents(home.root)
    assert assess_trigger(home, config=CONFIG, now=NOW).launch
    assert contents(home.root) == before


def test_without_a_home_or_with_a_torn_label_store_there_is_an_error_not_a_verdict(home: Home, tmp_path: Path) -> None:
    with pytest.raises(HomeNotFoundError, match="There is no taskclf home"):
        assess_trigger(Home(tmp_path / "none"), config=CONFIG, now=NOW)
    home.labels.write_bytes(b"torn")
    with pytest.raises(UnreadableFileError, match="Restore the label store"):
        assess_trigger(home, config=CONFIG, now=NOW)


def test_with_damaged_columns_of_labels_their_number_is_unknown_and_a_run_would_be_blocked(home: Home) -> None:
    _decided(home, days_ago=1)
    write_labels(home, labels_table([span(NOW, NOW, "Build")], without=["label"]))
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.changed_spans, trigger.cause) == (None, None)
    assert "new labels are unknown" in trigger.reason
    (home.decisions / LAST_DECIDED).unlink()
    trigger = assess_trigger(home, config=CONFIG, now=NOW)
    assert (trigger.changed_spans, trigger.label_watermark, trigger.cause, trigger.launch) == (None, None, "cadence", False)
    assert "label" in trigger.blockers[0]


def test_a_home_too_large_to_weigh_beforehand_is_launched_and_the_run_says_what_it_finds(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    picky = retrain_config(min_labels=500)
    assert not assess_trigger(home, config=picky, now=NOW).launch
    monkeypatch.setattr(data_assessment, "MAX_ROWS_ASSESSED", 480 + SPANS - 1)
    assert assess_trigger(home, config=picky, now=NOW).launch


def test_older_days_are_left_out_beforehand_if_the_home_is_too_large_with_them(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write_windows(home, windows_frame(start=NOW - 40 * DAY, n=60))
    write_labels(home, [*pq.read_table(home.labels).to_pylist(), span(NOW - 40 * DAY, NOW - 40 * DAY + 60 * MINUTE, "Build")])
    read = []
    for most in (480 + 60 + SPANS + 1, 480 + 60 + SPANS):
        monkeypatch.setattr(data_assessment, "MAX_ROWS_ASSESSED", most)
        found = data_assessment.assess_data(home, config=CONFIG, now=NOW)
        assert found.label_fates is not None
        read.append((found.assessed, found.label_fates.counts["labels_windows"]))
    assert read == [(True, SPANS + 1), (True, SPANS)]
