"""Scores the windows of a UTC day with the active model and keeps them: what taskclf would have said, with the model that said it.

Scores of a day are those of one model. How windows are scored is in `evaluation.window_scores`, the format of the file in `score_files`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from taskclf_dagster.domain.data.day_folders import day_of
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.parquet_files import may_exist, reading_parquet
from taskclf_dagster.domain.data.windows import read_windows_of_time
from taskclf_dagster.domain.evaluation.confusion import OUTCOMES
from taskclf_dagster.domain.evaluation.window_scores import ScoreQuality, score_windows
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.monitoring.score_files import CHAMPION, DEFAULTS, ROLE, SCORE_COLUMNS, SCORES_OF_DAY, SERVED, scores_path
from taskclf_dagster.domain.monitoring.score_marks import clear_marks, count_served, marks_agree
from taskclf_dagster.domain.registry.active_model import find_user_thresholds
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import hash_file, list_folders
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.domain.storage.stored_files import StoredFile, store_file, to_parquet
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

_TYPES = {
    "model_id": pa.string(),
    "bundle_hash": pa.string(),
    "pointer_sequence": pa.int64(),
    "policy_hash": pa.string(),
    ROLE: pa.string(),
}

_FIX = "Score the day again, with replace"


class ServedElsewhere(NamedTuple):
    """The windows of a day that a contender serves.

    Attributes:
        windows: True for each of them, shape (n,).
        path: the file with their scores, which was written; None if the contender serves none of the day.
    """

    windows: npt.NDArray[np.bool_]
    path: Path | None


ServeDay = Callable[[date, pd.DataFrame, datetime], ServedElsewhere]
"""Takes a day, its windows and the time up to which they are scored, and scores them with a contender."""


@dataclass(frozen=True)
class ScoringModel:
    """The active model as it was found once, for everything that one run scores.

    Attributes:
        model: the loaded model, with the reject threshold in force; None if there is none, or none that loads.
        model_id: empty without a model.
        bundle_hash: hash of the names and hashes of its files.
        pointer_sequence: number of the history record that set the pointer; None if none of ours did.
        policy_hash: SHA-256 of the inference policy; None without one.
        user_thresholds: reject thresholds that the policy has for single users.
        is_broken: True if a model is named, and none loads.
        reason: how it was found, or why there is none.
        warnings: what a person should know about it.
    """

    model: LoadedModel | None
    model_id: str
    bundle_hash: str
    pointer_sequence: int | None
    policy_hash: str | None
    user_thresholds: Mapping[str, float]
    is_broken: bool
    reason: str
    warnings: tuple[str, ...]


Outcome = Literal["scored", "kept", "no_windows", "unreadable"]
"""kept: the day was over when it was scored, and has as many windows as then, so that its scores stay those of that time.
unreadable: its windows cannot be read, or violate the data contract; scores of earlier runs stay."""


class DayScores(Record):
    """The scores of one UTC day, as they were read back from their file.

    Attributes:
        as_of: the time up to which windows were scored.
        stored: the file; None without windows.
        model_ids: the models in the file.
        windows: number of windows of the day.
        missing: of them those that have no score in the file.
        served: number of windows by the model whose score is served.
        quality: figures of the scores; None without windows.
        reason: the reason if it is unreadable; empty otherwise.
    """

    day: date
    outcome: Outcome
    as_of: datetime
    stored: StoredFile | None = None
    model_ids: tuple[str, ...] = ()
    windows: int = 0
    missing: int = 0
    served: dict[str, int] = Field(default_factory=dict)
    quality: ScoreQuality | None = None
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """True if the day was over when it was scored."""
        return self.as_of >= end_of(self.day)


def find_scoring_model(home: Home, keys: Keys = NO_KEYS) -> ScoringModel:
    """Finds the active model as taskclf runs it, and loads it; never raises for what is in the home."""
    state = read_registry_state(home, keys)
    found = resolve_active_model(state)
    model = found.model
    return ScoringModel(
        model=model,
        model_id="" if model is None else model.bundle.model_id,
        bundle_hash="" if model is None else json_hash(model.files.hashes()),
        pointer_sequence=state.sequence or None,
        policy_hash=state.digests.policy,
        user_thresholds={} if model is None else find_user_thresholds(state, model.bundle.model_id),
        is_broken=found.state not in ("ok", "none"),
        reason=found.reason,
        warnings=tuple(found.warnings),
    )


def list_scored_days(home: Home) -> dict[date, Path]:
    """Returns the files of scores by UTC day, the oldest first; folders that are no day are passed over."""
    folders = {day: path for path in list_folders(home.scores) if (day := day_of(path)) is not None}
    return {day: folders[day] / SCORES_OF_DAY for day in sorted(folders)}


def score_day(
    home: Home,
    day: date,
    scorer: ScoringModel,
    model: LoadedModel,
    *,
    as_of: datetime,
    num_threads: int,
    replace: bool = False,
    serve: ServeDay | None = None,
) -> DayScores:
    """Scores the windows of a UTC day and writes `artifacts/scores/date=YYYY-MM-DD/scores.parquet`.

    Args:
        home: the taskclf home.
        day: the day.
        scorer: the active model as it was found.
        model: the loaded model of it.
        as_of: windows that end later are left out.
        num_threads: of LightGBM.
        replace: score the day again also if its scores are complete.
        serve: scores the day with a contender, which may serve a part of it; None if the model serves all.

    Raises:
        DataContractError: the windows violate the data contract.
        UnreadableFileError: the file of the windows cannot be read.
    """
    end = min(end_of(day), as_of)
    rows = read_windows_of_time(home, start=end_of(day) - timedelta(days=1), end=end, schema_version=model.schema.version)
    path = scores_path(home, day)
    if not replace and len(rows) and is_scored(path, day, windows=len(rows)):
        return _read_back(home, day, rows)
    if rows.empty:
        return DayScores(day=day, outcome="no_windows", as_of=end)
    source = {
        "model_id": scorer.model_id,
        "bundle_hash": scorer.bundle_hash,
        "pointer_sequence": scorer.pointer_sequence,
        "policy_hash": scorer.policy_hash,
        ROLE: CHAMPION,
    }
    scores = score_windows(model, rows, num_threads=num_threads, user_thresholds=scorer.user_thresholds)
    elsewhere = ServedElsewhere(np.zeros(len(rows), dtype=bool), None) if serve is None else serve(day, rows, end)
    clear_marks(path.parent, keep=elsewhere.path)
    store_file(home.root, path, make_scores_file(scores.assign(**{SERVED: ~elsewhere.windows}), source, end))  # last: see score_marks
    return _read_back(home, day, rows).model_copy(update={"outcome": "scored"})


def end_of(day: date) -> datetime:
    """Returns the first moment after a UTC day."""
    return datetime.combine(day, time(), tzinfo=UTC) + timedelta(days=1)


def read_day_scores(path: Path) -> pd.DataFrame:
    """Reads the scores of a day for the checks of what was written, whatever their values are; `score_files` checks these as well.

    Raises:
        UnreadableFileError: the file is missing, no parquet, or has other columns.
    """
    with reading_parquet(path, fix=_FIX):
        frame = pq.read_table(path, partitioning=None, use_threads=False).to_pandas()
    lacking = [name for name in SCORE_COLUMNS if name not in frame.columns and name not in DEFAULTS]
    if lacking or frame.empty:
        raise UnreadableFileError(path, f"it has no {', '.join(lacking)}" if lacking else "it has no rows", _FIX)
    labels = {name: pd.Categorical(frame[name], categories=list(OUTCOMES)) for name in ("top_label", "label", "smoothed_label")}
    return frame.assign(**labels).astype({"user_id": "category", "session_id": "category"})


def is_scored(path: Path, day: date, *, windows: int | None = None) -> bool:
    """Returns True if `scores.parquet` of a day was made after its end, and each of its windows is served once; see `was_scored_after`."""
    return was_scored_after(path, end_of(day), windows=windows) and marks_agree(path.parent)


def was_scored_after(path: Path, moment: datetime, *, windows: int | None = None) -> bool:
    """Returns True if a file has scores that were made at or after a moment; False if it cannot be read.

    Args:
        path: the file.
        moment: with a time zone.
        windows: the number of windows that it must have; None for any.
    """
    if not may_exist(path):
        return False
    try:
        with reading_parquet(path, fix=_FIX):
            table = pq.read_table(path, columns=["as_of"], partitioning=None, use_threads=False)
            made = pc.min(table["as_of"]).as_py()
    except (UnreadableFileError, LookupError):
        return False
    return windows in (None, len(table)) and made is not None and made >= moment


def _read_back(home: Home, day: date, rows: pd.DataFrame) -> DayScores:
    """Returns the record of a file, which is read."""
    path = scores_path(home, day)
    scores = read_day_scores(path)
    found = np.isin(hash_row_keys(rows), hash_row_keys(scores))
    own = scores.loc[scores[SERVED].to_numpy(dtype=bool), "model_id"] if SERVED in scores else scores["model_id"]
    return DayScores(
        day=day,
        outcome="kept",
        as_of=scores["as_of"].min().to_pydatetime(),
        stored=StoredFile(path=path.relative_to(home.root).as_posix(), sha256=hash_file(path)),
        model_ids=tuple(sorted(scores["model_id"].astype(str).unique())),
        windows=len(rows),
        missing=int((~found).sum()),
        served={**{str(name): int(n) for name, n in own.value_counts().items() if n}, **count_served(path.parent)},
        quality=ScoreQuality.of(scores),
    )


def make_scores_file(scores: pd.DataFrame, source: Mapping[str, object], as_of: datetime) -> bytes:
    """Returns the scores, with the marks of those that are served, as parquet, with the model and its role in columns of one value each."""
    table = pa.Table.from_pandas(scores, preserve_index=False)
    for name, value in source.items():
        column = pa.repeat(pa.scalar(value, type=_TYPES[name]), len(table))
        table = table.append_column(name, column.dictionary_encode() if _TYPES[name] == pa.string() else column)
    table = table.append_column("as_of", pa.repeat(pa.scalar(as_of, type=pa.timestamp("us", tz="UTC")), len(table)))
    return to_parquet(table.replace_schema_metadata(None).select(list(SCORE_COLUMNS)))
