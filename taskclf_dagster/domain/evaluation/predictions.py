"""Predictions of one model on a set of windows."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.evaluation.confusion import apply_reject


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model on some windows, each array of shape (n,).

    Attributes:
        key: hash of (user_id, bucket_start_ts), which names the window.
        true: class index of the label.
        predicted: class index of the largest probability, REJECTED below the threshold.
    """

    key: npt.NDArray[np.uint64]
    true: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]


def summarize_probabilities(probabilities: npt.NDArray[np.float64], reject_threshold: float) -> pd.DataFrame:
    """Returns predicted (class index, REJECTED below the threshold), best (that of the largest probability) and confidence of each row.

    Args:
        probabilities: shape (n, 8), columns in the order of LABELS.
        reject_threshold: of the model.
    """
    predicted, best = apply_reject(probabilities, reject_threshold), probabilities.argmax(axis=1).astype(np.int8)
    return pd.DataFrame({"predicted": predicted, "best": best, "confidence": probabilities.max(axis=1).astype(np.float32)})


def rows_digest(key: npt.NDArray[np.uint64]) -> str:
    """Returns 16 hex digits that name a set of windows, independent of their order."""
    return hashlib.sha256(np.sort(key).astype("<u8").tobytes()).hexdigest()[:16]
