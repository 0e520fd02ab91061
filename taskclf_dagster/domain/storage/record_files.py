"""Reads and writes a record in a JSON file of its own. Add a function here only if it serves records of every kind."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.records import Record, json_hash
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
    document = _read_document(path, fix)
    return None if document is None else _parse(document, path, kind, fix)


def write_hashed_record(path: Path, record: Record, *, hash_key: str) -> None:
    """Writes a record with the hash of its values under a key that it does not have."""
    values = record.model_dump(mode="json")
    write_json(path, {**values, hash_key: json_hash(values)})


def read_hashed_record(path: Path, kind: type[_Record], *, hash_key: str, fix: str) -> _Record | None:
    """Reads a record as `write_hashed_record` writes it; None if the file does not exist.

    Raises:
        UnreadableFileError: the file is damaged, or was changed after it was written.
    """
    document = _read_document(path, fix)
    if document is None:
        return None
    record = _parse({key: value for key, value in document.items() if key != hash_key}, path, kind, fix)
    if document.get(hash_key) != json_hash(record.model_dump(mode="json")):
        raise UnreadableFileError(path, "its hash is not that of its values: it was changed after it was written", fix)
    return record


def read_records(paths: Iterable[Path], read: Callable[[Path], _Record | None]) -> tuple[list[_Record], list[UnreadableFileError]]:
    """Reads the records of several files; returns them in the order of the files, and the errors of those that cannot be read.

    Args:
        paths: the files.
        read: reads one; None if it is no record.
    """
    records, damaged = list[_Record](), list[UnreadableFileError]()
    for path in paths:
        try:
            found = read(path)
        except UnreadableFileError as error:
            damaged.append(error)
        else:
            records += [] if found is None else [found]
    return records, damaged


def _read_document(path: Path, fix: str) -> dict[str, object] | None:
    looked = look_at_json(path)
    if looked.error is not None:
        raise UnreadableFileError(path, looked.error.reason, fix) from looked.error
    return looked.document


def _parse(values: dict[str, object], path: Path, kind: type[_Record], fix: str) -> _Record:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UnreadableFileError(path, describe_validation_error(error), fix) from error
