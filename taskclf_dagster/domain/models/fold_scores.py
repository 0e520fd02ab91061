"""Macro-F1 on the judged rows of folds, and the gain of one choice over another with its uncertainty.

The windows of a day are alike, so whole user-days are the unit. No prediction is rejected here. Two bundles on test windows are compared
in `evaluation.significance`.
"""

import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.storage.records import Record

_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


EXACT_DAYS, EXCHANGES = 12, 4_096
"""Up to so many user-days every exchange of two choices is counted; beyond, so many random ones."""


ROUNDING_NOISE = 1e-12


class Gain(Record):
    """The gain of one choice over another in macro-F1.

    Attributes:
        value: the difference [-1 to 1, higher is better].
        standard_error: spread of the difference between two equally good choices on these user-days.
        p_value: chance of so large a gain if both are equally good [0 to 1].
    """

    value: float
    standard_error: float
    p_value: float


def count_days(days: _Int, true: _Int, predicted: _Int) -> _Int:
    """Returns counts of shape (days, 8, 3) by user-day and label: true windows, predicted windows, correct ones.

    Args:
        days: index of the user-day of each row, 0 to the number of user-days, shape (n,).
        true: class index of each row, shape (n,).
        predicted: class index predicted, shape (n,).
    """
    width = len(LABELS)
    n_days = int(days.max(initial=-1)) + 1
    correct = (days * width + true)[true == predicted]
    flat = [np.bincount(cells, minlength=n_days * width) for cells in (days * width + true, days * width + predicted, correct)]
    return np.stack(flat, axis=-1).reshape(n_days, width, 3)


def macro_f1(table: npt.NDArray[np.number]) -> _Float:
    """Returns the mean F1 of the labels of counts of shape (..., labels, 3), shape (...); 0 for a label neither true nor predicted."""
    f1: _Float = 2 * table[..., 2] / np.maximum(table[..., 0] + table[..., 1], 1)
    return f1.mean(axis=-1)


def paired_gain(changed: _Int, present: _Int, *, seed: int) -> Gain:
    """Compares two choices on the same rows: both are exchanged on whole user-days, in every way up to EXACT_DAYS of them, else at random.

    If the two are equally good, every exchange is as likely as what was observed, whatever the labels of a day are (Noreen, Computer-
    Intensive Methods for Testing Hypotheses, 1989). A jackknife over user-days is no substitute: on the few days of one person it gave
    one and a half times the standard error of a bootstrap where a label was seldom predicted right.

    Args:
        changed: counts of the judged labels, shape (days, labels, 3).
        present: those of the other choice on the same user-days.
        seed: of the random exchanges, 0 or more.
    """
    exchanged = _exchanges(len(changed), seed).astype(np.float64)
    moved = (exchanged @ (changed - present).reshape(len(changed), -1)).reshape(len(exchanged), *changed.shape[1:])
    gains = macro_f1(changed.sum(axis=0) - moved) - macro_f1(present.sum(axis=0) + moved)
    p_value = np.count_nonzero(gains >= gains[0] - ROUNDING_NOISE) / len(gains)
    return Gain(value=float(gains[0]), standard_error=float(np.sqrt((gains**2).mean())), p_value=p_value)


def _exchanges(days: int, seed: int) -> npt.NDArray[np.bool_]:
    """Returns the user-days on which the choices are exchanged, shape (exchanges, days); on none in the first."""
    if days <= EXACT_DAYS:
        return (np.arange(2**days)[:, None] >> np.arange(days)) % 2 == 1
    drawn = np.random.Generator(np.random.PCG64(seed)).random((EXCHANGES, days)) < 0.5
    drawn[0] = False
    return drawn
