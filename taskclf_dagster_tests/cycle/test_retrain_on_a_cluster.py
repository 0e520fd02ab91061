"""A whole retrain on two workers of a real cluster on loopback: the same dataset, test windows and verdict as in one process."""

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.jobs.retrain import RetrainParams, RetrainResult, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.defs.runs.retrain_runs import iterate_retrains
from taskclf_dagster.defs.runs.run_failures import Failure, explain_failure
from taskclf_dagster.domain.data.labeled_windows import store_labeled_windows
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.home import Home
from taskclf_dagster_tests.cycle.stages import FIRST, SECOND, SMALL
from taskclf_dagster_tests.dask_processes import DaskProcesses, dask_processes
from taskclf_dagster_tests.scenario import LEARNABLE_DAY_WINDOWS, add_learnable_days, copy_of, learnable_home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"),
]

USERS, DAYS = 2, 6
SETTINGS = f"auto_promote: true\n{SMALL}"


@pytest.fixture(autouse=True)
def _a_part_is_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(store_labeled_windows.__kwdefaults__, "part_windows", DAYS * LEARNABLE_DAY_WINDOWS)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with dask_processes(tmp_path_factory.mktemp("cluster") / "dask") as started:
        yield started


@pytest.fixture
def cluster(lasting: DaskProcesses) -> DaskProcesses:
    """A cluster of two workers, which a test may kill."""
    lasting.start_again(2)
    return lasting


def retrain(home: Home, config: Path, at: datetime) -> tuple[RetrainResult, Failure | None]:
    """A run of the job, and why it failed."""
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=at.isoformat()))
    with dg.DagsterInstance.ephemeral() as instance:
        result = run_retrain_pipeline(definitions, RetrainParams(config_path=str(config)), instance=instance)
        (run,) = iterate_retrains(instance, home)
        return result, None if result.success else explain_failure(instance, run)


def settings(folder: Path, address: str | None) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        SETTINGS + ("" if address is None else f"execution: {{engine: dask, scheduler_address: '{address}'}}\n"), encoding="utf-8"
    )
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a model, and a day more; not to be written into."""
    folder = tmp_path_factory.mktemp("original")
    home = learnable_home(folder, users=USERS, days=DAYS)
    assert retrain(home, settings(folder, None), FIRST)[0].pointer_moved
    add_learnable_days(home, users=USERS)
    return home


@pytest.fixture
def grown(original: Home, tmp_path: Path) -> Home:
    return copy_of(original, tmp_path)


def test_two_workers_give_the_same_dataset_test_windows_gates_and_verdict(cluster: DaskProcesses, grown: Home, tmp_path: Path) -> None:
    copy = Home(Path(shutil.copytree(grown.root, tmp_path / "copy")))
    ours = retrain(grown, settings(tmp_path, cluster.address), SECOND)[0].decision
    theirs = retrain(copy, settings(tmp_path, None), SECOND)[0].decision
    assert ours is not None
    assert theirs is not None
    assert (ours.verdict, theirs.verdict) == ("PROMOTE", "PROMOTE")
    assert ours.dataset == theirs.dataset
    assert ours.policy == theirs.policy
    assert {gate.name: gate.status for gate in ours.gates} == {gate.name: gate.status for gate in theirs.gates}
    assert ours.challenger.files["model.txt"] != theirs.challenger.files["model.txt"]  # another recipe
    assert [each.recipe and (each.recipe.trainer, each.recipe.workers) for each in (theirs, ours)] == [("local", 1), ("dask", 2)]
    assert [gate.status for gate in ours.gates if gate.name == "reproducible"] == ["PASS"]
    assert ours.comparison is not None
    assert theirs.comparison is not None
    assert (ours.comparison.windows, ours.comparison.left_out) == (theirs.comparison.windows, theirs.comparison.left_out)
    assert ours.comparison.exclusion == theirs.comparison.exclusion
    assert [finding for finding in check_registry(grown) if finding.severity == "damage"] == []


def test_a_retrain_whose_scheduler_goes_away_is_retried_and_changes_no_model(cluster: DaskProcesses, grown: Home, tmp_path: Path) -> None:
    before = read_active(grown)
    with Once(grown.run_progress.exists, cluster.kill_scheduler):
        result, failure = retrain(grown, settings(tmp_path, cluster.address), SECOND)
    assert failure is not None
    assert (result.success, failure.kind) == (False, "io")
    assert "The cluster of scheduler" in failure.message
    assert read_active(grown) == before
    assert [path.name for path in grown.artifacts.rglob("*.tmp")] == []


class Once:
    """Does something as soon as a condition holds, in a thread of its own; nothing once the block is over."""

    def __init__(self, condition: Callable[[], bool], act: Callable[[], object]) -> None:
        self._condition, self._act, self._over = condition, act, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.02):
            if self._condition():
                self._act()
                return

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
