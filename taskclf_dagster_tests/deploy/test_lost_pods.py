"""The run launcher of deploy/kubernetes in a real instance: what it asks of a cluster, and what becomes of a run whose pod is lost.

Taken as they are: base/dagster.yaml, dagster-k8s and its client, Dagster's run monitoring, our sensor. Replaced are the storage, by SQLite,
and the cluster, by a server on loopback that keeps jobs and says how their pods ended (`cluster_api`).
"""

import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
import yaml
from dagster_k8s.launcher import K8sRunLauncher

from taskclf_dagster.defs.automation.failed_run_sensor import NoRetry, end_lost_runs, find_retry
from taskclf_dagster.defs.runs.retrain_runs import iterate_retrains
from taskclf_dagster.defs.runs.run_failures import NOT_LAUNCHED, Failure, explain_failure
from taskclf_dagster.domain.scheduling.failure_kinds import Kind
from taskclf_dagster.home import Home
from taskclf_dagster_tests.dagster_internals import (
    EngineEventData,
    InstanceRef,
    JobPythonOrigin,
    LaunchRunContext,
    ModuleCodePointer,
    RepositoryPythonOrigin,
    monitor_started_run,
    monitor_starting_run,
    serializable_error_info_from_exc_info,
)
from taskclf_dagster_tests.deploy.cluster_api import ClusterApi, serve_cluster_api
from taskclf_dagster_tests.deploy.manifests import BASE, CODE, NAMESPACE, read_launcher, read_pods, read_settings, read_yaml, validate
from taskclf_dagster_tests.runs import Status, add_run, status_of, work_elsewhere
from taskclf_dagster_tests.scenario import make_home

IMAGE = "registry.example.org/taskclf-dagster:0.2.0"
LOG = logging.getLogger("monitoring")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def cluster() -> Iterator[ClusterApi]:
    with serve_cluster_api() as api:
        yield api


