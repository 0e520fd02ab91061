"""Looks at one home as the schedules and sensors of a single home do, and turns the answers into one form. Dagster concept: run requests.

Whether a run is due is found by `defs.automation`, with the settings of the home; a cron line is that of the home as well.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import dagster as dg
from pydantic import ValidationError

from taskclf_dagster.config.settings import RetrainConfig, ScheduleSettings
from taskclf_dagster.defs.automation.calibration_sensor import evaluate_calibration_due
from taskclf_dagster.defs.automation.failed_run_sensor import LOOK_BACK, evaluate_failed_runs
from taskclf_dagster.defs.automation.run_requests import DISABLED
from taskclf_dagster.defs.automation.schedules import evaluate_daily_retrain, evaluate_monitoring
from taskclf_dagster.defs.automation.score_schedule import CRON, evaluate_score_days
from taskclf_dagster.defs.automation.sensors import Answer, evaluate_drift_report, evaluate_label_arrival, evaluate_performance_drop
from taskclf_dagster.defs.events.event_sensor import deliver_events
from taskclf_dagster.defs.events.run_events import read_cursor
from taskclf_dagster.defs.homes.clockwork import find_passed
from taskclf_dagster.defs.homes.rounds import HomeAnswer
from taskclf_dagster.defs.jobs.partition_forms import fill_form
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.retrain_runs import UNFINISHED
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, PARTITION_TAG, home_tag
from taskclf_dagster.defs.runs.time_zones import time_zone
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home

STIRRING = LOOK_BACK + timedelta(hours=1)
"""A home without a run that changed within this time has nothing to retry."""


_NOT_YET = "no time of its schedule has passed"


@dataclass
class Tick:
    """One tick of a sensor over all homes.

    Attributes:
        instance: the instance.
        run_settings: gives the configuration of each home.
        now: the present time.
        log: the log of the tick.
    """

    instance: dg.DagsterInstance
    run_settings: RunSettingsResource
    now: datetime
    log: logging.Logger

    @cached_property
    def stirring(self) -> frozenset[str]:
        """Names and folders of the homes that have a run that has not ended, or changed within STIRRING: two queries for all homes."""
        unfinished = self.instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
        changed = self.instance.get_runs(dg.RunsFilter(updated_after=(self.now - STIRRING).astimezone(UTC)))
        return frozenset(run.tags[tag] for run in (*unfinished, *changed) for tag in (HOME_TAG, PARTITION_TAG) if tag in run.tags)

    def is_quiet(self, name: str, home: Home) -> bool:
        """Returns True if no run of a home has changed within STIRRING."""
        return not self.stirring & {name, home_tag(home)}


class EventState(Record):
    """The state of the events of one home.

    Attributes:
        runs: the cursor of its runs.
        pointer: digest of the pointer that was shown.
    """

    runs: str | None = None
    pointer: str | None = None


Look = Callable[[Tick, str, Home, str | None], HomeAnswer]
"""Looks at one home, given its name and the state that was kept for it."""


Found = Answer | dg.RunRequest | dg.SkipReason | SkipReason


def look_at_labels(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Looks for labels that have arrived."""
    return _answer(evaluate_label_arrival(tick.instance, home, tick.run_settings, cursor=state, now=tick.now))


