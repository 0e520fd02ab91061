"""Errors of a Dagster instance as one sentence with its path and a way out, instead of the traceback of a database.

Only what the instance raised is explained: errors of the home pass as they are. Opening instances is in `instance`.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import yaml
from dagster import DagsterInvalidConfigError

from taskclf_dagster.errors import InstanceError, TaskclfDagsterError

UNSUPPORTED = "%?*[]"
"""Characters of a path with which Dagster finds another database file, or no settings."""


ANOTHER_FOLDER = "Set DAGSTER_HOME to a folder that exists, and that you may write to"


RESTORE = "Restore it from a backup, or move it away: the history of runs then begins anew, and models and decisions stay"


def check_folder(folder: Path) -> None:
    """Checks that a folder can hold an instance.

    Raises:
        InstanceError: it does not exist, is no folder, may not be written to, or has a character in its path that Dagster cannot use.
    """
    unsupported = sorted(set(UNSUPPORTED) & set(str(folder)))
    if unsupported:
        fix = f"Set DAGSTER_HOME to a folder whose path has none of {' '.join(UNSUPPORTED)}"
        raise InstanceError(folder, "path", f"its path has {' and '.join(unsupported)}, with which Dagster does not find its files", fix)
    if not folder.exists():
        raise InstanceError(folder, "missing", "the folder does not exist", f"Make it with `mkdir -p '{folder}'`, or unset DAGSTER_HOME")
    if not folder.is_dir():
        raise InstanceError(folder, "not_a_folder", "it is a file, not a folder", ANOTHER_FOLDER)
    _require_writable(folder, folder)


@contextmanager
def explain_errors(folder: Path) -> Iterator[threading.Event]:
    """Turns what an instance raises into an InstanceError within the block.

    Until the event that it yields is set, the instance is being opened, and every error is its own; after that, those of its database.

    Raises:
        InstanceError: the instance cannot be opened, or its database failed.
    """
    is_open = threading.Event()
    try:
        yield is_open
    except TaskclfDagsterError:
        raise
    except Exception as error:
        from alembic.util.exc import CommandError  # costs half a second; only an error pays for it
        from sqlalchemy.exc import SQLAlchemyError

        chain = list(_walk(error))
        database = next((found for found in chain if isinstance(found, SQLAlchemyError | sqlite3.Error | CommandError)), None)
        if database is not None:
            raise _explain_database(folder, database) from error
        if is_open.is_set():
            raise
        raise _explain_settings(folder, error) from error


def _explain_settings(folder: Path, error: Exception) -> InstanceError:
    if isinstance(error, OSError):
        return InstanceError(Path(error.filename or folder), "not_opened", error.strerror or str(error), ANOTHER_FOLDER)
    if isinstance(error, yaml.MarkedYAMLError):
        line = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        reason = f"its dagster.yaml is no YAML: {error.problem}{line}"
    elif isinstance(error, DagsterInvalidConfigError) and error.errors:
        reason = f"its dagster.yaml is not valid: {'; '.join(_one_line(found.message) for found in error.errors)}"
    else:
        reason = f"it cannot be opened with its dagster.yaml: {_one_line(str(error))}"
    return InstanceError(folder, "settings", reason, "Correct the file; `taskclf-dagster init` writes a working one into a home")


def _explain_database(folder: Path, error: Exception) -> InstanceError:
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    reason = _one_line(str(cause))
    if isinstance(error, SQLAlchemyError) and not isinstance(cause, sqlite3.Error):
        return InstanceError(folder, "unreachable", f"its database failed: {reason}", "Start the database, or correct dagster.yaml")
    if "locked" in reason:
        return InstanceError(folder, "locked", "another process has locked its database", "Let it end, or stop it, and try again")
    for path in sorted(folder.rglob("*.db"), key=lambda path: (len(path.parts), path)):
        _require_writable(path.parent, folder)
        _require_writable(path, folder)
        if not _is_whole(path):
            return InstanceError(folder, "damaged", f"its file {path.relative_to(folder)} is damaged ({reason})", RESTORE)
    return InstanceError(folder, "damaged", f"its history is damaged ({reason})", RESTORE)


def _require_writable(path: Path, folder: Path) -> None:
    if not os.access(path, os.R_OK | os.W_OK):
        reason = "you may not write to it" if path == folder else f"you may not write to {path.relative_to(folder)} in it"
        raise InstanceError(folder, "unwritable", reason, ANOTHER_FOLDER)


def _is_whole(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _walk(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and its causes."""
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _one_line(text: str) -> str:
    """Returns the first line of a message, without a full stop."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason was given").rstrip(".:")
