"""Scores of windows: rejection, smoothing within sessions, blocks, and the figures that checks look at, worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS, REJECTED_LABEL
from taskclf_dagster.domain.evaluation.confusion import OUTCOMES
from taskclf_dagster.domain.evaluation.window_scores import ScoreQuality, merge_blocks, score_windows
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster_tests.models import rows_of, write_tiny_bundle

BUILD, WRITE, MIXED = "Build", "Write", REJECTED_LABEL


def scores(labels: list[str], *, minutes: list[int] | None = None, sessions: str = "", smoothed: list[str] | None = None) -> pd.DataFrame:
    """Windows of one user, by default one after another in one session, each with its label; the probabilities do not matter."""
    n = len(labels)
    frame = pd.DataFrame(
        {
            "user_id": pd.Categorical(["alice"] * n),
            "session_id": pd.Categorical(list(sessions or "a" * n)),
            "bucket_start_ts": pd.Timestamp("2026-01-05 09:00", tz="UTC") + pd.to_timedelta(minutes or list(range(n)), unit="min"),
        }
    )
    return frame.assign(
        **dict.fromkeys(LABELS, 1 / 8),
        rejected=[label == MIXED for label in labels],
        label=pd.Categorical(labels, categories=list(OUTCOMES)),
        smoothed_label=pd.Categorical(smoothed or labels, categories=list(OUTCOMES)),
    )


def test_scores_are_the_models_own_with_its_threshold(tmp_path: Path) -> None:
    model = load_bundle(write_tiny_bundle(tmp_path / "model", metadata={"reject_threshold": 0.35}))
    rows = rows_of("test")
    found = score_windows(model, rows, num_threads=1)
    probabilities = model.predict_rows(rows, num_threads=1)
    assert np.array_equal(found[list(LABELS)].to_numpy(), probabilities)
    assert found["top_label"].tolist() == [LABELS[i] for i in probabilities.argmax(axis=1)]
    assert np.array_equal(found["confidence"], probabilities.max(axis=1))
    assert np.array_equal(found["rejected"], probabilities.max(axis=1) < 0.35)
    assert 0 < found["rejected"].sum() < len(rows)
    assert found["label"].tolist() == [MIXED if out else top for out, top in zip(found["rejected"], found["top_label"], strict=True)]
    assert found["bucket_start_ts"].tolist() == rows["bucket_start_ts"].tolist()


def test_a_user_with_a_threshold_of_their_own_is_rejected_by_that(tmp_path: Path) -> None:
    model = load_bundle(write_tiny_bundle(tmp_path / "model", metadata={"reject_threshold": 0.35}))
    rows = rows_of("test")
    strict, *others = rows["user_id"].astype(str).unique()
    assert others
    found = score_windows(model, rows, num_threads=1, user_thresholds={strict: 1.0, "nobody": 0.0})
    mine = (rows["user_id"].astype(str) == strict).to_numpy()
    assert set(found.loc[mine, "reject_threshold"]) == {1.0}
    assert set(found.loc[~mine, "reject_threshold"]) == {0.35}
    assert found.loc[mine, "rejected"].all()
    assert np.array_equal(found.loc[~mine, "rejected"], found.loc[~mine, "confidence"] < 0.35)


def test_no_windows_have_no_scores(tmp_path: Path) -> None:
    found = score_windows(load_bundle(write_tiny_bundle(tmp_path / "model")), rows_of("test").head(0), num_threads=1)
    assert len(found) == 0
    quality = ScoreQuality.of(found)
    assert (quality.windows, quality.reject_rate, quality.blocks, quality.long_blocks) == (0, None, 0, None)


@pytest.mark.parametrize(
    ("minutes", "sessions", "labels", "blocks"),
    [
        ([0, 1, 2, 3], "aaaa", [BUILD, BUILD, WRITE, BUILD], [(0, 2, BUILD), (2, 3, WRITE), (3, 4, BUILD)]),
        ([0, 1, 5, 6], "aaaa", [BUILD] * 4, [(0, 2, BUILD), (5, 7, BUILD)]),  # a gap
        ([0, 1, 2, 3], "aabb", [BUILD] * 4, [(0, 2, BUILD), (2, 4, BUILD)]),  # a session ends
        ([0], "a", [MIXED], [(0, 1, MIXED)]),
    ],
)
def test_a_block_ends_with_label_gap_and_session(
    minutes: list[int], sessions: str, labels: list[str], blocks: list[tuple[int, int, str]]
) -> None:
    begin = pd.Timestamp("2026-01-05 09:00", tz="UTC")
    found = merge_blocks(scores(labels, minutes=minutes, sessions=sessions))
    times = [
        ((each.start_ts - begin) // pd.Timedelta("1min"), (each.end_ts - begin) // pd.Timedelta("1min")) for each in found.itertuples()
    ]
    assert [(*time, label) for time, label in zip(times, found["label"], strict=True)] == blocks
    assert found["windows"].tolist() == [end - start for start, end, _ in blocks]


def test_the_figures_of_a_day_follow_from_its_windows() -> None:
    # Ten windows: Build 4, Write 1, Build 2, Mixed 3. Raw labels change at 4, 5 and 7: 3 of 10. Smoothed, Write is gone: one change at 7.
    labels = [BUILD] * 4 + [WRITE] + [BUILD] * 2 + [MIXED] * 3
    smoothed = [BUILD] * 7 + [MIXED] * 3
    quality = ScoreQuality.of(scores(labels, smoothed=smoothed))
    assert (quality.windows, quality.reject_rate, quality.flap_rate, quality.flap_rate_smoothed) == (10, 0.3, 0.3, 0.1)
    assert (quality.blocks, quality.long_blocks, quality.short_blocks) == (2, 1.0, 0.0)  # of 420 s and 180 s
    assert quality.label_counts == {BUILD: 7, MIXED: 3}
    # Blocks of 60, 120 and 180 s: one of three is long, one of three is short.
    short = ScoreQuality.of(scores([BUILD, WRITE, WRITE, BUILD, BUILD, BUILD]))
    assert (short.long_blocks, short.short_blocks) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.2])
def test_probabilities_that_are_not_finite_or_do_not_sum_to_one_are_counted(value: float) -> None:
    table = scores([BUILD] * 3)
    table.loc[1, "Meet"] = value
    assert ScoreQuality.of(table).bad_probabilities == 1
    assert ScoreQuality.of(scores([BUILD] * 3)).bad_probabilities == 0
