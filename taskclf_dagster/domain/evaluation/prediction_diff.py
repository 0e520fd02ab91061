"""The prediction diff: the windows of the last days, labeled or not, that challenger and champion predict differently.

It does not judge which of the two is right; labeled windows are compared in `comparison`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, SCHEMAS, WINDOW_SECONDS, SchemaVersion
from taskclf_dagster.domain.data.frame_parts import Rows, as_parts, iterate_parts, join_frames
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.recent_windows import RECENT_DAYS, RecentWindows, open_recent_windows
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.evaluation.confusion import OUTCOMES
from taskclf_dagster.domain.evaluation.predictions import summarize_probabilities
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.domain.storage.stored_files import StoredFile, read_stored_file, store_file, to_parquet
from taskclf_dagster.errors import NoWindowsError, SnapshotError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

LARGEST_BLOCKS = 10


BATCH_ROWS = 20_000


N_CODES = len(OUTCOMES)


_Int = npt.NDArray[np.int64]


_KEYS = ["user_id", "bucket_start_ts"]


_COLUMNS = [*_KEYS, "session_id", "predicted", "best", "confidence"]


_VERSION = b"schema_version"


_MINUTE_US = WINDOW_SECONDS * 1_000_000


class RelabelledPair(Record):
    """Number of minutes that the champion predicts as one label and the challenger as another."""

    champion_label: str
    challenger_label: str
    minutes: int


class ChangedBlock(Record):
    """Consecutive minutes of one user with the same champion label and the same other challenger label.

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
    """The windows that both models predict differently; a rejected window counts as the label Mixed/Unknown.

    Attributes:
        windows: minutes that both models scored.
        relabelled: of them, minutes with another label.
        unscored: minutes that only one of the two models' schema versions has.
        by_label: relabelled minutes by pair of labels, the most frequent first.
        by_user: relabelled minutes by user and the challenger's label; users without any are left out.
        largest_blocks: the ten longest, the longest first; of equals the earlier first, then by user.
        days: length of the time looked at, from start (inclusive) to end (exclusive).
        summary: the counts in one sentence.
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
    summary: str


@dataclass(frozen=True)
class RecentPredictions:
    """The predictions of one model on every window of the last days, labelled or not.

    Attributes:
        version: schema version of the model, and so of the partitions that the windows are from.
        rows: of each window user_id and session_id (category), bucket_start_ts (UTC), predicted (class index, REJECTED below the
            threshold), best (class index of the largest probability) and confidence (that probability); sorted by user and time.
    """

    version: SchemaVersion
    rows: pd.DataFrame


def predict_recent_windows(
    home: Home,
    model: LoadedModel,
    *,
    as_of: datetime,
    num_threads: int,
    days: int = RECENT_DAYS,
    stored: RecentWindows | None = None,
    known: pd.DataFrame | None = None,
) -> RecentPredictions | None:
    """Predicts every window of the last days, with the features of the model's own schema version.

    Args:
        home: the taskclf home.
        model: the model.
        as_of: end of the range, exclusive.
        num_threads: of LightGBM.
        days: length of the range before as_of.
        stored: the recent windows that the run read; the partitions of the model's version are read without it, or if it is of another
            version.
        known: what the model said about some windows already, as `Score.confidences`; they are not predicted again.

    Returns:
        None if the version has no windows in the range, or its files cannot be read or violate the data contract.
    """
    version = model.schema.version
    windows: Rows | None = open_recent_windows(home, stored) if stored is not None and stored.schema_version == version else None
    if windows is None:
        windows = _read_recent_windows(home, as_of.astimezone(UTC), version, days)
    if windows is None or not sum(as_parts(windows).sizes):
        return None
    said = []
    for part in iterate_parts(windows):
        predicted = _predict(model, part, known, num_threads=num_threads)
        said.append(pd.concat([part[[*_KEYS, "session_id"]].reset_index(drop=True), predicted], axis=1))
    rows = join_frames(said)
    texts = {column: rows[column].cat.remove_unused_categories() for column in ("user_id", "session_id")}
    return RecentPredictions(version, rows.assign(**texts))  # so that its file does not depend on the parts


def _read_recent_windows(home: Home, end: datetime, version: SchemaVersion, days: int) -> pd.DataFrame | None:
    try:
        reading = read_windows(home, start=end - timedelta(days=days), end=end, schema_version=version, skip_unreadable_days=True)
    except (NoWindowsError, UnreadableFileError):
        return None
    return None if reading.violations else reading.frame


def save_recent_predictions(root: Path, path: Path, recent: RecentPredictions) -> StoredFile:
    """Writes recent predictions as parquet; the schema version is in the metadata, `root` is the home."""
    table = pa.Table.from_pandas(recent.rows, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _VERSION: recent.version})
    return store_file(root, path, to_parquet(table))


def load_recent_predictions(root: Path, stored: StoredFile) -> RecentPredictions:
    """Reads what `save_recent_predictions` wrote; `root` is the home.

    Raises:
        UnreadableFileError: the file is missing or was changed.
        SnapshotError: it is not readable parquet, or was not written by `save_recent_predictions`.
    """
    path, content = root / stored.path, read_stored_file(root, stored)
    try:
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
        version = next(version for version in SCHEMAS if version.encode() == (table.schema.metadata or {}).get(_VERSION))
        return RecentPredictions(version, table.to_pandas()[_COLUMNS])
    except (pa.ArrowException, OSError, LookupError, StopIteration) as error:
        raise SnapshotError(path, str(error).strip().split("\n")[0] or "it has no predictions") from error


def diff_predictions(
    challenger: RecentPredictions, champion: RecentPredictions, *, as_of: datetime, days: int = RECENT_DAYS
) -> PredictionDiff:
    """Compares what both models predict for the windows of the last days.

    Windows are matched by user and time; v2 windows, which have one implicit user, belong to the user of the other version where that
    has exactly one.

    Args:
        challenger: its predictions.
        champion: its predictions.
        as_of: end of the range, exclusive.
        days: length of the range before as_of.
    """
    rows, unscored = _match(champion, challenger)
    said = {role: rows[role].to_numpy() for role in ("champion", "challenger")}
    return summarize_diff(rows[_KEYS], said["champion"], said["challenger"], unscored=unscored, days=days, end=as_of.astimezone(UTC))


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
        summary=_describe(len(rows), int(changed.sum()), unscored, by_label, start, end),
    )


def _predict(model: LoadedModel, rows: pd.DataFrame, known: pd.DataFrame | None, *, num_threads: int) -> pd.DataFrame:
    """Returns predicted, best and confidence of each row; in batches, since the input matrix is as large as the rows."""
    keys = pd.Index(hash_row_keys(rows))
    found = [] if known is None else [known.set_index("key").loc[lambda said: said.index.isin(keys)]]
    unknown = np.flatnonzero(~keys.isin(found[0].index)) if found else np.arange(len(rows))
    for first in range(0, len(unknown), BATCH_ROWS):
        batch = unknown[first : first + BATCH_ROWS]
        likely = model.predict_rows(rows.iloc[batch], num_threads=num_threads)
        found.append(summarize_probabilities(likely, model.reject_threshold).set_index(keys[batch]))
    return pd.concat(found).loc[keys].reset_index(drop=True)


class MatchedPredictions(NamedTuple):
    """The predictions of two models, with the positions of the windows that both predicted.

    Attributes:
        one, other: the rows of each model.
        in_one, in_other: positions of the windows that both predicted, each of shape (shared,).
    """

    one: pd.DataFrame
    other: pd.DataFrame
    in_one: npt.NDArray[np.intp]
    in_other: npt.NDArray[np.intp]


def match_predictions(one: RecentPredictions, other: RecentPredictions) -> MatchedPredictions:
    """Matches the windows of two models by user and time; the implicit user of v2 gets the name of the other version's only user."""
    first, second = _name_implicit_user(one, other), _name_implicit_user(other, one)
    _, here, there = np.intersect1d(hash_row_keys(first), hash_row_keys(second), assume_unique=True, return_indices=True)
    return MatchedPredictions(first, second, here, there)


