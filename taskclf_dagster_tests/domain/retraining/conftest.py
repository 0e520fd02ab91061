"""Homes that the tests of this package share."""

from functools import partial
from pathlib import Path

import pytest

from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import LATER, LEARNED, Learned, run_retrain, take_snapshot
from taskclf_dagster_tests.scenario import AS_OF, add_learnable_days, learnable_home, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Two users and ten days, on which a model was promoted, then four days more and a challenger; not to be written into."""
    home = learnable_home(tmp_path_factory.mktemp("real"), days=10)
    first = run_retrain(home, take_snapshot(home, LEARNED)[0])
    promote(home, first, recompute=partial(recompute_decision, cores=1), at=AS_OF)
    add_learnable_days(home, days=4)
    return home, first, run_retrain(home, take_snapshot(home, LEARNED, as_of=LATER)[0])
