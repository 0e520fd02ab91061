"""Confirmation of drift: inputs that are found on two days in a row, with the same model. `artifacts/drift/state/` keeps the evaluations.

A drift that lasts is confirmed once, also if a model was promoted in the meantime: what it has learned from is mostly older than the drift.
It ends when a day does not confirm it.
"""

from datetime import UTC, timedelta
from typing import NamedTuple

from pydantic import AwareDatetime

from taskclf_dagster.config.drift_settings import DriftSettings
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.record_files import read_record_file
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home

KEPT = 100
"""Number of evaluations that are kept, one a day."""


class DriftEvaluation(Record):
    """The finding of one evaluation.

    Attributes:
        as_of: its time; of one UTC day the last evaluation counts.
        model: id of the active model, and the hash of its file.
        drifted: inputs that have drifted.
        dead: inputs that are dead.
        confirmed_at: time of the evaluation that confirmed the drift that lasts; None if none is confirmed.
    """

    as_of: AwareDatetime
    model: str
    drifted: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    confirmed_at: AwareDatetime | None = None

    @property
    def is_new(self) -> bool:
        """True if this evaluation confirmed a drift."""
        return self.confirmed_at == self.as_of

    @property
    def day(self) -> str:
        """The UTC day, as an ISO date."""
        return self.as_of.astimezone(UTC).date().isoformat()


class DriftState(Record):
    """The evaluations of a home, the oldest first."""

    evaluations: tuple[DriftEvaluation, ...] = ()

    def with_evaluation(self, evaluation: DriftEvaluation) -> "DriftState":
        """Returns the state with an evaluation, which replaces that of the same day; the newest KEPT stay."""
        others = [each for each in self.evaluations if each.day != evaluation.day]
        return DriftState(evaluations=tuple(sorted([*others, evaluation], key=lambda each: each.as_of)[-KEPT:]))

    def find_same_day(self, evaluation: DriftEvaluation) -> DriftEvaluation | None:
        """Returns the evaluation of the same day that is stored; None if there is none."""
        return next((each for each in self.evaluations if each.day == evaluation.day), None)


class Confirmation(NamedTuple):
    """The evaluation with its confirmation, and the inputs that confirm it; empty if nothing is confirmed."""

    evaluation: DriftEvaluation
    inputs: tuple[str, ...]


def confirm(state: DriftState, found: DriftEvaluation, *, settings: DriftSettings) -> Confirmation:
    """Compares an evaluation with the last one of an earlier day: `min_inputs` have drifted on both, or one is dead on both.

    Only what was evaluated before it counts, so that the same time gives the same result again. An evaluation of so long ago that both
    share no day is not the one before, and one of another model only if it confirmed a drift, which then lasts.

    Args:
        state: the stored evaluations.
        found: the evaluation, without its confirmation.
        settings: the thresholds.
    """
    earlier = [each for each in state.evaluations if each.day < found.day]
    before = earlier[-1] if earlier else None
    if before is None or found.as_of - before.as_of >= timedelta(days=settings.days):
        return Confirmation(found, ())
    if before.model != found.model and before.confirmed_at is None:
        return Confirmation(found, ())
    drifted = sorted({*found.drifted, *found.dead} & {*before.drifted, *before.dead})
    dead = sorted({*found.dead} & {*before.dead})
    inputs = tuple(drifted if len(drifted) >= settings.min_inputs else dead)
    if not inputs:
        return Confirmation(found, ())
    same_day = state.find_same_day(found)
    confirmed = None if same_day is None or same_day.model != found.model else same_day.confirmed_at
    return Confirmation(found.model_copy(update={"confirmed_at": before.confirmed_at or confirmed or found.as_of}), inputs)


def read_drift_state(home: Home) -> DriftState:
    """Reads the stored evaluations; none if there is no file.

    Raises:
        UnreadableFileError: the file is damaged.
    """
    fix = "Remove the file; drift is then confirmed by the next two evaluations"
    return read_record_file(home.drift_state, DriftState, fix=fix) or DriftState()


def save_drift_state(home: Home, state: DriftState) -> None:
    """Writes the evaluations atomically."""
    write_json(home.drift_state, state.model_dump(mode="json"))