def look_at_drift(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Looks for a drift report that triggers a retrain."""
    return _answer(evaluate_drift_report(tick.instance, home, tick.run_settings, now=tick.now))


def look_at_performance(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Looks for a drop of performance."""
    return _answer(evaluate_performance_drop(tick.instance, home, tick.run_settings, now=tick.now))


def look_at_calibration(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Looks for a promotion without calibrators."""
    return _answer(evaluate_calibration_due(tick.instance, home, tick.run_settings, now=tick.now))


def look_at_failures(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Ends runs whose process has ended, and retries transient failures."""
    if tick.is_quiet(name, home):
        require_own_instance(tick.instance, home)
        return HomeAnswer("no retrain failed in the last 24 hours")
    return _answer(evaluate_failed_runs(tick.instance, home, tick.run_settings, now=tick.now))


def look_at_events(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Delivers the events of the home."""
    kept = _read_event_state(state)
    shown = hash_file(home.active_pointer) if home.active_pointer.is_file() else None
    is_recent = kept.runs is not None and read_cursor(kept.runs, now=tick.now).through > tick.now - STIRRING / 2
    delivery = deliver_events(
        tick.instance,
        home,
        tick.run_settings,
        cursor=kept.runs,
        now=tick.now,
        log=tick.log,
        looks_at_runs=not (is_recent and tick.is_quiet(name, home)),
        looks_at_pointer=not tick.is_quiet(name, home) or shown != kept.pointer,
    )
    pointer = shown if delivery.is_pointer_shown else None
    return HomeAnswer(delivery.summary, state=EventState(runs=delivery.cursor or kept.runs, pointer=pointer).model_dump_json())


def look_at_cadence(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Asks at the times of `schedule.cron` if a retrain is due."""

    def evaluate(scheduled: datetime) -> Found:
        return evaluate_daily_retrain(tick.instance, home, tick.run_settings, scheduled=scheduled, now=tick.now)

    return _at_times(tick, home, state, lambda schedule: schedule.cron, evaluate)


def look_at_monitoring(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Asks at the times of `schedule.monitor_cron` for the job monitor."""
    return _at_times(tick, home, state, lambda schedule: schedule.monitor_cron, lambda _: evaluate_monitoring(home, tick.run_settings))


def look_at_registry(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Asks at the times of `schedule.verify_cron` for the job verify_registry."""
    return _at_times(tick, home, state, lambda schedule: schedule.verify_cron, lambda _: dg.RunRequest())


def look_at_scores(tick: Tick, name: str, home: Home, state: str | None) -> HomeAnswer:
    """Asks every hour for the days that wait for scores."""

    def evaluate(scheduled: datetime) -> Found:
        resource = HomeResource(root=str(home.root))
        return evaluate_score_days(tick.instance, resource, tick.run_settings, scheduled=scheduled, now=tick.now)

    passed, kept = find_passed(CRON, "UTC", state=state, now=tick.now)
    return HomeAnswer(_NOT_YET, state=kept) if passed is None else replace(_answer(evaluate(passed), at=passed), state=kept)


def _read_event_state(state: str | None) -> EventState:
    try:
        return EventState.model_validate_json(state or "{}")
    except ValidationError:
        return EventState()


def _at_times(
    tick: Tick, home: Home, state: str | None, cron: Callable[[ScheduleSettings], str], evaluate: Callable[[datetime], Found]
) -> HomeAnswer:
    """Evaluates once for the times of a cron line of the home that have passed since the last look."""
    config: RetrainConfig = tick.run_settings.load_config(home)
    schedule = config.scheduling.schedule
    passed, kept = find_passed(cron(schedule), time_zone(schedule), state=state, now=tick.now)
    if passed is None:
        return HomeAnswer(_NOT_YET, state=kept)
    return replace(_answer(evaluate(passed), at=passed), state=kept)


def _answer(found: Found, at: datetime | None = None) -> HomeAnswer:
    """Returns the answer in one form; a request without a run key gets that of its time."""
    if isinstance(found, Answer):
        skip, request, state = found.skip, found.request, found.cursor
        return HomeAnswer("" if skip is None else skip.message, request, state, is_problem=skip is not None and skip.kind == "error")
    if isinstance(found, dg.RunRequest):
        key = found.run_key or (None if at is None else f"{at:%Y-%m-%dT%H:%M%z}")
        return HomeAnswer("a run is requested", found.with_replaced_attrs(run_key=key))
    if isinstance(found, SkipReason):
        return HomeAnswer(found.message, is_problem=found.kind == "error")
    return HomeAnswer(found.skip_message or DISABLED)


def request_of_partition(name: str, job: str, request: dg.RunRequest) -> dg.RunRequest:
    """Returns the request of one home as one for its partition: with its name in the run key, and the launch form filled in."""
    form: Mapping[str, object] = request.run_config
    return dg.RunRequest(
        job_name=job,
        partition_key=name,
        run_key=None if request.run_key is None else f"{name}:{request.run_key}",
        run_config=fill_form(job, form),
        tags=request.tags,
    )
