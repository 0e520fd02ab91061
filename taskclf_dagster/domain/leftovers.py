"""Files that a process was writing when it died: found by the process number in their name, and removed.

Only temporary names of ours; what they were to become was never there, because every write ends with a rename. What a change of models/
left is for `recovery`.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from taskclf_dagster.domain.files import TEMPORARY, remove_tree
from taskclf_dagster.home import Home

_NAME = re.compile(rf"^\..+\.(\d+)-[0-9a-f]{{32}}{re.escape(TEMPORARY)}$")


def sweep_leftovers(home: Home, *, is_alive: Callable[[int], bool]) -> list[str]:
    """Removes the temporary files and folders of processes that are gone.

    Args:
        home: the taskclf home.
        is_alive: whether there is a process with this number.

    Returns:
        What was removed, relative to the home.
    """
    removed = []
    for path, process in find_leftovers(home):
        if not is_alive(process):
            remove_tree(path)
            removed.append(str(path.relative_to(home.root)))
    return removed


def find_leftovers(home: Home) -> Iterator[tuple[Path, int]]:
    """Temporary files and folders of ours below artifacts/, each with the number of the process that made it."""
    folders = (home.labeled_windows, home.snapshots, home.challengers, home.predictions, home.decisions, home.records, home.outbox)
    for folder in (home.artifacts, *folders):
        found = folder.glob(f".*{TEMPORARY}") if folder == home.artifacts else folder.rglob(f".*{TEMPORARY}")
        for path in sorted(found) if folder.is_dir() else []:
            match = _NAME.match(path.name)
            if match is not None:
                yield path, int(match[1])
