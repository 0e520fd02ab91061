"""Reads and writes the first time that a model was found to perform clearly worse than it should, in `artifacts/performance_drops/`.

`domain.monitoring` finds it; a trigger of `domain.scheduling` reads it. There is one file for each model, so each is reported once.
"""

from pathlib import Path

from pydantic import AwareDatetime

from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.path_names import FileName, find_name_problem
from taskclf_dagster.domain.storage.record_files import read_record_file
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home


class PerformanceDrop(Record):
    """The first finding that a model performs clearly worse than it should.

    Attributes:
        found_at: time by the clock.
        as_of: end of the days that it is about.
        macro_f1: over the judged labels of these days [0 to 1, higher is better].
        windows: number of windows with a label of a person.
        reason: what it performs worse than, and by how much.
    """

    model_id: FileName
    found_at: AwareDatetime
    as_of: AwareDatetime
    macro_f1: float
    windows: int
    reason: str


def performance_drop_path(home: Home, model_id: str) -> Path:
    """Returns the file of a model."""
    return home.performance_drops / f"{model_id}.json"


def write_performance_drop(home: Home, drop: PerformanceDrop) -> None:
    """Writes `artifacts/performance_drops/<model_id>.json`."""
    write_json(performance_drop_path(home, drop.model_id), drop.model_dump(mode="json"))


def read_performance_drop(home: Home, model_id: str) -> PerformanceDrop | None:
    """Reads the drop of a model; None if none was found, or its id can be no file.

    Raises:
        UnreadableFileError: the file is damaged, or is about another model.
    """
    if find_name_problem(model_id) is not None:
        return None
    path, fix = performance_drop_path(home, model_id), "Remove the file; it is found again if it still holds"
    drop = read_record_file(path, PerformanceDrop, fix=fix)
    if drop is not None and drop.model_id != model_id:
        raise UnreadableFileError(path, f"it is about model {drop.model_id}", fix)
    return drop
