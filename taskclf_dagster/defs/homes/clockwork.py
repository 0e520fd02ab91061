"""Cron lines of many homes, each with its own settings: one sensor for each schedule asks which homes have passed a time of theirs.

A schedule of Dagster's has one cron line and one chance at each time; a sensor goes on where it stopped.
"""

from datetime import datetime, timedelta

from taskclf_dagster.defs.dagster_internals import iterate_ticks

LONGEST_WAIT = timedelta(days=8)
"""Times that passed longer ago are forgotten; it is more than the week between two verifications."""


def find_passed(cron: str, time_zone: str, *, state: str | None, now: datetime) -> tuple[datetime | None, str]:
    """Returns the last time of a cron line that has passed since the last look, and the state to keep once it was answered.

    Args:
        cron: the cron line.
        time_zone: its IANA name.
        state: the state of the last look; None for the first one, at which nothing has passed.
        now: the present time.
    """
    if state is None:
        return None, now.isoformat()
    passed, looked = None, max(datetime.fromisoformat(state), now - LONGEST_WAIT)
    for tick in iterate_ticks(cron, time_zone, after=looked):
        if tick > now:
            break
        passed = tick if tick > looked else None
    return passed, now.isoformat()
