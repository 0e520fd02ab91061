"""The pictures of a replay as inline SVG: macro-F1 of the last seven days, of a policy and of the one that it is compared with."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from markupsafe import Markup, escape

from taskclf_dagster.domain.backtest.replay_record import PolicyDay, PolicyFigures
from taskclf_dagster.domain.reporting.report_document import Picture

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 440, 190, 40, 12, 34


def draw_policy(policy: PolicyFigures, reference: PolicyFigures, *, name: str) -> Picture | None:
    """Draws the weekly macro-F1 of a policy day by day with its interval, and that of the reference dashed; None without figures.

    Args:
        policy: the policy.
        reference: the policy that it is compared with; itself to draw one line.
        name: unique in the report.
    """
    values = [value for each in (policy, reference) for day in each.days for value in _values(day)]
    if not any(day.week_macro_f1 is not None for day in policy.days):
        return None
    low, high = min(values), max(values)
    margin = max(0.02, 0.05 * (high - low))
    low, high = max(0.0, low - margin), min(1.0, high + margin)

    def across(number: int) -> float:
        return LEFT + (WIDTH - LEFT - 10) * number / max(1, len(policy.days) - 1)

    def up(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    shapes = []
    for value in (low, (low + high) / 2, high):
        shapes.append(f'<path class="axis" d="M{LEFT} {up(value):.1f}H{WIDTH - 10}"/>')
        shapes.append(f'<text x="{LEFT - 5}" y="{up(value) + 4:.1f}" text-anchor="end" class="soft">{value:.2f}</text>')
    for number, day in enumerate(policy.days):
        if day.week_interval is not None:
            ends = (up(min(high, max(low, end))) for end in day.week_interval)
            shapes.append('<path class="axis" d="M{:.1f} {:.1f}V{:.1f}"/>'.format(across(number), *ends))
    if reference is not policy:
        shapes += [f'<path class="old line dashed" d="{path}"/>' for path in _paths(reference.days, across, up)]
    shapes += [f'<path class="new line" d="{path}"/>' for path in _paths(policy.days, across, up)]
    shapes += [
        f'<circle class="new hollow" cx="{across(number):.1f}" cy="{HEIGHT - BOTTOM + 6}" r="3"/>' for number in _promoted_days(policy)
    ]
    for number, anchor in ((0, "start"), (len(policy.days) - 1, "end")):
        shapes.append(
            f'<text x="{across(number):.1f}" y="{HEIGHT - 4}" text-anchor="{anchor}" class="soft">{policy.days[number].day}</text>'
        )
    described = f"Macro-F1 of the last seven days of {policy.name}: " + ", ".join(
        f"{day.day} {day.week_macro_f1:.3f}" for day in policy.days[:: max(1, len(policy.days) // 10)] if day.week_macro_f1 is not None
    )
    beside = "" if reference is policy else f"; dashed: {reference.name}"
    caption = f"{policy.name}: macro-F1 of the last seven days, bars are its interval, dots promotions{beside}."
    return Picture(_svg(name, f"Macro-F1 of {policy.name} day by day", described, shapes), caption)


def _values(day: PolicyDay) -> Iterator[float]:
    if day.week_macro_f1 is not None:
        yield day.week_macro_f1


def _paths(days: Sequence[PolicyDay], across: Callable[[int], float], up: Callable[[float], float]) -> Iterator[str]:
    """Yields a path for each stretch of days that have a figure."""
    path: list[str] = []
    for number, day in enumerate(days):
        if day.week_macro_f1 is None:
            if len(path) > 1:
                yield "M" + "L".join(path)
            path = []
        else:
            path.append(f"{across(number):.1f} {up(day.week_macro_f1):.1f}")
    if len(path) > 1:
        yield "M" + "L".join(path)


def _promoted_days(policy: PolicyFigures) -> list[int]:
    """Returns the numbers of the days that end with another model than they began with."""
    pairs = enumerate(pairwise(policy.days), start=1)
    return [number for number, (before, after) in pairs if after.model_id is not None and before.model_id != after.model_id]


def _svg(name: str, title: str, described: str, shapes: Sequence[str]) -> Markup:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title {name}-desc">'
    said = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(described)}</desc>'
    return Markup(head + said + "".join(shapes) + "</svg>")  # noqa: S704  # every text in it is escaped
