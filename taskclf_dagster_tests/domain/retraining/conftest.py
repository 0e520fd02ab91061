"""Homes that the tests of this package share."""

from pathlib import Path

import pytest

from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)
