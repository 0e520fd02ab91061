"""A home that lives day by day: labels arrive, schedule and sensors look, what they ask for runs, and things go wrong on chosen days.

Everything is real but the clock: the definitions of the project, a Dagster instance on disk, LightGBM, the registry. The
clock is moved by `time_machine`, for this process and for the one that is killed.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import psutil
import pyarrow.parquet as pq
import time_machine

from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.assets import models as model_assets
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, find_unfinished_retrain, iterate_retrains
from taskclf_dagster.defs.runs.run_tags import CAUSE_TAG
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock
from taskclf_dagster.domain.storage.temporary_files import find_temporary_files
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, day_file, make_home, write_labels

PROJECT = DEFAULT_CONFIG_PATH.parent.parent
FIRST_DAYS = 8
KEEP = 3
DELETED = 8
"""How many of the newest label spans a person takes back."""
CONFIG = f"""
auto_promote: true
data_lookback_days: 14
min_class_windows: 15
min_windows: 50
max_negative_flips: 1.0
max_flip_excess: 1.0
regression_tolerance: 0.1
max_days_since_training: 12
keep_versions: {KEEP}
keep_rejected: {KEEP}
train_params: {{num_boost_round: 12}}
search: off
"""
HANGING = "hanging"
CRASH = """
import json, sys, time
from pathlib import Path
import dagster as dg, time_machine
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.assets import models
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.home import Home

order = json.loads(sys.argv[1])
home = Home(Path(order["home"]))

def write_half(path):
    path.write_bytes(b"half a file")
    print("hanging", flush=True)
    time.sleep(600)

models.build_challenger = lambda *_, **__: write_atomic(home.challengers / "model", write_half)
definitions = build_definitions(
    home=HomeResource(root=order["home"]), run_settings=RunSettingsResource(config_path=order["config"])
)
with time_machine.travel(order["at"], tick=True), dg.DagsterInstance.from_config(order["instance"]) as instance:
    definitions.resolve_job_def("retrain").execute_in_process(
        run_config=order["run_config"], tags=order["tags"], instance=instance, raise_on_error=False
    )
