"""The active pointer, and where bundles lie: readers only (contract, section 8).

Nothing here writes. What changes the pointer is `registry`; what happened to it is `history`.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from taskclf_dagster.domain.files import bytes_hash_or_none, presentable, read_json_object
from taskclf_dagster.errors import BundleError, UnreadableFileError
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
        return presentable(value)

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


def read_usable(home: Home) -> ActivePointer | None:
    """The pointer; None where there is none, or none that can be read."""
    try:
        return read_active(home)
    except UnreadableFileError:
        return None


def resolve_model_dir(home: Home, model_dir: str) -> Path:
    """The folder that a pointer names.

    Raises:
        BundleError: the path is absolute or leaves the home, also through a link.
    """
    try:
        path = (home.root / model_dir).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a loop of links
        raise BundleError(home.root, f"invalid: model_dir {model_dir!r} is not a path: {error}") from error
    if Path(model_dir).is_absolute() or ".." in Path(model_dir).parts or not path.is_relative_to(home.root.resolve()):
        raise BundleError(home.root / model_dir, "invalid: model_dir must stay within the home")
    return path


def read_policy(home: Home) -> dict[str, object] | None:
    """inference_policy.json; None where it is missing or unreadable."""
    if not home.inference_policy.exists():
        return None
    try:
        return read_json_object(home.inference_policy, max_bytes=MAX_POINTER_BYTES)
    except UnreadableFileError:
        return None


def pointer_state(home: Home) -> tuple[str | None, str | None]:
    """SHA-256 of active.json and of inference_policy.json; None where there is no such file."""
    return bytes_hash_or_none(home.active_pointer), bytes_hash_or_none(home.inference_policy)


def pointer_sequence(home: Home) -> int:
    """Number of the history record that set the pointer; 0 where none of ours did, or it cannot be read."""
    try:
        pointer = read_active(home)
    except UnreadableFileError:
        return 0
    return 0 if pointer is None else pointer.sequence or 0


def find_running(home: Home) -> str | None:
    """The model_dir that taskclf follows: the policy's where there is one, else the pointer's; None where neither can be read."""
    model_dir = (read_policy(home) or {}).get("model_dir")
    if isinstance(model_dir, str):
        return model_dir
    try:
        pointer = read_active(home)
    except UnreadableFileError:
        return None
    return None if pointer is None else pointer.model_dir


def is_model_id(name: str) -> bool:
    """Whether a name can be that of a bundle's folder: no path, not hidden."""
    return bool(name) and Path(name).name == name and not name.startswith(".")


def find_bundle(home: Home, model_id: str) -> Path | None:
    """The folder of a bundle wherever a retrain may have put it, or None."""
    if not is_model_id(model_id):
        return None
    folders = (home.models, home.challengers, home.pending_models, home.rejected_models)
    return next((folder / model_id for folder in folders if (folder / model_id).is_dir()), None)


def require_bundle(home: Home, model_id: str) -> Path:
    """As `find_bundle`.

    Raises:
        BundleError: there is no such bundle.
    """
    folder = find_bundle(home, model_id)
    if folder is None:
        raise BundleError(home.challengers / model_id, "there is no such bundle in models/ or in artifacts/")
    return folder
