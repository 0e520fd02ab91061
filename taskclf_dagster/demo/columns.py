"""Types of columns of a demo home, and the draws and sums that several of them need."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


Ints = npt.NDArray[np.int64]


Columns = dict[str, npt.NDArray[np.generic] | Sequence[object]]


def pick(cumulative: Floats, rng: np.random.Generator) -> Ints:
    """Draws one column for each row of cumulative shares."""
    return (rng.random((len(cumulative), 1)) > cumulative[:, :-1]).sum(axis=1)


def sums_since(since: Ints, values: npt.NDArray[np.generic]) -> Floats:
    """Returns for each row the sum of `values` from row `since` to this one."""
    totals = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=float)])
    return np.asarray(totals[1:] - totals[since])
