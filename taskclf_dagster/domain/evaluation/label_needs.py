"""The labelled minutes that give a comparison enough windows, found by running the split on the labels of a home and on more of them.

Only some of the labels become test windows, and only those that no model was trained on are compared, so that the number that lacks is not
the number to label. What is not known, the sessions to come, is taken to be like those of the last days.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.split import TEST, split_by_time
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us

REPEATED_DAYS = 7
"""The last days of labels, which are repeated."""


MOST_MINUTES = 12
"""Labelled minutes for each window wanted, beyond which no number is sought; the split makes a window of every seventh or so."""


_Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ComparableLabels:
    """The gold rows that a dataset is split from, and what decides which test windows are compared with a champion.

    Attributes:
        rows: user_id, session_id and label (category), bucket_start_ts (UTC), sorted by user and time.
        learned: mask of the rows that the champion was trained on, or that are near one, shape (n,).
        held_out: users whose rows are all test rows.
        newer_than: end of the champion's training.
        max_share: with a larger share of learned test windows only those that are newer are compared [0 to 1].
        look_back: length of the range that is split; with later labels, it ends later and begins later.
    """

    rows: pd.DataFrame
    learned: _Bool
    held_out: Sequence[str]
    newer_than: datetime
    max_share: float
    look_back: timedelta

    def count(self) -> int:
        """Returns the number of test windows that would be compared."""
        whole = self.rows["user_id"].isin(list(self.held_out)).to_numpy()
        test = whole.copy()
        own = self.rows[~whole].assign(gold=True, span=_number_spans(self.rows)[~whole]).reset_index(drop=True)
        test[~whole] = split_by_time(own).codes == TEST
        kept = test & ~self.learned
        if (test & self.learned).sum() > self.max_share * test.sum():
            kept &= epoch_us(self.rows["bucket_start_ts"]) >= to_epoch_us(self.newer_than)
        return int(kept.sum())

    def with_more(self, more: pd.DataFrame, minutes: int) -> "ComparableLabels":
        """Returns the labels with the first minutes of others after them, which no champion learned, without what leaves the look-back."""
        rows = pd.concat([self.rows, more.iloc[:minutes]], ignore_index=True)
        users = pd.CategoricalDtype(sorted({*self.rows["user_id"].cat.categories}))
        rows = rows.assign(user_id=rows["user_id"].astype(users), session_id=rows["session_id"].astype("category"))
        order = np.lexsort((epoch_us(rows["bucket_start_ts"]), rows["user_id"].cat.codes.to_numpy()))
        learned = np.concatenate([self.learned, np.zeros(len(rows) - len(self.rows), dtype=bool)])
        order = order[(rows["bucket_start_ts"] > rows["bucket_start_ts"].max() - self.look_back).to_numpy()[order]]
        return replace(self, rows=rows.iloc[order].reset_index(drop=True), learned=learned[order])


def find_minutes_needed(labels: ComparableLabels, *, wanted: int) -> int | None:
    """Returns how many more labelled minutes, like those of the last days and soon, make `wanted` windows be compared.

    None if there are no labels to judge by, or the number is beyond MOST_MINUTES for each window.
    """
    if labels.rows.empty:
        return None
    most = MOST_MINUTES * wanted
    more = _repeat_last_days(labels.rows, most)
    enough, short = most, 0
    if labels.with_more(more, most).count() < wanted:
        return None
    while enough - short > 1:
        middle = (enough + short) // 2
        if labels.with_more(more, middle).count() >= wanted:
            enough = middle
        else:
            short = middle
    return enough


def _repeat_last_days(rows: pd.DataFrame, minutes: int) -> pd.DataFrame:
    """Returns at least so many rows after the given ones: those of the last days, again and again, in order of time."""
    newest = rows["bucket_start_ts"].max()
    last = rows[rows["bucket_start_ts"] > newest - timedelta(days=REPEATED_DAYS)].sort_values("bucket_start_ts", kind="stable")
    copies = [
        last.assign(
            bucket_start_ts=last["bucket_start_ts"] + timedelta(days=REPEATED_DAYS * number),
            session_id=last["session_id"].astype(str) + f"+{number}",
        )
        for number in range(1, minutes // len(last) + 2)
    ]
    return pd.concat(copies, ignore_index=True)


def _number_spans(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Returns the number of the run of minutes with one label that each row is in, as the label spans are not kept, shape (n,)."""
    changes = np.zeros(len(rows), dtype=bool)
    for column in ("user_id", "session_id", "label"):
        codes = rows[column].cat.codes.to_numpy()
        changes[1:] |= codes[1:] != codes[:-1]
    return np.cumsum(changes)
