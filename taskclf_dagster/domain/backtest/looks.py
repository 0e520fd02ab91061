"""The times at which a replay looks if a retrain is due: the ticks of the daily schedule, and after the last label of each day."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from croniter import croniter

from taskclf_dagster.config.settings import RetrainConfig

LookedBy = Literal["schedule", "labels"]


class Look(NamedTuple):
    """One look.

    Attributes:
        at: the time, the as-of time of a retrain that it launches.
        by: the schedule `daily_retrain`, or the sensor `label_arrival`.
    """

    at: datetime
    by: LookedBy


def plan_looks(
    config: RetrainConfig, label_ends: Sequence[datetime], *, first: datetime, last: datetime, zone: ZoneInfo, every: int = 1
) -> list[Look]:
    """Returns the looks of a policy in order of time.

    The sensor looks once on each day with labels (in the time zone), `label_quiet_minutes` after its last one: as if people labeled day by
    day.

    Args:
        config: of the policy.
        label_ends: times at which labels become known, sorted.
        first: start of the replay; labels before it are known then.
        last: its end.
        zone: of the cron line and of the days.
        every: schedule and sensor look on every n-th day only [days].
    """
    quiet = timedelta(minutes=config.scheduling.label_quiet_minutes)
    days = [list(ends)[-1] for _, ends in groupby(label_ends, key=lambda end: end.astimezone(zone).date())]
    evenings = [Look(end + quiet, "labels") for end in days]
    mornings = [Look(tick, "schedule") for tick in _list_ticks(config.scheduling.schedule.cron, first, last, zone)]
    begin = first.astimezone(zone).date()
    looks = [look for look in [*mornings, *evenings] if first <= look.at <= last]
    return sorted(look for look in looks if (look.at.astimezone(zone).date() - begin).days % every == 0)


def _list_ticks(cron: str, first: datetime, last: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    ticks = croniter(cron, (first - timedelta(seconds=1)).astimezone(zone))
    while (tick := ticks.get_next(datetime)) <= last:
        yield tick.astimezone(first.tzinfo)
