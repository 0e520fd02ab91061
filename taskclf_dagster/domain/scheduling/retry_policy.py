"""The retry policy: a transient failure is retried within the hour, a trigger whose runs fail on another day.

Arithmetic on times that are passed in. `failure_kinds` classifies failures; `defs.automation` launches the runs.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.shown_text import counted

RETRY_AFTER = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=25))
"""Delays of the first, second and third retry after a transient failure."""


NEXT_DAY = timedelta(days=1)


def check_attempts(failed: Sequence[datetime], *, now: datetime, max_attempts: int) -> SkipReason | None:
    """Returns the reason why a trigger whose runs failed launches no other run now; None if it does.

    Args:
        failed: end times of the failed runs for this trigger, without retries of transient failures.
        now: the present time.
        max_attempts: largest number of runs for a trigger.
    """
    if not failed:
        return None
    last = min(max(failed), now)
    if len(failed) >= max_attempts:
        message = f"{counted(len(failed), 'run')} for it failed (max_attempts is {max_attempts}), the last on {last:%Y-%m-%d %H:%M %Z}"
        return SkipReason(kind="attempts_exhausted", message=message)
    if now < last + NEXT_DAY:
        message = f"run {len(failed)} of {max_attempts} for it failed on {last:%Y-%m-%d %H:%M %Z}"
        return SkipReason(kind="next_day", message=f"{message}, retried on {last + NEXT_DAY:%Y-%m-%d %H:%M %Z}")
    return None


def check_next_day(failed_at: datetime | None, *, now: datetime) -> SkipReason | None:
    """Returns the reason why the schedule launches no run yet after one that failed; None if it does."""
    if failed_at is None or failed_at > now or now >= failed_at + NEXT_DAY:
        return None
    message = (
        f"the run for it failed on {failed_at:%Y-%m-%d %H:%M %Z}, and it is retried a day later ({failed_at + NEXT_DAY:%Y-%m-%d %H:%M %Z})"
    )
    return SkipReason(kind="next_day", message=message)


def retry_due_at(failed_at: datetime, *, retries: int) -> datetime | None:
    """Returns the time of the next retry after a transient failure; None if retries are exhausted.

    Args:
        failed_at: end time of the failed run.
        retries: number of earlier retries.
    """
    return failed_at + RETRY_AFTER[retries] if retries < len(RETRY_AFTER) else None
