"""What an operator is told: the state of a home, how far a run is, and every retrain there was."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.assets import models as model_assets
from taskclf_dagster.defs.assets import promotion as promotion_assets
from taskclf_dagster.defs.jobs.retrain import RetrainParams, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.defs.runs.run_tags import CAUSE_TAG, HOME_TAG, home_tag
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress
from taskclf_dagster.status.reader import find_next_tick, read_status
from taskclf_dagster.status.records import Status
from taskclf_dagster.status.run_history import read_retrains
from taskclf_dagster_tests.dagster_internals import DaemonHeartbeat
from taskclf_dagster_tests.models import home_with_champion
from taskclf_dagster_tests.runs import instance_in
from taskclf_dagster_tests.scenario import AS_OF, learnable_home, make_home, retrain_config

CONFIG = retrain_config(schedule={"timezone": "UTC"})
EASY = """
auto_promote: true
min_class_windows: 15
min_windows: 50
search: off
train_params: {num_boost_round: 15}
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_in(tmp_path) as instance:
        yield instance


def _definitions(home: Home) -> dg.Definitions:
    return build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=AS_OF.isoformat()))


def _queue(instance: dg.DagsterInstance, home: Home, **tags: str) -> dg.DagsterRun:
    job = _definitions(home).resolve_job_def("retrain")
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED, tags={HOME_TAG: home_tag(home), **tags})


def test_while_a_model_is_trained_the_status_tells_the_step_and_what_it_said_last(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    build, seen = model_assets.build_challenger, list[Status]()

    def look_and_build(*args: object, **kwargs: object) -> object:
        kwargs["on_progress"](Progress("refit", 50, 100, "round", "refit: 50 of 100 rounds"))
        seen.append(read_status(instance, home, config=CONFIG, now=AS_OF))
        return build(*args, **kwargs)

    monkeypatch.setattr(model_assets, "build_challenger", look_and_build)
    config = tmp_path / "quick.yaml"
    config.write_text("search: off\nprove_reproducible: false\ntrain_params: {num_boost_round: 5}\n", encoding="utf-8")
    result = run_retrain_pipeline(_definitions(home), RetrainParams(config_path=str(config)), instance=instance)
    (status,) = seen
    assert (status.state, status.last_decided, status.last_run_id) == ("running", None, None)
    assert result.run_id in status.reason
    progress = status.progress
    assert progress is not None
    assert (progress.run_id, progress.step, progress.message) == (result.run_id, "challenger_model", "refit: 50 of 100 rounds")
    assert (progress.step_title, progress.round, progress.rounds) == ("training the new model", 50, 100)
    assert progress.seconds_left is None, "there is no earlier run to estimate it from"
    assert 2 <= progress.steps_done < progress.steps
    assert not home.run_progress.exists()
    after = read_status(instance, home, config=CONFIG, now=AS_OF)
    assert (after.state, after.progress, after.last_run_id, after.last_outcome) == ("completed", None, result.run_id, "HOLD")


def test_a_run_in_the_queue_is_told_with_its_cause(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    run = _queue(instance, home, **{CAUSE_TAG: "drift"})
    status = read_status(instance, home, config=CONFIG, now=AS_OF)
    assert status.state == "queued"
    assert run.run_id in status.reason
    assert status.progress is not None
    assert (status.progress.steps_done, status.progress.step, status.progress.message) == (0, None, None)


def test_retrains_of_another_home_in_the_same_instance_are_not_told(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    mine, other = make_home(tmp_path / "mine"), make_home(tmp_path / "other")
    run = _queue(instance, other)
    assert read_status(instance, mine, config=CONFIG, now=AS_OF).state == "idle"
    assert read_retrains(instance, mine, limit=5) == []
    assert [retrain.run_id for retrain in read_retrains(instance, other, limit=5)] == [run.run_id]


@pytest.mark.parametrize(
    ("zone", "now", "tick"),
    [
        ("Europe/Vienna", "2026-03-28T12:00:00+00:00", "2026-03-29T04:00:00+00:00"),  # 06:00 in summer time, from that night on
        ("Europe/Vienna", "2026-03-27T12:00:00+00:00", "2026-03-28T05:00:00+00:00"),
        ("Europe/Vienna", "2026-10-24T12:00:00+00:00", "2026-10-25T05:00:00+00:00"),
        ("Asia/Kathmandu", "2026-02-04T00:14:00+00:00", "2026-02-04T00:15:00+00:00"),  # five hours and three quarters ahead
        ("Asia/Kathmandu", "2026-02-04T00:16:00+00:00", "2026-02-05T00:15:00+00:00"),
        ("UTC", "2026-02-04T05:59:59+00:00", "2026-02-04T06:00:00+00:00"),
    ],
)
def test_the_next_tick_is_six_oclock_in_the_zone_of_the_settings(zone: str, now: str, tick: str) -> None:
    found = find_next_tick(retrain_config(schedule={"timezone": zone}), now=datetime.fromisoformat(now))
    assert found.astimezone(UTC).isoformat() == tick
    assert (found.hour, found.minute) == (6, 0)


def test_without_a_daemon_the_status_warns_and_with_one_it_does_not(
    tmp_path: Path, instance: dg.DagsterInstance, snapshot: SnapshotAssertion
) -> None:
    home = make_home(tmp_path)
    now = datetime.now(UTC)
    (warning,) = read_status(instance, home, config=CONFIG, now=now).warnings
    assert warning == snapshot
    instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), "SCHEDULER", "daemon", []))
    assert read_status(instance, home, config=CONFIG, now=now).warnings == []
    late = now + timedelta(minutes=4)
    assert len(read_status(instance, home, config=CONFIG, now=late).warnings) == 1


