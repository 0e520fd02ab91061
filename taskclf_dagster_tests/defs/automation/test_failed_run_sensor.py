"""The sensor that looks after failed retrains: lost ones are ended, passing failures are tried again, others are not."""

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.failed_run_sensor import NoRetry, end_lost_runs, find_retry, tag_failures
from taskclf_dagster.defs.automation.run_requests import DISABLED
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.retrain_runs import SHORT_JOBS, UNFINISHED, iterate_retrains
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.domain.decision.last_decided import LastDecided, write_last_decided
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.masking import masked
from taskclf_dagster_tests.runs import Status, add_run, status_of, work_elsewhere, work_of_the_dead, work_of_the_living
from taskclf_dagster_tests.scenario import AS_OF, DAY, MINUTE, learnable_home, make_home
from taskclf_dagster_tests.ticks import tick_definitions

KILLED = "Run process was terminated by signal 9 (SIGKILL)."
SECOND = timedelta(seconds=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def _now(after: timedelta = timedelta(0)) -> datetime:
    return datetime.now(UTC) + after


def _retry(instance: dg.DagsterInstance, home: Home, *, after: timedelta = MINUTE + SECOND) -> dg.RunRequest | NoRetry:
    return find_retry(instance, home, now=_now(after))


def _refused(instance: dg.DagsterInstance, home: Home, *, after: timedelta = MINUTE + SECOND) -> NoRetry:
    answer = _retry(instance, home, after=after)
    assert isinstance(answer, NoRetry)
    return answer


def _fail_again(instance: dg.DagsterInstance, home: Home, request: dg.RunRequest | NoRetry) -> dg.DagsterRun:
    """The retry that was asked for is killed, too."""
    assert isinstance(request, dg.RunRequest)
    return add_run(instance, home, Status.FAILURE, tags=request.tags, run_config=request.run_config, failed_with=KILLED)


def _decide(home: Home, *, run_id: str, at: datetime) -> None:
    facts = {"outcome": "REJECT", "decided_at": at, "as_of": at, "run_id": run_id, "decision_id": None, "dataset_hash": "0" * 16}
    write_last_decided(home, LastDecided.model_validate({**facts, "snapshot_path": "s", "label_watermark": "0" * 16}))


# --- Runs whose process has ended -------------------------------------------------------------------------------------------------------


RUNNING = [status for status in UNFINISHED if status not in (Status.QUEUED, Status.CANCELING)]


@pytest.mark.parametrize("status", RUNNING)
def test_a_run_whose_process_is_gone_is_ended_and_blocks_nothing(instance: dg.DagsterInstance, home: Home, status: Status) -> None:
    run = add_run(instance, home, status, tags=work_of_the_dead())
    assert end_lost_runs(instance, home, now=_now()) == [run.run_id]
    assert status_of(instance, run) == Status.FAILURE
    assert end_lost_runs(instance, home, now=_now()) == []


def test_a_lost_part_of_the_graph_is_ended_too(instance: dg.DagsterInstance, home: Home) -> None:
    run = add_run(instance, home, Status.STARTED, job="__ASSET_JOB", assets=["labeled_windows"], tags=work_of_the_dead())
    assert end_lost_runs(instance, home, now=_now()) == [run.run_id]


@pytest.mark.parametrize("job", sorted(SHORT_JOBS))
def test_a_lost_job_of_the_registry_is_ended_so_that_the_others_can_run(instance: dg.DagsterInstance, home: Home, job: str) -> None:
    run = add_run(instance, home, Status.STARTED, job=job, tags=work_of_the_dead())
    assert end_lost_runs(instance, home, now=_now()) == [run.run_id]
    assert status_of(instance, run) == Status.FAILURE
    assert _refused(instance, home).kind == "nothing_failed"


def test_a_lost_run_that_a_person_canceled_is_canceled(instance: dg.DagsterInstance, home: Home) -> None:
    run = add_run(instance, home, Status.CANCELING, tags=work_of_the_dead())
    assert end_lost_runs(instance, home, now=_now()) == [run.run_id]
    assert status_of(instance, run) == Status.CANCELED


def test_runs_that_live_or_wait_or_belong_elsewhere_are_left_alone(instance: dg.DagsterInstance, home: Home, tmp_path: Path) -> None:
    dead = work_of_the_dead()
    left = {
        "living": add_run(instance, home, Status.STARTED, tags=work_of_the_living()),
        "on another machine": add_run(instance, home, Status.STARTED, tags=work_elsewhere()),
        "without a process yet": add_run(instance, home, Status.STARTING),
        "in the queue": add_run(instance, home, Status.QUEUED, tags=dead),
        "of another home": add_run(instance, Home(tmp_path / "other"), Status.STARTED, tags=dead),
        "of somebody else's job": add_run(instance, home, Status.STARTED, job="backup", tags=dead),
        "at its end": add_run(instance, home, Status.SUCCESS, tags=dead),
    }
    before = {name: run.status for name, run in left.items()}
    assert end_lost_runs(instance, home, now=_now()) == []
    assert {name: status_of(instance, run) for name, run in left.items()} == before


@pytest.mark.parametrize("status", [Status.NOT_STARTED, Status.STARTED])
def test_a_run_that_died_before_it_could_say_which_process_it_has_is_ended_after_ten_minutes(
    instance: dg.DagsterInstance, home: Home, status: Status
) -> None:
    run = add_run(instance, home, status)
    assert end_lost_runs(instance, home, now=_now(timedelta(minutes=9))) == []
    assert end_lost_runs(instance, home, now=_now(timedelta(minutes=11))) == [run.run_id]
    assert status_of(instance, run) == Status.FAILURE


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTING])
def test_a_run_that_waits_or_is_being_started_is_for_dagster_to_end(instance: dg.DagsterInstance, home: Home, status: Status) -> None:
    add_run(instance, home, status)
    assert end_lost_runs(instance, home, now=_now(timedelta(days=1))) == []


