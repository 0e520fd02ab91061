"""A cluster of dask on loopback: who may compute, and what is noticed when processes go away."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import dask
import pytest

from taskclf_dagster.domain.execution.dask_cluster import open_cluster
from taskclf_dagster.errors import ClusterLostError, ClusterNotUsableError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.dask_processes import TIMEOUT_SECONDS, DaskProcesses, dask_processes
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.servers import PROJECT, free_port, until

_Error = TypeVar("_Error", ClusterLostError, ClusterNotUsableError)

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """Two workers that tests leave as they are."""
    with dask_processes(tmp_path_factory.mktemp("cluster") / "dask", "b", "a") as started:
        started.await_workers(2)
        yield started


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_workers_are_listed_by_name_and_nothing_is_left_in_the_home(processes: DaskProcesses, home: Home) -> None:
    with open_cluster(processes.address, home) as cluster:
        assert [worker.name for worker in cluster.workers] == ["a", "b"]
        assert cluster.present_workers() == cluster.workers
        assert cluster.watch().find_loss() is None
    assert list(home.artifacts.iterdir()) == []


def test_no_worker_is_missed_while_the_client_asks_for_totals_by_itself(processes: DaskProcesses, home: Home) -> None:
    with dask.config.set({"distributed.client.scheduler-info-interval": "1ms"}), open_cluster(processes.address, home) as cluster:
        assert {cluster.present_workers() for _ in range(300)} == {cluster.workers}


def test_a_killed_worker_and_a_killed_scheduler_are_noticed(tmp_path: Path, home: Home) -> None:
    with dask_processes(tmp_path / "dask", "b", "a") as started:
        started.await_workers(2)
        with open_cluster(started.address, home) as cluster:
            watch = cluster.watch()
            started.kill("b")
            losses = (watch.find_loss() for _ in until(TIMEOUT_SECONDS, every=0.1))
            lost = next(loss for loss in losses if loss is not None)
            assert (lost.kind, "worker b went away" in str(lost)) == ("workers", True)
            assert [worker.name for worker in cluster.present_workers()] == ["a"]
            started.kill_scheduler()
            with pytest.raises(ClusterLostError, match="the scheduler went away"):
                next(None for _ in until(TIMEOUT_SECONDS, every=0.1) if not cluster.present_workers())


def test_a_scheduler_that_does_not_listen_is_an_error_that_may_pass(home: Home) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    error = refused(address, home, ClusterLostError, connect_seconds=1)
    assert (error.kind, "no scheduler answered within 1 s" in str(error)) == ("scheduler", True)


def test_a_machine_that_stalls_while_dask_starts_is_an_error_that_may_pass(
    processes: DaskProcesses, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributed.utils._CollectErrorThread", lambda **thread: None)  # a thread that has not begun yet
    monkeypatch.setattr(threading.Event, "wait", lambda *_, **__: False)
    error = refused(processes.address, home, ClusterLostError)
    assert (error.kind, "too busy" in str(error)) == ("scheduler", True)


def test_a_scheduler_without_workers_is_an_error_that_may_pass(tmp_path: Path, home: Home) -> None:
    with dask_processes(tmp_path / "dask") as started:
        error = refused(started.address, home, ClusterLostError, connect_seconds=1)
    assert (error.kind, "it has no worker after 1 s" in str(error)) == ("workers", True)


@pytest.mark.parametrize("certificate", [None, "/nowhere/cert.pem", __file__], ids=["none", "missing", "of another kind"])
def test_tls_without_certificates_names_the_setting_of_dask(home: Home, certificate: str | None) -> None:
    files = dict.fromkeys(("ca-file", "client.cert", "client.key"), certificate)
    with dask.config.set({f"distributed.comm.tls.{name}": path for name, path in files.items()}):
        error = refused("tls://127.0.0.1:8786", home, ClusterNotUsableError)
    assert (error.kind, "distributed.comm.tls" in str(error)) == ("settings", True)


def test_a_worker_with_another_version_of_a_library_is_refused_by_name(tmp_path: Path, home: Home) -> None:
    older = tmp_path / "older"
    info = older / "lightgbm-4.6.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lightgbm\nVersion: 4.6.0\n", encoding="utf-8")
    with dask_processes(tmp_path / "dask", "equal") as started:
        started.start_worker("older", env={"PYTHONPATH": f"{older}:{PROJECT}"})
        started.await_workers(2)
        error = refused(started.address, home, ClusterNotUsableError)
    assert (error.kind, "worker older has lightgbm 4.6.0 instead of" in str(error)) == ("versions", True)
    assert "worker equal" not in str(error)


def test_a_worker_with_other_code_of_this_package_is_refused_by_name(tmp_path: Path, home: Home) -> None:
    with dask_processes(tmp_path / "dask") as started:
        started.start_worker("changed", env={"PYTHONPATH": str(changed_copy(tmp_path))})
        started.await_workers(1)
        error = refused(started.address, home, ClusterNotUsableError)
    assert (error.kind, "worker changed runs other code" in str(error)) == ("code", True)


def test_a_worker_that_does_not_see_the_home_is_refused_by_name(
    processes: DaskProcesses, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.root)  # a relative path is another one for the workers, whose folder is another
    error = refused(processes.address, Home(Path()), ClusterNotUsableError)
    assert (error.kind, "worker a cannot use the home . (No such file" in str(error)) == ("home", True)


def changed_copy(tmp_path: Path) -> Path:
    """A folder with a copy of this package in which a comment is another one."""
    copy = tmp_path / "other" / "taskclf_dagster"
    shutil.copytree(PROJECT / "taskclf_dagster", copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "progress.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    return copy.parent


def refused(address: str, home: Home, kind: type[_Error], *, connect_seconds: float = 30.0) -> _Error:
    """The error with which a cluster is refused."""
    with pytest.raises(kind) as caught, open_cluster(address, home, connect_seconds=connect_seconds):
        pass
    return caught.value
