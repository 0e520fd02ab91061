"""The trial of a challenger beside the active model: its record, in `artifacts/trials/`, and its part of a receipt.

The record grows by user-days and never loses one. What follows from a trial is decided in `domain.trials.trial_step`.
"""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, Field, NonNegativeInt, PositiveInt

from taskclf_dagster.domain.data.feature_schema import SchemaVersion
from taskclf_dagster.domain.decision.model_records import ModelRecord, model_record_path, read_model_record
from taskclf_dagster.domain.evaluation.block_counts import BlockSums, PairedCounts
from taskclf_dagster.domain.evaluation.confusion import N_LABELS
from taskclf_dagster.domain.evaluation.sequential import SequentialBounds, TrialReference, find_bounds
from taskclf_dagster.domain.storage.path_names import FileName
from taskclf_dagster.domain.storage.record_files import read_records, write_hashed_record
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import TrialError, UnreadableFileError
from taskclf_dagster.home import Home

_FIX = "Restore the file from a backup, or remove it; its trial begins again then"

_HASH = "trial_hash"

_Minute = Annotated[int, Field(ge=0, lt=1440)]

_LabelCode = Annotated[int, Field(ge=0, le=7)]


class UserDay(Record):
    """A user and a day (UTC)."""

    user: str
    day: date


class TrialDay(UserDay):
    """The windows of one user-day that have a gold label, as they were when the day was closed. Later labels change nothing.

    Attributes:
        closed_at: end of the labels that count.
        minutes: of the windows since midnight (UTC), ascending.
        labels: position of the label of each among LABELS.
        sums: counts of both models on these windows, as both predicted them then; for the view of the trial only.
    """

    closed_at: AwareDatetime
    minutes: tuple[_Minute, ...]
    labels: tuple[_LabelCode, ...]
    sums: BlockSums


Ending = Literal["promoted", "awaiting_approval", "worse", "time_over", "champion_changed", "replaced", "bundle_gone", "not_possible"]


class TrialRecord(ModelRecord):
    """One trial.

    Attributes:
        model_id: the contender.
        decision_id: the decision that held it.
        champion_id: the active model beside which it is tried.
        started_at: as-of time of that decision; only later windows count.
        windows_from: start of the first window that neither model can have learned from.
        days: length of the trial.
        label_delay_days: days after the end of a day until it is closed.
        expected_user_days: for the size of the bets.
        significance: of each bound.
        reference: the counts before the trial.
        schema_version: of the windows.
        closed_through: the last closed day; None if there is none.
        user_days: in the order in which they were closed, users of a day sorted.
        waits_for: what the trial waits for, or why it ended, in one sentence.
        ending: how it ended; None while it is open.
        ended_at: when; None while it is open.
        ended_by: the decision that ended it; None if none did.
        judged_at: the as-of time of the last look.
    """

    decision_id: FileName
    champion_id: FileName
    started_at: AwareDatetime
    windows_from: AwareDatetime
    days: PositiveInt
    label_delay_days: NonNegativeInt
    expected_user_days: PositiveInt
    significance: float
    reference: TrialReference
    schema_version: SchemaVersion
    closed_through: date | None = None
    user_days: tuple[TrialDay, ...] = ()
    waits_for: str = ""
    ending: Ending | None = None
    ended_at: AwareDatetime | None = None
    ended_by: FileName | None = None
    judged_at: AwareDatetime | None = None

    @property
    def is_open(self) -> bool:
        return self.ending is None

    @property
    def ends_at(self) -> datetime:
        """The time after which the windows no longer count."""
        return self.started_at + timedelta(days=self.days)

    @property
    def windows(self) -> int:
        """Number of labeled windows so far."""
        return sum(len(day.minutes) for day in self.user_days)

    @property
    def bounds(self) -> SequentialBounds:
        """The bounds on the user-days so far, from the counts in the record."""
        counts = [day.sums.by_user_day().counts.table for day in self.user_days]
        return self.bounds_of(PairedCounts(_stack(counts)))

    def bounds_of(self, days: PairedCounts) -> SequentialBounds:
        """Returns the bounds on user-days in the order of the trial."""
        return find_bounds(days, self.reference, significance=self.significance, expected_user_days=self.expected_user_days)


