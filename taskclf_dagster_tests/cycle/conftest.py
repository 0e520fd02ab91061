"""Stages of a home, each built once for a worker process."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster_tests.cycle.stages import DECIDE, FIRST, TRAIN, Stage
from taskclf_dagster_tests.scenario import add_learnable_days, learnable_home


@pytest.fixture(scope="session")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An instance in SQLite, made once and before anything runs at once: two processes that make the same one at a time break it."""
    folder = tmp_path_factory.mktemp("dagster")
    with dg.instance_for_test(temp_dir=str(folder), set_dagster_home=False):
        yield folder


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory, dagster_home: Path) -> Stage:
    """A model runs, and a day of new labels is there."""
    folder = tmp_path_factory.mktemp("grown")
    stage = Stage(learnable_home(folder, users=2, days=6), dagster_home, folder)
    definitions = build_definitions(home=HomeResource(root=str(stage.home.root)), clock=ClockResource(fixed=FIRST.isoformat()))
    with dg.DagsterInstance.ephemeral() as instance:
        form = {"config_path": str(stage.config("PROMOTE"))}
        assert definitions.resolve_job_def("retrain").execute_in_process(run_config=form, instance=instance).success
    assert stage.active()
    add_learnable_days(stage.home)
    return stage


@pytest.fixture(scope="session")
def trained(grown: Stage, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The same with a challenger that nobody has judged yet."""
    stage = grown.copy(tmp_path_factory.mktemp("trained"))
    assert stage.materialize(*TRAIN, config=stage.config("PROMOTE")).success
    return stage


class _Decided(dict[str, Stage]):
    """The stage of each verdict, made when it is first asked for."""

    def __init__(self, trained: Stage, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.trained, self.tmp_path_factory = trained, tmp_path_factory

    def __missing__(self, verdict: str) -> Stage:
        self[verdict] = stage = self.trained.copy(self.tmp_path_factory.mktemp("decided"))
        assert stage.materialize(*DECIDE, config=stage.config(verdict)).success
        assert stage.decision().verdict == verdict
        return stage


@pytest.fixture(scope="session")
def decided(trained: Stage, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Stage]:
    """The same with a decision of each verdict about it, which is not in effect yet."""
    return _Decided(trained, tmp_path_factory)
