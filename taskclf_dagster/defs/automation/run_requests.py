"""Run requests of schedule and sensors, or skips, each with its reason. Dagster concept: run requests.

`domain.scheduling` decides if a retrain is due; `defs.runs.retrain_runs` reads what is running and what failed.
"""

import hashlib
from datetime import datetime

import dagster as dg

from taskclf_dagster.defs.runs.retrain_runs import (
    FINISHED,
    RETRAIN,
    RetrainRun,
    describe_unfinished_retrain,
    find_unfinished_retrain,
    iterate_retrains,
)
from taskclf_dagster.defs.runs.run_tags import ATTEMPT_TAG, CAUSE_TAG, HOME_TAG, REASON_TAG, RETRY_OF_TAG, TRIGGER_TAG, home_tag
from taskclf_dagster.domain.scheduling.retry_policy import check_attempts
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.scheduling.triggers import Cause
from taskclf_dagster.home import Home

DISABLED = (
    "nothing is launched by itself: `enabled` is false in the configuration, or RETRAIN_ENABLED in the environment. "
    "Launches by hand work as ever."
)


def request_retrain(
    home: Home, *, cause: Cause, reason: str, run_key: str, force: bool = False, tags: dict[str, str] | None = None
) -> dg.RunRequest:
    """Returns a run request for the job `retrain`, tagged with home, cause and reason."""
    own = {HOME_TAG: home_tag(home), CAUSE_TAG: cause, REASON_TAG: reason}
    return dg.RunRequest(job_name=RETRAIN, run_key=run_key, run_config={"force": True} if force else {}, tags={**own, **(tags or {})})


def request_for_trigger(
    instance: dg.DagsterInstance,
    home: Home,
    *,
    demand: str,
    cause: Cause,
    reason: str,
    max_attempts: int,
    now: datetime,
    force: bool = False,
) -> dg.RunRequest | SkipReason:
    """Returns a run request for a trigger (label arrival, drift report), or the reason to skip.

    There is one run for each trigger; if it fails, another one the next day, at most `max_attempts` in all. Retries of a transient failure
    belong to the run that they repeat.
    """
    unfinished = find_unfinished_retrain(instance, home)
    if unfinished is not None:
        return SkipReason(kind="running", message=f"{reason}; {describe_unfinished_retrain(unfinished)}")
    runs = [run for run in iterate_retrains(instance, home, tags={TRIGGER_TAG: demand}) if RETRY_OF_TAG not in run.tags]
    failed = [run.finished or run.created for run in runs if run.state == "failed"]
    skip_reason = check_attempts(failed, now=now, max_attempts=max_attempts)
    if skip_reason is not None:
        return SkipReason(kind=skip_reason.kind, message=f"{reason}, but {skip_reason.message}")
    attempt = len(failed) + 1
    tags = {TRIGGER_TAG: demand, ATTEMPT_TAG: str(attempt)}
    # A run that was canceled, or whose decision could not be kept, has used its key without an answer.
    key = f"{demand}-{_digest(home)}-{attempt}" + (f"-{len(runs)}" if len(runs) >= attempt else "")
    return request_retrain(home, cause=cause, reason=reason, run_key=key, force=force, tags=tags)


def find_last_failure(instance: dg.DagsterInstance, home: Home, demand: str) -> datetime | None:
    """Returns the end time of the last run for a trigger if it failed; None if it succeeded, or there is none."""
    runs = iterate_retrains(instance, home, tags={TRIGGER_TAG: demand}, statuses=FINISHED)
    last = next(runs, None)
    return last.finished if last is not None and last.state == "failed" else None


def find_run_for_trigger(instance: dg.DagsterInstance, home: Home, demand: str) -> RetrainRun | None:
    """Returns the run that succeeded for a trigger and was no dry run; None if there is none."""
    runs = iterate_retrains(instance, home, tags={TRIGGER_TAG: demand})
    return next((run for run in runs if run.state in ("completed", "skipped") and not run.dry_run), None)


def _digest(home: Home) -> str:
    """Returns a short name of a home: equal labels in another home are another trigger."""
    return hashlib.sha256(home_tag(home).encode()).hexdigest()[:8]