def test_a_process_with_the_number_of_one_that_is_gone_is_another(instance: dg.DagsterInstance, home: Home) -> None:
    (name, worker), *_ = work_of_the_living().items()
    run = add_run(instance, home, Status.STARTED, tags={name: f"{worker.rpartition(':')[0]}:12345.00"})
    assert end_lost_runs(instance, home, now=_now()) == [run.run_id]


def test_a_re_execution_is_not_taken_for_the_dead_run_whose_tags_it_copied(instance: dg.DagsterInstance, home: Home) -> None:
    parent = add_run(instance, home, Status.FAILURE, tags=work_of_the_dead(), failed_with=KILLED)
    child = add_run(instance, home, Status.STARTING, tags=parent.tags, parent=parent)
    assert end_lost_runs(instance, home, now=_now()) == []
    instance.add_run_tags(child.run_id, work_of_the_dead())
    assert end_lost_runs(instance, home, now=_now()) == [child.run_id]


def test_a_run_that_ended_well_between_the_two_looks_stays_a_success(
    instance: dg.DagsterInstance, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_run(instance, home, Status.STARTED, tags=work_of_the_dead())
    (stale,) = iterate_retrains(instance, home)
    instance.report_dagster_event(_success(run), run.run_id)
    monkeypatch.setattr("taskclf_dagster.defs.automation.failed_run_sensor.iterate_unfinished_runs", lambda *_, **__: iter([stale]))
    assert end_lost_runs(instance, home, now=_now()) == []
    assert status_of(instance, run) == Status.SUCCESS


def _success(run: dg.DagsterRun) -> dg.DagsterEvent:
    return dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name)


def test_a_lost_run_is_tried_again(instance: dg.DagsterInstance, home: Home) -> None:
    run = add_run(instance, home, Status.STARTED, tags=work_of_the_dead())
    end_lost_runs(instance, home, now=_now())
    request = _retry(instance, home)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[".dagster/taskclf_retry_of"] == run.run_id


# --- Retries --------------------------------------------------------------------------------------------------------------------------


def test_without_a_failed_run_nothing_is_tried_again(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.SUCCESS)
    assert _refused(instance, home).kind == "nothing_failed"


