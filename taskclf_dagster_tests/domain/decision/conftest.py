"""Homes and decisions that the tests of this package share."""

from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import receipt
from taskclf_dagster_tests.scenario import make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> PromotionDecision:
    return receipt(make_home(tmp_path_factory.mktemp("decision")))