@pytest.fixture
def instance(tmp_path: Path, cluster: ClusterApi) -> Iterator[dg.DagsterInstance]:
    """An instance of base/dagster.yaml, with the cluster's address in a file as kubectl has it."""
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    access = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [context],
        "clusters": [{"name": "test", "cluster": {"server": cluster.url}}],
        "users": [{"name": "test", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(access), encoding="utf-8")
    config = read_yaml("base/dagster.yaml")
    config["storage"] = {"sqlite": {"base_dir": str(tmp_path / "history")}}
    config["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "kubeconfig")}
    folder = tmp_path / "instance"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(folder)) as found:
        yield found


def _send(instance: dg.DagsterInstance, home: Home) -> dg.DagsterRun:
    """A run that was taken from the queue and sent to the cluster."""
    pointer = ModuleCodePointer("taskclf_dagster.definitions", "defs")
    project = RepositoryPythonOrigin("python", pointer, container_image=IMAGE, entry_point=["dagster"], container_context=None)
    run = add_run(instance, home, Status.STARTING, tags=work_elsewhere())
    launched = run._replace(job_code_origin=JobPythonOrigin(run.job_name, project))
    instance.run_launcher.launch_run(LaunchRunContext(dagster_run=launched, workspace=None))
    return run


def _launch(instance: dg.DagsterInstance, home: Home, cluster: ClusterApi) -> tuple[dg.DagsterRun, dict[str, Any]]:
    """A run, and the job that the cluster was asked for."""
    run = _send(instance, home)
    (job,) = cluster.jobs.values()
    return run, job


def _start(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """The pod has begun to work."""
    started = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
    instance.report_dagster_event(started, run.run_id)


def _monitor(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """One look of the daemon at a run."""
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    if record.dagster_run.status == Status.STARTED:
        monitor_started_run(instance, cast("Any", None), record, LOG)
    else:
        monitor_starting_run(instance, record, LOG)


def _explain(instance: dg.DagsterInstance, home: Home) -> Failure:
    (failed,) = iterate_retrains(instance, home)
    return explain_failure(instance, failed)


def _pod(phase: str, *, reason: str | None = None, terminated: dict[str, Any] | None = None) -> dict[str, Any]:
    """A pod as the API describes one that has ended."""
    container = {"name": "dagster", "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": terminated}}
    status = {"phase": phase, "message": reason, "containerStatuses": [container] if terminated else []}
    return {"metadata": {"name": "dagster-run-pod"}, "spec": {"containers": [{"name": "dagster"}]}, "status": status}


NO_PODS = {"failed": 1}
EVICTED = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 12Mi."
SHUT_DOWN = "Pod was terminated in response to imminent node shutdown."
LOST: dict[str, tuple[list[dict[str, Any]], Kind, str]] = {
    "out of memory": (
        [_pod("Failed", terminated={"exitCode": 137, "reason": "OOMKilled"})],
        "memory",
        "its pod has ended before the run did; container dagster: Terminated with exit code 137: OOMKilled",
    ),
    "evicted": ([_pod("Failed", reason=EVICTED)], "memory", f"its pod has ended before the run did; {EVICTED.rstrip('.')}"),
    "a node that is shut down": (
        [_pod("Failed", reason=SHUT_DOWN)],
        "killed",
        f"its pod has ended before the run did; {SHUT_DOWN.rstrip('.')}",
    ),
    "killed": (
        [_pod("Failed", terminated={"exitCode": 137, "reason": "Error"})],
        "killed",
        "its pod has ended before the run did; container dagster: Terminated with exit code 137: Error",
    ),
    "a node that was lost, and its pods deleted": ([], "killed", "its pod was lost: Run has not completed but K8s job has no active pods"),
}


@pytest.mark.parametrize("case", LOST)
def test_a_run_whose_pod_is_gone_is_killed_or_out_of_memory_and_is_repeated(
    instance: dg.DagsterInstance, home: Home, cluster: ClusterApi, case: str
) -> None:
    pods, kind, message = LOST[case]
    run, _ = _launch(instance, home, cluster)
    _start(instance, run)
    _monitor(instance, run)
    assert end_lost_runs(instance, home, now=datetime.now(UTC)) == [], "its process is of another machine, where only Dagster can look"
    assert status_of(instance, run) == Status.STARTED
    cluster.status, cluster.pods = NO_PODS, pods
    _monitor(instance, run)
    assert status_of(instance, run) == Status.FAILURE
    assert _explain(instance, home) == Failure(kind, message)
    request = find_retry(instance, home, now=datetime.now(UTC) + timedelta(seconds=61))
    assert isinstance(request, dg.RunRequest)


def test_a_run_whose_job_was_deleted_is_repeated(instance: dg.DagsterInstance, home: Home, cluster: ClusterApi) -> None:
    run, job = _launch(instance, home, cluster)
    _start(instance, run)
    cluster.jobs.clear()
    _monitor(instance, run)
    name = job["metadata"]["name"]
    assert _explain(instance, home) == Failure("killed", f"its pod was lost: Job {name} could not be found")


def test_a_pod_that_finds_no_node_is_given_up_after_the_time_to_start_and_tried_again(
    instance: dg.DagsterInstance, home: Home, cluster: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.pods = [_pod("Pending")]
    cluster.events = [{"type": "Warning", "reason": "FailedScheduling", "message": "0/3 nodes are available.", "metadata": {"name": "e"}}]
    cluster.events[0]["involvedObject"] = {"name": "dagster-run-pod"}
    run, _ = _launch(instance, home, cluster)
    starting = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_STARTING.value, job_name=run.job_name)
    instance.report_dagster_event(starting, run.run_id, timestamp=(datetime.now(UTC) - timedelta(seconds=899)).timestamp())
    _monitor(instance, run)
    assert status_of(instance, run) == Status.STARTING
    monkeypatch.setattr(type(instance), "run_monitoring_start_timeout_seconds", 0)
    _monitor(instance, run)
    failure = _explain(instance, home)
    assert failure.kind == "killed"
    assert failure.message.endswith("FailedScheduling: 0/3 nodes are available")


def test_a_run_that_a_person_ends_takes_its_pod_with_it(instance: dg.DagsterInstance, home: Home, cluster: ClusterApi) -> None:
    run, _ = _launch(instance, home, cluster)
    _start(instance, run)
    assert instance.run_launcher.terminate(run.run_id)
    assert cluster.jobs == {}
    assert status_of(instance, run) == Status.CANCELING
    answer = find_retry(instance, home, now=datetime.now(UTC) + timedelta(hours=1))
    assert isinstance(answer, NoRetry)


def test_the_job_of_a_run_is_valid_and_has_what_the_manifests_have(instance: dg.DagsterInstance, home: Home, cluster: ClusterApi) -> None:
    run, job = _launch(instance, home, cluster)
    validate(job)
    launcher, pods = read_launcher(), read_pods()
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] == launcher["run_k8s_config"]["job_spec_config"]["activeDeadlineSeconds"]
    assert job["metadata"]["labels"]["dagster/run-id"] == run.run_id
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"], spec["restartPolicy"]) == (
        "taskclf-dagster-run",
        False,
        "Never",
    )
    assert container["image"] == IMAGE
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert "command" not in container
    assert container["securityContext"] == pods[CODE].container["securityContext"]
    assert spec["securityContext"] == pods[CODE].spec["securityContext"]
    assert spec["affinity"] == pods[CODE].spec["affinity"]
    assert container["resources"] == launcher["resources"]
    assert container["volumeMounts"] == pods[CODE].container["volumeMounts"]
    assert {volume["name"] for volume in spec["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    assert launcher["labels"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    variables = {each["name"] for each in container["env"]}
    assert {"DAGSTER_HOME", "DAGSTER_PG_PASSWORD"} <= variables
    assert container["envFrom"] == pods[CODE].container["envFrom"]


def test_an_instance_finds_the_launcher_and_the_database_by_the_variables_of_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole file as it is; nothing is connected to. A run pod does this too, and has no access to the cluster."""
    for name, value in {**read_settings(), "DAGSTER_PG_PASSWORD": "for-this-test-only"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dagster.yaml").write_text((BASE / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    found = InstanceRef.from_dir(str(tmp_path))
    launcher = found.run_launcher_data
    assert launcher is not None
    assert launcher.class_name == K8sRunLauncher.__name__
    assert found.settings["run_monitoring"]["start_timeout_seconds"] == 900
    assert yaml.safe_load(launcher.config_yaml)["job_namespace"] == NAMESPACE


def test_a_misspelled_key_of_the_launcher_stops_the_instance(tmp_path: Path) -> None:
    config = read_yaml("base/dagster.yaml")
    config["storage"] = {"sqlite": {"base_dir": str(tmp_path / "history")}}
    config["run_launcher"]["config"]["service_acount_name"] = "x"
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with (
        dg.DagsterInstance.from_config(str(tmp_path)) as instance,
        pytest.raises(dg.DagsterInvalidConfigError, match="service_acount_name"),
    ):
        _ = instance.run_launcher


def test_a_run_that_the_cluster_did_not_take_is_repeated(
    instance: dg.DagsterInstance, home: Home, cluster: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue reports the error in an event of its own, and the failure without it."""
    monkeypatch.setattr("dagster_k8s.client.time.sleep", lambda _: None)  # between its attempts
    cluster.is_broken = True
    try:
        _send(instance, home)
    except Exception:
        error = EngineEventData.engine_error(serializable_error_info_from_exc_info(sys.exc_info()))
    (run,) = instance.get_runs()
    instance.report_engine_event(f"{NOT_LAUNCHED[0]}. Marking the run as failed and dropping it from the queue", run, error)
    instance.report_run_failed(run)
    failure = _explain(instance, home)
    assert failure.kind == "io"
    assert "(503)" in failure.message
    assert isinstance(find_retry(instance, home, now=datetime.now(UTC) + timedelta(seconds=61)), dg.RunRequest)
