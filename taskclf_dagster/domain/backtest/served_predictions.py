"""The predictions that the models of a policy would have served, each on the windows after it became active.

A window counts from an hour after its model was made, as in live performance: nothing near it was learned. A model also predicts the week
after its end, in which it is compared with its successor.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.backtest.labeled_history import LabeledHistory
from taskclf_dagster.domain.backtest.policy_replay import ServedModel
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.split import NEIGHBORHOOD_MINUTES
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us
from taskclf_dagster.domain.evaluation.confusion import apply_reject
from taskclf_dagster.domain.evaluation.scoring import rows_for
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.home import Home

NOT_PREDICTED = -1
"""Code of a window that no model predicts."""


COMPARED_DAYS = 7
"""Days after a promotion on which the new model is compared with the one before."""


_Codes = npt.NDArray[np.int64]


_Bools = npt.NDArray[np.bool_]


class Succession(NamedTuple):
    """A model that took the place of another, and both on the same windows.

    Attributes:
        at: the time of the promotion.
        model_id, replaced_id: the new model, and the one before.
        rows: positions of the windows of the next days in the history, shape (n,).
        ours, theirs: predictions of the new model and of the one before, shape (n,).
    """

    at: datetime
    model_id: str
    replaced_id: str
    rows: npt.NDArray[np.int64]
    ours: _Codes
    theirs: _Codes


class ServedPredictions(NamedTuple):
    """The predictions of a policy.

    Attributes:
        predicted: class index of each window of the history, REJECTED, or NOT_PREDICTED, shape (windows,).
        successions: one for each promotion but the first.
    """

    predicted: _Codes
    successions: list[Succession]


class ServedPredictor:
    """Predicts labeled windows with the models of policies; a model that several policies promoted predicts each window once.

    Args:
        home: the real home, for inputs of another schema version.
        history: the windows.
        num_threads: of LightGBM.
    """

    def __init__(self, home: Home, history: LabeledHistory, *, num_threads: int) -> None:
        self._home, self._history, self._num_threads = home, history, num_threads
        self._starts = epoch_us(history.rows["bucket_start_ts"])
        self._known: dict[tuple[str, float], tuple[_Bools, _Codes]] = {}

    def predict(self, served: list[ServedModel]) -> ServedPredictions:
        """Predicts the windows of the models of one policy, in their order.

        Raises:
            SnapshotError: a file cannot be read.
        """
        starts = self._starts
        predicted = np.full(len(starts), NOT_PREDICTED, dtype=np.int64)
        successions, before = list[Succession](), None
        for number, each in enumerate(served):
            begin = to_epoch_us(each.since + timedelta(minutes=NEIGHBORHOOD_MINUTES))
            end = served[number + 1].since if number + 1 < len(served) else None
            until = np.inf if end is None else to_epoch_us(end)
            beyond = np.inf if end is None else to_epoch_us(end + timedelta(days=COMPARED_DAYS))
            own = self._predict(each, (starts >= begin) & (starts < beyond))
            mine = (starts >= begin) & (starts < until)
            predicted[mine] = own[mine]
            if before is not None:
                week = (starts >= begin) & (starts < to_epoch_us(each.since + timedelta(days=COMPARED_DAYS)))
                rows = np.flatnonzero(week & (own != NOT_PREDICTED) & (before != NOT_PREDICTED))
                ids = each.model.bundle.model_id, served[number - 1].model.bundle.model_id
                successions.append(Succession(each.since, *ids, rows, own[rows], before[rows]))
            before = own
        return ServedPredictions(predicted, successions)

    def _predict(self, served: ServedModel, wanted: _Bools) -> _Codes:
        """Returns the predictions of the wanted windows, shape (windows,); NOT_PREDICTED for those without the model's inputs."""
        model = served.model
        name = (json_hash([model.tree_hash, model.encoders]), model.reject_threshold)
        nothing = np.zeros(len(wanted), dtype=bool), np.full(len(wanted), NOT_PREDICTED, dtype=np.int64)
        asked, codes = self._known.get(name, nothing)
        positions = np.flatnonzero(wanted & ~asked)
        rows = self._history.rows.iloc[positions].reset_index(drop=True)
        own, _ = rows_for(model, self._home, rows, schema_version=self._history.schema_version, users=self._history.users)
        if len(own):
            said = apply_reject(model.predict_rows(own, num_threads=self._num_threads), model.reject_threshold)
            codes[positions[_find(rows, own)]] = said
        self._known[name] = asked | wanted, codes
        return np.where(wanted, codes, NOT_PREDICTED)


def _find(rows: pd.DataFrame, own: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Returns the position among the rows of each of some of them, shape (n,)."""
    if own is rows:
        return np.arange(len(rows))
    keys = hash_row_keys(rows)
    order = np.argsort(keys)
    return np.asarray(order[np.searchsorted(keys, hash_row_keys(own), sorter=order)])
