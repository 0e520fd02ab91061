"""Finds and removes orphaned files: temporary files below artifacts/ and of the settings file, of processes that have ended.

Number and mark of the process are in their name. Of a process of this PID namespace no time is compared, because clocks are set. A process
of another machine or container cannot be looked up, so its files stay until nothing has written to them for two days, far longer than a
write takes. Every write ends with a rename, so an orphaned file was never visible under its final name. Interrupted changes of models/
belong to `registry.recovery`.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from taskclf_dagster.domain.storage.files import TEMPORARY, remove_tree
from taskclf_dagster.domain.storage.process_start import MARK_DIGITS, is_of_this_namespace
from taskclf_dagster.home import Home

ABANDONED_AFTER = timedelta(days=2)
"""The time without a write after which a temporary file of another machine or container is an orphan."""


_NAME = re.compile(rf"^\..+\.(\d+)-([0-9a-f]{{32}}){re.escape(TEMPORARY)}$")


def remove_orphaned_files(home: Home, *, is_alive: Callable[[int, str], bool]) -> list[str]:
    """Removes the temporary files and folders of processes that have ended. Those that cannot be removed are kept.

    Args:
        home: the taskclf home.
        is_alive: returns True if the process with this id is running and has this mark; asked about processes of this
            PID namespace only.

    Returns:
        The removed paths, relative to the home.
    """
    removed = []
    for path, process, mark in find_temporary_files(home):
        with suppress(OSError):
            if os.path.lexists(path) and (not is_alive(process, mark) if is_of_this_namespace(mark) else _is_abandoned(path)):
                remove_tree(path)
                removed.append(str(path.relative_to(home.root)))
    return removed


def find_temporary_files(home: Home) -> Iterator[tuple[Path, int, str]]:
    """Yields each temporary file and folder below artifacts/ or of the settings file, with id and mark of the process that created it.

    Other processes may add and remove files meanwhile. Temporary folders and links are not entered.
    """
    data = (home.labeled_windows, home.snapshots, home.predictions, home.decisions, home.suggestions, home.calibrators)
    watched = (home.scores, home.drift_reports, home.performance_drops, home.artifacts / "telemetry")
    searched = (*data, *watched, home.challengers, home.records, home.outbox, home.reports, home.backtest)
    yield from _find_in(home.root, (path.name for path in home.root.glob(f".{home.settings_file.name}.*{TEMPORARY}")))
    for folder, folders, files in os.walk(home.artifacts):
        parent = Path(folder)
        yield from _find_in(parent, [*folders, *files])
        within = (path for path in map(parent.joinpath, folders) if parent != home.artifacts or path in searched)
        folders[:] = sorted(path.name for path in within if not _NAME.match(path.name))


def _is_abandoned(path: Path) -> bool:
    """Returns True if nothing was written to a temporary file, or to what a temporary folder holds, for ABANDONED_AFTER."""
    within = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    newest = max(one.lstat().st_mtime for one in (path, *within))
    return time.time() - newest > ABANDONED_AFTER.total_seconds()


def _find_in(parent: Path, names: Iterable[str]) -> Iterator[tuple[Path, int, str]]:
    for name in sorted(names):
        match = _NAME.match(name)
        if match is not None:
            yield parent / name, int(match[1]), match[2][:MARK_DIGITS]
