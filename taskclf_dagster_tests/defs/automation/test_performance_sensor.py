"""A drop of the active model's performance: measured by the job, one retrain for each model, whatever becomes of it."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.sensors import Answer, evaluate_performance_drop
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.decision.last_decided import LastDecided, write_last_decided
from taskclf_dagster.domain.evaluation.performance_drops import (
    PerformanceDrop,
    performance_drop_path,
    read_performance_drop,
    write_performance_drop,
)
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.home import Home
from taskclf_dagster_tests.domain.monitoring.test_live_performance import EVENING, _watched_home
from taskclf_dagster_tests.models import MID, NEW, OLD, contents, home_with_champion, point_at, write_tiny_bundle
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home

NOON = AS_OF + timedelta(hours=12)
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")


def _drop(home: Home, model_id: str = MID, *, at: datetime = AS_OF) -> None:
    home.scores.mkdir(parents=True, exist_ok=True)
    reason = "test figure: clearly below the bound"
    facts = {"model_id": model_id, "found_at": at, "as_of": at, "macro_f1": 0.5, "windows": 700, "reason": reason}
    write_performance_drop(home, PerformanceDrop.model_validate(facts))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = home_with_champion(make_home(tmp_path))
    _drop(made)
    return made


def _tick(instance: dg.DagsterInstance, home: Home, *, now: datetime = NOON, text: str = "") -> Answer:
    config = home.root.parent / "settings.yaml"
    config.write_text(text or "{}", encoding="utf-8")
    return evaluate_performance_drop(instance, home, RunSettingsResource(config_path=str(config)), now=now)


def _request(instance: dg.DagsterInstance, home: Home, *, now: datetime = NOON) -> dg.RunRequest:
    request = _tick(instance, home, now=now).request
    assert request is not None
    return request


def _kind(instance: dg.DagsterInstance, home: Home, *, now: datetime = NOON, text: str = "") -> str | None:
    skip = _tick(instance, home, now=now, text=text).skip
    return None if skip is None else skip.kind


def test_a_drop_launches_one_forced_run_that_says_why(instance: dg.DagsterInstance, home: Home) -> None:
    before = contents(home.root)
    request = _request(instance, home)
    assert request.run_config == {"force": True}
    assert request.tags["taskclf/cause"] == "performance"
    assert request.tags["taskclf/reason"].startswith(f"{MID} performs clearly worse than it should: test figure: clearly below")
    assert request.tags[".dagster/taskclf_demand"] == f"performance-{MID}"
    assert contents(home.root) == before


def test_it_is_answered_once_for_each_model_whatever_its_run_decided(instance: dg.DagsterInstance, home: Home) -> None:
    request = _request(instance, home)
    add_run(instance, home, Status.SUCCESS, tags=request.tags, run_config=request.run_config)
    assert [_kind(instance, home, now=NOON + days * DAY) for days in (0, 1, 300)] == ["answered"] * 3
    write_tiny_bundle(home.models / NEW)
    point_at(home, NEW)
    assert _kind(instance, home) == "no_drop"
    _drop(home, NEW)
    assert _request(instance, home).run_key != request.run_key


def test_a_run_that_fails_is_tried_on_another_day_and_three_times_at_most(instance: dg.DagsterInstance, home: Home) -> None:
    keys = set()
    for number in range(3):
        request = _request(instance, home, now=NOON + number * 2 * DAY)
        keys.add(request.run_key)
        add_run(instance, home, Status.FAILURE, tags=request.tags, run_config=request.run_config, at=NOON + number * 2 * DAY)
        assert _kind(instance, home, now=NOON + number * 2 * DAY + timedelta(hours=1)) in ("next_day", "attempts_exhausted")
    assert len(keys) == 3
    assert _kind(instance, home, now=NOON + 300 * DAY) == "attempts_exhausted"


def test_a_challenger_that_was_trained_since_answers_it_without_a_run(instance: dg.DagsterInstance, home: Home) -> None:
    def decide(at: datetime) -> None:
        facts = {"outcome": "REJECT", "decided_at": at, "as_of": at, "run_id": "r", "decision_id": "d", "dataset_hash": "0" * 16}
        seen = {"snapshot_path": "artifacts/snapshots/0", "label_watermark": "0" * 16, "trained_at": at}
        write_last_decided(home, LastDecided.model_validate({**facts, **seen}))

    decide(AS_OF - DAY)
    assert _kind(instance, home) is None
    decide(AS_OF + timedelta(hours=1))
    assert _kind(instance, home) == "answered"


def test_a_drop_of_a_model_that_is_not_active_asks_for_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    home = home_with_champion(make_home(tmp_path))
    _drop(home, OLD)
    assert _kind(instance, home) == "no_drop"


def test_a_home_without_scores_says_so_and_does_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    home = home_with_champion(make_home(tmp_path))
    skip = _tick(instance, home).skip
    assert skip is not None
    assert (skip.kind, skip.message) == ("no_drop", f"{home.scores} does not exist: no window was scored yet, so no performance is known")


def test_a_home_without_a_model_says_so_and_does_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    skip = _tick(instance, make_home(tmp_path)).skip
    assert skip is not None
    assert (skip.kind, skip.message) == ("no_drop", "no model is active, so there is no performance to watch")


def test_the_settings_turn_it_off_and_a_damaged_file_is_named(instance: dg.DagsterInstance, home: Home) -> None:
    assert _kind(instance, home, text="live_trigger: false\n") == "disabled"
    assert _kind(instance, home, text="enabled: false\n") == "disabled"
    performance_drop_path(home, MID).write_text("{}", encoding="utf-8")
    skip = _tick(instance, home).skip
    assert skip is not None
    assert (skip.kind, str(performance_drop_path(home, MID)) in skip.message) == ("error", True)


# --- The job that measures ----------------------------------------------------------------------------------------------------------


def _monitor(home: Home, instance: dg.DagsterInstance, *, at: datetime = EVENING) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=at.isoformat()))
    return definitions.resolve_job_def("monitor").execute_in_process(instance=instance, run_config={})


def _checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    own = [each for each in result.get_asset_check_evaluations() if each.asset_key == dg.AssetKey("live_performance")]
    return {each.check_name: each.passed for each in own}


def test_the_job_finds_the_drop_and_the_sensor_answers_it(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    home = _watched_home(tmp_path, share=0.6)
    assert _kind(instance, home) == "no_drop"
    result = _monitor(home, instance)
    assert result.success
    assert _checks(result) == {"active_model_performs_as_tested": False, "every_score_file_is_read": True}
    assert [event.event_type for event in read_outbox(home).events] == ["performance.dropped"]
    made = next(event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey("live_performance"))
    shown = {name: value.value for name, value in made.materialization.metadata.items()}
    assert shown["labeled_windows"] == 640
    assert shown["macro_f1"] < 0.65
    assert "performs clearly worse" in str(shown["result"])
    assert _request(instance, home).tags[".dagster/taskclf_demand"] == f"performance-{MID}"


def test_the_job_finds_nothing_to_do_in_a_home_without_scores(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    home = home_with_champion(make_home(tmp_path))
    result = _monitor(home, instance)
    assert result.success
    assert set(_checks(result).values()) == {True}
    assert read_performance_drop(home, MID) is None
    assert read_outbox(home).events == []
