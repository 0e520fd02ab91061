"""The sensors of a deployment that serves many homes, and the one that keeps the partitions. Dagster concepts: sensors, dynamic partitions.

They have the names of the schedules and sensors of a single home, and do the same for each home, with its own settings and cron lines.
"""

import time
from dataclasses import dataclass

import dagster as dg

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.defs.automation.calibration_sensor import SECONDS as CALIBRATION_SECONDS
from taskclf_dagster.defs.automation.failed_run_sensor import SECONDS as FAILED_SECONDS
from taskclf_dagster.defs.automation.schedules import DAILY, MONITORING, WEEKLY
from taskclf_dagster.defs.automation.score_schedule import SCORE_DAYS
from taskclf_dagster.defs.automation.sensors import DRIFT_SECONDS, LABELS_SECONDS, PERFORMANCE_SECONDS
from taskclf_dagster.defs.events.event_sensor import INTERVAL_SECONDS as EVENTS_SECONDS
from taskclf_dagster.defs.homes import answers
from taskclf_dagster.defs.homes.answers import Look, Tick, request_of_partition
from taskclf_dagster.defs.homes.rounds import HomeAnswer, Walk, describe_round, read_cursor
from taskclf_dagster.defs.resources.inputs import ClockResource, RunSettingsResource
from taskclf_dagster.defs.resources.partition_home import HOMES, HomesResource
from taskclf_dagster.defs.runs.instance_home import find_instance_folder
from taskclf_dagster.defs.runs.retrain_runs import CALIBRATE, MONITOR, RETRAIN, SCORE
from taskclf_dagster.domain.storage.instance_homes import claim_for_homes
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

HOMES_SECONDS, CLOCK_SECONDS = 30, 60


@dataclass(frozen=True)
class RoundSensor:
    """A sensor over all homes.

    Attributes:
        name: its name.
        job: the job that it launches; None if it launches nothing.
        seconds: the time between its ticks [s].
        look: looks at one home.
        description: what it does, for its page.
    """

    name: str
    job: str | None
    seconds: int
    look: Look
    description: str


ROUND_SENSORS = (
    RoundSensor("label_arrival", RETRAIN, LABELS_SECONDS, answers.look_at_labels, "Retrains homes in which enough labels have arrived."),
    RoundSensor("drift_report", RETRAIN, DRIFT_SECONDS, answers.look_at_drift, "Retrains homes with a grave drift report; once for each."),
    RoundSensor(
        "performance_drop", RETRAIN, PERFORMANCE_SECONDS, answers.look_at_performance, "Retrains homes whose model does clearly worse."
    ),
    RoundSensor("calibration_due", CALIBRATE, CALIBRATION_SECONDS, answers.look_at_calibration, "Calibrates after each promotion."),
    RoundSensor("failed_runs", RETRAIN, FAILED_SECONDS, answers.look_at_failures, "Ends dead runs, and retries transient failures."),
    RoundSensor("event_delivery", None, EVENTS_SECONDS, answers.look_at_events, "Sends the events of each home to its sinks."),
    RoundSensor(DAILY, RETRAIN, CLOCK_SECONDS, answers.look_at_cadence, "At schedule.cron of each home: retrains it if that is due."),
    RoundSensor(MONITORING, MONITOR, CLOCK_SECONDS, answers.look_at_monitoring, "At schedule.monitor_cron of each home: the job monitor."),
    RoundSensor(WEEKLY, "verify_registry", CLOCK_SECONDS, answers.look_at_registry, "At schedule.verify_cron of each home: its registry."),
    RoundSensor(SCORE_DAYS, SCORE, CLOCK_SECONDS, answers.look_at_scores, "Every hour: scores the days of each home that wait."),
)
"""The sensors that go round the homes."""


def build_home_sensors(partitions: dg.DynamicPartitionsDefinition) -> list[dg.SensorDefinition]:
    """Returns the sensors: the one that keeps the partitions, and those that go round."""
    return [_build_homes_sensor(partitions), *(_build_round_sensor(sensor, partitions) for sensor in ROUND_SENSORS)]


def _build_homes_sensor(partitions: dg.DynamicPartitionsDefinition) -> dg.SensorDefinition:
    @dg.sensor(
        name=HOMES,
        minimum_interval_seconds=HOMES_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps a partition for each home of the homes file, and says which homes cannot be used.",
    )
    def keep_homes(context: dg.SensorEvaluationContext, homes: HomesResource) -> dg.SensorResult:
        try:
            listed = {each.name: each.problem for each in _open(context.instance, homes).list_homes()}
        except (TaskclfDagsterError, OSError) as error:
            return dg.SensorResult(skip_reason=str(error))
        present = set(context.instance.get_dynamic_partitions(HOMES))
        new = sorted({name for name, problem in listed.items() if problem is None} - present)
        gone = sorted(present - set(listed))
        parts = [f"{len(listed)} homes", *(f"{name}: {problem}" for name, problem in listed.items() if problem is not None)]
        parts += [f"new: {', '.join(new)}"] * bool(new) + [f"gone: {', '.join(gone)}"] * bool(gone)
        requests = [partitions.build_add_request(new)] * bool(new) + [partitions.build_delete_request(gone)] * bool(gone)
        return dg.SensorResult(skip_reason="; ".join(parts), dynamic_partitions_requests=requests)

    return keep_homes


def _build_round_sensor(sensor: RoundSensor, partitions: dg.DynamicPartitionsDefinition) -> dg.SensorDefinition:
    walk = Walk()

    @dg.sensor(
        job_name=sensor.job,
        name=sensor.name,
        minimum_interval_seconds=sensor.seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=sensor.description,
    )
    def go_round(
        context: dg.SensorEvaluationContext, homes: HomesResource, run_settings: RunSettingsResource, clock: ClockResource
    ) -> dg.SensorResult:
        try:
            directory = _open(context.instance, homes)
            listed, seconds = directory.list_homes(), directory.limits.tick_seconds
        except (TaskclfDagsterError, OSError) as error:
            return dg.SensorResult(skip_reason=str(error))
        tick = Tick(context.instance, run_settings, clock.now(), context.log)

        def evaluate(name: str, home: Home, state: str | None) -> HomeAnswer:
            return sensor.look(tick, name, home, state)

        result = walk.go_round(
            {each.name: each.home for each in listed if each.problem is None},
            read_cursor(context.cursor),
            evaluate,
            listed=frozenset(each.name for each in listed),
            seconds=seconds,
            stopwatch=time.monotonic,
        )
        summary = describe_round(result, {each.name: each.problem for each in listed if each.problem is not None})
        requests = [request_of_partition(name, sensor.job or "", request) for name, request in result.requests.items()]
        if requests:
            context.log.info(summary)
        new = sorted(set(result.requests) - set(context.instance.get_dynamic_partitions(HOMES))) if requests else []
        return dg.SensorResult(
            run_requests=requests or None,
            skip_reason=None if requests else summary,
            cursor=result.cursor.model_dump_json(),
            dynamic_partitions_requests=[partitions.build_add_request(new)] if new else None,
        )

    return go_round


def _open(instance: dg.DagsterInstance, homes: HomesResource) -> HomeDirectory:
    """Returns the homes, once the instance serves them.

    Raises:
        HomesNotNamedError: no homes file is named.
        InstanceError: the instance belongs to one home, or serves the homes of another file.
    """
    directory, folder = homes.open(), find_instance_folder(instance)
    if folder is not None:
        claim_for_homes(folder, directory)
    return directory
