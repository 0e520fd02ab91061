"""The schedules: the daily one launches when a retrain is due, else says why not and when; the weekly one verifies the registry."""

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.run_requests import DISABLED
from taskclf_dagster.defs.automation.schedules import build_schedules, evaluate_daily_retrain
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.data.label_fingerprints import keep_fingerprints
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided, write_last_decided
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.home import Home
from taskclf_dagster_tests.dagster_internals import cron_string_iterator
from taskclf_dagster_tests.masking import masked
from taskclf_dagster_tests.models import MID, contents, point_at, write_tiny_bundle
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import (
    AS_OF,
    DAY,
    learnable_home,
    make_home,
    retrain_config,
    span,
    windows_frame,
    write_labels,
    write_windows,
)
from taskclf_dagster_tests.ticks import tick_definitions

TICK = datetime(2026, 2, 4, 6, tzinfo=UTC)
VIENNA, KATHMANDU = ZoneInfo("Europe/Vienna"), ZoneInfo("Asia/Kathmandu")


@dataclass(frozen=True)
class Office:
    """A home, and the instance in which its runs are recorded."""

    home: Home
    instance: dg.DagsterInstance

    def tick(self, at: datetime = TICK, *, scheduled: datetime | None = None, config: Path | None = None) -> dg.RunRequest | SkipReason:
        """Evaluates one tick of the schedule: the run it asks for, or the reason for which it skips.

        Args:
            at: the present time.
            scheduled: for when it was meant, if it is late.
            config: settings laid over the default.
        """
        definitions, resources = tick_definitions(), self._resources(at, config)
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=scheduled or at,
            resources=resources,
            repository_def=definitions.get_repository_def(),
        ) as context:
            tick = definitions.resolve_schedule_def("daily_retrain").evaluate_tick(context)
        if tick.run_requests:
            (request,) = tick.run_requests
            dg.validate_run_config(definitions.resolve_job_def("retrain"), request.run_config)
            return request
        settings = RunSettingsResource(config_path=None if config is None else str(config))
        skip = evaluate_daily_retrain(self.instance, self.home, settings, scheduled=scheduled or at, now=at)
        assert isinstance(skip, SkipReason)
        assert tick.skip_message == skip.message
        return skip

    def skip(self, at: datetime = TICK, *, config: Path | None = None) -> SkipReason:
        """The reason for which a tick skips."""
        answer = self.tick(at, config=config)
        assert isinstance(answer, SkipReason)
        return answer

    def launch(self, request: dg.RunRequest | SkipReason, *, at: datetime) -> dg.ExecuteInProcessResult:
        """Runs what a tick asked for."""
        assert isinstance(request, dg.RunRequest)
        resources = self._resources(at, None)
        job = build_definitions(home=resources["home"], clock=resources["clock"]).resolve_job_def("retrain")
        return job.execute_in_process(run_config=request.run_config, tags=request.tags, instance=self.instance)

    def queue(self, request: dg.RunRequest | SkipReason) -> dg.DagsterRun:
        """Puts what a tick asked for into the queue, as the daemon does."""
        assert isinstance(request, dg.RunRequest)
        return add_run(self.instance, self.home, Status.QUEUED, tags=request.tags)

    def _resources(self, at: datetime, config: Path | None) -> dict[str, Any]:
        return {
            "home": HomeResource(root=str(self.home.root)),
            "run_settings": RunSettingsResource(config_path=None if config is None else str(config)),
            "clock": ClockResource(fixed=at.isoformat()),
        }


def _decided(home: Home, *, at: datetime, outcome: str = "REJECT", trained: bool = True) -> None:
    """A run that decided on the label store as it is now."""
    mark = keep_fingerprints(home.decisions, read_fingerprints(home))
    facts = {"outcome": outcome, "decided_at": at, "as_of": at, "run_id": "r", "decision_id": "d", "dataset_hash": "0" * 16}
    seen = {"snapshot_path": "artifacts/snapshots/0", "label_watermark": mark, "trained_at": at if trained else None}
    write_last_decided(home, LastDecided.model_validate({**facts, **seen}))


def _running(home: Home, *, trained: datetime) -> None:
    """taskclf runs a model of that age."""
    write_tiny_bundle(home.models / MID, metadata={"created_at": trained.isoformat()})
    point_at(home, MID)


