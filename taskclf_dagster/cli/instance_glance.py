"""Looks at the SQLite file of a Dagster instance, without importing Dagster, which takes longer than everything else of a quick command.

Tables and columns are Dagster's own; a test compares what is found with what Dagster says. Storage of other kinds is not looked at.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.cli.instance_choice import choose_instance
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, home_tag
from taskclf_dagster.domain.storage.instance_owner import find_former_paths
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

FILES = ("history/runs.db", "storage/history/runs.db")
"""Places of the file in the folder of an instance: its own, and that of a checkout."""


_RETRAIN = """
    SELECT runs.run_id, runs.status FROM runs JOIN run_tags ON run_tags.run_id = runs.run_id
    WHERE runs.pipeline_name = 'retrain' AND run_tags.key = ? AND run_tags.value IN ({homes}) ORDER BY runs.id DESC LIMIT 1
"""


_HEARTBEAT = "SELECT CAST(strftime('%s', timestamp) AS REAL) FROM daemon_heartbeats WHERE daemon_type = 'SCHEDULER'"


class InstanceGlance(NamedTuple):
    """The newest of the instance.

    Attributes:
        heartbeat_age: time since the scheduler's last heartbeat [s]; None without one.
        run_id: the newest run of the job `retrain` for the home; None without one.
        status: its status, as Dagster names it; None without a run.
    """

    heartbeat_age: float | None = None
    run_id: str | None = None
    status: str | None = None


def glance_at_instance(home: Home) -> InstanceGlance | None:
    """Looks at the instance of a home; None if it has no SQLite file, or it cannot be read now."""
    try:
        folder = choose_instance(home).folder
        file = next((folder / name for name in FILES if (folder / name).is_file()), None)
        return None if file is None else _read(file, [home_tag(home), *find_former_paths(folder, home)])
    except (TaskclfDagsterError, OSError, sqlite3.Error):
        return None


def _read(file: Path, homes: list[str]) -> InstanceGlance:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=0.2)) as database:
        beat = database.execute(_HEARTBEAT).fetchone()
        query = _RETRAIN.format(homes=", ".join("?" * len(homes)))
        run = database.execute(query, (HOME_TAG, *homes)).fetchone() or (None, None)
    return InstanceGlance(None if beat is None else time.time() - beat[0], *run)
