"""Errors about a deployment that serves many homes: the homes file, and the homes that it lists."""

from collections.abc import Sequence
from pathlib import Path

from taskclf_dagster.errors.base import TaskclfDagsterError
from taskclf_dagster.errors.settings import InvalidSetting


class HomesFileError(TaskclfDagsterError):
    """The homes file cannot be read, or says something that is not valid; all of it is listed.

    Attributes:
        path: the homes file.
        invalid: what is wrong with it.
    """

    def __init__(self, path: Path, invalid: Sequence[InvalidSetting]) -> None:
        self.path = path
        self.invalid = tuple(invalid)
        lines = "\n".join(f"  - {setting}" for setting in invalid)
        super().__init__(f"{path} is not a valid homes file:\n{lines}\nEvery key is explained in docs/many-homes.md.")


class HomesNotNamedError(TaskclfDagsterError):
    """The definitions for many homes were loaded without a homes file."""

    def __init__(self, variable: str) -> None:
        super().__init__(
            f"No homes file is named, so there are no homes to serve. Set {variable} to its absolute path; docs/many-homes.md shows one."
        )


class UnknownHomeError(TaskclfDagsterError):
    """The homes file lists no home with a name.

    Attributes:
        name: the name.
    """

    def __init__(self, name: str, path: Path, close: Sequence[str]) -> None:
        self.name = name
        meant = f" Did you mean {' or '.join(close)}?" if close else ""
        super().__init__(f"There is no home named {name!r} in {path}.{meant} `taskclf-dagster homes` lists them.")


class BrokenHomeError(TaskclfDagsterError):
    """A home of the homes file cannot be used; the others can.

    Attributes:
        name: its name.
    """

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"The home {name} cannot be used: {problem.rstrip('.')}.")


class PartitionMissingError(TaskclfDagsterError):
    """A run does not say which home it is for, where an instance serves many."""

    def __init__(self, job: str) -> None:
        super().__init__(
            f"A run of {job} says for which home it is by its partition, and this one has none, or several. Launch it again with one "
            "partition: the name of the home."
        )


class HomeChangedError(TaskclfDagsterError):
    """The home of a run has another folder than when the run was launched; nothing was read or written."""

    def __init__(self, name: str, launched: str, present: str) -> None:
        super().__init__(
            f"The run was launched for the home {name} at {launched}, and the homes file says {present}. Launch it again if that is meant."
        )
