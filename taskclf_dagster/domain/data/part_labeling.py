"""Labels the windows of one part: what is done with each part alone, in this process or on a worker. Nothing here is counted over parts.

Joined and counted in `labeling`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS, WINDOW_SECONDS
from taskclf_dagster.domain.data.frame_parts import choose_rows
from taskclf_dagster.domain.data.label_fates import FateCounter, PartFates
from taskclf_dagster.domain.data.label_projection import Projection, SpanProjector, UnlabeledReason
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.data.window_parts import OneFrame, WindowParts


class LabeledPart(NamedTuple):
    """The windows of a part that have a label, and counts of all its windows.

    Attributes:
        labeled: as `LabelingResult.frame`; None if the data contract is violated.
        duplicates: number of windows left out because they came again.
        users: number of windows by user.
        class_counts: number of labeled windows by tier (gold, weak) and label.
        unlabeled: number of windows without a label, by reason.
        fates: of the label spans of its users.
    """

    labeled: pd.DataFrame | None
    duplicates: int
    users: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    unlabeled: dict[UnlabeledReason, int]
    fates: PartFates | None


@dataclass(frozen=True)
class PartLabeler:
    """All that is needed to label any part; labeling changes nothing in it.

    Attributes:
        parts: the windows.
        projector: the label spans.
        fates: finds the fates of the spans.
        gold_numbers: see `SpanProjector.project`.
        is_valid: False if the data contract is violated, so that windows are counted only.
    """

    parts: OneFrame | WindowParts
    projector: SpanProjector
    fates: FateCounter
    gold_numbers: int
    is_valid: bool


def label_part(number: int, *, labeler: PartLabeler) -> LabeledPart:
    """Labels the windows of a part."""
    windows, duplicates = labeler.parts.load(number)
    projection = labeler.projector.project(windows, labeler.gold_numbers)
    counts = windows["user_id"].value_counts(sort=False)
    return LabeledPart(
        labeled=_attach(windows, projection) if labeler.is_valid else None,
        duplicates=duplicates,
        users={str(user): int(n) for user, n in counts[counts > 0].items()},
        class_counts={tier: _count_labels(projection, gold=gold) for tier, gold in (("gold", True), ("weak", False))},
        unlabeled=projection.unlabeled,
        fates=labeler.fates.find_fates(windows, projection),
    )


def load_recent(number: int, *, parts: OneFrame | WindowParts, since: int) -> pd.DataFrame:
    """Returns the windows of a part that start at or after a time [microseconds since 1970]."""
    windows = parts.load(number, since=since)[0]
    windows = choose_rows(windows, epoch_us(windows["bucket_start_ts"]) >= since)
    return _drop_unused_categories(windows) if isinstance(parts, OneFrame) else windows


def _count_labels(projection: Projection, *, gold: bool) -> dict[str, int]:
    chosen = projection.label[(projection.label >= 0) & (projection.gold == gold)]
    return dict(zip(LABELS, np.bincount(chosen, minlength=len(LABELS)).tolist(), strict=True))


def _drop_unused_categories(windows: pd.DataFrame) -> pd.DataFrame:
    texts = (column for column in windows.columns if isinstance(windows[column].dtype, pd.CategoricalDtype))
    return windows.assign(**{column: windows[column].cat.remove_unused_categories() for column in texts})


def _attach(frame: pd.DataFrame, projection: Projection) -> pd.DataFrame:
    """Returns the labeled rows of the frame with label, gold, span and session_seconds."""
    session_seconds = _session_seconds(frame)
    rows = np.flatnonzero(projection.label >= 0)
    labels = pd.DataFrame(
        {
            "label": pd.Categorical.from_codes(projection.label[rows], categories=list(LABELS)),
            "gold": projection.gold[rows],
            "span": projection.span[rows],
            "session_seconds": session_seconds[rows],
        }
    )
    return pd.concat([frame.take(rows).reset_index(drop=True), labels], axis=1)


def _session_seconds(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Returns the length of each window's session [s], from its first window's start to its last window's end, labeled or not."""
    users, sessions = frame["user_id"].cat, frame["session_id"].cat
    owner, _ = pd.factorize(users.codes.to_numpy().astype(np.int64) * (len(sessions.categories) + 1) + sessions.codes.to_numpy())
    starts = epoch_us(frame["bucket_start_ts"])
    first = np.full(owner.max(initial=-1) + 1, np.iinfo(np.int64).max)
    last = np.full(owner.max(initial=-1) + 1, np.iinfo(np.int64).min)
    np.minimum.at(first, owner, starts)
    np.maximum.at(last, owner, starts)
    return (last - first)[owner] / 1e6 + WINDOW_SECONDS
