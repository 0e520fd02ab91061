"""The parts of which a report is made, and how they become one HTML file that needs nothing else.

The file has no script and loads nothing: its style is in it, and a content security policy allows that style alone, by its hash. Every text
is escaped by Jinja2 and passes through `shown_text`; only pictures, which `report_pictures` makes of numbers and escaped texts, are HTML.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from taskclf_dagster.shown_text import show_block

Tone = Literal["good", "bad", "unsure", "neutral"]
"""The color of a verdict or a check, beside the text that says the same."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: as shown.
        kind: number (aligned to the right), prose (wide), code, a tone, or shade0 to shade9 of a matrix; empty for a text.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Paragraph:
    """One or more sentences."""

    kind: ClassVar[str] = "paragraph"

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    kind: ClassVar[str] = "bullets"

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first cell of each row is its header."""

    kind: ClassVar[str] = "table"

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def is_number(self, column: int) -> bool:
        """Returns True if the cells of a column are aligned to the right, and so its heading."""
        return any(row[column].kind == "number" or row[column].kind.startswith("shade") for row in self.rows)


@dataclass(frozen=True)
class Picture:
    """An inline SVG with a caption; the SVG has a title and a description."""

    kind: ClassVar[str] = "picture"

    svg: Markup
    caption: str


Part = Paragraph | Bullets | Table | Picture


@dataclass(frozen=True)
class Section:
    """One section with a heading; `name` is its anchor."""

    name: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: of the page.
        headline: the verdict in one sentence.
        badge: the verdict in one word, with its tone; None without a verdict.
        facts: names and values below the headline.
        sections: those without parts are left out.
        closing: how to verify or make it again, one sentence each.
    """

    title: str
    headline: str
    badge: tuple[str, Tone] | None
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    closing: Sequence[str]


def text_cells(*texts: object) -> list[Cell]:
    """Returns cells of a row: numbers are aligned to the right, None is a dash."""
    return [text_cell(text) for text in texts]


def text_cell(value: object) -> Cell:
    """Returns one cell: a number with its thousands apart, a dash for None, a text as it is."""
    if isinstance(value, Cell):
        return value
    if value is None:
        return Cell("-", "number")
    if isinstance(value, int) and not isinstance(value, bool):
        return Cell(f"{value:,}", "number")
    return Cell(str(value))


def number_cell(value: float | None, pattern: str = ".3f") -> Cell:
    """Returns a cell with a number by a format pattern; a dash for None."""
    return Cell("-" if value is None else format(value, pattern), "number")


def render_report(report: Report) -> str:
    """Returns the HTML of a report: equal reports give equal bytes."""
    style = _read_style()
    shown = [section for section in report.sections if section.parts]
    template = _environment().get_template("report.html.j2")
    return template.render(report=report, sections=shown, style=Markup(style), policy=content_security_policy(style))  # noqa: S704


def content_security_policy(style: str) -> str:
    """Returns the policy of a report: nothing is loaded or run, and only this style applies."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("taskclf_dagster.domain.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_make_safe,
    )


@cache
def _read_style() -> str:
    environment = _environment()
    loader = environment.loader
    assert loader is not None  # noqa: S101
    return loader.get_source(environment, "report.css")[0]


def _make_safe(value: object) -> object:
    """Returns a text without characters that hide or reorder what is read; pictures and other values as they are."""
    return show_block(value) if isinstance(value, str) and not isinstance(value, Markup) else value
