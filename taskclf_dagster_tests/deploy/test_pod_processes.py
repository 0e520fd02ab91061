"""The processes of the pods of deploy/kubernetes, started by the very arguments of the manifests, and asked as the probes ask.

Replaced are the ports, the addresses, the address of the code server in workspace.yaml, and the storage of the instance, which is SQLite.
The run launcher stays, and no cluster is there: neither server needs one to start.
"""

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from taskclf_dagster.defs.runs import watchdog
from taskclf_dagster.web.rules import TOKEN_VARIABLE
from taskclf_dagster_tests.deploy.manifests import BASE, CODE, WEB, read_pods, read_settings, read_yaml
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.servers import (
    PROJECT,
    SCRIPTS,
    TIMEOUT_SECONDS,
    Webserver,
    await_server,
    free_port,
    make_instance,
    running,
    tail,
    until,
)

TOKEN = "for-this-test-only-0123456789"  # noqa: S105
BEHIND_AN_INIT = ["sh", "-c", '"$@" & wait $!', "init"]


@dataclass(frozen=True)
class Pods:
    """A folder in which the containers run, and their variables."""

    folder: Path
    environment: dict[str, str]

    def command(self, role: str, port: int) -> list[str]:
        """The arguments of a container, on loopback and with the programs of this environment."""
        container = read_pods()[role].container
        written = str(container["ports"][0]["containerPort"])
        files = "/etc/taskclf-dagster"
        replaced = {written: str(port), "0.0.0.0": "127.0.0.1", "dagster": str(SCRIPTS / "dagster"), "python": sys.executable}  # noqa: S104
        return [replaced.get(word, word.replace(files, str(self.folder))) for word in container["args"]]


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Pods:
    folder = tmp_path_factory.mktemp("pods")
    instance, home = folder / "instance", make_home(folder)
    make_instance(instance)
    config = read_yaml("base/dagster.yaml")
    del config["storage"]
    (instance / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "retrain.yaml").write_text((BASE / "retrain.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    given = {**read_settings(), "DAGSTER_HOME": str(instance), "TASKCLF_HOME": str(home.root)}
    given |= {"TASKCLF_DAGSTER_CONFIG": str(folder / "retrain.yaml"), TOKEN_VARIABLE: TOKEN, "PYTHONPATH": str(PROJECT)}
    return Pods(folder, {**{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}, **given})


@pytest.fixture(scope="module")
def code_server(pods: Pods) -> Iterator[int]:
    """The code server, when its probe succeeds: its port."""
    port, log = free_port(), pods.folder / "code.log"
    with running(pods.command(CODE, port), log, cwd=pods.folder, env=pods.environment) as process:
        for _ in until(TIMEOUT_SECONDS):
            if process.poll() is not None or _probe(port):
                break
        assert _probe(port), tail(log)
        yield port


def _probe(port: int) -> bool:
    """Asks as the kubelet does for a probe `grpc`."""
    probe = read_pods()[CODE].container["readinessProbe"]["grpc"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = health_pb2.HealthCheckRequest(service=probe["service"])
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def web_server(pods: Pods, code_server: int) -> Iterator[Webserver]:
    workspace = read_yaml("base/workspace.yaml")
    workspace["load_from"][0]["grpc_server"] |= {"host": "127.0.0.1", "port": code_server}
    (pods.folder / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
    port, log = free_port(), pods.folder / "web.log"
    probe = read_pods()[WEB].container["readinessProbe"]["httpGet"]
    server = Webserver(f"http://127.0.0.1:{port}", log, path=probe["path"])
    with running(pods.command(WEB, port), log, cwd=pods.folder, env=pods.environment) as process:
        await_server(server, process)
        yield server


def _status(server: Webserver, path: str, **headers: str) -> int:
    request = urllib.request.Request(server.url + path, headers=headers)  # noqa: S310  # 127.0.0.1
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # 127.0.0.1
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.server
def test_the_probes_need_no_login_and_everything_else_does(web_server: Webserver) -> None:
    assert _status(web_server, "/retrain/health") == 200
    assert _status(web_server, "/server_info") == 401
    assert _status(web_server, "/server_info", Authorization=f"Bearer {TOKEN}") == 200
    assert _status(web_server, "/retrain", Authorization=f"Bearer {TOKEN}") == 200
    assert _status(web_server, "/retrain", Authorization=f"Bearer {TOKEN}", Host="dagster.example.org") == 200
    assert _status(web_server, "/retrain", Authorization=f"Bearer {TOKEN}", Host="elsewhere.example.org") == 400


@pytest.mark.server
def test_the_web_server_finds_the_project_in_the_code_server(web_server: Webserver) -> None:
    def ask() -> list[tuple[str, str]]:
        opener = urllib.request.build_opener()
        opener.addheaders = [("Authorization", f"Bearer {TOKEN}")]
        urllib.request.install_opener(opener)
        try:
            return web_server.locations()
        finally:
            urllib.request.install_opener(urllib.request.build_opener())

    next((True for _ in until(TIMEOUT_SECONDS) if ask() == [("taskclf_dagster", "RepositoryLocation")]), None)
    assert ask() == [("taskclf_dagster", "RepositoryLocation")]


HANGING = f"""
import json, os, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
order = {{"process": os.getpid(), "run_id": "1", "home": sys.argv[1], "timeout_seconds": 0.2, "grace_seconds": 0.2, "instance": None}}
command = [sys.executable, "-m", "{watchdog.__name__}"]
with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as process:
    process.stdin.write(json.dumps(order).encode() + b"\\n")
    process.stdin.flush()
    process.wait()
print("survived", flush=True)
"""


@pytest.mark.parametrize(
    ("init", "survives"), [([], True), (["sh", "-c", '"$@" & wait $!', "init"], False)], ids=["process 1", "behind an init"]
)
def test_a_run_that_hangs_can_be_killed_from_within_its_pod_only_behind_an_init(tmp_path: Path, init: list[str], survives: bool) -> None:
    """The image has tini because the kernel ignores SIGKILL that process 1 gets from its own container."""
    unshare = [shutil.which("unshare") or "unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace can be made here: Linux and root are needed")
    home = make_home(tmp_path)
    command = [*unshare, *init, sys.executable, "-c", HANGING, str(home.root)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False)
    assert ("survived" in done.stdout) is survives, done.stderr
