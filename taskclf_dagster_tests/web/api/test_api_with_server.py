"""The API of the real server, called with what its OpenAPI document allows and forbids, and a cron line that changes while it runs.

The server runs without a daemon: what is launched waits in the queue.
"""

import json
import os
import re
import subprocess
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

pytestmark = pytest.mark.server

TOKEN = "a-token-of-enough-characters"  # noqa: S105  # made up
CASES = 1000
EXAMPLES, SEED = "45", "1"
CRON = """
{ scheduleOrError(scheduleSelector: {repositoryLocationName: "taskclf_dagster", repositoryName: "__repository__",
    scheduleName: "daily_retrain"}) { ... on Schedule { cronSchedule } } }
"""
SETTINGS = """
[checks]
# If-Match is what is missing. For the configuration below: an ETag of another state is found before the body is read, and the rule
# between two keys (min_reject_rate is at most max_reject_rate) has no JSON Schema.
missing_required_header.expected-statuses = ["400", "401", "403", "406", "415", "422", "428"]

[dictionaries.ids]
values = {ids}

[dictionaries.etags]
values = ["*"]

[parameters]
"path.id" = {{ dictionary = "ids", probability = 0.5 }}
"header.If-Match" = {{ dictionary = "etags", probability = 0.7 }}

[[operations]]
include-path = "/api/ml/retrain/config"
include-method = "PUT"
checks.positive_data_acceptance.expected-statuses = ["2xx", "412", "422"]
checks.negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "406", "412", "415", "422", "428"]
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
    (tmp_path / "schemathesis.toml").write_text(SETTINGS.format(ids=json.dumps(ids)), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", tmp_path / "schemathesis.toml"),
        *("run", f"{server.url}/api/ml/retrain/openapi.json", "--header", f"Authorization: Bearer {TOKEN}", "--checks", "all"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED, "--continue-on-failure"),
        *("--request-timeout", "60", "--report-json-path", tmp_path / "report.json"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "taskclf_dagster_tests.web.api.openapi_formats", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases is not None, done.stdout[-2_000:]
    assert cases[1] == cases[2]
    assert int(cases[1]) >= CASES
    rates = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["valid_rates"]
    accepted = {name: sum(phase["accepted"] for phase in phases.values()) for name, phases in rates.items()}
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