def _match(champion: RecentPredictions, challenger: RecentPredictions) -> tuple[pd.DataFrame, int]:
    """Returns the windows that both models predicted, with both codes, and the number of windows that only one of them has."""
    one, other, here, there = match_predictions(champion, challenger)
    rows = one.take(here).reset_index(drop=True).rename(columns={"predicted": "champion"})
    return rows.assign(challenger=other["predicted"].to_numpy()[there]), len(one) + len(other) - 2 * len(here)


def _name_implicit_user(own: RecentPredictions, other: RecentPredictions) -> pd.DataFrame:
    """Returns the rows of a model; those of v2, which have one implicit user, with the only user of another version."""
    users = other.rows["user_id"].unique()
    if own.version != "v2" or other.version == "v2" or len(users) != 1:
        return own.rows
    return own.rows.assign(user_id=own.rows["user_id"].cat.rename_categories({DEFAULT_USER: users[0]}))


def _count_pairs(old: _Int, new: _Int) -> list[RelabelledPair]:
    count = np.bincount(old * N_CODES + new, minlength=N_CODES**2)
    order = np.argsort(-count, kind="stable")
    pairs = [(*divmod(int(pair), N_CODES), int(count[pair])) for pair in order if count[pair]]
    return [RelabelledPair(champion_label=OUTCOMES[i], challenger_label=OUTCOMES[j], minutes=minutes) for i, j, minutes in pairs]


def _count_users(names: list[str], users: _Int, new: _Int) -> dict[str, dict[str, int]]:
    table = np.bincount(users * N_CODES + new, minlength=len(names) * N_CODES).reshape(len(names), N_CODES)
    return {names[i]: {OUTCOMES[j]: int(table[i, j]) for j in np.flatnonzero(table[i])} for i in np.flatnonzero(table.any(axis=1))}


def _largest_blocks(names: list[str], users: _Int, minute: _Int, old: _Int, new: _Int) -> list[ChangedBlock]:
    """Returns the longest blocks among changed windows sorted by user and time."""
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
                champion_label=OUTCOMES[old[row]],
                challenger_label=OUTCOMES[new[row]],
            )
        )
    return blocks


def _describe(windows: int, relabelled: int, unscored: int, by_label: list[RelabelledPair], start: datetime, end: datetime) -> str:
    span = f"From {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    rest = f"; {counted(unscored, 'more minute')} with features for one of the models only" if unscored else ""
    if not windows:
        return f"{span} the two models have no minute in common{rest}."
    if not relabelled:
        return f"{span} the challenger says the same as the champion in all {counted(windows, 'minute')}{rest}."
    most, share = by_label[0], relabelled / windows
    pair = f"{most.champion_label} to {most.challenger_label}, {most.minutes}"
    return f"{span} the challenger would relabel {relabelled} of {counted(windows, 'minute')} ({share:.1%}), most often from {pair}{rest}."