def test_a_damaged_pointer_is_a_warning_with_the_cure(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = home_with_champion(make_home(tmp_path))
    home.active_pointer.write_text("{", encoding="utf-8")
    warnings = read_status(instance, home, config=CONFIG, now=AS_OF).warnings
    assert any("registry repair" in warning for warning in warnings)


def test_what_is_not_read_and_what_labels_nothing_is_shown_with_the_cause(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    warned = read_status(instance, home, config=CONFIG, now=AS_OF).warnings
    spans = pq.read_table(home.labels)
    pq.write_table(spans.set_column(spans.column_names.index("user_id"), "user_id", pa.array(["USER-0"] * len(spans))), home.labels)
    folder = home.features("v1") / "date=2026-02-02"
    folder.rename(folder.with_name("date=20260202"))
    status = read_status(instance, home, config=CONFIG, now=AS_OF)
    assert status.spans_by_fate is not None
    assert status.spans_by_fate["no_window_of_user"] == sum(status.spans_by_fate.values()) == len(spans)
    assert status.label_spans is not None
    assert "48 of users without windows" in status.label_spans
    passed_over, cause = [each for each in status.warnings if each not in warned]
    assert "date=20260202 (160 rows)" in passed_over
    assert "'USER-0' (48 spans)" in cause
    assert "'USER-0' (48 spans)" in status.due_reason


def test_a_damaged_history_is_a_warning_that_nothing_is_promoted(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = home_with_champion(make_home(tmp_path))
    whole = read_status(instance, home, config=CONFIG, now=AS_OF).warnings
    home.active_history.write_bytes(home.active_history.read_bytes() + b"garbage\n")
    (warning,) = [each for each in read_status(instance, home, config=CONFIG, now=AS_OF).warnings if each not in whole]
    assert home.active_history.name in warning


def test_a_run_that_dagster_ended_while_it_was_at_work_moves_nothing(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = learnable_home(tmp_path, users=1, days=6)
    config = tmp_path / "easy.yaml"
    config.write_text(EASY, encoding="utf-8")
    decide = promotion_assets.make_decision

    def decide_and_cancel(*args: object, **kwargs: object) -> object:
        (run,) = instance.get_runs()
        instance.report_run_canceled(run)
        return decide(*args, **kwargs)

    monkeypatch.setattr(promotion_assets, "make_decision", decide_and_cancel)
    result = run_retrain_pipeline(_definitions(home), RetrainParams(config_path=str(config)), instance=instance)
    assert (result.success, result.pointer_moved) == (False, False)
    assert [name for name in (result.run_id, "CANCELED") if name not in result.reason] == []
    assert not home.models.exists()
    assert [decision.verdict for decision in list_decisions(home)[0]] == ["PROMOTE"]