def _settings(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return learnable_home(tmp_path_factory.mktemp("schedule"), users=1, days=6)


@pytest.fixture
def office(_home: Home, instance: dg.DagsterInstance, tmp_path: Path) -> Office:
    """One user and six labelled days, nothing decided yet."""
    shutil.copytree(_home.root, tmp_path / "home")
    return Office(Home(tmp_path / "home"), instance)


@pytest.fixture
def empty(instance: dg.DagsterInstance, tmp_path: Path) -> Office:
    return Office(make_home(tmp_path), instance)


# --- Due ------------------------------------------------------------------------------------------------------------------------------


def test_a_home_without_any_decision_is_due(office: Office) -> None:
    request = office.tick()
    assert isinstance(request, dg.RunRequest)
    assert request.tags["taskclf/cause"] == "new_labels"  # all labels are new, which is the better reason of the two
    assert request.run_config == {}


def test_the_run_says_for_which_home_it_is_and_why(office: Office) -> None:
    request = office.tick()
    assert isinstance(request, dg.RunRequest)
    assert request.tags[".dagster/taskclf_home"] == str(office.home.root)
    assert request.tags["taskclf/reason"].startswith("96 ")


def test_the_run_key_names_the_tick_so_that_it_launches_once(office: Office) -> None:
    keys = [request.run_key for request in (office.tick(), office.tick(TICK + DAY)) if isinstance(request, dg.RunRequest)]
    assert keys == ["2026-02-04T06:00+0000", "2026-02-05T06:00+0000"]


def test_seven_days_after_the_last_decision_a_retrain_is_due_by_cadence(office: Office) -> None:
    _decided(office.home, at=TICK - 7 * DAY)
    request = office.tick()
    assert isinstance(request, dg.RunRequest)
    assert (request.tags["taskclf/cause"], request.run_config) == ("cadence", {})


def test_a_run_takes_time_and_the_tick_a_week_later_is_not_too_early(office: Office) -> None:
    _decided(office.home, at=TICK - 7 * DAY + timedelta(minutes=30))
    assert isinstance(office.tick(), dg.RunRequest)


def test_before_that_it_is_not_and_the_words_say_when(office: Office, snapshot: SnapshotAssertion) -> None:
    _decided(office.home, at=TICK - 6 * DAY)
    assert office.skip().kind == "not_due"
    assert office.skip().message == snapshot


def test_the_cadence_of_the_settings_counts(office: Office, tmp_path: Path) -> None:
    _decided(office.home, at=TICK - 7 * DAY)
    config = _settings(tmp_path, "global_retrain_cadence_days: 30\n")
    assert isinstance(office.tick(), dg.RunRequest)
    skip = office.skip(config=config)
    assert skip.kind == "not_due"
    assert "2026-02-27 06:00 UTC" in skip.message


@pytest.mark.parametrize(("gone", "due"), [(5, True), (4, False)])
def test_enough_changed_spans_make_it_due_before_cadence(office: Office, gone: int, due: bool) -> None:
    _decided(office.home, at=TICK - DAY)
    write_labels(office.home, pq.read_table(office.home.labels).to_pylist()[:-gone])
    answer = office.tick()
    assert isinstance(answer, dg.RunRequest) is due
    assert isinstance(answer, SkipReason) or answer.tags["taskclf/cause"] == "new_labels"


def test_a_model_that_is_too_old_is_retrained_by_force(office: Office) -> None:
    _running(office.home, trained=TICK - 31 * DAY)
    _decided(office.home, at=TICK - 2 * DAY, outcome="SKIP", trained=False)
    request = office.tick()
    assert isinstance(request, dg.RunRequest)
    assert (request.tags["taskclf/cause"], request.run_config) == ("model_age", {"force": True})


def test_a_challenger_rejected_yesterday_is_not_trained_again_at_every_tick_for_a_model_that_is_too_old(office: Office) -> None:
    _running(office.home, trained=TICK - 90 * DAY)
    _decided(office.home, at=TICK - DAY)
    days = [isinstance(office.tick(TICK + n * DAY), dg.RunRequest) for n in range(8)]
    assert days == [False] * 6 + [True] * 2


def test_a_retrain_that_really_ran_is_not_repeated_at_the_next_tick_whatever_it_decided(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", str(_settings(tmp_path, "train_params: {num_boost_round: 3}\n")))
    result = office.launch(office.tick(), at=TICK)
    last = read_last_decided(office.home)
    assert result.success
    assert last is not None
    assert (last.run_id, last.decided_at, last.trained_at) == (result.run_id, TICK, TICK)
    assert office.skip(TICK + DAY).kind == "not_due"


# --- Not due, or not now --------------------------------------------------------------------------------------------------------------


def test_without_a_home_the_tick_skips_and_says_how_to_get_one(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    skip = Office(Home(tmp_path / "none"), instance).skip()
    assert skip.kind == "error"
    assert str(tmp_path / "none") in skip.message


def test_with_too_few_labels_the_tick_skips_and_says_what_to_label(empty: Office, snapshot: SnapshotAssertion) -> None:
    morning = AS_OF - timedelta(hours=15)
    write_windows(empty.home, windows_frame(start=morning, n=50))
    write_labels(empty.home, [span(morning, morning + timedelta(minutes=50), "Build")])
    assert empty.skip().kind == "nothing_to_learn_from"
    assert empty.skip().message == snapshot


def test_without_windows_in_range_the_tick_skips_and_says_where_it_looked(empty: Office, snapshot: SnapshotAssertion) -> None:
    assert empty.skip().kind == "nothing_to_learn_from"
    assert masked(empty.skip().message, empty.home.root) == snapshot


@pytest.mark.parametrize("damage", ["torn", "a folder"])
def test_a_damaged_label_store_skips_with_the_file_and_the_fix(empty: Office, damage: str) -> None:
    store = empty.home.labels
    store.parent.mkdir(parents=True)
    store.mkdir() if damage == "a folder" else store.write_bytes(b"PAR1 no more")
    skip = empty.skip()
    assert skip.kind == "error"
    assert str(store) in skip.message


def test_a_wrong_configuration_skips_with_the_finding(office: Office, tmp_path: Path) -> None:
    skip = office.skip(config=_settings(tmp_path, "min_labels: 0\n"))
    assert skip.kind == "error"
    assert "min_labels" in skip.message


def test_where_enabled_is_false_a_tick_skips_and_says_who_says_so(office: Office, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    assert office.skip(config=_settings(tmp_path, "enabled: false\n")).kind == "disabled"
    assert snapshot == DISABLED


def test_the_environment_turns_the_schedule_off(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_ENABLED", "false")
    assert office.skip().kind == "disabled"


def test_a_tick_writes_nothing_into_the_home(office: Office) -> None:
    before = contents(office.home.root)
    assert isinstance(office.tick(), dg.RunRequest)
    assert contents(office.home.root) == before


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTING, Status.STARTED])
def test_a_retrain_that_is_under_way_is_named_and_not_joined_by_another(office: Office, status: Status) -> None:
    run = add_run(office.instance, office.home, status)
    skip = office.skip()
    assert skip.kind == "running"
    assert run.run_id in skip.message


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILURE, Status.CANCELED])
def test_a_retrain_that_has_ended_without_a_decision_blocks_nothing(office: Office, status: Status) -> None:
    add_run(office.instance, office.home, status)
    assert isinstance(office.tick(), dg.RunRequest)


def test_of_five_ticks_that_were_slept_through_one_launches_and_the_others_name_its_run(office: Office) -> None:
    woke_up = TICK + timedelta(hours=2)
    missed = [TICK - n * DAY for n in range(4, -1, -1)]
    first, *others = missed
    run = office.queue(office.tick(woke_up, scheduled=first))
    answers = [office.tick(woke_up, scheduled=moment) for moment in others]
    assert len(answers) == 4
    assert all(isinstance(answer, SkipReason) and run.run_id in answer.message for answer in answers)


def test_of_five_ticks_that_were_slept_through_none_launches_again_what_the_first_has_decided_meanwhile(office: Office) -> None:
    woke_up = TICK + timedelta(hours=2)
    assert isinstance(office.tick(woke_up, scheduled=TICK - 4 * DAY), dg.RunRequest)
    _decided(office.home, at=woke_up)
    answers = [office.tick(woke_up + timedelta(minutes=1), scheduled=TICK - n * DAY) for n in range(3, -1, -1)]
    assert [isinstance(answer, SkipReason) for answer in answers] == [True] * 4


# --- Clocks ---------------------------------------------------------------------------------------------------------------------------


def _ticks(cron: str, zone: str, *, after: datetime, n: int) -> list[datetime]:
    daily, *_ = build_schedules(retrain_config(schedule={"cron": cron, "timezone": zone}))
    assert daily.execution_timezone is not None
    return list(islice(cron_string_iterator(after.timestamp(), str(daily.cron_schedule), daily.execution_timezone), n))


def test_six_in_the_morning_stays_six_when_the_clocks_change() -> None:
    found = [moment.astimezone(UTC) for moment in _ticks("0 6 * * *", "Europe/Vienna", after=datetime(2026, 3, 27, 12, tzinfo=UTC), n=3)]
    assert [moment.date() for moment in found] == [date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30)]
    assert [moment.hour for moment in found] == [5, 4, 4]


