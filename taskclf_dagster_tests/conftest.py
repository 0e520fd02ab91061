"""What every test gets: quiet logs, no settings of the machine it runs on, and the real homes where there are any."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.config.environment import ENVIRONMENT
from taskclf_dagster_tests.runs import instance_in

REAL_HOMES = "TASKCLF_DAGSTER_REAL_HOMES"


@pytest.fixture(autouse=True)
def _machine_settings_do_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may read, or write into, the home of the person who runs it."""
    for name in ("TASKCLF_HOME", "TASKCLF_DAGSTER_CONFIG", "DAGSTER_HOME", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True, scope="session")
def _quiet_logs() -> None:
    for name in ("dagster", "alembic", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


@pytest.fixture(scope="session")
def real_homes() -> Path:
    """The folder that holds academic-v1, academic-v3 and original-home; read-only, so copy what you write into."""
    folder = os.environ.get(REAL_HOMES)
    if not folder:
        pytest.skip(f"{REAL_HOMES} is not set: there are no real homes to read")
    return Path(folder)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance in SQLite, where runs are recorded; one for all tests of a file, because making one takes seconds."""
    with instance_in(tmp_path_factory.mktemp("runs")) as made:
        yield made
