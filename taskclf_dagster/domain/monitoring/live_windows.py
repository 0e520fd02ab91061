"""Joins the scores of past days with the labels that people gave since: what was predicted at the time beside what turned out to be true.

Only gold labels count. No model is loaded here: what counts is what was said at the time, whatever would be said today.
"""

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.label_projection import NO_LABEL, place_spans, project_blocks_to_windows
from taskclf_dagster.domain.data.split import NEIGHBORHOOD_MINUTES
from taskclf_dagster.domain.data.times import epoch_us, to_epoch_us
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.models.time_made import find_time_made
from taskclf_dagster.home import Home


def join_labels(scores: pd.DataFrame, spans: pd.DataFrame) -> pd.DataFrame:
    """Adds to each scored window its label and prediction; rows stay in their order.

    Args:
        scores: as `ScoreReading.frame`.
        spans: as `LabelReading.spans`; weak ones are left out.

    Returns:
        The scores with true (class index of the gold label, NO_LABEL without one), provenance (of the span that gave it, else None) and
        predicted (class index, REJECTED for a rejected window).
    """
    gold = spans[spans["gold"]]
    projection = project_blocks_to_windows(scores[["user_id", "bucket_start_ts"]], gold)
    top = pd.Index(LABELS).get_indexer(scores["top_label"]).astype(np.int64)
    return scores.assign(
        true=projection.label.astype(np.int64),
        provenance=_find_provenances(scores, gold, projection.label >= 0),
        predicted=np.where(scores["rejected"].to_numpy(dtype=bool), REJECTED, top),
    )


def may_have_learned(home: Home, scored: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Returns True for each window that the model which scored it may have learned from, shape (rows,).

    That is every window up to an hour after the model was made: a day that is scored again by a later model says nothing about it. The time
    is that in the model's id, as taskclf and this program name models; without one, the end of the last training day in its metadata. Of a
    model with neither nothing counts.

    Args:
        home: the taskclf home.
        scored: model_id and bucket_start_ts (UTC).
    """
    starts, learned = epoch_us(scored["bucket_start_ts"]), np.ones(len(scored), dtype=bool)
    for model_id in scored["model_id"].unique():
        made = find_time_made(home, str(model_id))
        if made is not None:
            mine = (scored["model_id"] == model_id).to_numpy()
            learned[mine] = starts[mine] < to_epoch_us(made + timedelta(minutes=NEIGHBORHOOD_MINUTES))
    return learned


def _find_provenances(scores: pd.DataFrame, gold: pd.DataFrame, labeled: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    """Returns the provenance of the span that gave each labeled window its label, else None, shape (rows,).

    A window on which spans of several provenances lie has the first of them by name.
    """
    found = np.full(len(scores), None, dtype=object)
    if not labeled.any():
        return found
    users = [str(user) for user in scores["user_id"].cat.categories]
    placed = place_spans(gold, users)
    # each span alone, with the end that it has among all of them
    alone = gold.iloc[placed.row].assign(
        end_us=placed.end, extend_forward=False, user_id=np.array(users, dtype=object)[placed.user].astype(str)
    )
    keys = scores[["user_id", "bucket_start_ts"]]
    for provenance in sorted(alone["provenance"].unique(), reverse=True):
        touching = project_blocks_to_windows(keys, alone[alone["provenance"] == provenance]).touching > 0
        found[labeled & touching] = provenance
    return found


def is_labeled(joined: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Returns True for each window that has a gold label, shape (rows,)."""
    return joined["true"].to_numpy() != NO_LABEL
