"""Advice on a comparison with too few windows: more labels, or a longer look-back; both are found by running the split on the home."""

from datetime import timedelta

import numpy as np
import pandas as pd

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.label_store import read_label_spans
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot, open_snapshot
from taskclf_dagster.domain.data.times import to_epoch_us
from taskclf_dagster.domain.evaluation.comparison import Comparison
from taskclf_dagster.domain.evaluation.label_needs import ComparableLabels, find_minutes_needed
from taskclf_dagster.domain.evaluation.leakage import exclude_leaked, measure_training_distance
from taskclf_dagster.domain.models.bundle import ModelBundle, parse_bundle
from taskclf_dagster.domain.models.bundle_paths import require_named_bundle
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

LONGEST_LOOK_BACK = 365
"""Days of look-back up to which a longer one is tried."""


_COLUMNS = ["user_id", "session_id", "bucket_start_ts", "label", "gold"]


def advise_on_windows(home: Home, snapshot: DatasetSnapshot, comparison: Comparison | None, config: RetrainConfig) -> str:
    """Returns what would let at least `min_windows` windows be compared with the champion; empty if there are, or nothing is known.

    Reads the snapshot, and the home's windows again if there are labels before the look-back; writes nothing.
    """
    if comparison is None or comparison.windows >= config.comparison.min_windows:
        return ""
    try:
        champion = parse_bundle(require_named_bundle(home, comparison.champion_id))
        minutes = _find_minutes(home, snapshot, comparison, champion, config)
        days = _find_look_back(home, snapshot, comparison, champion, config)
    except (TaskclfDagsterError, OSError):  # advice only: what cannot be read prevents a retrain elsewhere
        return ""
    ways = [] if minutes is None else [f"label about {counted(minutes, 'more minute')}, like those of the last days"]
    ways += [] if days is None else [f"set data_lookback_days to {days}, as there are older labels"]
    return ", or ".join(ways)


def _wanted(comparison: Comparison, config: RetrainConfig) -> int:
    """Returns the test windows needed: `min_windows`, and as many as the challenger's own training excludes now."""
    own = comparison.exclusion.leakage[0]
    return config.comparison.min_windows + own.trained_on + own.neighbors


def _find_minutes(
    home: Home, snapshot: DatasetSnapshot, comparison: Comparison, champion: ModelBundle, config: RetrainConfig
) -> int | None:
    rows = open_snapshot(home, snapshot).load(columns=_COLUMNS)
    judged = rows["bucket_start_ts"] >= snapshot.as_of - timedelta(days=config.data_lookback_days)
    labels = _comparable(rows[rows["gold"] & judged], champion, snapshot, config)
    return find_minutes_needed(labels, wanted=_wanted(comparison, config))


def _comparable(rows: pd.DataFrame, champion: ModelBundle, snapshot: DatasetSnapshot, config: RetrainConfig) -> ComparableLabels:
    rows = rows.reset_index(drop=True)
    distance = measure_training_distance(rows, champion)
    return ComparableLabels(
        rows,
        distance.leaked,
        snapshot.holdout_users,
        distance.trained_until,
        config.comparison.max_leaked_share,
        timedelta(days=config.data_lookback_days),
    )


def _find_look_back(
    home: Home, snapshot: DatasetSnapshot, comparison: Comparison, champion: ModelBundle, config: RetrainConfig
) -> int | None:
    """Returns the shortest look-back of two, four, ... times the present one with enough windows; None if there is none."""
    present, as_of = config.data_lookback_days, snapshot.as_of
    start = as_of - timedelta(days=present)
    spans = read_label_spans(home, start=start, end=as_of).spans
    if not (spans["gold"] & (spans["end_us"] < to_epoch_us(start))).any():
        return None
    held_out = len(snapshot.holdout_users) / max(1, len(snapshot.users)) + np.finfo(float).eps
    tried = sorted({min(present * factor, LONGEST_LOOK_BACK) for factor in (2, 4, 8, 16)} - {present})
    for days in [days for days in tried if days > present]:
        longer = config.with_changes(data_lookback_days=days)
        labeled, frame, *_ = label_windows(home, as_of=as_of, settings=longer.dataset)
        if frame is None:
            return None
        fraction = held_out if snapshot.holdout_users else 0.0
        _, rows = build_snapshot(home, labeled, frame, config=longer, holdout_fraction=fraction)
        test = rows[rows["split"] == "test"].reset_index(drop=True)
        distance = measure_training_distance(test, champion)
        kept, _ = exclude_leaked(test["bucket_start_ts"], [distance], max_share=config.comparison.max_leaked_share)
        if int(kept.sum()) >= _wanted(comparison, config):
            return days
    return None
