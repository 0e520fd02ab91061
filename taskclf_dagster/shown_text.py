r"""Makes text from files and people safe to show: in a terminal, in metadata and in markdown.

Characters that a terminal obeys or that reorder what is read (C0 and C1 controls, so every escape sequence; marks that change the writing
direction; line separators; half characters) are shown as JSON writes them: `\u001b`. Whatever prints text passes it through here.
"""

import operator
import re
from collections.abc import Iterable
from itertools import pairwise, takewhile

_RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


_HIDDEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"


SHORT_NAME = 8
"""Number of characters of a user's id that are shown, if they distinguish it."""


_IN_A_BLOCK = re.compile(f"[{_HIDDEN}]")


_IN_A_LINE = re.compile(f"[{_HIDDEN}\t\n]")


def show_line(text: str) -> str:
    """Returns a text as one line; tabs and line ends are escaped as well, so that no value can pass as a line of its own."""
    return _IN_A_LINE.sub(_escape, text)


def show_block(text: str) -> str:
    """Returns a text of several lines, whose tabs and line ends stay. JSON stays the same JSON."""
    return _IN_A_BLOCK.sub(_escape, text)


def reason_of(error: Exception) -> str:
    """Returns the reason of an error as one line, without the number and the path that an OSError puts around it."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text.strip().split("\n")[0] or type(error).__name__


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def counted(number: float, noun: str) -> str:
    """Returns a number with its noun: `1 minute`, `2 minutes`, `0.5 minutes`."""
    shown = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{shown} {noun}" if number == 1 else f"{shown} {noun}s"


def rounded(value: object) -> str:
    """Returns a value for a person: a float with four significant digits, anything else as Python writes it."""
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def rounded_pair(one: object, other: object) -> tuple[str, str]:
    """Returns two values that differ, rounded; with every digit if they would look the same."""
    shown = rounded(one), rounded(other)
    return shown if shown[0] != shown[1] else (repr(one), repr(other))


def show_relation(one: float, sign: str, other: float) -> str:
    """Returns `0.6400 < 0.65`: two numbers with the sign between them, rounded; with every digit if the rounded ones contradict the sign.

    Args:
        one: a number.
        sign: <, <=, > or >=, which holds.
        other: what the number is compared with.
    """
    holds, shown = _RELATIONS[sign], (f"{one:.4f}", f"{other:.4g}")
    if holds(one, other) and not holds(float(shown[0]), float(shown[1])):
        shown = repr(one), repr(other)
    return f"{shown[0]} {sign} {shown[1]}"


def shorten_names(names: Iterable[str]) -> dict[str, str]:
    """Returns a short form of each name, such as a user's id: its first characters, as many as distinguish it from the others."""
    ordered = sorted({*names})
    wanted = dict.fromkeys(ordered, SHORT_NAME)
    for name, following in pairwise(ordered):  # the longest common beginning is with a neighbor
        needed = 1 + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, following, strict=False)))
        wanted |= {name: max(wanted[name], needed), following: needed} if needed > SHORT_NAME else {}
    return {name: name if len(name) <= length + 1 else f"{name[:length]}…" for name, length in wanted.items()}