@pytest.mark.parametrize("before", [datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)], ids=["spring", "autumn"])
def test_an_hour_that_is_missing_or_comes_twice_is_one_tick_a_day_with_a_key_of_its_own(before: datetime) -> None:
    found = [moment.astimezone(VIENNA) for moment in _ticks("30 2 * * *", "Europe/Vienna", after=before, n=5)]
    assert set(Counter(moment.date() for moment in found).values()) == {1}
    assert len({f"{moment:%Y-%m-%dT%H:%M%z}" for moment in found}) == 5


@pytest.mark.parametrize(
    ("begin", "decided"),
    [(datetime(2026, 3, 24, tzinfo=VIENNA), timedelta(minutes=4)), (datetime(2026, 10, 20, tzinfo=VIENNA), timedelta(minutes=4))],
    ids=["clocks go forward", "clocks go back"],
)
def test_a_weekly_retrain_stays_on_its_weekday_when_the_clocks_change(
    office: Office, tmp_path: Path, begin: datetime, decided: timedelta
) -> None:
    config = _settings(tmp_path, "data_lookback_days: 3650\n")
    morning = [begin.replace(day=begin.day + n, hour=6) for n in range(8)]
    _decided(office.home, at=morning[0].astimezone(UTC) + decided)
    looked = (morning[1], morning[6], morning[7])
    launched = [isinstance(office.tick(moment.astimezone(UTC), config=config), dg.RunRequest) for moment in looked]
    assert launched == [False, False, True]


