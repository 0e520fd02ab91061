"""The last decided run of a home: the labels it read and the time at which it decided."""

from typing import Literal

from pydantic import AwareDatetime, NonNegativeInt, ValidationError
from pydantic_core import PydanticCustomError

from taskclf_dagster.domain.decision.verdict import Verdict
from taskclf_dagster.domain.models.chosen_settings import ChosenSettings
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.path_names import FileName, InnerPath
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

LAST_DECIDED = "last_decided.json"


_HASH = "record_hash"


class LastDecided(Record):
    """The last run that made a decision or skipped because no label was new; dry runs do not count.

    Attributes:
        outcome: the verdict, or SKIP.
        decided_at: time of the decision by the clock, from which cadence counts.
        snapshot_path: the snapshot last decided on, relative to the home; a skip keeps the one before.
        label_watermark: names the content of the label store that the run read.
        rows: rows of that snapshot; None if an earlier version wrote the file.
        settings: those of its challenger, from which a choice is kept; None if an earlier version wrote the file.
        trained_at: time at which a run last trained a challenger and judged it; None if none did since this is recorded.
    """

    outcome: Verdict | Literal["SKIP"]
    decided_at: AwareDatetime
    as_of: AwareDatetime
    run_id: str
    decision_id: str | None
    dataset_hash: str
    snapshot_path: InnerPath
    label_watermark: FileName
    trained_at: AwareDatetime | None = None
    rows: NonNegativeInt | None = None
    settings: ChosenSettings | None = None


def read_last_decided(home: Home) -> LastDecided | None:
    """Returns the last decided run; None if there is none or its file is damaged, which makes a retrain due."""
    path = home.decisions / LAST_DECIDED
    if not path.exists():
        return None
    try:
        return parse_last_decided(read_json_object(path))
    except (UnreadableFileError, ValidationError):
        return None


def parse_last_decided(document: dict[str, object]) -> LastDecided:
    """Returns the last decided run from the content of its file; its hash is compared, unless an earlier version wrote it without one.

    Raises:
        ValidationError: it is damaged.
    """
    values = {key: value for key, value in document.items() if key != _HASH}
    last = LastDecided.model_validate(values)
    if _HASH in document and document[_HASH] != json_hash(values):
        raise ValidationError.from_exception_data(
            "LastDecided", [{"type": PydanticCustomError("hash", "its hash is not that of its values"), "loc": (_HASH,), "input": None}]
        )
    return last


def write_last_decided(home: Home, last: LastDecided) -> None:
    """Records the last decided run in `artifacts/decisions/last_decided.json`, with its hash."""
    write_json(home.decisions / LAST_DECIDED, {**last.model_dump(mode="json"), _HASH: last.record_hash})
