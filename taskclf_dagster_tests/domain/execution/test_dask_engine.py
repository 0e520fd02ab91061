"""The engine of a cluster on loopback: the same datasets as in one process, and what happens when processes go away."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from taskclf_dagster.config.execution_settings import ExecutionSettings
from taskclf_dagster.domain.data.labeled_windows import LabeledWindows, open_labeled_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot_parts, save_snapshot
from taskclf_dagster.domain.execution.dask_cluster import open_cluster
from taskclf_dagster.domain.execution.dask_engine import EXTRA_PARTS, DaskEngine
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.engine_choice import open_engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.errors import ClusterLostError, ClusterNotUsableError, SnapshotError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.dask_processes import TIMEOUT_SECONDS, DaskProcesses, dask_processes
from taskclf_dagster_tests.domain.execution.test_dask_cluster import changed_copy
from taskclf_dagster_tests.domain.execution.worker_functions import describe, fail, stall, stall_first, take_memory
from taskclf_dagster_tests.parts_scenario import CONFIG, WINDOWS_OF_PARTS, home_of_parts
from taskclf_dagster_tests.scenario import AS_OF, make_home
from taskclf_dagster_tests.servers import until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with dask_processes(tmp_path_factory.mktemp("cluster") / "dask") as started:
        yield started


@pytest.fixture
def pair(lasting: DaskProcesses) -> DaskProcesses:
    """A cluster of two workers, which a test may kill."""
    lasting.start_again(2)
    return lasting


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return home_of_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def in_seven_parts(home: Home) -> tuple[LabeledWindows, DatasetSnapshot]:
    """The dataset that is made in this process."""
    return make_dataset(home, 7, LOCAL)


def make_dataset(home: Home, parts: int, engine: Engine) -> tuple[LabeledWindows, DatasetSnapshot]:
    """The dataset of a home, made from the beginning."""
    for folder in (home.labeled_windows, home.snapshots):
        for path in sorted(folder.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    windows = WINDOWS_OF_PARTS[parts]
    labeled = store_labeled_windows(home, as_of=AS_OF, settings=CONFIG.dataset, part_windows=windows, engine=engine).record
    source = open_labeled_windows(home, labeled)
    snapshot, rows = build_snapshot_parts(home, labeled, source, config=CONFIG, holdout_fraction=0.2, engine=engine)
    return labeled, save_snapshot(home, snapshot, rows, engine=engine)


def in_use(address: str) -> ExecutionSettings:
    return ExecutionSettings(engine="dask", scheduler_address=address)


# --- The same as in one process -------------------------------------------------------------------------------------------------


def test_a_dataset_of_several_parts_is_the_same_on_workers(
    pair: DaskProcesses, home: Home, in_seven_parts: tuple[LabeledWindows, DatasetSnapshot]
) -> None:
    with open_engine(in_use(pair.address), home) as engine:
        there = make_dataset(home, 7, engine)
    assert len(there[1].parts) == 7
    assert there == in_seven_parts  # with the SHA-256 of each file
    left = [path.name for path in home.artifacts.rglob("*") if path.name.endswith(".tmp")]
    assert left == []


def test_several_items_are_computed_on_the_workers_and_an_only_one_here(pair: DaskProcesses, tmp_path: Path) -> None:
    with open_engine(in_use(pair.address), make_home(tmp_path)) as engine:
        found = list(engine.map(partial(describe, folder=tmp_path), range(20)))
        assert list(engine.map(partial(describe, folder=tmp_path), [5])) == [(5, psutil.Process().pid)]
    assert [number for number, _ in found] == list(range(20))
    assert {process for _, process in found} <= {pair.child_of(name).pid for name in pair.workers}


def test_few_items_are_computed_ahead_of_the_one_that_is_taken(pair: DaskProcesses, tmp_path: Path) -> None:
    taken: list[int] = []
    ahead = len(pair.workers) + EXTRA_PARTS

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    with open_engine(in_use(pair.address), make_home(tmp_path)) as engine:
        for number, _ in engine.map(partial(describe, folder=tmp_path), items()):
            assert len(taken) == min(number + 1 + ahead, 50)


def test_an_error_of_a_worker_is_raised_here_with_its_cause(pair: DaskProcesses, tmp_path: Path) -> None:
    with open_engine(in_use(pair.address), make_home(tmp_path)) as engine:
        found = engine.map(fail, range(4))
        assert [next(found), next(found)] == [0, 1]
        with pytest.raises(SnapshotError, match="part-001") as caught:
            next(found)
    assert (caught.value.reason, str(caught.value.__cause__)) == ("it cannot be read", "[Errno 5] Input/output error")


def test_a_missing_dask_is_an_error_that_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "taskclf_dagster.domain.execution.dask_cluster")
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ClusterNotUsableError, match=r"taskclf-dagster\[dask\]"), open_engine(in_use("tcp://h:1"), make_home(tmp_path)):
        pass


# --- Processes that go away -----------------------------------------------------------------------------------------------------


def test_what_a_killed_worker_computed_is_computed_again_elsewhere(pair: DaskProcesses, tmp_path: Path) -> None:
    def kill_the_stalled() -> None:
        victim = int(await_file(tmp_path / "stalled", pair))
        (name,) = [name for name in pair.workers if pair.child_of(name).pid == victim]
        pair.kill(name)

    with open_engine(in_use(pair.address), make_home(tmp_path)) as engine, ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_the_stalled)
        found = list(engine.map(partial(stall_first, folder=tmp_path), range(6)))
        killing.result()
    assert [number for number, _ in found] == [0, 1, 2, 3, 4, 5]
    (left,) = pair.workers
    assert found[1][1] == pair.child_of(left).pid


def test_a_dataset_is_the_same_if_a_worker_is_killed_in_the_middle(
    pair: DaskProcesses, home: Home, in_seven_parts: tuple[LabeledWindows, DatasetSnapshot]
) -> None:
    killed: list[str] = []
    with open_engine(in_use(pair.address), home) as engine:

        class Killing:
            """The engine, but a worker is killed once the first part is there and others are under way."""

            trainer, following = engine.trainer, engine.following

            def map(self, function: object, items: object) -> Iterator[object]:
                for number, result in enumerate(engine.map(function, items)):  # type: ignore[arg-type]
                    if number == 0 and not killed:
                        killed.append(next(iter(pair.workers)))
                        pair.kill(killed[0])
                    yield result

        there = make_dataset(home, 7, Killing())
    assert len(pair.workers) == 1
    assert there == in_seven_parts


def test_a_scheduler_that_goes_away_is_an_error_and_leaves_neither_connections_nor_workers(pair: DaskProcesses, tmp_path: Path) -> None:
    port = int(pair.address.rpartition(":")[2])
    with open_engine(in_use(pair.address), make_home(tmp_path)) as engine:
        taking = Background(engine.map(partial(stall, folder=tmp_path), range(3)))
        await_stalled(tmp_path, pair)
        pair.kill_scheduler()
        with pytest.raises(ClusterLostError, match="the scheduler went away") as caught:
            taking.join()
    assert caught.value.kind == "scheduler"
    connections = psutil.Process().net_connections("tcp")
    assert [each for each in connections if each.raddr and each.raddr.port == port and each.status == psutil.CONN_ESTABLISHED] == []
    for _ in until(TIMEOUT_SECONDS):
        if not any(psutil.pid_exists(worker.pid) and worker.poll() is None for worker in pair.workers.values()):
            break  # workers without a scheduler end by themselves
    assert [name for name, worker in pair.workers.items() if worker.poll() is None] == []


def test_a_cluster_that_has_lost_all_workers_is_an_error(pair: DaskProcesses, tmp_path: Path) -> None:
    with open_cluster(pair.address, make_home(tmp_path)) as cluster:
        taking = Background(DaskEngine(cluster, worker_seconds=2).map(partial(stall, folder=tmp_path), range(3)))
        await_stalled(tmp_path, pair)
        for name in list(pair.workers):
            pair.kill(name)
        with pytest.raises(ClusterLostError, match="it has no worker any more for 2 s") as caught:
            taking.join(60)
    assert caught.value.kind == "workers"


def test_a_part_that_needs_more_memory_than_any_worker_has_is_an_error_and_workers_live_on(tmp_path: Path) -> None:
    with dask_processes(tmp_path / "dask", env={"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}) as started:
        started.start_worker("small", "--memory-limit", "500MiB")
        started.await_workers(1)
        with open_engine(in_use(started.address), make_home(tmp_path)) as engine:
            with pytest.raises(ClusterLostError, match=r"item 1 ended 2 workers .* small\. Mostly a worker has less memory") as caught:
                list(engine.map(take_memory, range(2)))
            assert caught.value.kind == "killed"
            assert [number for number, _ in engine.map(partial(describe, folder=tmp_path), range(3))] == [0, 1, 2]


def test_work_that_nobody_waits_for_any_more_is_cancelled(pair: DaskProcesses, tmp_path: Path) -> None:
    with open_cluster(pair.address, make_home(tmp_path)) as cluster:
        found = DaskEngine(cluster).map(partial(describe, folder=tmp_path), range(100))
        next(found)
        del found
        for _ in until(TIMEOUT_SECONDS):
            if not any(cluster.client.processing().values()):
                break
        assert not any(cluster.client.processing().values())
    assert len(list(tmp_path.glob("*-*-*"))) < 20


def test_a_worker_that_joins_later_with_other_code_computes_nothing(pair: DaskProcesses, tmp_path: Path) -> None:
    with open_engine(in_use(pair.address), make_home(tmp_path)) as engine:
        pair.start_worker("changed", env={"PYTHONPATH": str(changed_copy(tmp_path))})
        try:
            pair.await_workers(3)
            with pytest.raises(ClusterNotUsableError, match="worker changed runs other code"):
                list(engine.map(partial(describe, folder=tmp_path), range(200)))
        finally:
            pair.kill("changed")


def await_file(path: Path, processes: DaskProcesses) -> str:
    """The content of a file, once it is there."""
    for _ in until(TIMEOUT_SECONDS, every=0.1):
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise AssertionError(processes.logs())


def await_stalled(folder: Path, processes: DaskProcesses) -> None:
    """Returns when some item is computed: with more items than workers, the first one may be among those that wait for the others."""
    for _ in until(TIMEOUT_SECONDS, every=0.1):
        if any(folder.glob("stalled-*")):
            return
    raise AssertionError(processes.logs())


class Background:
    """Takes one result in a thread of its own."""

    def __init__(self, results: Iterator[object]) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._result = self._pool.submit(next, results)

    def join(self, seconds: float = TIMEOUT_SECONDS) -> object:
        try:
            return self._result.result(timeout=seconds)
        finally:
            self._pool.shutdown(wait=False)  # what still waits ends with its cluster
