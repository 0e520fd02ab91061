"""Servers that are attacked: each a process, with an instance and a small project of its own, whose queue nobody works off.

A run that was launched is counted.
"""

import http.client
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from websockets.sync.client import connect

from taskclf_dagster.entry_paths import HOME_VARIABLE, INSTANCE_VARIABLE
from taskclf_dagster.web.health import HEALTH
from taskclf_dagster.web.rules import TOKEN_VARIABLE
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.servers import PROJECT, Webserver, await_server, free_port, make_instance, running

TOKEN = "0123456789abcdef0123"  # noqa: S105  # of the test alone
TRIGGER = "/api/ml/retrain/trigger"
LAUNCH = (
    'mutation { launchRun(executionParams: {selector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__",'
    ' jobName: "retrain"}, runConfigData: "{}"}) { __typename } }'
)
DEFINITIONS = """
import dagster as dg

@dg.op
def nothing(): ...

@dg.job
def retrain(): nothing()

defs = dg.Definitions(jobs=[retrain])
"""
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Target:
    """A server that is attacked, and its instance."""

    port: int
    instance: Path

    def send(self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Sends exactly these headers, and Host."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode("utf-8", "replace"))

    def post(self, query: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.send("POST", "/graphql", json.dumps({"query": query}), headers or JSON)

    def greet(self, **headers: str) -> object:
        """The first message over a websocket of Dagster's pages."""
        with connect(f"ws://127.0.0.1:{self.port}/graphql", additional_headers=headers, subprotocols=["graphql-ws"], proxy=None) as socket:
            socket.send(json.dumps({"type": "connection_init", "payload": {}}))
            return json.loads(socket.recv(timeout=60))

    @property
    def launched(self) -> int:
        with dg.DagsterInstance.from_config(str(self.instance)) as instance:
            return instance.get_runs_count()


@contextmanager
def attacked(folder: Path, *, module: str = "taskclf_dagster.web", options: tuple[str, ...] = (), token: str = "") -> Iterator[Target]:
    instance, port, log = folder / "dagster", free_port(), folder / "server.log"
    make_instance(instance)
    (folder / "project.py").write_text(DEFINITIONS, encoding="utf-8")
    (folder / "workspace.yaml").write_text(
        "load_from: [{python_file: {relative_path: project.py, location_name: taskclf_dagster}}]", encoding="utf-8"
    )
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment |= {"PYTHONPATH": str(PROJECT), INSTANCE_VARIABLE: str(instance), HOME_VARIABLE: str(make_home(folder).root)}
    command = [sys.executable, "-m", module, "-p", str(port), "-w", str(folder / "workspace.yaml"), *options]
    with running(command, log, cwd=folder, env={**environment, TOKEN_VARIABLE: token}) as process:
        path = "/server_info" if module == "dagster_webserver" else HEALTH
        await_server(Webserver(f"http://127.0.0.1:{port}", log, path=path), process)
        yield Target(port, instance)
