"""A probation as it is shown: by the asset, the command line and the page. Reads only."""

from datetime import UTC, datetime

from taskclf_dagster.domain.decision.probation import ProbationRecord, list_probations
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home


class ProbationLook(Record):
    """A probation as one look left it.

    Attributes:
        outcome: goes_on, problem (the look failed, and is repeated), harm (found, and not rolled back), or how it ended.
        detail: one sentence without full stop.
        user_days, windows: with labels, so far.
        difference, lower, upper: new minus previous model in macro-F1; see `SequentialBounds`.
        reject_rate: of the new model on the last whole day [0 to 1]; None without one.
        ends_at: end of the days that count.
    """

    sequence: int
    model_id: str
    previous_id: str
    outcome: str
    detail: str
    user_days: int
    windows: int
    difference: float | None
    lower: float
    upper: float
    reject_rate: float | None
    ends_at: datetime


class ProbationReport(Record):
    """One look at the probation of a home.

    Attributes:
        home: for display.
        looks: at the model on probation, and at probations that ended with this look.
        problem: why the look failed; empty if it did not.
        damaged: files of probations that cannot be read, with the reason.
    """

    home: str
    as_of: datetime
    looks: tuple[ProbationLook, ...]
    problem: str
    damaged: tuple[str, ...]


def show_probations(home: Home, *, as_of: datetime) -> ProbationReport:
    """Returns the probations of a home as their records have them, the newest first; looks at none, and reads only."""
    records, damaged = list_probations(home)
    looks = tuple(show_probation(record) for record in records)
    return ProbationReport(home=home.display_name, as_of=as_of, looks=looks, problem="", damaged=tuple(map(str, damaged)))


def show_probation(record: ProbationRecord, *, problem: str = "") -> ProbationLook:
    """Returns a probation as it is shown."""
    bounds = record.bounds
    outcome = record.ending or ("harm" if record.findings else "goes_on")
    return ProbationLook(
        sequence=record.sequence,
        model_id=record.model_id,
        previous_id=record.previous_id,
        outcome="problem" if problem else outcome,
        detail=problem or record.state or "it has just begun",
        user_days=0 if bounds is None else bounds.user_days,
        windows=0 if bounds is None else bounds.windows,
        difference=None if bounds is None else bounds.difference,
        lower=-1.0 if bounds is None else bounds.lower,
        upper=1.0 if bounds is None else bounds.upper,
        reject_rate=record.rejects[-1].rate if record.rejects else None,
        ends_at=record.ends_at.astimezone(UTC),
    )
