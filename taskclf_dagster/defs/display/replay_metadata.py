"""Metadata of the asset policy_replay. Dagster concept: metadata."""

from pathlib import Path
from typing import Any

import dagster as dg

from taskclf_dagster.defs.display.metadata import plotted, table
from taskclf_dagster.domain.backtest.replay_record import Replay
from taskclf_dagster.domain.reporting.replay_words import COLUMNS, list_cells, say_difference, say_range, say_result


def replay_metadata(replay: Replay, report: Path) -> dict[str, Any]:
    """Returns what the page of policy_replay shows: the result, a row for each policy, each promotion, and figures that Dagster plots."""
    scores = {f"macro_f1_{each.name}": each.macro_f1 for each in replay.policies}
    promotions = [
        {
            "policy": policy.name,
            "at": f"{each.at:%Y-%m-%d %H:%M}",
            "model": each.model_id,
            "windows": each.windows,
            "difference": say_difference(each.difference, each.interval),
            "bad": "not judged" if each.bad is None else "bad" if each.bad else "",
        }
        for policy in replay.policies
        for each in policy.promotions
    ]
    return {
        "home": replay.home,
        "result": say_result(replay),
        "replayed": say_range(replay),
        "policies": table([dict(zip(COLUMNS, list_cells(each), strict=True)) for each in replay.policies]),
        "promotions": table(promotions),
        "report": dg.MetadataValue.path(str(report)),
        **plotted(**scores),
    }
