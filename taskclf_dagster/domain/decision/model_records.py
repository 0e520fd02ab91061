"""Reads records about one model each, in files that are named by it."""

from pathlib import Path
from typing import TypeVar

from taskclf_dagster.domain.storage.path_names import FileName, find_name_problem
from taskclf_dagster.domain.storage.record_files import read_hashed_record
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError


class ModelRecord(Record):
    """A record about one model.

    Attributes:
        model_id: the model; the file is named by it.
    """

    model_id: FileName


_ModelRecord = TypeVar("_ModelRecord", bound=ModelRecord)


def model_record_path(folder: Path, model_id: str) -> Path:
    """Returns the file of the record of a model."""
    return folder / f"{model_id}.json"


def read_model_record(folder: Path, model_id: str, kind: type[_ModelRecord], *, hash_key: str, about: str, fix: str) -> _ModelRecord | None:
    """Reads the record of a model; None if there is none, or its id can be no file.

    Args:
        folder: of the records, as `write_hashed_record` writes them.
        model_id: the model.
        kind: the class of the record.
        hash_key: of its hash.
        about: what a record is of its model, for the message about one of another model: "about", or "the trial of".
        fix: what to do about a damaged file, as a sentence without full stop.

    Raises:
        UnreadableFileError: the file is damaged, or is about another model.
    """
    if find_name_problem(model_id) is not None:
        return None
    path = model_record_path(folder, model_id)
    record = read_hashed_record(path, kind, hash_key=hash_key, fix=fix)
    if record is not None and record.model_id != model_id:
        raise UnreadableFileError(path, f"it is {about} {record.model_id}", fix)
    return record
