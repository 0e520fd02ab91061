"""The record of changes of a home's settings file: one line of JSON for each key that changed, in `artifacts/config_changes.jsonl`.

A change by the command line or the API is recorded before it is made. What somebody edited in the file itself is found and recorded with
the next change: it is the difference between the file and what the lines add up to.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, JsonValue, ValidationError

from taskclf_dagster.domain.storage.files import make_folders
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.json_files import parse_json
from taskclf_dagster.domain.storage.records import Record, replace_unrepresentable
from taskclf_dagster.home import Home

Via = Literal["api", "command line", "file"]
"""The way of a change; `file` is an editor, or another program."""


MAX_TEXT = 200
"""Characters of a name or a text value that are recorded."""


MAX_BYTES = 16 * 1024 * 1024
"""Of the file, only its last so many bytes are read."""


class SettingsChange(Record):
    """One changed key of the settings file of a home.

    Attributes:
        at: the time; of an edit of the file, when it was found.
        who: the person, as far as known.
        via: the way.
        key: with dots.
        before, after: what the file set; None if it did not, so that the shipped value held.
    """

    at: AwareDatetime
    who: str | None
    via: Via
    key: str
    before: JsonValue
    after: JsonValue


def read_changes(home: Home) -> list[SettingsChange]:
    """Reads the recorded changes, the newest last. A line that is damaged, such as one torn off by a crash, is passed over.

    Raises:
        OSError: the file exists and cannot be read.
    """
    found = []
    for line in _read_tail(home).split(b"\n"):
        try:
            found.append(SettingsChange.model_validate(parse_json(line)))
        except (ValueError, ValidationError):
            continue
    return found


def find_unrecorded(recorded: Iterable[SettingsChange], values: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """Returns what differs between the file and its record: by key the recorded and the present value.

    Args:
        recorded: the changes, the newest last.
        values: the present values of the file by key, inner keys with dots.
    """
    known: dict[str, object] = {change.key: change.after for change in recorded}
    now = {key: _plain(value) for key, value in values.items()}
    return {key: (known.get(key), now.get(key)) for key in known | now if known.get(key) != now.get(key)}


def append_changes(home: Home, changes: Mapping[str, tuple[object, object]], *, who: str | None, via: Via, at: datetime) -> None:
    """Appends a line for each changed key, durably; the lock of the settings file is held.

    Args:
        home: the taskclf home.
        changes: values before and after by key.
        who: the person, as far as known.
        via: the way.
        at: the time.
    """
    if not changes:
        return
    person = None if who is None else who[:MAX_TEXT]
    records = [
        SettingsChange(at=at.astimezone(UTC), who=person, via=via, key=key[:MAX_TEXT], before=_plain(before), after=_plain(after))
        for key, (before, after) in changes.items()
    ]
    path = home.settings_changes
    make_folders(path.parent)
    is_whole = _read_tail(home)[-1:] in (b"", b"\n")
    lines = b"".join(json.dumps(each.model_dump(mode="json"), ensure_ascii=False, allow_nan=False).encode() + b"\n" for each in records)
    file_system().append(path, lines if is_whole else b"\n" + lines)
    file_system().sync_file(path)
    file_system().sync_folder(path.parent)


def _read_tail(home: Home) -> bytes:
    try:
        with home.settings_changes.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""


def _plain(value: object) -> JsonValue:
    """Returns a value as JSON keeps it, long texts cut."""
    return json.loads(json.dumps(replace_unrepresentable(value[:MAX_TEXT] if isinstance(value, str) else value)))
