"""Scores the days of challengers on trial, each in a file beside that of the active model. taskclf never reads them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from taskclf_dagster.domain.data.day_folders import list_days
from taskclf_dagster.domain.decision.trial import TrialRecord, list_trials
from taskclf_dagster.domain.evaluation.window_scores import score_windows
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_files import read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import require_bundle
from taskclf_dagster.domain.monitoring.day_scores import end_of, make_scores_file, read_day_windows, was_scored_after
from taskclf_dagster.domain.monitoring.score_files import CONTENDER, ROLE, contender_scores_path
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.domain.storage.stored_files import store_file
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home


class ContenderScores(Record):
    """The days that one run scored with a challenger on trial.

    Attributes:
        days: those that were scored now; complete ones keep their scores.
        problem: why not every day could be scored; empty if it could.
    """

    model_id: str
    days: tuple[date, ...]
    problem: str = ""


def score_contenders(home: Home, days: Sequence[date], *, as_of: datetime, num_threads: int) -> tuple[ContenderScores, ...]:
    """Scores the days of a run, and those since the start of its trial that wait, with each challenger on trial.

    A challenger has its own reject threshold and no calibrators, as right after a promotion. What goes wrong with one stops no other.

    Args:
        home: the taskclf home.
        days: UTC days that the active model scores.
        as_of: windows that end later are left out.
        num_threads: of LightGBM.
    """
    return tuple(_score(home, trial, days, as_of, num_threads) for trial in list_trials(home)[0] if trial.is_open)


def _score(home: Home, trial: TrialRecord, days: Sequence[date], as_of: datetime, num_threads: int) -> ContenderScores:
    scored = list[date]()
    try:
        model = load_bundle(read_bundle_files(require_bundle(home, trial.model_id)))
        for day in _choose_days(home, trial, model, days, as_of):
            if _score_day(home, day, model, as_of, num_threads):
                scored.append(day)
    except TaskclfDagsterError as error:
        return ContenderScores(model_id=trial.model_id, days=tuple(scored), problem=str(error))
    return ContenderScores(model_id=trial.model_id, days=tuple(scored))


def _choose_days(home: Home, trial: TrialRecord, model: LoadedModel, days: Sequence[date], as_of: datetime) -> list[date]:
    """Returns the days from the start of the trial that have windows and no scores from after their end."""
    first, last = trial.started_at.astimezone(UTC).date(), as_of.astimezone(UTC).date()
    since = [day for day in list_days(home, model.schema.version) if first <= day <= last]
    paths = {day: contender_scores_path(home, day, trial.model_id) for day in sorted({*since, *days}) if first <= day}
    return [day for day, path in paths.items() if not was_scored_after(path, end_of(day))]


def _score_day(home: Home, day: date, model: LoadedModel, as_of: datetime, num_threads: int) -> bool:
    end = min(end_of(day), as_of)
    rows = read_day_windows(home, model, end_of(day) - timedelta(days=1), end)
    if rows.empty:
        return False
    source = {
        "model_id": model.bundle.model_id,
        "bundle_hash": json_hash(model.files.hashes()),
        "pointer_sequence": None,
        "policy_hash": None,
        ROLE: CONTENDER,
    }
    path = contender_scores_path(home, day, model.bundle.model_id)
    store_file(home.root, path, make_scores_file(score_windows(model, rows, num_threads=num_threads), source, end))
    return True
