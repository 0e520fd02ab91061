"""Prints for all commands: every text passes through `shown_text`, so that no file and no person sends a command to the terminal."""

import shutil
from collections.abc import Iterable, Sequence

import click
from tabulate import tabulate

from taskclf_dagster.shown_text import show_block, show_line

FALLBACK_SIZE = (120, 24)
"""Columns and lines of what is no terminal."""


COLUMN_GAP = 2


NARROWEST, NARROW_SENTENCE = 16, 30
"""Columns that a column with sentences has at least, and those below which columns that can be spared are left out."""


def say(text: object = "", *, err: bool = False, bold: bool = False) -> None:
    """Prints one line."""
    click.secho(show_line(str(text)), err=err, bold=bold or None)


def say_block(text: str) -> None:
    """Prints lines: a table of `make_table`, or JSON."""
    click.echo(show_block(text))


def make_table(
    rows: Iterable[Sequence[object]],
    *,
    headers: Sequence[str] = (),
    wraps: Sequence[int] = (),
    spare: Sequence[int] = (),
    tablefmt: str = "simple",
) -> str:
    """Returns a table as text, as wide as the terminal if its contents allow that.

    Args:
        rows: each cell is one line before it is wrapped.
        headers: of the columns.
        wraps: numbers of the columns with sentences, which are wrapped to share the width that the others leave.
        spare: numbers of columns that are left out where sentences would get less than NARROW_SENTENCE columns.
        tablefmt: as for `tabulate`.
    """
    cells = [[_show_cell(value) for value in row] for row in rows]
    lengths = [max(map(len, column)) for column in zip(*([headers] if headers else []), *cells, strict=True)]
    if not lengths:
        return ""
    fixed = sum(length for column, length in enumerate(lengths) if column not in wraps) + COLUMN_GAP * (len(lengths) - 1)
    share = (shutil.get_terminal_size(FALLBACK_SIZE).columns - fixed) // max(1, len(wraps))
    if spare and share < NARROW_SENTENCE:
        kept = [column for column in range(len(lengths)) if column not in spare]
        fewer = [[row[column] for column in kept] for row in cells]
        names = [headers[column] for column in kept] if headers else []
        return make_table(fewer, headers=names, wraps=[kept.index(column) for column in wraps], tablefmt=tablefmt)
    share = max(NARROWEST, share)
    widths = [min(share, length) if column in wraps else None for column, length in enumerate(lengths)]
    return tabulate(cells, headers=headers, tablefmt=tablefmt, maxcolwidths=widths, disable_numparse=True)


def _show_cell(value: object) -> str:
    return "" if value is None else show_line(str(value))
