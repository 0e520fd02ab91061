"""Finds what would stop a promotion from writing, before anything is trained: links, permissions, free space. Writes nothing.

File systems without working locks are found by the run lock, which every retrain takes first.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.domain.storage.files import MEBIBYTE, list_folders
from taskclf_dagster.errors import RefusalKind, RegistryRefusedError
from taskclf_dagster.home import Home

SMALLEST_NEED = 64 * MEBIBYTE
"""Free space [bytes] that a retrain needs at least: snapshot, challenger and its copy in models/."""


BUNDLES_NEEDED = 3
"""Free space as a multiple of the largest bundle: the challenger, its copy in models/, and as much for the snapshot."""


class WriteProblem(NamedTuple):
    """A reason why a folder of the home cannot be written to.

    Attributes:
        kind: the reason, as the writer's refusal has it.
        path: the folder.
        reason, fix: for a person; the fix is a sentence.
    """

    kind: RefusalKind
    path: Path
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. {self.fix}"


def find_write_problems(home: Home) -> list[WriteProblem]:
    """Returns what would stop a retrain from writing its result."""
    return find_link_problem(home) or [*_find_permission_problems(home), *_find_space_problem(home)]


def find_link_problem(home: Home) -> list[WriteProblem]:
    """Returns a problem if models/ is a link that leaves the home: renames into it would not be atomic, and taskclf may not follow it."""
    if home.models.resolve().is_relative_to(home.root.resolve()):
        return []
    fix = "Make it a folder of the home; to use another disk, move the whole home there."
    return [WriteProblem("folder_leaves_home", home.models, "it is a link that leaves the home", fix)]


def require_writable(home: Home) -> None:
    """Checks that a retrain could write its result.

    Raises:
        RegistryRefusedError: it could not; the first problem.
    """
    for problem in find_write_problems(home):
        raise refusal(problem)


def refusal(problem: WriteProblem) -> RegistryRefusedError:
    """Returns the error of a writer for a problem."""
    return RegistryRefusedError(f"Writing to {problem.path}", problem.kind, problem.reason, problem.fix)


def _find_permission_problems(home: Home) -> Iterator[WriteProblem]:
    for folder in (home.models, home.artifacts):
        existing = _nearest_existing(folder)
        if not existing.is_dir():
            yield WriteProblem("not_writable", existing, "it is not a folder", "Move it away; it is made again.")
        elif not os.access(existing, os.W_OK | os.X_OK):
            fix = "Give the user that retrains write permission, or mount the disk for writing."
            yield WriteProblem("not_writable", existing, "it cannot be written to", fix)


def _find_space_problem(home: Home) -> Iterator[WriteProblem]:
    folder = home.models if home.models.is_dir() else home.root
    largest = max((_size(bundle) for bundle in list_folders(home.models)), default=0)
    needed, free = max(SMALLEST_NEED, BUNDLES_NEEDED * largest), shutil.disk_usage(folder).free
    if free < needed:
        reason = f"{free / MEBIBYTE:.0f} MiB are free, and a retrain needs {needed / MEBIBYTE:.0f} MiB"
        yield WriteProblem("little_space", folder, reason, "Free some space; `taskclf-dagster prune` removes old bundles.")


def _nearest_existing(path: Path) -> Path:
    """Returns the path itself, or the nearest folder above it that exists."""
    return next(existing for existing in (path, *path.parents) if os.path.lexists(existing))


def _size(folder: Path) -> int:
    """Returns the bytes of the files in a folder; a file that is removed meanwhile counts nothing."""
    with os.scandir(folder) as entries:
        return sum(entry.stat().st_size for entry in entries if entry.is_file())