def test_a_zone_whose_offset_has_odd_minutes_ticks_at_its_own_six(office: Office) -> None:
    (first,) = _ticks("0 6 * * *", "Asia/Kathmandu", after=datetime(2026, 2, 3, 12, tzinfo=UTC), n=1)
    assert first.astimezone(UTC) == datetime(2026, 2, 4, 0, 15, tzinfo=UTC)
    request = office.tick(first.astimezone(UTC), scheduled=first.astimezone(KATHMANDU))
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "2026-02-04T06:00+0545"


def test_a_clock_that_went_back_cannot_stop_retraining(office: Office) -> None:
    _decided(office.home, at=TICK + 100 * DAY)
    request = office.tick()
    assert isinstance(request, dg.RunRequest)
    assert request.tags["taskclf/cause"] == "cadence"


def test_a_model_of_the_future_cannot_stop_retraining_and_is_not_retrained_at_every_tick(office: Office) -> None:
    _running(office.home, trained=TICK + 1000 * DAY)
    _decided(office.home, at=TICK - 2 * DAY, outcome="SKIP", trained=False)
    request = office.tick()
    assert isinstance(request, dg.RunRequest)
    assert request.run_config == {"force": True}
    _decided(office.home, at=TICK)
    assert office.skip(TICK + DAY).kind == "not_due"


# --- The weekly one -------------------------------------------------------------------------------------------------------------------


def test_the_weekly_tick_asks_for_a_verification_that_mends_nothing() -> None:
    definitions = build_definitions()
    schedule = definitions.resolve_schedule_def("weekly_verification")
    context = dg.build_schedule_context(scheduled_execution_time=TICK, repository_def=definitions.get_repository_def())
    (request,) = schedule.evaluate_tick(context).run_requests or []
    dg.validate_run_config(definitions.resolve_job_def("verify_registry"), request.run_config)
    assert not request.run_config.get("repair")


# --- After a failure ------------------------------------------------------------------------------------------------------------------


def test_a_run_of_the_schedule_that_failed_is_tried_again_the_next_day_however_often_the_schedule_looks(
    office: Office, snapshot: SnapshotAssertion
) -> None:
    first = office.tick()
    assert isinstance(first, dg.RunRequest)
    failed = TICK + timedelta(minutes=20)
    add_run(office.instance, office.home, Status.FAILURE, tags=first.tags, at=failed)
    skip = office.skip(TICK + timedelta(hours=1))
    assert skip.kind == "next_day"
    assert skip.message == snapshot
    again = office.tick(TICK + DAY)  # a run takes time, so the tick of the next day comes a little early
    assert isinstance(again, dg.RunRequest)
    assert again.run_key != first.run_key


def test_a_run_of_the_schedule_that_came_to_its_end_does_not_hold_up_the_next(office: Office) -> None:
    first = office.tick()
    assert isinstance(first, dg.RunRequest)
    add_run(office.instance, office.home, Status.FAILURE, tags=first.tags, at=TICK + timedelta(minutes=20))
    add_run(office.instance, office.home, Status.SUCCESS, tags=first.tags, at=TICK + timedelta(minutes=30))
    assert isinstance(office.tick(TICK + timedelta(hours=1)), dg.RunRequest)