"""


@dataclass
class Day:
    """What happened on one day."""

    number: int
    launched: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    size: int = 0


class Simulation:
    """One home over many days."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, instance_folder: Path) -> None:
        self.home = make_home(folder)
        self.config = folder / "soak.yaml"
        self.config.write_text(CONFIG, encoding="utf-8")
        self.instance, self.instance_folder = instance, instance_folder
        self.start = AS_OF
        add_learnable_days(self.home, first=AS_OF - FIRST_DAYS * DAY, days=FIRST_DAYS, users=1)
        self.resources = {
            "home": HomeResource(root=str(self.home.root)),
            "run_settings": RunSettingsResource(config_path=str(self.config)),
            "clock": ClockResource(),
        }
        self.definitions = build_definitions(**self.resources)
        self.repository = self.definitions.get_repository_def()
        self.cursors: dict[str, str | None] = {}
        self.keys: set[str] = set()
        self.rolled_back: str | None = None

    # --- A day --------------------------------------------------------------------------------------------------------------------

    def live(self, number: int, incident: str | None, *, works: bool) -> Day:
        """One day: the morning's schedule, a day of work, and an evening of sensors; then what must hold at the end of every day."""
        day, begin = Day(number), self.start + number * DAY
        with self.at(begin + timedelta(hours=6)):
            self.sense("event_delivery", day)
            self.sense("failed_runs", day)
            self.tick(begin + timedelta(hours=6), day)
        torn = self.go_wrong_at_noon(incident, begin, day)
        if works:
            add_learnable_days(self.home, first=begin, days=1, users=1)
        with self.at(begin + timedelta(hours=18)):
            self.sense("label_arrival", day)  # labels came just now: too early
        with self.at(begin + timedelta(hours=18, minutes=15)), self.evening(incident, begin):
            self.sense("label_arrival", day)
            self.sense("drift_report", day)
        for minutes in (16, 20, 45):
            with self.at(begin + timedelta(hours=19, minutes=minutes)):
                self.sense("failed_runs", day)
        with self.at(begin + timedelta(hours=23)):
            self.sense("label_arrival", day)
            self.sense("event_delivery", day)
            self.check_the_day(day)
        if torn is not None:
            torn[0].write_bytes(torn[1])
        return day

    def go_wrong_at_noon(self, incident: str | None, begin: datetime, day: Day) -> tuple[Path, bytes] | None:
        """Tears yesterday's file until midnight, writes a drift report, takes labels back, or rolls back."""
        if incident == "a bad day":
            torn = day_file(self.home, (begin - DAY).date())
            whole = torn.read_bytes()
            torn.write_bytes(b"PAR1 torn")
            return torn, whole
        if incident == "drift":
            alert = {"trigger": "feature_psi", "severity": "critical", "timestamp": (begin + timedelta(hours=12)).isoformat()}
            self.home.drift_report.parent.mkdir(parents=True, exist_ok=True)
            self.home.drift_report.write_text(json.dumps({"alerts": [alert], "any_critical": True}), encoding="utf-8")
            with self.at(begin + timedelta(hours=12, minutes=5)):
                self.sense("drift_report", day)
        if incident == "deleted labels":
            spans = pq.read_table(self.home.labels).to_pylist()
            left = sorted(spans, key=lambda each: each["start_ts"])[:-DELETED]
            left[-1]["label"] = "Write" if left[-1]["label"] != "Write" else "Build"  # else there would be nothing new to learn
            write_labels(self.home, left)
        if incident == "a rollback":
            with self.at(begin + timedelta(hours=12)):
                self.rolled_back = read_active(self.home).name
                job = self.definitions.resolve_job_def("rollback")
                assert job.execute_in_process(run_config={"reason": "it named everything Debug"}, instance=self.instance).success
                day.outcomes.append("ROLLBACK")
        return None

    @contextmanager
    def evening(self, incident: str | None, begin: datetime) -> Iterator[None]:
        """Makes the run that is launched within fail for a passing reason, or die with the power."""
        if incident == "an I/O error":
            whole = model_assets.build_challenger

            def fail(*_: object, **__: object) -> None:
                raise OSError(5, "Input/output error", "disk")

            model_assets.build_challenger = fail
            try:
                yield
            finally:
                model_assets.build_challenger = whole
        elif incident == "a power cut":
            self.run = self.die  # type: ignore[method-assign]
            try:
                yield
            finally:
                del self.run
        else:
            yield

    # --- Dagster's part -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        with time_machine.travel(moment, tick=True):
            yield

    def tick(self, moment: datetime, day: Day) -> None:
        context = dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=moment, resources=self.resources, repository_def=self.repository
        )
        data = self.definitions.resolve_schedule_def("daily_retrain").evaluate_tick(context)
        self.launch("daily_retrain", data.run_requests or [], day, data.skip_message)

    def sense(self, name: str, day: Day) -> None:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursors.get(name), resources=self.resources, repository_def=self.repository
        )
        data = self.definitions.resolve_sensor_def(name).evaluate_tick(context)
        self.cursors[name] = data.cursor
        self.launch(name, data.run_requests or [], day, data.skip_message)

    def launch(self, by: str, requests: list[dg.RunRequest], day: Day, skip: str | None) -> None:
        """As the daemon does: a key that was used launches nothing."""
        if skip is not None:
            day.skipped[by] = skip
        for request in requests:
            key = f"{by}/{request.run_key}"
            assert key not in self.keys, f"{key} was used before: Dagster would launch nothing"
            self.keys.add(key)
            day.launched.append(request.tags.get(CAUSE_TAG, by) + ("" if by != "failed_runs" else " again"))
            day.outcomes.append(self.run(request))

    def run(self, request: dg.RunRequest) -> str:
        """The launched run, in this process."""
        job = self.definitions.resolve_job_def("retrain")
        form = {"config_path": str(self.config), **request.run_config}
        result = job.execute_in_process(run_config=form, tags=request.tags, instance=self.instance, raise_on_error=False)
        return self.instance.get_run_by_id(result.run_id).tags.get("taskclf/outcome", "FAILED") if result.success else "FAILED"

    def die(self, request: dg.RunRequest) -> str:
        """The launched run in a process of its own that loses its power, and its watchdog with it, in the middle of a write."""
        order = {
            "home": str(self.home.root),
            "config": str(self.config),
            "instance": str(self.instance_folder),
            "at": datetime.now().astimezone().isoformat(),
            "run_config": {"config_path": str(self.config), **request.run_config},
            "tags": dict(request.tags),
        }
        process = subprocess.Popen([sys.executable, "-c", CRASH, json.dumps(order)], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        assert process.stdout is not None
        with process, process.stdout:
            said = next((line for line in process.stdout if HANGING in line), None)
            assert said is not None
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        assert list(find_temporary_files(self.home)) != []
        return "DIED"

    # --- What must hold -----------------------------------------------------------------------------------------------------------

    def check_the_day(self, day: Day) -> None:
        """The registry's promises, one retrain at a time, nothing left behind, bounded disk."""
        assert [finding.detail for finding in check_registry(self.home) if finding.severity == "damage"] == []
        assert find_unfinished_retrain(self.instance, self.home) is None
        with hold_run_lock(self.home, holder=_nobody(), patience_seconds=0):
            pass
        assert list(find_temporary_files(self.home)) == []
        pointer = read_active(self.home)
        if pointer is not None:
            assert read_registry_state(self.home).active_model_dir == pointer.model_dir
            assert pointer.name not in read_history(self.home).blocked
        bundles = [path for path in self.home.models.iterdir() if path.is_dir() and not path.name.startswith(".")]
        others = [
            path
            for folder in (self.home.rejected_models, self.home.pending_models, self.home.challengers)
            if folder.is_dir()
            for path in folder.iterdir()
        ]
        assert len(bundles) <= KEEP + 7, "anchors (5), what runs and what a rollback goes back to may stay beyond keep_versions"
        assert len(others) <= KEEP + 3
        day.size = sum(path.stat().st_size for path in self.home.artifacts.rglob("*") if path.is_file())

    def runs(self) -> list[RetrainRun]:
        return list(iterate_retrains(self.instance, self.home))

    def delivered(self) -> Counter[str]:
        """Events in the default sink, by type; each id once."""
        path = self.home.root / "artifacts" / "events" / "events.jsonl"
        events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len({event["eventId"] for event in events}) == len(events)
        return Counter(event["eventType"] for event in events)


def _nobody() -> RunLockHolder:
    return RunLockHolder(run_id="nobody", worker="nowhere:0:0", since=AS_OF)
