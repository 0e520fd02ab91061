"""A code server and a daemon serve four homes: one floods the queue, one is gone, one always fails, the fourth is served in its turn."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
import yaml

from taskclf_dagster.defs.dagster_internals import HOMES_MODULE
from taskclf_dagster.defs.jobs.partition_forms import fill_form
from taskclf_dagster.defs.runs.run_tags import OUTCOME_REASON_TAG, PARTITION_TAG
from taskclf_dagster_tests.servers import PROJECT, SCRIPTS, Webserver, await_server, free_port, running, tail, until
from taskclf_dagster_tests.team_scenario import instance_of, make_team

pytestmark = [pytest.mark.server, pytest.mark.skipif(os.name != "posix", reason="its code server listens on a socket of the file system")]

PATIENCE = 600
FLOOD = 3
LAUNCH = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on RunConfigValidationInvalid { errors { message } } ... on PythonError { message } } }
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Webserver, dg.DagsterInstance]]:
    """Code server, daemon and web server with the settings that are shipped, one place in all; nothing launches by itself."""
    directory = make_team(tmp_path, ("anna", "failing", "flood", "gone"), limits="max_concurrent_runs: 1\n")
    for name in ("anna", "failing", "flood", "gone"):
        directory.open(name).settings_file.write_text('enabled: false\nscore_schedule: "off"\nschedule: {verify_cron: "0 0 1 1 *"}\n')
    folder, log, port = tmp_path / "dagster", tmp_path / "servers.log", free_port()
    env = {**os.environ, "DAGSTER_HOME": str(folder), "TASKCLF_DAGSTER_HOMES": str(directory.path), "PYTHONPATH": str(PROJECT)}
    workspace, code = tmp_path / "workspace.yaml", tmp_path / "code.sock"
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": {"socket": str(code), "location_name": "taskclf_dagster"}}]}))
    with instance_of(directory, folder) as instance, ExitStack() as stack:
        instance.get_runs_count()
        instance.all_asset_keys()
        instance.all_instigator_state()
        module = ["-m", HOMES_MODULE, "--location-name", "taskclf_dagster"]
        stack.enter_context(
            running([sys.executable, "-m", "dagster", "code-server", "start", "--socket", code, *module], log, cwd=tmp_path, env=env)
        )
        assert any(code.exists() for _ in until(PATIENCE)), tail(log)
        web = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", workspace]
        process = stack.enter_context(running(web, log, cwd=tmp_path, env=env))
        found = Webserver(f"http://127.0.0.1:{port}", log)
        await_server(found, process)
        stack.enter_context(running([SCRIPTS / "dagster-daemon", "run", "-w", workspace], log, cwd=tmp_path, env=env))
        yield found, instance


def _launch(server: Webserver, job: str, name: str) -> str:
    selector = {"repositoryLocationName": "taskclf_dagster", "repositoryName": "__repository__", "jobName": job}
    params = {
        "selector": selector,
        "runConfigData": fill_form(job, {}),
        "executionMetadata": {"tags": [{"key": PARTITION_TAG, "value": name}]},
    }
    answer = server.ask(LAUNCH, p=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def test_a_flood_a_home_that_is_gone_and_one_that_always_fails_hold_back_no_other(
    server: tuple[Webserver, dg.DagsterInstance], tmp_path: Path
) -> None:
    web, instance = server
    flood = [_launch(web, "monitor", "flood") for _ in range(FLOOD)]
    gone = _launch(web, "monitor", "gone")
    (tmp_path / "team" / "gone").rename(tmp_path / "gone")
    failing, anna = _launch(web, "retrain", "failing"), _launch(web, "monitor", "anna")
    unknown = _launch(web, "monitor", "ana")
    runs = [*flood, gone, failing, anna, unknown]
    for _ in until(PATIENCE):
        if all(run is not None and run.is_finished for run in map(instance.get_run_by_id, runs)):
            break
    records = {record.dagster_run.run_id: record for record in instance.get_run_records(dg.RunsFilter(run_ids=runs))}
    status = {run_id: record.dagster_run.status.value for run_id, record in records.items()}
    assert [status[run_id] for run_id in (*flood, anna)] == ["SUCCESS"] * (FLOOD + 1), tail(web.log)
    assert [status[run_id] for run_id in (gone, failing, unknown)] == ["FAILURE"] * 3, tail(web.log)
    assert "There is no home named 'ana'" in records[unknown].dagster_run.tags[OUTCOME_REASON_TAG]
    begun = {run_id: record.start_time for run_id, record in records.items() if record.start_time is not None}
    assert sum(begun[run_id] < begun[anna] for run_id in flood) <= 2, "anna waited for the flood"
    computed = sorted((records[run_id].start_time, records[run_id].end_time) for run_id in (*flood, anna))
    assert all(before[1] <= after[0] for before, after in pairwise(computed)), "two runs at a time"
    made = instance.fetch_materializations(dg.AssetKey("live_performance"), limit=50).records
    assert {record.asset_materialization.partition for record in made if record.asset_materialization} == {"flood", "anna"}
