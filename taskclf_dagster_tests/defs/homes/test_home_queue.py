"""The queue of many homes, with Dagster's own daemon choosing: limits, turns, and runs that name no home that can be used.

What the daemon launches is recorded as running here, and as ended when a test says so; no run has a process.
"""

import uuid
from collections.abc import Iterator

import dagster as dg
import pytest

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.defs.dagster_internals import QueuedRun
from taskclf_dagster.defs.runs.home_queue import REGISTRY_PLACES
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, OUTCOME_REASON_TAG, PARTITION_TAG, PLACE_TAG
from taskclf_dagster_tests.dagster_internals import RemoteJobOrigin, choose_from_queue
from taskclf_dagster_tests.runs import REPOSITORY
from taskclf_dagster_tests.team_scenario import instance_of, make_team, write_homes_file

NAMES = ("anna", "ben", "cleo", "flood")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HomeDirectory, dg.DagsterInstance]]:
    """One instance for all tests of the file, because making one takes seconds."""
    folder = tmp_path_factory.mktemp("team")
    directory = make_team(folder, NAMES)
    with instance_of(directory, folder / "dagster") as instance:
        yield directory, instance


@pytest.fixture
def team(served: tuple[HomeDirectory, dg.DagsterInstance]) -> HomeDirectory:
    directory, _ = served
    return write_homes_file(directory.path.parent)


@pytest.fixture
def queue(served: tuple[HomeDirectory, dg.DagsterInstance], team: HomeDirectory) -> "Queue":
    _, instance = served
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    return Queue(instance)


