"""The project as people open it: `dagster dev` with the shipped settings, and runs launched as the buttons of its pages do."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from taskclf_dagster.domain.decision import list_decisions
from taskclf_dagster.domain.pointer import read_active
from taskclf_dagster.home import Home
from taskclf_dagster.settings import DEFAULT_CONFIG_PATH
from taskclf_dagster_tests.scenario import DAY, add_learnable_days, make_home

PROJECT = DEFAULT_CONFIG_PATH.parent.parent
DAYS = 6
TIMEOUT_SECONDS = 240
ASSETS = (
    "labeled_windows",
    "dataset_snapshot",
    "challenger_model",
    "challenger_report",
    "champion_report",
    "promotion_decision",
    "active_pointer",
)
# Nothing may launch by itself while the test looks: no schedule tick but at new year, and labels are never enough for the sensor.
CONFIG = """
auto_promote: true
min_class_windows: 15
min_windows: 50
max_negative_flips: 1.0
max_flip_excess: 1.0
min_new_labels: 100000
schedule: {cron: "0 0 1 1 *"}
train_params: {num_boost_round: 15}
"""
LAUNCH = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } } }
"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }"
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename ... on PythonError { message } } } } } }
"""
INSTIGATORS = """
{ schedulesOrError(repositorySelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__"}) {
    ... on Schedules { results { name scheduleState { status } } } }
  sensorsOrError(repositorySelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__"}) {
    ... on Sensors { results { name sensorState { status } } } } }
"""


@dataclass(frozen=True)
class Server:
    """A running `dagster dev`."""

    url: str
    home: Home
    instance: Path
    log: Path

    def ask(self, query: str, **variables: object) -> dict:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310  # 127.0.0.1
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # 127.0.0.1
            return json.load(answer)["data"]

    def launch(self, job: str, *, run_config: dict | None = None, assets: tuple[str, ...] = ()) -> str:
        selector: dict[str, object] = {"repositoryLocationName": "taskclf_dagster", "repositoryName": "__repository__", "jobName": job}
        if assets:
            selector["assetSelection"] = [{"path": [name]} for name in assets]
        answer = self.ask(LAUNCH, p={"selector": selector, "runConfigData": run_config or {}, "mode": "default"})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def wait(self, run_id: str) -> dict[str, str]:
        """The tags of a run when it has ended well."""
        run: dict = {}
        for _ in _until(TIMEOUT_SECONDS):
            run = self.ask(STATUS, id=run_id)["runOrError"]
            if run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                break
        assert run["status"] == "SUCCESS", self.log.read_text(encoding="utf-8")[-4000:]
        return {tag["key"]: tag["value"] for tag in run["tags"]}

    def stored(self, run_id: str, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        with dg.DagsterInstance.from_config(str(self.instance)) as instance:
            records = instance.get_records_for_run(run_id, of_type=kind).records
        return [record.event_log_entry.dagster_event for record in records]


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.3)


def _make_instance(folder: Path) -> None:
    """A Dagster instance with the shipped settings but a place of its own, initialised by one process before two others open it."""
    folder.mkdir()
    settings = yaml.safe_load((PROJECT / "dagster.yaml").read_text(encoding="utf-8"))
    places = ("storage", "local_artifact_storage", "compute_logs")
    settings = {key: value for key, value in settings.items() if key not in places}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.get_runs_count()
        instance.all_asset_keys()
        instance.all_instigator_state()


def _heed_interrupts() -> None:
    """In the child: even where the tests run as a background job, whose children a shell makes deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310  # 127.0.0.1
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    home = make_home(folder)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    add_learnable_days(home, first=midnight - DAYS * DAY, days=DAYS, users=1)
    config = folder / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    _make_instance(folder / "dagster")
    port = _free_port()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder / "dagster"),
        "TASKCLF_HOME": str(home.root),
        "TASKCLF_DAGSTER_CONFIG": str(config),
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(PROJECT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
    log = folder / "server.log"
    with log.open("wb") as output:
        # A session of its own, and SIGINT to stop it: as a background job of a shell it would ignore both INT and TERM.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True, preexec_fn=_heed_interrupts
        )
        try:
            url = f"http://127.0.0.1:{port}"
            ready = next((True for _ in _until(TIMEOUT_SECONDS) if _answers(url) or process.poll() is not None), False)
            assert ready, log.read_text(encoding="utf-8")[-4000:]
            assert process.poll() is None, log.read_text(encoding="utf-8")[-4000:]
            yield Server(url, home, folder / "dagster", log)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=60)


@pytest.fixture(scope="module")
def dry_run_and_all(server: Server) -> tuple[str, str]:
    """A dry run of the job and, right behind it in the queue, everything: the ids of two runs, launched at once."""
    dry_run = server.launch("retrain", run_config={"dry_run": True})
    everything = server.launch("__ASSET_JOB", assets=ASSETS)
    return dry_run, everything


def test_the_project_loads_in_the_webserver_with_schedule_and_sensor_on(server: Server) -> None:
    entries = server.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
    assert [(entry["name"], entry["locationOrLoadError"]["__typename"]) for entry in entries] == [("taskclf_dagster", "RepositoryLocation")]
    answer = server.ask(INSTIGATORS)
    schedules = {row["name"]: row["scheduleState"]["status"] for row in answer["schedulesOrError"]["results"]}
    sensors = {row["name"]: row["sensorState"]["status"] for row in answer["sensorsOrError"]["results"]}
    assert (schedules, sensors) == ({"daily_retrain": "RUNNING"}, {"label_arrival": "RUNNING"})


def test_the_job_launched_with_a_flat_form_makes_a_dry_run(server: Server, dry_run_and_all: tuple[str, str]) -> None:
    run_id, _ = dry_run_and_all
    tags = server.wait(run_id)
    assert tags["taskclf/outcome"] == "PROMOTE (dry run)"
    made = {str(event.asset_key.to_user_string()) for event in server.stored(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)}
    assert made == set(ASSETS) - {"active_pointer"}


def test_materialize_all_with_the_defaults_makes_all_seven_assets_and_runs_every_check(
    server: Server, dry_run_and_all: tuple[str, str]
) -> None:
    dry_run, run_id = dry_run_and_all
    server.wait(dry_run)
    tags = server.wait(run_id)
    assert tags["taskclf/outcome"] == "PROMOTE"
    made = {str(event.asset_key.to_user_string()) for event in server.stored(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)}
    assert made == set(ASSETS)
    evaluations = [event.asset_check_evaluation_data for event in server.stored(run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)]
    assert len(evaluations) == 44
    assert [evaluation.check_name for evaluation in evaluations if not evaluation.passed and evaluation.severity.value == "ERROR"] == []


def test_the_home_has_its_first_model_from_the_second_of_two_decisions(server: Server, dry_run_and_all: tuple[str, str]) -> None:
    for run_id in dry_run_and_all:
        server.wait(run_id)
    decisions, _ = list_decisions(server.home)
    assert sorted(decision.outcome for decision in decisions) == ["PROMOTE", "PROMOTE (dry run)"]
    pointer = read_active(server.home)
    assert pointer is not None
    assert [path.name for path in server.home.models.iterdir() if path.is_dir()] == [pointer.model_id]
    assert len(list(server.home.rejected_models.iterdir())) == 1
