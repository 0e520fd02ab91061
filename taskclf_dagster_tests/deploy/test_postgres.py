"""The deployment of deploy/ with a real PostgreSQL: a retrain goes through restarts in its middle, and nothing is lost.

Code server, webserver and daemon are started by the very lines of their units, with deploy/dagster.yaml as it is and the variables of the
example file. Replaced are: the place of installation, the ports (also that in deploy/workspace.yaml), the folders, the password, and the
settings of the retrain. So that restarts fall into the middle of a run however fast the machine is, the run is held: before it begins by
the run lock, and before it decides by the lock of the registry, and then by SIGSTOP because it waits for that lock for a minute only.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg2
import pytest

from taskclf_dagster.definitions import ASSETS
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock
from taskclf_dagster.home import Home
from taskclf_dagster_tests.dagster_internals import InstigatorType
from taskclf_dagster_tests.deploy.shipped import DEPLOY, SERVICES, read_command, read_environment, service_environment, write_workspace
from taskclf_dagster_tests.servers import (
    SCRIPTS,
    TIMEOUT_SECONDS,
    Webserver,
    await_server,
    end_session,
    find_program,
    free_port,
    learnable_home,
    listening_addresses,
    port_is_open,
    start,
    stop,
    stored_events,
    tail,
    until,
    write_config,
)

pytestmark = [pytest.mark.server, pytest.mark.long]

PASSWORD, ADMIN_PASSWORD = "for-this-test-only", "of-the-administrator"
DEBIAN = "/usr/lib/postgresql"


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL server of its own."""

    port: int
    programs: Path

    def execute(self, *statements: str) -> None:
        """As the administrator, outside of transactions."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", password=ADMIN_PASSWORD, dbname="postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    initdb = find_program("initdb", *(path / "bin" for path in sorted(Path(DEBIAN).glob("*"), reverse=True)))
    if initdb is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    initdb = initdb.resolve()  # the other programs lie beside it
    # It refuses to run as root, and root's temporary folders are closed to the user that it runs as instead.
    user = _unprivileged_user() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="taskclf-postgres-"))
    log, data, port = folder / "log", folder / "data", free_port()
    try:
        (folder / "password").write_text(ADMIN_PASSWORD, encoding="utf-8")
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user, user)
        access = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--encoding=UTF8", "--locale=C.UTF-8"]
        made = start([initdb, "-D", data, *access], log, cwd=folder, env=os.environ, user=user)
        assert made.wait(timeout=TIMEOUT_SECONDS) == 0, tail(log)
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        server = start([initdb.with_name("postgres"), "-D", data, *options], log, cwd=folder, env=os.environ, user=user)
        try:
            _await_port(port, server, log)
            yield Cluster(port, initdb.parent)
            stop(server, signal.SIGINT)
        finally:
            end_session(server)
    finally:
        shutil.rmtree(folder)


def _unprivileged_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), "daemon")


def _await_port(port: int, process: subprocess.Popen, log: Path) -> None:
    next((True for _ in until(TIMEOUT_SECONDS) if port_is_open(port) or process.poll() is not None), None)
    assert process.poll() is None, tail(log)


@dataclass
class Team:
    """The three services of a deployment."""

    folder: Path
    home: Home
    environment: dict[str, str]
    ports: dict[str, int]
    web: Webserver
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    @property
    def instance(self) -> Path:
        return self.folder / "dagster"

    def log(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def start(self, *services: str) -> None:
        """Starts services and returns when they are at work."""
        begun = time.time()
        for service in services:
            command = read_command(
                service, workspace=self.folder / "workspace.yaml", code_port=self.ports["code"], web_port=self.ports["web"]
            )
            self.processes[service] = start(command, self.log(service), cwd=self.instance, env=self.environment)
            if service == "code":
                _await_port(self.ports["code"], self.processes["code"], self.log("code"))
        if "webserver" in services:
            await_server(self.web, self.processes["webserver"])
        if "daemon" in services:
            with self.open() as instance:
                next((True for _ in until(TIMEOUT_SECONDS) if _daemon_beats_since(instance, begun)), None)
                assert _daemon_beats_since(instance, begun), tail(self.log("daemon"))

    def ask_to_end(self, *services: str) -> None:
        """As systemd does: SIGTERM to the service's own process."""
        for service in services:
            self.processes[service].send_signal(signal.SIGTERM)

    def await_end(self, *services: str) -> None:
        """Services that were asked to end do so by themselves; then nobody of them is left."""
        for service in services:
            # A server that puts back the default handler and ends by the signal counts as a clean end for systemd, too.
            assert self.processes[service].wait(timeout=TIMEOUT_SECONDS) in (0, -signal.SIGTERM), tail(self.log(service))
            end_session(self.processes.pop(service))

    def stop(self, *services: str) -> None:
        self.ask_to_end(*services)
        self.await_end(*services)

    @contextmanager
    def holding(self, run_id: str, *, behind: str) -> Iterator[None]:
        """A run that is held behind an asset and before it moves a model."""
        with write_lock(self.home):
            self.await_asset(run_id, behind)
            worker = self.worker(run_id)
            os.kill(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)

    def open(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.instance))

    def made(self, run_id: str) -> list[str]:
        """Assets that a run has materialized so far, read from the database itself."""
        with self.open() as instance:
            return _made(instance, run_id)

    def await_asset(self, run_id: str, asset: str) -> None:
        with self.open() as instance:  # once, because opening it costs more than asking
            next((True for _ in until(TIMEOUT_SECONDS, every=0.1) if asset in _made(instance, run_id)), None)
            assert asset in _made(instance, run_id), tail(self.log("code"))

    def worker(self, run_id: str) -> int:
        """The process of a run."""
        with self.open() as instance:
            pids = {event.pid for event in stored_events(instance, run_id, dg.DagsterEventType.RUN_START)}
        (pid,) = pids
        assert pid is not None
        return pid


