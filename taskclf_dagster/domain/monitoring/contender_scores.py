"""Scores days with challengers on trial and with the model before one on probation, each in a file of its own that taskclf never reads."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from taskclf_dagster.domain.data.day_folders import list_days
from taskclf_dagster.domain.data.windows import read_windows_of_time
from taskclf_dagster.domain.decision.probation import list_probations
from taskclf_dagster.domain.decision.trial import list_trials
from taskclf_dagster.domain.evaluation.window_scores import score_windows
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_files import read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import require_bundle
from taskclf_dagster.domain.monitoring.day_scores import end_of, make_scores_file, was_scored_after
from taskclf_dagster.domain.monitoring.score_files import CONTENDER, PREVIOUS, ROLE, SERVED, contender_scores_path
from taskclf_dagster.domain.monitoring.score_marks import has_marks
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.domain.storage.stored_files import store_file
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home


class ContenderScores(Record):
    """The days that one run scored with a challenger on trial, or with the model before one on probation.

    Attributes:
        days: those that were scored now; complete ones keep their scores.
        problem: why not every day could be scored; empty if it could.
    """

    model_id: str
    days: tuple[date, ...]
    problem: str = ""


class _Beside(NamedTuple):
    """A model that scores days beside the active one, from a moment on."""

    model_id: str
    role: str
    since: datetime


def score_contenders(home: Home, days: Sequence[date], *, as_of: datetime, num_threads: int) -> tuple[ContenderScores, ...]:
    """Scores the days of a run, and those since its start that wait, with each challenger on trial and the model before one on probation.

    Each has its own reject threshold and no calibrators, as right after a promotion. What goes wrong with one stops no other.

    Args:
        home: the taskclf home.
        days: UTC days that the active model scores.
        as_of: windows that end later are left out.
        num_threads: of LightGBM.
    """
    beside = [_Beside(trial.model_id, CONTENDER, trial.started_at) for trial in list_trials(home)[0] if trial.is_open]
    beside += [_Beside(each.previous_id, PREVIOUS, each.promoted_at) for each in list_probations(home)[0] if each.is_open]
    return tuple(_score(home, each, days, as_of, num_threads) for each in beside)


def _score(home: Home, beside: _Beside, days: Sequence[date], as_of: datetime, num_threads: int) -> ContenderScores:
    scored = list[date]()
    try:
        model = load_bundle(read_bundle_files(require_bundle(home, beside.model_id)))
        for day in _choose_days(home, beside, model, days, as_of):
            if _score_day(home, day, model, beside.role, as_of, num_threads):
                scored.append(day)
    except TaskclfDagsterError as error:
        return ContenderScores(model_id=beside.model_id, days=tuple(scored), problem=str(error))
    return ContenderScores(model_id=beside.model_id, days=tuple(scored))


def _choose_days(home: Home, beside: _Beside, model: LoadedModel, days: Sequence[date], as_of: datetime) -> list[date]:
    """Returns the days since a model is beside the active one that have windows and no scores of now, or from after their end.

    A file with served windows is left to `day_scores`, which writes it together with that of the active model.
    """
    first, last = beside.since.astimezone(UTC).date(), as_of.astimezone(UTC).date()
    since = [day for day in list_days(home, model.schema.version) if first <= day <= last]
    paths = {day: contender_scores_path(home, day, beside.model_id, beside.role) for day in sorted({*since, *days}) if first <= day}
    return [day for day, path in paths.items() if not was_scored_after(path, min(end_of(day), as_of)) and not has_marks(path)]


def _score_day(home: Home, day: date, model: LoadedModel, role: str, as_of: datetime, num_threads: int) -> bool:
    end = min(end_of(day), as_of)
    rows = read_windows_of_time(home, start=end_of(day) - timedelta(days=1), end=end, schema_version=model.schema.version)
    if rows.empty:
        return False
    scores = score_windows(model, rows, num_threads=num_threads)
    write_beside(home, day, model, role, scores.assign(**{SERVED: False}), end)
    return True


def write_beside(home: Home, day: date, model: LoadedModel, role: str, scores: pd.DataFrame, as_of: datetime) -> Path:
    """Writes the scores of a day by a model beside the active one, with the marks of those that it serves, and returns the file."""
    source = {
        "model_id": model.bundle.model_id,
        "bundle_hash": json_hash(model.files.hashes()),
        "pointer_sequence": None,
        "policy_hash": None,
        ROLE: role,
    }
    path = contender_scores_path(home, day, model.bundle.model_id, role)
    store_file(home.root, path, make_scores_file(scores, source, as_of))
    return path
