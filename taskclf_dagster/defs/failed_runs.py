"""The sensor that looks after retrains that failed: it ends those whose process is gone, and launches passing failures again.

What counts as passing is decided in `domain/failures.py`, how long to wait in `domain/attempts.py`. Dagster's own retries stay off: they
would repeat a timeout, at once. Dagster concept: sensors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from taskclf_dagster.defs.guard import is_worker_gone
from taskclf_dagster.defs.requests import DISABLED
from taskclf_dagster.defs.resources import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.retrain_runs import (
    CAUSE_TAG,
    COMMAND_LINE,
    EXCLUSIVE_TAG,
    FAILURE_TAG,
    HOME_TAG,
    RETRAIN,
    RETRY_OF_TAG,
    RETRY_TAG,
    UNFINISHED,
    WORKER_TAG,
    RetrainRun,
    describe_under_way,
    find_under_way,
    home_tag,
    iterate_retrains,
)
from taskclf_dagster.domain.attempts import retry_due_at
from taskclf_dagster.domain.cadence import read_last_decided
from taskclf_dagster.domain.failures import OWN, PASSING, Kind, classify_failure
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

SECONDS = 30
LOOK_BACK = timedelta(days=1)
"""Older failures are left to the daily schedule."""
CARRIED = ("taskclf/cause", "taskclf/reason", "taskclf/demand", "taskclf/attempt")


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    Attributes:
        kind: what kind of failure it was.
        words: the innermost of our own messages, else of any, else Dagster's, in one line.
    """

    kind: Kind
    words: str


