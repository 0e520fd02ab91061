"""The progress of the present retrain in a small file, which any other process can read at any time.

A note for people: it is replaced in place of the one before, is not synced, and nothing but what is shown follows from it. Dagster's event
log is no place for it, whose entries are kept, and cost more than a round of training each.
"""

from contextlib import suppress

from pydantic import NonNegativeInt, ValidationError

from taskclf_dagster.domain.storage.files import write_note
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home


class RunProgress(Record):
    """The work that a run is doing.

    Attributes:
        run_id: the run.
        part: what is being done, in plain words.
        done: number of rounds that are done.
        total: number of all of them.
    """

    run_id: str
    part: str
    done: NonNegativeInt
    total: NonNegativeInt


def write_run_progress(home: Home, progress: RunProgress) -> None:
    """Writes `artifacts/retrain_progress.json`; what keeps it from being written is ignored."""
    with suppress(OSError):
        write_note(home.run_progress, progress.model_dump_json() + "\n")


def read_run_progress(home: Home, run_id: str) -> RunProgress | None:
    """Returns what a run does now; None if it has not said so, or the file cannot be read."""
    try:
        found = RunProgress.model_validate(read_json_object(home.run_progress))
    except (UnreadableFileError, ValidationError):
        return None
    return found if found.run_id == run_id else None


def remove_run_progress(home: Home) -> None:
    """Removes the file; what keeps it from being removed is ignored."""
    with suppress(OSError):
        file_system().remove_file(home.run_progress)
