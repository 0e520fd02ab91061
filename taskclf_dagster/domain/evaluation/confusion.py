"""Confusion counts of one model with the reject option, and the F1 scores that follow from them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.data.feature_schema import LABELS, REJECTED_LABEL

N_LABELS = len(LABELS)


REJECTED = N_LABELS
"""Code of a rejected prediction: one past the last label."""


OUTCOMES = (*LABELS, REJECTED_LABEL)
"""The name of each predicted code, that of a rejected prediction last."""


_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


_Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ConfusionCounts:
    """Number of windows by true label and prediction.

    Attributes:
        table: shape (..., 8, 9): rows true, columns predicted, both in the order of LABELS; the last column is REJECTED.
    """

    table: _Int

    @property
    def support(self) -> _Int:
        """True windows, shape (..., 8)."""
        return self.table.sum(axis=-1)

    @property
    def predicted(self) -> _Int:
        """Windows predicted so, right or wrong, shape (..., 8)."""
        return self.accepted.sum(axis=-2)

    @property
    def correct(self) -> _Int:
        """Windows predicted right, shape (..., 8)."""
        return self.accepted.diagonal(axis1=-2, axis2=-1)

    @property
    def accepted(self) -> _Int:
        """The table without the rejected windows, shape (..., 8, 8)."""
        return self.table[..., :N_LABELS]

    @property
    def rejected(self) -> _Int:
        """Rejected windows by true label, shape (..., 8)."""
        return self.table[..., REJECTED]

    def f1(self) -> _Float:
        """Returns the F1 score of each label [0 to 1, higher is better], shape (..., 8); NaN if neither true nor predicted."""
        # From counts that exist already, for each user and both models: a call of sklearn.metrics.f1_score for each of them would count
        # again. The tests compare both.
        total = self.support + self.predicted
        return np.divide(2 * self.correct, total, out=np.full(total.shape, np.nan), where=total > 0)

    def macro_f1(self, judged: _Bool) -> float | None:
        """Returns the mean F1 of the judged labels that have true windows [0 to 1, higher is better]; None if there are none.

        Args:
            judged: mask of the labels that count, shape (8,).
        """
        counted = judged & (self.support > 0)
        return float(self.f1()[counted].mean()) if counted.any() else None


def count_predictions(true: _Int, predicted: _Int) -> ConfusionCounts:
    """Counts windows by true label and prediction; both class indices of shape (n,), predictions may be REJECTED."""
    width = N_LABELS + 1
    return ConfusionCounts(np.bincount(true * width + predicted, minlength=N_LABELS * width).reshape(N_LABELS, width))


def count_predictions_by_user(user: _Int, n_users: int, true: _Int, predicted: _Int) -> ConfusionCounts:
    """Counts windows of each user, table of shape (n_users, 8, 9); `user` is the index of each window's user, shape (n,)."""
    width = N_LABELS + 1
    flat = np.bincount((user * N_LABELS + true) * width + predicted, minlength=n_users * N_LABELS * width)
    return ConfusionCounts(flat.reshape(n_users, N_LABELS, width))


def apply_reject(probabilities: _Float, reject_threshold: float | _Float) -> _Int:
    """Returns the class index of the largest of (n, 8) probabilities, REJECTED if it is below the threshold (of all or each)."""
    return np.where(probabilities.max(axis=1) < reject_threshold, REJECTED, probabilities.argmax(axis=1))
