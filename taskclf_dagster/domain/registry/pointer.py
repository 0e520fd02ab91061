"""The active pointer, models/active.json: the record, and reading it (contract, section 8).

Nothing here writes: `commit` moves the pointer, and `history` records that it moved.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.storage.json_files import MAX_INNER_DEPTH, JsonFile, look_at_json
from taskclf_dagster.domain.storage.records import replace_unrepresentable
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.validation_text import describe_validation_error

POLICY_VERSION = 1


MAX_POINTER_BYTES = 1024 * 1024


class ActivePointer(BaseModel):
    """models/active.json. Keys we do not know are kept, because taskclf may write more.

    Attributes:
        model_dir: the bundle, relative to the home.
        sequence: number of the history record that moved it here; None where another program did.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    model_dir: str
    selected_at: datetime
    policy_version: Literal[1]
    model_id: str | None = None
    reason: dict[str, object] | None = None
    sequence: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _can_be_written_again(cls, value: object) -> object:
        return replace_unrepresentable(value)

    @property
    def document(self) -> dict[str, object]:
        """The pointer as taskclf writes it: times with a numeric offset, absent keys left out."""
        return {**self.model_dump(mode="json", exclude_none=True), "selected_at": self.selected_at.isoformat()}

    @property
    def name(self) -> str:
        """The bundle's folder name, which is its model id."""
        return Path(self.model_dir).name


def make_pointer(
    model_id: str, *, at: datetime, sequence: int, metrics: dict[str, float], note: str, decision_id: str | None
) -> ActivePointer:
    """Returns a pointer to a bundle in models/, with the keys that taskclf writes."""
    reason: dict[str, object] = {"metric": "macro_f1", **metrics, "note": note}
    if decision_id is not None:
        reason["decision_id"] = decision_id
    return ActivePointer(
        model_dir=f"models/{model_id}", selected_at=at, policy_version=POLICY_VERSION, model_id=model_id, reason=reason, sequence=sequence
    )


@dataclass(frozen=True)
class PointerFile:
    """models/active.json as found in one read.

    Attributes:
        digest: SHA-256 of the file in hex; None if it does not exist.
        pointer: None if the file does not exist or is no pointer.
        error: why the file is no pointer; None if it is one or does not exist.
    """

    digest: str | None
    pointer: ActivePointer | None
    error: UnreadableFileError | None


def parse_pointer_file(file: JsonFile) -> PointerFile:
    """Reads the pointer in a JSON file."""
    if file.document is None:
        return PointerFile(file.digest, None, file.error)
    try:
        return PointerFile(file.digest, ActivePointer.model_validate(file.document), None)
    except ValidationError as error:
        fix = "Run `taskclf-dagster registry repair`, promote a model, or restore the file"
        return PointerFile(file.digest, None, UnreadableFileError(file.path, describe_validation_error(error), fix))


def read_pointer_file(home: Home) -> PointerFile:
    """Reads models/active.json; never raises."""
    return parse_pointer_file(look_at_json(home.active_pointer, max_bytes=MAX_POINTER_BYTES, max_depth=MAX_INNER_DEPTH))


def read_active(home: Home) -> ActivePointer | None:
    """Reads the pointer; None if there is none.

    Raises:
        UnreadableFileError: the file is not a pointer.
    """
    found = read_pointer_file(home)
    if found.error is not None:
        raise found.error
    return found.pointer


def metrics_of(model: LoadedModel) -> dict[str, float]:
    """Returns the stored validation metrics, as the pointer repeats them."""
    metrics = model.bundle.metrics
    return {} if metrics is None else {"macro_f1": metrics.macro_f1, "weighted_f1": metrics.weighted_f1}
