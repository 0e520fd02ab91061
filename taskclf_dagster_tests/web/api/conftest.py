"""The server of the tests of a file, and its instance."""

from collections.abc import Iterator

import dagster as dg
import pytest

from taskclf_dagster_tests.web.api_scenario import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture(scope="module")
def instance(server: Server) -> dg.DagsterInstance:
    return server.instance
