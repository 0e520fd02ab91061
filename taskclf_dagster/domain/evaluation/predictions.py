"""Predictions of one model on a set of windows."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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


def rows_digest(key: npt.NDArray[np.uint64]) -> str:
    """Returns 16 hex digits that name a set of windows, independent of their order."""
    return hashlib.sha256(np.sort(key).astype("<u8").tobytes()).hexdigest()[:16]