class TrialEvidence(Record):
    """The evidence of the trial by which the challenger of a receipt was judged; the counts are those of its comparison.

    Attributes:
        held_by: the decision that held the challenger.
        held_hash: its hash.
        held_windows: number of windows of the dataset of that decision.
        started_at, windows_from, expected_user_days, significance, reference: of the trial.
        order: the user-days in the order in which they were closed.
        bounds: on these user-days.
    """

    held_by: FileName
    held_hash: str
    held_windows: NonNegativeInt
    started_at: AwareDatetime
    windows_from: AwareDatetime
    expected_user_days: PositiveInt
    significance: float
    reference: TrialReference
    order: tuple[UserDay, ...]
    bounds: SequentialBounds

    def bounds_from(self, sums: BlockSums) -> SequentialBounds:
        """Computes the bounds from the counts of a comparison.

        Raises:
            ValueError: the counts have other user-days than the evidence.
        """
        found = list_user_days(sums)
        position = {day: number for number, day in enumerate(found)}
        if len(position) != len(self.order) or {*position} != {(day.user, day.day) for day in self.order}:
            msg = f"the counts are of {len(position)} user-days, the trial of {len(self.order)}, or of others"
            raise ValueError(msg)
        order = [position[day.user, day.day] for day in self.order]
        days = sums.by_user_day().counts
        return find_bounds(
            PairedCounts(days.table[order]), self.reference, significance=self.significance, expected_user_days=self.expected_user_days
        )


def list_user_days(sums: BlockSums) -> list[tuple[str, date]]:
    """Returns the user-days of counts, in the order of `BlockSums.by_user_day`."""
    found = dict.fromkeys((block.user, block.period // 12) for block in sums.blocks)
    return [(sums.users[user], date(1970, 1, 1) + timedelta(days=day)) for user, day in found]


def trial_path(home: Home, model_id: str) -> Path:
    """Returns the file of the trial of a model."""
    return model_record_path(home.trials, model_id)


def write_trial(home: Home, trial: TrialRecord) -> None:
    """Writes a trial, with the hash of its values.

    Raises:
        TrialError: it lost a user-day that the file has, or has another in its place.
        UnreadableFileError: the file is damaged.
    """
    before = read_trial(home, trial.model_id)
    if before is not None and before.decision_id == trial.decision_id and trial.user_days[: len(before.user_days)] != before.user_days:
        raise TrialError(trial_path(home, trial.model_id), "user-days that were closed would change", "Report it; nothing was written.")
    write_hashed_record(trial_path(home, trial.model_id), trial, hash_key=_HASH)


def read_trial(home: Home, model_id: str) -> TrialRecord | None:
    """Reads the trial of a model; None if there is none, or its id can be no file.

    Raises:
        UnreadableFileError: the file is damaged, or is about another model.
    """
    return read_model_record(home.trials, model_id, TrialRecord, hash_key=_HASH, about="the trial of", fix=_FIX)


def list_trials(home: Home) -> tuple[list[TrialRecord], list[UnreadableFileError]]:
    """Returns the trials of a home, the newest first, and the files that cannot be read."""
    trials, damaged = read_records(sorted(home.trials.glob("*.json")), lambda path: read_trial(home, path.stem))
    return sorted(trials, key=lambda trial: (trial.started_at, trial.model_id), reverse=True), damaged


def _stack(counts: list[npt.NDArray[np.number]]) -> npt.NDArray[np.number]:
    return np.concatenate(counts) if counts else np.zeros((0, N_LABELS, 5), dtype=np.int64)