def test_a_passing_failure_is_tried_again_after_1_5_and_25_minutes_and_three_times_at_most(
    instance: dg.DagsterInstance, home: Home
) -> None:
    first = add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    failed = first
    for number, minutes in enumerate((1, 5, 25), start=1):
        almost = _refused(instance, home, after=minutes * MINUTE - 10 * SECOND)
        assert (almost.kind, almost.failure) == ("not_yet", "killed")
        assert failed.run_id in almost.message
        request = _retry(instance, home, after=minutes * MINUTE + SECOND)
        assert isinstance(request, dg.RunRequest)
        assert request.run_key == f"retry-{first.run_id}-{number}"
        assert (request.tags[".dagster/taskclf_retry_of"], request.tags[".dagster/taskclf_retry"]) == (first.run_id, str(number))
        failed = _fail_again(instance, home, request)
    assert _refused(instance, home, after=timedelta(hours=2)).kind == "exhausted"


def test_a_retry_keeps_form_cause_reason_and_demand(instance: dg.DagsterInstance, home: Home) -> None:
    carried = {"taskclf/cause": "drift", "taskclf/reason": "because", ".dagster/taskclf_demand": "drift-1", ".dagster/taskclf_attempt": "2"}
    form = {"force": True, "as_of": "2026-02-04"}
    add_run(instance, home, Status.FAILURE, tags={**carried, **work_of_the_dead()}, run_config=form, failed_with=KILLED)
    request = _retry(instance, home)
    assert isinstance(request, dg.RunRequest)
    assert (request.job_name, request.run_config) == ("retrain", form)
    assert request.tags.items() >= carried.items()
    assert request.tags[".dagster/taskclf_home"] == str(home.root)
    assert ".dagster/taskclf_worker" not in request.tags


@pytest.mark.parametrize("told", [{}, {"force": True}, {"dry_run": True, "config_path": "/strict.yaml", "as_of": "2026-02-04"}])
def test_materialize_all_is_tried_again_as_a_retrain_that_is_told_the_same(
    instance: dg.DagsterInstance, home: Home, told: dict[str, object]
) -> None:
    unmapped = {"resources": {"run_settings": {"config": told}}} if told else {}
    add_run(instance, home, Status.FAILURE, job="__ASSET_JOB", run_config=unmapped, failed_with=KILLED)
    request = _retry(instance, home)
    assert isinstance(request, dg.RunRequest)
    assert (request.job_name, request.run_config) == ("retrain", told)
    (run,) = iterate_retrains(instance, home)
    assert run.dry_run is bool(told.get("dry_run"))


@pytest.mark.parametrize("more", [{"resources": {"home": {"config": {"root": "/elsewhere"}}}}, {"execution": {"config": {}}}])
def test_what_was_told_more_than_the_form_can_say_is_not_tried_again(
    instance: dg.DagsterInstance, home: Home, more: dict[str, object]
) -> None:
    add_run(instance, home, Status.FAILURE, job="__ASSET_JOB", run_config=more, failed_with=KILLED)
    assert _refused(instance, home).kind == "other_form"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTED])
def test_one_at_a_time(instance: dg.DagsterInstance, home: Home, status: Status) -> None:
    add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    other = add_run(instance, home, status)
    answer = _refused(instance, home)
    assert answer.kind == "running"
    assert other.run_id in answer.message


@pytest.mark.parametrize("later", [(Status.SUCCESS, {"dry_run": True}, None), (Status.FAILURE, {"config_path": "/nowhere"}, "bad")])
def test_a_later_run_that_decided_nothing_does_not_make_a_retry_needless(
    instance: dg.DagsterInstance, home: Home, later: tuple[Status, dict[str, object], str | None]
) -> None:
    killed = add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    status, form, words = later
    add_run(instance, home, status, run_config=form, failed_with=words)
    request = _retry(instance, home)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[".dagster/taskclf_retry_of"] == killed.run_id


