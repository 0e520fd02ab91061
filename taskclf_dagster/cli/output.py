"""Prints for all commands: every text passes through `shown_text`, so that no file and no person sends a command to the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from tabulate import tabulate

from taskclf_dagster.shown_text import show_block, show_line


def say(text: object = "", *, err: bool = False, bold: bool = False) -> None:
    """Prints one line."""
    click.secho(show_line(str(text)), err=err, bold=bold or None)


def say_block(text: str) -> None:
    """Prints lines: a table of `make_table`, or JSON."""
    click.echo(show_block(text))


def make_table(rows: Iterable[Sequence[object] | Mapping[str, object]], **options: Any) -> str:
    """Returns a table as text, with the options of `tabulate`; each cell is one line before it is wrapped."""
    return tabulate([_show_cells(row) for row in rows], **options)


def _show_cells(row: Sequence[object] | Mapping[str, object]) -> list[object] | dict[str, object]:
    if isinstance(row, Mapping):
        return {key: _show_cell(value) for key, value in row.items()}
    return [_show_cell(value) for value in row]


def _show_cell(value: object) -> object:
    return show_line(value) if isinstance(value, str) else value
