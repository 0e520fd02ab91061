"""The sensor `failed_runs`: ends runs whose process has ended, and retries transient failures. Dagster concept: sensors.

`domain.scheduling.failure_kinds` decides which failures are transient, `domain.scheduling.retry_policy` when they are retried. Dagster's
own retries stay off: they would repeat a timeout, at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import dagster as dg

from taskclf_dagster.defs.automation.run_requests import DISABLED
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.retrain_runs import (
    RETRAIN,
    UNFINISHED,
    RetrainRun,
    describe_unfinished_retrain,
    find_unfinished_retrain,
    iterate_retrains,
    iterate_unfinished_runs,
)
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.defs.runs.run_tags import (
    ATTEMPT_TAG,
    CAUSE_TAG,
    COMMAND_LINE,
    EXCLUSIVE_TAG,
    HOME_TAG,
    OUTCOME_REASON_TAG,
    OUTCOME_TAG,
    REASON_TAG,
    RETRY_OF_TAG,
    RETRY_TAG,
    TRIGGER_TAG,
    WORKER_TAG,
    home_tag,
)
from taskclf_dagster.defs.runs.worker_processes import has_worker_ended
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.scheduling.failure_kinds import TRANSIENT, Kind
from taskclf_dagster.domain.scheduling.retry_policy import retry_due_at
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

SECONDS = 30


LOOK_BACK = timedelta(days=1)
"""Older failures are left to the daily schedule."""


BEGIN_WITHIN = timedelta(minutes=10)
"""Longest time from the start of a run until it is tagged with its worker process."""


MAX_WORDS = 1000


CARRIED = (CAUSE_TAG, REASON_TAG, TRIGGER_TAG, ATTEMPT_TAG)


RetryKind = Literal[
    "nothing_failed", "canceled", "permanent", "by_hand", "other_form", "decided", "retried", "exhausted", "not_yet", "running"
]


@dataclass(frozen=True)
class NoRetry:
    """The reason why no failed run is retried now.

    Attributes:
        kind: `nothing_failed`: no retrain failed in the last 24 hours. `canceled`: by a person. `permanent`: it would fail again.
            `by_hand`: interrupted on the command line. `other_form`: launched with more than the launch form has. `decided`: a retrain
            has decided since. `retried`: it has a retry. `exhausted`: it had the most allowed. `not_yet`: the delay is not over.
            `running`: another retrain is unfinished.
        message: the reason in one sentence, without a full stop.
        failure: kind of the failure; None if there is none, or it does not matter.
    """

    kind: RetryKind
    message: str
    failure: Kind | None = None


@dg.sensor(
    job_name=RETRAIN,
    name="failed_runs",
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends retrains whose process has ended, so that they block nothing, and retries transient failures.",
)
def failed_runs(
    context: dg.SensorEvaluationContext, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> dg.RunRequest | dg.SkipReason:
    """Launches one retry at a time. Timeouts, bad data and decisions are never retried."""
    return evaluate_failed_runs(context.instance, home.open(), run_settings, now=clock.now())


def evaluate_failed_runs(
    instance: dg.DagsterInstance, home: Home, run_settings: RunSettingsResource, *, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """Evaluates one tick of `failed_runs`; skips if it is disabled, nothing is to be retried, or a file or the home cannot be used."""
    try:
        require_own_instance(instance, home)
    except (TaskclfDagsterError, OSError) as error:
        return dg.SkipReason(str(error))
    ended = end_lost_runs(instance, home, now=now)
    tag_failures(instance, home, now=now)
    reported = "".join(f"run {run_id} was ended: its process has ended. " for run_id in ended)
    try:
        if not run_settings.load_config(home).scheduling.enabled:
            return dg.SkipReason(reported + DISABLED)
        answer = find_retry(instance, home, now=now)
    except (TaskclfDagsterError, OSError) as error:
        return dg.SkipReason(reported + str(error))
    return dg.SkipReason(reported + answer.message) if isinstance(answer, NoRetry) else answer


def end_lost_runs(instance: dg.DagsterInstance, home: Home, *, now: datetime) -> list[str]:
    """Reports runs as failed whose process on this machine has ended without a report, as after a power loss; the registry's jobs, too.

    The same holds for a run that was never tagged with its process. A run that a person canceled meanwhile is reported as canceled.

    Returns:
        Ids of these runs.
    """
    ended = []
    for found in iterate_unfinished_runs(instance, home):
        worker = _find_worker(instance, found.run)
        if not (_never_began(found, now) if worker is None else has_worker_ended(worker)):
            continue
        run = instance.get_run_by_id(found.run_id)  # once more: a run may end well between the two looks
        if run is None or run.status not in UNFINISHED:
            continue
        report = instance.report_run_canceled if run.status == dg.DagsterRunStatus.CANCELING else instance.report_run_failed
        report(run, message="its process has ended: it was killed, or the machine went down")
        ended.append(run.run_id)
    return ended


def tag_failures(instance: dg.DagsterInstance, home: Home, *, now: datetime) -> None:
    """Tags recently failed retrains with the reason, so that lists of runs show it."""
    for run in iterate_retrains(instance, home, statuses=(dg.DagsterRunStatus.FAILURE,), updated_after=now - LOOK_BACK):
        if OUTCOME_REASON_TAG not in run.tags or run.tags.get(OUTCOME_TAG) != "FAILED":
            failure = explain_failure(instance, run)
            instance.add_run_tags(run.run_id, {OUTCOME_TAG: "FAILED", OUTCOME_REASON_TAG: f"{failure.kind}: {failure.message}"[:MAX_WORDS]})


def find_retry(instance: dg.DagsterInstance, home: Home, *, now: datetime) -> dg.RunRequest | NoRetry:
    """Returns a run request that retries a transient failure of the last 24 hours, else the reason of the newest failure's wait."""
    runs = list(iterate_retrains(instance, home, updated_after=now - LOOK_BACK))
    failed = [(run.finished, run) for run in runs if run.state == "failed" and run.finished is not None and run.finished > now - LOOK_BACK]
    newest_first = sorted(failed, key=lambda pair: pair[0], reverse=True)
    answers = [_find_retry_of(instance, home, run, at, runs, now=now) for at, run in newest_first]
    request = next((answer for answer in answers if isinstance(answer, dg.RunRequest)), None)
    return request or next(iter(answers), NoRetry("nothing_failed", "no retrain failed in the last 24 hours"))


