"""Finds days whose labels do not look like those of the other days: all the same, or unlike what the models see.

Such a day may be right. It is shown, and decides nothing; the gates judge models, not labels.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.scored_windows import StoredPredictions
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

MIN_WINDOWS = {"one_label": 60, "disagreement": 30}
"""Windows of a user-day below which it is neither judged nor compared with."""

MIN_OTHER_DAYS = 4

MIN_GAP = 0.15
"""The agreement of a day lies at least this far below that of every other day [share of windows]."""

IQR_FACTOR = 1.5
"""The same in interquartile ranges of the other days (Tukey, Exploratory Data Analysis, 1977); the larger of both counts."""


class UnusualDay(Record):
    """One user-day (UTC) whose labels may be wrong.

    Attributes:
        windows: number of windows that were looked at.
        agreement: largest share of them in which a model agrees with the label; None for one_label.
        bound: what it would have had to reach; None for one_label.
    """

    kind: Literal["one_label", "disagreement"]
    user_id: str
    day: date
    windows: int
    agreement: float | None = None
    bound: float | None = None


def find_days_of_one_label(rows: pd.DataFrame) -> list[UnusualDay]:
    """Finds user-days with 60 gold windows or more, all of one label, though four times as many days of this user have several.

    Args:
        rows: user_id (category), bucket_start_ts (UTC), label (category) and gold (bool) of every window, in any order.
    """
    gold = rows[rows["gold"]]
    labels = pd.DataFrame({**_user_days(gold), "label": label_codes(gold)})
    days = labels.groupby(["user", "day"], observed=True)["label"].agg(["size", "nunique"])
    days = days[days["size"] >= MIN_WINDOWS["one_label"]]
    single = days["nunique"] == 1
    several = (~single).groupby(level="user", observed=True).transform("sum")
    same = single.groupby(level="user", observed=True).transform("sum")
    found = days[single & (several >= MIN_OTHER_DAYS * same)]
    return [
        UnusualDay(kind="one_label", user_id=str(user), day=day.date(), windows=int(n))
        for (user, day), n in zip(found.index, found["size"], strict=True)
    ]


def find_days_of_disagreement(models: Sequence[StoredPredictions]) -> list[UnusualDay]:
    """Finds user-days on which every model agrees with far fewer labels than on the worst of the other user-days.

    Only windows that a model does not reject count: an uncertain model is no disagreement. With few other days nothing is found.

    Args:
        models: predictions of challenger and champion, or of one, on the test windows.
    """
    if not models:
        return []
    agreements = pd.concat([_agreement(model) for model in models], axis=1, keys=range(len(models)), join="inner")
    return list(_compare_with_other_days(agreements))


def describe_unusual_days(days: Sequence[UnusualDay]) -> str:
    """Returns one sentence a day, at most 20, with user and day; empty without any."""
    lines = []
    for day in days[:20]:
        where = f"{day.user_id} on {day.day}"
        if day.agreement is None or day.bound is None:
            lines.append(f"{where}: all {day.windows} labeled windows have one label. Check the labels of this day.")
        else:
            share = f"{day.agreement:.0%} of {counted(day.windows, 'window')}"
            figures = f"at best {share}, at least {day.bound:.0%} were expected from the other days"
            lines.append(f"{where}: no model agrees with the labels ({figures}). Check the labels of this day.")
    return "\n".join(lines)


def _compare_with_other_days(agreements: pd.DataFrame) -> Iterator[UnusualDay]:
    """Yields the days below the bound of every model; columns (model, mean) and (model, size), indexed by user and day."""
    shares = agreements.xs("mean", axis=1, level=1).to_numpy()
    sizes = agreements.xs("size", axis=1, level=1).to_numpy()
    for i, (user, day) in enumerate(agreements.index):
        others = np.delete(shares, i, axis=0)
        if len(others) < MIN_OTHER_DAYS:
            return
        low, high = np.quantile(others, [0.25, 0.75], axis=0)
        bounds = others.min(axis=0) - np.maximum(MIN_GAP, IQR_FACTOR * (high - low))
        if (shares[i] < bounds).all():
            best = int(np.argmax(shares[i]))
            yield UnusualDay(
                kind="disagreement",
                user_id=str(user),
                day=day.date(),
                windows=int(sizes[i, best]),
                agreement=float(shares[i, best]),
                bound=float(bounds[best]),
            )


def _agreement(model: StoredPredictions) -> pd.DataFrame:
    """Returns size and mean agreement of the windows that a model does not reject, by user and day with enough of them."""
    said = model.scored.predictions
    accepted = said.predicted != REJECTED
    right = pd.DataFrame({**_user_days(model.rows[accepted]), "right": (said.predicted == said.true)[accepted]})
    days = right.groupby(["user", "day"], observed=True)["right"].agg(["size", "mean"])
    return days[days["size"] >= MIN_WINDOWS["disagreement"]]


def _user_days(rows: pd.DataFrame) -> dict[str, object]:
    return {"user": rows["user_id"].array, "day": rows["bucket_start_ts"].dt.floor("D").array}
