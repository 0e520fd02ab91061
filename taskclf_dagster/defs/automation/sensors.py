"""The sensors that launch a retrain for label arrival, drift reports and drops of performance. Dagster concept: sensors.

`domain.scheduling` decides. A tick that cannot read a file skips and names it. The sensor for failed runs is in `failed_run_sensor`, the
one for calibration in `calibration_sensor`, the one that delivers events in `defs.events.event_sensor`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.automation.run_requests import DISABLED, find_run_for_trigger, request_for_trigger
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.retrain_runs import RETRAIN
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.scheduling.data_assessment import assess_data
from taskclf_dagster.domain.scheduling.drift_trigger import MAX_REASON_LENGTH, find_drift_answer, find_drift_trigger
from taskclf_dagster.domain.scheduling.label_arrival import LabelStoreState, check_label_arrival, check_label_store, read_label_store_state
from taskclf_dagster.domain.scheduling.performance_trigger import find_drop_answer, find_performance_trigger
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.scheduling.triggers import describe_blocked, describe_changed_spans
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

LABELS_SECONDS, DRIFT_SECONDS, PERFORMANCE_SECONDS = 60, 300, 300


@dataclass(frozen=True)
class Answer:
    """The answer of a sensor to one tick.

    Attributes:
        request: the run request; None if the tick skips.
        skip: the reason to skip; None if a run is requested.
        cursor: the cursor to store; None if it stays as it was.
    """

    request: dg.RunRequest | None = None
    skip: SkipReason | None = None
    cursor: str | None = None


FIRST_START = (
    "No retrain was ever decided for this home, so labels that are there do not count as arrived: the schedule daily_retrain makes the "
    "first one at its next tick, if there is enough to learn from. To do it now, launch the job retrain, or type `taskclf-dagster retrain`."
)


def build_sensors() -> list[dg.SensorDefinition]:
    """Returns the sensors for label arrival, drift reports and drops of performance.

    Dagster has them on; where the settings turn them off, their ticks skip, so that turning them on again needs no restart.
    """

    @dg.sensor(
        job_name=RETRAIN,
        name="label_arrival",
        minimum_interval_seconds=LABELS_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Launches a retrain once min_new_labels label spans changed since the last decided run and labelling has paused.",
    )
    def label_arrival(
        context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.SensorResult:
        """Launches one run for each content of the label store; a store rewritten with the same spans has the same content."""
        return _as_result(evaluate_label_arrival(context.instance, home.open(), run_settings, cursor=context.cursor, now=clock.now()))

    drift_report = _build_trigger_sensor(
        "drift_report",
        DRIFT_SECONDS,
        "Launches a retrain, forced, for a drift report in artifacts/ with an alert as grave as drift_trigger; once for each.",
        evaluate_drift_report,
    )
    performance_drop = _build_trigger_sensor(
        "performance_drop",
        PERFORMANCE_SECONDS,
        "Launches a retrain, forced, if live_performance found the active model to perform clearly worse; once for each model.",
        evaluate_performance_drop,
    )
    return [label_arrival, drift_report, performance_drop]


class _Evaluate(Protocol):
    """Evaluates one tick of a sensor that keeps no cursor."""

    def __call__(self, instance: dg.DagsterInstance, home: Home, run_settings: RunSettingsResource, *, now: datetime) -> Answer: ...


def _build_trigger_sensor(name: str, seconds: int, description: str, evaluate: _Evaluate) -> dg.SensorDefinition:
    """Returns a sensor that launches one retrain for each thing that it finds, unless a challenger was trained since."""

    @dg.sensor(
        job_name=RETRAIN,
        name=name,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def trigger(
        context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.SensorResult:
        return _as_result(evaluate(context.instance, home.open(), run_settings, now=clock.now()))

    return trigger


def evaluate_label_arrival(
    instance: dg.DagsterInstance, home: Home, run_settings: RunSettingsResource, *, cursor: str | None, now: datetime
) -> Answer:
    """Evaluates one tick of `label_arrival`; skips if the sensors are disabled, or a file cannot be read."""
    return _evaluate(instance, home, run_settings, lambda config: _evaluate_labels(instance, home, config, cursor, now))


def evaluate_drift_report(instance: dg.DagsterInstance, home: Home, run_settings: RunSettingsResource, *, now: datetime) -> Answer:
    """Evaluates one tick of `drift_report`; skips if the sensors are disabled, or a file cannot be read."""
    return _evaluate(instance, home, run_settings, lambda config: _answer(_evaluate_drift(instance, home, config, now)))


def evaluate_performance_drop(instance: dg.DagsterInstance, home: Home, run_settings: RunSettingsResource, *, now: datetime) -> Answer:
    """Evaluates one tick of `performance_drop`; skips if the sensors are disabled, or a file cannot be read."""
    return _evaluate(instance, home, run_settings, lambda config: _answer(_evaluate_performance(instance, home, config, now)))


def _evaluate(
    instance: dg.DagsterInstance, home: Home, run_settings: RunSettingsResource, evaluate: Callable[[RetrainConfig], Answer]
) -> Answer:
    try:
        config = run_settings.load_config(home)
        if not config.scheduling.enabled:
            return Answer(skip=SkipReason(kind="disabled", message=DISABLED))
        require_own_instance(instance, home)
        return evaluate(config)
    except (TaskclfDagsterError, OSError) as error:
        return Answer(skip=SkipReason(kind="error", message=str(error)))


def _answer(found: dg.RunRequest | SkipReason, cursor: str | None = None) -> Answer:
    return Answer(skip=found, cursor=cursor) if isinstance(found, SkipReason) else Answer(request=found, cursor=cursor)


def _as_result(answer: Answer) -> dg.SensorResult:
    return dg.SensorResult(
        run_requests=None if answer.request is None else [answer.request],
        skip_reason=None if answer.skip is None else answer.skip.message,
        cursor=answer.cursor,
    )


def _evaluate_labels(instance: dg.DagsterInstance, home: Home, config: RetrainConfig, cursor: str | None, now: datetime) -> Answer:
    last = read_last_decided(home)
    state = check_label_store(home, read_label_store_state(cursor), last, now=now)
    skip = check_label_arrival(state, settings=config.scheduling, now=now)
    if last is None:
        skip = SkipReason(kind="first_start", message=FIRST_START)
    reason = describe_changed_spans(state.changed_spans, config.scheduling)
    if skip is None:
        state = _assess_blockers(state, home, config, now)
        if state.blockers:
            skip = SkipReason(kind="nothing_to_learn_from", message=describe_blocked(reason, state.blockers))
    answer = skip or request_for_trigger(
        instance,
        home,
        demand=f"labels-{state.watermark}",
        cause="new_labels",
        reason=reason,
        max_attempts=config.scheduling.max_attempts,
        now=now,
    )
    return _answer(answer, state.model_dump_json())


def _assess_blockers(state: LabelStoreState, home: Home, config: RetrainConfig, now: datetime) -> LabelStoreState:
    """Adds the blockers of a run on this content; assessed once a day."""
    today = now.astimezone(UTC).date().isoformat()
    if state.assessed_on == today:
        return state
    return state.model_copy(update={"blockers": assess_data(home, config=config, now=now).blockers, "assessed_on": today})


def _evaluate_drift(instance: dg.DagsterInstance, home: Home, config: RetrainConfig, now: datetime) -> dg.RunRequest | SkipReason:
    if config.scheduling.drift_trigger == "never":
        return SkipReason(kind="disabled", message="drift reports trigger nothing: drift_trigger is never")
    found = find_drift_trigger(home, severity=config.scheduling.drift_trigger, now=now)
    if found is None:
        least = config.scheduling.drift_trigger
        return SkipReason(kind="no_report", message=f"no drift report in {home.artifacts} has an alert as grave as drift_trigger ({least})")
    demand = f"drift-{found.key}"
    answered = find_drift_answer(found, read_last_decided(home))
    if answered is None and (run := find_run_for_trigger(instance, home, demand)) is not None:
        answered = SkipReason(kind="answered", message=f"run {run.run_id} answered {found.path}")
    if answered is not None:
        return answered
    return request_for_trigger(
        instance,
        home,
        demand=demand,
        cause="drift",
        reason=found.reason,
        max_attempts=config.scheduling.max_attempts,
        now=now,
        force=True,
    )


def _evaluate_performance(instance: dg.DagsterInstance, home: Home, config: RetrainConfig, now: datetime) -> dg.RunRequest | SkipReason:
    if not config.live.live_trigger:
        return SkipReason(kind="disabled", message="a drop of performance triggers nothing: live_trigger is false")
    home.require()
    found = find_performance_trigger(home, open_keys(home, config.signing, signs=False))
    if isinstance(found, SkipReason):
        return found
    demand = f"performance-{found.model_id}"
    answered = find_drop_answer(found, read_last_decided(home))
    if answered is None and (run := find_run_for_trigger(instance, home, demand)) is not None:
        answered = SkipReason(kind="answered", message=f"run {run.run_id} answered the drop of {found.model_id}")
    if answered is not None:
        return answered
    return request_for_trigger(
        instance,
        home,
        demand=demand,
        cause="performance",
        reason=f"{found.model_id} performs clearly worse than it should: {found.reason}"[:MAX_REASON_LENGTH],
        max_attempts=config.scheduling.max_attempts,
        now=now,
        force=True,
    )
