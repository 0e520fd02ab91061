"""The whole circle on the demo home: seven days, one by one under a moved clock, with a shift of the inputs in the last four.

The days are scored, the drift is confirmed once, a retrain is requested, judged and promoted, the new model is calibrated, scores what
follows, and both models have live figures. What runs is only what schedules and sensors ask for, on a real instance.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
import time_machine

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.calibration_sensor import evaluate_calibration_due
from taskclf_dagster.defs.automation.schedules import evaluate_daily_retrain
from taskclf_dagster.defs.automation.score_schedule import evaluate_score_days
from taskclf_dagster.defs.automation.sensors import evaluate_drift_report
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.demo.generator import extend_demo_home, generate_demo_home
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.monitoring.day_scores import list_scored_days, read_day_scores
from taskclf_dagster.domain.monitoring.live_performance import LivePerformance
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.home import Home
from taskclf_dagster_tests.runs import instance_in

pytestmark = pytest.mark.slow

FIRST = date(2026, 3, 1)
"""The first of the seven days; fourteen days lie before it."""

DAYS, SHIFTED_FROM = 7, 3

CONFIG = """
auto_promote: true
min_new_labels: 100000
global_retrain_cadence_days: 365
max_days_since_training: 365
evidence_policy: point
regression_tolerance: 0.1
clearly_worse_margin: 0.5
max_flip_excess: 0.5
search: off
train_params: {num_boost_round: 40}
drift: {days: 3}
prove_reproducible: false
gates: {min_breakidle_recall: 0.8}
"""
"""Everything is promoted that is no disaster: the shifted inputs cost the second model some BreakIdle."""


@dataclass
class Circle:
    """The runs of seven days, and the home that they left."""

    home: Home
    launched: list[tuple[str, str]] = field(default_factory=list)
    first_model: str = ""
    live: list[LivePerformance] = field(default_factory=list)


class _Machine:
    """Schedules and sensors at given times, and the runs that they request."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder, self.instance = folder, instance
        (folder / "own.yaml").write_text(CONFIG, encoding="utf-8")
        self.settings = RunSettingsResource(config_path=str(folder / "own.yaml"))
        self.home = HomeResource(root=str(folder / "home"))
        self.definitions = build_definitions(home=self.home, run_settings=self.settings, clock=ClockResource())
        self.circle = Circle(self.home.open())

    def run(self, job: str, request: dg.RunRequest | None = None) -> dg.ExecuteInProcessResult:
        tags = {} if request is None else dict(request.tags)
        config = None if request is None else request.run_config
        result = self.definitions.resolve_job_def(job).execute_in_process(
            run_config=config or {}, tags=tags, instance=self.instance, raise_on_error=False
        )
        assert result.success, job
        cause = "" if request is None else f" by {tags.get('taskclf/cause', 'schedule')}"
        self.circle.launched.append((f"{datetime.now(UTC):%Y-%m-%d %H:%M}", f"{job}{cause}"))
        return result

    def morning(self) -> None:
        """Runs what the daemon would on one morning: scores, monitoring, the sensors of drift and calibration, the daily retrain."""
        now, home = datetime.now(UTC), self.circle.home
        scores = evaluate_score_days(self.instance, self.home, self.settings, scheduled=now, now=now)
        if isinstance(scores, dg.RunRequest):
            self.run("score", scores)
        monitored = self.run("monitor")
        self.circle.live.append(monitored.output_for_node("live_performance"))
        for request in (
            evaluate_drift_report(self.instance, home, self.settings, now=now).request,
            evaluate_daily_retrain(self.instance, home, self.settings, scheduled=now, now=now),
        ):
            if isinstance(request, dg.RunRequest):
                self.run("retrain", request)
        self.calibrate()

    def calibrate(self) -> None:
        """The sensor of calibration."""
        request = evaluate_calibration_due(self.instance, self.circle.home, self.settings, now=datetime.now(UTC))
        if isinstance(request, dg.RunRequest):
            self.run("calibrate", request)


def _shift(home: Home, day: date) -> None:
    """Moves three inputs of everybody on a day far away, as another mouse and keyboard would."""
    path = home.features("v1") / f"date={day}" / "features.parquet"
    table = pq.read_table(path, partitioning=None)
    for name in ("keys_per_min", "mouse_distance", "clicks_per_min"):
        values = [None if value is None else 3 * value + 200.0 for value in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), [values])
    pq.write_table(table, path)


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Circle]:
    folder = tmp_path_factory.mktemp("circle")
    generate_demo_home(folder / "home", end=FIRST - timedelta(days=1), users=2, days=14)
    with instance_in(folder) as instance:
        machine = _Machine(folder, instance)
        for number in range(-1, DAYS):
            day = FIRST + timedelta(days=number)
            if number >= 0:
                extend_demo_home(folder / "home", days=1)
            if number >= SHIFTED_FROM:
                _shift(machine.circle.home, day)
            with time_machine.travel(datetime.combine(day + timedelta(days=1), time(6, 5), tzinfo=UTC), tick=True):
                if number < 0:
                    machine.run("retrain")
                    pointer = read_active(machine.circle.home)
                    assert pointer is not None
                    machine.circle.first_model = pointer.name
                    machine.calibrate()
                else:
                    machine.morning()
        yield machine.circle


def test_every_day_is_scored_by_the_model_that_was_active_at_its_end(circle: Circle) -> None:
    scored = list_scored_days(circle.home)
    days = [FIRST + timedelta(days=number) for number in range(DAYS)]
    assert set(days) <= set(scored)
    models = [set(read_day_scores(scored[day])["model_id"].astype(str)) for day in days]
    assert all(len(found) == 1 for found in models)
    assert models[0] == {circle.first_model}
    pointer = read_active(circle.home)
    assert pointer is not None
    assert models[-1] == {pointer.name}
    assert pointer.name != circle.first_model


def test_the_drift_is_confirmed_once_and_one_retrain_is_requested_judged_and_promoted(circle: Circle) -> None:
    events = Counter(event.event_type for event in read_outbox(circle.home).events)
    retrains = [(at, job) for at, job in circle.launched if job.startswith("retrain")]
    assert [job for _, job in retrains] == ["retrain", "retrain by drift"]
    assert f"{FIRST + timedelta(days=SHIFTED_FROM)}" < retrains[1][0][:10] <= f"{FIRST + timedelta(days=DAYS)}"
    assert (events["drift.confirmed"], events["model.promoted"]) == (1, 2)


def test_both_models_were_calibrated_after_their_promotion(circle: Circle) -> None:
    actions = [(entry.action, entry.new.name) for entry in read_history(circle.home).entries if entry.new is not None]
    pointer = read_active(circle.home)
    assert pointer is not None
    judged = [name for action, name in actions if action == "promote"]
    assert judged == [circle.first_model, pointer.name]
    records = [read_json_object(path) for path in sorted((circle.home.records / "calibrator_store").glob("*.json"))]
    assert {record["model_id"] for record in records} == {circle.first_model, pointer.name}
    calibrated = [at[:10] for at, job in circle.launched if job.startswith("calibrate")]
    assert calibrated == [at[:10] for at, job in circle.launched if job.startswith("retrain")]


def test_both_models_have_live_figures_on_labels_that_came_later(circle: Circle) -> None:
    pointer = read_active(circle.home)
    assert pointer is not None
    found = {model.model_id for model in circle.live[-1].models}
    assert found >= {circle.first_model, pointer.name}


def test_the_registry_keeps_every_promise(circle: Circle) -> None:
    assert [finding for finding in check_registry(circle.home) if finding.severity == "damage"] == []
