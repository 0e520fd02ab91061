"""Reads a record from a JSON file of its own. Add a reader here only if it serves records of every kind."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.validation_text import describe_validation_error

_Record = TypeVar("_Record", bound=Record)


def read_record_file(path: Path, kind: type[_Record], *, fix: str) -> _Record | None:
    """Reads a record; None if the file does not exist.

    Args:
        path: the file.
        kind: the class of the record.
        fix: what to do about a damaged file, as a sentence without full stop.

    Raises:
        UnreadableFileError: the file is damaged.
    """
    looked = look_at_json(path)
    if looked.error is not None:
        raise UnreadableFileError(path, looked.error.reason, fix) from looked.error
    if looked.document is None:
        return None
    try:
        return kind.model_validate(looked.document)
    except ValidationError as error:
        raise UnreadableFileError(path, describe_validation_error(error), fix) from error
