"""The challengers on trial, which retention keeps, and the records of trials and probations that go with their models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from taskclf_dagster.domain.decision.probation import list_probations, probation_path
from taskclf_dagster.domain.decision.serving import serving_path
from taskclf_dagster.domain.decision.trial import list_trials, trial_path
from taskclf_dagster.home import Home


class EndedRecord(NamedTuple):
    """A record that is not needed any more."""

    kind: Literal["trial", "probation"]
    path: Path
    reason: str


def list_compared(home: Home) -> Iterator[tuple[str, str]]:
    """Yields the challengers that are or may be on trial, and why they stay; models of a probation run, or are the target of a rollback."""
    trials, damaged = list_trials(home)
    yield from ((trial.model_id, "on trial") for trial in trials if trial.is_open)
    yield from ((error.path.stem, "its trial cannot be read") for error in damaged)


def list_ended(home: Home, *, staying: set[str]) -> Iterator[EndedRecord]:
    """Yields the records of trials and probations that ended and whose model is removed, or does not exist; a damaged one stays."""
    for trial in list_trials(home)[0]:
        if not trial.is_open and trial.model_id not in staying:
            files = (trial_path(home, trial.model_id), serving_path(home, trial.model_id))
            yield from (EndedRecord("trial", path, "its trial ended, and its model is gone") for path in files if path.exists())
    for record in list_probations(home)[0]:
        if not record.is_open and record.model_id not in staying:
            yield EndedRecord("probation", probation_path(home, record.sequence), "its probation ended, and its model is gone")
