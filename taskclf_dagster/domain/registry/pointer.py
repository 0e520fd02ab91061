"""The active pointer, and where bundles lie: readers only (contract, section 8).

Nothing here writes. What changes the pointer is `registry`; what happened to it is `history`.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.storage.files import hash_file_if_exists, read_json_object
from taskclf_dagster.domain.storage.records import replace_unrepresentable
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

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
    """A pointer to a bundle in models/, with the keys that taskclf writes."""
    reason: dict[str, object] = {"metric": "macro_f1", **metrics, "note": note}
    if decision_id is not None:
        reason["decision_id"] = decision_id
    return ActivePointer(
        model_dir=f"models/{model_id}", selected_at=at, policy_version=POLICY_VERSION, model_id=model_id, reason=reason, sequence=sequence
    )


def read_active(home: Home) -> ActivePointer | None:
    """Reads the pointer; None where there is none.

    Raises:
        UnreadableFileError: the file is not a pointer.
    """
    if not home.active_pointer.exists():
        return None
    try:
        return ActivePointer.model_validate(read_json_object(home.active_pointer, max_bytes=MAX_POINTER_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        fix = "Run `taskclf-dagster registry repair`, promote a model, or restore the file"
        raise UnreadableFileError(home.active_pointer, reason, fix) from error


def read_pointer_or_none(home: Home) -> ActivePointer | None:
    """The pointer; None where there is none, or none that can be read."""
    try:
        return read_active(home)
    except UnreadableFileError:
        return None


def pointer_state(home: Home) -> tuple[str | None, str | None]:
    """SHA-256 of active.json and of inference_policy.json; None where there is no such file."""
    return hash_file_if_exists(home.active_pointer), hash_file_if_exists(home.inference_policy)


def pointer_sequence(home: Home) -> int:
    """Number of the history record that set the pointer; 0 where none of ours did, or it cannot be read."""
    try:
        pointer = read_active(home)
    except UnreadableFileError:
        return 0
    return 0 if pointer is None else pointer.sequence or 0


def metrics_of(model: LoadedModel) -> dict[str, float]:
    """The stored validation figures, as the pointer repeats them."""
    metrics = model.bundle.metrics
    return {} if metrics is None else {"macro_f1": metrics.macro_f1, "weighted_f1": metrics.weighted_f1}