def _find_retry_of(
    instance: dg.DagsterInstance, home: Home, failed: RetrainRun, at: datetime, runs: list[RetrainRun], *, now: datetime
) -> dg.RunRequest | NoRetry:
    if failed.run.status == dg.DagsterRunStatus.CANCELED:
        return NoRetry("canceled", f"run {failed.run_id} was canceled by a person; not retried")
    failure = explain_failure(instance, failed)
    what = f"run {failed.run_id} failed ({failure.kind}): {failure.message}"
    if failure.kind not in TRANSIENT:
        return NoRetry("permanent", f"{what}; not retried: it would fail again", failure.kind)
    if failure.kind == "interrupted" and failed.tags.get(CAUSE_TAG) == COMMAND_LINE:
        return NoRetry("by_hand", f"{what}; not retried: it was interrupted on the command line", failure.kind)
    if failed.form is None:
        return NoRetry(
            "other_form", f"{what}; not retried: its run configuration has more than the launch form of the job {RETRAIN}", failure.kind
        )
    last = read_last_decided(home)
    if last is not None and (last.decided_at > at or last.run_id == failed.run_id):
        return NoRetry("decided", f"{what}; a retrain has made a decision since", failure.kind)
    retries, root = int(failed.tags.get(RETRY_TAG, "0")), failed.tags.get(RETRY_OF_TAG, failed.run_id)
    again = next((run for run in runs if (run.tags.get(RETRY_OF_TAG), run.tags.get(RETRY_TAG)) == (root, str(retries + 1))), None)
    if again is not None:
        return NoRetry("retried", f"{what}; retried as run {again.run_id}", failure.kind)
    due_at = retry_due_at(at, retries=retries)
    if due_at is None:
        return NoRetry("exhausted", f"{what}; retried {counted(retries, 'time')}, the most allowed", failure.kind)
    if now < due_at:
        return NoRetry("not_yet", f"{what}; retried at {due_at:%Y-%m-%d %H:%M:%S %Z}", failure.kind)
    unfinished = find_unfinished_retrain(instance, home)
    if unfinished is not None:
        return NoRetry("running", f"{what}; {describe_unfinished_retrain(unfinished)}", failure.kind)
    return _request_retry(home, failed, failed.form, root, retries + 1)


def _find_worker(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """Returns the worker process of a run; None if it has none yet. A re-execution starts with the tags of the run that it repeats."""
    worker = run.tags.get(WORKER_TAG)
    if worker is None or run.status == dg.DagsterRunStatus.QUEUED:
        return None
    parent = None if run.parent_run_id is None else instance.get_run_by_id(run.parent_run_id)
    return None if parent is not None and parent.tags.get(WORKER_TAG) == worker else worker


def _never_began(run: RetrainRun, now: datetime) -> bool:
    """Returns True if a run died before its first step: it is not queued, and has long had no worker process."""
    waits = run.run.status in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING)  # the queue and Dagster look after these
    return not waits and WORKER_TAG not in run.tags and now - (run.started or run.created) > BEGIN_WITHIN


def _request_retry(home: Home, failed: RetrainRun, form: dict[str, object], root: str, number: int) -> dg.RunRequest:
    carried = {name: failed.tags[name] for name in CARRIED if name in failed.tags}
    return dg.RunRequest(
        job_name=RETRAIN,
        run_key=f"retry-{root}-{number}",
        run_config=form,
        tags={**carried, HOME_TAG: home_tag(home), EXCLUSIVE_TAG: RETRAIN, RETRY_OF_TAG: root, RETRY_TAG: str(number)},
    )
