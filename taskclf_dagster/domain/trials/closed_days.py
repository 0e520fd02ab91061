"""Closes the user-days of a trial: reads windows and gold labels of days whose labels count from now on, and counts both models on them."""

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.label_projection import project_blocks_to_windows
from taskclf_dagster.domain.data.label_store import read_usable_spans
from taskclf_dagster.domain.data.split import SPLITS
from taskclf_dagster.domain.data.times import DAY_US, epoch_us
from taskclf_dagster.domain.data.windows import read_windows_of_time
from taskclf_dagster.domain.decision.trial import TrialDay, TrialRecord
from taskclf_dagster.domain.trials.two_models import ComparedModels, count_pair
from taskclf_dagster.home import Home


def close_days(home: Home, trial: TrialRecord, models: ComparedModels, *, as_of: datetime) -> TrialRecord:
    """Returns the trial with the days that can be closed at the as-of time; writes nothing.

    Raises:
        BundleError: a model does not predict.
        DataContractError: the windows violate the data contract.
        UnreadableFileError: a daily file or the label store cannot be read.
    """
    first = trial.windows_from.date() if trial.closed_through is None else trial.closed_through + timedelta(days=1)
    last = min(last_closable_day(trial, as_of), last_day(trial))
    if last < first:
        return trial
    start, end = max(_midnight(first), trial.windows_from), min(_midnight(last + timedelta(days=1)), trial.ends_at)
    rows = read_gold_windows(home, trial, start=start, end=end)
    return trial.model_copy(update={"closed_through": last, "user_days": (*trial.user_days, *_count_days(rows, models, as_of))})


def last_day(trial: TrialRecord) -> date:
    """Returns the last UTC day of a trial."""
    return (trial.ends_at - timedelta(microseconds=1)).astimezone(UTC).date()


def last_closable_day(trial: TrialRecord, as_of: datetime) -> date:
    """Returns the last UTC day whose labels count at an as-of time."""
    return as_of.astimezone(UTC).date() - timedelta(days=1 + trial.label_delay_days)


def read_gold_windows(home: Home, trial: TrialRecord, *, start: datetime, end: datetime) -> pd.DataFrame:
    """Returns the windows of a time that lie wholly in the gold spans of one label, as rows of a snapshot that are all test.

    Raises:
        DataContractError: the windows violate the data contract.
        UnreadableFileError: a daily file or the label store cannot be read.
    """
    windows = read_windows_of_time(home, start=start, end=end, schema_version=trial.schema_version)
    if windows.empty:
        return windows
    spans = read_usable_spans(home, start=start, end=end)
    projection = project_blocks_to_windows(windows[["user_id", "bucket_start_ts"]], spans[spans["gold"]])
    return as_test_rows(windows, projection.label.astype(np.int64))


def as_test_rows(windows: pd.DataFrame, label: "np.ndarray") -> pd.DataFrame:
    """Returns the windows with a label of 0 or more as rows of a snapshot that are all gold and test.

    Args:
        windows: as `WindowReading.frame`.
        label: position of the label of each among LABELS, -1 without one, shape (n,).
    """
    known = label >= 0
    rows = windows[known].reset_index(drop=True)
    for column in ("user_id", "session_id"):
        rows[column] = rows[column].cat.remove_unused_categories()
    return rows.assign(
        label=pd.Categorical.from_codes(label[known], categories=list(LABELS)),
        gold=True,
        split=pd.Categorical(["test"] * len(rows), categories=list(SPLITS)),
    )


def _count_days(rows: pd.DataFrame, models: ComparedModels, as_of: datetime) -> list[TrialDay]:
    if rows.empty:
        return []
    found = models.evaluate(rows)
    day, minute = np.divmod(epoch_us(rows["bucket_start_ts"]), DAY_US)
    closed = []
    for number in np.unique(day):
        for user in sorted(str(name) for name in rows["user_id"][day == number].unique()):
            mine = (day == number) & (rows["user_id"] == user).to_numpy(dtype=bool)
            own = rows[mine].reset_index(drop=True)
            closed.append(
                TrialDay(
                    user=user,
                    day=date(1970, 1, 1) + timedelta(days=int(number)),
                    closed_at=as_of,
                    minutes=tuple((minute[mine] // 60_000_000).tolist()),
                    labels=tuple(own["label"].cat.codes.tolist()),
                    sums=count_pair(own, found.contender.scored, found.champion.scored),
                )
            )
    return closed


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
