"""A set of windows with the number of the day and of the user of each, which the statistics of drift group by."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.times import DAY_US, epoch_us

_Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WindowSet:
    """Windows of several days.

    Attributes:
        rows: one a window, numbered from 0: user_id (category), bucket_start_ts (UTC), and whatever is compared.
    """

    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def dates(self) -> _Int:
        """The UTC days that have a window, sorted, in days since 1970, shape (days,)."""
        return np.unique(epoch_us(self.rows["bucket_start_ts"]) // DAY_US)

    @cached_property
    def day(self) -> _Int:
        """The position of each window's day in `dates`, shape (windows,)."""
        return np.searchsorted(self.dates, epoch_us(self.rows["bucket_start_ts"]) // DAY_US)

    @property
    def days(self) -> int:
        """Number of days that have a window."""
        return len(self.dates)

    @cached_property
    def users(self) -> list[str]:
        """The users that have a window, sorted."""
        return sorted(map(str, self.rows["user_id"].unique()))

    def of_user(self, user: str) -> npt.NDArray[np.bool_]:
        """Returns True for the windows of a user, shape (windows,); for all if the user has none, as of a new user in the reference."""
        own = (self.rows["user_id"] == user).to_numpy()
        return own if own.any() else np.ones(len(own), dtype=bool)

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """Returns a numeric column, shape (windows,); NaN is missing."""
        return self.rows[column].to_numpy(dtype=np.float64)
