"""The project as people open it: `dagster dev` with the shipped settings, and runs launched as the buttons of its pages do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.domain.decision import list_decisions
from taskclf_dagster.domain.pointer import read_active
from taskclf_dagster.home import Home
from taskclf_dagster_tests.servers import (
    PROJECT,
    Webserver,
    await_server,
    free_port,
    learnable_home,
    listening_addresses,
    make_instance,
    running,
    stop,
    stored_events,
    write_config,
)

ASSETS = (
    "labeled_windows",
    "dataset_snapshot",
    "challenger_model",
    "challenger_report",
    "champion_report",
    "promotion_decision",
    "active_pointer",
)
INSTIGATORS = """
{ schedulesOrError(repositorySelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__"}) {
    ... on Schedules { results { name scheduleState { status } } } }
  sensorsOrError(repositorySelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__"}) {
    ... on Sensors { results { name sensorState { status } } } } }
"""


@dataclass(frozen=True)
class Server(Webserver):
    """A running `dagster dev`, with what it works on."""

    home: Home
    instance: Path
    process: subprocess.Popen

    def stored(self, run_id: str, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        with dg.DagsterInstance.from_config(str(self.instance)) as instance:
            return stored_events(instance, run_id, kind)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    home = learnable_home(folder)
    make_instance(folder / "dagster")
    port = free_port()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder / "dagster"),
        "TASKCLF_HOME": str(home.root),
        "TASKCLF_DAGSTER_CONFIG": str(write_config(folder)),
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(PROJECT / "workspace.yaml"), "-p", str(port)]
    log = folder / "server.log"
    with running(command, log, cwd=folder, env=environment) as process:
        server = Server(f"http://127.0.0.1:{port}", log, home, folder / "dagster", process)
        await_server(server, process)
        yield server
        assert stop(process, signal.SIGINT) == 0


@pytest.fixture(scope="module")
def dry_run_and_all(server: Server) -> tuple[str, str]:
    """A dry run of the job and, right behind it in the queue, everything: the ids of two runs, launched at once."""
    dry_run = server.launch("retrain", run_config={"dry_run": True})
    everything = server.launch("__ASSET_JOB", assets=ASSETS)
    return dry_run, everything


def test_the_project_loads_in_the_webserver_with_schedule_and_sensor_on(server: Server) -> None:
    assert server.locations() == [("taskclf_dagster", "RepositoryLocation")]
    answer = server.ask(INSTIGATORS)
    schedules = {row["name"]: row["scheduleState"]["status"] for row in answer["schedulesOrError"]["results"]}
    sensors = {row["name"]: row["sensorState"]["status"] for row in answer["sensorsOrError"]["results"]}
    assert (schedules, sensors) == ({"daily_retrain": "RUNNING"}, {"label_arrival": "RUNNING"})


def test_the_dev_server_listens_on_loopback_only_unless_told_otherwise(server: Server) -> None:
    listening = listening_addresses(server.process)
    assert int(server.url.rpartition(":")[2]) in {port for _, port in listening}
    assert {address for address, _ in listening} <= {"127.0.0.1", "::1"}


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
