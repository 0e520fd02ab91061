"""Files that a process was writing when it died: found by the process number in their name, and removed.

Only temporary names of ours; what they were to become was never there, because every write ends with a rename. What a change of models/
left is for `recovery`.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from taskclf_dagster.domain.storage.files import TEMPORARY, remove_tree
from taskclf_dagster.home import Home

_NAME = re.compile(rf"^\..+\.(\d+)-[0-9a-f]{{32}}{re.escape(TEMPORARY)}$")


def remove_orphaned_files(home: Home, *, is_alive: Callable[[int, float], bool]) -> list[str]:
    """Removes the temporary files and folders of processes that are gone; what cannot be removed stays.

    Args:
        home: the taskclf home.
        is_alive: whether the process with this number lives, and did so at this time [s since 1970], when the file was written.

    Returns:
        What was removed, relative to the home.
    """
    removed = []
    for path, process in find_temporary_files(home):
        with suppress(OSError):
            if not is_alive(process, path.lstat().st_mtime):
                remove_tree(path)
                removed.append(str(path.relative_to(home.root)))
    return removed


def find_temporary_files(home: Home) -> Iterator[tuple[Path, int]]:
    """Temporary files and folders of ours below artifacts/, each with the number of the process that made it.

    Other processes may add and remove files meanwhile. Nothing is looked for within a temporary folder, nor behind a link.
    """
    places = (home.labeled_windows, home.snapshots, home.challengers, home.predictions, home.decisions, home.records, home.outbox)
    for folder, folders, files in os.walk(home.artifacts):
        here = Path(folder)
        for name in sorted([*folders, *files]):
            match = _NAME.match(name)
            if match is not None:
                yield here / name, int(match[1])
        within = (path for path in map(here.joinpath, folders) if here != home.artifacts or path in places)
        folders[:] = sorted(path.name for path in within if not _NAME.match(path.name))
