"""Cron lines: five fields, checked so strictly that Dagster takes every line that passes, and takes it to mean what it says.

Plain Python, for settings to be checked without Dagster. When a line ticks is up to Dagster.
"""

import re
from calendar import monthrange
from dataclasses import dataclass

EXAMPLE = "0 6 * * *"


_LEAP_YEAR = 2028


@dataclass(frozen=True)
class _Field:
    """One of the five.

    Attributes:
        low: smallest number.
        high: largest number.
        names: what may stand for numbers, in capitals, from `low` on.
        example: what the field may hold.
    """

    name: str
    low: int
    high: int
    example: str
    names: tuple[str, ...] = ()

    @property
    def bound(self) -> str:
        """What a value of the field may be, in words."""
        return f"from {self.low} to {self.high}" + (f", or {self.names[0]} to {self.names[-1]}" if self.names else "")


_FIELDS = (
    _Field("minute", 0, 59, "0,30 or */15"),
    _Field("hour", 0, 23, "6 or 8-18"),
    _Field("day", 1, 31, "1,15 or 1-7"),
    _Field("month", 1, 12, "1-6 or JAN,JUL", ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")),
    _Field("weekday", 0, 7, "1 or MON-FRI", ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),
)


def check_cron(line: str) -> str:
    """A cron line with one space between its fields: minute, hour, day, month and weekday.

    A field is a list of `*`, `a`, `a-b`, `*/n`, `a/n` or `a-b/n`.

    Raises:
        ValueError: the line is none, a value is out of bounds, or its day never comes; the words name the value and what it may be.
    """
    values = line.split()
    if len(values) != len(_FIELDS):
        msg = f"{line!r} is no cron line of five fields ({' '.join(field.name for field in _FIELDS)}), such as {EXAMPLE}"
        raise ValueError(msg)
    _, _, days, months, _ = (_read_field(field, value) for field, value in zip(_FIELDS, values, strict=True))
    longest = max(monthrange(_LEAP_YEAR, month)[1] for month in months)
    if min(days) > longest:  # Dagster fails on such a line whatever its weekday is
        msg = f"day {values[2]} of the cron line never comes: month {values[3]} has at most {longest} days, such as 28"
        raise ValueError(msg)
    return " ".join(values)


def _read_field(field: _Field, value: str) -> set[int]:
    """The numbers that a field stands for."""
    return {number for element in value.split(",") for number in _read_element(field, element)}


def _read_element(field: _Field, element: str) -> range:
    base, slash, step = element.partition("/")
    if slash and not re.fullmatch(r"[0-9]{1,9}", step):
        raise _wrong(field, element, "must end in /n, a whole number")
    if slash and int(step) < 1:
        raise _wrong(field, element, "must have a step of at least 1")
    low, high = _read_range(field, element, base, has_step=bool(slash))
    return range(low, high + 1, int(step) if slash else 1)


def _read_range(field: _Field, element: str, base: str, *, has_step: bool) -> tuple[int, int]:
    if base == "*":
        return field.low, field.high
    first, dash, last = base.partition("-")
    low = _read_number(field, first)
    if not dash and not has_step:
        return low, low
    high = _read_number(field, last, ends_a_range=True) if dash else field.high
    if low > high:
        raise _wrong(field, element, "must not begin after its end")
    if low == high or first.upper() == last.upper():  # Dagster takes 5-5 for the whole field, and 59/5 for */5
        raise _wrong(field, element, f"must be a range of more than one value: write {first}")
    return low, high


def _read_number(field: _Field, text: str, *, ends_a_range: bool = False) -> int:
    """A number or a name; Sunday is 7 where it ends a range, as in FRI-SUN."""
    if text.upper() in field.names:
        number = field.low + field.names.index(text.upper())
        return field.high if ends_a_range and field.name == "weekday" and number == field.low else number
    if not re.fullmatch(r"[0-9]{1,9}", text) or not field.low <= int(text) <= field.high:
        raise _wrong(field, text, f"must be {field.bound}")
    return int(text)


def _wrong(field: _Field, value: str, rule: str) -> ValueError:
    return ValueError(f"{field.name} {value or repr(value)} of the cron line {rule}, such as {field.example}")
