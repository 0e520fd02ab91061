"""Finds our own JSON files that cannot be read, and keeps them aside, so that what follows from other files is written again.

Pointer, policy, history, receipts and bundles have findings and repairs of their own. Files of taskclf (drift reports, calibrators) are
never moved.
"""

import os
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, parse_last_decided
from taskclf_dagster.domain.events.delivery_state import DeliveryState
from taskclf_dagster.domain.events.outbox import DELIVERY, REPORTED_DECISION, event_path, read_outbox, write_event
from taskclf_dagster.domain.registry.history import History
from taskclf_dagster.domain.registry.history_events import EVENT_TYPES, build_event
from taskclf_dagster.domain.registry.index_cache import IndexCache
from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.home_id import HomeId
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.home import Home
from taskclf_dagster.validation_text import describe_validation_error

DAMAGED = ".damaged"


class RecoveryStep(NamedTuple):
    """One thing that a recovery did.

    Attributes:
        kind: the thing.
        detail: a description with the names of what was changed.
    """

    kind: Literal["file_kept", "event_written", "history_cut", "remains_removed", "change_finished", "record_written"]
    detail: str

    def __str__(self) -> str:
        return self.detail


class DamagedFile(NamedTuple):
    """A file that cannot be read.

    Attributes:
        path: the file.
        problem: the reason.
        is_event: True if it should be an event or the state of their delivery.
    """

    path: Path
    problem: str
    is_event: bool


def find_damaged_files(home: Home) -> list[DamagedFile]:
    """Returns the damaged ones among the last decided run, the latest records of assets, index, run lock holder, and outbox.

    The cursor of events is not among them: without it events are missing, which is a finding of its own.
    """
    found = [DamagedFile(path, problem, path.parent == home.outbox) for path, problem in _find_damaged_state(home)]
    return found + [DamagedFile(home.outbox / name, problem, is_event=True) for name, problem in read_outbox(home).damaged.items()]


def set_damaged_files_aside(home: Home, history: History) -> list[RecoveryStep]:
    """Renames damaged files, and writes the events among them again that are those of a pointer change; index and states follow later.

    Args:
        home: the taskclf home; its registry lock is held.
        history: its history.

    Returns:
        What was done.
    """
    damaged, done = find_damaged_files(home), list[RecoveryStep]()
    for file in damaged:
        aside = move_aside(file.path)
        done.append(RecoveryStep("file_kept", f"kept {file.path.relative_to(home.root)}, which cannot be read, as {aside.name}"))
    lost = {file.path for file in damaged if file.is_event}
    for entry in history.moves if lost else []:
        if entry.sequence is not None and entry.action in EVENT_TYPES:
            event = build_event(entry)
            if event_path(home, event.event_id) in lost:
                write_event(home, event)
                done.append(RecoveryStep("event_written", f"wrote event {event.event_id} again, from the history"))
    return done


def set_history_aside(home: Home, history: History) -> list[RecoveryStep]:
    """Renames a history that is no file, and returns what was done; the next record begins a new one.

    Args:
        home: the taskclf home; its registry lock is held.
        history: as it was read.
    """
    if history.unreadable is None:
        return []
    aside = move_aside(home.active_history)
    name = home.active_history.relative_to(home.root)
    return [RecoveryStep("file_kept", f"kept {name}, which cannot be read ({history.unreadable}), as {aside.name}")]


def keep_copy(path: Path) -> Path:
    """Copies what cannot be read and is about to be replaced, and returns the copy; what is no file is renamed."""
    if not path.is_file():
        return move_aside(path)
    aside = _free_name(path)
    write_atomic(aside, path.read_bytes())
    return aside


def _free_name(path: Path) -> Path:
    """Returns the name under which what cannot be read is kept: an earlier one is not replaced."""
    names = chain([path.with_suffix(DAMAGED)], (path.with_suffix(f"{DAMAGED}{number}") for number in count(2)))
    return next(name for name in names if not os.path.lexists(name))


def move_aside(path: Path) -> Path:
    """Renames what cannot be used, and returns the new path."""
    aside = _free_name(path)
    file_system().replace(path, aside)
    file_system().sync_folder(path.parent)
    return aside


def _find_damaged_state(home: Home) -> Iterator[tuple[Path, str]]:
    kinds: dict[Path, Callable[[dict[str, object]], object] | None] = {
        home.decisions / LAST_DECIDED: parse_last_decided,
        home.home_id_file: HomeId.model_validate,
        home.index: IndexCache.model_validate,
        home.run_lock_holder: None,
        home.run_progress: None,
        home.outbox / DELIVERY: DeliveryState.model_validate,
        home.outbox / REPORTED_DECISION: None,
        **dict.fromkeys(sorted(home.records.glob("*/latest.json"))),
    }
    for path, parse in kinds.items():
        file = look_at_json(path)
        if file.error is not None:
            yield path, file.error.reason
        elif file.document is not None and parse is not None:
            try:
                parse(file.document)
            except ValidationError as error:
                yield path, describe_validation_error(error)
