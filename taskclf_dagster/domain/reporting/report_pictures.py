"""The pictures of a report as inline SVG: interval, scores by label, reliability. Their colors are in the style of the report.

Every picture has a title and a description, and a table beside it has the same numbers.
"""

from collections.abc import Sequence
from itertools import count

from markupsafe import Markup, escape

from taskclf_dagster.domain.evaluation.significance import SignificanceResult
from taskclf_dagster.domain.reporting.report_document import Picture

WIDTH = 440


LABEL_WIDTH = 105
"""Width that the names on the left take."""


def draw_interval(evidence: SignificanceResult, *, bound: float, name: str = "interval") -> Picture | None:
    """Draws the difference in macro-F1 with its interval, zero and the bound of the gate; None without a difference.

    Args:
        evidence: the significance of the difference.
        bound: of the regression gate.
        name: unique in the report.
    """
    if evidence.difference is None:
        return None
    low, high = evidence.interval or (evidence.difference, evidence.difference)
    reach = 1.15 * max(abs(low), abs(high), abs(bound), 0.02)

    def across(value: float) -> float:
        return WIDTH / 2 + (WIDTH / 2 - 20) * value / reach

    shapes = [
        f'<path class="axis" d="M20 70H{WIDTH - 20}"/>',
        f'<path class="zero" d="M{across(0):.1f} 22V78"/>',
        f'<path class="bound" d="M{across(bound):.1f} 22V78"/>',
        f'<path class="new wide" d="M{across(low):.1f} 50H{across(high):.1f}"/>',
        f'<circle class="new" cx="{across(evidence.difference):.1f}" cy="50" r="8"/>',
        _text(across(0), 94, "0: the same", anchor="middle"),
        _text(20, 16, "worse", anchor="start", soft=True),
        _text(WIDTH - 20, 16, "better", anchor="end", soft=True),
    ]
    span = "" if evidence.interval is None else f", {evidence.confidence * 100:g} % interval {low:+.3f} to {high:+.3f}"
    described = f"The score changes by {evidence.difference:+.3f}{span}; allowed is down to {bound:+.3f}, the dashed line."
    return Picture(_svg(name, "Difference between the models", described, shapes, height=104), described)


def draw_scores(scores: Sequence[tuple[str, float | None, float | None]], *, name: str = "scores") -> Picture | None:
    """Draws the score of each label before (hollow) and after (filled); None if there are none.

    Args:
        scores: label, score of the running and of the new model [0 to 1]; None if undefined.
        name: unique in the report.
    """
    if not scores:
        return None
    shapes, y = [], 0

    def across(value: float) -> float:
        return LABEL_WIDTH + (WIDTH - LABEL_WIDTH - 30) * value

    for y, (label, before, after) in zip(count(30, 26), scores, strict=False):
        shapes.append(_text(0, y + 5, label, anchor="start"))
        shapes.append(f'<path class="axis" d="M{across(0):.1f} {y}H{across(1):.1f}"/>')
        if before is not None and after is not None:
            shapes.append(f'<path class="new line" d="M{across(before):.1f} {y}H{across(after):.1f}"/>')
        if before is not None:
            shapes.append(f'<circle class="old hollow" cx="{across(before):.1f}" cy="{y}" r="6"/>')
        if after is not None:
            shapes.append(f'<circle class="new" cx="{across(after):.1f}" cy="{y}" r="6"/>')
    shapes += [_text(across(value), y + 28, f"{value:g}", anchor="middle", soft=True) for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    described = "; ".join(f"{label} from {_shown(before)} to {_shown(after)}" for label, before, after in scores)
    caption = "Score (F1) of each label: hollow before, filled with the new model; to the right is better."
    return Picture(_svg(name, "Score of each label before and after", described, shapes, height=y + 38), caption)


def draw_reliability(curves: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], *, name: str = "reliability") -> Picture | None:
    """Draws what share came true of what was predicted with which probability; on the diagonal both are the same.

    Args:
        curves: name and style (new or old) of each model, with predicted probability and share that came true of each bin.
        name: unique in the report.
    """
    if not any(points for *_, points in curves):
        return None
    size, left, top = 240, 50, 20

    def place(x: float, y: float) -> tuple[float, float]:
        return left + size * x, top + size * (1 - y)

    shapes = [f'<rect class="axis" x="{left}" y="{top}" width="{size}" height="{size}"/>']
    shapes.append(f'<path class="zero dashed" d="M{left} {top + size}L{left + size} {top}"/>')
    for value in (0.0, 0.5, 1.0):
        shapes.append(_text(place(value, 0)[0], top + size + 20, f"{value:.0%}", anchor="middle", soft=True))
        shapes.append(_text(left - 8, place(0, value)[1] + 5, f"{value:.0%}", anchor="end", soft=True))
    described = []
    for row, (model, style, points) in enumerate(curves):
        if not points:
            continue
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in points))
        dashed = " dashed" if style == "old" else ""
        shapes.append(f'<path class="{style} line{dashed}" d="M{path}"/>')
        hollow = " hollow" if style == "old" else ""
        shapes += [f'<circle class="{style}{hollow}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in (place(*point) for point in points)]
        shapes.append(f'<circle class="{style}{hollow}" cx="{left + size + 24}" cy="{top + 12 + 26 * row}" r="6"/>')
        shapes.append(_text(left + size + 38, top + 17 + 26 * row, model, anchor="start"))
        described.append(f"{model}: " + ", ".join(f"of {x:.0%} predicted {y:.0%} came true" for x, y in points))
    caption = "Across: how sure the model was. Up: how often that came true. On the dashed diagonal both are the same."
    svg = _svg(name, "How sure the models are, and how often they are right", "; ".join(described), shapes, height=top + size + 34)
    return Picture(svg, caption)


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _text(x: float, y: float, text: str, *, anchor: str, soft: bool = False) -> str:
    kind = ' class="soft"' if soft else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _svg(name: str, title: str, described: str, shapes: Sequence[str], *, height: int) -> Markup:
    """Returns an SVG with title and description for those who do not see it; the shapes are escaped already."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{name}-title {name}-desc">'
    said = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(described)}</desc>'
    return Markup(head + said + "".join(shapes) + "</svg>")  # noqa: S704  # every text in it is escaped
