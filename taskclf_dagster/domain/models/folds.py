"""Rolling-origin folds within the older, training and validation rows of a snapshot: learn from what is earlier, judge what comes next.

Choices between settings are made on them. Test rows are in none. Cuts are placed as those of the split (`data.split`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.split import EMBARGO_US, place_cut
from taskclf_dagster.domain.data.times import epoch_us

FOLD_PERCENTS = (40, 55, 70, 85)
"""A block is judged from each of these shares of a user's gold training and validation rows to the next, the last one to their end."""


_Bool = npt.NDArray[np.bool_]


_Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """The rows that a model of this fold learns from, and those that it is judged on: masks of shape (rows,)."""

    learned: _Bool
    judged: _Bool


def make_folds(rows: pd.DataFrame) -> list[Fold]:
    """Cuts every user's gold training and validation rows at FOLD_PERCENTS and returns a fold for each cut that has rows on both sides.

    A fold learns from everything of older, train and validation that lies more than 15 minutes before its user's cut, because features
    look back so far; weak rows only teach. Each cut is moved by at most 5 % of the rows to the nearest place where a session and a label
    end, else to where a label ends, so that no stretch of one label is divided. The rows of a user who has none to judge teach in
    every fold.

    Args:
        rows: user_id, session_id, label, split (category), bucket_start_ts (UTC), gold (bool), sorted by user and time.
    """
    users, starts = rows["user_id"].cat.codes.to_numpy(), epoch_us(rows["bucket_start_ts"])
    judgeable = rows["split"].isin(("train", "validation")).to_numpy() & rows["gold"].to_numpy()
    learnable = rows["split"].isin(("older", "train", "validation")).to_numpy()
    learned = np.repeat(learnable[None], len(FOLD_PERCENTS), axis=0)
    judged = np.zeros_like(learned)
    labels, sessions = rows["label"].cat.codes.to_numpy(), rows["session_id"].cat.codes.to_numpy()
    for user in np.unique(users[judgeable]):
        own = np.arange(*np.searchsorted(users, [user, user + 1]))
        own_judgeable = own[judgeable[own]]
        cuts = _place_cuts(labels[own_judgeable], sessions[own_judgeable], starts[own_judgeable])
        for fold, (begin, end) in enumerate(zip(cuts, [*cuts[1:], len(own_judgeable)], strict=True)):
            judged[fold, own_judgeable[begin:end]] = True
            if begin < len(own_judgeable):
                learned[fold, own] &= starts[own] < starts[own_judgeable[begin]] - EMBARGO_US
    newer = learnable & (rows["split"] != "older").to_numpy()  # a fold must teach without older rows, too
    return [Fold(*masks) for masks in zip(learned, judged, strict=True) if (masks[0] & newer).any() and masks[1].any()]


def _place_cuts(labels: npt.NDArray[np.generic], sessions: npt.NDArray[np.generic], starts: _Int) -> list[int]:
    """Returns the positions of the cuts of one user's judgeable rows, whose labels and sessions are codes."""
    n = len(starts)
    span_ends = np.zeros(n + 1, dtype=bool)
    span_ends[1:n] = (labels[1:] != labels[:-1]) | (np.diff(starts) > EMBARGO_US)
    session_ends = span_ends.copy()
    session_ends[1:n] &= sessions[1:] != sessions[:-1]
    cuts: list[int] = []
    for percent in FOLD_PERCENTS:
        earliest = cuts[-1] if cuts else 0
        cuts.append(place_cut(n * percent // 100, n, session_ends=session_ends, span_ends=span_ends, earliest=earliest)[0])
    return cuts
