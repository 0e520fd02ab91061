"""Findings about values of a receipt that are others when they are computed again."""

from taskclf_dagster.errors import DecisionFinding
from taskclf_dagster.shown_text import rounded_pair


def differ(name: str, recorded: object, found: object) -> list[DecisionFinding]:
    """Returns a finding if a value of the receipt is not the one that was computed again."""
    then, now = rounded_pair(recorded, found) if isinstance(recorded, float) and isinstance(found, float) else (str(recorded), str(found))
    differing = f"{name}: the receipt has {_short(then)}, computed again it is {_short(now)}"
    return [] if recorded == found else [DecisionFinding("value_differs", differing)]


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
