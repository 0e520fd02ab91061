"""The API of the real server, called with what its OpenAPI document allows and forbids, and a cron line that changes while it runs.

The server runs without a daemon: what is launched waits in the queue.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import requests

from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.errors import ApiError
from taskclf_dagster.home import Home
from taskclf_dagster.status.client import RetrainClient
from taskclf_dagster_tests.models import MID, NEW, OLD
from taskclf_dagster_tests.registry_scenario import NEXT, judged, promoted
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.servers import PROJECT, TIMEOUT_SECONDS, free_port, make_instance, running, tail, until
from taskclf_dagster_tests.web.api.generated_requests import send_requests

pytestmark = pytest.mark.server

TOKEN = "a-token-of-enough-characters"  # noqa: S105  # made up
CASES = 1000
EXAMPLES = 45
CRON = """
{ scheduleOrError(scheduleSelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__",
    scheduleName: "daily_retrain"}) { ... on Schedule { cronSchedule } } }
"""
ODD_IDS = ["..", "a/b", "%2e%2e", "nul\0", "x\u202ey", "line\nend"]


@dataclass(frozen=True)
class Running:
    """The server, its home and its log."""

    url: str
    home: Home
    instance: Path
    log: Path

    def client(self) -> RetrainClient:
        return RetrainClient(self.url, token=TOKEN)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    home = promoted(make_home(folder), OLD, MID, NEW)
    judged(home, NEXT, auto_promote=False)
    make_instance(folder / "dagster")
    port, log = free_port(), folder / "server.log"
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder / "dagster"),
        "TASKCLF_HOME": str(home.root),
        "TASKCLF_DAGSTER_TOKEN": TOKEN,
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "taskclf_dagster.web", "-w", str(PROJECT / "workspace.yaml"), "-p", str(port)]
    with running(command, log, cwd=folder, env=environment) as process:
        found = Running(f"http://127.0.0.1:{port}", home, folder / "dagster", log)
        for _ in until(TIMEOUT_SECONDS):
            if process.poll() is not None or _answers(found):
                break
        assert process.poll() is None, tail(log)
        yield found


def _answers(server: Running) -> bool:
    try:
        return bool(server.client().status())
    except ApiError:
        return False


def test_a_thousand_requests_that_the_document_allows_or_forbids_are_answered_as_it_says(server: Running, tmp_path: Path) -> None:
    ids = [*(decision.decision_id for decision in list_decisions(server.home)[0]), OLD, NEXT, *ODD_IDS]
    accepted = send_requests(server.url, TOKEN, tmp_path, ids=ids, examples=EXAMPLES, cases=CASES)
    assert accepted["PUT /api/ml/retrain/config"] > 10
    assert "Traceback" not in server.log.read_text(encoding="utf-8", errors="replace")
    with dg.DagsterInstance.from_config(str(server.instance)) as instance:
        launched = sorted(run.job_name for run in instance.get_runs())
    assert launched in (["approve", "retrain"], ["retrain", "rollback"])  # the first of each, which then waits for ever


def test_a_changed_cron_line_counts_without_a_restart(server: Running) -> None:
    client, line = server.client(), "17 4 * * 2"
    effective = client.change_config({"schedule": {"cron": line}}, etag=None)["effective"]
    assert set(effective) == {"schedule.cron"}
    found = ""
    for _ in until(TIMEOUT_SECONDS):
        answer = requests.post(
            f"{server.url}/graphql", json={"query": CRON}, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=TIMEOUT_SECONDS
        )
        found = answer.json()["data"]["scheduleOrError"].get("cronSchedule", "")
        if found == line:
            break
    assert found == line, tail(server.log)
