"""Cron lines of five fields, read by croniter, in the forms that Dagster reads alike.

Dagster ticks with a copy of an older croniter. It takes `59/5` for `*/5`, and both take `5-5` for the whole field, so a range or step that
stands for one value is refused, and so are the extensions (`L`, `#`, `W`, `H`, `R`, seconds). When a line ticks is up to Dagster.
"""

import re
from calendar import monthrange
from functools import lru_cache
from typing import NamedTuple, cast

from croniter import croniter
from croniter.croniter import CroniterError

EXAMPLE = "0 6 * * *"


_LEAP_YEAR = 2028


_VALUE = r"(?:[0-9]{1,2}|[A-Za-z]{3})"


_ELEMENT = re.compile(rf"(?P<base>\*|{_VALUE}(?:-{_VALUE})?)(?:/0*[1-9][0-9]{{0,2}})?")


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: str
    example: str


_FIELDS = (
    _Field("minute", 0, 59, "", "0,30 or */15"),
    _Field("hour", 0, 23, "", "6 or 8-18"),
    _Field("day", 1, 31, "", "1,15 or 1-7"),
    _Field("month", 1, 12, " or JAN to DEC", "1-6 or JAN,JUL"),
    _Field("weekday", 0, 7, " or SUN to SAT", "1 or MON-FRI"),
)


def check_cron(line: str) -> str:
    """Returns a cron line with one space between its fields: minute, hour, day, month and weekday.

    A field is a list of `*`, `a`, `a-b`, `*/n`, `a/n` or `a-b/n`; a range may pass the end of the field, as in `22-6`.

    Raises:
        ValueError: the line has no such form, a value is out of bounds, or its day never comes; the message names value, bound and example.
    """
    values = line.split()
    if len(values) != len(_FIELDS):
        names = " ".join(field.name for field in _FIELDS)
        msg = f"{line!r} is not a cron line of five fields ({names}), such as {EXAMPLE}"
        raise ValueError(msg)
    numbers = [set[int]().union(*(_expand(index, part) for part in value.split(","))) for index, value in enumerate(values)]
    longest = max(monthrange(_LEAP_YEAR, month)[1] for month in numbers[3])
    if min(numbers[2]) > longest:  # Dagster fails on such a line whatever its weekday is
        msg = f"day {values[2]} of the cron line never comes: month {values[3]} has at most {longest} days, such as 28"
        raise ValueError(msg)
    return " ".join(values)


def _expand(index: int, element: str) -> frozenset[int]:
    """Returns the numbers that one element of a field stands for."""
    field, match = _FIELDS[index], _ELEMENT.fullmatch(element)
    numbers = frozenset[int]() if match is None else _read(index, element)
    if match is None or not numbers:
        bounds = f"from {field.low} to {field.high}{field.names}"
        msg = (
            f"{field.name} {element or repr(element)} of the cron line must be *, or a value or range {bounds}, with /n for a step of at "
            f"least 1, such as {field.example}"
        )
        raise ValueError(msg)
    first, dash, last = match["base"].partition("-")
    is_week = last == "7" and first != "7"  # 0-7 is every day, although both ends are Sunday
    ends_meet = bool(dash) and not is_week and _read(index, first) == _read(index, last)
    if ends_meet or (len(numbers) == 1 and first != "*" and element != first):
        msg = f"{field.name} {element} of the cron line stands for one value: write {first}"
        raise ValueError(msg)
    return numbers


@lru_cache(maxsize=1024)  # receipts state a policy with a cron line each
def _read(index: int, element: str) -> frozenset[int]:
    """Returns the numbers that croniter finds in one element of a field; empty if it refuses it."""
    fields = ["*"] * len(_FIELDS)
    fields[index] = element
    try:
        numbers = croniter.expand(" ".join(fields))[0][index]
    except CroniterError:
        return frozenset()
    return frozenset(range(_FIELDS[index].low, _FIELDS[index].high + 1)) if "*" in numbers else frozenset(cast("list[int]", numbers))
