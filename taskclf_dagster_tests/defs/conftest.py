"""What the tests of runs share: one instance for all tests of a file, because to make one takes seconds."""

from collections.abc import Iterator

import dagster as dg
import pytest

from taskclf_dagster_tests.runs import instance_in


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance in SQLite, where runs are recorded."""
    with instance_in(tmp_path_factory.mktemp("runs")) as made:
        yield made
