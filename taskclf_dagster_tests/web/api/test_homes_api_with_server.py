"""The API of a real server for many homes, called with what its OpenAPI document allows and forbids. It runs without a daemon."""

import os
import sys
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.defs.runs.run_tags import PARTITION_TAG
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.errors import ApiError
from taskclf_dagster.status.client import RetrainClient
from taskclf_dagster_tests.many_homes import make_homes
from taskclf_dagster_tests.models import OLD
from taskclf_dagster_tests.registry_scenario import NEXT
from taskclf_dagster_tests.servers import PROJECT, TIMEOUT_SECONDS, free_port, make_instance, running, tail, until
from taskclf_dagster_tests.web.api.generated_requests import send_requests

pytestmark = [pytest.mark.server, pytest.mark.long]

TOKEN = "a-token-of-enough-characters"  # noqa: S105  # made up
EXAMPLES, CASES = 10, 80
WORKSPACE = "load_from: [{python_module: {module_name: taskclf_dagster.team_definitions, location_name: taskclf_dagster}}]"


def test_requests_that_the_document_allows_or_forbids_are_answered_as_it_says(tmp_path: Path) -> None:
    directory = make_homes(tmp_path / "team", {"anna": "waiting", "ben": "fine", "eve": "missing"})
    make_instance(tmp_path / "dagster")
    (tmp_path / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
    port, log = free_port(), tmp_path / "server.log"
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "TASKCLF_DAGSTER_HOMES": str(directory.path),
        "TASKCLF_DAGSTER_TOKEN": TOKEN,
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "taskclf_dagster.web", "-w", str(tmp_path / "workspace.yaml"), "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with running(command, log, cwd=tmp_path, env=environment) as process:
        for _ in until(TIMEOUT_SECONDS):
            if process.poll() is not None or _answers(url):
                break
        assert process.poll() is None, tail(log)
        anna = RetrainClient(url, token=TOKEN, home="anna")
        assert [row["name"] for row in anna.homes()["homes"]] == ["eve", "anna", "ben"]
        assert anna.status()["activeModel"] is not None
        ids = [*(decision.decision_id for decision in list_decisions(directory.open("anna"))[0]), OLD, NEXT, ".."]
        accepted = send_requests(
            url, TOKEN, tmp_path, ids=ids, examples=EXAMPLES, cases=CASES, homes=["anna", "ben", "nobody"], phases="examples,fuzzing"
        )
        assert accepted["PUT /api/ml/retrain/homes/{home}/config"] > 2
        assert accepted["GET /api/ml/retrain/homes"] > 0
        assert "Traceback" not in log.read_text(encoding="utf-8", errors="replace")
        with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
            assert {run.tags[PARTITION_TAG] for run in instance.get_runs()} <= {"anna", "ben"}
            assert "retrain" in {run.job_name for run in instance.get_runs()}


def _answers(url: str) -> bool:
    try:
        return bool(RetrainClient(url, token=TOKEN).homes())
    except ApiError:
        return False
