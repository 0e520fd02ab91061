"""Finds what would stop a run from writing its result, before anything is trained: links, file systems, permissions, locks, free space.

Writes nothing. Links of folders below artifacts/ are refused only where a writer or a later reader refuses them. File systems without
working locks are found by the run lock, which every retrain takes first.
"""

import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.domain.storage.files import MEBIBYTE, list_folders
from taskclf_dagster.domain.storage.filesystem import require_lock_file
from taskclf_dagster.domain.storage.path_names import is_within
from taskclf_dagster.errors import LockFileError, RefusalKind, RegistryRefusedError
from taskclf_dagster.home import Home

SMALLEST_NEED = 64 * MEBIBYTE
"""Free space [bytes] that a retrain needs at least: snapshot, challenger and its copy in models/."""


BUNDLES_NEEDED = 3
"""Free space as a multiple of the largest bundle: the challenger, its copy in models/, and as much for the snapshot."""


_PERMIT = "Give the user that retrains write permission, or mount the disk for writing."


class WriteProblem(NamedTuple):
    """A reason why a folder or a file of the home cannot be written to.

    Attributes:
        kind: the reason, as the writer's refusal has it.
        path: the folder or file.
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
    unusable = find_link_problem(home) or [*_find_links_of_artifacts(home), *_find_permission_problems(home)]
    return unusable or [*_find_rename_problems(home), *_find_lock_problems(home), *_find_space_problem(home)]


def find_link_problem(home: Home) -> list[WriteProblem]:
    """Returns a problem if models/ is a link that leaves the home: renames into it would not be atomic, and taskclf may not follow it."""
    return [] if is_within(home.models, home.root) else [_leaves_home(home.models)]


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


def _leaves_home(folder: Path) -> WriteProblem:
    fix = "Make it a folder of the home; to use another disk, move the whole home there."
    return WriteProblem("folder_leaves_home", folder, "it is a link that leaves the home", fix)


def _find_links_of_artifacts(home: Home) -> Iterator[WriteProblem]:
    """Yields artifacts/ or artifacts/predictions if it is a link that leaves the home: predictions are read within the home only."""
    yield from islice((_leaves_home(folder) for folder in (home.artifacts, home.predictions) if not is_within(folder, home.root)), 1)


def _find_permission_problems(home: Home) -> Iterator[WriteProblem]:
    """Yields the folders that a run writes into and cannot: each of them, or the folder in which it would be made, once."""
    for existing in dict.fromkeys(_nearest_existing(folder) for folder in _written_folders(home)):
        if existing.is_symlink() and not existing.exists():
            fix = "Mount the disk that it leads to, or remove the link: the folder is made again."
            yield WriteProblem("not_writable", existing, "it is a link to something that does not exist", fix)
        elif not existing.is_dir():
            yield WriteProblem("not_writable", existing, "it is not a folder", "Move it away; it is made again.")
        elif not os.access(existing, os.W_OK | os.X_OK):
            yield WriteProblem("not_writable", existing, "it cannot be written to", _PERMIT)


def _written_folders(home: Home) -> list[Path]:
    """Returns the folders that a retrain and its promotion write into; those above them come first."""
    data = [home.labeled_windows, home.snapshots, home.predictions, home.decisions, home.outbox]
    bundles = [home.challengers, home.pending_models, home.rejected_models]
    return [home.models, home.artifacts, *data, *bundles, home.records, *list_folders(home.records)]


def _find_rename_problems(home: Home) -> Iterator[WriteProblem]:
    """Yields folders on another file system than the one from which a bundle is moved there; such a move cannot be atomic."""
    moves = ((home.challengers, home.pending_models), (home.challengers, home.rejected_models), (home.staging, home.models))
    for source, target in moves:
        if len({_nearest_existing(folder).stat().st_dev for folder in (source, target)}) > 1:
            reason = f"it is on another file system than {source}, from which bundles are moved there"
            yield WriteProblem("other_file_system", target, reason, "Put both on one file system, or move the whole home.")


def _find_lock_problems(home: Home) -> Iterator[WriteProblem]:
    """Yields locks that cannot be taken, and files that are appended to and cannot be."""
    for path in (home.registry_lock, home.retrain_lock):
        try:
            require_lock_file(path)
        except LockFileError as error:
            yield WriteProblem("lock_unusable", path, error.reason, "Move it away; it is made again.")
    for path in (home.registry_lock, home.retrain_lock, home.active_history):
        if path.is_file() and not os.access(path, os.W_OK):
            yield WriteProblem("not_writable", path, "it cannot be written to", _PERMIT)


def _find_space_problem(home: Home) -> Iterator[WriteProblem]:
    """Yields a folder with too little space, one for each file system."""
    largest = max((_size(bundle) for bundle in list_folders(home.models)), default=0)
    needed = max(SMALLEST_NEED, BUNDLES_NEEDED * largest)
    existing = [_nearest_existing(folder) for folder in (home.artifacts, home.snapshots, home.challengers, home.models)]
    for folder in {folder.stat().st_dev: folder for folder in existing}.values():
        free = shutil.disk_usage(folder).free
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
