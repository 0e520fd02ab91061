"""The interval of one model's macro-F1 over user-days, beside values worked out by hand."""

import math

import numpy as np
import pytest
from scipy.stats import t

from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.evaluation.leakage import TrainingDistance
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.score_interval import ScoreInterval, measure_score_interval
from taskclf_dagster.domain.evaluation.scored_windows import ScoredWindows
from taskclf_dagster_tests.models import duel_rows
from taskclf_dagster_tests.scenario import AS_OF


def measure(wrong_by_day: list[int], *, days: int, labels: tuple[str, ...] = ("Build",)) -> ScoreInterval:
    """Ten minutes of each label a day, of one person; so many Build minutes of each day are rejected."""
    rows = duel_rows({"ann": 10}, days=days)
    true = label_codes(rows).astype(np.int64)
    said = true.copy()
    day = rows["bucket_start_ts"].dt.day.to_numpy()
    for number, wrong in zip(sorted(set(day)), wrong_by_day, strict=True):
        said[np.flatnonzero((day == number) & (rows["label"] == "Build").to_numpy())[:wrong]] = 8
    keys = hash_row_keys(rows)
    distance = TrainingDistance("m", "row_hashes", AS_OF.date(), AS_OF.date(), np.full(len(rows), 61))
    shuffled = np.random.default_rng(1).permutation(len(rows))
    scored = ScoredWindows(Predictions(keys[shuffled], true[shuffled], said[shuffled]), distance)
    return measure_score_interval(rows, scored, judged_labels=labels, significance=0.05)


def test_the_interval_is_that_of_the_influence_of_each_day() -> None:
    """Build: 20 true minutes, 16 right and 16 named, so F1 is 32/36. The days' influences are (2*10-F*20)/36 and (2*6-F*16)/36."""
    f1 = 32 / 36
    influences = [(20 - f1 * 20) / 36, (12 - f1 * 16) / 36]
    error = math.sqrt(2 * sum(x * x for x in influences))
    half = float(t.ppf(0.975, 1)) * error
    found = measure([0, 4], days=2)
    assert found.user_days == 2
    assert found.interval is not None
    assert found.interval == pytest.approx((max(0.0, f1 - half), min(1.0, f1 + half)))


def test_one_day_and_no_label_have_no_interval() -> None:
    assert measure([3], days=1).interval is None
    assert measure([0, 4], days=2, labels=()).interval is None


def test_a_model_that_is_always_right_has_an_interval_without_width() -> None:
    assert measure([0, 0, 0], days=3, labels=("Build", "Meet")).interval == (1.0, 1.0)
