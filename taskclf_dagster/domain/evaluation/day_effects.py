"""Days without whose labels a rejected challenger would do better or worse: their record, and the days to look at.

The fits without them are in `retraining.day_effect_step`. Nothing is decided by them.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.times import DAY_US, epoch_us
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

MIN_LABELS = 10
"""A user-day with fewer windows that were learned from is not looked at."""


MIN_SHARE = 0.01
"""Nor one with a smaller share of them, in a large team: it changes nothing."""


MIN_OTHER_DAYS, MIN_CHANGE, MADS = 4, 0.01, 3.0
"""A day stands out if at least so many others were left out one by one, and the difference changes by at least so much [macro-F1] and by
more than the median of theirs and three times their median absolute deviation, scaled to a standard deviation (Iglewicz and Hoaglin, How to
Detect and Handle Outliers, 1993). Leaving out a day of right labels changed it by 0.003 (standard deviation) on a real home."""


NORMAL_MAD = 1.4826


class DayEffect(Record):
    """The comparison with the champion without the labels of one user-day (UTC).

    Attributes:
        learned, compared: number of labeled windows left out of those that the challenger learned from, and of those compared on.
        difference: macro-F1 of the challenger minus that of the champion without them; None if too few windows are left.
        margin: distance of the regression gate from its bound, 0 or more where it passes; None if it is not decided.
        passes: True if the regression gate passes without them.
        still_failing: the other gates between both models that fail without them.
        stands_out: True if the difference changes more than chance does, see MIN_OTHER_DAYS.
    """

    user_id: str
    day: date
    learned: int
    compared: int
    difference: float | None
    margin: float | None
    passes: bool
    still_failing: tuple[str, ...] = ()
    stands_out: bool = False

    def describe(self) -> str:
        """Returns the effect in one sentence, with what would fail all the same."""
        whose = f"Without the {counted(self.learned + self.compared, 'label')} of {self.user_id} on {self.day:%A, %Y-%m-%d},"
        if self.margin is None:
            return f"{whose} too few windows would be left to compare on."
        result = f"macro_f1_no_regression would {'pass' if self.passes else 'still fail'} by {abs(self.margin):.4f}"
        rest = f", but {', '.join(self.still_failing)} would not" if self.still_failing and self.passes else ""
        return f"{whose} {result}{rest}."


class DayEffects(Record):
    """The user-days that were looked at after a rejection for regression.

    Attributes:
        days: the best margin first.
        left: number of user-days beyond the budget, which were not.
        reason: the reason if none was looked at; empty otherwise.
    """

    days: tuple[DayEffect, ...] = ()
    left: int = 0
    reason: str = ""

    def describe(self) -> str:
        """Returns one sentence for each day that stands out and without which the gate would pass, or one that there is none."""
        if self.reason:
            return self.reason
        beyond = f" ({counted(self.left, 'older day')} beyond the budget of the search)" if self.left else ""
        found = [each.describe() for each in self.days if each.passes and each.stands_out]
        if found:
            return f"{' '.join(found)} Check the labels of {'this day' if len(found) == 1 else 'these days'}{beyond}."
        decided = sum(each.margin is not None for each in self.days)
        if not decided:
            return f"Without any one of the {counted(len(self.days), 'newest day')} too few windows would be left to compare on{beyond}."
        return f"None of the {counted(decided, 'newest day')} stands out: it was hardly the labels of a single day{beyond}."


def mark_outstanding(days: Sequence[DayEffect], *, difference: float) -> tuple[DayEffect, ...]:
    """Returns the days, the best margin first, and marks those that stand out.

    Args:
        days: the effects.
        difference: macro-F1 of the challenger minus that of the champion with all labels.
    """
    changes = np.array([np.nan if each.difference is None else each.difference - difference for each in days])
    marked = []
    for i, each in enumerate(days):
        others = np.delete(changes, i)
        others = others[np.isfinite(others)]
        if len(others) >= MIN_OTHER_DAYS and np.isfinite(changes[i]):
            middle = float(np.median(others))
            spread = NORMAL_MAD * float(np.median(np.abs(others - middle)))
            each = each.model_copy(update={"stands_out": bool(changes[i] >= max(MIN_CHANGE, middle + MADS * spread))})
        marked.append(each)
    return tuple(sorted(marked, key=lambda each: np.inf if each.margin is None else -each.margin))


class LearnedDay(NamedTuple):
    """One user-day (UTC) that a challenger learned from.

    Attributes:
        learned, compared: True for its rows among those that were learned from, and those that were compared on.
    """

    user_id: str
    day: date
    learned: npt.NDArray[np.bool_]
    compared: npt.NDArray[np.bool_]


def list_learned_days(learned: pd.DataFrame, compared: pd.DataFrame) -> list[LearnedDay]:
    """Returns the user-days that were learned from and may matter, the newest first, then by user.

    Args:
        learned: user_id (category) and bucket_start_ts (UTC) of the rows that the challenger learned from.
        compared: of those that it was compared on.
    """
    numbers = [epoch_us(rows["bucket_start_ts"]) // DAY_US for rows in (learned, compared)]
    users = [rows["user_id"].astype(str).to_numpy() for rows in (learned, compared)]
    sizes = pd.DataFrame({"user": users[0], "day": numbers[0]}).value_counts()
    large = [key for key, size in sizes.items() if len(learned) > size >= max(MIN_LABELS, MIN_SHARE * len(learned))]
    return [
        LearnedDay(user, date(1970, 1, 1) + timedelta(days=day), *((numbers[i] == day) & (users[i] == user) for i in range(2)))
        for user, day in sorted(large, key=lambda key: (-key[1], key[0]))
    ]
