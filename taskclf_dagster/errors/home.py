"""Errors about paths that a person gives, the home, and its Dagster instance."""

from pathlib import Path
from typing import Literal

from taskclf_dagster.errors.base import TaskclfDagsterError


class PathError(TaskclfDagsterError):
    """A path that a person gave has no one meaning.

    Attributes:
        kind: url; relative where it must be absolute; unknown_user for a `~` without a folder; no_working_directory if that was deleted.
    """

    def __init__(
        self, source: str, path: str, kind: Literal["url", "relative", "unknown_user", "no_working_directory"], reason: str, fix: str
    ) -> None:
        self.kind = kind
        super().__init__(f"{source} is {path!r}, which cannot be used: {reason}. {fix}.")


class HomeNotFoundError(TaskclfDagsterError):
    """The folder is no taskclf home; nothing was written into it.

    Attributes:
        kind: missing if it is no folder; not_a_home if it holds nothing that a home has.
    """

    def __init__(self, home: Path, kind: Literal["missing", "not_a_home"] = "missing") -> None:
        self.kind = kind
        found = "" if kind == "missing" else ": the folder has neither data/processed nor models"
        super().__init__(
            f"There is no taskclf home at {home}{found}. Set TASKCLF_HOME to the folder that holds data/processed, or make a demo home "
            "with `taskclf-dagster demo`."
        )


InstanceErrorKind = Literal[
    "missing", "not_a_folder", "path", "unwritable", "settings", "damaged", "locked", "unreachable", "not_opened", "other_home"
]
"""The reason why a Dagster instance cannot be used."""


class InstanceError(TaskclfDagsterError):
    """The Dagster instance, which keeps the history of runs, cannot be used. Models, decisions and labels are in the home and unharmed.

    Attributes:
        kind: the reason; other_home if it is that of another home.
    """

    def __init__(self, folder: Path, kind: InstanceErrorKind, reason: str, fix: str) -> None:
        self.kind: InstanceErrorKind = kind
        super().__init__(f"The Dagster instance {folder} cannot be used: {reason.rstrip('.')}. {fix.rstrip('.')}.")
