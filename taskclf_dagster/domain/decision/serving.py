"""The part of batch scores that a contender serves: its record, in `artifacts/serving/`. A stop is never taken back.

The record has one writer, the run that scores. What stops a contender is decided in `domain.monitoring.sharing`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from taskclf_dagster.domain.decision.model_records import ModelRecord, model_record_path, read_model_record
from taskclf_dagster.domain.storage.path_names import FileName
from taskclf_dagster.domain.storage.record_files import read_records, write_hashed_record
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import TrialError, UnreadableFileError
from taskclf_dagster.home import Home

_HASH = "serving_hash"

_FIX = "Restore the file from a backup, or remove it; the contender may serve again then"


StopCause = Literal["trial_over", "labels", "reject_rate", "not_usable"]
"""trial_over: its trial ended. labels: it is probably worse. reject_rate: it rejects too much or too little of a day.
not_usable: it does not load, or does not predict."""


class ServingStop(Record):
    """The end of serving.

    Attributes:
        cause: its kind.
        stopped_at: the as-of time of the run that found it.
        reason: one sentence, without full stop.
        alerted: True if its event was written.
    """

    cause: StopCause
    stopped_at: AwareDatetime
    reason: str
    alerted: bool = False


class ServingRecord(ModelRecord):
    """One contender that serves, or served, a share of batch scores.

    Attributes:
        model_id: the contender.
        champion_id: the active model, which serves the rest.
        share: of the user-days [0 to 0.5]; 0 while it serves none: because of the settings, a newer contender, or another active model.
        since: the as-of time of the first run with a share.
        stop: the end; None if there was none.
    """

    champion_id: FileName
    share: float
    since: AwareDatetime
    stop: ServingStop | None = None

    @property
    def sentence(self) -> str:
        """The state as one clause, without full stop."""
        if self.stop is not None:
            return f"stopped serving: {self.stop.reason}"
        return f"serves {100 * self.share:.4g} % of the user-days in batch scores" if self.share else "serves no batch scores at present"


def serving_path(home: Home, model_id: str) -> Path:
    """Returns the file of what a contender serves."""
    return model_record_path(home.serving, model_id)


def write_serving(home: Home, record: ServingRecord) -> None:
    """Writes what a contender serves, with the hash of its values; an equal file is left as it is.

    Raises:
        TrialError: the file has a stop that the record lacks, or has differently.
        UnreadableFileError: the file is damaged.
    """
    before = read_serving(home, record.model_id)
    if before == record:
        return
    if before is not None and before.stop is not None:
        kept = None if record.stop is None else record.stop.model_copy(update={"alerted": before.stop.alerted})
        if kept != before.stop:
            raise TrialError(serving_path(home, record.model_id), "a stop would be taken back", "Report it; nothing was written.")
    write_hashed_record(serving_path(home, record.model_id), record, hash_key=_HASH)


def read_serving(home: Home, model_id: str) -> ServingRecord | None:
    """Reads what a contender serves; None if it never served, or its id can be no file.

    Raises:
        UnreadableFileError: the file is damaged, or is about another model.
    """
    return read_model_record(home.serving, model_id, ServingRecord, hash_key=_HASH, about="about", fix=_FIX)


def list_serving(home: Home) -> tuple[dict[str, ServingRecord], list[UnreadableFileError]]:
    """Returns what the contenders of a home serve or served, by model, and the files that cannot be read."""
    records, damaged = read_records(sorted(home.serving.glob("*.json")), lambda path: read_serving(home, path.stem))
    return {record.model_id: record for record in records}, damaged


def find_shown(records: Mapping[str, ServingRecord], model_id: str, *, is_open: bool) -> ServingRecord | None:
    """Returns what the contender of a trial serves, or why it stopped; None if it never served, or its trial ended since then."""
    record = records.get(model_id)
    return record if record is not None and (is_open or record.stop is not None) else None
