"""When a launch that failed is tried again: another day for the same demand, or within the hour for a passing failure.

Arithmetic on what is passed in. What failed and why is told by `failures`; the runs themselves belong to Dagster.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

RETRY_AFTER = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=25))
"""How long after a passing failure the first, second and third retry is launched."""


NEXT_DAY = timedelta(days=1)


def find_attempt_obstacle(failed: Sequence[datetime], *, now: datetime, max_attempts: int) -> str | None:
    """Why a demand whose runs failed is not answered with another run now; None if it is.

    Args:
        failed: when the failed runs for this demand ended, retries of passing failures not counted.
        now: the present time.
        max_attempts: how many runs a demand gets.
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
    """Why a run that failed is not followed by another one yet, however often the schedule looks; None if it is."""
    if failed_at is None or failed_at > now or now >= failed_at + NEXT_DAY:
        return None
    again = failed_at + NEXT_DAY
    return f"the run for it failed on {failed_at:%Y-%m-%d %H:%M %Z}, and it is tried again a day later ({again:%Y-%m-%d %H:%M %Z})"


def retry_due_at(failed_at: datetime, *, retries: int) -> datetime | None:
    """When a passing failure is tried again; None when it was tried often enough.

    Args:
        failed_at: when the run ended.
        retries: how many retries there were before.
    """
    return failed_at + RETRY_AFTER[retries] if retries < len(RETRY_AFTER) else None
