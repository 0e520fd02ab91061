"""The sensors that launch a retrain for label arrival and for drift reports. Dagster concept: sensors.

`domain.scheduling` decides. A tick that cannot read a file skips and names it. The sensor for failed runs is in `failed_run_sensor`, the
one that delivers events in `defs.events.event_sensor`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.automation.run_requests import DISABLED, find_run_for_trigger, request_for_trigger
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.retrain_runs import RETRAIN
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.scheduling.drift_trigger import find_drift_answer, find_drift_trigger
from taskclf_dagster.domain.scheduling.label_arrival import LabelStoreState, check_label_arrival, check_label_store, read_label_store_state
from taskclf_dagster.domain.scheduling.triggers import describe_blocked, describe_changed_spans, find_blockers
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

_Answer = TypeVar("_Answer", dg.SensorResult, dg.RunRequest)


LABELS_SECONDS, DRIFT_SECONDS = 60, 300


FIRST_START = (
    "No retrain was ever decided for this home, so labels that are there do not count as arrived: the schedule daily_retrain makes the "
    "first one at its next tick, if there is enough to learn from. To do it now, launch the job retrain, or type `taskclf-dagster retrain`."
)


def build_sensors(config: RetrainConfig) -> list[dg.SensorDefinition]:
    """Returns the sensors for label arrival and drift reports; on unless the settings turn them off."""
    status = dg.DefaultSensorStatus.RUNNING if config.scheduling.enabled else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        job_name=RETRAIN,
        name="label_arrival",
        minimum_interval_seconds=LABELS_SECONDS,
        default_status=status,
        description="Launches a retrain once min_new_labels label spans changed since the last decided run and labelling has paused.",
    )
    def label_arrival(
        context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.SensorResult | dg.SkipReason:
        """Launches one run for each content of the label store; a store rewritten with the same spans has the same content."""
        return _evaluate(_evaluate_labels, context, home.open(), run_settings, clock.now())

    @dg.sensor(
        job_name=RETRAIN,
        name="drift_report",
        minimum_interval_seconds=DRIFT_SECONDS,
        default_status=status,
        description="Launches a retrain, forced, for a drift report in artifacts/ with an alert as grave as drift_trigger; once for each.",
    )
    def drift_report(
        context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.RunRequest | dg.SkipReason:
        """Launches one run for each report, unless a challenger was trained since."""
        return _evaluate(_evaluate_drift, context, home.open(), run_settings, clock.now())

    return [label_arrival, drift_report]


def _evaluate(
    evaluate: Callable[[dg.SensorEvaluationContext, Home, RetrainConfig, datetime], _Answer | str],
    context: dg.SensorEvaluationContext,
    home: Home,
    run_settings: RunSettingsResource,
    now: datetime,
) -> _Answer | dg.SkipReason:
    """Evaluates one tick for a home; skips with the reason if the sensors are disabled, or a file cannot be read."""
    try:
        config = run_settings.load_config()
        if not config.scheduling.enabled:
            return dg.SkipReason(DISABLED)
        home.require()
        answer = evaluate(context, home, config, now)
    except (TaskclfDagsterError, OSError) as error:
        return dg.SkipReason(str(error))
    return dg.SkipReason(answer) if isinstance(answer, str) else answer


def _evaluate_labels(context: dg.SensorEvaluationContext, home: Home, config: RetrainConfig, now: datetime) -> dg.SensorResult:
    last = read_last_decided(home)
    state = check_label_store(home, read_label_store_state(context.cursor), last, now=now)
    waiting = check_label_arrival(state, settings=config.scheduling, now=now)
    message = FIRST_START if last is None else None if waiting is None else waiting.message
    reason = describe_changed_spans(state.changed_spans, config.scheduling)
    if message is None:
        state = _assess_blockers(state, home, config, now)
        message = describe_blocked(reason, state.blockers) if state.blockers else None
    cursor = state.model_dump_json()
    if message is not None:
        return dg.SensorResult(skip_reason=message, cursor=cursor)
    answer = request_for_trigger(
        context.instance,
        home,
        demand=f"labels-{state.watermark}",
        cause="new_labels",
        reason=reason,
        max_attempts=config.scheduling.max_attempts,
        now=now,
    )
    if isinstance(answer, str):
        return dg.SensorResult(skip_reason=answer, cursor=cursor)
    return dg.SensorResult(run_requests=[answer], cursor=cursor)


def _assess_blockers(state: LabelStoreState, home: Home, config: RetrainConfig, now: datetime) -> LabelStoreState:
    """Adds the blockers of a run on this content; assessed once a day."""
    today = now.astimezone(UTC).date().isoformat()
    if state.assessed_on == today:
        return state
    return state.model_copy(update={"blockers": find_blockers(home, config=config, now=now), "assessed_on": today})


def _evaluate_drift(context: dg.SensorEvaluationContext, home: Home, config: RetrainConfig, now: datetime) -> dg.RunRequest | str:
    if config.scheduling.drift_trigger == "never":
        return "drift reports trigger nothing: drift_trigger is never"
    found = find_drift_trigger(home, severity=config.scheduling.drift_trigger, now=now)
    if found is None:
        return f"no drift report in {home.artifacts} has an alert as grave as drift_trigger ({config.scheduling.drift_trigger})"
    demand = f"drift-{found.key}"
    answer = find_drift_answer(found, read_last_decided(home))
    answered = None if answer is None else answer.message
    if answered is None and (run := find_run_for_trigger(context.instance, home, demand)) is not None:
        answered = f"run {run.run_id} answered {found.path}"
    if answered is not None:
        return answered
    return request_for_trigger(
        context.instance,
        home,
        demand=demand,
        cause="drift",
        reason=found.reason,
        max_attempts=config.scheduling.max_attempts,
        now=now,
        force=True,
    )