class Queue:
    """The runs of an instance, launched and ended by hand."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def submit(self, name: str | None, job: str = "retrain", **tags: str) -> dg.DagsterRun:
        """A run enters the queue, as from any launch route."""
        partition = {} if name is None else {PARTITION_TAG: name}
        origin = RemoteJobOrigin(REPOSITORY, job)
        run = dg.DagsterRun(job_name=job, run_id=str(uuid.uuid4()), tags={**partition, **tags}, remote_job_origin=origin)
        return self.instance.run_coordinator.submit_run(QueuedRun(self.instance.add_run(run), None))

    def launch(self) -> list[str]:
        """The runs that the daemon launches now, by home, or by job where it takes no place."""
        chosen = choose_from_queue(self.instance)
        for run in chosen:
            self._report(run, dg.DagsterEventType.RUN_START)
        return [run.tags.get(PLACE_TAG, run.job_name) for run in chosen]

    def end(self, name: str, how: dg.DagsterEventType = dg.DagsterEventType.RUN_SUCCESS) -> None:
        """The run of a home that is under way ends."""
        (run,) = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={PLACE_TAG: name}))
        self._report(run, how)

    def _report(self, run: dg.DagsterRun, kind: dg.DagsterEventType) -> None:
        event = dg.DagsterEvent(event_type_value=kind.value, job_name=run.job_name)
        self.instance.report_dagster_event(event, run.run_id)


def test_one_run_of_a_home_computes_at_a_time_and_the_file_says_how_many_in_all(queue: Queue, team: HomeDirectory) -> None:
    for name in ("anna", "anna", "ben", "cleo"):
        queue.submit(name)
    assert queue.launch() == ["anna", "ben"]
    assert queue.launch() == []
    team.path.write_text(team.path.read_text() + "max_concurrent_runs: 4\n")
    assert queue.launch() == ["cleo"]
    queue.end("anna")
    assert queue.launch() == ["anna"]


def test_every_job_that_computes_takes_the_one_place_of_its_home(queue: Queue) -> None:
    for job in ("score", "monitor", "calibrate", "__ASSET_JOB", "retrain"):
        queue.submit("anna", job)
    for _ in range(5):
        assert queue.launch() == ["anna"]
        assert queue.launch() == []
        queue.end("anna")


def test_a_rollback_waits_for_no_retrain_neither_of_its_home_nor_of_others(queue: Queue) -> None:
    for name in ("anna", "ben", "cleo"):
        queue.submit(name)
    assert queue.launch() == ["anna", "ben"]
    queue.submit("anna", "rollback")
    queue.submit("ben", "approve")
    assert sorted(queue.launch()) == ["approve", "rollback"]
    queue.submit("cleo", "rollback")
    assert REGISTRY_PLACES == 2
    assert queue.launch() == []


def test_registry_runs_of_a_home_that_floods_the_queue_take_one_place_and_none_of_the_runs_that_compute(queue: Queue) -> None:
    for _ in range(10):
        queue.submit("flood", "verify_registry")
    for name in ("anna", "ben"):
        queue.submit(name)
    assert sorted(queue.launch()) == ["anna", "ben", "verify_registry"]
    queue.submit("cleo", "rollback")
    assert queue.launch() == ["rollback"]


def test_a_home_that_floods_the_queue_holds_back_no_other(queue: Queue, team: HomeDirectory) -> None:
    team.path.write_text(team.path.read_text() + "max_concurrent_runs: 1\n")
    for _ in range(10):
        queue.submit("flood")
    for name in ("anna", "ben", "anna"):
        queue.submit(name)
    served = []
    for _ in range(8):
        (name,) = queue.launch()
        served.append(name)
        queue.end(name)
    assert served == ["flood", "anna", "ben", "flood", "anna", "flood", "flood", "flood"]
    queue.submit("cleo")
    assert queue.launch() == ["flood"]  # whose turn it was already
    queue.end("flood")
    assert queue.launch() == ["cleo"]


def test_a_home_whose_runs_always_fail_and_are_queued_again_is_served_in_turn_with_the_others(queue: Queue, team: HomeDirectory) -> None:
    team.path.write_text(team.path.read_text() + "max_concurrent_runs: 1\n")
    for name in ("ben", "anna", "cleo"):
        queue.submit(name)
    served = []
    for _ in range(9):
        (name,) = queue.launch()
        served.append(name)
        queue.end(name, dg.DagsterEventType.RUN_FAILURE if name == "ben" else dg.DagsterEventType.RUN_SUCCESS)
        queue.submit(name)
    assert served == ["ben", "anna", "cleo"] * 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "A run of retrain says for which home it is by its partition, and this one has none, or several"),
        ("ana", "There is no home named 'ana' in .*Did you mean anna"),
        ("../ben", "There is no home named '../ben'"),
        ("ben", "The home ben cannot be used: .*ben has neither data/processed nor models"),
    ],
)
def test_a_run_without_a_home_that_can_be_used_has_failed_before_it_is_queued(
    queue: Queue, team: HomeDirectory, name: str | None, reason: str
) -> None:
    ben = team.open("ben")
    ben.artifacts.mkdir()
    ben.processed.rmdir()
    run = queue.submit(name)
    queue.submit("anna")
    ben.artifacts.rmdir()
    ben.processed.mkdir()
    assert run.status == dg.DagsterRunStatus.FAILURE
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(run.tags[OUTCOME_REASON_TAG])
    assert queue.launch() == ["anna"]


def test_a_queued_run_says_which_home_it_is_for_whatever_it_was_launched_with(queue: Queue, team: HomeDirectory) -> None:
    run = queue.submit("anna", **{HOME_TAG: "/home/of/another", PLACE_TAG: "ben", "dagster/priority": "1000"})
    assert {run.tags[HOME_TAG], run.tags[PLACE_TAG]} == {str(team.open("anna").root), "anna"}
    assert run.tags["dagster/priority"] == "0"


def test_while_the_homes_file_cannot_be_read_the_last_limits_hold(queue: Queue, team: HomeDirectory) -> None:
    for name in ("anna", "ben", "cleo"):
        queue.submit(name)
    team.path.write_text(team.path.read_text() + "max_concurrent_runs: 3\n")
    queue.instance.get_concurrency_config()
    team.path.write_text("max_concurrent_runs: many\n")
    assert queue.launch() == ["anna", "ben", "cleo"]