def _daemon_beats_since(instance: dg.DagsterInstance, moment: float) -> bool:
    beats = instance.get_daemon_heartbeats()
    return "QUEUED_RUN_COORDINATOR" in beats and beats["QUEUED_RUN_COORDINATOR"].timestamp >= moment


def _made(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    events = stored_events(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
    return [event.asset_key.to_user_string() for event in events if event.asset_key]


def holdings(instance: dg.DagsterInstance) -> set[tuple[str, ...]]:
    """Everything that the history holds, each thing by its name: runs, their events, materializations, check evaluations, ticks."""
    found: set[tuple[str, ...]] = set()
    for run in instance.get_runs():
        found.add(("run", run.run_id))
        for record in instance.get_records_for_run(run.run_id).records:
            event = record.event_log_entry.dagster_event
            found.add(("event", run.run_id, str(record.storage_id), event.event_type_value if event else "log"))
            if event and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                key = event.asset_check_evaluation_data.asset_check_key
                history = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
                assert run.run_id in {execution.run_id for execution in history}
                found.add(("check", run.run_id, key.to_user_string()))
    for asset in instance.all_asset_keys():
        for record in instance.fetch_materializations(asset, limit=100).records:
            found.add(("materialization", record.run_id, asset.to_user_string()))
    for state in instance.all_instigator_state():
        assert state.instigator_type in (InstigatorType.SENSOR, InstigatorType.SCHEDULE)
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id):
            found.add(("tick", state.instigator_name, str(tick.tick_id)))
    return found


def count(things: set[tuple[str, ...]]) -> dict[str, int]:
    kinds = [thing[0] for thing in things]
    return {kind: kinds.count(kind) for kind in set(kinds)}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    home = learnable_home(folder)
    ports = {"code": free_port(), "web": free_port()}
    write_workspace(folder, code_port=ports["code"])
    (folder / "dagster").mkdir()
    (folder / "dagster" / "dagster.yaml").symlink_to(DEPLOY / "dagster.yaml")
    environment = service_environment(
        {
            "DAGSTER_HOME": str(folder / "dagster"),
            "DAGSTER_PG_PORT": str(cluster.port),
            "DAGSTER_PG_PASSWORD": PASSWORD,
            "TASKCLF_HOME": str(home.root),
            "TASKCLF_DAGSTER_CONFIG": str(write_config(folder)),
        }
    )
    user, database = environment["DAGSTER_PG_USER"], environment["DAGSTER_PG_DB"]
    cluster.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'", f"CREATE DATABASE {database} OWNER {user}")
    team = Team(folder, home, environment, ports, Webserver(f"http://127.0.0.1:{ports['web']}", folder / "webserver.log"))
    with pytest.MonkeyPatch.context() as patch:
        for name in (name for name in environment if name.startswith("DAGSTER_PG_")):
            patch.setenv(name, environment[name])
        _prepare(team)
        try:
            team.start(*SERVICES)
            yield team
            team.stop(*reversed(team.processes))
        finally:
            for process in team.processes.values():
                end_session(process)


def _prepare(team: Team) -> None:
    """As README.md has it: makes the tables, and the limit of which the queue of an empty database knows nothing in its first pass."""
    (line,) = (line for line in (DEPLOY / "README.md").read_text(encoding="utf-8").splitlines() if "concurrency set" in line)
    script = (DEPLOY / "as-service").read_text(encoding="utf-8")
    for old, new in (("runuser -u taskclf-dagster -- ", ""), ('"$bin/', f'"{SCRIPTS}/')):
        assert script.count(old) == 1
        script = script.replace(old, new)
    (team.folder / "as-service").write_text(script, encoding="utf-8")
    variables = team.folder / "taskclf-dagster.env"
    variables.write_text("# A comment\n\n" + "".join(f"{name}={value}\n" for name, value in team.environment.items()), encoding="utf-8")
    words = ["sh", team.folder / "as-service", *line.split()[1:]]
    log = team.log("prepare")
    done = start(words, log, cwd=team.folder, env={"ENVIRONMENT_FILE": str(variables), "PATH": os.environ["PATH"]})
    assert done.wait(timeout=TIMEOUT_SECONDS) == 0, tail(log)


@dataclass(frozen=True)
class Story:
    """Two runs, and two restarts as they were seen: of webserver and daemon, and of code server and daemon."""

    first: str
    second: str
    made_before: list[str]
    made_while_down: list[str]
    statuses: list[tuple[str, str]]
    held: list[set[tuple[str, ...]]]
    tags: dict[str, str]


@pytest.fixture(scope="module")
def story(team: Team) -> Story:
    with team.open() as instance:
        next((True for _ in until(TIMEOUT_SECONDS) if any(thing[0] == "tick" for thing in holdings(instance))), None)
    nobody = RunLockHolder(run_id="of a test", worker="a test", since=datetime.now(UTC))
    with hold_run_lock(team.home, nobody, patience_seconds=0):
        first = team.web.launch("retrain")
        second = team.web.launch("retrain", run_config={"dry_run": True, "force": True})
        next((True for _ in until(TIMEOUT_SECONDS) if team.web.status(first) == "STARTED"), None)
        made_before, held = team.made(first), [_look(team)]
        team.stop("webserver", "daemon")
    with team.holding(first, behind="champion_report"):
        made_while_down = team.made(first)
        held.append(_look(team))
        team.start("webserver", "daemon")
        held.append(_look(team))
        statuses = [(team.web.status(first), team.web.status(second))]
        # The order in which systemd stops them, because the daemon's unit has Requires and After.
        team.stop("daemon")
        statuses.append((team.web.status(first), team.web.status(second)))
        team.ask_to_end("code")
    team.await_end("code")  # Dagster lets the run end for 30 seconds
    statuses.append((team.web.status(first), team.web.status(second)))
    team.start("code", "daemon")
    tags = team.web.wait(first)
    team.web.wait(second)
    held.append(_look(team))
    return Story(first, second, made_before, made_while_down, statuses, held, tags)


def _look(team: Team) -> set[tuple[str, ...]]:
    with team.open() as instance:
        return holdings(instance)


def test_the_webserver_knows_the_project_from_the_code_server(team: Team) -> None:
    next((True for _ in until(TIMEOUT_SECONDS) if team.web.locations() == [("taskclf_dagster", "RepositoryLocation")]), None)
    assert team.web.locations() == [("taskclf_dagster", "RepositoryLocation")]


def test_code_server_and_webserver_listen_on_loopback_only_and_the_daemon_not_at_all(team: Team) -> None:
    assert listening_addresses(team.processes["code"]) == {("127.0.0.1", team.ports["code"])}
    assert listening_addresses(team.processes["webserver"]) == {("127.0.0.1", team.ports["web"])}
    assert listening_addresses(team.processes["daemon"]) == set()


def test_a_run_goes_on_while_webserver_and_daemon_are_down(story: Story) -> None:
    assert "challenger_model" not in story.made_before
    assert "challenger_model" in story.made_while_down


def test_a_restart_finds_the_run_in_its_middle_and_the_next_one_in_the_queue(story: Story) -> None:
    assert "active_pointer" not in story.made_while_down
    assert story.statuses[0] == ("STARTED", "QUEUED")


def test_a_restart_of_the_code_server_lets_the_run_end_and_keeps_the_queue(story: Story) -> None:
    assert story.statuses[1:] == [("STARTED", "QUEUED"), ("SUCCESS", "QUEUED")]


def test_the_run_ends_well_and_promotes_a_first_model(team: Team, story: Story) -> None:
    assert story.tags["taskclf/outcome"] == "PROMOTE"
    assert len(team.made(story.first)) == len(ASSETS)
    pointer = read_active(team.home)
    assert pointer is not None
    assert [path.name for path in team.home.models.iterdir() if path.is_dir() and not path.name.startswith(".")] == [pointer.model_id]


def test_the_run_that_waited_ends_too_after_the_first_one(team: Team, story: Story) -> None:
    assert {"promotion_decision"} <= set(team.made(story.second))
    assert "active_pointer" not in team.made(story.second)
    assert len(list_decisions(team.home)[0]) == 2
    with team.open() as instance:
        first, second = (instance.get_run_record_by_id(run_id) for run_id in (story.first, story.second))
    assert first is not None
    assert second is not None
    assert first.end_time <= second.start_time


def test_nothing_of_the_history_is_lost_in_a_restart(story: Story) -> None:
    for before, after in zip(story.held, story.held[1:], strict=False):
        assert before - after == set()
    counts = count(story.held[-1])
    assert counts["run"] == 2
    assert counts["materialization"] == 2 * len(ASSETS) - 1
    assert counts["check"] == len({thing for thing in story.held[-1] if thing[0] == "check"}) >= 2 * 40
    assert counts["tick"] >= 1
    numbers = [int(thing[2]) for thing in story.held[-1] if thing[0] == "event"]
    assert len(numbers) == len(set(numbers))


def test_the_pages_show_all_of_it_after_the_restarts(team: Team, story: Story) -> None:
    answer = team.web.ask(
        """{ runsOrError { ... on Runs { results { runId status } } }
             assetNodes { assetKey { path } assetMaterializations { runId } }
             sensorsOrError(repositorySelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__"}) {
               ... on Sensors { results { name sensorState { status ticks { tickId status } } } } } }"""
    )
    assert {run["runId"]: run["status"] for run in answer["runsOrError"]["results"]} == {story.first: "SUCCESS", story.second: "SUCCESS"}
    made = {node["assetKey"]["path"][-1]: {event["runId"] for event in node["assetMaterializations"]} for node in answer["assetNodes"]}
    assert made["promotion_decision"] == {story.first, story.second}
    assert made["active_pointer"] == {story.first}
    shown = sum(len(sensor["sensorState"]["ticks"]) for sensor in answer["sensorsOrError"]["results"])
    assert shown >= sum(thing[0] == "tick" for thing in story.held[0])


def test_a_dump_restored_into_another_database_holds_the_same_history(team: Team, story: Story, cluster: Cluster) -> None:
    team.stop("daemon", "webserver")
    user, database = read_environment()["DAGSTER_PG_USER"], read_environment()["DAGSTER_PG_DB"]
    cluster.execute(f"CREATE DATABASE restored OWNER {user}")
    dump = team.folder / "history.dump"
    access = ["-h", "127.0.0.1", "-p", str(cluster.port), "-U", user]
    password = {**os.environ, "PGPASSWORD": PASSWORD}
    subprocess.run([cluster.programs / "pg_dump", *access, "-Fc", "-f", dump, database], env=password, check=True)
    subprocess.run([cluster.programs / "pg_restore", *access, "--exit-on-error", "-d", "restored", dump], env=password, check=True)
    original = _look(team)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_PG_DB", "restored")
        assert _look(team) == original >= story.held[-1]
