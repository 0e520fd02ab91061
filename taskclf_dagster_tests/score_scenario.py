"""Scores of days as the asset scored_windows writes them, with predictions that a test chooses."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.feature_schema import LABELS, REJECTED_LABEL
from taskclf_dagster.domain.monitoring.score_files import SCORE_COLUMNS, scores_path
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID
from taskclf_dagster_tests.scenario import DAY

THRESHOLD = 0.55


def scores_frame(
    said: Sequence[str],
    *,
    start: datetime,
    user: str = "alice",
    model: str = MID,
    confidence: float | Sequence[float] = 0.9,
    starts: Sequence[datetime] | None = None,
) -> pd.DataFrame:
    """Consecutive scored windows, one a minute, with every column of the format.

    Args:
        said: the top label of each.
        start: start of the first.
        user: of all of them.
        model: id of the model that scored them.
        confidence: largest probability, of all or of each; the rest is spread evenly. Below 0.55 a window is rejected.
        starts: starts of the windows, if they are not consecutive.
    """
    n = len(said)
    top = np.broadcast_to(np.asarray(confidence, dtype=float), n)
    codes = pd.Index(LABELS).get_indexer(list(said))
    probabilities = np.repeat(((1 - top) / (len(LABELS) - 1))[:, None], len(LABELS), axis=1)
    probabilities[np.arange(n), codes] = top
    rejected = top < THRESHOLD
    label = np.where(rejected, REJECTED_LABEL, np.asarray(said, dtype=object))
    moments = pd.DatetimeIndex(starts).as_unit("us") if starts is not None else pd.date_range(start, periods=n, freq="min").as_unit("us")
    columns = {
        "user_id": user,
        "session_id": f"{user}-{start:%m%d%H}",
        "bucket_start_ts": moments,
        **dict(zip(LABELS, probabilities.T, strict=True)),
        "confidence": top,
        "calibrated_confidence": top,
        "top_label": list(said),
        "rejected": rejected,
        "label": label,
        "smoothed_label": label,
        "model_id": model,
        "bundle_hash": "0" * 64,
        "pointer_sequence": None,
        "policy_hash": None,
        "reject_threshold": THRESHOLD,
        "as_of": pd.Timestamp(start + DAY),
        "role": "champion",
        "served": True,
    }
    return pd.DataFrame(columns, index=range(n))


def write_scores(home: Home, *frames: pd.DataFrame) -> list[Path]:
    """Writes scores of any number of days and users, each UTC day to its own file, in the order given."""
    rows = pd.concat(frames, ignore_index=True)
    return [write_score_file(scores_path(home, day), own) for day, own in rows.groupby(rows["bucket_start_ts"].dt.date)]


def write_score_file(path: Path, rows: pd.DataFrame) -> Path:
    """Writes one file of scores as it is told to, right or wrong."""
    types = {"str": pa.string(), "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "datetime": pa.timestamp("us", tz="UTC")}
    schema = pa.schema([(name, types[kind]) for name, kind in SCORE_COLUMNS.items()])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False), path)
    return path
