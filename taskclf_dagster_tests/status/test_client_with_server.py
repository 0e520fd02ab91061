"""The project as people open it: `dagster dev` with the shipped settings, runs launched as its buttons do, and the client of its API."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.runs.run_tags import HOME_TAG
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.errors import ApiError
from taskclf_dagster.home import Home
from taskclf_dagster.status.graphql_client import GraphQLClient
from taskclf_dagster_tests.models import point_at
from taskclf_dagster_tests.servers import (
    ASSETS,
    PROJECT,
    TIMEOUT_SECONDS,
    Webserver,
    await_server,
    free_port,
    learnable_home,
    listening_addresses,
    make_instance,
    running,
    stop,
    stored_events,
    until,
    write_config,
)

pytestmark = [pytest.mark.server, pytest.mark.long]

LOOK_SECONDS = 2.0
"""Between two questions for the status, each of which costs the code server as much as a tick of the schedule."""

INSTIGATORS = """
{ schedulesOrError(repositorySelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__"}) {
    ... on Schedules { results { name scheduleState { status } } } }
  sensorsOrError(repositorySelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__"}) {
    ... on Sensors { results { name sensorState { status } } } } }
"""


@dataclass(frozen=True, kw_only=True)
class Server(Webserver):
    """A running `dagster dev`, with what it works on."""

    home: Home
    instance: Path
    process: subprocess.Popen
    environment: dict[str, str]

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
        server = Server(f"http://127.0.0.1:{port}", log, home=home, instance=folder / "dagster", process=process, environment=environment)
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
    assert schedules == dict.fromkeys(("daily_retrain", "weekly_verification", "daily_monitoring", "score_days"), "RUNNING")
    assert sensors == dict.fromkeys(
        ("label_arrival", "drift_report", "performance_drop", "calibration_due", "failed_runs", "event_delivery"), "RUNNING"
    )


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
    assert len(evaluations) == 52
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


# --- Status, trigger, history and configuration over the API ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(server: Server, dry_run_and_all: tuple[str, str]) -> GraphQLClient:
    for run_id in dry_run_and_all:
        server.wait(run_id)
    return GraphQLClient(server.url)


def test_the_history_over_the_api_has_versions_labels_and_scores(
    server: Server, client: GraphQLClient, dry_run_and_all: tuple[str, str]
) -> None:
    everything, dry_run = client.history()
    assert (dry_run["run_id"], everything["run_id"]) == dry_run_and_all
    model = read_active(server.home).model_id
    assert (everything["status"], everything["outcome"], everything["new_version"]) == ("completed", "PROMOTE", model)
    assert (everything["previous_version"], everything["metrics_before"]) == (None, None)
    assert everything["metrics_after"]["macro_f1"] > 0.65
    assert everything["labels"] == 960
    assert everything["started"] < everything["finished"]
    assert (dry_run["outcome"], dry_run["new_version"], dry_run["cause"]) == ("PROMOTE (dry run)", None, "by hand")
    assert client.history(limit=1) == [everything]


def test_the_status_over_the_api_tells_what_runs_whether_it_is_fresh_and_when_the_schedule_looks(
    server: Server, client: GraphQLClient, dry_run_and_all: tuple[str, str]
) -> None:
    for _ in until(TIMEOUT_SECONDS, every=LOOK_SECONDS):  # the daemon looks at freshness every 30 seconds
        if client.status()["freshness"] == "HEALTHY":
            break
    status = client.status()
    assert (status["state"], status["run"]["run_id"], status["progress"]) == ("completed", dry_run_and_all[1], None)
    assert status["active_model"] == read_active(server.home).model_id
    assert status["freshness"] == "HEALTHY"
    assert status["next_tick"][4:10] in ("-01-01", "-12-31")  # the machine's new year
    assert re.match("no: retrain is not due before .*, cadence is 7 days; ", status["due"]), status["due"]  # though it never ticked
    assert status["labels"] not in (None, "", status["due"])
    assert GraphQLClient(server.url, home=str(server.home.root.resolve())).status()["active_model"] == status["active_model"]
    elsewhere = GraphQLClient(server.url, home="/elsewhere").status()
    assert (elsewhere["state"], elsewhere["run"], elsewhere["active_model"]) == ("idle", None, None)


def test_a_server_for_readers_evaluates_no_schedule_so_due_is_its_last_tick(
    server: Server, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    port, log = free_port(), tmp_path / "server.log"
    command = [sys.executable, "-m", "dagster_webserver", "--read-only", "-w", str(PROJECT / "workspace.yaml"), "-p", str(port)]
    with running(command, log, cwd=tmp_path, env=server.environment) as process:
        readers = Webserver(f"http://127.0.0.1:{port}", log)
        await_server(readers, process)
        status = GraphQLClient(readers.url).status()
    assert status["next_tick"] is not None
    assert status["due"] == snapshot  # its words for a schedule that never ticked


def test_a_retrain_that_is_triggered_over_the_api_is_found_before_it_begins_and_can_be_watched_until_it_ends(
    server: Server, client: GraphQLClient
) -> None:
    ours = GraphQLClient(server.url, home=str(server.home.root.resolve()))
    run_id = ours.trigger(force=True, dry_run=True)
    status = ours.status()
    assert (status["run"]["run_id"], status["state"]) == (run_id, "queued")
    seen: list[tuple[str, int | None]] = []
    for _ in until(TIMEOUT_SECONDS, every=0.5):
        status = client.status()
        assert status["run"]["run_id"] == run_id
        seen.append((status["state"], status["progress"]))
        if status["state"] not in ("queued", "running"):
            break
    assert seen[-1] == ("completed", None)
    assert "running" in dict(seen)
    assert max(progress or 0 for _, progress in seen) > 0
    newest = client.history(limit=1)[0]
    assert (newest["run_id"], newest["cause"], newest["outcome"]) == (run_id, "api", "PROMOTE (dry run)")


def test_a_retrain_that_fails_is_told_with_its_reason(client: GraphQLClient) -> None:
    run_id = client.trigger(config_path="/nowhere/own.yaml")
    for _ in until(TIMEOUT_SECONDS, every=LOOK_SECONDS):  # the sensor failed_runs notes the reason within 30 seconds
        status = client.status()
        if status["state"] == "failed" and status["reason"]:
            break
    assert status["run"]["run_id"] == run_id
    assert "/nowhere/own.yaml" in status["reason"]
    assert "/nowhere/own.yaml" in client.history(limit=1)[0]["error"]


def test_a_client_for_one_home_sees_its_runs_behind_newer_ones_of_another_home(
    server: Server, client: GraphQLClient, dry_run_and_all: tuple[str, str]
) -> None:
    with dg.DagsterInstance.from_config(str(server.instance)) as instance:
        run = instance.create_run_for_job(build_definitions().resolve_job_def("retrain"), tags={HOME_TAG: "/another"})
        instance.report_run_failed(run)
    assert client.status()["run"]["run_id"] == run.run_id
    ours, other = (GraphQLClient(server.url, home=home) for home in (str(server.home.root.resolve()), "/another/"))
    assert other.status()["run"]["run_id"] == run.run_id
    assert [row["run_id"] for row in other.history()] == [run.run_id]
    known = [row["run_id"] for row in ours.history()]
    assert run.run_id not in known
    assert set(dry_run_and_all) < set(known)
    assert (ours.status()["run"]["run_id"], [row["run_id"] for row in ours.history(limit=1)]) == (known[0], known[:1])


def test_the_configuration_over_the_api_is_that_of_the_file(server: Server, client: GraphQLClient) -> None:
    expected = load_retrain_config(server.home.root.parent / "config.yaml").document
    assert client.config() == expected


def test_what_the_api_refuses_is_an_error_with_the_reason_and_a_server_that_is_not_there_is_no_refusal(server: Server) -> None:
    elsewhere = GraphQLClient(server.url, location="elsewhere")
    for ask in (elsewhere.status, elsewhere.trigger, elsewhere.config):
        with pytest.raises(ApiError) as caught:
            ask()
        assert caught.value.refused
        assert "elsewhere" in str(caught.value)
    port = free_port()
    with pytest.raises(ApiError) as caught:
        GraphQLClient(f"http://127.0.0.1:{port}").status()
    assert not caught.value.refused
    assert f"127.0.0.1:{port}/graphql" in str(caught.value)


def test_the_daemon_delivers_events_of_these_runs_to_the_default_sink(server: Server, client: GraphQLClient) -> None:
    path = server.home.root / "artifacts" / "events" / "events.jsonl"
    wanted = {"model.retrain.started", "model.retrain.completed", "model.retrain.failed", "model.retrained", "model.promoted"}
    types: set[str] = set()
    for _ in until(TIMEOUT_SECONDS):
        types = {json.loads(line)["eventType"] for line in path.read_text(encoding="utf-8").splitlines()} if path.exists() else set()
        if types >= wanted:
            break
    assert types == wanted


def test_a_move_of_the_pointer_outside_dagster_shows_in_the_status(server: Server, client: GraphQLClient) -> None:
    before = read_active(server.home)
    copy = "2026-01-01_000000_run-copy"
    shutil.copytree(server.home.models / before.name, server.home.models / copy)
    point_at(server.home, copy)
    ours, other = (GraphQLClient(server.url, home=home) for home in (str(server.home.root.resolve()), "/another"))
    for _ in until(TIMEOUT_SECONDS, every=LOOK_SECONDS):  # the sensor event_delivery looks every 30 seconds
        if client.status()["active_model"] == copy:
            break
    assert client.status()["active_model"] == ours.status()["active_model"] == copy
    assert other.status()["active_model"] is None
