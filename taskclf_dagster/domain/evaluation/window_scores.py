"""Scores windows with one model: probabilities, rejection, smoothing within sessions, and blocks of equal labels.

Labels of people play no part; labeled rows are scored in `scoring`. Which model scores which day is decided in `monitoring.day_scores`.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS, WINDOW_SECONDS
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.evaluation.confusion import OUTCOMES, REJECTED, apply_reject
from taskclf_dagster.domain.evaluation.metrics import flap_rate, follows_in_session, smooth
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.storage.records import Record

BATCH_ROWS = 20_000


LONG_SECONDS, SHORT_SECONDS = 180, 120
"""A block at least as long is long, a shorter one than the other is short (acceptance document of taskclf, section 6)."""


LEAST_WINDOWS = 120
"""A day with fewer windows says nothing about the share of rejected ones."""


_Int = npt.NDArray[np.int64]


def score_windows(
    model: LoadedModel, rows: pd.DataFrame, *, num_threads: int, user_thresholds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Scores windows.

    Args:
        model: the model, with the reject threshold that is in force.
        rows: as `WindowReading.frame`, with the inputs of the model's schema version.
        num_threads: of LightGBM.
        user_thresholds: reject thresholds of single users by their id, in place of the model's; those of the inference policy.

    Returns:
        One row for each: user_id, session_id (category), bucket_start_ts (UTC), the uncalibrated probability of each label in a column of
        its name, top_label, confidence and calibrated_confidence (largest probability before and after calibration; equal without
        calibrators), reject_threshold (of the window's user), rejected (bool), label (Mixed/Unknown if rejected) and smoothed_label (the
        majority of each window and its two neighbors in the session; its own without a majority); labels, after calibration, as category.
    """
    batches = [rows.iloc[first : first + BATCH_ROWS] for first in range(0, len(rows), BATCH_ROWS)]
    parts = [model.predict_uncalibrated(batch, num_threads=num_threads) for batch in batches]
    probabilities = np.concatenate(parts) if parts else np.empty((0, len(LABELS)))
    calibrated = model.calibrate(probabilities, rows)
    thresholds = _threshold_of_each(rows["user_id"], model.reject_threshold, user_thresholds or {})
    predicted = apply_reject(calibrated, thresholds).astype(np.int64)
    smoothed = smooth(predicted, follows_in_session(rows))
    scored = rows[["user_id", "session_id", "bucket_start_ts"]].reset_index(drop=True)
    return scored.assign(
        **dict(zip(LABELS, probabilities.T, strict=True)),
        top_label=_name(calibrated.argmax(axis=1)),
        confidence=probabilities.max(axis=1, initial=0.0),
        calibrated_confidence=calibrated.max(axis=1, initial=0.0),
        reject_threshold=thresholds,
        rejected=predicted == REJECTED,
        label=_name(predicted),
        smoothed_label=_name(smoothed),
    )


def _threshold_of_each(users: pd.Series, threshold: float, own: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Returns the reject threshold of each row, shape (n,)."""
    by_user = np.array([own.get(str(user), threshold) for user in users.cat.categories] or [threshold])
    return by_user[users.cat.codes]


def _name(codes: _Int) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, categories=list(OUTCOMES))


def merge_blocks(scores: pd.DataFrame) -> pd.DataFrame:
    """Merges consecutive windows of one user, session and smoothed label.

    Args:
        scores: as `score_windows` returns them, sorted by user and time.

    Returns:
        One row for each block: user_id, start_ts, end_ts (exclusive, UTC), label and windows (number).
    """
    label, starts = scores["smoothed_label"].cat.codes.to_numpy(), epoch_us(scores["bucket_start_ts"])
    continues = follows_in_session(scores)
    continues[1:] &= (label[1:] == label[:-1]) & (np.diff(starts) == WINDOW_SECONDS * 1_000_000)
    first = np.flatnonzero(~continues)
    last = np.append(first[1:], len(scores)) - 1 if len(first) else first
    ends = scores["bucket_start_ts"].iloc[last] + pd.Timedelta(seconds=WINDOW_SECONDS)
    return pd.DataFrame(
        {
            "user_id": scores["user_id"].iloc[first].to_numpy(),
            "start_ts": scores["bucket_start_ts"].iloc[first].to_numpy(),
            "end_ts": ends.to_numpy(),
            "label": scores["smoothed_label"].iloc[first].to_numpy(),
            "windows": last - first + 1,
        }
    )


class ScoreQuality(Record):
    """Figures of the scores of one day that checks look at.

    Attributes:
        windows: number of windows scored.
        bad_probabilities: of them those whose probabilities are not finite or do not sum to one within 1e-6.
        reject_rate: share of rejected windows; None without windows.
        flap_rate, flap_rate_smoothed: label changes per window within sessions, before and after smoothing [0 to 1, lower is better].
        blocks: number of blocks of equal smoothed labels.
        long_blocks, short_blocks: share of blocks of at least 180 s, and of less than 120 s; None without blocks.
        label_counts: number of windows by smoothed label; labels without any are left out.
    """

    windows: int
    bad_probabilities: int
    reject_rate: float | None
    flap_rate: float
    flap_rate_smoothed: float
    blocks: int
    long_blocks: float | None
    short_blocks: float | None
    label_counts: dict[str, int]

    @classmethod
    def of(cls, scores: pd.DataFrame) -> Self:
        """Measures scores as `score_windows` returns them."""
        probabilities, follows = scores[list(LABELS)].to_numpy(dtype=np.float64), follows_in_session(scores)
        bad = ~(np.isfinite(probabilities).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) < 1e-6))
        codes = {name: scores[name].cat.codes.to_numpy().astype(np.int64) for name in ("label", "smoothed_label")}
        seconds = merge_blocks(scores)["windows"].to_numpy() * WINDOW_SECONDS
        counts = np.bincount(codes["smoothed_label"], minlength=len(OUTCOMES))
        return cls(
            windows=len(scores),
            bad_probabilities=int(bad.sum()),
            reject_rate=float(scores["rejected"].mean()) if len(scores) else None,
            flap_rate=flap_rate(codes["label"], follows),
            flap_rate_smoothed=flap_rate(codes["smoothed_label"], follows),
            blocks=len(seconds),
            long_blocks=float((seconds >= LONG_SECONDS).mean()) if len(seconds) else None,
            short_blocks=float((seconds < SHORT_SECONDS).mean()) if len(seconds) else None,
            label_counts={OUTCOMES[i]: int(n) for i, n in enumerate(counts) if n},
        )
