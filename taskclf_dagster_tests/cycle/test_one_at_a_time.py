"""Retrains that are asked for at once run one after another, whatever holds them back: a pool, a tag, or the lock of the home.

One `dagster dev` on a home with a model and a day of new labels; trainings go as the test says. That the lock of the registry lets one
writer through is tested in `domain/storage/test_folder_lock.py`, and the run lock alone in `domain/scheduling/test_run_lock.py`.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
import yaml

from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster_tests.faults.injection import memory_folder
from taskclf_dagster_tests.guarded import PATIENCE, PROGRAM, Site, make_site
from taskclf_dagster_tests.servers import ASSETS, Webserver, await_server, free_port, make_instance, running, stop, tail, until

pytestmark = [pytest.mark.server, pytest.mark.skipif(os.name != "posix", reason="there are no such signals elsewhere")]

FORCED = {"resources": {"run_settings": {"config": {"force": True}}}}
SET_LIMIT = 'mutation($limit: Int!) { setConcurrencyLimit(concurrencyKey: "retrain", limit: $limit) }'
TICK = "... on DryRunInstigationTick { evaluationResult { skipReason runRequests { runKey } } } ... on PythonError { message }"
DRY_RUNS = {
    "schedule": f"mutation($s: ScheduleSelector!, $t: Float) {{ scheduleDryRun(selectorData: $s, timestamp: $t) {{ __typename {TICK} }} }}",
    "sensor": f"mutation($s: SensorSelector!) {{ sensorDryRun(selectorData: $s, cursor: null) {{ __typename {TICK} }} }}",
}
TERMINATE = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"


@dataclass(frozen=True, kw_only=True)
class Server(Webserver):
    """A running `dagster dev`, with what it works on."""

    site: Site

    def launch_all(self, run_config: dict | None = None) -> str:
        """The button "Materialize all"."""
        return self.launch("__ASSET_JOB", assets=ASSETS, run_config=run_config)

    def skip_reason(self, kind: str, name: str) -> str:
        """Why a schedule or a sensor that ticks now launches nothing."""
        selector = {"repositoryLocationName": "taskclf_dagster", "repositoryName": "__repository__", f"{kind}Name": name}
        more = {"t": time.time()} if kind == "schedule" else {}
        answer = self.ask(DRY_RUNS[kind], s=selector, **more)[f"{kind}DryRun"]
        assert "evaluationResult" in answer, answer
        assert not answer["evaluationResult"]["runRequests"]
        return str(answer["evaluationResult"]["skipReason"])

    def await_status(self, run_id: str, *statuses: str) -> str:
        status = ""
        for _ in until(PATIENCE, every=1.0):
            status = self.status(run_id)
            if status in statuses:
                return status
        raise AssertionError(f"{run_id} is {status}, not {statuses}\n{tail(self.log)}")

    def stays(self, run_id: str, status: str, *, seconds: float = 3.0) -> bool:
        """Whether a run has this status for some time, in which the queue is looked at more than once."""
        return all(self.status(run_id) == status for _ in until(seconds, every=1.0))

    def trainings(self, *run_ids: str) -> list[tuple[float, float]]:
        """Begin and end of the training of each run that trained, in order."""
        found = []
        with self.site.instance() as instance:
            for run_id in run_ids:
                stats = [step for step in instance.get_run_step_stats(run_id) if step.step_key == "challenger_model"]
                found += [(step.start_time, step.end_time) for step in stats if step.start_time and step.end_time]
        return sorted(found)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with memory_folder() as folder:
        site = make_site(folder / "site")
        for path in sorted(site.dagster.rglob("*"), reverse=True):  # with the shipped settings instead
            path.unlink() if path.is_file() else path.rmdir()
        site.dagster.rmdir()
        make_instance(site.dagster)
        site.set_plan("goes well")
        workspace = {"load_from": [{"python_module": {"module_name": PROGRAM, "location_name": "taskclf_dagster"}}]}
        (folder / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
        port = free_port()
        command = [sys.executable, "-m", "dagster", "dev", "-w", folder / "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
        log = folder / "server.log"
        with running(command, log, cwd=folder, env=site.environment()) as process:
            server = Server(f"http://127.0.0.1:{port}", log, site=site)
            await_server(server, process)
            try:
                yield server
                assert stop(process, signal.SIGINT) == 0
            finally:
                for dog in site.watchdogs:
                    dog.kill()


def test_of_retrains_asked_for_in_every_way_at_once_one_trains_and_the_others_find_nothing_new(server: Server) -> None:
    site = server.site
    known = len(list_decisions(site.home)[0])
    site.set_plan("takes its time")
    with site.running("taskclf-dagster retrain", "takes its time") as by_hand:
        launched = [server.launch("retrain"), server.launch_all()]
        site.await_training()
        scheduled, sensed = server.skip_reason("schedule", "daily_retrain"), server.skip_reason("sensor", "label_arrival")
        for run_id in launched:
            server.wait(run_id)
        assert by_hand.process.wait(PATIENCE) == 0
    assert "min_new_labels" in sensed
    assert len(list_decisions(site.home)[0]) == known + 1
    with site.instance() as instance:
        runs = instance.get_runs(limit=3)
    assert {run.run_id for run in runs} > set(launched)
    assert any(run.run_id in scheduled for run in runs), scheduled
    assert sorted(run.tags["taskclf/outcome"] for run in runs) == ["PROMOTE", "SKIP", "SKIP"]
    reasons = {run.tags["taskclf/outcome_reason"] for run in runs if run.tags["taskclf/outcome"] == "SKIP"}
    assert any("PROMOTE" in reason for reason in reasons), reasons  # the outcome of the run that saw every label
    assert site.is_free


def test_the_pool_alone_makes_a_second_run_wait_and_a_run_that_is_killed_makes_room_by_itself(server: Server) -> None:
    site = server.site
    before = site.models
    site.set_plan("sleeps")
    first, second = server.launch_all(FORCED), server.launch_all(FORCED)  # without the tag of the job
    worker = site.await_training()
    running, waiting = (first, second) if server.status(first) == "STARTED" else (second, first)
    assert server.stays(waiting, "QUEUED")
    site.set_plan("goes well")
    os.kill(worker, signal.SIGKILL)
    begin = time.monotonic()
    assert server.await_status(running, "FAILURE", "SUCCESS") == "FAILURE"
    assert site.models == before
    print(f"reported as failed after {time.monotonic() - begin:.1f} s")  # noqa: T201
    server.await_status(waiting, "STARTED", "SUCCESS")
    print(f"the next one began after {time.monotonic() - begin:.1f} s")  # noqa: T201
    server.wait(waiting)


def test_the_tag_alone_makes_the_job_wait_and_the_lock_alone_what_has_neither_tag_nor_pool(server: Server) -> None:
    site = server.site
    server.ask(SET_LIMIT, limit=5)
    site.set_plan("sleeps")
    running = server.launch("retrain", run_config={"force": True})
    site.await_training()
    queued = server.launch("retrain", run_config={"force": True})
    untagged = server.launch_all(FORCED)
    assert any(any(running in text for text in _log(site, untagged)) for _ in until(PATIENCE, every=1.0)), tail(server.log)
    assert server.status(untagged) == "STARTED"
    assert server.stays(queued, "QUEUED")
    site.set_plan("goes well")
    assert server.ask(TERMINATE, id=running)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    assert server.await_status(running, "CANCELED", "SUCCESS", "FAILURE") == "CANCELED"
    for run_id in (queued, untagged):
        server.wait(run_id)
    (_, end), (begin, _) = server.trainings(queued, untagged)
    assert end <= begin
    server.ask(SET_LIMIT, limit=1)


def test_a_retrain_launched_from_the_lineage_page_that_is_deaf_is_killed_in_time(server: Server) -> None:
    site = server.site
    before = site.models
    site.set_plan("swallows interrupts")
    run_id = server.launch_all(
        {"resources": {**FORCED["resources"], "supervisor": {"config": {"timeout_seconds": 8.0, "grace_seconds": 1.0}}}}
    )
    worker = site.await_training()
    begin = time.monotonic()
    assert server.await_status(run_id, "FAILURE", "SUCCESS", "CANCELED") == "FAILURE"
    print(f"over {time.monotonic() - begin:.1f} s after the training began")  # noqa: T201
    assert not psutil.pid_exists(worker)
    site.await_no_watchdog()
    with site.instance() as instance:
        run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["taskclf/failure"] == "timeout"
    assert site.models == before
    assert site.half_written == []
    assert site.is_free


def _log(site: Site, run_id: str) -> list[str]:
    with site.instance() as instance:
        return [entry.user_message for entry in instance.all_logs(run_id)]
