"""Conversions between times and whole microseconds since 1970."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

DAY_US = 86_400_000_000


class EpochTimes(NamedTuple):
    """Times of a column, each array of shape (rows,).

    Attributes:
        us: microseconds since 1970; the nearest time that Python can show for one beyond the years 1 to 9999, 0 for a null.
        beyond: True for a time beyond these years.
    """

    us: npt.NDArray[np.int64]
    beyond: npt.NDArray[np.bool_]


def epoch_us(values: pd.Series) -> npt.NDArray[np.int64]:
    """Returns the microseconds since 1970 of a time-zone-aware column, shape (rows,)."""
    return values.dt.as_unit("us").astype("int64").to_numpy()


def to_epoch_us(moment: datetime) -> int:
    """Returns the exact microseconds since 1970 of a time with a zone."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def read_epoch_times(values: pa.ChunkedArray) -> EpochTimes:
    """Returns the times of an arrow column of timestamps of any unit and zone; one without a zone is UTC."""
    stored = values.cast(pa.int64()).fill_null(0).to_numpy()
    if values.type.unit == "ns":
        return EpochTimes(stored // 1_000, np.zeros(len(stored), dtype=bool))
    factor = {"s": 1_000_000, "ms": 1_000, "us": 1}[values.type.unit]
    first, last = to_epoch_us(datetime.min.replace(tzinfo=UTC)) // factor, to_epoch_us(datetime.max.replace(tzinfo=UTC)) // factor
    return EpochTimes(np.clip(stored, first, last) * factor, (stored < first) | (stored > last))


def show_epoch_us(us: int) -> str:
    """Returns microseconds since 1970 as an ISO 8601 time in UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat()
