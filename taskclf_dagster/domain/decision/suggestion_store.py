"""Reads and writes what to label next after each decision, in `artifacts/suggestions/`.

These files are advice: no receipt names them, and nothing is decided by them.
"""

from pathlib import Path

from pydantic import AwareDatetime

from taskclf_dagster.domain.evaluation.day_effects import DayEffects
from taskclf_dagster.domain.evaluation.label_suggestions import Suggestion
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.record_files import read_record_file
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted


class LabelSuggestions(Record):
    """Stretches of time worth labelling, as found with one decision.

    Attributes:
        as_of: of the decision.
        days: length of the time before it that was searched.
        unlabeled: number of minutes in it that no label of a person touches.
        suggestions: the best first; empty if there is no such time.
        problem: the reason why nothing could be searched; None if it could.
        day_effects: what the labels of single days did to a challenger that was rejected for a regression; None if it was not.
    """

    decision_id: str
    as_of: AwareDatetime
    days: int
    unlabeled: int = 0
    suggestions: tuple[Suggestion, ...] = ()
    problem: str | None = None
    day_effects: DayEffects | None = None

    @property
    def why_none(self) -> str:
        """The reason why there are no suggestions, as the end of a sentence."""
        if self.problem is not None:
            return f"none could be searched for: {self.problem.rstrip('.')}"
        if not self.unlabeled:
            return f"every recorded minute of the {self.days} days before it has a label"
        return f"of {counted(self.unlabeled, 'unlabeled minute')} in the {self.days} days before it, none stands out"


def suggestions_path(home: Home, decision_id: str) -> Path:
    """Returns the file of the suggestions that came with a decision."""
    return home.suggestions / f"{decision_id}.json"


def save_suggestions(home: Home, found: LabelSuggestions) -> None:
    """Writes `artifacts/suggestions/<decision_id>.json`."""
    write_json(suggestions_path(home, found.decision_id), found.model_dump(mode="json"))


def load_suggestions(home: Home, decision_id: str) -> LabelSuggestions | None:
    """Reads the suggestions that came with a decision; None if there is no such file.

    Raises:
        UnreadableFileError: the file is damaged, or is about another decision.
    """
    path, fix = suggestions_path(home, decision_id), "Remove the file; the next retrain makes new suggestions"
    found = read_record_file(path, LabelSuggestions, fix=fix)
    if found is not None and found.decision_id != decision_id:
        raise UnreadableFileError(path, f"it is about decision {found.decision_id}", fix)
    return found
