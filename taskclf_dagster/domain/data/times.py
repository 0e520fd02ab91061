"""Conversions between times and whole microseconds since 1970."""

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd


def epoch_us(values: pd.Series) -> npt.NDArray[np.int64]:
    """Returns the microseconds since 1970 of a time-zone-aware column, shape (rows,)."""
    return values.dt.as_unit("us").astype("int64").to_numpy()


def to_epoch_us(moment: datetime) -> int:
    """Returns the exact microseconds since 1970 of a time with a zone."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
