"""Windows that two models scored, for the tests of the statistics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.evaluation.block_counts import BlockSums, sum_blocks
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.significance import SignificanceResult, assess_significance

BREAK, BUILD, COMMUNICATE, DEBUG, MEET, READ, REVIEW, WRITE = range(8)
DAY = 24 * 60
START = pd.Timestamp("2026-03-02", tz="UTC")


@dataclass(frozen=True)
class Windows:
    """Windows that two models scored: user, minute since START, true label and both predictions."""

    user: npt.NDArray[np.str_]
    minute: npt.NDArray[np.int64]
    true: npt.NDArray[np.int64]
    challenger: npt.NDArray[np.int64]
    champion: npt.NDArray[np.int64]

    @classmethod
    def of(cls, *rows: tuple[str, int, int, int, int]) -> "Windows":
        """One window per row."""
        user, *numbers = zip(*rows, strict=True) if rows else ((),) * 5
        return cls(np.array(user, dtype=np.str_), *(np.array(column, dtype=np.int64) for column in numbers))

    @property
    def swapped(self) -> "Windows":
        return replace(self, challenger=self.champion, champion=self.challenger)

    @property
    def sums(self) -> BlockSums:
        start = pd.Series(START + pd.to_timedelta(self.minute, unit="min"))
        return sum_blocks(pd.Series(self.user).astype("category"), start, self.true, self.challenger, self.champion)


def assessed(
    windows: Windows | BlockSums, labels: Sequence[str] = LABELS, *, min_user_days: int = 5, replicates: int = 200, seed: int = 7
) -> SignificanceResult:
    """At a significance of 0.05, with a margin and a small difference of 0.05."""
    return assess_significance(
        windows.sums if isinstance(windows, Windows) else windows,
        judged_labels=labels,
        significance=0.05,
        min_user_days=min_user_days,
        margin=0.05,
        small_difference=0.05,
        seed=seed,
        replicates=replicates,
    )


def noisy(n: int, *, users: int = 3, days: int = 4, seed: int = 1) -> Windows:
    """Windows of all labels, right in about 70 % of cases, some rejected."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 8, n)
    predicted = (np.where(rng.random(n) < 0.7, true, rng.integers(0, 9, n)) for _ in range(2))
    user = np.array([f"user-{i}" for i in range(users)])[rng.integers(0, users, n)]
    return Windows(user, rng.integers(0, days, n) * DAY + rng.integers(0, 8 * 60, n), true, *predicted)


def one_sided(n: int) -> Windows:
    """One window of Break and of Build in each of n blocks; the challenger has all of them right, the champion none."""
    return Windows.of(*(("ann", 120 * i, label, label, REJECTED) for i in range(n) for label in (BREAK, BUILD)))


def of_day(user: str, day: int, cases: list[tuple[int, int, int, int]]) -> list[tuple[str, int, int, int, int]]:
    """One window for each of (count, true, challenger, champion)."""
    return [(user, day * DAY, true, ours, theirs) for count, true, ours, theirs in cases for _ in range(count)]


# Ten windows each of Break and Build over three days, 8 of each right by the challenger and 6 by the champion. Wrong ones are taken for
# the other label, so that each model predicts each label ten times: F1 is 2*8/20 and 2*6/20.
DAY_A = of_day("ann", 0, [(2, BREAK, BREAK, BREAK), (2, BREAK, BREAK, BUILD), (2, BUILD, BUILD, BUILD), (2, BUILD, BUILD, BREAK)])
DAY_B = of_day("ann", 1, [(3, BREAK, BREAK, BREAK), (1, BREAK, BUILD, BUILD), (1, BUILD, BUILD, BUILD), (1, BUILD, BREAK, BREAK)])
DAY_C = of_day("bob", 0, [(1, BREAK, BREAK, BREAK), (1, BREAK, BUILD, BUILD), (3, BUILD, BUILD, BUILD), (1, BUILD, BREAK, BREAK)])
BY_HAND = Windows.of(*DAY_A, *DAY_B, *DAY_C)
