"""A retrain that hangs is ended in time, however it was launched and whatever it does against it; and one that is killed leaves nothing.

Every retrain is a process of its own on a home and an instance of its own; the watchdog alone is tried on processes that do nothing else.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.defs.runs import watchdog
from taskclf_dagster.defs.runs.run_failures import TOOK_TOO_LONG
from taskclf_dagster.domain.scheduling.failure_kinds import classify_failure
from taskclf_dagster.domain.storage.files import temporary_path
from taskclf_dagster.home import Home
from taskclf_dagster_tests.dagster_internals import ConfigurableClass, ConfigurableClassData, DagsterStorage, InstanceRef
from taskclf_dagster_tests.faults.injection import memory_folder
from taskclf_dagster_tests.guarded import PATIENCE, PROJECT, Site, make_site
from taskclf_dagster_tests.scenario import make_home

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no such signals elsewhere")

TIMEOUT_SECONDS = 15.0
"""In which a run comes to its training even on a busy machine."""

SPARE_SECONDS = 45.0
"""How much later than asked for a run may end on a busy machine: to note why takes a few seconds of Python starting up."""

TOO_LONG = {
    "a sleep on the command line": ("taskclf-dagster retrain", "sleeps"),
    "one that writes on the command line": ("taskclf-dagster retrain", "hangs while it writes"),
    "Materialize all from Dagster's command line": ("dg launch", "swallows interrupts"),
}
"""Route and way of each retrain that takes too long."""

KILLED = "killed from outside"


@dataclass(frozen=True)
class Ended:
    """A retrain that was ended.

    Attributes:
        before: models/ as it was.
        seconds: from the beginning of the training to the end of the process.
    """

    site: Site
    before: dict[str, bytes]
    seconds: float
    returncode: int
    output: str
    run: dg.DagsterRun


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def champion(folder: Path) -> Site:
    return make_site(folder / "champion")


@pytest.fixture(scope="module")
def ended(champion: Site, folder: Path) -> Mapping[str, Ended]:
    """Each of them, all at the same time, because most of it is waiting."""

    def run(name: str) -> Ended:
        site = champion.copy(folder / name.replace(" ", "-"))
        before = site.models
        route, way = TOO_LONG.get(name, ("the job in this process", "hangs while it writes"))
        with site.running(route, way, timeout_seconds=None if name == KILLED else TIMEOUT_SECONDS) as running:
            process = site.await_training()
            if name == KILLED:
                assert len(site.half_written) == 3
                os.kill(process, signal.SIGKILL)
            seconds = running.wait()
        return Ended(site, before, seconds, running.process.returncode, (site.folder / "output").read_text(), site.last_run())

    names = [*TOO_LONG, KILLED]
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(run, names), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", TOO_LONG)
def test_a_retrain_that_hangs_is_over_soon_after_its_time(ended: Mapping[str, Ended], name: str) -> None:
    found = ended[name]
    assert found.seconds < TIMEOUT_SECONDS + SPARE_SECONDS
    assert found.run.status == dg.DagsterRunStatus.FAILURE
    assert found.run.tags["taskclf/failure"] == "timeout"
    _, way = TOO_LONG[name]
    assert found.returncode == (1 if way == "sleeps" else -signal.SIGKILL)
    (message,) = found.site.messages(found.run.run_id)
    assert ("watchdog" in message) is (way != "sleeps")  # who heeds the interrupt reports its own end


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TOO_LONG, KILLED])
def test_a_retrain_that_was_ended_keeps_every_model_and_leaves_nothing_half_written(ended: Mapping[str, Ended], name: str) -> None:
    found = ended[name]
    assert found.site.models == found.before
    assert found.site.half_written == []
    assert found.site.is_free


@pytest.mark.slow
def test_a_retrain_that_heeds_the_interrupt_on_the_command_line_says_that_it_took_too_long(ended: Mapping[str, Ended]) -> None:
    assert f"FAILED: {TOOK_TOO_LONG}" in ended["a sleep on the command line"].output


@pytest.mark.slow
def test_who_waits_at_a_terminal_for_a_retrain_that_is_killed_reads_why(ended: Mapping[str, Ended]) -> None:
    found = ended["one that writes on the command line"]
    lines = [line for line in found.output.splitlines() if found.run.run_id in line]
    assert any("watchdog" in line and "timeout_minutes" in line for line in lines)


@pytest.mark.slow
def test_a_retrain_killed_from_outside_is_reported_by_nobody_but_its_watchdog(ended: Mapping[str, Ended]) -> None:
    found = ended[KILLED]
    assert found.run.status == dg.DagsterRunStatus.FAILURE
    (message,) = found.site.messages(found.run.run_id)
    assert classify_failure([], message=message) == "killed"
    assert "taskclf/failure" not in found.run.tags
    assert "watchdog" not in found.output


@pytest.mark.slow
def test_the_retrain_after_one_that_was_killed_promotes_is_not_tagged_and_leaves_no_watchdog(ended: Mapping[str, Ended]) -> None:
    found = ended["one that writes on the command line"]
    site = found.site
    with site.running("taskclf-dagster retrain", "goes well", timeout_seconds=PATIENCE) as running:
        site.await_training()
        assert len(site.watchdogs) == 1
        running.process.wait(PATIENCE)
        assert site.watchdogs == []
    output = (site.folder / "output").read_text()
    assert running.process.returncode == 0, output
    run = site.last_run()
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert "taskclf/failure" not in run.tags
    assert "watchdog" not in output
    assert "Traceback" not in output
    assert site.models != found.before
    assert site.is_free
    assert not site.home.run_lock_holder.exists()


# --- The watchdog alone -----------------------------------------------------------------------------------------------------------

DEAF = "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
IMPATIENT = "from taskclf_dagster.defs.runs import watchdog; watchdog.REPORT_SECONDS = {report_seconds}; watchdog.main()"


class Unreachable(DagsterStorage, ConfigurableClass):
    """A storage that cannot be had."""

    @classmethod
    def config_type(cls) -> dict[str, type]:
        return {"hangs": bool}

    @classmethod
    def from_config_value(cls, inst_data: object, config_value: Mapping[str, object]) -> "Unreachable":
        if config_value["hangs"]:
            time.sleep(600)
        raise OSError(111, "Connection refused")


def _unreachable(folder: Path, *, hangs: bool) -> object:
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        ref = instance.get_ref()
    storage = ConfigurableClassData(__name__, "Unreachable", json.dumps({"hangs": hangs}))
    return dg.serialize_value(InstanceRef(**{**ref._asdict(), "storage_data": storage}))


@contextmanager
def _victim() -> Iterator[subprocess.Popen]:
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def _order(
    victim: subprocess.Popen, home: Home, instance: object = None, *, timeout_seconds: float = 0.2, grace_seconds: float = 0.5
) -> str:
    return json.dumps(
        {
            "process": victim.pid,
            "run_id": "a-run",
            "home": str(home.root),
            "timeout_seconds": timeout_seconds,
            "grace_seconds": grace_seconds,
            "instance": instance,
        }
    )


@contextmanager
def _watching(order: str, *, report_seconds: float = 1.0) -> Iterator[subprocess.Popen]:
    """A watchdog with that order, whose pipe the test holds."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT.format(report_seconds=report_seconds)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(order.encode() + b"\n")
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("hangs", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_instance_that_cannot_be_reached_keeps_nothing_alive(tmp_path: Path, hangs: bool) -> None:
    home = make_home(tmp_path)
    order = partial(_order, home=home, instance=_unreachable(tmp_path, hangs=hangs))
    with _victim() as victim, _watching(order(victim), report_seconds=1.0 if hangs else PATIENCE) as process:
        half = temporary_path(home.decisions / "some.json")
        half = half.with_name(half.name.replace(f".{os.getpid()}-", f".{victim.pid}-"))
        half.parent.mkdir(parents=True)
        half.touch()
        assert victim.wait(PATIENCE) == -signal.SIGKILL
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        told = process.stderr.read().decode()
    assert not half.exists()
    assert ("ConnectionRefusedError" in told) == (not hangs)  # why the failure could not be stored
    assert "Traceback" not in told


@pytest.mark.parametrize("word", [f"{watchdog.DONE}\n".encode(), b""], ids=["done", "gone"])
def test_a_run_that_ends_within_its_grace_is_not_killed(tmp_path: Path, word: bytes) -> None:
    with _victim() as victim, _watching(_order(victim, make_home(tmp_path), grace_seconds=PATIENCE)) as process:
        time.sleep(1.0)  # it was interrupted
        assert process.stdin is not None
        if word:
            process.stdin.write(word)
        else:
            process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert victim.poll() is None


def test_a_watchdog_whose_process_died_before_it_gave_an_order_ends(tmp_path: Path) -> None:
    with _watching("") as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_an_interrupt_from_a_terminal_does_not_end_a_watchdog(tmp_path: Path) -> None:
    with _victim() as victim, _watching(_order(victim, make_home(tmp_path), timeout_seconds=2.0)) as process:
        time.sleep(1.0)  # it has begun
        process.send_signal(signal.SIGINT)
        assert victim.wait(PATIENCE) == -signal.SIGKILL
