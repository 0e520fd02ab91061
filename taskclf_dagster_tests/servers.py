"""Dagster's servers as people run them: started as processes of their own, asked over GraphQL, and gone when the test is over."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
import yaml

from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import DAY, add_learnable_days, make_home

PROJECT = DEFAULT_CONFIG_PATH.parent.parent
SCRIPTS = Path(sys.executable).parent
DAYS = 6
ASSETS = (
    "labeled_windows",
    "dataset_snapshot",
    "challenger_model",
    "challenger_report",
    "champion_report",
    "promotion_decision",
    "active_pointer",
)
TIMEOUT_SECONDS = 240
# Nothing may launch by itself while a test looks: no schedule tick but at new year, labels are never enough for the sensor, and a promoted
# model is not calibrated, which its sensor would have done within five minutes.
CONFIG = """
auto_promote: {auto_promote}
min_class_windows: 15
min_windows: 50
max_negative_flips: 1.0
max_flip_excess: 1.0
min_new_labels: 100000
search: off
calibration_method: off
prove_reproducible: false
schedule: {{cron: "0 0 1 1 *"}}
train_params: {{num_boost_round: {rounds}, learning_rate: {rate}}}
gates: {{min_reject_rate: 0.0, max_reject_rate: 1.0}}
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


@dataclass(frozen=True)
class Webserver:
    """A running webserver.

    Attributes:
        url: where it listens.
        log: what it printed, for a test that fails.
        path: what answers without a login.
    """

    url: str
    log: Path
    path: str = "/server_info"

    @property
    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{self.path}", timeout=5):  # noqa: S310  # 127.0.0.1
                return True
        except (urllib.error.URLError, OSError):
            return False

    def ask(self, query: str, **variables: object) -> dict:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310  # 127.0.0.1
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # 127.0.0.1
            return json.load(answer)["data"]

    def locations(self) -> list[tuple[str, str]]:
        """Name of each code location, and whether it is a RepositoryLocation or an error."""
        entries = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        return [(entry["name"], (entry["locationOrLoadError"] or {"__typename": "loading"})["__typename"]) for entry in entries]

    def launch(self, job: str, *, run_config: dict | None = None, assets: tuple[str, ...] = ()) -> str:
        selector: dict[str, object] = {"repositoryLocationName": "taskclf_dagster", "repositoryName": "__repository__", "jobName": job}
        if assets:
            selector["assetSelection"] = [{"path": [name]} for name in assets]
        answer = self.ask(LAUNCH, p={"selector": selector, "runConfigData": run_config or {}, "mode": "default"})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def status(self, run_id: str) -> str:
        return str(self.ask(STATUS, id=run_id)["runOrError"]["status"])

    def wait(self, run_id: str) -> dict[str, str]:
        """The tags of a run when it has ended well."""
        run: dict = {}
        for _ in until(TIMEOUT_SECONDS, every=1.0):
            run = self.ask(STATUS, id=run_id)["runOrError"]
            if run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                break
        assert run["status"] == "SUCCESS", f"{run['status']}\n{tail(self.log)}"
        return {tag["key"]: tag["value"] for tag in run["tags"]}


def until(seconds: float, every: float = 0.3) -> Iterator[None]:
    """Comes round until the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(every)


def tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_program(name: str, *folders: Path) -> Path | None:
    """A program on the PATH, or else in one of these folders."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, folders)])
    found = shutil.which(name, path=search)
    return Path(found) if found else None


def learnable_home(folder: Path) -> Home:
    """A home with labels of the last days, from which a first model can be learned and promoted."""
    home = make_home(folder)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    add_learnable_days(home, first=midnight - DAYS * DAY, days=DAYS, users=1)
    return home


def write_config(folder: Path, *, rounds: int = 15, auto_promote: bool = True) -> Path:
    """Settings under which that model passes; more rounds take longer and learn as much, because each learns less."""
    path = folder / "config.yaml"
    text = CONFIG.format(rounds=rounds, rate=1.5 / rounds, auto_promote=str(auto_promote).lower())
    path.write_text(text, encoding="utf-8")
    return path


def make_instance(folder: Path) -> None:
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


def stored_events(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
    records = instance.get_records_for_run(run_id, of_type=kind).records
    events = [record.event_log_entry.dagster_event for record in records]
    return [event for event in events if event is not None]


def start(command: Sequence[str | Path], log: Path, *, cwd: Path, env: Mapping[str, str], user: str | None = None) -> subprocess.Popen:
    """Starts a server in a session of its own, as another user where given. What it prints is added to the log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )


def stop(process: subprocess.Popen, how: signal.Signals = signal.SIGTERM, *, seconds: float = 60) -> int:
    """Asks a server, and nobody else in its session, to end; gives its exit code."""
    process.send_signal(how)
    return process.wait(timeout=seconds)


def end_session(process: subprocess.Popen) -> None:
    """Leaves nothing of a server's session, whatever happened."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(timeout=60)


@contextmanager
def running(command: Sequence[str | Path], log: Path, *, cwd: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen]:
    """A server for as long as the block lasts."""
    process = start(command, log, cwd=cwd, env=env)
    try:
        yield process
    finally:
        end_session(process)


def await_server(server: Webserver, process: subprocess.Popen) -> None:
    """Returns when the server answers."""
    for _ in until(TIMEOUT_SECONDS):
        if server.answers or process.poll() is not None:
            break
    assert process.poll() is None, tail(server.log)
    assert server.answers, tail(server.log)


def listening_addresses(process: subprocess.Popen) -> set[tuple[str, int]]:
    """Address and port of every TCP socket on which a server or one of its children listens."""
    server = psutil.Process(process.pid)
    sockets = [connection for member in (server, *server.children(recursive=True)) for connection in member.net_connections("tcp")]
    return {(found.laddr.ip.removeprefix("::ffff:"), found.laddr.port) for found in sockets if found.status == psutil.CONN_LISTEN}


def _heed_interrupts() -> None:
    """In the child: even where the tests run as a background job, whose children a shell makes deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
