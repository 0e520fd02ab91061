"""What would change for a person: where a challenger says something else than the champion about the last days, labelled or not.

Which of the two is right is not asked here; labelled windows are compared in `comparison`.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, LABELS, REJECTED_LABEL, WINDOW_SECONDS, SchemaVersion
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.evaluation.confusion import N_LABELS, apply_reject
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import NoWindowsError, UnreadableFileError
from taskclf_dagster.home import Home

PREVIEW_DAYS = 7


LARGEST_BLOCKS = 10


BATCH_ROWS = 20_000


NAMES = (*LABELS, REJECTED_LABEL)
"""What each predicted code is called, that of a rejected window last."""


_Int = npt.NDArray[np.int64]


_KEYS = ["user_id", "bucket_start_ts"]


_MINUTE_US = WINDOW_SECONDS * 1_000_000


class RelabelledPair(Record):
    """Minutes that the champion gives one label and the challenger another."""

    champion_label: str
    challenger_label: str
    minutes: int


class ChangedBlock(Record):
    """Consecutive minutes of one user that all go from the same champion label to the same challenger label.

    Attributes:
        start: start of the first window (UTC).
        end: end of the last window (exclusive, UTC).
    """

    user_id: str
    start: datetime
    end: datetime
    minutes: int
    champion_label: str
    challenger_label: str


class PredictionDiff(Record):
    """What the challenger would say differently from the champion; a rejected window counts as the label Mixed/Unknown.

    Attributes:
        windows: minutes that both models scored.
        relabelled: of them, minutes with another label.
        unscored: minutes that only one of the two models' schema versions has.
        by_label: relabelled minutes by pair of labels, the most frequent first.
        by_user: relabelled minutes by user and the challenger's label; users without any are left out.
        largest_blocks: the ten longest, the longest first; of equals the earlier first, then by user.
        days: length of the time looked at, from start (inclusive) to end (exclusive).
        detail: one sentence for a person.
    """

    windows: int
    relabelled: int
    unscored: int
    by_label: list[RelabelledPair]
    by_user: dict[str, dict[str, int]]
    largest_blocks: list[ChangedBlock]
    days: int
    start: datetime
    end: datetime
    detail: str


def diff_predictions(
    home: Home, challenger: LoadedModel, champion: LoadedModel, *, as_of: datetime, num_threads: int, days: int = PREVIEW_DAYS
) -> PredictionDiff | None:
    """Lets both models label every window recorded in the last days, each from the partitions of its own schema version.

    Windows are matched by user and time; v2 windows, which have one implicit user, belong to the user of the other version where that
    has exactly one.

    Args:
        home: the taskclf home.
        challenger: the new model.
        champion: the model that runs.
        as_of: end of the time looked at, exclusive.
        num_threads: for prediction.
        days: how many days before as_of.

    Returns:
        None where one of the versions has no windows in this time, or its files cannot be read or break the data contract.
    """
    end = as_of.astimezone(UTC)
    scored: dict[SchemaVersion, pd.DataFrame] = {}
    for version in dict.fromkeys((champion.schema.version, challenger.schema.version)):
        models = {role: model for role, model in (("champion", champion), ("challenger", challenger)) if model.schema.version == version}
        rows = _score_windows(home, version, models, start=end - timedelta(days=days), end=end, num_threads=num_threads)
        if rows is None:
            return None
        scored[version] = rows
    rows, unscored = _match(scored)
    said = {role: rows[role].to_numpy() for role in ("champion", "challenger")}
    return summarize_diff(rows[_KEYS], said["champion"], said["challenger"], unscored=unscored, days=days, end=end)


def summarize_diff(
    rows: pd.DataFrame, champion_predicted: _Int, challenger_predicted: _Int, *, unscored: int, days: int, end: datetime
) -> PredictionDiff:
    """Counts what two models say differently about the same windows.

    Args:
        rows: user_id (category) and bucket_start_ts (UTC) of each window, once each, in any order.
        champion_predicted: code of the champion's label, shape (n,), REJECTED where it gives none.
        challenger_predicted: that of the challenger, shape (n,).
        unscored: minutes that only one of the models could score.
        days: length of the time looked at.
        end: its end (exclusive).
    """
    users, minute = rows["user_id"].cat.codes.to_numpy().astype(np.int64), epoch_us(rows["bucket_start_ts"]) // _MINUTE_US
    order = np.lexsort((minute, users))
    users, minute = users[order], minute[order]
    old, new = np.asarray(champion_predicted)[order].astype(np.int64), np.asarray(challenger_predicted)[order].astype(np.int64)
    changed = old != new
    names = [str(name) for name in rows["user_id"].cat.categories]
    by_label = _count_pairs(old[changed], new[changed])
    start = end - timedelta(days=days)
    return PredictionDiff(
        windows=len(rows),
        relabelled=int(changed.sum()),
        unscored=unscored,
        by_label=by_label,
        by_user=_count_users(names, users[changed], new[changed]),
        largest_blocks=_largest_blocks(names, users[changed], minute[changed], old[changed], new[changed]),
        days=days,
        start=start,
        end=end,
        detail=_describe(len(rows), int(changed.sum()), unscored, by_label, start, end),
    )


def _score_windows(
    home: Home, version: SchemaVersion, models: dict[str, LoadedModel], *, start: datetime, end: datetime, num_threads: int
) -> pd.DataFrame | None:
    """The windows of one schema version with what each of the models says: user_id, bucket_start_ts and a code by role."""
    try:
        reading = read_windows(home, start=start, end=end, schema_version=version, skip_unreadable_days=True)
    except (NoWindowsError, UnreadableFileError):
        return None
    frame = reading.frame
    if frame is None or reading.violations or frame.empty:
        return None
    said = {role: _say(model, frame, num_threads=num_threads) for role, model in models.items()}
    return frame[_KEYS].assign(**said)


def _say(model: LoadedModel, rows: pd.DataFrame, *, num_threads: int) -> _Int:
    """The code of what a model says about each row, shape (n,); in batches, since the input matrix is as large as the rows."""
    batches = (rows.iloc[first : first + BATCH_ROWS] for first in range(0, len(rows), BATCH_ROWS))
    return np.concatenate([apply_reject(model.predict_rows(batch, num_threads=num_threads), model.reject_threshold) for batch in batches])


def _match(scored: dict[SchemaVersion, pd.DataFrame]) -> tuple[pd.DataFrame, int]:
    """The windows that every version has, with what both models say, and how many windows only one version has."""
    if len(scored) == 1:
        return next(iter(scored.values())), 0
    if "v2" in scored:
        users = next(rows for version, rows in scored.items() if version != "v2")["user_id"].unique()
        if len(users) == 1:
            named = scored["v2"]["user_id"].cat.rename_categories({DEFAULT_USER: users[0]})
            scored = {**scored, "v2": scored["v2"].assign(user_id=named)}
    one, other = scored.values()
    shared, here, there = np.intersect1d(hash_row_keys(one), hash_row_keys(other), assume_unique=True, return_indices=True)
    rows = one.take(here).reset_index(drop=True)
    said = other.drop(columns=_KEYS).take(there).reset_index(drop=True)
    return pd.concat([rows, said], axis=1), len(one) + len(other) - 2 * len(shared)


def _count_pairs(old: _Int, new: _Int) -> list[RelabelledPair]:
    count = np.bincount(old * (N_LABELS + 1) + new, minlength=(N_LABELS + 1) ** 2)
    order = np.argsort(-count, kind="stable")
    pairs = [(*divmod(int(pair), N_LABELS + 1), int(count[pair])) for pair in order if count[pair]]
    return [RelabelledPair(champion_label=NAMES[i], challenger_label=NAMES[j], minutes=minutes) for i, j, minutes in pairs]


def _count_users(names: list[str], users: _Int, new: _Int) -> dict[str, dict[str, int]]:
    table = np.bincount(users * (N_LABELS + 1) + new, minlength=len(names) * (N_LABELS + 1)).reshape(len(names), N_LABELS + 1)
    return {names[i]: {NAMES[j]: int(table[i, j]) for j in np.flatnonzero(table[i])} for i in np.flatnonzero(table.any(axis=1))}


def _largest_blocks(names: list[str], users: _Int, minute: _Int, old: _Int, new: _Int) -> list[ChangedBlock]:
    """The longest blocks among changed windows sorted by user and time."""
    begins = np.ones(len(users), dtype=bool)
    begins[1:] = (np.diff(users) != 0) | (np.diff(minute) != 1) | (np.diff(old) != 0) | (np.diff(new) != 0)
    first = np.flatnonzero(begins)
    length = np.diff(first, append=len(users))
    rank = np.argsort(np.argsort(np.array(names, dtype=object)))  # codes need not be in the order of the names
    order = np.lexsort((rank[users[first]], minute[first], -length))[:LARGEST_BLOCKS]
    blocks = []
    for position in order:
        row, minutes = first[position], int(length[position])
        start = pd.Timestamp(int(minute[row]) * _MINUTE_US, unit="us", tz="UTC").to_pydatetime()
        blocks.append(
            ChangedBlock(
                user_id=names[users[row]],
                start=start,
                end=start + minutes * timedelta(seconds=WINDOW_SECONDS),
                minutes=minutes,
                champion_label=NAMES[old[row]],
                challenger_label=NAMES[new[row]],
            )
        )
    return blocks


def _describe(windows: int, relabelled: int, unscored: int, by_label: list[RelabelledPair], start: datetime, end: datetime) -> str:
    span = f"From {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    rest = f"; {unscored} more minutes have features for one of the models only" if unscored else ""
    if not windows:
        return f"{span} the two models have no minute in common{rest}."
    if not relabelled:
        return f"{span} the challenger says the same as the champion in all {windows} minutes{rest}."
    most, share = by_label[0], relabelled / windows
    pair = f"{most.champion_label} to {most.challenger_label}, {most.minutes}"
    return f"{span} the challenger would relabel {relabelled} of {windows} minutes ({share:.1%}), most often from {pair}{rest}."
