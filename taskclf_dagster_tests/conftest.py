"""What every test gets: one thread, folders in memory, quiet logs, no settings of the machine it runs on, real homes if there are any."""

import os

# Before numpy and LightGBM are imported: the workers of pytest-xdist share the cores, and threads of their own only make them wait.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")
os.environ["COLUMNS"] = "120"  # tables are as wide as the terminal

import logging
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.config.environment import ENVIRONMENT
from taskclf_dagster.domain.registry.applied_decisions import put_aside
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster_tests.dagster_internals import engines_made_once
from taskclf_dagster_tests.retrain_scenario import LATER, LEARNED, QUICK, Learned, Waiting, run_retrain, take_snapshot
from taskclf_dagster_tests.runs import forget_home, instance_in
from taskclf_dagster_tests.scenario import AS_OF, add_learnable_days, learnable_home, retrain_config

REAL_HOMES = "TASKCLF_DAGSTER_REAL_HOMES"
MEMORY = Path("/dev/shm")  # noqa: S108  # only ever the parent of folders with unique names
MEMORY_BYTES = 2 * 1024**3
"""What must be free in memory for the tests to keep their folders there. SQLite and the registry sync after every change: on a disk
that takes a thousand times as long."""

LONGEST_FIRST = (
    *("soak", "deploy", "domain/execution", "web", "cycle", "status", "faults", "defs", "cli", "demo"),
    *("domain/backtest", "domain/trials", "domain/retraining", "domain/probation"),
)
"""Folders whose files begin before the others, so that no long one is left to the end when the other workers have nothing to do."""


def pytest_configure() -> None:
    """Keeps temporary folders in memory, unless TMPDIR says where they belong, and hears SIGINT where a shell made a background job deaf.

    Dagster copies that deafness to SIGTERM, and no process that a test starts could be ended.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
        tempfile.tempdir = str(MEMORY)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that read real homes, and begins with the files that take longest."""
    for item in items:
        if "real_homes" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_home)
    here = Path(__file__).parent
    order = {here / name: position for position, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: next((order[folder] for folder in item.path.parents if folder in order), len(order)))


@pytest.fixture(autouse=True)
def _machine_settings_do_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may read, or write into, the home of the person who runs it."""
    for name in ("TASKCLF_HOME", "TASKCLF_DAGSTER_CONFIG", "TASKCLF_DAGSTER_HOMES", "DAGSTER_HOME", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True, scope="session")
def _quiet_logs() -> None:
    for name in ("dagster", "alembic", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


@pytest.fixture(autouse=True, scope="session")
def _quick_sqlite() -> Iterator[None]:
    with engines_made_once():
        yield


@pytest.fixture(autouse=True)
def _shared_instance_has_no_home(request: pytest.FixtureRequest) -> None:
    """Lets the tests of a file share an instance although each has a home of its own."""
    for name in {"instance", "instance_folder"} & set(request.fixturenames):
        shared = request.getfixturevalue(name)
        forget_home(shared if isinstance(shared, Path) else Path(shared.root_directory))


@pytest.fixture(scope="session")
def real_homes() -> Path:
    """The folder that holds academic-v1, academic-v3 and original-home; read-only, so copy what you write into."""
    folder = os.environ.get(REAL_HOMES)
    if not folder:
        pytest.skip(f"{REAL_HOMES} is not set: there are no real homes to read")
    return Path(folder)


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Two users and ten days, on which a model was promoted, then four days more and a challenger; not to be written into."""
    home = learnable_home(tmp_path_factory.mktemp("real"), days=10)
    first = run_retrain(home, take_snapshot(home, LEARNED)[0])
    promote(home, first, recompute=partial(recompute_decision, cores=1), at=AS_OF)
    add_learnable_days(home, days=4)
    return home, first, run_retrain(home, take_snapshot(home, LEARNED, as_of=LATER)[0])


@pytest.fixture(scope="session")
def waiting_home(tmp_path_factory: pytest.TempPathFactory) -> Waiting:
    """Not to be written into."""
    home, config = learnable_home(tmp_path_factory.mktemp("waiting"), days=10), retrain_config(train_params=QUICK)
    decision = run_retrain(home, take_snapshot(home, config)[0], config)
    assert decision.verdict == "AWAITING_APPROVAL"
    put_aside(home, decision)
    return home, decision


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance in SQLite, where runs are recorded; one for all tests of a file, because making one takes seconds."""
    with instance_in(tmp_path_factory.mktemp("runs")) as made:
        yield made
