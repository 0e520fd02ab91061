"""The probation of a promoted model: its record, in `artifacts/probations/`. It grows, and loses nothing that was found.

What follows from a probation is decided in `domain.probation.probation_step`.
"""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, NonNegativeInt, PositiveInt

from taskclf_dagster.domain.decision.trial import TrialRecord
from taskclf_dagster.domain.evaluation.sequential import SequentialBounds
from taskclf_dagster.domain.storage.path_names import FileName
from taskclf_dagster.domain.storage.record_files import read_hashed_record, read_records, write_hashed_record
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import ProbationError, UnreadableFileError
from taskclf_dagster.home import Home

_HASH = "probation_hash"


_FIX = "Restore the file from a backup, or remove it; its probation begins again then"


Harm = Literal["labels", "load_error", "reject_rate"]
"""labels: the new model is shown to be worse. load_error: it does not load. reject_rate: it rejects too much or too little for a day."""


class DayRejects(Record):
    """The share of rejected windows of a whole UTC day [0 to 1].

    Attributes:
        windows: number of windows.
        rate: of the new model.
        previous_rate: of the model before it; None if it has no windows of its own, or does not predict.
        outside: True if the rate is outside the bounds of the gate, of a day with enough windows.
        previous_outside: True if that of the model before it is as well: the day is unusual then, not the model.
    """

    day: date
    windows: NonNegativeInt
    rate: float
    previous_rate: float | None
    outside: bool
    previous_outside: bool


class ProbationFinding(Record):
    """Harm that was found.

    Attributes:
        harm: its kind; a record has one finding of each.
        found_at: the as-of time of the look.
        detail: one sentence, without full stop.
        alerted: True if its alert was written, because nothing was rolled back.
    """

    harm: Harm
    found_at: AwareDatetime
    detail: str
    alerted: bool = False


Ending = Literal["rolled_back", "over", "moved_on"]
"""rolled_back: the probation went back to the model before. over: its days are over. moved_on: another model became active."""


class ProbationRecord(Record):
    """One probation.

    Attributes:
        sequence: number of the history record of the promotion; the file is named by it.
        model_id: the promoted model.
        previous_id: the model before it.
        promoted_at: the time of the promotion; only later windows count.
        days: length of the probation.
        label_delay_days: days after the end of a day until its labels count.
        comparison: the user-days since, and the bounds on them; the contender is the promoted model, the champion the one before.
        not_compared: why there is no comparison; empty if there is one.
        rejects: the whole days since the promotion, in their order.
        findings: harm, in the order in which it was found.
        state: what the probation waits for, or how it ended, in one sentence without full stop.
        ending: how it ended; None while it goes on.
        ended_at: when; None while it goes on.
        judged_at: the as-of time of the last look.
    """

    sequence: PositiveInt
    model_id: FileName
    previous_id: FileName
    promoted_at: AwareDatetime
    days: PositiveInt
    label_delay_days: NonNegativeInt
    comparison: TrialRecord | None = None
    not_compared: str = ""
    rejects: tuple[DayRejects, ...] = ()
    findings: tuple[ProbationFinding, ...] = ()
    state: str = ""
    ending: Ending | None = None
    ended_at: AwareDatetime | None = None
    judged_at: AwareDatetime | None = None

    @property
    def is_open(self) -> bool:
        return self.ending is None

    @property
    def ends_at(self) -> datetime:
        """The time after which windows no longer count."""
        return self.promoted_at + timedelta(days=self.days)

    @property
    def bounds(self) -> SequentialBounds | None:
        """The bounds of new minus previous model in macro-F1; None without a comparison."""
        return None if self.comparison is None else self.comparison.bounds

    def find(self, harm: Harm) -> ProbationFinding | None:
        """Returns the finding of a kind."""
        return next((finding for finding in self.findings if finding.harm == harm), None)

    def with_finding(self, finding: ProbationFinding) -> "ProbationRecord":
        """Returns the record with a finding in place of that of its kind, or behind the others."""
        kept = [finding if each.harm == finding.harm else each for each in self.findings]
        return self.model_copy(update={"findings": tuple(kept if self.find(finding.harm) else [*kept, finding])})

    def name_cause(self, harm: Harm) -> str:
        """Returns what the history keeps as the cause of a rollback, and by which the event of an alert is known."""
        return f"probation-{self.sequence:08d}-{harm.replace('_', '-')}"

    def is_cause(self, cause: str | None) -> bool:
        """Returns True if a rollback with this cause was made by this probation."""
        return (cause or "").startswith(f"probation-{self.sequence:08d}-")


def probation_path(home: Home, sequence: int) -> Path:
    """Returns the file of the probation of a promotion."""
    return home.probations / f"{sequence:08d}.json"


def write_probation(home: Home, record: ProbationRecord) -> None:
    """Writes a probation, with the hash of its values.

    Raises:
        ProbationError: it lost something that the file has.
        UnreadableFileError: the file is damaged.
    """
    before = read_probation(home, record.sequence)
    if before is not None and not _continues(before, record):
        raise ProbationError(probation_path(home, record.sequence), "days or findings would be lost", "Report it; nothing was written.")
    write_hashed_record(probation_path(home, record.sequence), record, hash_key=_HASH)


def read_probation(home: Home, sequence: int) -> ProbationRecord | None:
    """Reads the probation of a promotion; None if there is none.

    Raises:
        UnreadableFileError: the file is damaged, or is about another promotion.
    """
    path = probation_path(home, sequence)
    record = read_hashed_record(path, ProbationRecord, hash_key=_HASH, fix=_FIX)
    if record is not None and record.sequence != sequence:
        raise UnreadableFileError(path, f"it is the probation of record {record.sequence}", _FIX)
    return record


def list_probations(home: Home) -> tuple[list[ProbationRecord], list[UnreadableFileError]]:
    """Returns the probations of a home, the newest first, and the files that cannot be read."""
    paths = (path for path in sorted(home.probations.glob("*.json"), reverse=True) if path.stem.isdecimal())
    return read_records(paths, lambda path: read_probation(home, int(path.stem)))


def _continues(before: ProbationRecord, after: ProbationRecord) -> bool:
    """Returns True if a record has everything that an earlier one has."""
    old, new = (() if each.comparison is None else each.comparison.user_days for each in (before, after))
    kinds = [tuple(finding.harm for finding in each.findings) for each in (before, after)]
    return new[: len(old)] == old and after.rejects[: len(before.rejects)] == before.rejects and kinds[1][: len(kinds[0])] == kinds[0]
