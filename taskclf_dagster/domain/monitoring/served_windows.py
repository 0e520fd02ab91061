"""Assigns the windows of a day to the active model or to a contender, by user and day of their session, so that no session is divided."""

from datetime import date, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.times import DAY_US, epoch_us, to_epoch_us
from taskclf_dagster.domain.data.windows import read_windows_of_time
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.monitoring.day_scores import end_of
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.home import Home

_SESSION = ["user_id", "session_id"]


class Assignment(NamedTuple):
    """A rule by which a contender serves sessions.

    Attributes:
        model_id: the contender.
        share: of the user-days that it serves [0 to 1].
        since: sessions that began earlier are those of the active model.
    """

    model_id: str
    share: float
    since: datetime

    def serves(self, user: str, day: date) -> bool:
        """Returns True if the contender serves the sessions of a user that began on a UTC day; the same whenever it is asked."""
        return int(json_hash([user, day.isoformat(), self.model_id])[:13], 16) / 16**13 < self.share

    def choose(self, rows: pd.DataFrame, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Returns True for each window that the contender serves, shape (n,).

        Args:
            rows: user_id of each window.
            starts: start of the session of each, from `find_session_starts`.
        """
        users, days = rows["user_id"].astype(str).tolist(), (starts // DAY_US).tolist()
        of_user_days = {key: self.serves(key[0], date(1970, 1, 1) + timedelta(days=key[1])) for key in {*zip(users, days, strict=True)}}
        chosen = np.array([of_user_days[key] for key in zip(users, days, strict=True)], dtype=bool)
        return chosen & (starts >= to_epoch_us(self.since))


def find_session_starts(home: Home, model: LoadedModel, rows: pd.DataFrame, day: date, *, since: datetime) -> npt.NDArray[np.int64]:
    """Returns the start of the session of each window, microseconds since 1970, shape (n,); read from the days before it, while it goes on.

    Args:
        home: the taskclf home.
        model: its schema version is read.
        rows: the windows of the day, as `WindowReading.frame`.
        day: their UTC day.
        since: days that end before this time are not read.

    Raises:
        DataContractError: windows of a day before violate the data contract.
        UnreadableFileError: the file of a day before cannot be read.
    """
    first = _first_of_sessions(rows)
    before = day - timedelta(days=1)
    while end_of(before) >= since:
        earlier = read_windows_of_time(
            home, start=end_of(before) - timedelta(days=1), end=end_of(before), schema_version=model.schema.version
        )
        found = _first_of_sessions(earlier) if len(earlier) else first.iloc[:0]
        found = found[found.index.isin(first.index)]
        if found.empty:
            break
        first.update(found)
        before -= timedelta(days=1)
    sessions = pd.MultiIndex.from_frame(rows[_SESSION].astype(str))
    return first.loc[sessions].to_numpy(dtype=np.int64)


def _first_of_sessions(rows: pd.DataFrame) -> "pd.Series[int]":
    """Returns the start of the first window by user and session, microseconds since 1970."""
    keys = [rows[name].astype(str) for name in _SESSION]
    return pd.Series(epoch_us(rows["bucket_start_ts"]), dtype="int64").groupby([key.to_numpy() for key in keys]).min()
