"""Adds to taskclf's labelling queue, `labels_v1/queue.json`: a list of requests that taskclf shows to its users.

The file belongs to taskclf: what is in it stays as it is, whatever its keys. taskclf writes it without a lock, so the file is replaced only
if it is still the one that was read.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from taskclf_dagster.domain.storage.files import make_folders, read_bytes_if_exists, write_atomic
from taskclf_dagster.domain.storage.filesystem import LOCK_TIMEOUT_SECONDS
from taskclf_dagster.domain.storage.folder_lock import lock_folder
from taskclf_dagster.domain.storage.json_files import parse_json
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

ATTEMPTS = 5
"""Times that the file is read and written again while another program changes it."""


class LabelRequest(BaseModel):
    """An entry of the queue, with the keys and values that taskclf 0.4 reads; any other reason makes it refuse the whole file."""

    model_config = ConfigDict(frozen=True)

    request_id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    user_id: str
    bucket_start_ts: AwareDatetime
    bucket_end_ts: AwareDatetime
    reason: Literal["low_confidence", "drift"] = "low_confidence"
    confidence: float
    predicted_label: str
    created_at: AwareDatetime
    status: Literal["pending"] = "pending"


class _ChangedMeanwhileError(Exception):
    """Another program wrote the file after it was read."""


def add_to_label_queue(home: Home, requests: Sequence[LabelRequest]) -> list[LabelRequest]:
    """Adds requests to the queue, unless an entry of the same user, whatever its status, is about some of the same time.

    Returns:
        The requests that were added.

    Raises:
        UnreadableFileError: the file is no list of entries, or another program keeps changing it; it stays as it is.
    """
    queue = home.label_queue
    make_folders(queue.parent)
    with lock_folder(queue.parent, timeout=LOCK_TIMEOUT_SECONDS):
        for _ in range(ATTEMPTS):
            try:
                return _add(queue, requests)
            except _ChangedMeanwhileError:
                continue
    raise UnreadableFileError(queue, "another program keeps changing it", "Close taskclf's labelling page, and repeat the command")


def _add(queue: Path, requests: Sequence[LabelRequest]) -> list[LabelRequest]:
    before = read_bytes_if_exists(queue)
    entries = [] if before is None else _parse(queue, before)
    asked = [time for time in map(_time_of, entries) if time is not None]
    added = [request for request in requests if not any(_overlaps(request, *time) for time in asked)]
    if added:
        content = json.dumps([*entries, *(request.model_dump(mode="json") for request in added)], indent=2)
        write_atomic(queue, partial(_write_unless_changed, queue, before, content.encode()))
    return added


def _write_unless_changed(queue: Path, before: bytes | None, content: bytes, temporary: Path) -> None:
    temporary.write_bytes(content)
    if read_bytes_if_exists(queue) != before:
        raise _ChangedMeanwhileError


def _parse(queue: Path, content: bytes) -> list[dict[str, object]]:
    fix = "Restore the file, or remove it; taskclf then begins a new queue"
    try:
        entries = parse_json(content)
    except ValueError as error:
        raise UnreadableFileError(queue, str(error), fix) from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnreadableFileError(queue, "a JSON list of objects was expected", fix)
    return entries


def _time_of(entry: dict[str, object]) -> tuple[str, datetime, datetime] | None:
    """Returns the user of an entry with its start and end; None if it has none that can be read."""
    try:
        start, end = (_parse_time(entry[key]) for key in ("bucket_start_ts", "bucket_end_ts"))
        return str(entry["user_id"]), start, end
    except (KeyError, ValueError):
        return None


def _parse_time(value: object) -> datetime:
    time = datetime.fromisoformat(str(value))
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _overlaps(request: LabelRequest, user: str, start: datetime, end: datetime) -> bool:
    return request.user_id == user and request.bucket_start_ts < end and start < request.bucket_end_ts