@dg.sensor(
    job_name=RETRAIN,
    name="failed_runs",
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends retrains whose process is gone, so that they block nothing, and launches again what failed for a passing reason.",
)
def failed_runs(
    context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> dg.RunRequest | dg.SkipReason:
    """One retry at a time; timeouts, bad data and decisions are never tried again."""
    place, now = home.open(), clock.now()
    ended = end_lost_runs(context.instance, place)
    told = "".join(f"run {run_id} was ended: its process is gone. " for run_id in ended)
    try:
        answer = find_retry(context.instance, place, now=now) if run_settings.load_config().enabled else DISABLED
    except (TaskclfDagsterError, OSError) as error:
        return dg.SkipReason(told + str(error))
    return dg.SkipReason(told + answer) if isinstance(answer, str) else answer


def end_lost_runs(instance: dg.DagsterInstance, home: Home) -> list[str]:
    """Reports retrains as failed whose process on this machine has ended without a word, as after a power cut.

    A run that a person canceled meanwhile is reported as canceled.

    Returns:
        Their ids.
    """
    ended = []
    for found in iterate_retrains(instance, home, statuses=UNFINISHED, whole=False):
        worker = _find_worker(instance, found.run)
        if worker is None or not is_worker_gone(worker):
            continue
        run = instance.get_run_by_id(found.run_id)  # once more: a run may end well between the two looks
        if run is None or run.status not in UNFINISHED:
            continue
        report = instance.report_run_canceled if run.status == dg.DagsterRunStatus.CANCELING else instance.report_run_failed
        report(run, message="its process is gone: it was killed, or the machine went down")
        ended.append(run.run_id)
    return ended


def find_retry(instance: dg.DagsterInstance, home: Home, *, now: datetime) -> dg.RunRequest | str:
    """A run that repeats the newest passing failure, or why there is none now, in words."""
    runs = iterate_retrains(instance, home, updated_after=now - LOOK_BACK)
    ended = [(run.finished, run) for run in runs if run.finished is not None and run.finished > now - LOOK_BACK]
    newest = max(((at, run) for at, run in ended if run.state == "failed"), key=lambda pair: pair[0], default=None)
    if newest is None:
        return "no retrain failed in the last 24 hours"
    failed_at, failed = newest
    if failed.run.status == dg.DagsterRunStatus.CANCELED:
        return f"run {failed.run_id} was canceled by a person; not tried again"
    failure = explain_failure(instance, failed)
    what = f"run {failed.run_id} failed ({failure.kind}): {failure.words}"
    if not _is_passing(failed, failure.kind):
        return f"{what}; not tried again: the same would happen"
    last = read_last_decided(home)
    if any(at > failed_at for at, _ in ended) or (last is not None and last.decided_at > failed_at):
        return f"{what}; another retrain has ended since"
    retries = int(failed.tags.get(RETRY_TAG, "0"))
    due_at = retry_due_at(failed_at, retries=retries)
    if due_at is None:
        return f"{what}; tried again {retries} times, which is enough"
    if now < due_at:
        return f"{what}; tried again at {due_at:%Y-%m-%d %H:%M:%S %Z}"
    under_way = find_under_way(instance, home)
    if under_way is not None:
        return f"{what}; {describe_under_way(under_way)}"
    return _request_retry(home, failed, retries + 1)


def explain_failure(instance: dg.DagsterInstance, run: RetrainRun) -> Failure:
    """Why a run failed, from what its event log keeps."""
    chain, message = _read_errors(instance, run)
    kind = classify_failure(chain, message=message, ended_as=run.tags.get(FAILURE_TAG))
    ours = [text for name, text in chain if name in OWN]
    words = (ours or [text for _, text in chain] or [""])[-1] or message or "no error was recorded"
    if kind == "timeout":
        words = f"it ran longer than timeout_minutes and was ended ({words})"
    return Failure(kind, " ".join(words.split()))


def _find_worker(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """The process of a run; None where it has none yet. A re-execution begins with a copy of the tags of the run that it repeats."""
    worker = run.tags.get(WORKER_TAG)
    if worker is None or run.status == dg.DagsterRunStatus.QUEUED:
        return None
    parent = None if run.parent_run_id is None else instance.get_run_by_id(run.parent_run_id)
    return None if parent is not None and parent.tags.get(WORKER_TAG) == worker else worker


def _is_passing(run: RetrainRun, kind: Kind) -> bool:
    return kind in PASSING and not (kind == "interrupted" and run.tags.get(CAUSE_TAG) == COMMAND_LINE)


def _read_errors(instance: dg.DagsterInstance, run: RetrainRun) -> tuple[list[tuple[str, str]], str]:
    """Class names and messages of the first error of a run, the outermost first; and what was reported about its process."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    records = instance.get_records_for_run(run.run_id, of_type=kinds).records
    events = [record.event_log_entry.dagster_event for record in records if record.event_log_entry.dagster_event is not None]
    chain: list[tuple[str, str]] = []
    for event in events:
        error = getattr(event.event_specific_data, "error", None)
        if isinstance(error, SerializableErrorInfo) and not chain:
            chain = list(_walk(error))
    return chain, " ".join(event.message or "" for event in events if event.is_run_failure)


def _walk(error: SerializableErrorInfo) -> Iterator[tuple[str, str]]:
    """An error and its causes; Dagster's own wrappers say nothing."""
    seen: SerializableErrorInfo | None = error
    while seen is not None:
        name = seen.cls_name or ""
        if name not in ("DagsterExecutionStepExecutionError", "DagsterResourceFunctionError"):
            yield name, seen.message.strip().partition(": ")[2] or seen.message.strip()
        seen = seen.cause or seen.context


def _request_retry(home: Home, failed: RetrainRun, number: int) -> dg.RunRequest:
    root = failed.tags.get(RETRY_OF_TAG, failed.run_id)
    carried = {name: failed.tags[name] for name in CARRIED if name in failed.tags}
    mapped = failed.run.job_name == RETRAIN
    return dg.RunRequest(
        job_name=RETRAIN,
        run_key=f"retry-{root}-{number}",
        run_config=dict(failed.run.run_config) if mapped else {},
        tags={**carried, HOME_TAG: home_tag(home), EXCLUSIVE_TAG: RETRAIN, RETRY_OF_TAG: root, RETRY_TAG: str(number)},
    )