def test_a_failure_that_was_tried_again_is_not_tried_again_twice(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    request = _retry(instance, home)
    assert isinstance(request, dg.RunRequest)
    add_run(instance, home, Status.FAILURE, tags=request.tags, failed_with="bad")
    assert _refused(instance, home).kind == "permanent"


def test_an_earlier_success_does_not(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.SUCCESS)
    add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    assert isinstance(_retry(instance, home), dg.RunRequest)


def test_what_failed_last_counts_and_not_what_was_asked_for_last(instance: dg.DagsterInstance, home: Home) -> None:
    waited = add_run(instance, home, Status.STARTED)
    add_run(instance, home, Status.FAILURE, failed_with="bad")
    instance.report_run_failed(waited, message=KILLED)
    request = _retry(instance, home)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[".dagster/taskclf_retry_of"] == waited.run_id


def test_a_decision_that_came_from_elsewhere_makes_a_retry_needless(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    _decide(home, run_id="another", at=_now(SECOND))
    assert _refused(instance, home).kind == "decided"


def test_a_failure_of_yesterday_is_left_to_the_daily_schedule(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    assert isinstance(_retry(instance, home, after=DAY - MINUTE), dg.RunRequest)
    assert _refused(instance, home, after=DAY + MINUTE).kind == "nothing_failed"


def test_a_failure_of_yesterday_does_not_become_one_of_today_because_its_run_was_tagged(instance: dg.DagsterInstance, home: Home) -> None:
    run = add_run(instance, home, Status.FAILURE, failed_with=KILLED, at=_now(-2 * DAY))
    instance.add_run_tags(run.run_id, {"note": "looked at it"})
    assert _refused(instance, home).kind == "nothing_failed"


NEVER = {
    "a timeout that Dagster ended": ({}, "Exceeded maximum runtime of 5700 seconds.", "timeout"),
    "a timeout that the watchdog ended": ({"taskclf/failure": "timeout"}, KILLED, "timeout"),
    "a failure without a word": ({}, "", "error"),
}


@pytest.mark.parametrize("case", NEVER)
def test_what_would_happen_again_is_not_tried_again(instance: dg.DagsterInstance, home: Home, case: str) -> None:
    tags, message, kind = NEVER[case]
    add_run(instance, home, Status.FAILURE, tags=tags, failed_with=message)
    answer = _refused(instance, home)
    assert (answer.kind, answer.failure) == ("permanent", kind)


def test_a_command_that_its_person_interrupted_is_not_tried_again(instance: dg.DagsterInstance, home: Home) -> None:
    tags = {"taskclf/cause": "command line"}
    add_run(instance, home, Status.FAILURE, tags=tags, failed_with="Execution was interrupted unexpectedly.")
    answer = _refused(instance, home)
    assert (answer.kind, answer.failure) == ("by_hand", "interrupted")


@pytest.mark.parametrize("cause", ["cadence", "by hand"])
def test_an_interrupt_of_anything_but_the_command_line_is_tried_again(instance: dg.DagsterInstance, home: Home, cause: str) -> None:
    add_run(instance, home, Status.FAILURE, tags={"taskclf/cause": cause}, failed_with="Execution was interrupted unexpectedly.")
    assert isinstance(_retry(instance, home), dg.RunRequest)


def test_a_command_line_run_that_was_killed_is_tried_again(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.STARTED, tags={"taskclf/cause": "command line", **work_of_the_dead()})
    end_lost_runs(instance, home, now=_now())
    assert isinstance(_retry(instance, home), dg.RunRequest)


def test_what_a_person_canceled_is_not_tried_again(instance: dg.DagsterInstance, home: Home) -> None:
    add_run(instance, home, Status.CANCELED)
    assert _refused(instance, home).kind == "canceled"


# --- Wording --------------------------------------------------------------------------------------------------------------------------


def test_every_reason_names_the_run_and_what_becomes_of_it(
    instance: dg.DagsterInstance, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    """One home a reason, in the order of `RetryKind`."""
    homes = (Home(tmp_path / str(number)) for number in range(20))
    found: list[NoRetry] = [_refused(instance, next(homes))]
    for status, tags, config, message in (
        (Status.CANCELED, {}, {}, ""),
        (Status.FAILURE, {}, {}, ""),
        (Status.FAILURE, {}, {}, "Exceeded maximum runtime of 5700 seconds."),
        (Status.FAILURE, {"taskclf/cause": "command line"}, {}, "Execution was interrupted unexpectedly."),
        (Status.FAILURE, {".dagster/taskclf_retry": "3"}, {}, KILLED),
    ):
        home = next(homes)
        add_run(instance, home, status, tags=tags, run_config=config, failed_with=message)
        found.append(_refused(instance, home))
    form, decided, retried, soon, running = (next(homes) for _ in range(5))
    add_run(instance, form, Status.FAILURE, job="__ASSET_JOB", run_config={"execution": {}}, failed_with=KILLED)
    for home in (decided, retried, soon, running):
        add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    decided.root.mkdir()
    _decide(decided, run_id="another", at=_now(SECOND))
    request = _retry(instance, retried)
    assert isinstance(request, dg.RunRequest)
    add_run(instance, retried, Status.SUCCESS, tags=request.tags)
    add_run(instance, running, Status.STARTED)
    found += [_refused(instance, form), _refused(instance, decided), _refused(instance, retried)]
    found += [_refused(instance, soon, after=timedelta(0)), _refused(instance, running)]
    assert [f"{answer.kind}: {masked(answer.message)}" for answer in found] == snapshot


# --- Retrains that really fail --------------------------------------------------------------------------------------------------------


class _Failing(FileSystem):
    """Fails where a file or folder with this in its name gets that name."""

    def __init__(self, error: BaseException, *, at: str) -> None:
        self.error, self.at = error, at

    def replace(self, source: Path, target: Path) -> None:
        self._fail(target)
        super().replace(source, target)

    def rename(self, source: Path, target: Path) -> None:
        self._fail(target)
        super().rename(source, target)

    def _fail(self, target: Path) -> None:
        if self.at in str(target):
            raise self.error


@pytest.fixture
def learnable(tmp_path: Path) -> Home:
    return learnable_home(tmp_path, users=1, days=2)


def _retrain(instance: dg.DagsterInstance, home: Home, disk: FileSystem | None = None, **form: object) -> dg.DagsterRun:
    """A retrain in this process, as the job runs it."""
    place = HomeResource(root=str(home.root))
    definitions = build_definitions(home=place, clock=ClockResource(fixed=AS_OF.isoformat()))
    job = definitions.resolve_job_def("retrain")
    with use_file_system(disk or FileSystem()):
        result = job.execute_in_process(run_config=form, instance=instance, raise_on_error=False)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


PASSING = {
    "io": OSError(errno.EIO, "Input/output error"),
    "memory": MemoryError("not enough of it"),
    "interrupted": dg.DagsterExecutionInterruptedError("the machine is shut down"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_retrain_that_failed_for_a_passing_reason_is_tried_again_and_explained(
    instance: dg.DagsterInstance, learnable: Home, kind: str
) -> None:
    run = _retrain(instance, learnable, _Failing(PASSING[kind], at="artifacts/snapshots"), force=True)
    assert run.status == Status.FAILURE
    (failed,) = iterate_retrains(instance, learnable)
    explained = explain_failure(instance, failed)
    assert explained.kind == kind
    soon = _refused(instance, learnable, after=timedelta(0))
    assert (soon.kind, soon.failure) == ("not_yet", kind)
    request = _retry(instance, learnable)
    assert isinstance(request, dg.RunRequest)
    assert request.run_config == {"force": True}


def test_a_passing_failure_while_the_guard_is_made_ready_is_tried_again(instance: dg.DagsterInstance, learnable: Home) -> None:
    class Locked(FileSystem):
        def lock(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise OSError(errno.EMFILE, "Too many open files")

    _retrain(instance, learnable, Locked())
    (failed,) = iterate_retrains(instance, learnable)
    assert explain_failure(instance, failed).kind == "io"
    assert isinstance(_retry(instance, learnable), dg.RunRequest)


def test_a_torn_label_store_is_not_tried_again_and_the_words_are_ours(instance: dg.DagsterInstance, learnable: Home) -> None:
    learnable.labels.write_bytes(b"PAR1 torn")
    _retrain(instance, learnable)
    answer = _refused(instance, learnable)
    assert (answer.kind, answer.failure) == ("permanent", "error")
    assert str(learnable.labels) in answer.message


def test_too_few_labels_are_not_tried_again_and_the_words_are_those_of_the_check(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=1)
    _retrain(instance, home)
    answer = _refused(instance, home)
    assert (answer.kind, answer.failure) == ("permanent", "error")
    assert "dataset_snapshot: enough_labels" in answer.message


def test_a_run_that_failed_after_its_decision_counted_is_not_tried_again(instance: dg.DagsterInstance, home: Home) -> None:
    run = add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    _decide(home, run_id=run.run_id, at=_now(-MINUTE))
    assert _refused(instance, home).kind == "decided"


# --- What lists of runs show ----------------------------------------------------------------------------------------------------------


def test_a_failed_retrain_is_tagged_with_the_reason_and_others_are_not(instance: dg.DagsterInstance, home: Home) -> None:
    failed = add_run(instance, home, Status.FAILURE, failed_with=KILLED)
    others = [add_run(instance, home, status) for status in (Status.SUCCESS, Status.STARTED, Status.CANCELED)]
    tag_failures(instance, home, now=_now())
    tags = {name: value for name, value in _tags(instance, failed).items() if name.startswith("taskclf/outcome")}
    assert tags == {"taskclf/outcome": "FAILED", "taskclf/outcome_reason": f"killed: {KILLED}"}
    assert [tags for run in others if "taskclf/outcome" in (tags := _tags(instance, run))] == []


def test_the_verdict_of_a_run_that_failed_afterwards_gives_way_to_the_failure(instance: dg.DagsterInstance, home: Home) -> None:
    told = {"taskclf/outcome": "PROMOTE", "taskclf/outcome_reason": "every gate passes"}
    failed = add_run(instance, home, Status.FAILURE, tags=told, failed_with=KILLED)
    tag_failures(instance, home, now=_now())
    assert _tags(instance, failed)["taskclf/outcome_reason"] == f"killed: {KILLED}"


def _tags(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return dict(found.tags)


# --- The sensor -----------------------------------------------------------------------------------------------------------------------


def _tick(
    instance: dg.DagsterInstance, home: Home, *, after: timedelta = MINUTE + SECOND, config: Path | None = None
) -> dg.RunRequest | str:
    resources = {
        "home": HomeResource(root=str(home.root)),
        "run_settings": RunSettingsResource(config_path=None if config is None else str(config)),
        "clock": ClockResource(fixed=_now(after).isoformat()),
    }
    definitions = tick_definitions()
    context = dg.build_sensor_context(instance=instance, resources=resources, repository_def=definitions.get_repository_def())
    tick = definitions.resolve_sensor_def("failed_runs").evaluate_tick(context)
    for request in tick.run_requests or []:
        dg.validate_run_config(definitions.resolve_job_def("retrain"), request.run_config)
        return request
    return str(tick.skip_message)


def test_a_tick_ends_a_lost_run_says_so_and_the_one_after_a_minute_tries_it_again(
    instance: dg.DagsterInstance, home: Home, snapshot: SnapshotAssertion
) -> None:
    run = add_run(instance, home, Status.STARTED, tags=work_of_the_dead(), run_config={"force": True})
    words = _tick(instance, home, after=timedelta(0))
    assert isinstance(words, str)
    assert words.count(run.run_id) == 2  # that it was ended, and when it is tried again
    assert masked(words) == snapshot
    request = _tick(instance, home)
    assert isinstance(request, dg.RunRequest)
    assert (request.run_config, request.tags[".dagster/taskclf_retry"]) == ({"force": True}, "1")


def test_where_enabled_is_false_lost_runs_are_ended_and_nothing_is_tried_again(
    instance: dg.DagsterInstance, home: Home, tmp_path: Path
) -> None:
    config = tmp_path / "off.yaml"
    config.write_text("enabled: false\n", encoding="utf-8")
    run = add_run(instance, home, Status.STARTED, tags=work_of_the_dead())
    words = str(_tick(instance, home, config=config))
    assert words.endswith(DISABLED)
    assert run.run_id in words
    assert status_of(instance, run) == Status.FAILURE


def test_a_wrong_configuration_skips_with_the_finding(instance: dg.DagsterInstance, home: Home, tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("min_labels: 0\n", encoding="utf-8")
    assert "min_labels" in str(_tick(instance, home, config=config))
