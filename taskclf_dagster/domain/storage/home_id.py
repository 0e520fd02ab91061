"""The id of a home: random, made once, so that a receipt of one home is not taken for that of another.

It is in `artifacts/home_id.json` and travels with the home when that is moved or copied.
"""

import uuid

from pydantic import ValidationError

from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.path_names import FileName
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home


class HomeId(Record):
    """The content of `artifacts/home_id.json`."""

    home_id: FileName


def read_home_id(home: Home) -> str | None:
    """Returns the id of a home; None if none was made yet.

    Raises:
        UnreadableFileError: the file is damaged.
    """
    file = look_at_json(home.home_id_file)
    if file.document is None and file.error is None:
        return None
    try:
        return HomeId.model_validate(file.document).home_id
    except ValidationError as error:
        fix = "Restore it from a backup: receipts and history records state the id. Else `taskclf-dagster registry repair` keeps it aside."
        reason = "it holds no home_id" if file.error is None else file.error.reason
        raise UnreadableFileError(home.home_id_file, reason, fix) from error


def find_home_id(home: Home) -> str | None:
    """Returns the id of a home; None if none was made yet, or its file is damaged."""
    try:
        return read_home_id(home)
    except UnreadableFileError:
        return None


def ensure_home_id(home: Home) -> str:
    """Returns the id of a home, and makes one if there is none.

    Raises:
        UnreadableFileError: the file is damaged.
    """
    found = read_home_id(home)
    if found is not None:
        return found
    made = HomeId(home_id=uuid.uuid4().hex)
    write_json(home.home_id_file, made.model_dump(mode="json"))
    return made.home_id
