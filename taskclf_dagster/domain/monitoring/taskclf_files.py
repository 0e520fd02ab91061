"""Writes the scores of a day in taskclf's own formats: predictions.csv and segments.json (formats of taskclf, section 8).

taskclf's files have no user: with several users, each has a folder of its own.
"""

import json
from pathlib import Path

import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.window_scores import merge_blocks
from taskclf_dagster.domain.monitoring.day_scores import DayScores, read_day_scores
from taskclf_dagster.domain.storage.files import json_text, make_folders, write_atomic
from taskclf_dagster.domain.storage.path_names import find_name_problem
from taskclf_dagster.home import Home

PREDICTIONS, SEGMENTS = "predictions.csv", "segments.json"


DECIMALS = 4
"""Of confidences and probabilities, as taskclf rounds them."""


def write_taskclf_files(home: Home, day: DayScores) -> list[Path]:
    """Writes both files beside the scores of a day, and returns their paths; none for a day without scores.

    Raises:
        UnreadableFileError: the scores cannot be read.
    """
    if day.stored is None:
        return []
    path = home.root / day.stored.path
    scores = read_day_scores(path)
    users = [str(user) for user in scores["user_id"].unique()]
    written = []
    for user in users:
        folder = path.parent if len(users) == 1 else path.parent / f"user={user}"
        if len(users) > 1 and find_name_problem(folder.name) is not None:
            continue
        make_folders(folder)
        own = scores[(scores["user_id"] == user).to_numpy()]
        contents = {PREDICTIONS: _to_csv(own), SEGMENTS: json_text(_list_segments(own))}
        for name, content in contents.items():
            write_atomic(folder / name, content.encode())
            written.append(folder / name)
    return written


def _to_csv(scores: pd.DataFrame) -> str:
    """Returns predictions.csv: naive times, the smoothed label, confidence, rejected, and the eight probabilities as JSON."""
    probabilities = scores[list(LABELS)].round(DECIMALS).to_numpy().tolist()
    table = pd.DataFrame(
        {
            "bucket_start_ts": scores["bucket_start_ts"].dt.tz_localize(None).to_numpy(),
            "predicted_label": scores["smoothed_label"].astype(str).to_numpy(),
            "confidence": scores["confidence"].round(DECIMALS).to_numpy(),
            "is_rejected": scores["rejected"].to_numpy(),
            "core_probs": [json.dumps(row) for row in probabilities],
        }
    )
    return table.to_csv(index=False)


def _list_segments(scores: pd.DataFrame) -> list[dict[str, object]]:
    """Returns segments.json: the blocks of equal smoothed labels."""
    return [
        {
            "start_ts": block.start_ts.isoformat(),
            "end_ts": block.end_ts.isoformat(),
            "label": str(block.label),
            "bucket_count": int(block.windows),
        }
        for block in merge_blocks(scores).itertuples()
    ]
