"""Assesses the windows and labels of a home before a run: what breaks the data contract, what would block, and what labels nothing.

Reads only; the run itself reports the same from its own reading. Triggers of a run are assessed in `triggers`.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from taskclf_dagster.config.settings import DatasetSettings, RetrainConfig
from taskclf_dagster.domain.data.day_folders import find_passed_over, list_days
from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS
from taskclf_dagster.domain.data.home_places import windows_folder
from taskclf_dagster.domain.data.label_fates import LabelFates
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.parquet_files import count_rows
from taskclf_dagster.domain.data.passed_over import describe_passed_over
from taskclf_dagster.domain.data.snapshot import build_snapshot
from taskclf_dagster.domain.registry.write_problems import find_write_problems
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import NoWindowsError, TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted

MAX_ROWS_ASSESSED = 200_000
"""Largest number of windows and spans that are read before a run. Above, days older than the look-back are left out, and if the look-back
alone has more, nothing is read: the run itself reports on all of them."""


MAX_BLOCKERS = 3
"""Largest number of violations that are blockers; the others are counted."""


class DataAssessment(Record):
    """The assessment of the windows and labels of a home.

    Attributes:
        assessed: False if the home is too large to be read before a run, or its windows are in an object store, of which only the names
            of the days are looked at; the data is not assessed then.
        problem: the reason why nothing can be read; None if it can.
        blockers: messages of what would end a run without a result: folders that cannot be written to, else the problem, else the first
            violations, else the blocking checks; empty if there is nothing.
        violations: of the data contract.
        label_fates: the label spans by what became of them; None if no windows could be read.
    """

    assessed: bool
    problem: str | None = None
    blockers: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()
    label_fates: LabelFates | None = None


def assess_data(home: Home, *, config: RetrainConfig, now: datetime, find_blockers: bool = True) -> DataAssessment:
    """Reads windows and labels as a run at this time would, and returns what that run would find.

    Args:
        home: the taskclf home.
        config: the configuration.
        now: the present time, the as-of time of that run.
        find_blockers: False to leave out the blockers, which need the split and a look at the folders.
    """
    unwritable = tuple(str(problem) for problem in find_write_problems(home)) if find_blockers else ()
    try:
        if not isinstance(windows_folder(home), Path):
            _require_days(home, config.dataset, now)
            return DataAssessment(assessed=False, blockers=unwritable)
        settings = _choose_range(home, config.dataset, now)
        if settings is None:
            return DataAssessment(assessed=False, blockers=unwritable)
        record, frame, *_ = label_windows(home, as_of=now, settings=settings)
    except TaskclfDagsterError as error:
        return DataAssessment(assessed=True, problem=str(error), blockers=unwritable or (str(error),))
    violations = tuple(str(violation) for violation in record.violations)
    blockers = unwritable
    if find_blockers and not unwritable and violations:
        blockers = _shorten(violations)
    elif frame is not None and find_blockers and not unwritable:
        snapshot, _ = build_snapshot(home, record, frame, config=config)
        blockers = tuple(blocker.message for blocker in snapshot.blockers)
    return DataAssessment(assessed=True, blockers=blockers, violations=violations, label_fates=record.label_fates)


def _shorten(violations: tuple[str, ...]) -> tuple[str, ...]:
    further = len(violations) - MAX_BLOCKERS
    more = (f"and {counted(further, 'further violation')} of the data contract",) if further > 0 else ()
    return (*violations[:MAX_BLOCKERS], *more)


def _choose_range(home: Home, settings: DatasetSettings, now: datetime) -> DatasetSettings | None:
    """Returns the settings, or without older days, so that at most MAX_ROWS_ASSESSED rows are read; None if there is no such range."""
    look_back_only = settings.model_copy(update={"training_lookback_days": settings.data_lookback_days})
    for ranged in (settings, look_back_only):
        days = max(ranged.data_lookback_days, ranged.training_lookback_days)
        if _count_rows(home, now - timedelta(days=days), now) <= MAX_ROWS_ASSESSED:
            return ranged
    return None


def _require_days(home: Home, settings: DatasetSettings, now: datetime) -> None:
    """Looks whether a day of the look-back is listed.

    Raises:
        NoWindowsError: none is.
    """
    start = now - timedelta(days=max(settings.data_lookback_days, settings.training_lookback_days))
    first, last = start.astimezone(UTC).date(), now.astimezone(UTC).date()
    if not any(first <= day <= last for version in SCHEMA_VERSIONS for day in list_days(home, version)):
        raise NoWindowsError(windows_folder(home), str(first), str(last), describe_passed_over(find_passed_over(home)))


def _count_rows(home: Home, start: datetime, end: datetime) -> int:
    """Returns the number of rows of the daily files in range and of the label store, from their footers; 0 for a file that has none."""
    first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
    listed = (item for version in SCHEMA_VERSIONS for item in list_days(home, version).items())
    days = (file for day, file in listed if first <= day <= last and isinstance(file, Path))
    return sum(count_rows(path) or 0 for path in (home.labels, *days))
