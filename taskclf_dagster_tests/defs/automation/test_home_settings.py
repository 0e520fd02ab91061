"""Changes of a home's settings file count without a restart: at the next tick, or in the next run, of definitions that stay loaded."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.run_requests import DISABLED
from taskclf_dagster.defs.jobs.retrain import RetrainParams, RetrainResult, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.defs.resources.run_supervisor import max_runtime
from taskclf_dagster.defs.runs.run_tags import MAX_RUNTIME_TAG
from taskclf_dagster.domain.data.label_fingerprints import keep_fingerprints
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LastDecided, write_last_decided
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.scheduling.home_settings import change_home_settings
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, NEW, OLD
from taskclf_dagster_tests.registry_scenario import promoted
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, make_home

NOW = datetime(2026, 2, 4, 6, tzinfo=UTC)

pytestmark = pytest.mark.filterwarnings(
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
)


@dataclass(frozen=True)
class Server:
    """A home, its Dagster instance, and definitions that were loaded once."""

    home: Home
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    def set(self, changes: Mapping[str, object]) -> None:
        change_home_settings(self.home, changes, etag=None, who="ann", via="api", at=NOW)

    def schedule(self, name: str = "daily_retrain") -> str | None:
        """The reason for which a tick of a schedule skips; None if it launches a run."""
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=NOW,
            resources=self._resources(),
            repository_def=self.definitions.get_repository_def(),
        ) as context:
            tick = self.definitions.resolve_schedule_def(name).evaluate_tick(context)
        return None if tick.run_requests else tick.skip_message

    def sensor(self, name: str = "label_arrival") -> str | None:
        """The reason for which a tick of a sensor skips; None if it launches a run."""
        context = dg.build_sensor_context(
            instance=self.instance, resources=self._resources(), repository_def=self.definitions.get_repository_def()
        )
        tick = self.definitions.resolve_sensor_def(name).evaluate_tick(context)
        return None if tick.run_requests else tick.skip_message

    def retrain(self, **form: object) -> RetrainResult:
        return run_retrain_pipeline(self.definitions, RetrainParams(as_of=AS_OF.isoformat(), **form), instance=self.instance)

    def _resources(self) -> Mapping[str, object]:
        top_level = self.definitions.resources or {}
        return {name: top_level[name] for name in ("home", "run_settings", "clock")}


def serve(home: Home, instance: dg.DagsterInstance) -> Server:
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=NOW.isoformat()))
    return Server(home, instance, definitions)


@pytest.fixture
def server(tmp_path: Path, instance: dg.DagsterInstance) -> Server:
    """A home with six labelled days, on which nothing was decided."""
    return serve(learnable_home(tmp_path, users=1, days=6), instance)


def test_whether_anything_is_launched_by_itself_is_decided_at_each_tick(server: Server) -> None:
    assert server.schedule() is None
    server.set({"enabled": False})
    assert {server.schedule(), server.schedule("daily_monitoring"), server.sensor(), server.sensor("drift_report")} == {DISABLED}
    server.set({"enabled": None})
    assert (server.schedule(), server.schedule("daily_monitoring")) == (None, None)


def test_the_number_of_new_labels_counts_at_the_next_tick_of_the_sensor(server: Server) -> None:
    facts = {"outcome": "REJECT", "decided_at": NOW - DAY, "as_of": NOW - DAY, "run_id": "r", "decision_id": "d", "dataset_hash": "0" * 16}
    mark = keep_fingerprints(server.home.decisions, read_fingerprints(server.home))
    last = {**facts, "snapshot_path": "artifacts/snapshots/0", "label_watermark": mark, "trained_at": NOW - DAY}
    write_last_decided(server.home, LastDecided.model_validate(last))
    add_learnable_days(server.home, days=1)
    written = (NOW - timedelta(hours=1)).timestamp()
    os.utime(server.home.labels, (written, written))
    server.set({"min_new_labels": 1000})
    assert "1000" in (server.sensor() or "")
    server.set({"min_new_labels": 1})
    assert server.sensor() is None


def test_gates_promotion_and_time_limit_count_in_the_next_run_and_are_recorded_with_it(server: Server) -> None:
    quick = "search: off\ntrain_params: {num_boost_round: 15}\nmin_class_windows: 15\nmin_windows: 50\n"
    server.home.settings_file.write_text(quick, encoding="utf-8")
    server.set({"gates.min_macro_f1": 1.0, "timeout_minutes": 7})
    first = server.retrain()
    server.set({"gates.min_macro_f1": 0.5, "timeout_minutes": 9, "auto_promote": True})
    second = server.retrain(force=True)
    assert (first.outcome, second.outcome, second.pointer_moved) == ("REJECT", "PROMOTE", True)
    assert first.decision is not None
    assert second.decision is not None
    gates = [next(gate for gate in each.gates if gate.name == "macro_f1") for each in (first.decision, second.decision)]
    assert [gate.threshold for gate in gates] == [1.0, 0.5]
    assert [each.settings.evaluation.gates.min_macro_f1 for each in (first.decision, second.decision)] == [1.0, 0.5]
    limits = [server.instance.get_run_by_id(each.run_id).tags[MAX_RUNTIME_TAG] for each in (first, second)]  # type: ignore[union-attr]
    assert limits == [str(max_runtime(60.0 * minutes)) for minutes in (7, 9)]


def test_cron_line_and_time_zone_count_when_the_definitions_are_loaded_again(server: Server) -> None:
    server.set({"schedule.cron": "15 7 * * *", "schedule.timezone": "Europe/Vienna"})
    loaded = serve(server.home, server.instance).definitions.resolve_schedule_def("daily_retrain")
    assert (loaded.cron_schedule, loaded.execution_timezone) == ("15 7 * * *", "Europe/Vienna")
    assert server.definitions.resolve_schedule_def("daily_retrain").cron_schedule == "0 6 * * *"


# --- A file that cannot be used -------------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path, instance: dg.DagsterInstance) -> Server:
    """A home with three models whose settings file is damaged, and definitions that were loaded after that."""
    home = promoted(make_home(tmp_path), OLD, MID, NEW)
    home.settings_file.write_text("gates: [\n", encoding="utf-8")
    return serve(home, instance)


def test_with_a_damaged_file_the_definitions_load_and_every_tick_names_it(damaged: Server) -> None:
    ticks = [*map(damaged.schedule, ("daily_retrain", "daily_monitoring", "score_days"))]
    ticks += map(damaged.sensor, ("label_arrival", "drift_report", "performance_drop", "calibration_due", "failed_runs", "event_delivery"))
    assert [tick for tick in ticks if str(damaged.home.settings_file) not in (tick or "")] == []


@pytest.mark.parametrize(("job", "form"), [("rollback", {"reason": "worse"}), ("verify_registry", {"repair": True})])
def test_a_damaged_file_stops_no_rollback_and_no_repair(damaged: Server, job: str, form: Mapping[str, object]) -> None:
    result = damaged.definitions.resolve_job_def(job).execute_in_process(run_config=form, instance=damaged.instance)
    assert result.success
    pointer = read_active(damaged.home)
    assert pointer is not None
    assert pointer.name == (MID if job == "rollback" else NEW)


def test_a_damaged_file_fails_a_retrain_with_one_error_that_names_it(damaged: Server) -> None:
    result = damaged.retrain()
    assert not result.success
    assert str(damaged.home.settings_file) in result.reason
    assert json.dumps(result.reason).count("Traceback") == 0
