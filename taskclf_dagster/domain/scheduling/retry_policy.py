"""The retry policy: a transient failure is retried within the hour, a trigger whose runs fail on another day.

Arithmetic on times that are passed in. `failure_kinds` classifies failures; `defs.automation` launches the runs.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

RETRY_AFTER = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=25))
"""Delays of the first, second and third retry after a transient failure."""


NEXT_DAY = timedelta(days=1)


def find_attempt_obstacle(failed: Sequence[datetime], *, now: datetime, max_attempts: int) -> str | None:
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
        return f"{len(failed)} runs for it failed (max_attempts is {max_attempts}), the last on {last:%Y-%m-%d %H:%M %Z}"
    if now < last + NEXT_DAY:
        again = last + NEXT_DAY
        return f"run {len(failed)} of {max_attempts} for it failed on {last:%Y-%m-%d %H:%M %Z}, tried again on {again:%Y-%m-%d %H:%M %Z}"
    return None


def find_next_day_obstacle(failed_at: datetime | None, *, now: datetime) -> str | None:
    """Returns the reason why the schedule launches no run yet after one that failed; None if it does."""
    if failed_at is None or failed_at > now or now >= failed_at + NEXT_DAY:
        return None
    again = failed_at + NEXT_DAY
    return f"the run for it failed on {failed_at:%Y-%m-%d %H:%M %Z}, and it is tried again a day later ({again:%Y-%m-%d %H:%M %Z})"


def retry_due_at(failed_at: datetime, *, retries: int) -> datetime | None:
    """Returns the time of the next retry after a transient failure; None if retries are exhausted.

    Args:
        failed_at: end time of the failed run.
        retries: number of earlier retries.
    """
    return failed_at + RETRY_AFTER[retries] if retries < len(RETRY_AFTER) else None
