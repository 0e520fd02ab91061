"""The settings that a challenger is trained with: as given, found by a search, or kept from an earlier one.

Choices are compared in `search`. Where an earlier choice is remembered is decided by the caller.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.data.snapshot_rows import StoredRows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.models.choice import Choice, present_choice
from taskclf_dagster.domain.models.fold_fits import FOLD_SPLITS, FoldFits
from taskclf_dagster.domain.models.learned_rows import open_splits
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.models.search import fit_with_reports, search_choices
from taskclf_dagster.domain.models.search_result import SearchResult
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.progress import Report
from taskclf_dagster.shown_text import counted


class ChosenSettings(Record):
    """The choice that a challenger was trained with, and how it came about.

    Attributes:
        choice: the settings.
        given: what the search began with; a choice is kept only while it is the same.
        searched_at: as-of time of the search that found the choice; None if none did.
        reason: how the choice came about, in one sentence.
        search: the search of this run; None if there was none.
    """

    choice: Choice
    given: dict[str, object]
    searched_at: datetime | None
    reason: str
    search: SearchResult | None


class Chosen(NamedTuple):
    """The settings to train with, and what their models on the folds predict.

    Attributes:
        settings: the settings.
        out_of_fold: predictions for the reject threshold; None if the search is off, which fits no folds.
    """

    settings: ChosenSettings
    out_of_fold: OutOfFold | None


def choose_settings(
    stored: StoredRows,
    snapshot: DatasetSnapshot,
    *,
    config: RetrainConfig,
    earlier: ChosenSettings | None,
    num_threads: int,
    on_progress: Report,
    engine: Engine = LOCAL,
) -> Chosen:
    """Returns the settings to train with. With `search: auto` the folds of the choice are fitted in every run.

    Args:
        stored: the rows of the snapshot.
        snapshot: its record.
        config: the settings as given, and those of the search.
        earlier: the choice of the last decided run; None if there is none.
        num_threads: of LightGBM; the choice does not depend on it.
        on_progress: takes reports of the rounds of the fits.
        engine: trains the models.

    Raises:
        SnapshotError: the snapshot cannot be read.
    """
    training = config.training
    present, given = present_choice(training.train_params), _describe_given(snapshot, config)
    if training.search == "off":
        reason = "The settings as given: the search is off."
        return Chosen(ChosenSettings(choice=present, given=given, searched_at=None, reason=reason, search=None), None)
    rows, schema = open_splits(stored, FOLD_SPLITS), SCHEMAS[snapshot.schema_version]
    if earlier is not None and earlier.given == given and _is_fresh(earlier, snapshot.as_of, days=training.search_cadence_days):
        reason = (
            f"Kept from the search as of {earlier.searched_at:%Y-%m-%d}, for {counted(training.search_cadence_days, 'day')}: "
            f"{earlier.choice.describe()}."
        )
        kept = earlier.model_copy(update={"reason": reason, "search": None})
        folds = FoldFits(
            rows,
            schema,
            params=training.train_params,
            dataset_digest=snapshot.dataset_digest,
            num_threads=num_threads,
            engine=engine,
        )
        fit_with_reports(folds, kept.choice, "folds of the settings that are kept", on_progress)
        return Chosen(kept, folds.out_of_fold(kept.choice))
    result, out_of_fold = search_choices(
        rows,
        schema,
        params=training.train_params,
        dataset_digest=snapshot.dataset_digest,
        min_class_windows=config.evaluation.min_class_windows,
        min_user_days=config.comparison.min_user_days,
        budget=training.search_budget,
        num_threads=num_threads,
        on_progress=on_progress,
        engine=engine,
    )
    searched_at = snapshot.as_of if result.state == "searched" else None
    found = ChosenSettings(choice=result.choice, given=given, searched_at=searched_at, reason=result.summary, search=result)
    return Chosen(found, out_of_fold)


def _describe_given(snapshot: DatasetSnapshot, config: RetrainConfig) -> dict[str, object]:
    """Returns everything that a choice depends on but the rows: with another value of any, another one may be better."""
    dataset, training = config.dataset, config.training
    return {
        **training.train_params.model_dump(mode="json", exclude={"num_threads"}),
        "refit": training.refit,
        "search_budget": training.search_budget,
        "data_lookback_days": dataset.data_lookback_days,
        "training_lookback_days": dataset.training_lookback_days,
        "schema_version": snapshot.schema_version,
    }


def _is_fresh(earlier: ChosenSettings, as_of: datetime, *, days: int) -> bool:
    """Returns True if the search of an earlier choice is at most so many days old; one of the future is not."""
    return earlier.searched_at is not None and timedelta(0) <= as_of - earlier.searched_at < timedelta(days=days)
