"""Homes with a model that runs and a day of new labels, and processes that retrain on them: `hanging` is what they run.

Everything is a process of its own that ends with the test, whatever becomes of it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psutil

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.defs.runs import watchdog
from taskclf_dagster.domain.scheduling.run_lock import RunLockHolder, hold_run_lock
from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.home import Home
from taskclf_dagster_tests.hanging import PLAN, TIMEOUT
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.runs import forget_home
from taskclf_dagster_tests.servers import PROJECT, learnable_home, until, write_config

PROGRAM = "taskclf_dagster_tests.hanging"
ROUTES = {
    "the job in this process": ("-m", PROGRAM, "job"),
    "taskclf-dagster retrain": ("-m", PROGRAM, "cli", "retrain"),
    "dg launch": ("-m", "dagster_dg_cli.cli", "launch", "-m", PROGRAM, "--assets", "*"),
}
"""Ways to launch a retrain without a server, as arguments of Python."""

PATIENCE = 180.0
"""Seconds that another process may take on a busy machine."""


@dataclass(frozen=True)
class Site:
    """A home, an instance and settings, all of its own."""

    folder: Path

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def dagster(self) -> Path:
        return self.folder / "dagster"

    @property
    def plan(self) -> Path:
        return self.folder / "plan"

    @property
    def half_written(self) -> list[str]:
        """Temporary files and folders, wherever in the home."""
        return sorted(str(path.relative_to(self.home.root)) for path in self.home.root.rglob("*.tmp"))

    @property
    def models(self) -> dict[str, bytes]:
        return contents(self.home.models)

    @property
    def is_free(self) -> bool:
        """Whether a retrain could begin at once."""
        told: list[str] = []
        holder = RunLockHolder(run_id="of a test", worker="a test", since=datetime.now(UTC))
        with hold_run_lock(self.home, holder, patience_seconds=0, on_wait=told.append):
            return not told

    @property
    def watchdogs(self) -> list[psutil.Process]:
        """The watchdog processes that look after runs of this home."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if watchdog.__name__ in process.cmdline() and process.environ().get("TASKCLF_HOME") == str(self.home.root):
                    found.append(process)
        return found

    def copy(self, folder: Path) -> "Site":
        shutil.copytree(self.folder, folder)
        copy = Site(folder)
        forget_home(copy.dagster)
        return copy

    def environment(self, *, timeout_seconds: float | None = None) -> dict[str, str]:
        more = {} if timeout_seconds is None else {TIMEOUT: str(timeout_seconds)}
        return {
            **os.environ,
            "DAGSTER_HOME": str(self.dagster),
            "TASKCLF_HOME": str(self.home.root),
            "TASKCLF_DAGSTER_CONFIG": str(self.folder / "config.yaml"),
            "PYTHONPATH": str(PROJECT),
            PLAN: str(self.plan),
            **more,
        }

    def set_plan(self, way: str) -> None:
        """How the next training goes, which is then waited for."""
        Path(f"{self.plan}.process").unlink(missing_ok=True)
        write_atomic(self.plan, way.encode())

    @contextmanager
    def running(self, route: str, way: str, *, timeout_seconds: float | None = None) -> Iterator["Running"]:
        """A retrain in a process of its own, whose training goes this way."""
        self.set_plan(way)
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [sys.executable, *ROUTES[route]],
                cwd=self.folder,
                env=self.environment(timeout_seconds=timeout_seconds),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_heed_interrupts,
            )
            try:
                yield Running(self, process)
                output.seek(0)
                (self.folder / "output").write_bytes(output.read())
            finally:
                for left in (process, *self.watchdogs):
                    left.kill()
                process.wait()

    def await_training(self) -> int:
        """The process that trains, as soon as it does; the next one has to say so again."""
        note = Path(f"{self.plan}.process")
        for _ in until(PATIENCE, every=0.05):
            if note.exists():
                process = int(note.read_text(encoding="utf-8"))
                note.unlink()
                return process
        msg = "nothing was trained"
        raise AssertionError(msg)

    def await_no_watchdog(self) -> None:
        """Returns when the watchdogs have done what they had to."""
        assert any(not self.watchdogs for _ in until(PATIENCE, every=1.0)), self.watchdogs

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.dagster)) as instance:
            yield instance

    def last_run(self) -> dg.DagsterRun:
        with self.instance() as instance:
            return instance.get_runs(limit=1)[0]

    def messages(self, run_id: str, kind: dg.DagsterEventType = dg.DagsterEventType.RUN_FAILURE) -> list[str]:
        with self.instance() as instance:
            records = instance.get_records_for_run(run_id, of_type=kind).records
        return [record.event_log_entry.dagster_event.message or "" for record in records]


@dataclass(frozen=True)
class Running:
    """A process that retrains."""

    site: Site
    process: subprocess.Popen

    def wait(self) -> float:
        """Seconds until the process has ended, and its watchdog after it."""
        begin = time.monotonic()
        self.process.wait(PATIENCE)
        seconds = time.monotonic() - begin
        self.site.await_no_watchdog()
        return seconds


def make_site(folder: Path) -> Site:
    """A model was promoted yesterday, and there is a day of labels that it has not seen."""
    folder.mkdir(exist_ok=True)
    site = Site(folder)
    config = write_config(folder)
    learnable_home(folder)
    site.dagster.mkdir()
    (site.dagster / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    with site.instance() as instance:
        job = build_definitions(home=HomeResource(root=str(site.home.root))).resolve_job_def("retrain")
        assert job.execute_in_process(run_config={"config_path": str(config), "as_of": yesterday}, instance=instance).success
    assert site.home.active_pointer.exists()
    return site


def _heed_interrupts() -> None:
    """In the child: even where the tests run as a background job, whose children a shell makes deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
